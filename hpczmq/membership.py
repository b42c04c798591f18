"""How a node stays with its master: say hello until welcomed, beat, notice the silence.

The part that slaves, memorias and clients have in common; pure, and owned by their machines.
A node that hears nothing for `lost_heartbeats` says hello again: on a new connection the master
knows it by its instance, on a new master it simply joins.
"""

from __future__ import annotations

from enum import Enum
from math import inf

from hpczmq import limits
from hpczmq.messages import Access, Beat, Control, Introduce, Message, Pong, Reject, Welcome

#: Of a new round trip's difference to the last one so much goes into the jitter (RFC 3550, 6.4.1).
_JITTER_SHARE = 1 / 16


class Due(Enum):
    """What a node has to say now."""

    NOTHING = "nothing"
    HELLO = "hello"  # it is not a member (any more)
    BEAT = "beat"  # a heartbeat is due
    PING = "ping"  # the round trip is to be measured, and the next heartbeat is far


class Membership:
    """Where a node stands with its master. Times are seconds on the owner's clock."""

    def __init__(self, ping_s: float = limits.ping_s_default) -> None:
        #: Whether the master has welcomed this process and was heard lately.
        self.joined = False
        #: The last welcome; None before the first.
        self.welcome: Welcome | None = None
        #: Whether the last welcome was to another queue than the one before: what is held of that
        #: is worth nothing. And whether it was on a connection that the master did not know: what
        #: was said on an older one may be lost.
        self.another_queue = False
        self.fresh = False
        self.heartbeat_s = limits.heartbeat_s_default
        #: Newest control state, and 0 before the first.
        self.control: Control | None = None
        self.generation = 0
        #: The newest word of the master on keys; None where they are not asked for.
        self.access: Access | None = None
        #: Number of the last heartbeat, when it was sent, and the round trip of the last echo.
        self.sequence = 0
        self.beat_s = -inf
        #: Whether the next one is due at once. When the last was sent its echo has still to know.
        self.hurried = False
        self.latency_s = self.jitter_s = 0.0
        #: How often the round trip is to be measured, and the number and time of the last ping.
        self.ping_s = ping_s
        self.pings, self.pinged_s = 0, -inf
        #: When the master was last heard, and when hello was last said.
        self.heard_s = -inf
        self.hello_s = -inf
        #: Why the master does not take this node; empty while it does.
        self.refused = ""

    def heard(self, message: Message, now: float) -> bool:
        """Take note of a message from the master. True: the node has just become a member."""
        if not isinstance(message, Control):  # that may come by PUB, and shows only that PUB is up
            self.heard_s = now
        match message:
            case Welcome():
                known = self.welcome
                self.another_queue = known is not None and known.queue != message.queue
                if self.another_queue:
                    self.control = None  # its generations are counted anew
                self.fresh = message.fresh
                self.welcome, self.heartbeat_s = message, message.heartbeat_s
                self.refused = ""
                self._control(message.control)
                was, self.joined = self.joined, True
                return not was
            case Introduce():
                self.joined = False
                self.hello_s = -inf
            case Beat(sequence=sequence) if 0 < sequence == self.sequence:  # 0 is nobody's echo
                self._measured(now - self.beat_s)
            case Pong(request=request) if 0 < request == self.pings:
                self._measured(now - self.pinged_s)
            case Control():
                self._control(message)
            case Access():
                self.access = message
            case Reject(request=0, code=code, reason=reason):
                # Of a member it is one message that was refused, and not the node.
                if code in ("protocol", "role") or not (self.joined or code == "backlog"):
                    self.refused = f"{code}: {reason}"
                    self.joined = False
            case _:
                pass
        return False

    def _measured(self, round_trip_s: float) -> None:
        if self.latency_s:
            differs_s = abs(round_trip_s - self.latency_s)
            self.jitter_s += (differs_s - self.jitter_s) * _JITTER_SHARE
        self.latency_s = round_trip_s

    def _control(self, control: Control) -> None:
        newest = self.control
        if newest is None or (control.epoch, control.generation) > (
            newest.epoch,
            newest.generation,
        ):
            self.control, self.generation = control, control.generation

    def due(self, now: float) -> Due:
        """What to say now; to be said at once, since it counts as said."""
        if self.joined and now - self.heard_s > limits.lost_heartbeats * self.heartbeat_s:
            self.joined = False
        if not self.joined:
            if now - self.hello_s < limits.hello_s:
                return Due.NOTHING
            self.hello_s = now
            return Due.HELLO
        if now - self.beat_s < self.heartbeat_s and not self.hurried:
            if now - max(self.beat_s, self.pinged_s) < self.ping_s:
                return Due.NOTHING
            self.pinged_s = now
            self.pings += 1
            return Due.PING
        self.beat_s, self.hurried = now, False
        self.sequence += 1
        return Due.BEAT
