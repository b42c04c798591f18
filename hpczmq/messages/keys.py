"""What is said of keys: who may ask a node, which key comes next, and how a node joins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from hpczmq import limits
from hpczmq.identity import KeyRole, Member, SomeKey
from hpczmq.model import Bounds, Count, Name


@dataclass(frozen=True, slots=True)
class Access:
    """The master tells a node, after its welcome and at each change, all of it each time."""

    #: Whose questions a node with a port of its own answers; for a client nobody's.
    readers: Annotated[tuple[Member, ...], Bounds(0, limits.readers_max)]
    #: The cluster's key after the next rotation, so that it is known by then; empty: none is due.
    next_key: SomeKey


@dataclass(frozen=True, slots=True)
class Enrol:
    """A process without a key of the cluster wants the one that it speaks with to become one."""

    request: Count
    token: Annotated[bytes, Bounds(1, limits.token_bytes_max)]
    name: Name


@dataclass(frozen=True, slots=True)
class Enrolled:
    """From now on that key is a member's."""

    request: Count
    name: Name
    role: KeyRole
