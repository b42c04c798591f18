"""What can happen to the scheduler. Frozen; each is handled whole before the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpczmq.identity import ANYBODY, KeyRole, Member
from hpczmq.messages import Access, Message, Submit
from hpczmq.model import Metrics, Vitals

#: A raw buffer (pixels) that passes through unread.
Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Received:
    """A message arrived. `peer` is the connection's routing id, not a name of anybody; `who` holds
    the key that it was made with.
    """

    peer: bytes
    message: Message
    buffers: Sequence[Buffer] = ()
    who: Member = ANYBODY


@dataclass(frozen=True, slots=True)
class Planned:
    """The kernel accepted the parameters of a submit and split them."""

    peer: bytes
    submit: Submit
    #: Packed tasks, or the items of a `map`; may be lazy, and is only asked for what is placed.
    tasks: Sequence[bytes]
    #: What a slave must offer.
    capability: str
    #: Indices in the order in which they are to be placed; empty: as they come.
    order: Sequence[int] = ()
    #: What each task is expected to take, in seconds; empty: nobody knows.
    costs: Sequence[float] = ()
    #: The key of who submitted it.
    owner: bytes = b""


@dataclass(frozen=True, slots=True)
class Unplannable:
    """The kernel refused the parameters of a submit, or is not installed here."""

    peer: bytes
    submit: Submit
    reason: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A message could not be sent, because the connection is gone."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class Choked:
    """A message could not be sent, because the connection takes no more."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class Unwritten:
    """The disk did not take a chunk of a job: so many bytes of it stay in memory."""

    job: str
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class AccessChanged:
    """The cluster's keys are other ones than before; those of `revoked` are none any more."""

    access: Access
    revoked: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Enlisted:
    """What became of an `Enlist`: the key is a member's by this name and role, or why not."""

    peer: bytes
    request: int
    name: str
    role: KeyRole
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """All that had arrived has been handled: the moment to place."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; comes at least every `limits.tick_s`. Carries the newest measurements of
    this machine, if there are new ones, and what its clock says, in seconds since 1970.
    """

    metrics: Metrics | None = None
    vitals: Vitals | None = None
    clock_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """The master is about to end."""


Event = (
    Received | Planned | Unplannable | Unreachable | Choked | Unwritten
    | AccessChanged | Enlisted | Turn | Tick | Stop
)  # fmt: skip
