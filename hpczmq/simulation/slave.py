"""A simulated slave: the real `Worker`, around worker processes that only pretend to work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import assert_never

from hpczmq import limits, wire
from hpczmq.messages import PROTOCOL, Assign, Message, Report
from hpczmq.model import Metrics, Outcome, Task, Vitals
from hpczmq.simulation.network import Dealer
from hpczmq.simulation.node import Node, Setting
from hpczmq.simulation.oracle import Oracle
from hpczmq.simulation.work import Fate, job_of
from hpczmq.wire import Buffer
from hpczmq.worker import (
    Action,
    Drain,
    Event,
    Exit,
    KillSlot,
    Note,
    Received,
    RunLease,
    Send,
    SlotAnswered,
    SlotDied,
    SlotReady,
    StartSlot,
    Stop,
    Subscribe,
    Tick,
    Worker,
)

#: What a slave has for each of its slots.
SLOT_BYTES = 1000


class SlotProcess:
    """One worker process: ready after a while, runs leases, dies when it must."""

    def __init__(self, slave: SlaveNode, slot: int) -> None:
        self.slave, self.slot = slave, slot
        self.alive = True
        self.lease: Assign | None = None
        #: Tasks of the lease that have not ended, and what waits to be reported.
        self._left: list[Task] = []
        self._outcomes: list[Outcome] = []
        self._buffers: list[bytes] = []
        self._flushed_s = 0.0
        #: When the last of what it said is read.
        self._said_s = 0.0

    @property
    def task(self) -> Task | None:
        """The task that runs now."""
        return self._left[0] if self._left and self.alive else None

    def start(self) -> None:
        """Load the kernels, which may take long, or fail."""
        rng, dice = self.slave.rng, self.slave.rng.random()
        if self.slave.setting.faults and dice < 0.02:
            return  # it never says that it is ready
        if self.slave.broken or (self.slave.setting.faults and dice < 0.15):
            self._later(rng.uniform(0.0, 0.3), lambda: self.die("exit code 1"))
        else:
            self._later(rng.uniform(0.02, 0.2), self._ready)

    def run(self, lease: Assign) -> None:
        """Run the tasks of a lease, in order."""
        assert not self._left, f"{self.slave.name} runs two leases in slot {self.slot}"
        self.lease, self._left = lease, list(lease.tasks)
        self._flushed_s = self.slave.timeline.now
        if self.alive:
            self._next()
        else:  # it died idle, and the slave has not noticed yet: the task takes the blame
            self.slave.oracle.died(lease, lease.tasks[0].index)

    def die(self, how: str) -> None:
        """End now; what was said before is still read."""
        if self.alive:
            if self.lease is not None and self._left:
                self.slave.oracle.died(self.lease, self._left[0].index)
            self.alive = False
            self._say(partial(self.slave.slot_died, self, how))

    def kill(self) -> None:
        """Be ended by the slave."""
        if self.alive:
            self.alive = False
            self._say(partial(self.slave.slot_died, self, "signal SIGKILL"))

    def _ready(self) -> None:
        self._say(lambda: self.slave.handle(SlotReady(self.slot)))

    def _next(self) -> None:
        assert self.lease is not None
        slave, task = self.slave, self._left[0]
        job = job_of(slave.setting.jobs, self.lease, task)
        slave.oracle.started(slave.instance, self.lease, task, slave.setting.master_now())
        took_s = job.run_s(slave.rng, task.index) * slave.times_slower
        fate = job.fates.get(task.index)
        if fate is Fate.KILLS or slave.cursed:
            self._later(took_s / 2, lambda: self.die("signal SIGSEGV"))
        elif fate is not Fate.HANGS:
            self._later(took_s, lambda: self._ended(took_s))

    def _ended(self, took_s: float) -> None:
        assert self.lease is not None
        task = self._left.pop(0)
        job = job_of(self.slave.setting.jobs, self.lease, task)
        outcome, buffers = job.answer(task.index, took_s)
        self._outcomes.append(outcome)
        self._buffers += buffers
        late = self.slave.timeline.now - self._flushed_s > limits.report_flush_s
        if late or self.lease.timeout_s or not self._left:
            self._flush()
        if self._left:
            self._next()

    def _flush(self) -> None:
        event = SlotAnswered(self.slot, tuple(self._outcomes), tuple(self._buffers))
        self._outcomes, self._buffers, self._flushed_s = [], [], self.slave.timeline.now
        self._say(lambda: self.slave.handle(event))

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        def due() -> None:
            if self.alive:
                call()

        self.slave.timeline.after(delay_s, self.slave.mine(due))

    def _say(self, call: Callable[[], None]) -> None:
        """Through its pipe to the slave, in order."""
        now = self.slave.timeline.now
        self._said_s = max(self._said_s, now + self.slave.rng.uniform(0.0, 0.002))
        self.slave.post_after(self._said_s - now, call)


class SlaveNode(Node):
    """One machine that runs tasks."""

    def __init__(
        self, setting: Setting, name: str, oracle: Oracle, slots: int, capabilities: Sequence[str]
    ) -> None:
        super().__init__(setting, name)
        self.oracle = oracle
        self.slots, self.capabilities = slots, tuple(capabilities)
        #: Whether every task kills its worker here, and here alone.
        self.cursed = False
        #: Whether no worker process ever starts here.
        self.broken = False
        #: How much longer than elsewhere everything takes here.
        self.times_slower = 1.0
        #: What its measurements say.
        self.cpu_percent = 0.0
        self.processes: dict[int, SlotProcess] = {}

    def start(self) -> None:
        """Start as a new process."""
        self.born()
        self.instance = self.rng.randbytes(16)
        self.core = Worker(
            self.name,
            self.instance,
            self.slots,
            self.capabilities,
            protocol=PROTOCOL,
            memory_bytes=self.slots * SLOT_BYTES,
            labels=(f"name={self.name}",),
        )
        self.processes = {}
        self.dealer = Dealer(self.setting.network, self.name, self.post, self._read)

    def crash(self, linger_s: float = 0.0) -> None:
        """Be gone, with everything."""
        if self.alive:
            self.trace(self.name, "is gone")
            self.died()
            self.dealer.close(linger_s)
            self.processes = {}

    def stop(self) -> None:
        """End on purpose."""
        self.post(lambda: self.handle(Stop()))

    def drain(self, within_s: float) -> None:
        """End when what runs has ended."""
        self.post(lambda: self.handle(Drain(within_s, "told to end")))

    def tick(self) -> None:
        """Look at the clock."""
        vitals = Vitals((self.cpu_percent,), 1.0) if self.rng.random() < 0.05 else None
        self.handle(Tick(Metrics(cpu_percent=self.cpu_percent), vitals, self.wall_s))

    def handle(self, event: Event) -> None:
        """Give an event to the core, perform what it asks for, and look for contradictions."""
        for action in self.core.handle(event, self.now):
            self._perform(action)
        self.core.check()
        if self.alive:
            self.oracle.look_at(self.core, self.instance)

    def slot_died(self, process: SlotProcess, how: str) -> None:
        """The end of a worker process has been noticed."""
        if self.processes.get(process.slot) is process:
            del self.processes[process.slot]
            self.handle(SlotDied(process.slot, how))

    def _read(self, message: Message, buffers: Sequence[Buffer]) -> None:
        self.handle(Received(message))

    def _perform(self, action: Action) -> None:
        match action:
            case Send(message, buffers, None):
                if isinstance(message, Report):
                    self.oracle.reported(self.instance, message)
                self.dealer.send(message, buffers)
            case Send():
                raise AssertionError(f"nobody asked {self.name} for {action}")
            case Subscribe():
                self.dealer.subscribe(wire.TOPIC_CONTROL)
            case StartSlot(slot):
                assert slot not in self.processes, f"slot {slot} is started twice"
                self.trace(self.name, "starts worker", slot)
                self.processes[slot] = SlotProcess(self, slot)
                self.processes[slot].start()
            case RunLease(slot, lease):
                self.trace(self.name, "worker", slot, "runs lease", lease.lease, "of", lease.job)
                self.processes[slot].run(lease)
            case KillSlot(slot):
                self.trace(self.name, "kills worker", slot)
                if slot in self.processes:
                    self.processes[slot].kill()
            case Note(text):
                self.trace(self.name, "notes:", text)
            case Exit():
                self.crash(linger_s=1.0)
            case _:
                assert_never(action)
