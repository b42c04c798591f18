"""What clients and the master say to each other: jobs, their results, questions and orders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from hpczmq import limits
from hpczmq.happened import EventInfo, Span
from hpczmq.items import Items
from hpczmq.messages.slave import Outcomes
from hpczmq.model import (
    ANY_SLAVE,
    NO_QUEUE,
    About,
    AttemptInfo,
    Bounds,
    ClusterInfo,
    Count,
    JobInfo,
    Name,
    Packed,
    Requires,
    Seconds,
    SlaveInfo,
    Trace,
    Uid,
)

Names = Annotated[tuple[Name, ...], Bounds(0, limits.rows_max)]


@dataclass(frozen=True, slots=True)
class Submit:
    """A job. Sent again with the same `uid`, it is the same job. `costs`: see `partition`."""

    request: Count
    uid: Uid
    kernel: Name
    params: Packed
    #: Parameter sets of a `map`, one task each; empty for a job that the kernel splits.
    items: Items
    name: Name
    priority: Annotated[int, Bounds(limits.priority_min, limits.priority_max)]
    timeout_s: Annotated[float, Bounds(0.0, limits.timeout_s_max)]
    requires: Requires = ANY_SLAVE
    retries: Annotated[int, Bounds(0, limits.retries_max)] = 0
    deadline_s: Annotated[float, Bounds(0.0, limits.timeout_s_max)] = 0.0
    costs: Packed = b""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job is queued under this id."""

    request: Count
    job: Name
    tasks: Count


@dataclass(frozen=True, slots=True)
class Fetch:
    """Send me this job's chunks from `cursor` on, as they come, `credit` of them at most.

    One with the number of the last is more credit; a new number asks anew, for what was lost.
    """

    request: Count
    job: Name
    cursor: Count
    credit: Annotated[int, Bounds(1, limits.chunk_credit)]
    #: The queue that the job is of.
    queue: Uid = NO_QUEUE


@dataclass(frozen=True, slots=True)
class Taken:
    """No more of this job's chunks, please; with `whole`, since all of it is here, its end too.

    Lost, it costs no result: the job counts as one that nobody has taken.
    """

    job: Name
    whole: bool
    queue: Uid = NO_QUEUE


@dataclass(frozen=True, slots=True)
class Chunk:
    """Number `cursor` of a job's chunks: accepted outcomes of one slave. Arrays follow."""

    job: Name
    cursor: Count
    slave: Name
    outcomes: Outcomes


@dataclass(frozen=True, slots=True)
class Ended:
    """The job is over; its results are the chunks below `chunks`."""

    request: Count
    chunks: Count
    info: JobInfo


@dataclass(frozen=True, slots=True)
class Ask:
    """A question about the cluster; `names` narrows it to some jobs or nodes, none: all."""

    request: Count
    about: About
    names: Names = ()


@dataclass(frozen=True, slots=True)
class ClusterAnswer:
    """Answer to STATUS."""

    request: Count
    info: ClusterInfo


@dataclass(frozen=True, slots=True)
class JobsAnswer:
    """Answer to JOBS, in the order of their submits."""

    request: Count
    jobs: Annotated[tuple[JobInfo, ...], Bounds(0, limits.rows_max)]


@dataclass(frozen=True, slots=True)
class SlavesAnswer:
    """Answer to SLAVES, in the order of their arrival."""

    request: Count
    slaves: Annotated[tuple[SlaveInfo, ...], Bounds(0, limits.rows_max)]


@dataclass(frozen=True, slots=True)
class Cancel:
    """End these jobs; with `queued`, all that have not started instead (`clear`).

    With `ended`, forget the results of these jobs, which have ended, or of all that have.
    """

    request: Count
    jobs: Names
    queued: bool = False
    ended: bool = False
    #: The queue that the jobs are of.
    queue: Uid = NO_QUEUE


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """Choose slaves by this policy from now on."""

    request: Count
    policy: Name


@dataclass(frozen=True, slots=True)
class Drain:
    """Give these slaves nothing new; with `undo`, give them work again."""

    request: Count
    slaves: Annotated[tuple[Name, ...], Bounds(1, limits.rows_max)]
    undo: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """It was done, to these (jobs, slaves)."""

    request: Count
    names: Names


@dataclass(frozen=True, slots=True)
class ExplainAnswer:
    """Answer to EXPLAIN: why a job or a task waits, failed, or was run again."""

    request: Count
    id: Name
    state: Name
    #: Sentences for people.
    reasons: Annotated[tuple[Trace, ...], Bounds(0, limits.rows_max)]
    #: The attempts that the master remembers of it, oldest first.
    attempts: Annotated[tuple[AttemptInfo, ...], Bounds(0, limits.attempts_kept_max)]


@dataclass(frozen=True, slots=True)
class EventsAnswer:
    """Answer to EVENTS: what the master remembers of what happened, oldest first."""

    request: Count
    events: Annotated[tuple[EventInfo, ...], Bounds(0, limits.events_kept_max)]


@dataclass(frozen=True, slots=True)
class TraceAnswer:
    """Answer to TRACE: where and when the tasks of a job ran, in the order of their ends."""

    request: Count
    info: JobInfo
    #: Time since the job's submit.
    age_s: Seconds
    slaves: Names
    spans: Annotated[tuple[Span, ...], Bounds(0, limits.spans_per_job_max)]
    #: Starts that are not among them, for there were too many.
    left_out: Count
