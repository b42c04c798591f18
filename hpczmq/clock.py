"""The clock as an object, so that who needs the time can be given another one."""

from __future__ import annotations

import time


class Clock:
    """Seconds that only grow, from an arbitrary start."""

    def now(self) -> float:
        """The time, in seconds."""
        return time.monotonic()


def wall_s() -> float:
    """The time of day, in seconds since the epoch; it may jump. For what outlives a process."""
    return time.time()
