"""The book-keeping of jobs, tasks and leases: every change of a task's state happens here.

A task is accepted once: the first outcome that finds it WAITING or LEASED counts, whichever
lease it comes from, and later ones find it ended and are dropped. So it does not matter how
often a task was handed out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from heapq import heappush
from itertools import takewhile
from math import inf

from hpczmq import limits
from hpczmq.messages import Ended, Report, Revoke
from hpczmq.model import JobState, Outcome, SlaveState, Status
from hpczmq.scheduler import attempts
from hpczmq.scheduler.actions import Deliver, Forget, Note, Send, Store
from hpczmq.scheduler.answers import job_info
from hpczmq.scheduler.events import Buffer
from hpczmq.scheduler.state import ClusterState, JobRecord, Lease, SlaveRecord
from hpczmq.scheduler.states import JOB_MOVES, TASK_MOVES, TaskState, check

_OPEN = (TaskState.WAITING, TaskState.LEASED, TaskState.DELAYED)
#: Every state byte after the end of its job.
_CANCEL = bytes(TaskState.CANCELLED if byte in _OPEN else byte for byte in range(256))


# --- Moves ------------------------------------------------------------------------------------


def move_task(state: ClusterState, job: JobRecord, index: int, new: TaskState, now: float) -> None:
    """Change one task's state, along a row of the table."""
    old = job.states[index]
    state.story.append((job.id, index, old, new, now))
    if (old, new) not in TASK_MOVES:
        told = [
            f"{TaskState(before).name} → {TaskState(after).name} at {then:.3f}"
            for id, task, before, after, then in state.story
            if (id, task) == (job.id, index)
        ]
        who = f"task {index} of {job.id}: {'; '.join(told)}"
        check(TASK_MOVES, TaskState(old), new, who)
    job.states[index] = new
    job.counts[old] -= 1
    job.counts[new] += 1


def move_job(job: JobRecord, new: JobState, now: float) -> None:
    """Change a job's state, along a row of the table."""
    check(JOB_MOVES, job.state, new, f"job {job.id}")
    job.state = new
    if new is JobState.RUNNING:
        job.started_s = now
    elif new.ended:
        job.ended_s = now


def enqueue(state: ClusterState, job: JobRecord) -> None:
    """Put a job in the queue of its priority, at its place by age, or take it out."""
    queue = state.queues.setdefault(job.submit.priority, {})
    if not job.waiting or job.state.ended:
        queue.pop(job.id, None)
    elif job.id not in queue:
        jobs = state.jobs
        younger = list(takewhile(lambda id: jobs[id].number > job.number, reversed(queue)))
        queue[job.id] = None
        for id in reversed(younger):  # a job that comes back stands before them again
            queue[id] = queue.pop(id)


# --- Leases -----------------------------------------------------------------------------------


def take(job: JobRecord, count: int, avoided: Collection[int] = ()) -> list[int]:
    """Up to `count` waiting indices but those to be avoided, handed-back ones first; a suspect
    comes alone."""
    aside = [index for index in job.returned if index in avoided] if avoided else []
    if aside:
        job.returned = deque(index for index in job.returned if index not in avoided)
    taken = _take(job, count)
    job.returned.extend(aside)
    return taken


def _take(job: JobRecord, count: int) -> list[int]:
    taken: list[int] = []
    while job.returned and len(taken) < count:
        index = job.returned[0]
        if job.states[index] == TaskState.WAITING:
            if index in job.crashes and taken:
                break
            taken.append(index)
        job.returned.popleft()
        if taken and index in job.crashes:
            return taken
    while job.next < len(job.states) and len(taken) < count:
        if job.states[job.next] == TaskState.WAITING:
            taken.append(job.next)
        job.next += 1
    return taken


def grant(
    state: ClusterState, job: JobRecord, slave: SlaveRecord, indices: Sequence[int], now: float
) -> Lease:
    """Hand tasks to a slave, in the books."""
    state.leases_made += 1
    work_s = inf if job.mean_s is None else job.mean_s * len(indices)
    id = state.leases_made
    lease = Lease(id, job.id, slave.instance, set(indices), len(indices), now, work_s)
    state.leases[id] = slave.leases[id] = lease
    for index in indices:
        move_task(state, job, index, TaskState.LEASED, now)
        job.leases[index] = id
    count_work(slave)
    job.attempts += len(indices)
    if job.state is JobState.QUEUED:
        move_job(job, JobState.RUNNING, now)
    enqueue(state, job)
    return lease


def give_back(state: ClusterState, lease: Lease, now: float) -> None:
    """End a lease whose slave won't answer: its open tasks wait again."""
    job = state.jobs[lease.job]
    for index in sorted(lease.open):
        del job.leases[index]
        move_task(state, job, index, TaskState.WAITING, now)
        job.returned.append(index)
    lease.open.clear()
    drop(state, lease)
    enqueue(state, job)


def drop(state: ClusterState, lease: Lease) -> None:
    """Take a lease that has nothing open out of the books."""
    assert not lease.open, f"lease {lease.id} still has {sorted(lease.open)[:5]}"
    del state.leases[lease.id]
    slave = state.slaves[lease.holder]
    del slave.leases[lease.id]
    count_work(slave)
    mark_free(state, slave)


def count_work(slave: SlaveRecord) -> None:
    """Bring the sum of a slave's expected work up to date."""
    slave.work_s = sum(lease.work_s for lease in slave.leases.values())


def mark_free(state: ClusterState, slave: SlaveRecord) -> None:
    """Note whether a slave might take one more lease; placement looks at those only."""
    if slave.state is SlaveState.READY and len(slave.leases) < 2 * slave.slots:
        state.free.setdefault(slave.instance)
    else:
        state.free.pop(slave.instance, None)


# --- Outcomes ---------------------------------------------------------------------------------


def accept(
    state: ClusterState,
    slave: SlaveRecord,
    report: Report,
    buffers: Sequence[Buffer],
    now: float,
) -> None:
    """Take a report's outcomes into the books: each task once, whatever the lease."""
    job = state.jobs.get(report.job)
    if job is None or job.state.ended:
        return  # nobody waits for it; the acknowledgement lets the slave forget it
    fresh = [o for o in report.outcomes if _may_count(job, o.index)]
    if len(fresh) < len(report.outcomes):
        kept = {o.index for o in fresh}
        buffers = _of(kept, report.outcomes, buffers)
    attempts.note(state, job, slave, report, fresh, now)
    final, again = _sort(state, job, report.lease, fresh)
    for outcome in final:
        settle(state, job, outcome, report.lease, now)
    for outcome in again:
        _retry(state, job, outcome, report.lease, now)
    if again and report.report:  # else its slave is lost, which was said already
        _note_retries(state, job, again)
    if final:
        _measure(job, final)
        state.actions.append(Store(job.id, job.chunks, slave.name, final, buffers))
        job.chunks += 1
        deliver(state, job, now)
    enqueue(state, job)
    _maybe_end(state, job, now)


def _may_count(job: JobRecord, index: int) -> bool:
    """Whether an outcome of this task is news. One that was never handed out has none: the report
    speaks of another master's job of this name."""
    return index < job.next and job.states[index] in _OPEN


def _sort(
    state: ClusterState, job: JobRecord, lease: int, outcomes: Sequence[Outcome]
) -> tuple[list[Outcome], list[Outcome]]:
    """Which outcomes end their task, and which crashes let it run again.

    An exception ends its task once its job has no retries left for it. It counts, as a crash does,
    while its own lease holds the task, or one of them said twice would count twice. A crash counts
    only if the task ran alone: of several in one worker nobody knows which one killed it, so each
    of them is run alone next.
    """
    final: list[Outcome] = []
    again: list[Outcome] = []
    for outcome in outcomes:
        tried, held = job.tries.get(outcome.index, 0), job.leases.get(outcome.index) == lease
        if outcome.status is Status.ERROR and job.submit.retries:
            if held and tried < job.submit.retries:
                job.tries[outcome.index] = tried + 1
                again.append(outcome)
            elif held:
                final.append(attempts.last_words(job, outcome))
        elif outcome.status is not Status.CRASH:
            final.append(outcome)
        elif held:
            alone = state.leases[lease].size == 1
            crashes = job.crashes.get(outcome.index, 0) + alone
            job.crashes[outcome.index] = crashes
            if crashes >= limits.crash_limit:
                final.append(attempts.last_words(job, outcome))
            else:
                again.append(outcome)
    return final, again


def settle(state: ClusterState, job: JobRecord, outcome: Outcome, lease: int, now: float) -> None:
    """Give a task its final state, and free it from the lease that holds it."""
    index = outcome.index
    move_task(state, job, index, TaskState.DONE if outcome.status.good else TaskState.FAILED, now)
    job.due.pop(index, None)
    job.failed_on.pop(index, None)
    state.tasks_done += 1
    if not outcome.status.good and not job.cause:
        place, text = f"task {index}: ", outcome.value.decode(errors="replace")
        job.cause = place + text[len(place) - limits.error_chars_max :]
    _release(state, job, index, lease)


def _release(state: ClusterState, job: JobRecord, index: int, reported: int) -> None:
    """Account for a task in the lease that holds it, which need not be the reported one."""
    id = job.leases.pop(index, None)
    if id is None:
        return
    lease = state.leases[id]
    lease.open.discard(index)
    if not lease.open:
        drop(state, lease)
        if id != reported:
            revoke(state, lease)  # nobody needs the second copy


def _retry(state: ClusterState, job: JobRecord, outcome: Outcome, lease: int, now: float) -> None:
    """Let a task that lost its worker wait again, before the others; one that raised, later."""
    index = outcome.index
    _release(state, job, index, lease)
    if outcome.status is Status.ERROR:
        move_task(state, job, index, TaskState.DELAYED, now)
        job.due[index] = now + retry_s(job.tries[index])
        set_alarm(state, job, index, job.due[index])
    else:
        move_task(state, job, index, TaskState.WAITING, now)
        job.returned.append(index)


def retry_s(tried: int) -> float:
    """How long a task waits that has raised so many times: ever longer, up to a bound."""
    longest = limits.retry_s_max / limits.retry_s_min
    return limits.retry_s_min * min(longest, 2.0 ** min(tried - 1, 60))


def set_alarm(state: ClusterState, job: JobRecord, index: int, due_s: float) -> None:
    """Have a task, or the job itself (−1), looked at when its time has come."""
    state.alarms_made += 1
    heappush(state.alarms, (due_s, state.alarms_made, job.id, index))


def _note_retries(state: ClusterState, job: JobRecord, outcomes: Sequence[Outcome]) -> None:
    """One line, however many they are: a slave may take thousands along."""
    first, more = outcomes[0], len(outcomes) - 1
    who = f"task {first.index}" + (f" and {more} more" if more else "")
    text = first.value.decode(errors="replace").strip().rpartition("\n")[2]
    state.actions.append(Note(f"{who} of {job.id} is run again: {text}"))


def _of(kept: set[int], outcomes: Iterable[Outcome], buffers: Sequence[Buffer]) -> Sequence[Buffer]:
    """The buffers of some of the outcomes; each ARRAY owns the next one."""
    owners = [o.index for o in outcomes if o.status is Status.ARRAY]
    return [buffer for index, buffer in zip(owners, buffers, strict=True) if index in kept]


def _measure(job: JobRecord, outcomes: Sequence[Outcome]) -> None:
    """Let the mean run time follow what was just measured; half of it is the newest report."""
    good = [o.seconds for o in outcomes if o.status.good]
    if good:
        mean = sum(good) / len(good)
        job.mean_s = mean if job.mean_s is None else (job.mean_s + mean) / 2


# --- The end of a job -------------------------------------------------------------------------


def _maybe_end(state: ClusterState, job: JobRecord, now: float) -> None:
    failed, waiting = job.counts[TaskState.FAILED], job.waiting
    open_tasks = waiting + job.counts[TaskState.LEASED] + job.counts[TaskState.DELAYED]
    if failed and not job.is_map:
        end(state, job, JobState.FAILED, job.cause, now)  # an image with a hole is no image
    elif not open_tasks:
        end(state, job, JobState.FAILED if failed else JobState.DONE, job.cause, now)


def end(state: ClusterState, job: JobRecord, new: JobState, cause: str, now: float) -> None:
    """End a job: nothing of it runs or waits any more, and who watches it is told."""
    move_job(job, new, now)
    job.cause = cause[-limits.error_chars_max :]
    leases = [state.leases[id] for id in sorted(set(job.leases.values()))]
    for lease in leases:
        lease.open.clear()
        drop(state, lease)
        revoke(state, lease)
    # All at once: a job of millions of waiting tasks must not hold the loop up.
    job.states = job.states.translate(_CANCEL)
    for open_state in _OPEN:
        job.counts[TaskState.CANCELLED] += job.counts[open_state]
        job.counts[open_state] = 0
    job.leases.clear()
    job.due.clear()
    job.failed_on.clear()
    job.returned.clear()
    # Its input is of no use any more, and may be large.
    job.tasks, job.submit = (), replace(job.submit, items=())
    enqueue(state, job)
    state.ended.append(job.id)
    deliver(state, job, now)
    _forget_oldest(state)


def revoke(state: ClusterState, lease: Lease) -> None:
    """Tell a slave that a lease is not wanted any more."""
    peer = state.slaves[lease.holder].peer
    if peer is not None:
        state.actions.append(Send(peer, Revoke((lease.id,))))


def _forget_oldest(state: ClusterState) -> None:
    """Keep the number of ended jobs bounded; those that somebody still reads go last."""
    while len(state.ended) > limits.jobs_ended_max:
        unread = next((id for id in state.ended if id not in state.watchers), None)
        if unread is None and len(state.ended) <= 2 * limits.jobs_ended_max:
            return
        oldest = state.ended[0] if unread is None else unread
        state.ended.remove(oldest)
        forget(state, oldest)


def forget(state: ClusterState, id: str) -> None:
    """Remove an ended job and its results."""
    job = state.jobs.pop(id)
    state.uids.pop(job.submit.uid, None)
    for peer in state.watchers.pop(id, set()):
        state.clients[peer].watches.pop(id, None)
    state.actions.append(Forget(id))


# --- Delivery ---------------------------------------------------------------------------------


def deliver(state: ClusterState, job: JobRecord, now: float) -> None:
    """Send what is new of a job to everyone who watches it and has credit."""
    for peer in sorted(state.watchers.get(job.id, ())):
        deliver_to(state, job, peer, now)


def deliver_to(state: ClusterState, job: JobRecord, peer: bytes, now: float) -> None:
    """Send what is new of a job to one client; after the last chunk, the end."""
    watch = state.clients[peer].watches[job.id]
    while watch.cursor < min(watch.limit, job.chunks):
        state.actions.append(Deliver(peer, job.id, watch.cursor))
        watch.cursor += 1
    if job.state.ended and watch.cursor >= job.chunks:
        # The wish is kept: a fetch that crossed this must not have it all sent again.
        info = job_info(state, job, now)
        state.actions.append(Send(peer, Ended(watch.request, job.chunks, info)))
