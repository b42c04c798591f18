"""The simulated master: the real `Scheduler`, in the same loop as `nodes.master`."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import assert_never

from hpczmq import limits, wire
from hpczmq.identity import KEY_BYTES, KeyRole, Member, newcomer
from hpczmq.messages import Access, Chunk, Message
from hpczmq.model import ANY_SLAVE, Metrics, Policy, SlaveState, Vitals
from hpczmq.scheduler import Scheduler, invariants
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
from hpczmq.scheduler.events import AccessChanged, Event, Received, Tick, Turn, Unreachable
from hpczmq.scheduler.placement import has_credit
from hpczmq.simulation.node import Node, Setting
from hpczmq.simulation.oracle import Oracle
from hpczmq.simulation.work import plan
from hpczmq.wire import Buffer

#: What nodes are called, and the role of their keys; all others are admins.
_ROLES = {"slave": KeyRole.SLAVE, "memoria": KeyRole.MEMORIA}
#: Each so many steps ended jobs are checked too.
_FULL_CHECK = 100


class MasterNode(Node):
    """The one master of a world."""

    def __init__(
        self, setting: Setting, oracle: Oracle, heartbeat_s: float, policy: Policy
    ) -> None:
        super().__init__(setting, "master")
        self.heartbeat_s, self.policy = heartbeat_s, policy
        self.oracle = oracle
        #: How often each was sent to each connection.
        self.delivered: Counter[tuple[bytes, str, int]] = Counter()
        #: What was sent, by kind, and what was noted.
        self.sent: Counter[str] = Counter()
        self.notes: list[str] = []
        setting.network.router = self._arrives
        setting.master_now = lambda: self.now

    def start(self) -> None:
        """Start as a new process, with an empty queue."""
        self.born()
        self.core = Scheduler(
            self.now,
            queue=self.rng.randbytes(16),
            heartbeat_s=self.heartbeat_s,
            policy=self.policy,
        )
        self._steps, self._settled = 0, set[str]()
        self._measured_s = float("-inf")
        self.oracle.begin_reign()
        self.oracle.master = self.core
        #: Chunks by job and number: as they were made, and as they travel.
        self.chunks: dict[str, list[tuple[Chunk, Sequence[Buffer]]]] = {}
        self._inbox: deque[tuple[bytes, Message, Sequence[Buffer], str]] = deque()
        self._wakes = False
        self.setting.network.up = True
        self.handle(AccessChanged(Access((), b""), frozenset()))

    def revoke(self, name: str, for_s: float) -> None:
        """Take a node's key away, for a while."""
        self.trace(self.name, "revokes the key of", name, f"for {for_s:.2f} s")
        self.setting.network.bar(name, for_s)
        self.handle(AccessChanged(Access((), b""), frozenset({_key(name)})))

    def _who(self, name: str) -> Member:
        """Whose key a message came with: that of the node's name. Clients are admins, for each
        fetches what another one has handed in; a stranger has got hold of such a key.
        """
        if name in self.setting.network.barred:
            return newcomer(_key(name))
        role = next((role for start, role in _ROLES.items() if name.startswith(start)), None)
        return Member(name, role or KeyRole.ADMIN, _key(name))

    def crash(self) -> None:
        """Be gone, with the queue and every result."""
        if self.alive:
            self.trace(self.name, "crashes")
            self.died()
            self.setting.network.shut()

    def tick(self) -> None:
        """Look at the clock."""
        self._turn()
        beat_s = self.core.state.heartbeat_s
        due = self.now - self._measured_s >= beat_s
        if due:
            self._measured_s = self.now
        metrics = Metrics(cpu_percent=10.0) if due else None
        self.handle(Tick(metrics, Vitals((10.0,), 1.0) if due else None, self.wall_s))

    def handle(self, event: Event) -> None:
        """Give an event to the core, perform what it asks for, and what follows from that."""
        events = deque([event])
        while events:
            handled = events.popleft()
            ready = {s.instance for s in self.core.state.slaves.values() if not s.state.gone}
            actions = self.core.handle(handled, self.now)
            for slave in self.core.state.slaves.values():
                if slave.state is SlaveState.LOST and slave.instance in ready:
                    self.oracle.gives_up(slave.instance)
            self._steps += 1
            invariants.check(self.core.state, self._settled if self._steps % _FULL_CHECK else None)
            if isinstance(handled, Turn):
                self._nobody_idles()
            follow = [self._perform(action) for action in actions]
            events += [event for event in follow if event is not None]

    def _nobody_idles(self) -> None:
        """After placement no slot is free for which something waits."""
        state = self.core.state
        free = [
            slave
            for slave in state.slaves.values()
            if slave.state is SlaveState.READY and not slave.saturated
            if slave.slots_taken < slave.slots
        ]
        waiting = [job for job in state.jobs.values() if job.waiting]
        if any(not job.held and job.submit.requires != ANY_SLAVE for job in waiting):
            return  # a slave may be kept for it
        for job in waiting:
            idle = [slave.name for slave in free if has_credit(slave, job)]
            waits = not job.failed_on  # else it waits for another slave
            assert not (waits and idle), f"{job.id} waits, and {idle} have nothing to do"

    def _arrives(self, peer: bytes, name: str, message: Message, buffers: Sequence[Buffer]) -> None:
        self._inbox.append((peer, message, buffers, name))
        self._wake()

    def _wake(self) -> None:
        if not self._wakes:
            self._wakes = True
            self.post_after(self.rng.choice((0.0, 0.0005, 0.002)), self._turn)

    def _turn(self) -> None:
        """Once round: everything that has arrived, then placement."""
        self._wakes = False
        for _ in range(min(len(self._inbox), limits.messages_per_turn_max)):
            peer, message, buffers, name = self._inbox.popleft()
            self.handle(Received(peer, message, buffers, self._who(name)))
        self.handle(Turn())
        if self._inbox:
            self._wake()

    def _perform(self, action: Action) -> Event | None:
        network = self.setting.network
        match action:
            case Send(peer, message):
                self.oracle.sent(peer, message)
                self.sent[type(message).__name__] += 1
                sent = network.send_down(peer, message, wire.encode(message))
                return None if sent else Unreachable(peer)
            case Publish(message):
                network.publish(message)
            case Store(job, cursor, slave, outcomes, buffers):
                self.oracle.stores(action)
                chunk = Chunk(job, cursor, slave, tuple(outcomes))
                self.chunks.setdefault(job, []).append((chunk, wire.encode(chunk, buffers)))
            case Deliver(peer, job, cursor):
                self.delivered[peer, job, cursor] += 1
                sent = network.send_down(peer, *self.chunks[job][cursor])
                return None if sent else Unreachable(peer)
            case Forget(job):
                self.chunks.pop(job, None)
            case Plan(peer, submit, owner):
                return plan(self.setting.jobs, peer, submit, owner)
            case Enlist():
                raise AssertionError("nobody has a token in this world")
            case Note(text):
                self.trace("master notes:", text)
                self.notes.append(text)
            case _:
                assert_never(action)
        return None


def _key(name: str) -> bytes:
    return name.encode().ljust(KEY_BYTES, b".")[:KEY_BYTES]
