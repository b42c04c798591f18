"""What the scheduler wants done. Frozen; to be performed in their order.

The order matters: a `Store` stands before the `Send` of the acknowledgement that it makes true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpczmq.messages import Message, Submit
from hpczmq.model import Outcome
from hpczmq.scheduler.events import Buffer


@dataclass(frozen=True, slots=True)
class Send:
    """Send to one peer, without waiting. A peer that is gone comes back as `Unreachable`."""

    peer: bytes
    message: Message


@dataclass(frozen=True, slots=True)
class Publish:
    """Send to whoever listens on PUB."""

    message: Message


@dataclass(frozen=True, slots=True)
class Plan:
    """Have the kernel check and split a submit; comes back as `Planned` or `Unplannable`."""

    peer: bytes
    submit: Submit
    #: The key of who submits it.
    owner: bytes = b""


@dataclass(frozen=True, slots=True)
class Store:
    """Keep accepted outcomes as chunk number `cursor` of a job."""

    job: str
    cursor: int
    slave: str
    outcomes: Sequence[Outcome]
    buffers: Sequence[Buffer]


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send a stored chunk to a client."""

    peer: bytes
    job: str
    cursor: int


@dataclass(frozen=True, slots=True)
class Forget:
    """The results of this job will not be asked for again."""

    job: str


@dataclass(frozen=True, slots=True)
class Enlist:
    """Make a key a member's, if the token is good; comes back as `Enlisted`."""

    peer: bytes
    request: int
    token: bytes
    name: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log: what happened that an operator would want to know."""

    text: str


Action = Send | Publish | Plan | Store | Deliver | Forget | Enlist | Note
