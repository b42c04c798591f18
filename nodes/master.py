"""The master's shell: its sockets, its disk and its clock around the scheduler."""

from __future__ import annotations

import logging
import uuid
from collections import deque
from typing import assert_never

from hpczmq import credentials, limits, needs, roles, wire
from hpczmq.addresses import is_loopback
from hpczmq.clock import Clock
from hpczmq.config import Config
from hpczmq.endpoint import Sent
from hpczmq.errors import BindError, ConfigError, HpczmqError, shown
from hpczmq.identity import KeyRole, fingerprint
from hpczmq.keyring import Keyring
from hpczmq.messages import Access, Chunk
from hpczmq.model import Policy
from hpczmq.nodes.rulefile import rules_of
from hpczmq.nodes.shell import SOFTWARE, Shell, say_ready
from hpczmq.nodes.store import ResultStore
from hpczmq.nodes.tasks import plan
from hpczmq.scheduler import Scheduler
from hpczmq.scheduler.actions import (
    Action,
    Deliver,
    Enlist,
    Forget,
    Note,
    Plan,
    Publish,
    Send,
    Store,
)
from hpczmq.scheduler.events import (
    AccessChanged,
    Choked,
    Enlisted,
    Event,
    Received,
    Stop,
    Tick,
    Turn,
    Unreachable,
    Unwritten,
)
from hpczmq.scheduler.state import Weights
from hpczmq.transport import Keys, Sockets

log = logging.getLogger(__name__)


class Master:
    """A running master."""

    def __init__(self, config: Config) -> None:
        #: The cluster's keys; None: it has none.
        self.keyring = credentials.of_master(config)
        self.shell = Shell(config, sockets=Sockets(_keys(self.keyring), config.insecure))
        sockets = self.shell.sockets
        self.router = sockets.router(config.bind)
        self.publisher = sockets.publisher(config.control_bind)
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
            rules=rules_of(config),
            spares_saturated=config.spare_saturated,
            results_bytes_max=needs.memory_bytes(config.results, "results") or self.store.room(),
        )
        #: When slaves had leases last.
        self._worked_s = float("-inf")
        self.core.state.quota = self.shell.quota  # who floods is stopped before it is decoded
        beyond = not all(map(is_loopback, (config.bind, config.control_bind)))
        self.core.state.insecure = config.insecure and beyond
        if self.keyring is not None:
            self._take_keys(self.keyring)

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
                self.handle(Received(bytes(peer), message, buffers, shell.who))
            # The core counts those that it drops itself.
            state.frames_dropped += shell.frames_dropped - before
        self.handle(Turn())
        now = shell.clock.now()
        if shell.tick_due(now):
            self.handle(Tick(*shell.measured(now, state.heartbeat_s)))
            if self.keyring is not None:
                self._look_at_keys(self.keyring)
        shell.inspect(state.is_member, now, self._is_busy())

    def _is_busy(self) -> bool:
        """Whether slaves work, or did a while ago."""
        now = self.shell.clock.now()
        if self.core.state.leases:
            self._worked_s = now
        return now - self._worked_s < limits.busy_s

    def _look_at_keys(self, keyring: Keyring) -> None:
        """Go by the folder of keys as it is now, and by the clock."""
        now, sockets = self.shell.clock.wall(), self.shell.sockets
        if keyring.changed():
            try:
                keyring.load()
            except ConfigError as error:  # half written by hand, say
                log.error("the keys stay as they were: %s", error)
            self._take_keys(keyring)
        sockets.callers.opens = keyring.has_tokens(now)
        pair = keyring.cluster.at(now)
        assert sockets.keys is not None, "a keyring makes keys"
        if pair.public != sockets.keys.pair.public:
            try:
                self.router.rebind(pair)
                self.publisher.rebind(pair)
            except BindError as error:
                log.info("%s: tried again", error)
                return
            sockets.keys = Keys(pair, pair.public)
            log.info("the cluster's key is %s from now on", fingerprint(pair.public))
            self._take_keys(keyring)

    def _take_keys(self, keyring: Keyring) -> None:
        members = keyring.members()
        readers = tuple(one for one in members if one.role in roles.MAY_ASK_NODES)
        access = Access(
            readers[: limits.readers_max], keyring.cluster.next_key(self.shell.clock.wall())
        )
        revoked = self.shell.admit(members, self.shell.clock.now())
        self.shell.sockets.callers.opens = keyring.has_tokens(self.shell.clock.wall())
        self.handle(AccessChanged(access, revoked))

    def _enlist(self, asked: Enlist) -> Enlisted:
        """Make a key a member's, if its token is good."""
        assert self.keyring is not None, "without keys nobody has to join"
        try:
            one = self.keyring.enrol(asked.token, asked.name, asked.key, self.shell.clock.wall())
        except HpczmqError as error:
            log.warning("a token was refused")
            return Enlisted(asked.peer, asked.request, asked.name, KeyRole.NEWCOMER, str(error))
        log.info("%s joins as %s by a token", shown(one.name), one.role.name.lower())
        self._take_keys(self.keyring)
        return Enlisted(asked.peer, asked.request, one.name, one.role)

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
            case Plan(peer, submit, owner):
                return plan(peer, submit, owner)
            case Enlist():
                return self._enlist(action)
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


def _keys(keyring: Keyring | None) -> Keys | None:
    """What the master's sockets need of its keyring."""
    if keyring is None:
        return None
    pair = keyring.cluster.at(Clock().wall())
    return Keys(pair, pair.public)
