"""What the master and its slaves say to each other: leases, their outcomes, and signs of life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from hpczmq import limits
from hpczmq.messages.everyone import Leases
from hpczmq.model import (
    NO_QUEUE,
    NO_USAGE,
    Bounds,
    Count,
    Metrics,
    Name,
    Number,
    Outcome,
    Packed,
    Seconds,
    Task,
    Uid,
    Usage,
)

Outcomes = Annotated[tuple[Outcome, ...], Bounds(0, limits.tasks_per_lease_max)]


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
    #: The queue that the lease is of: another master's lease may have the same number.
    queue: Uid = NO_QUEUE
    #: Which slot it was, from 1 on (0: not known); when it began with the first of the tasks, and
    #: when this was said first. Seconds on the slave's own clock.
    slot: Count = 0
    began_s: Number = 0.0
    at_s: Number = 0.0


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
