"""What a node measures of its machine, by psutil."""

from __future__ import annotations

import os

import psutil

from hpczmq.model import Metrics


class Sampler:
    """Measures the load since the last sample."""

    def __init__(self) -> None:
        psutil.cpu_percent()  # the first call has nothing to compare with

    def sample(self) -> Metrics:
        """The machine now. The node's core fills in what it knows of itself."""
        memory = psutil.virtual_memory()
        return Metrics(
            cpu_percent=psutil.cpu_percent(),
            memory_percent=memory.percent,
            memory_free_bytes=memory.available,
            load=os.getloadavg()[0],
        )


def usable_cores() -> int:
    """Cores that this process may run on: by its affinity, and by its cgroup's quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota() or cores))


def _quota() -> int | None:
    """Whole cores of the cgroup's CPU quota (v2, then v1), or None."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        try:
            with open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") as file:
                quota = file.read().strip()
            with open("/sys/fs/cgroup/cpu/cpu.cfs_period_us") as file:
                period = file.read().strip()
        except OSError:
            return None
    if not quota.isdecimal() or not period.isdecimal():
        return None
    return max(1, int(quota) // max(1, int(period)))
