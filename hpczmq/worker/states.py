"""The states of a slot, and every way from one to another.

The diagram in docs/states.md is made from the table.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class SlotState(Enum):
    """Where a worker process is."""

    STARTING = "starting"  # started, has not said that it is ready
    IDLE = "idle"  # ready, nothing to do
    BUSY = "busy"  # runs a lease
    KILLED = "killed"  # told to die, not dead yet
    DOWN = "down"  # died while starting; tried again later


SLOT_MOVES: Final[dict[tuple[SlotState, SlotState], str]] = {
    (SlotState.DOWN, SlotState.STARTING): "process started",
    (SlotState.STARTING, SlotState.IDLE): "ready",
    (SlotState.STARTING, SlotState.DOWN): "died while starting",
    (SlotState.IDLE, SlotState.BUSY): "given a lease",
    (SlotState.IDLE, SlotState.DOWN): "died with nothing to do",
    (SlotState.BUSY, SlotState.IDLE): "lease finished",
    (SlotState.BUSY, SlotState.KILLED): "timeout, or lease revoked",
    (SlotState.BUSY, SlotState.DOWN): "died at work",
    (SlotState.KILLED, SlotState.DOWN): "dead",
}
