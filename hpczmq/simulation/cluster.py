"""The nodes of a large, plain world: a real machine each, and as little as possible around it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpczmq import limits, wire
from hpczmq.errors import ParameterError
from hpczmq.items import Items
from hpczmq.messages import PROTOCOL, Assign, Chunk, Message, Submit, Submitted
from hpczmq.model import Outcome, Requires, Status
from hpczmq.nodes import tasks
from hpczmq.scheduler import Scheduler, actions, events, invariants
from hpczmq.session import Answered, Follow, Gone, Over, Session, Turned, Wish
from hpczmq.session import Received as Heard
from hpczmq.session import Send as Say
from hpczmq.session import Tick as Look
from hpczmq.wire import Buffer
from hpczmq.worker import (
    KillSlot,
    Received,
    RunLease,
    Send,
    SlotAnswered,
    SlotDied,
    SlotReady,
    StartSlot,
    Tick,
    Worker,
)

if TYPE_CHECKING:
    from hpczmq.simulation.forecast import Simulation, Work

#: How often a slave and a client look at the clock. Real ones do so ten times a second, of which
#: most find nothing to do.
_TICK_S = 0.25
#: How long the master waits for more messages before its turn, and a worker takes to start and to
#: be killed, in seconds.
_TURN_S, _START_S, _KILL_S = 0.001, 0.5, 0.01
#: When the jobs come: the slaves are here by then, as in a cluster that stands.
_SETTLE_S = 2.0
_TASK = b"\x00"


class Master:
    """The real `Scheduler`, which takes what has arrived once in a turn."""

    def __init__(self, world: Simulation) -> None:
        self.world, self.timeline = world, world.timeline
        self.core = Scheduler(0.0, policy=world.plan.policy)
        #: Whom a message to a connection reaches.
        self.peers: dict[bytes, _Node] = {}
        self.lost = self.inbox_peak = self.waiting_peak = 0
        #: Chunks that the client has not taken yet, by job and number.
        self.chunks: dict[tuple[str, int], tuple[Chunk, Sequence[Buffer]]] = {}
        #: The work of each job of the master's, once it has a name.
        self.works: dict[str, Work] = {}
        self._inbox: deque[tuple[bytes, Message, Sequence[Buffer]]] = deque()
        self._wakes = False
        self._generation = 0
        self.timeline.after(limits.tick_s, self._tick)

    def arrives(self, peer: bytes, message: Message, buffers: Sequence[Buffer]) -> None:
        """A message is here."""
        self._inbox.append((peer, message, buffers))
        if not self._wakes:
            self._wakes = True
            self.timeline.after(_TURN_S, self._turn)

    def gone(self, peer: bytes) -> None:
        """A connection has been reset."""
        if self.peers.pop(peer, None) is not None:
            self._handle(events.Unreachable(peer))

    def check(self) -> None:
        """Whether the books agree with themselves."""
        invariants.check(self.core.state)

    def _turn(self) -> None:
        self._wakes = False
        inbox = self._inbox
        self.inbox_peak = max(self.inbox_peak, len(inbox))
        for _ in range(min(len(inbox), limits.messages_per_turn_max)):
            self._handle(events.Received(*inbox.popleft()))
        self._handle(events.Turn())
        if inbox:
            self._wakes = True
            self.timeline.after(0.0, self._turn)

    def _tick(self) -> None:
        self._handle(events.Tick())
        waiting = sum(job.waiting for job in self.core.state.jobs.values())
        self.waiting_peak = max(self.waiting_peak, waiting)
        self._handle(events.Turn())
        self.timeline.after(limits.tick_s, self._tick)

    def _handle(self, event: events.Event) -> None:
        for action in self.core.handle(event, self.timeline.now):
            self._perform(action)

    def _perform(self, action: actions.Action) -> None:
        match action:
            case actions.Send(peer, message):
                self._send(peer, message, ())
            case actions.Store(job, cursor, slave, outcomes, buffers):
                accepted = self.works[job].accepted
                for outcome in outcomes:
                    assert not accepted[outcome.index], f"{job}/{outcome.index} is accepted twice"
                    accepted[outcome.index] = 1
                self.chunks[job, cursor] = Chunk(job, cursor, slave, tuple(outcomes)), buffers
            case actions.Deliver(peer, job, cursor):
                stored = self.chunks.get((job, cursor))
                if stored is not None:  # else the client has it, and asks since an answer was lost
                    self._send(peer, *stored)
            case actions.Plan(peer, submit, _):
                self._handle(tasks.plan(peer, submit))
                id = self.core.state.uids[submit.uid]
                self.works[id] = self.world.works[int.from_bytes(submit.uid)]
            case actions.Publish(message):
                self._publish(message)
            case actions.Note(text):
                self.lost += " is lost (" in text
            case _:
                pass

    def _publish(self, message: Message) -> None:
        """Measurements have no listener here. Control goes to all; only a newer one is news."""
        control = self.core.state.control
        if message is control:
            frames = wire.encode(message, topic=wire.TOPICS[type(message)])
            self.world.messages += len(self.peers)
            self.world.bytes += len(self.peers) * sum(map(len, frames))

    def _send(self, peer: bytes, message: Message, buffers: Sequence[Buffer]) -> None:
        node = self.peers.get(peer)
        if node is None:
            self._handle(events.Unreachable(peer))
            return
        self.world.count(wire.encode(message, buffers))
        node.down_s = self.world.carry(node.down_s, node.hears, peer, message, buffers)


class _Node:
    """What a slave and a client have in common: a connection."""

    def __init__(self, world: Simulation) -> None:
        self.world, self.timeline = world, world.timeline
        self.alive = False
        self.peer = b""
        #: When the last message arrives, to the master and from it.
        self.up_s = self.down_s = 0.0

    def hears(self, peer: bytes, message: Message, buffers: Sequence[Buffer]) -> None:
        """A message is here."""
        raise NotImplementedError

    def connect(self) -> None:
        """Get a connection that nobody had before."""
        self.peer = self.world.rng.randbytes(5)
        self.up_s = self.down_s = 0.0
        self.world.master.peers[self.peer] = self

    def say(self, message: Message, buffers: Sequence[Buffer] = ()) -> None:
        """Send to the master."""
        world = self.world
        world.count(wire.encode(message, buffers))
        self.up_s = world.carry(self.up_s, world.master.arrives, self.peer, message, buffers)


class Slave(_Node):
    """The real `Worker`, around slots that only let time pass."""

    def __init__(self, world: Simulation, name: str) -> None:
        super().__init__(world)
        self.name = name
        #: Which life this is, and which lease each slot runs, counted: what belongs to an older
        #: one is void. And what runs in each slot since when, for as long as it runs.
        self.life = 0
        self._runs: list[int] = []
        self._since_s: list[float | None] = []

    def start(self) -> None:
        """Start as a new process."""
        world = self.world
        self.alive = True
        self.life += 1
        world.back += self.life > 1
        slots, rng = world.plan.slots, world.rng
        self.instance = rng.randbytes(16)
        self.core = Worker(
            self.name, self.instance, slots, world.capabilities,
            protocol=PROTOCOL, memory_bytes=limits.memory_bytes_max, labels=world.labels,
        )  # fmt: skip
        self._runs, self._since_s = [0] * slots, [None] * slots
        world.slaves[self.instance] = self
        self.connect()
        self.timeline.after(_TICK_S * rng.random(), self._tick, self.life)

    def crash(self, is_known: bool) -> None:
        """Be gone, with all that ran; the master may hear of it at once."""
        world, now = self.world, self.timeline.now
        for since_s in self._since_s:
            if since_s is not None:
                world.executions += 1
                world.busy_s += now - since_s
        self.alive = False
        del world.slaves[self.instance]
        if is_known:
            self.timeline.after(world.plan.latency_s, world.master.gone, self.peer)
        else:
            world.master.peers[self.peer] = self  # nobody reads there any more
        self.peer = b""

    def hears(self, peer: bytes, message: Message, buffers: Sequence[Buffer]) -> None:
        """A message is here."""
        if self.alive and peer == self.peer:
            self._handle(Received(message))

    def _tick(self, life: int) -> None:
        if self.alive and life == self.life:
            self._handle(Tick())
            self.timeline.after(_TICK_S, self._tick, life)

    def _handle(self, event: Received | Tick | SlotReady | SlotAnswered | SlotDied) -> None:
        for action in self.core.handle(event, self.timeline.now):
            match action:
                case Send(message, buffers):
                    self.say(message, buffers)
                case RunLease(slot, lease):
                    self._run(slot, lease)
                case StartSlot(slot):
                    self.timeline.after(_START_S, self._ready, self.life, slot)
                case KillSlot(slot):
                    self._kill(slot)
                case _:
                    pass

    def _ready(self, life: int, slot: int) -> None:
        if self.alive and life == self.life:
            self._handle(SlotReady(slot))

    # --- Slots --------------------------------------------------------------------------------

    def _run(self, slot: int, lease: Assign) -> None:
        self._runs[slot] += 1
        self._next(self.life, slot, self._runs[slot], lease, 0)

    def _next(self, life: int, slot: int, run: int, lease: Assign, first: int) -> None:
        """Run tasks until there is something to report: for as long as `report_flush_s`."""
        if life != self.life or not self.alive or run != self._runs[slot]:
            return
        world = self.world
        work = world.master.works[lease.job]
        self._since_s[slot] = self.timeline.now
        outcomes: list[Outcome] = []
        took_s, status = 0.0, Status.VALUE if work.pixels is None else Status.ARRAY
        for task in lease.tasks[first:]:
            lasts_s = world.lasts(work, task.index)
            if lease.timeout_s and lasts_s > lease.timeout_s:
                break
            took_s += lasts_s
            outcomes.append(Outcome(task.index, status, lasts_s, _TASK))
            if took_s > limits.report_flush_s or lease.timeout_s:
                break
        if outcomes:  # else its worker is going to be killed
            what = (life, slot, run, lease, first, outcomes, work)
            self.timeline.after(took_s, self._answered, *what)

    def _answered(
        self,
        life: int,
        slot: int,
        run: int,
        lease: Assign,
        first: int,
        outcomes: list[Outcome],
        work: Work,
    ) -> None:
        if life != self.life or not self.alive or run != self._runs[slot]:
            return
        world, since_s = self.world, self._since_s[slot]
        assert since_s is not None, "what ends has begun"
        world.executions += len(outcomes)
        world.busy_s += self.timeline.now - since_s
        self._since_s[slot] = None
        buffers = () if work.pixels is None else (work.pixels,) * len(outcomes)
        done = first + len(outcomes)
        self._handle(SlotAnswered(slot, outcomes, buffers))
        if done < len(lease.tasks):
            self._next(life, slot, run, lease, done)

    def _kill(self, slot: int) -> None:
        self._runs[slot] += 1
        since_s, self._since_s[slot] = self._since_s[slot], None
        if since_s is not None:
            self.world.executions += 1
            self.world.busy_s += self.timeline.now - since_s
        self.timeline.after(_KILL_S, self._died, self.life, slot)

    def _died(self, life: int, slot: int) -> None:
        if self.alive and life == self.life:
            self._handle(SlotDied(slot, "signal SIGKILL"))


class Client(_Node):
    """The real `Session`: hands all jobs in at once, and reads all results."""

    def __init__(self, world: Simulation) -> None:
        super().__init__(world)
        self.core = Session("client", world.rng.randbytes(16), protocol=PROTOCOL)
        self.begun_s = 0.0
        self.open = len(world.works)
        self._wished = False

    @property
    def over(self) -> bool:
        """Whether the last result is here."""
        return not self.open

    def start(self) -> None:
        """Connect, and hand the jobs in as soon as slaves are here."""
        self.alive = True
        self.connect()
        self.timeline.after(_SETTLE_S, self._tick)

    def hears(self, peer: bytes, message: Message, buffers: Sequence[Buffer]) -> None:
        """A message is here."""
        self._handle(Heard(message, buffers))
        if isinstance(message, Chunk):
            followed = self.core.followed.get(message.job)
            if followed is None or followed.cursor > message.cursor:  # it will not be asked again
                self.world.master.chunks.pop((message.job, message.cursor), None)

    def _tick(self) -> None:
        self._handle(Look())
        self.timeline.after(_TICK_S, self._tick)

    def _handle(self, event: Heard | Look | Wish | Follow) -> None:
        world = self.world
        for action in self.core.handle(event, self.timeline.now):
            match action:
                case Say(message):
                    self.say(message)
                case Turned(joined=True) if not self._wished:
                    self._submit_all()
                case Answered(_, Submitted(job=job)):
                    self._handle(Follow(job))
                case Answered(token, answer):
                    raise ParameterError("job", token, f"must be one that is taken: {answer}")
                case Over(job, info):
                    work = world.master.works[job]
                    work.ended_s, work.state = self.timeline.now, info.state
                    self.open -= 1
                case Gone(job, reason):
                    raise AssertionError(f"{job} is gone: {reason}")
                case _:
                    pass

    def _submit_all(self) -> None:
        self._wished = True
        self.begun_s = self.timeline.now
        for number, work in enumerate(self.world.works):
            job = work.job
            submit = Submit(
                0, number.to_bytes(16), job.kernel, work.params, Items(), job.name, job.priority,
                float(job.timeout_s or 0.0), Requires.of(job.requires), job.retries,
                float(job.deadline_s or 0.0),
            )  # fmt: skip
            self._handle(Wish(number, submit))
