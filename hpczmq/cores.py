"""How many cores this process may use: what the machine has, less what it was not given."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores by the process' affinity and by its cgroup's quota (v2, then v1), at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota() or cores))


def _quota() -> int | None:
    """Whole cores of the cgroup's CPU quota, or None if there is none."""
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
