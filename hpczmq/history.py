"""The past of the nodes: rows of measurements, in memory and thinned for the disk. Pure.

A row is 8-byte floats: when, in seconds since 1970, then a value for each of `COLUMNS`. Rows of a
node stand one behind the other, oldest first, and travel as they stand. In memory they are kept at
full rate for an hour. For the disk they are thinned by `TIERS`: each step of time gives one row, of
means, and of counters the last value.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from typing import Final, NamedTuple

from hpczmq import limits
from hpczmq.errors import ProtocolError
from hpczmq.messages import AskHistory, HistoryAnswer, Run
from hpczmq.metrics import METRICS, Metrics

#: What is kept of each sample, in this order.
COLUMNS: Final = METRICS
ROW: Final = struct.Struct(f"<{1 + len(COLUMNS)}d")
_AT: Final = struct.Struct("<d")
#: Counters and clocks: of several rows the last one says it all.
_LAST: Final = frozenset(
    {"tasks_done", "tasks_failed", "errors", "crashes", "timeouts", "tasks_again",
     "result_bytes", "clock_s"}
)  # fmt: skip
_IS_LAST: Final = tuple(name in _LAST for name in COLUMNS)


class Tier(NamedTuple):
    """One resolution of the disk."""

    step_s: float
    #: So long it is kept.
    span_s: float


TIERS: Final = (
    Tier(1.0, 3600.0),
    Tier(10.0, 24 * 3600.0),
    Tier(60.0, 31 * 24 * 3600.0),
    Tier(600.0, 366 * 24 * 3600.0),
)


class Row(NamedTuple):
    """A row for the disk."""

    tier: int
    node: str
    at_s: float
    values: bytes


def packed(at_s: float, metrics: Metrics) -> bytes:
    """A sample as a row."""
    return ROW.pack(at_s, *astuple(metrics))


def rows_of(data: bytes) -> Iterator[tuple[float, ...]]:
    """The rows of some bytes; those of a peer are `checked` before."""
    return ROW.iter_unpack(data)


def checked(run: Run) -> bytes:
    """The rows of a run that came from elsewhere.

    Raises:
        ProtocolError: they are no rows, not in their order, or hold what is no number.
    """
    if len(run.rows) % ROW.size:
        raise ProtocolError("rows", f"{len(run.rows)} bytes are no rows of {ROW.size}")
    before = -math.inf
    for row in ROW.iter_unpack(run.rows):
        if not math.isfinite(sum(row)) or not before < row[0]:
            raise ProtocolError("rows", "a row is no number, or is not in its order")
        before = row[0]
    return run.rows


def tier_of(since_s: float, wished_s: float, now_s: float) -> int:
    """Which tier answers: the finest that reaches so far back, or one as coarse as wished."""
    for number, tier in enumerate(TIERS):
        reaches = now_s - since_s <= tier.span_s
        coarser = number + 1 < len(TIERS) and TIERS[number + 1].step_s <= wished_s
        if reaches and not coarser:
            return number
    return len(TIERS) - 1


def page(
    ask: AskHistory, step_s: float, series: Iterable[tuple[str, bytes | bytearray]]
) -> HistoryAnswer:
    """The first rows that were asked for, as many as one answer takes.

    Args:
        ask: what is wanted, and where the page before ended.
        step_s: resolution of the rows; 0: as they came.
        series: nodes in the order of their names, with all their rows.
    """
    left = limits.history_page_bytes_max // ROW.size
    runs: list[Run] = []
    for node, data in series:
        if node < ask.after or (ask.nodes and node not in ask.nodes):
            continue
        if len(runs) >= limits.history_runs_max or not left:
            return HistoryAnswer(ask.request, step_s, COLUMNS, tuple(runs), True)
        start = first_at(data, ask.since_s)
        if node == ask.after:
            start = max(start, first_at(data, math.nextafter(ask.after_s, math.inf)))
        end = first_at(data, ask.until_s)
        chosen = data[start * ROW.size : min(end, start + left) * ROW.size]
        if chosen:
            runs.append(Run(node, bytes(chosen)))
        left -= len(chosen) // ROW.size
        if start + len(chosen) // ROW.size < end:
            return HistoryAnswer(ask.request, step_s, COLUMNS, tuple(runs), True)
    return HistoryAnswer(ask.request, step_s, COLUMNS, tuple(runs), False)


def first_at(data: bytes | bytearray, at_s: float) -> int:
    """Number of the first row that is not before a time."""
    low, high = 0, len(data) // ROW.size
    while low < high:
        middle = (low + high) // 2
        if _AT.unpack_from(data, middle * ROW.size)[0] < at_s:
            low = middle + 1
        else:
            high = middle
    return low


class Recent:
    """The last hour at full rate, within a bound."""

    def __init__(self) -> None:
        self._rows: dict[str, bytearray] = {}
        self.bytes = 0
        #: From when on everything that was heard is here.
        self.since_s = math.inf

    def add(self, node: str, at_s: float, row: bytes) -> None:
        """Take in a row that is newer than those before it; one that is not is dropped, since the
        clock was set back.
        """
        rows = self._rows.setdefault(node, bytearray())
        if rows and at_s <= _AT.unpack_from(rows, len(rows) - ROW.size)[0]:
            return
        rows += row
        self.bytes += len(row)
        self.since_s = min(self.since_s, at_s)

    def fill(self, node: str, data: bytes) -> None:
        """Put rows of the past in their places."""
        rows = self._rows.setdefault(node, bytearray())
        found = {row[:8]: row for row in _cut(data)}
        found |= {row[:8]: row for row in _cut(rows)}
        merged = b"".join(sorted(found.values(), key=lambda row: _AT.unpack_from(row)[0]))
        self.bytes += len(merged) - len(rows)
        self._rows[node] = bytearray(merged)

    def forget(self, now_s: float) -> None:
        """Drop what is older than an hour, and the oldest of what is too much."""
        oldest_s = now_s - limits.history_full_s
        if self.bytes > limits.history_bytes_max:
            begun_s = max(self.since_s, oldest_s)
            oldest_s = begun_s + (now_s - begun_s) / 10
        for node, rows in list(self._rows.items()):
            cut = first_at(rows, oldest_s) * ROW.size
            if cut:
                del rows[:cut]
                self.bytes -= cut
            if not rows:
                del self._rows[node]
        self.since_s = max(self.since_s, oldest_s)

    def answer(self, ask: AskHistory) -> HistoryAnswer:
        """A page of what is here."""
        names = sorted(ask.nodes or self._rows)
        return page(ask, 0.0, ((name, self._rows.get(name, b"")) for name in dict.fromkeys(names)))


def _cut(data: bytes | bytearray) -> Iterator[bytes]:
    return (bytes(data[i : i + ROW.size]) for i in range(0, len(data), ROW.size))


@dataclass(slots=True)
class _Step:
    """The rows of one step of time so far."""

    at_s: float = -math.inf
    rows: int = 0
    sums: list[float] = field(default_factory=list)

    def add(self, values: Sequence[float]) -> None:
        if not self.rows:
            self.sums = list(values)
        else:
            pairs = zip(self.sums, values, _IS_LAST, strict=True)
            self.sums = [new if last else total + new for total, new, last in pairs]
        self.rows += 1

    def values(self) -> list[float]:
        pairs = zip(self.sums, _IS_LAST, strict=True)
        return [total if last else total / self.rows for total, last in pairs]


class Thinner:
    """Makes rows of each tier from samples; each tier is made from the one before it."""

    def __init__(self) -> None:
        self._steps: dict[str, list[_Step]] = {}

    def add(self, node: str, at_s: float, metrics: Metrics) -> list[Row]:
        """Take a sample in; the rows that it ends."""
        done: list[Row] = []
        steps = self._steps.setdefault(node, [_Step() for _ in TIERS])
        self._add(node, steps, 0, at_s, astuple(metrics), done)
        return done

    def end(self, node: str) -> list[Row]:
        """The rows of a node that are not whole yet; it is not heard any more."""
        done: list[Row] = []
        steps = self._steps.pop(node, [])
        for tier, step in enumerate(steps):
            if step.rows:
                self._finish(node, steps, tier, done)
        return done

    def end_all(self) -> list[Row]:
        """The same of all nodes: this is the end."""
        return [row for node in list(self._steps) for row in self.end(node)]

    def _add(
        self, node: str, steps: list[_Step], tier: int, at_s: float, values: Sequence[float],
        done: list[Row],
    ) -> None:  # fmt: skip
        step, step_s = steps[tier], TIERS[tier].step_s
        begun_s = at_s // step_s * step_s
        if step.rows and begun_s != step.at_s:
            self._finish(node, steps, tier, done)
        step.at_s = begun_s
        step.add(values)

    def _finish(self, node: str, steps: list[_Step], tier: int, done: list[Row]) -> None:
        step = steps[tier]
        values = step.values()
        done.append(Row(tier, node, step.at_s, ROW.pack(step.at_s, *values)))
        step.rows = 0
        if tier + 1 < len(TIERS):
            self._add(node, steps, tier + 1, step.at_s, values, done)
