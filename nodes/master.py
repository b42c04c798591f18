"""The master's shell: its sockets, its disk and its clock around the scheduler."""

from __future__ import annotations

import logging
import uuid
from collections import deque
from typing import assert_never

from hpczmq import limits, needs, wire
from hpczmq.config import Config
from hpczmq.messages import Chunk
from hpczmq.model import Policy
from hpczmq.nodes.shell import SOFTWARE, Shell, say_ready
from hpczmq.nodes.store import ResultStore
from hpczmq.nodes.tasks import plan
from hpczmq.scheduler import Scheduler
from hpczmq.scheduler.actions import Action, Deliver, Forget, Note, Plan, Publish, Send, Store
from hpczmq.scheduler.events import (
    Choked,
    Event,
    Received,
    Stop,
    Tick,
    Turn,
    Unreachable,
    Unwritten,
)
from hpczmq.scheduler.state import Weights
from hpczmq.transport import Sent

log = logging.getLogger(__name__)


class Master:
    """A running master."""

    def __init__(self, config: Config) -> None:
        self.shell = Shell("master", config.lifeline)
        sockets = self.shell.sockets
        self.router = sockets.router(config.bind, config.insecure)
        self.publisher = sockets.publisher(config.control_bind, config.insecure)
        self.store = ResultStore()
        self.core = Scheduler(
            self.shell.clock.now(),
            cluster=config.cluster,
            software=SOFTWARE,
            queue=uuid.uuid4().bytes,
            heartbeat_s=config.heartbeat_s,
            control_port=self.publisher.port,
            policy=Policy(config.policy),
            weights=Weights(
                config.weight_slots,
                config.weight_cpu,
                config.weight_memory,
                config.weight_latency,
                config.weight_alerts,
            ),
            spares_saturated=config.spare_saturated,
            results_bytes_max=needs.memory_bytes(config.results, "results") or self.store.room(),
        )
        #: When slaves had leases last.
        self._worked_s = float("-inf")
        self.core.state.quota = self.shell.quota  # who floods is stopped before it is decoded

    def run(self) -> None:
        """Serve until told to stop."""
        say_ready(role="master", port=self.router.port, control_port=self.publisher.port)
        log.info("master on port %d, control on %d", self.router.port, self.publisher.port)
        while not self.shell.stopping:
            self.turn()
        self.handle(Stop())
        self.store.close()
        self.shell.sockets.close()

    def turn(self) -> None:
        """Once round: everything that has arrived, then placement, then the clock."""
        state, shell = self.core.state, self.shell
        if self.router in shell.poll() or shell.quota.is_holding:
            before = shell.frames_dropped
            # While slaves work, those who come do not disturb them much.
            strange = (lambda peer: not state.is_member(peer)) if self._is_busy() else None
            for (peer,), message, buffers in shell.messages(self.router, 1, 0, strange):
                self.handle(Received(bytes(peer), message, buffers))
            # The core counts those that it drops itself.
            state.frames_dropped += shell.frames_dropped - before
        self.handle(Turn())
        now = shell.clock.now()
        if shell.tick_due(now):
            self.handle(Tick())
        shell.inspect(state.is_member, now, self._is_busy())

    def _is_busy(self) -> bool:
        """Whether slaves work, or did a while ago."""
        now = self.shell.clock.now()
        if self.core.state.leases:
            self._worked_s = now
        return now - self._worked_s < limits.busy_s

    def handle(self, event: Event) -> None:
        """Give an event to the core, and perform what it asks for, and what follows from that."""
        events = deque([event])
        while events:
            for action in self.core.handle(events.popleft(), self.shell.clock.now()):
                follow = self.perform(action)
                if follow is not None:
                    events.append(follow)

    def perform(self, action: Action) -> Event | None:
        """Do one thing; what comes of it, if the core has to know."""
        match action:
            case Send(peer, message):
                return self._sent(peer, self.router.send(wire.encode(message), peer))
            case Publish(message):
                topic = wire.TOPICS[type(message)]
                self.publisher.send(wire.encode(message, topic=topic))
            case Store(job, cursor, slave, outcomes, buffers):
                chunk = Chunk(job, cursor, slave, tuple(outcomes))
                kept_bytes = self.store.append(job, cursor, wire.encode(chunk, buffers))
                return Unwritten(job, kept_bytes) if kept_bytes else None
            case Deliver(peer, job, cursor):
                return self._deliver(peer, job, cursor)
            case Forget(job):
                self.store.forget(job)
            case Plan(peer, submit):
                return plan(peer, submit)
            case Note(text):
                log.info("%s", text)
            case _:
                assert_never(action)
        return None

    def _deliver(self, peer: bytes, job: str, cursor: int) -> Event | None:
        try:
            frames = self.store.frames(job, cursor)
        except OSError as error:
            # One client's trouble, not everybody's. It will ask again, and the disk may be back.
            remedy = "check the disk that holds temporary files, then fetch or submit it again"
            log.error("%s: chunk %d can't be read back: %s: %s", job, cursor, error, remedy)
            return None
        return self._sent(peer, self.router.send(frames, peer))

    def _sent(self, peer: bytes, sent: Sent) -> Event | None:
        if sent is Sent.GONE:
            return Unreachable(peer)
        if sent is Sent.FULL:
            # Credit ends long before this mark: the peer does not read. It will ask again.
            self.shell.complain(peer, f"{peer.hex()} does not read what it is sent")
            return Choked(peer)
        return None
