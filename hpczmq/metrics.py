"""What is measured, and what follows from it: of a node, of the cluster, and alerts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Annotated, Final, NamedTuple

from hpczmq import limits
from hpczmq.bounds import Bounds, Count, Name, Number, Seconds, Text


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a node measures of itself; it rides on every heartbeat."""

    #: Load of all cores together over the last heartbeat, 0..100, and how much of it is this
    #: node's own, with its workers.
    cpu_percent: Number = 0.0
    own_cpu_percent: Number = 0.0
    #: Physical memory in use, 0..100, and how much is free for new work.
    memory_percent: Number = 0.0
    memory_free_bytes: Count = 0
    #: Load average of the last minute.
    load: Number = 0.0
    #: Round trip of the last heartbeat to the master; 0 before the first.
    latency_s: Seconds = 0.0
    #: Worker processes that run a task, and tasks that wait on this node.
    slots_busy: Count = 0
    tasks_held: Count = 0
    #: Tasks answered since the start of the process, and how many of them without a result.
    tasks_done: Count = 0
    tasks_failed: Count = 0
    #: Of those: kernels that raised, worker processes that died, tasks killed for their time.
    errors: Count = 0
    crashes: Count = 0
    timeouts: Count = 0
    #: Of a master: executions handed out beyond the first of each task.
    tasks_again: Count = 0
    #: Bytes of results, since the start of the process.
    result_bytes: Count = 0
    #: How much one round trip differs from the next, smoothed as in RFC 3550.
    jitter_s: Seconds = 0.0
    #: Swap in use, and of the disk that temporary files are on, 0..100.
    swap_percent: Number = 0.0
    disk_percent: Number = 0.0
    #: Traffic of the whole machine since the last sample.
    received_bytes_per_s: Number = 0.0
    sent_bytes_per_s: Number = 0.0
    disk_read_bytes_per_s: Number = 0.0
    disk_written_bytes_per_s: Number = 0.0
    #: Physical memory of this node with its workers.
    own_memory_bytes: Count = 0
    #: Open file descriptors of this node's process, of those it may have, 0..100.
    descriptors_percent: Number = 0.0
    #: The hottest sensor; 0: there is none.
    temperature_c: Number = 0.0
    #: What the node's clock says, in seconds since 1970; 0: it was not asked.
    clock_s: Number = 0.0


#: The names of all of them.
METRICS: Final = tuple(field.name for field in fields(Metrics))


class WorkerVitals(NamedTuple):
    """One worker process of a node."""

    pid: Count
    #: Of one core, 0..100 and above for several threads, since the last report.
    cpu_percent: Number
    memory_bytes: Count


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a node measures of itself now and then: more than its heartbeats carry."""

    #: Load of each core, 0..100, since the last report.
    cores_percent: Annotated[tuple[Number, ...], Bounds(0, limits.cores_max)] = ()
    #: Cores' worth of CPU time that it may use; less than it sees where its group has a quota.
    cores: Number = 0.0
    #: Whether limits of a control group stand in for the host's numbers.
    contained: bool = False
    memory_bytes: Count = 0
    memory_used_bytes: Count = 0
    swap_bytes: Count = 0
    swap_used_bytes: Count = 0
    disk_bytes: Count = 0
    disk_free_bytes: Count = 0
    descriptors: Count = 0
    descriptors_max: Count = 0
    workers: Annotated[tuple[WorkerVitals, ...], Bounds(0, limits.slots_max)] = ()


class Finding(NamedTuple):
    """Something that the master sees of its cluster, and that a rule of alerts may look at."""

    #: Which measure it is, by the name that rules have for it: "job_idle_s".
    metric: Name
    #: Of which slave, job, or part of the cluster.
    subject: Name
    value: Number


#: A node that has reported none yet.
NO_VITALS: Final = Vitals()


class AlertState(IntEnum):
    """Where an alert is between its beginning and its end; see `alerts`."""

    PENDING = 1  # the value is up, not yet for long enough
    ACTIVE = 2  # somebody should look at it
    ACKNOWLEDGED = 3  # somebody does
    CLEARED = 4  # it is over


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of a memoria; `node` is the slave, job, or part of the cluster that it is about."""

    rule: Name
    node: Name
    severity: Name
    text: Text
    value: Number
    #: How long it has been active, or pending.
    age_s: Seconds
    #: Its name, for who acknowledges it: rule/node.
    id: Text = ""
    state: AlertState = AlertState.ACTIVE
    #: When it was raised, and cleared, in seconds since 1970; 0: it was not, or nobody knows.
    raised_s: Seconds = 0.0
    cleared_s: Seconds = 0.0


@dataclass(frozen=True, slots=True)
class NodeMetrics:
    """The newest metrics of a node, and how old they are."""

    node: Name
    age_s: Seconds
    metrics: Metrics
    #: The newest that it has reported beside them.
    vitals: Vitals = NO_VITALS
