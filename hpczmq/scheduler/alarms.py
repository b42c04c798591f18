"""What is due when: the next try of a task that raised, the deadline of a job."""

from __future__ import annotations

from heapq import heappop

from hpczmq.model import JobState
from hpczmq.scheduler import ledger
from hpczmq.scheduler.state import ClusterState
from hpczmq.scheduler.states import TaskState


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
