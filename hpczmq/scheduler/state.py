"""What the scheduler knows, of its slaves, its clients and all together; of its jobs see `jobs`."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpczmq import limits
from hpczmq.alerts import Readings, Rule, Watcher
from hpczmq.identity import ANYBODY, Member
from hpczmq.messages import Access, Control, Message
from hpczmq.model import Alert, Metrics, Outcome, SlaveState, Status
from hpczmq.quota import Quota
from hpczmq.scheduler.actions import Action
from hpczmq.scheduler.chronicle import Happening
from hpczmq.scheduler.jobs import Attempt, JobRecord, Lease
from hpczmq.scheduler.queue import Queue


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
    #: Whose key it has; the same on each of its connections.
    who: Member = ANYBODY
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
    #: What it runs, as it says.
    software: str = ""
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
    readings: Readings = field(default_factory=Readings)
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
class Tally:
    """What became of tasks since the start of the master."""

    #: Tasks that failed for good.
    failed: int = 0
    #: Executions that came to nothing, of tasks that went on or did not.
    errors: int = 0
    crashes: int = 0
    timeouts: int = 0
    #: Times that a task was to be run once more, or was started a second time.
    again: int = 0
    #: Of all accepted results.
    result_bytes: int = 0

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """Count executions that came to nothing."""
        for outcome in outcomes:
            self.errors += outcome.status is Status.ERROR
            self.crashes += outcome.status is Status.CRASH
            self.timeouts += outcome.status is Status.TIMEOUT


@dataclass(slots=True)
class ClientRecord:
    """A connection of a client or a memoria."""

    name: str
    instance: bytes
    heard_s: float
    who: Member = ANYBODY
    #: Wishes by job; and those jobs with chunks that wait until some of the others are read.
    watches: dict[str, Watch] = field(default_factory=dict)
    stalled: dict[str, None] = field(default_factory=dict)
    #: What was sent and is not known to be there: how much, when the last of it was sent, and
    #: when it became less last, or began.
    backlog_bytes: int = 0
    sent_s: float = float("-inf")
    moved_s: float = float("-inf")
    #: Of a memoria: where it answers, and the alerts that it reported last.
    address: str = ""
    alerts: tuple[Alert, ...] = ()


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
    #: Answers to the last orders, by who gave them (key, instance) and their request's number.
    orders: dict[tuple[bytes, bytes, int], Message] = field(default_factory=dict)
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
    #: Which nodes of another protocol were refused, as it was said: each is an event once.
    refusals: set[str] = field(default_factory=set)
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
    tally: Tally = field(default_factory=Tally)
    #: Tasks that wait, as they were counted last.
    tasks_waiting: int = 0
    #: When slaves were lost lately, by name; the newest loss of all is the last.
    losses: dict[str, deque[float]] = field(default_factory=dict)
    #: When a slave has no room.
    rules: Sequence[Rule] = ()
    frames_dropped: int = 0
    #: What nodes have to know of keys; None: they are not asked for. And whether that is so
    #: beyond this machine.
    access: Access | None = None
    insecure: bool = False
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
