"""What must be true of the whole world, whoever says what: it sees everything, and forgets nothing.

It keeps its own books from what the machines do, and never believes theirs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from hpczmq import limits
from hpczmq.messages import Ack, Assign, Ended, Message, Report
from hpczmq.model import Outcome, Status, Task
from hpczmq.scheduler import Scheduler
from hpczmq.scheduler.actions import Store
from hpczmq.scheduler.states import TaskState
from hpczmq.simulation.work import Fate, SimJob, paired
from hpczmq.worker import Worker

_ENDED = (TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED)


@dataclass(slots=True)
class Granted:
    """A lease, as it was sent."""

    instance: bytes
    job: str
    indices: tuple[int, ...]
    #: Slots that it takes.
    slots: int


@dataclass(slots=True)
class Stored:
    """What was accepted of one job."""

    chunks: int = 0
    #: By index: the outcome, and its buffer.
    outcomes: dict[int, tuple[Outcome, bytes | None]] = field(default_factory=dict)


class Oracle:
    """The books of the world."""

    def __init__(self, jobs: list[SimJob]) -> None:
        self._jobs = jobs
        #: Whether nothing goes wrong in this world, so that credit can be held to the letter.
        self.strict = False
        #: The master's core; set when it starts.
        self.master: Scheduler
        self.begin_reign()
        #: By instance and number.
        self._reports: dict[tuple[bytes, int], Report] = {}
        #: Under any master: who was given which task, in which lease; and leases of one task.
        self._given: set[tuple[bytes, int, str, int]] = set()
        self._alone: set[tuple[int, str]] = set()
        #: Instances that don't keep to the protocol: what they say binds nobody.
        self.strangers: set[bytes] = set()
        #: Workers that died of themselves, by the task they ran; the second for tasks in company.
        self.deaths: Counter[tuple[str, int]] = Counter()
        #: Tasks that were begun, by job.
        self.begun: Counter[str] = Counter()

    def begin_reign(self) -> None:
        """Another master begins, and knows of nothing."""
        self._known: dict[str, SimJob] = {}
        self.granted: dict[int, Granted] = {}
        self.stored: dict[str, Stored] = {}
        #: Slaves that this master may have counted against a task.
        self.losses: Counter[tuple[str, int]] = Counter()
        #: Tasks that this master has handed out.
        self._handed: Counter[tuple[str, int]] = Counter()
        #: Tasks that it handed out while another slave had them: who is slow is not waited for.
        self._raced: defaultdict[str, set[int]] = defaultdict(set)

    def doubled(self, job: str) -> int:
        """How many tasks of a job were started on a second slave while the first had them."""
        return len(self._raced[job])

    def job(self, id: str) -> SimJob:
        """What was made up for a job that the master knows, or has just forgotten."""
        if id not in self._known:
            name = self.master.state.jobs[id].submit.name
            self._known[id] = self._jobs[int(name.removeprefix("job "))]
        return self._known[id]

    # --- The master ---------------------------------------------------------------------------

    def sent(self, peer: bytes, message: Message) -> None:
        """The master sends this."""
        match message:
            case Assign():
                self._assigned(peer, message)
            case Ack(reports):
                for number in reports:
                    self._acknowledged(peer, number)
            case Ended(chunks=chunks, info=info):
                assert info.state.ended, f"{info.id} has ended, and is {info.state.name}"
                assert chunks == self._of(info.id).chunks, f"{info.id} ends before its last chunk"
            case _:
                pass

    def stores(self, action: Store) -> None:
        """The master accepts these outcomes."""
        books, job = self._of(action.job), self.job(action.job)
        assert action.cursor == books.chunks, f"{action.job} skips from chunk {books.chunks}"
        books.chunks += 1
        assert action.outcomes, f"chunk {action.cursor} of {action.job} is empty"
        buffers = [bytes(buffer) for buffer in action.buffers]
        for outcome, buffer in paired(list(action.outcomes), buffers):
            index = outcome.index
            assert index not in books.outcomes, f"{action.job}/{index} is accepted twice"
            handed = (action.job, index) in self._handed
            assert handed, f"{action.job}/{index} is accepted, and was never handed out"
            self._judge(action.job, job, outcome, buffer)
            books.outcomes[index] = (outcome, buffer)

    def _judge(self, id: str, job: SimJob, outcome: Outcome, buffer: bytes | None) -> None:
        if outcome.status is Status.CRASH:
            # By chance a worker may also die of what is nobody's fault, but never so often.
            key = (id, outcome.index)
            deaths = self.deaths[key]
            lost = deaths + self.losses[key]
            assert lost >= limits.crash_limit, f"{id}/{outcome.index} failed after {lost}"
            if deaths < limits.crash_limit and job.fates.get(outcome.index) is not Fate.KILLS:
                job.fates[outcome.index] = Fate.UNLUCKY
        assert job.fits(outcome, buffer), f"{id}/{outcome.index} came out as {outcome}"

    def _assigned(self, peer: bytes, lease: Assign) -> None:
        state = self.master.state
        instance = state.peers[peer]
        slave, job = state.slaves[instance], state.jobs[lease.job]
        indices = tuple(task.index for task in lease.tasks)
        assert lease.lease not in self.granted, f"lease {lease.lease} is sent twice"
        assert not job.state.ended, f"{lease.job} has ended, and is handed out"
        assert job.capability in slave.capabilities, f"{slave.name} can't run {lease.job}"
        needs = self.job(lease.job).requires
        assert needs.slots <= slave.slots, f"{slave.name} is too narrow for {lease.job}"
        assert needs.memory_bytes <= slave.memory_bytes, f"{slave.name} is too small"
        assert slave.labels.issuperset(needs.labels), f"{slave.name} has not {needs.labels}"
        assert len(set(indices)) == len(indices), f"lease {lease.lease} has a task twice"
        done = self._of(lease.job).outcomes.keys() & set(indices)
        assert not done, f"{lease.job}/{sorted(done)} are handed out, and were accepted"
        self.granted[lease.lease] = Granted(instance, lease.job, indices, needs.slots)
        held = job.second.keys() & set(indices)
        again = sorted(held & self._raced[lease.job])
        assert not again, f"{lease.job}/{again} are started a second time once more"
        self._raced[lease.job] |= held
        self._handed.update((lease.job, index) for index in indices)
        self._given.update((instance, lease.lease, lease.job, index) for index in indices)
        if len(indices) == 1:
            self._alone.add((lease.lease, lease.job))

    def _acknowledged(self, peer: bytes, number: int) -> None:
        state = self.master.state
        instance = state.peers[peer]
        if instance in self.strangers:
            return
        report = self._reports.get((instance, number))
        assert report is not None, f"report {number} is acknowledged, and was never made"
        job = state.jobs.get(report.job)
        if job is None or job.state.ended:
            return
        accepted = self._of(report.job).outcomes
        for outcome in report.outcomes:
            again = outcome.status is Status.CRASH or (
                outcome.status is Status.ERROR and self.job(report.job).retries
            )
            # Of two starts the one that comes to nothing leaves it to the other.
            given = self._handed[report.job, outcome.index]
            again = again or (not outcome.status.good and given > 1)
            safe = outcome.index in accepted or again
            assert safe, f"{report.job}/{outcome.index} is acknowledged, and not stored"

    def gives_up(self, instance: bytes) -> None:
        """The master is about to lose a slave: what that may be running has lost it."""
        for lease in self.granted.values():
            if lease.instance == instance and len(lease.indices) == 1:
                self.losses[lease.job, lease.indices[0]] += 1

    def _of(self, job: str) -> Stored:
        return self.stored.setdefault(job, Stored())

    # --- The slaves ---------------------------------------------------------------------------

    def reported(self, instance: bytes, report: Report) -> None:
        """A slave sends this, for the first time or again."""
        known = self._reports.setdefault((instance, report.report), report)
        assert known == report, f"report {report.report} was another one before"
        for outcome in report.outcomes:
            key = (instance, report.lease, report.job, outcome.index)
            assert key in self._given, f"{report.job}/{outcome.index} was not this slave's"

    def started(self, instance: bytes, lease: Assign, task: Task, now: float) -> None:
        """A worker begins a task; `now` is the master's."""
        key = (instance, lease.lease, lease.job, task.index)
        assert key in self._given, f"lease {lease.lease} of {lease.job} was not this slave's"
        job = self.master.state.jobs.get(lease.job)
        ended_s = None if job is None else job.ended_s
        late = self.strict and ended_s is not None and now - ended_s > 0.1
        assert not late, f"{lease.job}/{task.index} is begun after the end of its job"
        self.begun[lease.job] += 1

    def died(self, lease: Assign, index: int) -> None:
        """A worker dies by itself; it counts for the task that it had for itself, begun or not."""
        if (lease.lease, lease.job) in self._alone:
            self.deaths[lease.job, index] += 1

    def look_at(self, worker: Worker, instance: bytes) -> None:
        """A slave has just moved: it may only have what it was given, and no more than it may."""
        running = {slot.lease.lease for slot in worker.slots if slot.lease is not None}
        books = self.master.state.slaves.get(instance)
        known: Iterable[int] = () if books is None else books.leases
        held = running | worker.queue.keys()
        wanted = len(held if self.strict else held & set(known))
        assert wanted <= 2 * len(worker.slots), f"{wanted} leases in {len(worker.slots)} slots"
        if self.strict:
            taken = [self.granted[lease].slots for lease in held]
            alone = max(taken, default=1) == 1
            assert alone or sum(taken) <= len(worker.slots), f"{taken} of {len(worker.slots)} slots"
