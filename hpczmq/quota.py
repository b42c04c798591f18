"""How much a peer may say that is of no use: pure, and the same for whoever has a ROUTER.

Rules:

1. Work is never counted: a report of a lease, a new job. What costs the node time and brings
   nothing on (hellos, questions, repetitions, what is refused) is a debt, which falls with time.
2. A peer whose debt passes its bound is told so once, and what it says is dropped, before it is
   decoded, for `flood_mute_s`. No node of ours comes near; one that does says it all again later.
3. What all peers owe together is bounded too. While it is above that bound, a peer needs only
   `useless_pressed_messages` to be muted: so a thousand connections get no more than one.
4. New members have a bound of their own, so that ten thousand slaves come back at once after a
   restart, and nobody can go on for ever with new ones.

A debt of 1 is what an average small message costs the master, some 30 µs.
"""

from __future__ import annotations

from hpczmq import limits
from hpczmq.errors import ProtocolError


class _Debt:
    """What is owed; it falls by so much each second."""

    __slots__ = ("debt", "since_s")

    def __init__(self, now: float) -> None:
        self.debt, self.since_s = 0.0, now

    def add(self, cost: float, per_s: float, now: float) -> float:
        self.debt = max(0.0, self.debt - per_s * (now - self.since_s)) + cost
        self.since_s = now
        return self.debt


class Quota:
    """Debts of peers, and what was refused, by code."""

    def __init__(self, now: float = 0.0) -> None:
        #: What was refused or dropped, by the code that its sender was told.
        self.refused: dict[str, int] = {}
        #: Connections at the sockets, as the shell counts them.
        self.connections = 0
        #: Debts by peer, the least recent first; of the many the oldest are forgotten.
        self._debts: dict[bytes, _Debt] = {}
        self._together = _Debt(now)
        self._newcomers = _Debt(now)
        #: Until when a peer is not listened to.
        self._muted: dict[bytes, float] = {}

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
        return True

    def charge(self, peer: bytes, cost: float, now: float, *, alone: bool = False) -> bool:
        """Add to a peer's debt; True: it has passed its bound by this, and is muted from now on.

        With `alone` it does not count for all of them together: what each of many honest nodes
        does all the time.
        """
        debt = self._debts.pop(peer, None) or _Debt(now)
        if len(self._debts) >= limits.nodes_max:
            del self._debts[next(iter(self._debts))]
        self._debts[peer] = debt
        owed = debt.add(cost, limits.useless_messages_per_s, now)
        shared = 0.0 if alone else cost
        together = self._together.add(shared, limits.useless_together_messages_per_s, now)
        pressed = not alone and together > limits.useless_together_messages_max
        bound = limits.useless_pressed_messages if pressed else limits.useless_messages_max
        if owed <= bound:
            return False
        if len(self._muted) >= limits.nodes_max:
            del self._muted[next(iter(self._muted))]
        self._muted[peer] = now + limits.flood_mute_s
        return True

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
