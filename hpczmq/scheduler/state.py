"""What the scheduler knows: records without behaviour of their own beyond counting.

Nothing is kept of a task that waits but one byte, so that a million of them cost a megabyte.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpczmq import limits
from hpczmq.alerts import Watcher
from hpczmq.messages import Control, Message, Submit
from hpczmq.model import JobState, Metrics, SlaveState, Status, Usage
from hpczmq.quota import Quota
from hpczmq.scheduler.actions import Action
from hpczmq.scheduler.chronicle import Happening
from hpczmq.scheduler.queue import Queue
from hpczmq.scheduler.spans import Spans
from hpczmq.scheduler.states import TaskState

#: What a job asks of a slave: capability, memory, slots, labels. Jobs alike in that share the
#: search for one; plain values, since they are hashed for each lease.
Demand = tuple[str, int, int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Weights:
    """What counts how much for the policy `resources`; each part is 0 at best and 1 at worst."""

    #: Share of its slots that is taken.
    slots: float = 1.0
    #: Load of its processors, whoever causes it.
    cpu: float = 1.0
    #: Share of its memory that is in use.
    memory: float = 0.5
    #: Round trip of its heartbeat, as a share of `limits.latency_high_s`.
    latency: float = 0.5
    #: Whether one of its values is where an alert is raised if it stays there.
    alerts: float = 1.0


@dataclass(slots=True)
class Lease:
    """Tasks of one job that one slave holds. Lives until each is accounted for."""

    #: Number of the lease, never used twice in an epoch.
    id: int
    job: str
    #: Instance of the slave that holds it; the lease moves with it to a new connection.
    holder: bytes
    #: Indices that are not accounted for yet. Never empty.
    open: set[int]
    #: How many there were at first. A crash is only counted against a task that ran alone.
    size: int
    #: When it was sent, on the scheduler's clock, in seconds.
    sent_s: float
    #: Cost of all the tasks that it had at first (`JobRecord.cost`).
    cost: float
    #: Expected run time of all its tasks, in seconds; infinite while nothing is known.
    work_s: float
    #: What it takes of its slave.
    slots: int
    memory_bytes: int


@dataclass(slots=True)
class Attempt:
    """One execution of a task, or of several in one worker, that somebody may ask about."""

    #: More than one: the worker died, and of which of them nobody knows.
    indices: tuple[int, ...]
    #: The slave's instance, and its name.
    instance: bytes
    slave: str
    status: Status
    seconds: float
    ended_s: float
    #: What went wrong; empty if nothing did.
    text: str
    usage: Usage


@dataclass(slots=True)
class JobRecord:
    """One job from its submit until it is forgotten."""

    id: str
    submit: Submit
    #: Packed tasks by index; asked for only when a task is placed.
    tasks: Sequence[bytes]
    #: What a slave must offer to run it.
    capability: str
    submitted_s: float
    #: Its place among all jobs of the epoch, from 1 on; the older, the lower.
    number: int
    state: JobState = JobState.QUEUED
    #: Whether each task is an item with parameters and an outcome of its own.
    is_map: bool = field(init=False)
    demand: Demand = field(init=False)
    #: A `TaskState` per task, one byte each.
    states: bytearray = field(init=False)
    #: Indices in the order in which they are placed, and the place of each; empty: as they come.
    order: Sequence[int] = ()
    places: Sequence[int] = ()
    #: What each task is expected to take, in seconds on some machine or other, 4 bytes each;
    #: empty: nobody knows, and each costs 1.
    costs: Sequence[float] = ()
    #: First place whose task was never placed; everything after it is WAITING.
    next: int = 0
    #: Indices before `next` to be placed again; may hold some that are not WAITING any more.
    returned: deque[int] = field(default_factory=deque)
    #: Lease of each LEASED index, and of no other.
    leases: dict[int, int] = field(default_factory=dict)
    #: The other lease of each index that was started a second time and has not ended.
    second: dict[int, int] = field(default_factory=dict)
    #: Indices that ever were; none is started a second time twice.
    doubled: set[int] = field(default_factory=set)
    #: Times that an index killed its worker while it ran alone; being here means: run it alone.
    crashes: dict[int, int] = field(default_factory=dict)
    #: Times that the kernel raised, of indices that were to be tried again.
    tries: dict[int, int] = field(default_factory=dict)
    #: Where each open index has failed by itself, by instance, and when.
    failed_on: dict[int, dict[bytes, float]] = field(default_factory=dict)
    #: By open task: slaves that it was taken from. They may have run it all the same, and then
    #: their results are welcome.
    taken_from: dict[int, set[bytes]] = field(default_factory=dict)
    #: When the next try of each DELAYED index is due, and of no other.
    due: dict[int, float] = field(default_factory=dict)
    #: Attempts that went wrong, and how those tasks came out at last; oldest first.
    history: deque[Attempt] = field(default_factory=lambda: deque(maxlen=limits.attempts_kept_max))
    spans: Spans = field(default_factory=Spans)
    #: What all attempts so far have used: CPU seconds of user and system, and the largest worker.
    user_s: float = 0.0
    system_s: float = 0.0
    peak_bytes: int = 0
    #: How many tasks are in each state, by the state's number. Sums to the number of tasks.
    counts: list[int] = field(init=False)
    #: Of those with costs: the cost of all that wait.
    waiting_cost: float = field(init=False)
    #: Seconds that a cost of 1 takes, as the newest reports have it. Before the first result it is
    #: 1 where there are costs, and else None.
    unit_s: float | None = field(init=False)
    #: Run times of all that are done, together, in seconds, and their cost.
    took_s: float = 0.0
    took_cost: float = 0.0
    #: Leases that slaves hold of it: its share of the cluster.
    held: int = 0
    #: Executions handed out.
    attempts: int = 0
    #: Chunks stored so far; the next one gets this number. And what each takes.
    chunks: int = 0
    chunk_bytes: array[int] = field(default_factory=lambda: array("Q"))
    #: What all of them take, and what of that the disk did not; what the record itself takes.
    results_bytes: int = 0
    unwritten_bytes: int = 0
    held_bytes: int = 0
    #: Whether some client has all of it, its end too.
    taken: bool = False
    started_s: float | None = None
    ended_s: float | None = None
    #: Why it failed or was cancelled.
    cause: str = ""

    def __post_init__(self) -> None:
        self.states = bytearray(len(self.tasks))
        self.counts = [len(self.tasks), 0, 0, 0, 0, 0]
        self.is_map = bool(self.submit.items)
        self.waiting_cost = sum(self.costs)
        self.unit_s = 1.0 if self.costs else None
        requires = self.submit.requires
        self.demand = self.capability, requires.memory_bytes, requires.slots, requires.labels

    def put_in_order(self, order: Sequence[int]) -> None:
        """Have the tasks placed in this order; nothing is placed yet."""
        assert not self.next, f"{self.id} has begun"
        assert len(order) in (0, len(self.states)), f"{self.id} would be placed in part"
        places = array("I", bytes(4 * len(order)))
        for place, index in enumerate(order):
            places[index] = place
        self.order, self.places = order, places

    def was_placed(self, index: int) -> bool:
        """Whether a task was ever handed out; one that the job does not have was not."""
        if index >= len(self.states):
            return False
        return (self.places[index] if self.places else index) < self.next

    def is_held(self, index: int, lease: int) -> bool:
        """Whether a lease holds a task, as its only or its other start."""
        return lease in (self.leases.get(index), self.second.get(index))

    def cost(self, index: int) -> float:
        """What a task takes beside the others of its job."""
        return self.costs[index] if self.costs else 1.0

    @property
    def next_s(self) -> float | None:
        """How long the task that is placed next should run, in seconds; None: nobody knows."""
        if self.unit_s is None or not self.costs:
            return self.unit_s
        if self.returned:
            return self.unit_s * self.costs[self.returned[0]]
        if self.next < len(self.states):
            return self.unit_s * self.costs[self.order[self.next] if self.order else self.next]
        return 0.0

    @property
    def waiting(self) -> int:
        """Tasks that could be placed now."""
        return self.counts[TaskState.WAITING]


@dataclass(slots=True)
class Blame:
    """A task that is suspected of having taken its slave down; taken back if that returns."""

    job: str
    index: int
    #: Whether it was alone in its slot, so that it counts; and whether nothing was held against
    #: it before.
    alone: bool
    first: bool


@dataclass(slots=True)
class SlaveRecord:
    """One slave process, known by its instance for as long as it or its memory lasts."""

    instance: bytes
    #: Its present connection; None once that is gone.
    peer: bytes | None
    name: str
    address: str
    slots: int
    capabilities: frozenset[str]
    heard_s: float
    state: SlaveState = SlaveState.READY
    #: What it is as long as it is heard: READY, or closed (DRAINING, QUARANTINED); and why.
    rest: SlaveState = SlaveState.READY
    reason: str = ""
    #: When it was closed last.
    closed_s: float = 0.0
    #: When a task succeeded elsewhere that had failed here, oldest first; and how many succeeded
    #: here since the first of them.
    strikes: deque[float] = field(default_factory=lambda: deque(maxlen=limits.strikes_max))
    good: int = 0
    #: When it became SILENT last.
    doubted_s: float = 0.0
    #: Leases it holds, oldest first.
    leases: dict[int, Lease] = field(default_factory=dict)
    #: Sum of the expected run times of its leases, in seconds.
    work_s: float = 0.0
    #: Memory for all of its tasks, in bytes, and what it says of itself.
    memory_bytes: int = 0
    labels: frozenset[str] = frozenset()
    #: Slots and memory that its leases take; more slots than it has, if some are prefetched.
    slots_taken: int = 0
    memory_taken_bytes: int = 0
    #: How far its clock is ahead of the master's, at most (`spans`), and when that was seen.
    ahead_s: float = float("-inf")
    ahead_at_s: float = 0.0
    #: Whether one of them takes several slots: then nothing is prefetched, or it might start
    #: beside that one.
    is_wide: bool = False
    metrics: Metrics = field(default_factory=Metrics)
    #: The rules of `alerts`, looked at with each heartbeat.
    watchers: list[Watcher] = field(default_factory=list)
    #: The saturation alert that keeps new work away from it; empty: none.
    saturated: str = ""
    #: When it was last asked for a sign of life.
    probed_s: float = float("-inf")
    #: Newest control generation that it has acknowledged.
    generation: int = 0
    #: Of a LOST one: whom its loss was counted against.
    blames: list[Blame] = field(default_factory=list)


@dataclass(slots=True)
class Watch:
    """A client's wish for the chunks of one job."""

    request: int
    #: Next chunk to deliver.
    cursor: int
    #: First chunk that may not be delivered before the client asks again.
    limit: int
    #: What was delivered and not asked beyond: numbers of chunks, and what each takes.
    sent: deque[tuple[int, int]] = field(default_factory=deque)


@dataclass(slots=True)
class ClientRecord:
    """A connection of a client or a memoria."""

    name: str
    instance: bytes
    heard_s: float
    #: Wishes by job; and those jobs with chunks that wait until some of the others are read.
    watches: dict[str, Watch] = field(default_factory=dict)
    stalled: dict[str, None] = field(default_factory=dict)
    #: What was sent and is not known to be there: how much, when the last of it was sent, and
    #: when it became less last, or began.
    backlog_bytes: int = 0
    sent_s: float = float("-inf")
    moved_s: float = float("-inf")
    #: Of a memoria: where it answers.
    address: str = ""


@dataclass(slots=True)
class ClusterState:
    """All of it. Only the scheduler's modules touch it, one event at a time."""

    cluster: str
    software: str
    epoch: int
    #: Identity of this queue; a master that does not go on with an older one's has its own.
    queue: bytes
    heartbeat_s: float
    control_port: int
    #: The newest control state, as it is published.
    control: Control
    started_s: float
    #: When the event at hand came.
    now_s: float = 0.0
    weights: Weights = field(default_factory=Weights)
    #: Whether a slave under a saturation alert gets nothing new.
    spares_saturated: bool = True
    #: Jobs by id, oldest first, ended ones included until they are forgotten.
    jobs: dict[str, JobRecord] = field(default_factory=dict)
    #: Job of each uid, so that a submit said twice is one job.
    uids: dict[bytes, str] = field(default_factory=dict)
    #: Jobs with waiting tasks: for each priority, their ids in the order of their turns.
    queues: dict[int, Queue] = field(default_factory=dict)
    #: Ids of ended jobs, oldest end first.
    ended: deque[str] = field(default_factory=deque)
    #: What open and ended jobs take in memory, and what all results take; of these, what the disk
    #: did not; and what results may take.
    open_bytes: int = 0
    ended_bytes: int = 0
    results_bytes: int = 0
    unwritten_bytes: int = 0
    results_bytes_max: int = limits.results_bytes_max
    #: Why nothing new is taken in or placed; empty: there is room.
    full: str = ""
    #: What all clients together were sent and is not known to be there.
    backlog_bytes: int = 0
    #: What clients were cut off for that have not asked again, by instance.
    cut_off: dict[bytes, str] = field(default_factory=dict)
    #: Leases by id; exactly those in the slaves' records.
    leases: dict[int, Lease] = field(default_factory=dict)
    #: Slaves by instance, in the order of their arrival, lost ones included for a while.
    slaves: dict[bytes, SlaveRecord] = field(default_factory=dict)
    #: Instance of the slave at each connection of a slave.
    peers: dict[bytes, bytes] = field(default_factory=dict)
    #: Slots of each READY slave that no alert keeps work away from, by instance; and all of them.
    open: dict[bytes, int] = field(default_factory=dict)
    slots_open: int = 0
    #: Instances of those that might take one more lease, in turn.
    free: dict[bytes, None] = field(default_factory=dict)
    #: Clients and memorias by connection.
    clients: dict[bytes, ClientRecord] = field(default_factory=dict)
    #: Answers to the last orders, by the instance that gave them and their request's number.
    orders: dict[tuple[bytes, int], Message] = field(default_factory=dict)
    #: Connections that watch a job, by job.
    watchers: dict[str, set[bytes]] = field(default_factory=dict)
    #: A heap of what is due when: (when, a number, job, index of a DELAYED task, or −1 for the
    #: job's deadline). What came to its end before that is left in it, and not heeded.
    alarms: list[tuple[float, int, str, int]] = field(default_factory=list)
    alarms_made: int = 0
    #: How many there may be before those that came to nothing are taken out.
    alarms_max: int = limits.alarms_kept
    #: Slaves that just got a strike.
    struck: set[bytes] = field(default_factory=set)
    #: Attempts with lines of a log, oldest first, and the characters of all these.
    logs: deque[Attempt] = field(default_factory=deque)
    logs_chars: int = 0
    spans_kept: int = 0
    happenings: deque[Happening] = field(
        default_factory=lambda: deque(maxlen=limits.events_kept_max)
    )
    jobs_made: int = 0
    leases_made: int = 0
    tasks_done: int = 0
    frames_dropped: int = 0
    #: Who says too much, and what was refused.
    quota: Quota = field(default_factory=Quota)
    #: When room was last made for new clients.
    cleared_s: float = float("-inf")
    #: When stragglers were last looked for.
    seen_s: float = float("-inf")
    #: When the control state was last published.
    published_s: float = float("-inf")
    #: The last moves of tasks: (job, index, from, to, when). An impossible move shows its part.
    story: deque[tuple[str, int, int, int, float]] = field(
        default_factory=lambda: deque(maxlen=10_000)
    )
    #: What the event at hand has asked for so far.
    actions: list[Action] = field(default_factory=list)

    def is_member(self, peer: bytes) -> bool:
        """Whether a connection is a slave's, a client's or a memoria's."""
        return peer in self.peers or peer in self.clients
