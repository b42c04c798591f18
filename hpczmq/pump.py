"""The client's thread: it owns the socket and the session, and calls back what arrives.

Other threads only leave events and wake it up. Everything that touches a sink or answers a wish
happens here, one after the other.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import assert_never

from hpczmq import limits, session, wire
from hpczmq._version import __version__
from hpczmq.clock import Clock
from hpczmq.endpoint import Trouble
from hpczmq.errors import HpczmqError, NoCluster, ProtocolError, Refused
from hpczmq.futures import Sink
from hpczmq.keyfiles import NodeKeys
from hpczmq.line import Line
from hpczmq.messages import PROTOCOL, Message
from hpczmq.session import (
    Action,
    Answered,
    Arrived,
    Event,
    Follow,
    GiveUp,
    Gone,
    Over,
    Received,
    Send,
    Session,
    Stop,
    Tick,
    Turned,
    Unfollow,
    Warned,
    Wish,
)
from hpczmq.transport import Sockets

log = logging.getLogger(__name__)


class Pump(threading.Thread):
    """One connection to one master."""

    def __init__(
        self, address: str, name: str, keys: NodeKeys | None = None, insecure: bool = False
    ) -> None:
        super().__init__(name=f"hpczmq client of {address}", daemon=True)
        self.address = address
        #: Set when the master has welcomed us, or has refused us (then `refused` says why).
        self.met = threading.Event()
        self.refused = ""
        #: What was wrong with the last message that was none; empty while all of them were good.
        self.junk = ""
        self._core = Session(
            name, uuid.uuid4().bytes, protocol=PROTOCOL, software=f"hpczmq {__version__}"
        )
        self._clock = Clock()
        # Made here, where a wrong address can be told to who gave it; used in the thread only.
        self._sockets = Sockets(keys.keys if keys else None, insecure)
        self._line = Line(self._sockets, address, keys)
        self._calls: deque[Event] = deque()
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)
        self._lock = threading.Lock()
        self._tokens = 0
        #: Who waits for the answer to a wish, by its token.
        self._waiting: dict[int, Future[Message]] = {}
        self._sinks: dict[str, Sink] = {}
        self._closing = False
        #: How long the master has been away, as far as this thread was there to see it, and when
        #: it looked last.
        self._away_s = 0.0
        self._looked_s = self._clock.now()

    # --- From any thread ----------------------------------------------------------------------

    def ask(self, request: session.Request) -> Future[Message]:
        """Send a request until it is answered; a Reject is an answer too.

        Cancelling the future gives the request up. A job that is accepted all the same is
        cancelled then, for nobody would know of it.

        Raises:
            NoCluster: the client is closed.
        """
        waiting: Future[Message] = Future()
        with self._lock:
            self._tokens += 1
            token = self._tokens
            self._waiting[token] = waiting
        waiting.add_done_callback(lambda done: self._give_up(token) if done.cancelled() else None)
        self._leave(Wish(token, request))
        return waiting

    @property
    def trouble(self) -> Trouble | None:
        """Why the last try to connect failed before a word was said; None: it did not."""
        return self._line.trouble

    @property
    def away_s(self) -> float:
        """How long the master has been away; nothing while it is here.

        Time in which this process stood still itself (Ctrl-Z, and fg) does not count.
        """
        return self._away_s

    def followed(self, job: str) -> Sink | None:
        """Where the outcomes of a job go, while they come."""
        return self._sinks.get(job)

    def follow(self, job: str, sink: Sink, keeps: bool = True) -> None:
        """Have the outcomes of a job go to a sink, which keeps them, or only looks at them.

        Raises:
            Refused: this client follows the job already; there is one future for it.
        """
        with self._lock:
            if job in self._sinks:
                raise Refused("followed", f"{job}: this client follows it already: keep its future")
            self._sinks[job] = sink
        self._leave(Follow(job, keeps))

    def unfollow(self, job: str) -> None:
        """Nobody wants the outcomes of a job any more."""
        if self._sinks.pop(job, None) is not None:
            self._leave(Unfollow(job))

    def close(self) -> None:
        """Say goodbye and end the thread. What is still awaited fails."""
        with suppress(NoCluster):  # somebody else has closed it
            self._leave(Stop())
        if threading.current_thread() is not self:
            self.join()

    def _give_up(self, token: int) -> None:
        self._waiting.pop(token, None)
        with suppress(NoCluster):  # closed: nobody asks any more
            self._leave(GiveUp(token))

    def _leave(self, event: Event) -> None:
        with self._lock:
            if self._closing:
                raise NoCluster(f"{self.address}: this client is closed: make a new one")
            self._calls.append(event)
            with suppress(BlockingIOError):  # full of wake-ups already
                os.write(self._woken, b"!")

    # --- In the thread ------------------------------------------------------------------------

    def run(self) -> None:
        """Poll, decode, handle, perform, until closed."""
        sockets = self._sockets
        sockets.watch(self._wake)
        try:
            while not self._closing:
                ready = sockets.poll(limits.tick_s)
                if self._wake in ready:
                    os.read(self._wake, 4096)
                while self._calls and not self._closing:
                    self._handle(self._calls.popleft())
                if self._line.dealer in ready:
                    self._receive()
                self._handle(Tick())
                self._look()
        finally:
            with self._lock:
                self._closing = True
            sockets.close()
            os.close(self._wake)
            os.close(self._woken)
            closed = NoCluster(f"{self.address}: the client was closed before the end")
            for waiting in list(self._waiting.values()):
                if waiting.set_running_or_notify_cancel():
                    waiting.set_exception(closed)
            for sink in list(self._sinks.values()):
                sink.fail(closed)

    def _look(self) -> None:
        """Keep the line to the master, and measure how long it has been away."""
        now = self._clock.now()
        self._line.look(self._core.membership, now)
        if self.trouble in (Trouble.KEY, Trouble.MECHANISM):  # it does not go away by waiting
            self.met.set()
        passed_s, self._looked_s = now - self._looked_s, now
        if self._core.membership.joined:
            self._away_s = 0.0
        else:
            self._away_s += min(passed_s, limits.turn_s_max)

    def _receive(self) -> None:
        for frames in self._line.dealer.receive():
            try:
                message, buffers = wire.decode(frames)
            except ProtocolError as error:
                if not self.junk:
                    log.warning("dropped a message of the master: %s", error)
                self.junk = str(error)
                continue
            self._handle(Received(message, buffers))

    def _handle(self, event: Event) -> None:
        for action in self._core.handle(event, self._clock.now()):
            try:
                self._perform(action)
            except HpczmqError as error:
                log.warning("%s", error)
            except Exception:  # a user's callback must not end everybody's connection
                log.exception("a callback failed")
        if isinstance(event, Stop):
            with self._lock:
                self._closing = True

    def _perform(self, action: Action) -> None:
        match action:
            case Send(message):
                self._line.dealer.send(wire.encode(message))
            case Answered(token, answer):
                waiting = self._waiting.pop(token, None)
                if waiting is not None and waiting.set_running_or_notify_cancel():
                    waiting.set_result(answer)
            case Arrived(job, slave, outcomes, buffers):
                sink = self._sinks.get(job)
                if sink is not None:  # it may have been dropped a moment ago
                    sink.take(slave, outcomes, buffers)
            case Over(job, info):
                sink = self._sinks.pop(job, None)
                if sink is not None:
                    sink.over(info)
            case Gone(job, reason):
                sink = self._sinks.pop(job, None)
                if sink is not None:
                    sink.fail(NoCluster(f"{job} is gone: {reason}"))
            case Turned(_, why):
                self.refused = why
                self.met.set()
            case Warned(reason):
                log.warning("%s: this client was %s", self.address, reason)
            case _:
                assert_never(action)
