"""What a slave knows of itself: what its machine measures, and what became of its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hpczmq.membership import Membership
from hpczmq.model import Metrics, Outcome, Status, Vitals
from hpczmq.worker.events import Buffer, Tick
from hpczmq.worker.state import Slot
from hpczmq.worker.states import SlotState


class Figures:
    """Counts since the start of the process, and the newest measurements."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        #: The newest that was not reported yet.
        self.vitals: Vitals | None = None
        #: What the machine's clock said at the last tick, and when that was.
        self._clock_s = self._ticked_s = 0.0
        self.outcomes: dict[Status, int] = dict.fromkeys(Status, 0)
        self.result_bytes = 0

    def tick(self, tick: Tick, now: float) -> None:
        """Take new measurements in."""
        self.metrics = tick.metrics or self.metrics
        self.vitals = tick.vitals or self.vitals
        self._clock_s, self._ticked_s = tick.clock_s, now

    def count(self, outcomes: Sequence[Outcome], buffers: Sequence[Buffer]) -> None:
        """Count outcomes that are reported."""
        for outcome in outcomes:
            self.outcomes[outcome.status] += 1
        self.result_bytes += sum(map(len, buffers))
        self.result_bytes += sum(len(o.value) for o in outcomes if o.status is Status.VALUE)

    def take_vitals(self) -> Vitals | None:
        """The newest vitals, once."""
        vitals, self.vitals = self.vitals, None
        return vitals

    def measured(
        self, membership: Membership, slots: Sequence[Slot], tasks_waiting: int, now: float
    ) -> Metrics:
        """All of it now."""
        counts = self.outcomes
        return replace(
            self.metrics,
            latency_s=membership.latency_s,
            jitter_s=membership.jitter_s,
            slots_busy=sum(slot.state is SlotState.BUSY for slot in slots),
            tasks_held=tasks_waiting + sum(len(slot.left) for slot in slots),
            tasks_done=sum(counts.values()),
            tasks_failed=sum(n for status, n in counts.items() if not status.good),
            errors=counts[Status.ERROR],
            crashes=counts[Status.CRASH],
            timeouts=counts[Status.TIMEOUT],
            result_bytes=self.result_bytes,
            clock_s=self._clock_s and self._clock_s + now - self._ticked_s,
        )
