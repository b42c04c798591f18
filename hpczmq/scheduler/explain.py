"""Why a job or a task waits, failed, or was run again: in sentences for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hpczmq import limits
from hpczmq.messages import Ask, ExplainAnswer, Message, Reject
from hpczmq.model import ANY_SLAVE, AttemptInfo, SlaveState
from hpczmq.scheduler import attempts
from hpczmq.scheduler.answers import fits, job_info, lacks, unknown_job
from hpczmq.scheduler.jobs import Attempt, JobRecord
from hpczmq.scheduler.state import ClusterState
from hpczmq.scheduler.states import TaskState

#: Tasks that a job's explanation speaks of one by one.
_TASKS_TOLD = 10


def explain(state: ClusterState, ask: Ask, now: float) -> Message:
    """The answer to EXPLAIN; `names` holds one job ("j1"), or one of its tasks ("j1/3")."""
    name = ask.names[0] if ask.names else ""
    id, slash, number = name.partition("/")
    job = state.jobs.get(id)
    if job is None:
        return unknown_job(ask.request, id)
    if not slash:
        reasons, told = _job(state, job, now), list(job.history)
        return _answer(ask, name, job.state.name, reasons, told, now)
    index = int(number) if number.isdecimal() and len(number) < 10 else -1
    if not 0 <= index < len(job.states):
        reason = f"task {number[:20]} is not one of {id}: it has 0..{len(job.states) - 1}"
        return Reject(ask.request, "unknown task", reason)
    reasons, told = _task(state, job, index, now), list(attempts.of_task(job, index))
    return _answer(ask, name, TaskState(job.states[index]).name, reasons, told, now)


def _answer(
    ask: Ask,
    id: str,
    state: str,
    reasons: Iterable[str],
    told: Iterable[Attempt],
    now: float,
) -> ExplainAnswer:
    texts = tuple(reason[-limits.error_chars_max :] for reason in reasons)
    rows = tuple(_row(attempt, now) for attempt in told)
    return ExplainAnswer(ask.request, id, state.lower(), texts, rows)


def _row(attempt: Attempt, now: float) -> AttemptInfo:
    return AttemptInfo(
        attempt.indices[0],
        len(attempt.indices),
        attempt.slave,
        attempt.status,
        attempt.seconds,
        now - attempt.ended_s,
        attempt.text,
        attempt.usage,
    )


# --- Jobs ---------------------------------------------------------------------------------------


def _job(state: ClusterState, job: JobRecord, now: float) -> Iterator[str]:
    row = job_info(state, job, now)
    waiting = job.counts[TaskState.WAITING]
    yield (
        f"{job.id} is {job.state.name.lower()}: of {row.tasks} tasks {row.done} are done,"
        f" {row.running} run, {waiting} wait, {row.failed} failed"
    )
    if row.cause:
        yield row.cause
    if waiting and row.cause != f"waits: {state.full}":
        yield from _why_waiting(state, job)
    if job.due:
        first_s = max(0.0, min(job.due.values()) - now)
        yield f"{len(job.due)} tasks that raised wait for their next try, first in {first_s:.1f} s"
    yield from _again(job)
    if job.user_s or job.system_s:
        yield (
            f"so far it used {job.user_s:.2f} s of user and {job.system_s:.2f} s of system CPU"
            f" time, and at most {job.peak_bytes / limits.MIB:.0f} MiB in a worker"
        )


def _why_waiting(state: ClusterState, job: JobRecord) -> Iterator[str]:
    if state.full:
        yield f"nothing new is placed: {state.full}"
    offering = [s for s in state.slaves.values() if job.capability in s.capabilities]
    able = [s for s in offering if fits(s, job)]
    here = [s for s in able if s.state is SlaveState.READY and not s.saturated]
    offers = f"offers {job.capability}"
    if job.submit.requires != ANY_SLAVE:
        offers += " and has what it requires"
    if not here:
        yield f"no slave that {offers} can take anything now"
    if offering and not able:
        yield lacks(offering, job.submit.requires)
    for slave in able:
        if slave.state is not SlaveState.READY:
            why = f": {slave.reason}" if slave.reason else ""
            yield f"{slave.name}, which {offers}, is {slave.state.name.lower()}{why}"
        elif slave.saturated:
            yield f"{slave.name}, which {offers}, gets nothing new: {slave.saturated}"
    before = 0
    for priority in sorted(state.queues):
        if priority < job.submit.priority:
            before += len(state.queues[priority])
    queue = list(state.queues.get(job.submit.priority, ()))
    before += queue.index(job.id) if job.id in queue else 0
    if before:
        yield f"{before} jobs that wait stand before it, by priority, share, run time or age"
    if here and not state.free:
        yield "every slot of every slave that is ready is taken"


def _again(job: JobRecord) -> Iterator[str]:
    told = sorted(index for index, times in job.crashes.items() if times)
    for index in told[:_TASKS_TOLD]:
        yield f"task {index} was run again: {_crashes(job, index)}"
    raised = sorted(job.tries.items())
    for index, times in raised[:_TASKS_TOLD]:
        yield f"task {index} was run again: {_raised(job, times)}"
    if len(raised) > _TASKS_TOLD:
        yield f"and {len(raised) - _TASKS_TOLD} more that raised"
    alone = len(job.crashes) - len(told)
    if alone:
        yield (
            f"{alone} tasks were run again, alone: a worker or slave was lost that had several,"
            " and nobody knows by which of them"
        )
    if len(told) > _TASKS_TOLD:
        yield f"and {len(told) - _TASKS_TOLD} more: ask for a task by its number, {job.id}/7"


def _crashes(job: JobRecord, index: int) -> str:
    times = job.crashes[index]
    count = "once" if times == 1 else f"{times} times"
    return f"it lost its worker or slave {count} (at {limits.crash_limit} it fails)"


def _raised(job: JobRecord, times: int) -> str:
    count = "once" if times == 1 else f"{times} times"
    return f"its kernel raised {count} (it has {job.submit.retries} retries)"


# --- Tasks --------------------------------------------------------------------------------------


def _task(state: ClusterState, job: JobRecord, index: int, now: float) -> Iterator[str]:
    name, where = f"task {index} of {job.id}", TaskState(job.states[index])
    match where:
        case TaskState.LEASED:
            lease = state.leases[job.leases[index]]
            slave = state.slaves[lease.holder]
            others = f", with {lease.size - 1} others" if lease.size > 1 else ""
            since_s = now - lease.sent_s
            yield f"{name} is with {slave.name} since {since_s:.1f} s{others}"
            if index in job.second:
                second = state.leases[job.second[index]]
                other, since_s = state.slaves[second.holder].name, now - second.sent_s
                yield f"it was started a second time, on {other}, {since_s:.1f} s ago"
        case TaskState.WAITING:
            yield f"{name} waits"
            yield from _why_waiting(state, job)
        case TaskState.DELAYED:
            yield f"{name} waits for its next try, in {job.due[index] - now:.1f} s"
        case TaskState.CANCELLED:
            yield f"{name} was cancelled: {job.cause or 'its job has ended'}"
        case _:
            yield f"{name} {'is done' if where is TaskState.DONE else 'failed for good'}"
    if index in job.tries:
        yield _raised(job, job.tries[index])
    if job.crashes.get(index):
        yield _crashes(job, index)
    elif index in job.crashes:
        yield "it was in a worker or slave that was lost with several tasks: it runs alone next"
    for instance in job.failed_on.get(index, ()):
        if instance in state.slaves:
            yield f"it failed on {state.slaves[instance].name}: it goes elsewhere if it can"
    for attempt in attempts.of_task(job, index):
        yield f"attempt {attempts.words(attempt)}"
