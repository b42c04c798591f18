"""What any node says: who it is, whether it lives, and what the master wants of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from hpczmq import limits
from hpczmq.model import (
    Bounds,
    Count,
    Labels,
    Memory,
    Metrics,
    Name,
    Role,
    Seconds,
    Text,
    Uid,
)

Leases = Annotated[tuple[Count, ...], Bounds(0, limits.rows_max)]


@dataclass(frozen=True, slots=True)
class Hello:
    """First word of a node on each connection. `instance` is new for each process start."""

    role: Role
    name: Name
    instance: Uid
    protocol: Count
    software: Text
    #: Of a slave: worker processes, what they can run, leases that it still holds.
    slots: Annotated[int, Bounds(0, limits.slots_max)] = 0
    capabilities: Annotated[tuple[Name, ...], Bounds(0, limits.capabilities_max)] = ()
    leases: Leases = ()
    #: Where the node itself can be asked (its own ROUTER); empty: nowhere.
    address: Text = ""
    #: Of a slave: memory for all of its tasks, and what else it says of itself (`key=value`).
    memory_bytes: Memory = 0
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Welcome:
    """The master's answer to `Hello`."""

    cluster: Name
    #: Which queue this is; what is held of another one is worth nothing.
    queue: Uid
    #: Whether this connection is new to the master: what was said on an older one may be lost.
    fresh: bool
    epoch: Count
    heartbeat_s: Seconds
    #: Port of the master's PUB, on the host that the node dialled.
    control_port: Annotated[int, Bounds(0, 65_535)]
    control: Control


@dataclass(frozen=True, slots=True)
class Introduce:
    """ "I don't know you": say hello, then what you had to say."""


@dataclass(frozen=True, slots=True)
class Reject:
    """No, and why. `code` can be counted, `reason` is for people."""

    request: Count
    code: Name
    reason: Text


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? Any node answers with `Pong`."""

    request: Count


@dataclass(frozen=True, slots=True)
class Pong:
    """Who answers, and its newest metrics."""

    request: Count
    role: Role
    name: Name
    software: Text
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Goodbye:
    """This node ends now, on purpose."""

    reason: Text


@dataclass(frozen=True, slots=True)
class Control:
    """The whole control state. Lost ones don't matter: the newest generation says it all."""

    epoch: Count
    generation: Count
    policy: Name
    #: The master is about to end; nodes keep what they have and wait for the next one.
    closing: bool
