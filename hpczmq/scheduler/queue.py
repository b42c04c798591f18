"""The jobs of one priority in the order in which they are served.

There may be 100,000 jobs, of which few move: so they are kept in order, and one that moves is
found by bisection.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from math import frexp

#: Leases out, minus the run time of its next task, number of the job; the lowest is served first.
Rank = tuple[int, int, int]
#: More than any run time's power of two.
_UNKNOWN = 10_000


def rank(held: int, next_s: float | None, number: int) -> Rank:
    """Where a job stands among those of its priority, the lowest first.

    First who has the fewest leases out, so that jobs share the slots fairly; then whose tasks take
    longest, since a long one that begins last is what everybody waits for; then the oldest. Of a
    job without a result nothing is known: it goes first. Run times that are alike within a factor
    of two are equal, or every report would move its job.
    """
    if next_s is None:
        return held, -_UNKNOWN, number
    return held, -frexp(next_s)[1] if next_s > 0 else _UNKNOWN, number


class Queue:
    """Ids of jobs, lowest rank first."""

    __slots__ = ("_order", "_ranks")

    def __init__(self) -> None:
        self._ranks: dict[str, Rank] = {}
        #: The same, sorted. Ranks differ, since no two jobs have one number.
        self._order: list[tuple[Rank, str]] = []

    def put(self, id: str, rank: Rank) -> None:
        """Put a job in, or where it belongs now."""
        if self._ranks.get(id) != rank:
            self.remove(id)
            self._ranks[id] = rank
            insort(self._order, (rank, id))

    def remove(self, id: str) -> None:
        """Take a job out, if it is in."""
        rank = self._ranks.pop(id, None)
        if rank is not None:
            del self._order[bisect_left(self._order, (rank, id))]

    def __getitem__(self, place: int) -> str:
        """Who stands at a place, from 0 on."""
        return self._order[place][1]

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, id: object) -> bool:
        return id in self._ranks

    def __iter__(self) -> Iterator[str]:
        return iter([id for _, id in self._order])
