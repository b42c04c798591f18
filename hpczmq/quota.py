"""How much a peer may say that is of no use: pure, and the same for whoever has a ROUTER.

Rules:

1. Work is never counted: a report of a lease, a new job. What costs the node time and brings
   nothing on (hellos, questions, repetitions, what is refused) is a debt, which falls with time.
2. A peer whose debt passes its bound is told so once, and what it says is dropped, before it is
   decoded, for `flood_mute_s`; soon its connection is cut. No node of ours comes near; one that
   does comes back and says it all again.
3. What all peers owe together is bounded too. While it is above that bound, what a peer says
   that owes `useless_pressed_messages` itself waits until it has paid: so a thousand connections
   get no more than one. A peer that waits for its answers is slowed down by that and loses
   nothing; one with more than `held_messages_max` that wait floods, and is muted.
4. Who is no member has little to say. While slaves work, all strangers together are heard only so
   often, and what is above that is dropped unread: a node that joins says hello again.
5. New members have a bound of their own, so that ten thousand slaves come back at once after a
   restart, and nobody can go on for ever with new ones.

A debt of 1 is what an average small message costs the master, some 30 µs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from hpczmq import limits
from hpczmq.errors import ProtocolError

Frames = Sequence[bytes | bytearray | memoryview]


class Debt:
    """What is owed; it falls by so much each second."""

    __slots__ = ("debt", "since_s")

    def __init__(self, now: float) -> None:
        self.debt, self.since_s = 0.0, now

    def add(self, cost: float, per_s: float, now: float) -> float:
        """Owe so much more; what is owed now."""
        self.debt = max(0.0, self.debt - per_s * (now - self.since_s)) + cost
        self.since_s = now
        return self.debt


class _Held:
    """Messages that wait, of each peer in their order; bounded."""

    def __init__(self) -> None:
        self.by_peer: dict[bytes, deque[Frames]] = {}
        self._messages = self._bytes = 0

    def add(self, peer: bytes, frames: Frames) -> bool:
        """Keep a message, if there is room."""
        held, size = self.by_peer.get(peer, ()), sum(map(len, frames))
        if (
            len(held) >= limits.held_messages_max
            or self._messages >= limits.held_together_messages_max
            or self._bytes + size > limits.held_bytes_max
        ):
            return False
        self.by_peer.setdefault(peer, deque()).append(frames)
        self._messages += 1
        self._bytes += size
        return True

    def take(self, peer: bytes) -> Frames:
        """The oldest message of a peer that has some."""
        held = self.by_peer[peer]
        frames = held.popleft()
        if not held:
            del self.by_peer[peer]
        self._messages -= 1
        self._bytes -= sum(map(len, frames))
        return frames

    def drop(self, peer: bytes) -> None:
        """Forget all of a peer."""
        while peer in self.by_peer:
            self.take(peer)


class Quota:
    """Debts of peers, and what was refused, by code."""

    def __init__(self, now: float = 0.0) -> None:
        #: What was refused or dropped, by the code that its sender was told.
        self.refused: dict[str, int] = {}
        #: Connections at the sockets, as the shell counts them.
        self.connections = 0
        #: What all of it together cost so far; a turn of the loop has its bound.
        self.spent = 0.0
        #: Debts by peer, the least recent first; of the many the oldest are forgotten.
        self._debts: dict[bytes, Debt] = {}
        self._together = Debt(now)
        self._newcomers = Debt(now)
        self._strangers = Debt(now)
        #: Messages that wait.
        self._held = _Held()
        #: Until when a peer is not listened to; and who is muted and has not been cut off.
        self._muted: dict[bytes, float] = {}
        self._to_cut: deque[tuple[bytes, float]] = deque()

    def count(self, code: str, times: int = 1) -> None:
        """Count something that was refused. There are few codes; a new one past the bound is
        counted with the others."""
        if code not in self.refused and len(self.refused) >= limits.refusal_codes_max:
            code = "other"
        self.refused[code] = self.refused.get(code, 0) + times

    def is_muted(self, peer: bytes, now: float) -> bool:
        """Whether a message of this peer is to be dropped unread; if so it is counted."""
        if not self._muted or peer not in self._muted:
            return False
        if now >= self._muted[peer]:
            del self._muted[peer]
            return False
        self.count("flood")
        self.spent += limits.dropped_messages
        return True

    def charge(self, peer: bytes, cost: float, now: float, *, alone: bool = False) -> bool:
        """Add to a peer's debt; True: it has passed its bound by this, and is muted from now on.

        With `alone` it counts for all of them together only once the peer does it often: it is
        what each of many honest nodes does all the time.
        """
        self.spent += cost
        owed = self._owes(peer, cost, now)
        shared = 0.0 if alone and owed - cost <= limits.useless_pressed_messages else cost
        self._together.add(shared, limits.useless_together_messages_per_s, now)
        if owed <= limits.useless_messages_max:
            return False
        self._mute(peer, now)
        return True

    def _owes(self, peer: bytes, cost: float, now: float) -> float:
        debt = self._debts.pop(peer, None) or Debt(now)
        if len(self._debts) >= limits.nodes_max:
            del self._debts[next(iter(self._debts))]
        self._debts[peer] = debt
        return debt.add(cost, limits.useless_messages_per_s, now)

    def _mute(self, peer: bytes, now: float) -> None:
        if len(self._muted) >= limits.nodes_max:
            del self._muted[next(iter(self._muted))]
        self._muted[peer] = now + limits.flood_mute_s
        self._to_cut.append((peer, now + limits.flood_told_s))

    def must_wait(self, peer: bytes, now: float) -> bool:
        """Whether what a peer says is for later: it owes something, while all owe too much."""
        return peer in self._held.by_peer or self._is_slowed(peer, now)

    def _is_slowed(self, peer: bytes, now: float) -> bool:
        debt = self._debts.get(peer)
        if debt is None or debt.debt <= limits.useless_pressed_messages:
            return False
        together = self._together.add(0.0, limits.useless_together_messages_per_s, now)
        if together <= limits.useless_together_messages_max:
            return False
        owed = debt.add(0.0, limits.useless_messages_per_s, now)
        return owed > limits.useless_pressed_messages

    def hold(self, peer: bytes, frames: Frames, now: float) -> bool:
        """Keep a message for later; False: that is too much, and its sender is muted."""
        self.spent += limits.dropped_messages
        if self._held.add(peer, frames):
            return True
        self._held.drop(peer)
        self._mute(peer, now)
        return False

    @property
    def is_holding(self) -> bool:
        """Whether something waits."""
        return bool(self._held.by_peer)

    def due(self, now: float) -> Iterator[Frames]:
        """Messages that have waited long enough: of each peer until it is too much again."""
        for peer in list(self._held.by_peer):
            while peer in self._held.by_peer and not self._is_slowed(peer, now):
                yield self._held.take(peer)

    def hears_stranger(self, peer: bytes, now: float) -> bool:
        """Whether there is time for one more message of somebody who is no member. One that goes
        on and on is muted.
        """
        strangers = self._strangers
        said = strangers.add(0.0, limits.strangers_messages_per_s, now)
        if said >= limits.strangers_messages_max:
            self.count("strangers")
            self.spent += limits.dropped_messages
            if self._owes(peer, 1.0, now) > limits.useless_pressed_messages:
                self._mute(peer, now)
            return False
        strangers.debt += 1
        return True

    def to_cut(self, now: float) -> Iterator[bytes]:
        """Peers to be cut off now: they are muted, and have had time to read why."""
        while self._to_cut and self._to_cut[0][1] <= now:
            yield self._to_cut.popleft()[0]

    def newcomer(self, now: float) -> bool:
        """Whether there is room for one more new member just now; it counts as one if so."""
        newcomers = self._newcomers
        if newcomers.add(0.0, limits.newcomers_per_s, now) >= limits.newcomers_max:
            return False
        newcomers.debt += 1
        return True

    def forget(self, now: float) -> None:
        """Drop the debts that are paid, and who is listened to again."""
        for peer, debt in list(self._debts.items()):
            if debt.debt <= limits.useless_messages_per_s * (now - debt.since_s):
                del self._debts[peer]
        for peer, until_s in list(self._muted.items()):
            if now >= until_s:
                del self._muted[peer]


def flooded() -> ProtocolError:
    """What a peer that is not listened to any more is told."""
    wait_s = limits.flood_mute_s
    return ProtocolError("flood", f"too many messages: nothing is heard for {wait_s:.0f} s")
