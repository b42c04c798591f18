"""Values and messages out of a fuzzer's bytes, by the annotations that the wire is made from too.

One byte decides between what is likely to fit (few numbers, few names) and what is likely to hurt
(both ends of the bounds, any number, marks of direction, `../`). What is left out at the end reads
as zeros, so that every input means something and a shorter one means less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import EnumMeta
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from hpczmq.items import Items
from hpczmq.messages import KINDS, Message
from hpczmq.model import Bounds, Name, Uid

T = TypeVar("T")

#: Instances and queues; the first one is that of a master which was told none.
UIDS = [bytes(16), *[bytes([i]) * 16 for i in range(1, 6)]]
NAMES = [
    "j1", "j2", "j3", "echo", "s1", "round-robin", "resources", "", "../../etc/passwd", "\u202ej1",
    "\x1b[31mred", "a\0b", "\U0001f9ee" * 32, "j" * 128, "\ud7ff\ufffe", "j1\n",
]  # fmt: skip
#: Longest list that is made; longer ones are a matter of the decoder's bounds.
ROWS_MAX = 4


class Source:
    """Bytes, taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def byte(self) -> int:
        """The next one."""
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def take(self, count: int) -> bytes:
        """The next ones, padded."""
        self.at += count
        return self.data[self.at - count : self.at].ljust(count, b"\0")

    def below(self, bound: int) -> int:
        """A number from 0 to below a bound of at most 256."""
        return self.byte() % bound

    def one(self, things: Sequence[T]) -> T:
        """One of some things."""
        return things[self.below(len(things))]

    def whole(self, low: int, high: int) -> int:
        """A number within bounds; most are near the lower one, or near 0."""
        kind = self.byte()
        start = max(low, 0) if high >= 0 else low
        if kind < 200:
            return min(start + kind % 8, high)
        if kind < 210:
            return low
        if kind < 220:
            return high
        return min(max(int.from_bytes(self.take(8), "big", signed=kind % 2 == 0), low), high)

    def real(self, low: float, high: float) -> float:
        """A finite number within bounds."""
        kind = self.byte()
        if kind < 200:
            return min(max(kind / 10, low), high)
        return [low, high, min(max(1e-300, low), high), max(min(1e300, high), low)][kind % 4]


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def of(hint: Any, source: Source) -> Any:
    """A value that fits an annotation of a message's field."""
    if hint == Name:
        return source.one(NAMES)
    if hint == Uid:
        return source.one(UIDS)
    bounds = Bounds(-(2**63), 2**64 - 1)
    if get_origin(hint) is Annotated:
        hint, bounds = get_args(hint)[:2]
    low, high = bounds
    if get_origin(hint) is tuple:
        count = max(int(low), min(source.below(ROWS_MAX + 1), int(high)))
        return tuple(of(get_args(hint)[0], source) for _ in range(count))
    if hint is Items:  # not any two byte strings are one
        return Items.of(source.take(source.below(8)) for _ in range(source.below(ROWS_MAX + 1)))
    if isinstance(hint, EnumMeta):
        return source.one(list(hint))
    if is_dataclass(hint) or hasattr(hint, "_fields"):
        return record(hint, source)
    if hint is bool:
        return source.below(2) == 1
    if hint is int:
        return source.whole(int(low), int(high))
    if hint is float:
        return source.real(low, high)
    size = max(int(low), min(source.below(8), int(high)))
    if hint is bytes:
        return source.take(size)
    return (source.one(NAMES) + "x" * size)[: int(high)]


def record(cls: Any, source: Source, **given: Any) -> Any:
    """A dataclass or a NamedTuple; some fields may be given."""
    names = [f.name for f in fields(cls)] if is_dataclass(cls) else cls._fields
    hints = _hints(cls)
    made = {n: given[n] if n in given else of(hints[n], source) for n in names}
    return cls(**made)


def message(source: Source) -> Message:
    """A message of any kind."""
    made: Message = record(source.one(list(KINDS.values())), source)
    return made
