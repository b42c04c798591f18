"""What a slave knows: its slots, and the reports that are not acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from hpczmq.messages import (
    Assign,
    Report,
)
from hpczmq.model import Task
from hpczmq.worker.events import Buffer
from hpczmq.worker.states import SlotState


@dataclass(slots=True)
class Slot:
    """One worker process and what it does."""

    state: SlotState = SlotState.DOWN
    #: The lease that it runs; None unless BUSY, or KILLED with work left to account for.
    lease: Assign | None = None
    #: Tasks of the lease without an outcome yet, in their order.
    left: list[Task] = field(default_factory=list)
    #: When the first of them can have begun.
    since_s: float = 0.0
    #: Set when it is killed: what to say of the first task that is left; None: nothing.
    verdict: str | None = None
    #: When it may be started again, and how often it has died while starting.
    start_s: float = -inf
    stumbles: int = 0


@dataclass(slots=True)
class Kept:
    """A report that is not acknowledged."""

    report: Report
    buffers: Sequence[Buffer]
    #: When it was last sent; −inf if it never was. And how often.
    sent_s: float
    times: int = 0

    @property
    def weight_bytes(self) -> int:
        """What it takes in memory, but for what frames it."""
        values = sum([len(outcome.value) for outcome in self.report.outcomes])
        return values + sum(map(len, self.buffers))
