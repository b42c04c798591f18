"""Who is connected to a bound socket, and who has to go: pure; `transport` tells it and does it.

libzmq takes every connection, for as long as there are file descriptors, and keeps what comes on
it without a bound until a message is whole. So somebody has to look at the connections themselves:

1. Who has said nothing for `speechless_s` after the handshake has to go. (Of a PUB nobody speaks.)
2. Above `connections_percent` of the descriptors nobody is added: who has said nothing goes first,
   then who is no member, the oldest first.
3. Who has sent more than `message_bytes_max` without an end of the message has to go.

A node of ours that is cut off dials again, and says hello.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hpczmq import limits

#: Why a connection is cut: codes to be counted.
SILENT, CROWDED, ENDLESS = "silent connection", "no room", "endless message"


@dataclass(slots=True)
class Connection:
    """One connection, which is a file descriptor."""

    fd: int
    #: Who is at the other end, as the system says; to be sure that it is still the same.
    name: str
    since_s: float
    #: Its routing id, once it has said something.
    peer: bytes | None = None
    #: The key that it was made with, as of then; empty: none.
    key: bytes = b""
    #: Whether it has said something since its bytes were looked at, and how many there were then.
    heard: bool = False
    received_bytes: int = 0


class Doorman:
    """The connections of one bound socket."""

    def __init__(self, speaks: bool) -> None:
        #: Whether peers of this socket have something to say.
        self.speaks = speaks
        #: By descriptor, the oldest first.
        self.connections: dict[int, Connection] = {}
        self._peers: dict[bytes, Connection] = {}
        #: Descriptors whose bytes are still to be looked at in this round.
        self._round: list[int] = []

    def came(self, fd: int, name: str, now: float) -> None:
        """A connection was taken."""
        self.left(fd)
        self.connections[fd] = Connection(fd, name, now)

    def left(self, fd: int) -> None:
        """A connection has ended."""
        gone = self.connections.pop(fd, None)
        if gone is not None and gone.peer is not None:
            self._peers.pop(gone.peer, None)

    def heard(self, peer: bytes) -> Connection | None:
        """The connection of a peer that speaks, if it is known. Asking counts as hearing it."""
        connection = self._peers.get(peer)
        if connection is not None:
            connection.heard = True
        return connection

    def made_with(self, keys: frozenset[bytes]) -> list[Connection]:
        """The connections made with these keys, and those of which that is not known."""
        return [one for one in self.connections.values() if one.peer is None or one.key in keys]

    def spoke(self, peer: bytes, fd: int, key: bytes = b"") -> None:
        """A peer that was not known has spoken, on this descriptor, with this key."""
        connection = self.connections.get(fd)
        if connection is not None and connection.peer is None:
            connection.peer, connection.heard, connection.key = peer, True, key
            self._peers[peer] = connection

    def inspect(
        self,
        room: int,
        received_bytes: Callable[[int], int],
        is_member: Callable[[bytes], bool],
        now: float,
    ) -> list[tuple[Connection, str]]:
        """Who has to go, and why. There is room for so many connections."""
        everybody = self.connections.values()
        cut: dict[int, str] = {}
        if self.speaks:
            for connection in everybody:  # the oldest first
                if now - connection.since_s <= limits.speechless_s:
                    break
                if connection.peer is None:
                    cut[connection.fd] = SILENT
        over = len(everybody) - len(cut) - room
        if over > 0:
            ranked = sorted(
                (c for c in everybody if c.fd not in cut),
                key=lambda c: (c.peer is not None) + (c.peer is not None and is_member(c.peer)),
            )
            cut |= {c.fd: CROWDED for c in ranked[:over]}
        if not self._round:
            self._round = list(self.connections)
        looked_at = self._round[-limits.connections_looked_max :]
        del self._round[-limits.connections_looked_max :]
        for fd in looked_at:
            looked = self.connections.get(fd)
            if looked is not None and self._is_endless(looked, received_bytes(fd)):
                cut[fd] = ENDLESS
        return [(self.connections[fd], why) for fd, why in cut.items()]

    def _is_endless(self, connection: Connection, received_bytes: int) -> bool:
        if connection.heard:
            connection.heard, connection.received_bytes = False, received_bytes
        return received_bytes - connection.received_bytes > limits.message_bytes_max
