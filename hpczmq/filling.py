"""How a memoria fills its gaps: it asks the other one for what it has not heard itself. Pure.

A gap is asked for page by page, of each resolution that is kept. Who does not answer is asked again
later, or another one is; after `fill_tries_max` of each the gap stays open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from hpczmq import limits
from hpczmq.errors import ProtocolError
from hpczmq.history import COLUMNS, TIERS, checked, rows_of
from hpczmq.messages import AskHistory, HistoryAnswer


@dataclass(slots=True)
class Gap:
    """A time of which the rows of one resolution are not here."""

    tier: int
    since_s: float
    until_s: float
    #: Where the last page ended.
    after: str = ""
    after_s: float = 0.0
    tries: int = 0


class Filler:
    """Gaps, and whom to ask about them."""

    def __init__(self, own_address: str, tiers: int) -> None:
        self._own = own_address
        self._tiers = tiers
        self.gaps: deque[Gap] = deque()
        #: Where other memorias answer; in the same order for all of them.
        self.others: tuple[str, ...] = ()
        self._request = 0
        #: When something was asked last; and whether the answer is here.
        self._asked_s = -inf
        self._answered = True

    def want(self, since_s: float, until_s: float) -> None:
        """Nothing was heard between these times."""
        for tier in range(self._tiers):
            span_s = limits.history_full_s if tier == 0 else TIERS[tier].span_s
            # A little less, or the other one would take a coarser resolution.
            oldest_s = until_s - span_s + limits.fill_s * limits.fill_tries_max
            if max(since_s, oldest_s) < until_s:
                self.gaps.append(Gap(tier, max(0.0, since_s, oldest_s), until_s))
        while len(self.gaps) > limits.gaps_max:
            self.gaps.popleft()

    def know(self, addresses: Sequence[str]) -> None:
        """Where memorias answer; behind a # the master may have put a key."""
        self.others = tuple(sorted({one for one in addresses if one and _place(one) != self._own}))

    @property
    def leads(self) -> bool:
        """Whether this memoria is the first of those that are known."""
        return not self.others or self._own < _place(self.others[0])

    def due(self, now: float) -> tuple[str, AskHistory] | None:
        """Whom to ask what now; to be asked at once, since it counts as asked."""
        if not self.gaps or not self.others:
            return None
        if not self._answered and now - self._asked_s < limits.fill_s:
            return None
        gap = self.gaps[0]
        if gap.tries >= limits.fill_tries_max * len(self.others):
            self.gaps.popleft()
            self._answered = True
            return None
        address = self.others[gap.tries % len(self.others)]
        gap.tries += 1
        self._request += 1
        self._asked_s, self._answered = now, False
        step_s = TIERS[gap.tier].step_s if gap.tier else 0.0
        return address, AskHistory(
            self._request, gap.since_s, gap.until_s, step_s, (), gap.after, gap.after_s
        )

    def told(self, answer: HistoryAnswer) -> list[tuple[int, str, bytes]]:
        """Take a page in: the resolution, the node, and its rows.

        Raises:
            ProtocolError: a row is none; the gap is asked for again later.
        """
        if not self.gaps or answer.request != self._request or self._answered:
            return []  # an old one
        gap = self.gaps[0]
        if answer.columns != COLUMNS:
            self.gaps.popleft()
            self._answered = True
            raise ProtocolError("columns", "another version's rows")
        found = [(gap.tier, run.node, checked(run)) for run in answer.runs]
        times = [row[0] for _, _, rows in found for row in rows_of(rows)]
        if times and not gap.since_s <= min(times) <= max(times) < gap.until_s:
            raise ProtocolError("rows", "a row is not of the time that was asked for")
        self._answered = True
        last = answer.runs[-1] if answer.runs else None
        if answer.more and last is not None and last.rows:
            cursor = last.node, list(rows_of(last.rows))[-1][0]
            if cursor > (gap.after, gap.after_s):  # else it would go on for ever
                gap.after, gap.after_s = cursor
                gap.tries = 0
                return found
        self.gaps.popleft()
        return found


def _place(address: str) -> str:
    return address.partition("#")[0]
