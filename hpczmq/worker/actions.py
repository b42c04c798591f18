"""What a slave wants done. Frozen; to be performed in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpczmq.messages import (
    Assign,
    Message,
)
from hpczmq.worker.events import Buffer


@dataclass(frozen=True, slots=True)
class Send:
    """Send to the master, or to `peer` on the own ROUTER; without waiting."""

    message: Message
    buffers: Sequence[Buffer] = ()
    peer: bytes | None = None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Listen to the master's PUB, at this port of its host."""

    port: int


@dataclass(frozen=True, slots=True)
class StartSlot:
    """Start a worker process."""

    slot: int


@dataclass(frozen=True, slots=True)
class RunLease:
    """Have a ready worker run these tasks, in order."""

    slot: int
    lease: Assign


@dataclass(frozen=True, slots=True)
class KillSlot:
    """End a worker process and all its children, whatever they do."""

    slot: int


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log."""

    text: str


@dataclass(frozen=True, slots=True)
class Exit:
    """All is said; the process may end."""


Action = Send | Subscribe | StartSlot | RunLease | KillSlot | Note | Exit
