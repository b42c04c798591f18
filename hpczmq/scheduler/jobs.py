"""What the scheduler knows of jobs: records without behaviour of their own beyond counting.

Nothing is kept of a task that waits but one byte, so that a million of them cost a megabyte.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpczmq import limits
from hpczmq.messages import Submit
from hpczmq.model import JobState, Status, Usage
from hpczmq.scheduler.spans import Spans
from hpczmq.scheduler.states import TaskState

#: What a job asks of a slave: capability, memory, slots, labels. Jobs alike in that share the
#: search for one; plain values, since they are hashed for each lease.
Demand = tuple[str, int, int, tuple[str, ...]]


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
    #: The key of who submitted it; empty where keys are not asked for.
    owner: bytes = b""
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
    #: Where and when its tasks ran.
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
    #: When an outcome of it was accepted last.
    moved_s: float = 0.0
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
