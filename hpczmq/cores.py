"""How many cores this process may use: what the machine has, less what it was not given."""

from __future__ import annotations

import os

from hpczmq.cgroup import Cgroup


def usable_cores() -> int:
    """Cores by the process' affinity and by its cgroup's quota, at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cores = os.cpu_count() or 1
    return max(1, min(cores, int(Cgroup().cpu_cores() or cores)))
