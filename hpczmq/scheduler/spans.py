"""Where and when the tasks of a job ran, for `trace` and `report`: some 40 bytes for each start.

A slave says when its worker began, on its own clock. How far that one is ahead is learnt from its
reports: none arrives before it was said, so the least difference seen is the nearest, too large by
the fastest way that a report has taken.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from hpczmq import limits
from hpczmq.happened import Span, SpanEnd
from hpczmq.messages import Report
from hpczmq.model import Outcome, Status

if TYPE_CHECKING:
    from hpczmq.scheduler.jobs import JobRecord, Lease
    from hpczmq.scheduler.state import ClusterState, SlaveRecord

_ENDS: Final = {
    Status.VALUE: SpanEnd.DONE,
    Status.ARRAY: SpanEnd.DONE,
    Status.ERROR: SpanEnd.ERROR,
    Status.CRASH: SpanEnd.CRASH,
    Status.TIMEOUT: SpanEnd.TIMEOUT,
}
#: Clocks of two machines drift apart by less than this, in seconds a second.
_DRIFT: Final = 1e-4


class Spans:
    """The spans of one job, a column for each of their fields."""

    __slots__ = ("_columns", "_numbers", "left_out")

    def __init__(self) -> None:
        self._columns: tuple[array[Any], ...] = tuple(array(code) for code in "IIHBdddd")
        #: Number of each slave, by name.
        self._numbers: dict[str, int] = {}
        #: How many were not kept.
        self.left_out = 0

    def __len__(self) -> int:
        return len(self._columns[0])

    @property
    def slaves(self) -> tuple[str, ...]:
        """Names, by number."""
        return tuple(self._numbers)

    def add(
        self,
        slave: str,
        slot: int,
        sent_s: float,
        told_s: float,
        tasks: Sequence[int],
        ends: Sequence[SpanEnd],
        began_s: Sequence[float],
        ended_s: Sequence[float],
    ) -> None:
        """Take some of one lease in; all are on one slave, and were handed out and told as one."""
        number = self._numbers.setdefault(slave, len(self._numbers))
        many = len(tasks)
        rows: tuple[Iterable[float], ...] = (
            tasks, [number] * many, [min(slot, limits.slots_max)] * many, ends,
            [sent_s] * many, began_s, ended_s, [told_s] * many,
        )  # fmt: skip
        for column, values in zip(self._columns, rows, strict=True):
            column.extend(values)

    def rows(self, since_s: float) -> tuple[Span, ...]:
        """All of them, with times as seconds since then; in the order in which they were told."""
        tasks, slaves, slots, ends, *times = self._columns
        ages = [[max(0.0, second - since_s) for second in column] for column in times]
        kinds = list(map(SpanEnd, ends))
        return tuple(map(Span, tasks, slaves, slots, kinds, *ages))


def told(
    state: ClusterState,
    job: JobRecord,
    slave: SlaveRecord,
    report: Report,
    outcomes: Sequence[Outcome],
    now: float,
) -> None:
    """A report came in: remember when its tasks ran."""
    if not outcomes or not report.slot or not _has_room(state, job, len(outcomes)):
        return
    # What it was when it was nearest, and drifted since; or this report shows that it is less.
    drifted_s = slave.ahead_s - _DRIFT * (now - slave.ahead_at_s)
    ahead_s = max(drifted_s, report.at_s - now)
    slave.ahead_s, slave.ahead_at_s = ahead_s, now
    lease = state.leases.get(report.lease)
    first_s = min(now, report.began_s - ahead_s)
    sent_s = first_s if lease is None else lease.sent_s
    first_s = max(first_s, sent_s)
    edges = [first_s, *accumulate([outcome.seconds for outcome in report.outcomes], initial=None)]
    edges = [first_s, *[min(now, first_s + edge) for edge in edges[1:]]]
    at = {outcome.index: place for place, outcome in enumerate(report.outcomes)}
    places = [at[outcome.index] for outcome in outcomes]
    ends = [_ENDS[outcome.status] for outcome in outcomes]
    if outcomes[0].status is Status.CRASH:  # all of them ended as one, with their worker
        edges, places = [edges[0], edges[1]], [0] * len(outcomes)
    job.spans.add(
        slave.name, report.slot, sent_s, now, [outcome.index for outcome in outcomes], ends,
        [edges[place] for place in places], [edges[place + 1] for place in places],
    )  # fmt: skip
    state.spans_kept += len(outcomes)


def cut(
    state: ClusterState, lease: Lease, indices: Sequence[int], end: SpanEnd, now: float
) -> None:
    """Some tasks of a lease will not be told of: their slave is lost, or nobody wants them."""
    job = state.jobs[lease.job]
    if indices and _has_room(state, job, len(indices)):
        many, name = len(indices), state.slaves[lease.holder].name
        began_s, ended_s = [lease.sent_s] * many, [now] * many
        job.spans.add(name, 0, lease.sent_s, now, indices, [end] * many, began_s, ended_s)
        state.spans_kept += many


def _has_room(state: ClusterState, job: JobRecord, many: int) -> bool:
    """Whether so many more may be kept, of this job and in all; else they are counted."""
    fits = len(job.spans) + many <= limits.spans_per_job_max
    if not fits or state.spans_kept + many > limits.spans_kept_max:
        job.spans.left_out += many
        return False
    return True


def trim(state: ClusterState) -> None:
    """A job has begun: of the oldest that have ended forget the spans, or it would have none."""
    for id in state.ended:
        if state.spans_kept + limits.spans_per_job_max <= limits.spans_kept_max:
            return
        forget(state, state.jobs[id])


def forget(state: ClusterState, job: JobRecord) -> None:
    """Keep nothing of a job but how much there was."""
    state.spans_kept -= len(job.spans)
    left_out = job.spans.left_out + len(job.spans)
    job.spans = Spans()
    job.spans.left_out = left_out
