"""Simulated time: what is to happen, in the order in which it happens, and what has happened."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Timeline:
    """A clock that jumps from one event to the next; equal times keep their order."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._made = 0

    def at(self, time_s: float, call: Callable[..., None], *what: Any) -> None:
        """Have something happen at a time, or now if that is over."""
        self._made += 1
        heappush(self._heap, (max(self.now, time_s), self._made, call, what))

    def after(self, delay_s: float, call: Callable[..., None], *what: Any) -> None:
        """Have something happen in a while."""
        self.at(self.now + delay_s, call, *what)

    def step(self) -> None:
        """Jump to the next event, and have it happen."""
        self.now, _, call, what = heappop(self._heap)
        call(*what)

    def run_until(self, end_s: float) -> None:
        """Have everything happen that is due until then."""
        while self._heap and self._heap[0][0] <= end_s:
            self.step()
        self.now = end_s


class Trace:
    """The last things that happened. They are only made into text when somebody asks."""

    def __init__(self, timeline: Timeline, lines_max: int | None) -> None:
        self._timeline = timeline
        self._lines: deque[tuple[float, tuple[object, ...]]] = deque(maxlen=lines_max)

    def __call__(self, *what: object) -> None:
        """Note something: a word or two and the objects that it is about."""
        self._lines.append((self._timeline.now, what))

    def lines(self) -> list[str]:
        """All that is remembered, a line each."""
        return [f"{now:10.4f}  {_line(what)}" for now, what in self._lines]

    def digest(self) -> str:
        """A fingerprint of all that is remembered."""
        return hashlib.sha256("\n".join(self.lines()).encode()).hexdigest()


def _line(what: tuple[object, ...]) -> str:
    text = " ".join(map(str, what))
    return text if len(text) <= 240 else f"{text[:239]}…"
