"""The states of tasks, jobs and slaves, and every way from one to another.

A row that is missing here can't happen: `check` raises, with the story of what moved. The
diagrams in docs/states.md are made from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

from hpczmq.model import JobState, SlaveState


class TaskState(IntEnum):
    """Where a task is. One byte a task is all that the master keeps of those not placed."""

    WAITING = 0  # in its job's queue
    LEASED = 1  # handed to a slave that has not answered
    DONE = 2  # its result is stored
    FAILED = 3  # it has ended without a result
    CANCELLED = 4  # its job ended before it did
    DELAYED = 5  # its kernel raised; it waits for its next try


#: (from, to): why.
TASK_MOVES: Final[dict[tuple[TaskState, TaskState], str]] = {
    (TaskState.WAITING, TaskState.LEASED): "placed on a slave with credit",
    (TaskState.LEASED, TaskState.WAITING): "its slave was lost, or its worker died",
    (TaskState.LEASED, TaskState.DELAYED): "raised, and may be tried again",
    (TaskState.LEASED, TaskState.DONE): "result accepted",
    (TaskState.LEASED, TaskState.FAILED): "raised, timed out, or killed its worker too often",
    (TaskState.LEASED, TaskState.CANCELLED): "job cancelled or failed",
    (TaskState.WAITING, TaskState.DONE): "result of an earlier lease arrived after all",
    (TaskState.WAITING, TaskState.FAILED): "failure of an earlier lease arrived after all",
    (TaskState.WAITING, TaskState.CANCELLED): "job cancelled or failed",
    (TaskState.DELAYED, TaskState.WAITING): "its next try is due",
    (TaskState.DELAYED, TaskState.DONE): "result of an earlier lease arrived after all",
    (TaskState.DELAYED, TaskState.FAILED): "failure of an earlier lease arrived after all",
    (TaskState.DELAYED, TaskState.CANCELLED): "job cancelled or failed",
}

JOB_MOVES: Final[dict[tuple[JobState, JobState], str]] = {
    (JobState.QUEUED, JobState.RUNNING): "first task placed",
    (JobState.QUEUED, JobState.DONE): "it has no tasks",
    (JobState.QUEUED, JobState.FAILED): "its deadline is over",
    (JobState.QUEUED, JobState.CANCELLED): "cancelled or cleared",
    (JobState.RUNNING, JobState.DONE): "every task is done",
    (JobState.RUNNING, JobState.FAILED): "a task failed for good, or its deadline is over",
    (JobState.RUNNING, JobState.CANCELLED): "cancelled",
}

SLAVE_MOVES: Final[dict[tuple[SlaveState, SlaveState], str]] = {
    (SlaveState.READY, SlaveState.SILENT): "no heartbeat lately",
    (SlaveState.READY, SlaveState.LOST): "its connection is gone",
    (SlaveState.READY, SlaveState.LEFT): "goodbye",
    (SlaveState.SILENT, SlaveState.READY): "heard again",
    (SlaveState.SILENT, SlaveState.LOST): "no heartbeat for too long",
    (SlaveState.SILENT, SlaveState.LEFT): "goodbye",
    (SlaveState.LOST, SlaveState.READY): "heard again",
    (SlaveState.LOST, SlaveState.LEFT): "goodbye",
    (SlaveState.LEFT, SlaveState.READY): "heard again",
    (SlaveState.READY, SlaveState.DRAINING): "somebody wants it so, or it is about to end",
    (SlaveState.DRAINING, SlaveState.READY): "drain --undo",
    (SlaveState.DRAINING, SlaveState.SILENT): "no heartbeat lately",
    (SlaveState.DRAINING, SlaveState.LOST): "its connection is gone",
    (SlaveState.DRAINING, SlaveState.LEFT): "goodbye",
    (SlaveState.SILENT, SlaveState.DRAINING): "heard again",
    (SlaveState.LOST, SlaveState.DRAINING): "heard again",
    (SlaveState.LEFT, SlaveState.DRAINING): "heard again",
    (SlaveState.READY, SlaveState.QUARANTINED): "tasks failed there that succeeded elsewhere",
    (SlaveState.QUARANTINED, SlaveState.READY): "drain --undo, or its probation begins",
    (SlaveState.QUARANTINED, SlaveState.DRAINING): "somebody wants it so, or it is about to end",
    (SlaveState.QUARANTINED, SlaveState.SILENT): "no heartbeat lately",
    (SlaveState.QUARANTINED, SlaveState.LOST): "its connection is gone",
    (SlaveState.QUARANTINED, SlaveState.LEFT): "goodbye",
    (SlaveState.SILENT, SlaveState.QUARANTINED): "heard again",
    (SlaveState.LOST, SlaveState.QUARANTINED): "heard again",
    (SlaveState.LEFT, SlaveState.QUARANTINED): "heard again",
}


def check(moves: Mapping[Any, str], old: IntEnum, new: IntEnum, who: str) -> None:
    """Raise AssertionError unless the table has this move; `who` tells the story."""
    if (old, new) not in moves:
        raise AssertionError(f"{old.name} → {new.name} can't happen: {who}")
