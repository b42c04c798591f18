"""The starts of a job's tasks in lanes: one a slot, in which nothing overlaps. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hpczmq.happened import Span, SpanEnd
from hpczmq.messages import TraceAnswer

#: Ends after which a worker was killed, or had died.
KILLED = frozenset({SpanEnd.CRASH, SpanEnd.TIMEOUT, SpanEnd.REVOKED, SpanEnd.LOST})


@dataclass(slots=True)
class Lane:
    """One slot of one slave; or a place for what ran nobody knows where."""

    slave: str
    #: From 1 on; 0: it is not known which slot it was.
    slot: int
    spans: list[Span] = field(default_factory=list)

    @property
    def label(self) -> str:
        """What it is called."""
        return f"slot {self.slot}" if self.slot else "given up"


def lanes(trace: TraceAnswer) -> list[Lane]:
    """All spans, by slave and slot; in each lane one begins when the one before it has ended.

    How far the clocks of two machines are apart is known to a fraction of a millisecond, so that
    spans of a slot may seem to overlap by as much; and tasks that a crash ended together share
    its time. The later one begins later then.
    """
    found: dict[tuple[int, int, int], Lane] = {}
    for span in sorted(trace.spans, key=lambda span: (span.began_s, span.ended_s)):
        if span.slave >= len(trace.slaves):
            continue  # no master says so
        number = 0
        while True:
            key = span.slave, span.slot, number
            lane = found.setdefault(key, Lane(trace.slaves[span.slave], span.slot))
            last = lane.spans[-1] if lane.spans else None
            if span.slot or last is None or last.ended_s <= span.began_s:
                break
            number += 1  # of what is given up, one beside the other
        if last is not None and last.ended_s > span.began_s:
            span = span._replace(began_s=last.ended_s, ended_s=max(last.ended_s, span.ended_s))
        lane.spans.append(span)
    order = sorted(found, key=lambda key: (trace.slaves[key[0]], key[1] == 0, key[1:]))
    return [found[key] for key in order]


def busy(spans: Iterable[Span]) -> list[tuple[float, int]]:
    """How many ran at once: (from when, how many), in the order of time. What was given up is
    left out, for nobody knows how much of it ran."""
    edges = [
        edge
        for span in spans
        if span.slot and span.ended_s > span.began_s
        for edge in ((span.began_s, 1), (span.ended_s, -1))
    ]
    steps: list[tuple[float, int]] = []
    running = 0
    for when, change in sorted(edges):
        running += change
        if steps and steps[-1][0] == when:
            steps.pop()
        steps.append((when, running))
    return steps


def end_s(trace: TraceAnswer, known: Sequence[Lane]) -> float:
    """When the last of it ended, in seconds since the job's submit."""
    info = trace.info
    ran_s = info.waited_s + info.ran_s
    return max([ran_s, *(span.told_s for lane in known for span in lane.spans[-1:])])
