"""What the shells of all nodes have in common: when to stop, when to look at the clock, where to
say that they are ready, and what to do with bytes that are no message.

A shell is one loop: poll, decode, handle, perform. It stops on SIGTERM, SIGINT and SIGHUP, and,
when it was started by another process of ours, as soon as that one is gone.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TextIO

import psutil

from hpczmq import descriptors, limits, wire
from hpczmq._version import __version__
from hpczmq.clock import Clock
from hpczmq.config import Config
from hpczmq.endpoint import Socket
from hpczmq.errors import ProtocolError
from hpczmq.identity import ANYBODY, KEY_BYTES, Member
from hpczmq.keyfiles import NodeKeys
from hpczmq.line import Line
from hpczmq.membership import Membership
from hpczmq.messages import Message, Reject
from hpczmq.model import Metrics, Vitals
from hpczmq.nodes.sampler import Sampler
from hpczmq.plain import block
from hpczmq.quota import Quota, flooded
from hpczmq.roles import refusal
from hpczmq.transport import Sockets

log = logging.getLogger(__name__)

SOFTWARE = f"hpczmq {__version__}"
#: Of a peer's id in the log.
_ID_DIGITS = 16


class Measured(NamedTuple):
    """What a core's `Tick` carries, in its order."""

    #: With each heartbeat; and once a report.
    metrics: Metrics | None
    vitals: Vitals | None
    #: Seconds since 1970 by this machine's clock.
    clock_s: float


class Shell:
    """The common half of a node: owns the sockets, the clock, and the wish to stop."""

    def __init__(
        self,
        config: Config,
        keys: NodeKeys | None = None,
        sockets: Sockets | None = None,
        drains: bool = False,
    ) -> None:
        self.name = config.name
        self.clock = Clock()
        self.sockets = sockets or Sockets(keys.keys if keys else None, config.insecure)
        if keys is not None:  # at once: a health check can't wait until a master tells of others
            self.sockets.callers.replace((keys.member(),))
        #: Who sent the message that was given last.
        self.who = ANYBODY
        self._gone: frozenset[bytes] = frozenset()
        self.stopping = False
        #: Whether a first SIGTERM is no more than the wish that it drains; and that it was said.
        self._drains = drains
        self.draining = False
        #: Messages that could not be used; and who was complained of, which is logged once each.
        self.frames_dropped = 0
        self._complained: set[bytes] = set()
        #: Who says too much, and what was refused.
        self.quota = Quota(self.clock.now())
        #: When a kind of refusal was logged last.
        self._alerts: dict[str, float] = {}
        self._sampler = Sampler()
        self.report_every_s = config.report_s
        self._tick_s = self._sample_s = self._report_s = float("-inf")
        self._look_s = self._forget_s = float("-inf")
        self._lifeline = sys.stdin.fileno() if config.lifeline else None
        if self._lifeline is not None:
            self.sockets.watch(self._lifeline)
        descriptors.raise_limit()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which is what nohup is for
            signal.signal(signal.SIGHUP, self._stop)

    def _stop(self, number: int, frame: object) -> None:
        if self._drains and number == signal.SIGTERM and not (self.draining or self.stopping):
            self.draining = True
            return
        # A terminal that closes may say so twice, and systemd says it right after SIGTERM.
        if self.stopping and number != signal.SIGHUP:
            os._exit(128 + number)  # asked twice: at once
        self.stopping = True

    def poll(self) -> set[object]:
        """Wait for something to read, but no longer than a tick."""
        hurry = self.sockets.is_restless(self.clock.now()) or self.quota.is_holding
        ready: set[object] = set(self.sockets.poll(limits.look_s if hurry else limits.tick_s))
        if self._lifeline in ready and not os.read(self._lifeline or 0, 4096):
            self.sockets.unwatch(self._lifeline or 0)
            self.stopping = True
        return ready

    def tick_due(self, now: float) -> bool:
        """Whether it is time for a tick; asking counts as having it."""
        if now - self._tick_s < limits.tick_s:
            return False
        self._tick_s = now
        return True

    def measured(self, now: float, every_s: float, workers: Iterable[int] = ()) -> Measured:
        """New measurements of the machine, those of them that are due."""
        metrics = vitals = None
        try:
            if now - self._sample_s >= every_s:
                self._sample_s = now
                metrics = self._sampler.sample(workers)
            if now - self._report_s >= self.report_every_s:
                self._report_s = now
                vitals = self._sampler.report()
        except (OSError, psutil.Error) as error:
            # At the bound of descriptors there is none to read /proc by: the last ones hold.
            log.debug("nothing was measured: %s", error)
        return Measured(metrics, vitals, self.clock.wall())

    def messages(
        self,
        socket: Socket,
        heads: int = 0,
        cost: float = 1.0,
        is_stranger: Callable[[bytes], bool] | None = None,
    ) -> Iterator[tuple[list[wire.Buffer], Message, Sequence[wire.Buffer]]]:
        """What has arrived at a socket: head frames, message, buffers.

        Junk is counted, and where the socket has several peers its sender is told. There each
        message has a cost too, and whoever floods us is not listened to, and cut off. After much
        that is of no use the rest is left for the next turn. Strangers, if it is told who is one,
        are heard only so often.
        """
        now, quota = self.clock.now(), self.quota
        most = quota.spent + limits.useless_per_turn_messages

        def is_muted(peer: bytes) -> bool:
            return quota.is_muted(peer, now)

        for key, *held in quota.due(now):
            read = self._read(socket, held, bytes(key), heads, cost, now)
            if read is not None:
                yield read
        for frames in socket.receive(is_muted=is_muted if heads else None, now=now):
            peer = bytes(frames[0]) if frames and heads else b""
            if peer and is_stranger is not None and is_stranger(peer):
                frames = frames if quota.hears_stranger(peer, now) else []
            if peer and frames and quota.must_wait(peer, now):
                self._hold(socket, frames, now)
            elif frames:
                read = self._read(socket, frames, socket.key, heads, cost, now)
                if read is not None:
                    yield read
            if quota.spent > most:
                break
        self._hang_up(now)

    def _hang_up(self, now: float) -> None:
        """Cut off who floods."""
        for peer in self.quota.to_cut(now):
            self.sockets.hang_up(peer, now)

    def _hold(self, socket: Socket, frames: list[wire.Buffer], now: float) -> None:
        """Leave a message for later, with the key that it came with."""
        peer = bytes(frames[0])
        if not self.quota.hold(peer, [socket.key, *frames], now):
            told = flooded()
            self.quota.count(told.code)
            socket.send(wire.encode(Reject(0, told.code, told.reason)), peer)

    def _read(
        self,
        socket: Socket,
        frames: list[wire.Buffer],
        key: bytes,
        heads: int,
        cost: float,
        now: float,
    ) -> tuple[list[wire.Buffer], Message, Sequence[wire.Buffer]] | None:
        """The message of some frames that came with a key, if it may be said."""
        peer = bytes(frames[0]) if heads else b""
        # With keys, a message without one would be nobody's: not everybody's.
        keyed = heads and self.sockets.keys is not None
        self.who = self.sockets.callers.who(key or bytes(KEY_BYTES)) if keyed else ANYBODY
        try:
            message, buffers = wire.decode(frames[heads:])
        except ProtocolError as error:
            self.drop(peer, error)
            if heads:
                self._refuse(socket, peer, error, now)
            return None
        if heads and cost and self.quota.charge(peer, cost, now):
            self._refuse(socket, peer, flooded(), now)
            return None
        if heads and cost and (why := refusal(self.who, message)):
            self._refuse(socket, peer, ProtocolError("role", why), now)
            return None
        return frames[:heads], message, buffers

    def follow(self, line: Line, membership: Membership, now: float) -> None:
        """Keep the line to the master, and go by what it says of keys."""
        before = line.trouble
        if line.look(membership, now) and line.access is not None:
            own = (line.keys.member(),) if line.keys else ()  # for `ping` beside it: a health check
            self.admit((*line.access.readers, *own), now)
        if line.trouble is not None and line.trouble is not before:
            log.warning("%s: %s; it is dialled again", line.address, line.trouble.value)

    def admit(self, members: Iterable[Member], now: float) -> frozenset[bytes]:
        """Let these in, and nobody else; gives back the keys that have to go. They are cut off."""
        gone = self.sockets.callers.replace(members)
        self._gone |= gone
        self._cut(now)
        return gone

    def _cut(self, now: float) -> None:
        """Cut off who lost its key, now and at the next tick, when the last news of who came in
        before are there.
        """
        if self._gone:
            self.sockets.cut(self._gone, now)

    def _refuse(self, socket: Socket, peer: bytes, error: ProtocolError, now: float) -> None:
        self.quota.count(error.code)
        if self.quota.charge(peer, limits.refusal_messages, now):
            error = flooded()
        reject = Reject(0, error.code, error.reason[: limits.text_chars_max])
        socket.send(wire.encode(reject), peer)

    def inspect(self, is_member: Callable[[bytes], bool], now: float, busy: bool = False) -> None:
        """Look at who is connected to our sockets, if it is time to; who has to go is cut, counted
        and logged.
        """
        restless = self.sockets.is_restless(now)
        if now - self._look_s < (limits.look_s if restless else limits.tick_s):
            return
        self._look_s = now
        self._hang_up(now)
        if now - self._forget_s >= 1.0:
            self._forget_s = now
            self.quota.forget(now)
        self._cut(now)
        self._gone = frozenset()
        cut = Counter(self.sockets.inspect(is_member, now, busy))
        self.quota.connections = self.sockets.connections
        for why, times in cut.items():
            self.quota.count(why, times)
            if self._alerts.get(why, float("-inf")) < now - limits.refusals_logged_s:
                self._alerts[why] = now
                total, there = self.quota.refused[why], self.sockets.connections
                log.warning("%s: refused %d so far, %d are connected", why, total, there)

    def drop(self, peer: wire.Buffer, error: ProtocolError) -> None:
        """Count a message that can't be used."""
        self.frames_dropped += 1
        # Without a handshake, as ZMTP 1 had none, a peer's id is whatever it sent.
        name = bytes(peer).hex()[:_ID_DIGITS] or "the master"
        self.complain(peer, f"dropped a message of {name}: {error}")

    def complain(self, peer: wire.Buffer, text: str) -> None:
        """Say what is wrong with a peer, the first time; it may be without end."""
        known = bytes(peer)
        if known not in self._complained and len(self._complained) < limits.rows_max:
            self._complained.add(known)
            log.warning("%s", text)


def nobody(peer: bytes) -> bool:
    """Who is a member of a node that only answers."""
    return False


def say_ready(**facts: Any) -> None:
    """One line of JSON on stdout: the node is up, and where."""
    print(json.dumps(facts), flush=True)


class LogFormat(logging.Formatter):
    """When, how bad, what. What comes from others is in it: no line of it passes for one of ours,
    and nothing in it moves a terminal's cursor.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, its further lines set in."""
        return block(super().format(record))


def set_up_logging(stream: TextIO, level: str) -> None:
    """Log lines to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogFormat())
    logging.basicConfig(level=level.upper(), handlers=[handler])
