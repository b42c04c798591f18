"""What can happen to a slave. Frozen; each is handled whole before the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpczmq.messages import (
    Message,
)
from hpczmq.model import NO_USAGE, Metrics, Outcome, Usage, Vitals

#: A raw buffer (pixels) that passes through unread.
Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Received:
    """A message arrived. `peer` is None for the master, else who asked on the own ROUTER."""

    message: Message
    peer: bytes | None = None


@dataclass(frozen=True, slots=True)
class SlotReady:
    """A worker process has loaded its kernels."""

    slot: int


@dataclass(frozen=True, slots=True)
class SlotAnswered:
    """A worker finished the next tasks of its lease, in order. Arrays own a buffer each."""

    slot: int
    outcomes: Sequence[Outcome]
    buffers: Sequence[Buffer] = ()
    #: What it used for them, and printed.
    usage: Usage = NO_USAGE
    #: How long ago it began with the first of them; 0: that is not known.
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SlotDied:
    """A worker process is gone; `how` says by what."""

    slot: int
    how: str
    #: What it used since its last answer, and printed.
    usage: Usage = NO_USAGE


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. Carries the newest measurements of the machine, if there are new ones, and
    what its clock says, in seconds since 1970.
    """

    metrics: Metrics | None = None
    vitals: Vitals | None = None
    clock_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """The slave is to end now."""


@dataclass(frozen=True, slots=True)
class Drain:
    """The slave is to end when what runs has ended, in so many seconds at most."""

    within_s: float
    reason: str


Event = Received | SlotReady | SlotAnswered | SlotDied | Tick | Stop | Drain
