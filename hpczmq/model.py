"""The nouns of the system that more than one module speaks of.

Plain frozen values, without behaviour beyond checking themselves. What travels between nodes is
in `messages`; what a user hands in and gets back is here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Annotated, Any, Final, NamedTuple

from hpczmq import limits, needs

# Given on: whoever speaks of the nouns needs these too.
from hpczmq.bounds import NO_QUEUE as NO_QUEUE
from hpczmq.bounds import Bounds as Bounds
from hpczmq.bounds import Count as Count
from hpczmq.bounds import Line as Line
from hpczmq.bounds import Name as Name
from hpczmq.bounds import Number as Number
from hpczmq.bounds import Packed as Packed
from hpczmq.bounds import Seconds as Seconds
from hpczmq.bounds import Text as Text
from hpczmq.bounds import Trace as Trace
from hpczmq.bounds import Uid as Uid
from hpczmq.errors import ParameterError
from hpczmq.metrics import NO_VITALS as NO_VITALS
from hpczmq.metrics import Alert as Alert
from hpczmq.metrics import AlertState as AlertState
from hpczmq.metrics import Finding as Finding
from hpczmq.metrics import Metrics as Metrics
from hpczmq.metrics import NodeMetrics as NodeMetrics
from hpczmq.metrics import Vitals as Vitals
from hpczmq.metrics import WorkerVitals as WorkerVitals


class Role(IntEnum):
    """What a node is; said in its hello."""

    CLIENT = 1
    SLAVE = 2
    MEMORIA = 3
    MASTER = 4


class JobState(IntEnum):
    """Where a job is between its submit and its end."""

    QUEUED = 1  # accepted, no task placed yet
    RUNNING = 2  # at least one task was placed
    DONE = 3  # every task has its result
    FAILED = 4  # a task failed for good
    CANCELLED = 5  # somebody asked for its end

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to this job any more."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class SlaveState(IntEnum):
    """Whether a slave gets work."""

    READY = 1  # heard of lately
    SILENT = 2  # not heard for `silent_heartbeats`: nothing new goes there
    LOST = 3  # not heard for `lost_heartbeats`, or cut off: its tasks went elsewhere
    LEFT = 4  # said goodbye
    DRAINING = 5  # ends what it has, and gets nothing new
    QUARANTINED = 6  # tasks failed there that succeeded elsewhere: nothing new goes there

    @property
    def gone(self) -> bool:
        """Whether nothing is expected of it."""
        return self in (SlaveState.LOST, SlaveState.LEFT)


class About(IntEnum):
    """What an `Ask` asks for."""

    STATUS = 1
    JOBS = 2
    SLAVES = 3
    METRICS = 4
    ALERTS = 5
    EXPLAIN = 6
    EVENTS = 7
    TRACE = 8
    ALERT_LOG = 9  # of a memoria: pending and cleared ones too


Labels = Annotated[tuple[Name, ...], Bounds(0, limits.labels_max)]
Memory = Annotated[int, Bounds(0, limits.memory_bytes_max)]


@dataclass(frozen=True, slots=True)
class Requires:
    """What each task of a job needs of its slave."""

    #: For itself, of what the slave has for all of its tasks.
    memory_bytes: Memory = 0
    #: Slots that it takes, all on one slave; it runs in one worker process all the same.
    slots: Annotated[int, Bounds(1, limits.slots_max)] = 1
    #: `key=value` that the slave must have, each of them.
    labels: Labels = ()

    @classmethod
    def of(cls, given: object) -> Requires:
        """From a table or a line as people write it; raises `ParameterError`, see `needs`."""
        return cls(*needs.parse(given))


#: Any slave will do.
ANY_SLAVE: Final = Requires()


class Policy(Enum):
    """How the slave for a lease is chosen among those with credit."""

    ROUND_ROBIN = "round-robin"  # in turn
    LEAST_LOADED = "least-loaded"  # who has the smallest share of its slots taken
    RESOURCES = "resources"  # who does best by a weighted score of what they measure


@dataclass(frozen=True, slots=True)
class Job:
    """What a user submits: a kernel, its parameters, and how to treat them.

    Raises `ParameterError` for a value out of range. The kernel checks its own parameters when
    the job is submitted.
    """

    #: Name of an installed kernel: "julia", "echo", …
    kernel: str
    #: The kernel's parameters by name; plain values (numbers, text, lists).
    params: Mapping[str, Any] = field(default_factory=dict)
    #: For people, and for the folder of the results; the job's id when empty.
    name: str = ""
    #: 1 high, 2 medium, 3 low.
    priority: int = limits.priority_default
    #: Seconds that one attempt of one task may run before its worker is killed; None: no bound.
    timeout_s: float | None = None
    #: What each task needs of its slave: `memory`, `slots`, `labels`, as in `needs`.
    requires: Mapping[str, Any] | str = field(default_factory=dict)
    #: How often a task whose kernel raised is run again, each time after a longer wait.
    retries: int = 0
    #: Seconds from its submit after which the job has failed, whatever still runs; None: no bound.
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        low, high = limits.priority_min, limits.priority_max
        if type(self.priority) is not int or not low <= self.priority <= high:
            raise ParameterError("priority", self.priority, "must be 1 (high), 2 or 3 (low)")
        check_name(self.name)
        Requires.of(self.requires)
        if type(self.retries) is not int or not 0 <= self.retries <= limits.retries_max:
            raise ParameterError("retries", self.retries, f"must be 0..{limits.retries_max}")
        for field_name in ("timeout_s", "deadline_s"):
            seconds = getattr(self, field_name)
            if seconds is None:
                continue
            fits = isinstance(seconds, int | float) and math.isfinite(seconds)
            if not fits or not 0 < seconds <= limits.timeout_s_max:
                remedy = f"must be above 0 and at most {limits.timeout_s_max:.0f}"
                raise ParameterError(field_name, seconds, remedy)


def check_name(name: str) -> None:
    """Refuse a job name that can't be the name of a folder, anywhere.

    Raises:
        ParameterError: it is too long, starts with a dot, or has other characters than letters,
            digits, space and ``-_.,+=@``.
    """
    if not isinstance(name, str) or len(name) > limits.name_chars_max:
        raise ParameterError("name", name, f"must have at most {limits.name_chars_max} characters")
    wrong = sorted({c for c in name if not (c.isalnum() or c in " -_.,+=@")})
    if wrong or name.startswith((".", " ")) or name.endswith((".", " ")):
        raise ParameterError(
            "name",
            name,
            "must be letters, digits and -_.,+=@ only, with no dot or space at its ends",
        )


class Status(IntEnum):
    """How one attempt of one task came out."""

    VALUE = 1  # the outcome's value is the packed result
    ARRAY = 2  # the value is the packed `ArrayHead`, the pixels are the message's next buffer
    ERROR = 3  # the kernel raised; the value is the traceback, UTF-8
    CRASH = 4  # the worker process died; the value says how, UTF-8
    TIMEOUT = 5  # the worker was killed after `timeout_s`; the value says so, UTF-8

    @property
    def good(self) -> bool:
        """Whether there is a result."""
        return self in (Status.VALUE, Status.ARRAY)


class Task(NamedTuple):
    """One task as it is handed out: `spec` is the packed task, or the packed item of a `map`."""

    index: Count  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    spec: Packed


class Outcome(NamedTuple):
    """What became of one task. A tuple, because thousands of them pass each second."""

    index: Count  # type: ignore[assignment]  # as in Task
    status: Status
    #: Run time of the kernel, wall clock.
    seconds: Seconds
    value: Packed


@dataclass(frozen=True, slots=True)
class Usage:
    """What a worker process used for the outcomes of one report, and what it printed meanwhile."""

    #: 0: nobody knows, since the whole slave was lost.
    pid: Count = 0
    #: How the process ended, if it did: "signal SIGKILL", "exit code 1".
    exit: Text = ""
    user_s: Seconds = 0.0
    system_s: Seconds = 0.0
    #: Most memory that the process ever had (at least what its slave had when it started it).
    peak_bytes: Count = 0
    #: The last lines on its stdout and stderr, oldest first.
    log: Annotated[tuple[Line, ...], Bounds(0, limits.log_lines_max)] = ()


#: Nothing is known, or nothing was used.
NO_USAGE: Final = Usage()


@dataclass(frozen=True, slots=True)
class AttemptInfo:
    """One attempt as `explain` shows it."""

    task: Count
    #: How many tasks were in one worker then; one of them, nobody knows which, did it.
    tasks: Count
    slave: Name
    status: Status
    seconds: Seconds
    age_s: Seconds
    #: What went wrong, for people; empty if nothing did.
    text: Trace
    usage: Usage


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as `jobs` and `job` show it. Times are ages on the master's clock, in seconds."""

    id: Name
    name: Name
    kernel: Name
    params: Packed
    priority: Count
    state: JobState
    tasks: Count
    done: Count
    failed: Count
    running: Count
    waited_s: Seconds
    ran_s: Seconds
    #: Executions handed out, repeated ones too.
    attempts: Count
    #: What went wrong, or why nothing happens; empty while all is well.
    cause: Trace


@dataclass(frozen=True, slots=True)
class SlaveInfo:
    """A slave as `slaves` shows it."""

    name: Name
    instance: Uid
    address: Text
    state: SlaveState
    slots: Count
    leases: Count
    tasks: Count
    silent_s: Seconds
    generation: Count
    metrics: Metrics
    memory_bytes: Memory
    labels: Labels
    #: Why it gets nothing new, if somebody decided so.
    reason: Text = ""
    #: What it runs, such as "hpczmq 0.1.0"; a cluster may be mixed while it is updated.
    software: Text = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """How often something was refused for one reason."""

    code: Name
    times: Count


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """The cluster in one line, as `status` shows it."""

    cluster: Name
    epoch: Count
    software: Text
    up_s: Seconds
    policy: Name
    generation: Count
    slaves: Count
    slots: Count
    jobs_queued: Count
    jobs_running: Count
    jobs_ended: Count
    tasks_waiting: Count
    tasks_running: Count
    tasks_done: Count
    clients: Count
    #: Frames that were dropped because they broke the protocol.
    frames_dropped: Count
    #: Where the memorias answer (their ROUTER).
    memorias: Annotated[tuple[Text, ...], Bounds(0, limits.rows_max)]
    #: Connections at the master's ports, members or not.
    connections: Count = 0
    #: What was refused or dropped since the start, by the code that its sender was told.
    refused: Annotated[tuple[Refusal, ...], Bounds(0, 2 * limits.refusal_codes_max)] = ()
    #: Whether everybody who reaches the master may use it, since it was told so (`--insecure`).
    insecure: bool = False
