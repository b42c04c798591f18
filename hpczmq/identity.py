"""Keys and who they stand for: pure values.

A key here is always the public half of a pair, 32 bytes. What a person sees of it is its
fingerprint: all of it, as 64 hexadecimal digits, so that whoever has one has the key itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated, Final

from hpczmq.errors import ParameterError
from hpczmq.model import Bounds, Name

KEY_BYTES: Final = 32
Key = Annotated[bytes, Bounds(KEY_BYTES, KEY_BYTES)]
#: A key, or none.
SomeKey = Annotated[bytes, Bounds(0, KEY_BYTES)]
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class KeyRole(IntEnum):
    """What the holder of a key may do; `roles` says what each of them may say."""

    ADMIN = 1
    CLIENT = 2
    VIEWER = 3
    SLAVE = 4
    MEMORIA = 5
    STANDBY = 6
    RELAY = 7
    #: Of a key that nobody knows, while there is a token with which it could join.
    NEWCOMER = 8


#: The roles that a key can be given.
GIVEN: Final = {role.name.lower(): role for role in KeyRole if role is not KeyRole.NEWCOMER}


@dataclass(frozen=True, slots=True)
class Member:
    """A key of the cluster, and whose it is."""

    name: Name
    role: KeyRole
    key: SomeKey


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key with its secret half, which is never shown."""

    public: bytes
    secret: bytes = field(repr=False)


#: Everybody, where keys are not asked for: alone on a machine, or with `--insecure`.
ANYBODY: Final = Member("", KeyRole.ADMIN, b"")


def newcomer(key: bytes) -> Member:
    """Who holds a key that nobody knows."""
    return Member("", KeyRole.NEWCOMER, key)


class Callers:
    """Who may connect to the ports of a node."""

    def __init__(self) -> None:
        self._members: dict[bytes, Member] = {}
        #: Whether keys that nobody knows may come too, to join by a token.
        self.opens = False

    def replace(self, members: Iterable[Member]) -> frozenset[bytes]:
        """These are all, from now on; the keys that were there before and are not any more."""
        before, self._members = self._members.keys(), {one.key: one for one in members}
        return frozenset(before - self._members.keys())

    def admits(self, key: bytes, *, listens: bool) -> bool:
        """Whether a connection with this key is to be made; a newcomer may speak, not listen."""
        return key in self._members or (self.opens and not listens)

    def who(self, key: bytes) -> Member:
        """Whose a connection is that was made with this key."""
        return self._members.get(key) or newcomer(key)


def fingerprint(key: bytes) -> str:
    """A key as people see it."""
    return key.hex()


def key_of(text: str, field: str = "fingerprint") -> bytes:
    """The key of a fingerprint.

    Raises:
        ParameterError: it is none.
    """
    digits = text.strip().lower()
    if not _FINGERPRINT.fullmatch(digits):
        remedy = "must be the 64 hexadecimal digits that `hpczmq keys show cluster` prints"
        raise ParameterError(field, text, remedy)
    return bytes.fromhex(digits)


def role_of(text: str) -> KeyRole:
    """The role of a name.

    Raises:
        ParameterError: there is no such role.
    """
    role = GIVEN.get(text.strip().lower())
    if role is None:
        raise ParameterError("role", text, f"must be one of {', '.join(GIVEN)}")
    return role
