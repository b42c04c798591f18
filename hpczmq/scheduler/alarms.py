"""What is due when: the next try of a task that raised, the deadline of a job."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from hpczmq import limits
from hpczmq.model import JobState
from hpczmq.scheduler import ledger
from hpczmq.scheduler.jobs import JobRecord
from hpczmq.scheduler.state import ClusterState
from hpczmq.scheduler.states import TaskState


def retry_s(tried: int) -> float:
    """How long a task waits that has raised so many times: ever longer, up to a bound."""
    longest = limits.retry_s_max / limits.retry_s_min
    return limits.retry_s_min * min(longest, 2.0 ** min(tried - 1, 60))


def set_alarm(state: ClusterState, job: JobRecord, index: int, due_s: float) -> None:
    """Have a task, or the job itself (−1), looked at when its time has come."""
    state.alarms_made += 1
    heappush(state.alarms, (due_s, state.alarms_made, job.id, index))
    if len(state.alarms) > state.alarms_max:
        _tidy(state)


def _tidy(state: ClusterState) -> None:
    """Take out what came to nothing: deadlines, above all, of jobs that have ended long before."""

    def lives(due_s: float, id: str, index: int) -> bool:
        job = state.jobs.get(id)
        return (
            job is not None and not job.state.ended and (index < 0 or job.due.get(index) == due_s)
        )

    state.alarms = [alarm for alarm in state.alarms if lives(alarm[0], alarm[2], alarm[3])]
    heapify(state.alarms)
    state.alarms_max = max(limits.alarms_kept, 2 * len(state.alarms))


def ring(state: ClusterState, now: float) -> None:
    """Whose time has come: next tries, and deadlines."""
    while state.alarms and state.alarms[0][0] <= now:
        due_s, _, id, index = heappop(state.alarms)
        job = state.jobs.get(id)
        if job is None or job.state.ended:
            continue
        if index < 0:
            done, deadline_s = job.counts[TaskState.DONE], job.submit.deadline_s
            cause = f"deadline_s = {deadline_s:g} is over, and {done} of {len(job.states)} tasks"
            ledger.end(state, job, JobState.FAILED, f"{cause} are done", now)
        elif job.due.get(index) == due_s:
            del job.due[index]
            ledger.move_task(state, job, index, TaskState.WAITING, now)
            job.returned.append(index)
            ledger.enqueue(state, job)
