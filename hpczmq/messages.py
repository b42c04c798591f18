"""Every message kind of the protocol: typed, frozen, without behaviour.

A message travels as three parts: the protocol's name, one msgpack array ``[kind, fields…]``, and
raw buffers for the pixels. `KINDS` numbers the kinds; a number is never used again for another
kind. Bounds stand in the annotations (`model.Bounds`) and are checked by `wire` when it decodes,
so that no machine ever sees a value out of its range.
A `request` is a number that the asker chooses and the answer repeats; 0 means "no request".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from hpczmq import limits
from hpczmq.model import (
    ANY_SLAVE,
    NO_USAGE,
    About,
    Alert,
    AttemptInfo,
    Bounds,
    ClusterInfo,
    Count,
    JobInfo,
    Labels,
    Memory,
    Metrics,
    Name,
    NodeMetrics,
    Outcome,
    Packed,
    Requires,
    Role,
    Seconds,
    SlaveInfo,
    Task,
    Text,
    Trace,
    Uid,
    Usage,
)

#: Grows when a peer of the older number can't be understood any more.
PROTOCOL: Final = 3

Leases = Annotated[tuple[Count, ...], Bounds(0, limits.rows_max)]
Names = Annotated[tuple[Name, ...], Bounds(0, limits.rows_max)]
Outcomes = Annotated[tuple[Outcome, ...], Bounds(0, limits.tasks_per_lease_max)]


# --- Everyone ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """First word of a node on each connection. `instance` is new for each process start."""

    role: Role
    name: Name
    instance: Uid
    protocol: Count
    software: Text
    #: Of a slave: worker processes, what they can run, leases that it still holds.
    slots: Annotated[int, Bounds(0, limits.slots_max)] = 0
    capabilities: Annotated[tuple[Name, ...], Bounds(0, limits.capabilities_max)] = ()
    leases: Leases = ()
    #: Where the node itself can be asked (its own ROUTER); empty: nowhere.
    address: Text = ""
    #: Of a slave: memory for all of its tasks, and what else it says of itself (`key=value`).
    memory_bytes: Memory = 0
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Welcome:
    """The master's answer to `Hello`."""

    cluster: Name
    #: Which queue this is; what is held of another one is worth nothing.
    queue: Uid
    #: Whether this connection is new to the master: what was said on an older one may be lost.
    fresh: bool
    epoch: Count
    heartbeat_s: Seconds
    #: Port of the master's PUB, on the host that the node dialled.
    control_port: Annotated[int, Bounds(0, 65_535)]
    control: Control


@dataclass(frozen=True, slots=True)
class Introduce:
    """ "I don't know you": say hello, then what you had to say."""


@dataclass(frozen=True, slots=True)
class Reject:
    """No, and why. `code` can be counted, `reason` is for people."""

    request: Count
    code: Name
    reason: Text


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? Any node answers with `Pong`."""

    request: Count


@dataclass(frozen=True, slots=True)
class Pong:
    """Who answers, and its newest metrics."""

    request: Count
    role: Role
    name: Name
    software: Text
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Goodbye:
    """This node ends now, on purpose."""

    reason: Text


@dataclass(frozen=True, slots=True)
class Control:
    """The whole control state. Lost ones don't matter: the newest generation says it all."""

    epoch: Count
    generation: Count
    policy: Name
    #: The master is about to end; nodes keep what they have and wait for the next one.
    closing: bool


# --- Slave ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assign:
    """A lease: tasks of one job, to be run in their order in one slot."""

    lease: Count
    job: Name
    kernel: Name
    #: The job's packed parameters; of a `map`, whose tasks carry their own, empty.
    params: Packed
    #: Whether each task's `spec` is a parameter set of its own (`map`) instead of a packed task.
    items: bool
    tasks: Annotated[tuple[Task, ...], Bounds(1, limits.tasks_per_lease_max)]
    #: Seconds that one task may run; 0: no bound.
    timeout_s: Seconds


@dataclass(frozen=True, slots=True)
class Revoke:
    """These leases are not wanted any more: drop them, kill what runs."""

    leases: Leases


@dataclass(frozen=True, slots=True)
class Report:
    """Outcomes of one lease; kept by the slave until `Ack`. Arrays follow as buffers."""

    #: Number of the report, from 1, per slave instance.
    report: Count
    lease: Count
    job: Name
    outcomes: Outcomes
    #: What the worker used for them, and printed.
    usage: Usage = NO_USAGE


@dataclass(frozen=True, slots=True)
class Ack:
    """These reports are safe with the master; the slave may forget them."""

    reports: Annotated[tuple[Count, ...], Bounds(1, limits.rows_max)]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The slave lives, and holds these leases: running, queued, or not acknowledged whole."""

    sequence: Count
    metrics: Metrics
    leases: Leases
    #: The newest control generation that this node has heard on PUB or been told.
    generation: Count
    #: Whether this slave is about to end, and takes nothing new.
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Return:
    """A slave hands these leases back: what is open of them runs elsewhere."""

    leases: Leases


@dataclass(frozen=True, slots=True)
class Beat:
    """The master lives; the echo of a heartbeat's number, or 0 when it asks unbidden."""

    sequence: Count


# --- Client -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Submit:
    """A job. Sent again with the same `uid`, it is the same job. `costs`: see `partition`."""

    request: Count
    uid: Uid
    kernel: Name
    params: Packed
    #: Parameter sets of a `map`, one task each; empty for a job that the kernel splits.
    items: Annotated[tuple[Packed, ...], Bounds(0, limits.items_per_job_max)]
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
    """End these jobs; with `queued`, all that have not started instead (`clear`)."""

    request: Count
    jobs: Names
    queued: bool = False


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


# --- Memoria ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """A node's metrics, republished by the master on PUB."""

    node: Name
    instance: Uid
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class MetricsAnswer:
    """Answer of a memoria to METRICS."""

    request: Count
    nodes: Annotated[tuple[NodeMetrics, ...], Bounds(0, limits.nodes_max)]


@dataclass(frozen=True, slots=True)
class AlertsAnswer:
    """Answer of a memoria to ALERTS; request 0 when it is published or reported unasked."""

    request: Count
    alerts: Annotated[tuple[Alert, ...], Bounds(0, limits.rows_max)]


Message = (
    Hello | Welcome | Introduce | Reject | Ping | Pong | Goodbye | Control
    | Assign | Revoke | Report | Ack | Heartbeat | Beat | Return
    | Submit | Submitted | Fetch | Chunk | Ended | Ask | ClusterAnswer | JobsAnswer | SlavesAnswer
    | Cancel | SetPolicy | Done | ExplainAnswer | Drain
    | Sample | MetricsAnswer | AlertsAnswer
)  # fmt: skip

#: Number of each kind on the wire.
KINDS: Final[dict[int, type[Message]]] = {
    1: Hello, 2: Welcome, 3: Introduce, 4: Reject, 5: Ping, 6: Pong, 7: Goodbye, 8: Control,
    16: Assign, 17: Revoke, 18: Report, 19: Ack, 20: Heartbeat, 21: Beat, 22: Return,
    32: Submit, 33: Submitted, 34: Fetch, 35: Chunk, 36: Ended, 37: Ask, 38: ClusterAnswer,
    39: JobsAnswer, 40: SlavesAnswer, 41: Cancel, 42: SetPolicy, 43: Done, 44: ExplainAnswer,
    45: Drain, 48: Sample, 49: MetricsAnswer, 50: AlertsAnswer,
}  # fmt: skip
