"""The clock as an object, so that who needs the time can be given another one."""

from __future__ import annotations

import time


class Clock:
    """Seconds that only grow, from an arbitrary start."""

    def now(self) -> float:
        """The time, in seconds."""
        return time.monotonic()

    def wall(self) -> float:
        """What the clock on the wall says, in seconds since 1970; somebody may set it."""
        return time.time()
