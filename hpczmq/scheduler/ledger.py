"""The book-keeping of jobs, tasks and leases: every change of a task's state happens here.

`outcomes` says what a report changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import replace
from math import inf

from hpczmq import limits
from hpczmq.happened import SpanEnd
from hpczmq.items import Items
from hpczmq.messages import Revoke
from hpczmq.model import JobState, SlaveState, Task
from hpczmq.scheduler import admission, chronicle, spans
from hpczmq.scheduler.actions import Send
from hpczmq.scheduler.delivery import deliver
from hpczmq.scheduler.jobs import JobRecord, Lease
from hpczmq.scheduler.queue import Queue, rank
from hpczmq.scheduler.state import ClusterState, SlaveRecord
from hpczmq.scheduler.states import JOB_MOVES, TASK_MOVES, TaskState, check

#: States of a task that may still come to something.
OPEN = (TaskState.WAITING, TaskState.LEASED, TaskState.DELAYED)
#: Every state byte after the end of its job.
_CANCEL = bytes(TaskState.CANCELLED if byte in OPEN else byte for byte in range(256))


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
    if job.costs and TaskState.WAITING in (old, new):
        cost = job.costs[index]
        job.waiting_cost += cost if new is TaskState.WAITING else -cost


def move_job(job: JobRecord, new: JobState, now: float) -> None:
    """Change a job's state, along a row of the table."""
    check(JOB_MOVES, job.state, new, f"job {job.id}")
    job.state = new
    if new is JobState.RUNNING:
        job.started_s = now
    elif new.ended:
        job.ended_s = now


def enqueue(state: ClusterState, job: JobRecord) -> None:
    """Put a job in the queue of its priority, where its turn is now, or take it out."""
    queue = state.queues.setdefault(job.submit.priority, Queue())
    if not job.waiting or job.state.ended:
        queue.remove(job.id)
    else:
        queue.put(job.id, rank(job.held, job.next_s, job.number))


# --- Leases -----------------------------------------------------------------------------------


def take(job: JobRecord, cost: float, avoided: Collection[int] = ()) -> list[int]:
    """Waiting indices but those to be avoided, handed-back ones first: as many as cost so much
    together, and at least one; a suspect comes alone."""
    aside = [index for index in job.returned if index in avoided] if avoided else []
    if aside:
        job.returned = deque(index for index in job.returned if index not in avoided)
    taken = _take(job, cost)
    job.returned.extend(aside)
    return taken


def _take(job: JobRecord, cost: float) -> list[int]:
    taken: list[int] = []
    while job.returned and len(taken) < limits.tasks_per_lease_max:
        index = job.returned[0]
        if job.states[index] == TaskState.WAITING:
            cost -= job.cost(index)
            if taken and (index in job.crashes or cost < 0):
                break
            taken.append(index)
        job.returned.popleft()
        if taken and index in job.crashes:
            return taken
    while job.next < len(job.states) and len(taken) < limits.tasks_per_lease_max:
        index = job.order[job.next] if job.order else job.next
        if job.states[index] == TaskState.WAITING:
            cost -= job.cost(index)
            if taken and cost < 0:
                break
            taken.append(index)
        job.next += 1
    return taken


def light_enough(job: JobRecord, indices: Sequence[int]) -> list[Task]:
    """The tasks of a lease, the first of those taken, as many as one message should carry; the
    rest waits again, before the others."""
    tasks: list[Task] = []
    heavy_bytes = 0
    for index in indices:
        if heavy_bytes >= limits.lease_bytes_max:
            break
        tasks.append(Task(index, job.tasks[index]))
        heavy_bytes += len(tasks[-1].spec)
    job.returned.extendleft(reversed(indices[len(tasks) :]))
    return tasks


def grant(
    state: ClusterState, job: JobRecord, slave: SlaveRecord, indices: Sequence[int], now: float
) -> Lease:
    """Hand waiting tasks to a slave, in the books."""
    lease = _new_lease(state, job, slave, indices, now)
    for index in indices:
        move_task(state, job, index, TaskState.LEASED, now)
        job.leases[index] = lease.id
    if job.state is JobState.QUEUED:
        move_job(job, JobState.RUNNING, now)
        chronicle.record(state, "job", f"{job.id} begins on {slave.name}", job=job.id)
    enqueue(state, job)
    return lease


def grant_second(
    state: ClusterState, job: JobRecord, slave: SlaveRecord, indices: Sequence[int], now: float
) -> Lease:
    """Hand leased tasks to one more slave, in the books: the first result of the two counts."""
    lease = _new_lease(state, job, slave, indices, now)
    for index in indices:
        state.tally.again += 1
        job.second[index] = lease.id
        job.doubled.add(index)
    return lease


def _new_lease(
    state: ClusterState, job: JobRecord, slave: SlaveRecord, indices: Sequence[int], now: float
) -> Lease:
    state.leases_made += 1
    cost = sum([job.cost(index) for index in indices])
    work_s = inf if job.unit_s is None else job.unit_s * cost
    id = state.leases_made
    requires = job.submit.requires
    lease = Lease(
        id, job.id, slave.instance, set(indices), len(indices), now, cost, work_s,
        requires.slots, requires.memory_bytes,
    )  # fmt: skip
    state.leases[id] = slave.leases[id] = lease
    count_work(slave)
    job.attempts += len(indices)
    job.held += 1
    return lease


def give_back(state: ClusterState, lease: Lease, now: float) -> None:
    """End a lease whose slave won't answer: its open tasks wait again, or go on elsewhere."""
    job = state.jobs[lease.job]
    spans.cut(state, lease, sorted(lease.open), SpanEnd.LOST, now)
    for index in sorted(lease.open):
        job.taken_from.setdefault(index, set()).add(lease.holder)
        if let_go(job, index, lease.id):
            continue
        del job.leases[index]
        move_task(state, job, index, TaskState.WAITING, now)
        state.tally.again += 1
        job.returned.append(index)
    lease.open.clear()
    drop(state, lease)
    enqueue(state, job)


def let_go(job: JobRecord, index: int, lease: int) -> bool:
    """Leave a task that two leases hold to the other one; False: there is no other one."""
    if job.second.get(index) == lease:
        del job.second[index]
        return True
    if index in job.second and job.leases[index] == lease:
        job.leases[index] = job.second.pop(index)
        return True
    return False


def note_taken(state: ClusterState, job: JobRecord, index: int) -> None:
    """Remember who has a task that is to run again."""
    for id in (job.leases.get(index), job.second.get(index)):
        if id is not None:
            job.taken_from.setdefault(index, set()).add(state.leases[id].holder)


def release(state: ClusterState, job: JobRecord, index: int, reported: int, now: float) -> None:
    """Account for a task in the leases that hold it, which need not be the reported one."""
    for id in (job.leases.pop(index, None), job.second.pop(index, None)):
        if id is None:
            continue
        lease = state.leases[id]
        lease.open.discard(index)
        if not lease.open:
            drop(state, lease)
            if id != reported:
                revoke(state, lease)  # nobody needs the second copy
        if reported and id != reported:
            spans.cut(state, lease, [index], SpanEnd.REVOKED, now)


def drop(state: ClusterState, lease: Lease) -> None:
    """Take a lease that has nothing open out of the books."""
    assert not lease.open, f"lease {lease.id} still has {sorted(lease.open)[:5]}"
    del state.leases[lease.id]
    state.jobs[lease.job].held -= 1
    slave = state.slaves[lease.holder]
    del slave.leases[lease.id]
    count_work(slave)
    mark_free(state, slave)


def count_work(slave: SlaveRecord) -> None:
    """Bring the sums of what a slave's leases take up to date."""
    work_s, slots, memory_bytes = 0.0, 0, 0
    for lease in slave.leases.values():
        work_s += lease.work_s
        slots += lease.slots
        memory_bytes += lease.memory_bytes
    slave.work_s, slave.slots_taken, slave.memory_taken_bytes = work_s, slots, memory_bytes
    slave.is_wide = slots > len(slave.leases)


def is_open(slave: SlaveRecord) -> bool:
    """Whether a slave has a part in what is placed. One that offers nothing would only make the
    parts of the others smaller.
    """
    return slave.state is SlaveState.READY and not slave.saturated and bool(slave.capabilities)


def mark_free(state: ClusterState, slave: SlaveRecord) -> None:
    """Note whether a slave is open, and might take one more lease: placement looks at those only,
    so that a turn costs what is placed in it, however many slaves are busy.
    """
    may = is_open(slave)
    if may != (slave.instance in state.open):
        if may:
            state.open[slave.instance] = slave.slots
            state.slots_open += slave.slots
        else:
            state.slots_open -= state.open.pop(slave.instance)
    if may and may_have_credit(slave):
        state.free.setdefault(slave.instance)
    else:
        state.free.pop(slave.instance, None)


def may_prefetch(slave: SlaveRecord) -> bool:
    """Whether a slave may be given a lease for which it has no idle slot yet."""
    if slave.is_wide or len(slave.leases) >= 2 * slave.slots:
        return False
    return slave.work_s / slave.slots < limits.prefetch_below_s


def may_have_credit(slave: SlaveRecord) -> bool:
    """Whether there might be a job of which the slave may be given one more lease."""
    return slave.slots_taken < slave.slots or may_prefetch(slave)


# --- The end of a job -------------------------------------------------------------------------


def maybe_end(state: ClusterState, job: JobRecord, now: float) -> None:
    """End a job of which nothing is open any more, or which can't be done any more."""
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
    why = cause.strip().rpartition("\n")[2]
    said = f"{job.id} is {new.name.lower()}" + (f": {why}" if why else "")
    chronicle.record(state, "job", said, job=job.id)
    held = {*job.leases.values(), *job.second.values()}
    leases = [state.leases[id] for id in sorted(held)]
    for lease in leases:
        spans.cut(state, lease, sorted(lease.open), SpanEnd.REVOKED, now)
        lease.open.clear()
        drop(state, lease)
        revoke(state, lease)
    # All at once: a job of millions of waiting tasks must not hold the loop up.
    job.states = job.states.translate(_CANCEL)
    for open_state in OPEN:
        job.counts[TaskState.CANCELLED] += job.counts[open_state]
        job.counts[open_state] = 0
    job.leases.clear()
    job.second.clear()
    job.doubled.clear()
    job.due.clear()
    job.failed_on.clear()
    job.taken_from.clear()
    job.returned.clear()
    # Its input is of no use any more, and may be large.
    job.order = job.places = job.costs = ()
    job.tasks, job.submit = (), replace(job.submit, items=Items())
    enqueue(state, job)
    admission.ended(state, job)
    deliver(state, job, now)
    admission.forget_oldest(state)


def revoke(state: ClusterState, lease: Lease) -> None:
    """Tell a slave that a lease is not wanted any more."""
    peer = state.slaves[lease.holder].peer
    if peer is not None:
        state.actions.append(Send(peer, Revoke((lease.id,))))
