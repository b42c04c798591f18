"""Who is connected to a bound socket, and who has to go: pure; `transport` tells it and does it.

libzmq takes every connection, for as long as there are file descriptors, and keeps what comes on
it without a bound until a message is whole. So somebody has to look at the connections themselves:

1. Who has said nothing for `speechless_s` after the handshake has to go. (Of a PUB nobody speaks.)
2. Above `connections_percent` of the descriptors nobody is added: who has said nothing goes first,
   then who is no member, the oldest first.
3. Who has sent more than `message_bytes_max` without an end of the message has to go; who is no
   member, `stranger_bytes_max`. All together may have `unfinished_bytes_max` on their way.
4. Who floods has to go, as `quota` says.
5. Past `arrivals_max` new connections the door is shut for a while: the system answers nobody who
   dials, and who is connected has the master for itself. Each that had to be cut counts for many,
   or it would come back at once. (One that was only silent, or in the way, does not.)

A node of ours that is cut off dials again, and says hello.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hpczmq import limits
from hpczmq.quota import Debt

#: Why a connection is cut: codes to be counted.
SILENT, CROWDED, ENDLESS = "silent connection", "no room", "endless message"
#: Why nobody is let in for a while.
STORM = "connections"


@dataclass(slots=True)
class Connection:
    """One connection, which is a file descriptor."""

    fd: int
    #: What the system calls it; to be sure that it is still the same.
    identity: int
    since_s: float
    #: Its routing id, once it has said something.
    peer: bytes | None = None
    #: The key that it was made with, as of then; empty: none.
    key: bytes = b""
    #: Whether it has said something since its bytes were looked at, and how many there were then.
    heard: bool = False
    received_bytes: int = 0
    #: Whether it has spoken before we were told that it came; then what is told of its descriptor
    #: until that is about one before it.
    early: bool = False


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
        #: What has come of messages that are large and not whole yet, by descriptor.
        self._large: dict[int, int] = {}
        #: New connections, and when the last one came; whether there are too many of them.
        self._arrivals = Debt(0.0)
        self._came_s = float("-inf")
        self.is_shut = False

    def came(self, fd: int, identity: int, now: float) -> None:
        """A connection was taken. (Perhaps it has spoken before we are told of it.)"""
        known = self.connections.get(fd)
        if known is not None and known.identity == identity:
            known.early = False
            return
        self.left(fd)
        self.connections[fd] = Connection(fd, identity, now)
        self._came_s = now
        self._arrivals.add(1.0, limits.arrivals_per_s, now)

    def left(self, fd: int) -> None:
        """A connection has ended."""
        gone = self.connections.pop(fd, None)
        self._large.pop(fd, None)
        if gone is not None and gone.peer is not None:
            self._peers.pop(gone.peer, None)

    def ended(self, fd: int) -> None:
        """We are told that a connection has ended."""
        known = self.connections.get(fd)
        if known is not None and not known.early:
            self.left(fd)

    def heard(self, peer: bytes) -> Connection | None:
        """The connection of a peer that speaks, if it is known. Asking counts as hearing it."""
        connection = self._peers.get(peer)
        if connection is not None:
            connection.heard = True
        return connection

    def made_with(self, keys: frozenset[bytes]) -> list[Connection]:
        """The connections made with these keys, and those of which that is not known."""
        return [one for one in self.connections.values() if one.peer is None or one.key in keys]

    def spoke(self, peer: bytes, fd: int, identity: int, now: float, key: bytes = b"") -> None:
        """A peer that was not known has spoken, on this descriptor, with this key."""
        known = self.connections.get(fd)
        if not identity:
            return
        if known is None or known.identity != identity:
            self.came(fd, identity, now)
            self.connections[fd].early = True
        connection = self.connections[fd]
        if connection.peer is not None:
            self._peers.pop(connection.peer, None)
        connection.peer, connection.heard, connection.key = peer, True, key
        self._peers[peer] = connection

    def dismiss(self, peer: bytes, now: float) -> Connection | None:
        """The connection of a peer that has to go, if it is known."""
        connection = self._peers.get(peer)
        if connection is not None:
            self._arrivals.add(limits.cut_arrivals, limits.arrivals_per_s, now)
        return connection

    def is_restless(self, now: float) -> bool:
        """Whether a look is due sooner than usual."""
        return bool(self._large) or now - self._came_s < limits.tick_s

    def shuts(self, now: float, busy: bool) -> bool:
        """Whether the door is to be shut for newcomers now, or to stay so. As long as we are not
        busy, all may come: nobody else has to wait for that.
        """
        most = limits.arrivals_max / (2 if self.is_shut else 1)
        self.is_shut = self._arrivals.add(0.0, limits.arrivals_per_s, now) > most
        if not busy and self.is_shut:
            self._arrivals.debt, self.is_shut = most, False
        return self.is_shut

    def inspect(
        self,
        room: int,
        received_bytes: Callable[[int], int],
        is_member: Callable[[bytes], bool],
        now: float,
        hurry: bool = False,
    ) -> list[tuple[Connection, str]]:
        """Who has to go, and why. There is room for so many connections. In a `hurry` the bytes
        of all are looked at.
        """
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
        for fd in self._endless(received_bytes, is_member, hurry):
            cut[fd] = ENDLESS
            self._arrivals.add(limits.cut_arrivals, limits.arrivals_per_s, now)
        return [(self.connections[fd], why) for fd, why in cut.items()]

    def _endless(
        self, received_bytes: Callable[[int], int], is_member: Callable[[bytes], bool], hurry: bool
    ) -> list[int]:
        """Whose message is too large. Those with large ones are looked at each time, the others
        in turn.
        """
        if not self._round or hurry:
            self._round = list(self.connections)
        most = len(self._round) if hurry else limits.connections_looked_max
        looked_at = {*self._large, *self._round[-most:]}
        del self._round[-most:]
        gone = []
        for fd in looked_at & self.connections.keys():
            connection, received = self.connections[fd], received_bytes(fd)
            if connection.heard:
                connection.heard, connection.received_bytes = False, received
            come = received - connection.received_bytes
            peer = connection.peer
            known = peer is not None and is_member(peer)
            if come > (limits.message_bytes_max if known else limits.stranger_bytes_max):
                gone.append(fd)
            elif come > limits.stranger_bytes_max // 4:
                self._large[fd] = come
            else:
                self._large.pop(fd, None)
        over = sum(self._large.values()) - limits.unfinished_bytes_max
        for fd in sorted(self._large, key=self._large.__getitem__, reverse=True):
            if over <= 0:
                break
            over -= self._large[fd]
            gone.append(fd)
        return gone
