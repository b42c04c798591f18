"""What a report changes: which outcomes count, which end their task, which let it run again.

A task is accepted once: the first outcome that finds it open counts, whichever lease it comes
from, and later ones find it ended and are dropped. So it does not matter how often a task was
handed out.

Of two starts the first result counts. One that comes to nothing meanwhile is remembered, and held
against its slave if the task succeeds elsewhere; against the task it does not count, neither as a
crash nor as a retry, since the other start decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpczmq import limits
from hpczmq.messages import Report
from hpczmq.model import Outcome, Status
from hpczmq.scheduler import admission, alarms, attempts, chronicle, ledger, spans
from hpczmq.scheduler.actions import Store
from hpczmq.scheduler.delivery import deliver
from hpczmq.scheduler.events import Buffer
from hpczmq.scheduler.jobs import JobRecord
from hpczmq.scheduler.state import ClusterState, SlaveRecord
from hpczmq.scheduler.states import TaskState


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
    news = [o for o in report.outcomes if _is_news(job, o, report.lease)]
    fresh = [o for o in news if _was_given(job, slave, report.lease, o.index)]
    if len(fresh) < len(news):
        state.quota.count("not assigned", len(news) - len(fresh))
    attempts.note(state, job, slave, report, fresh, now)
    state.tally.count([o for o in fresh if not o.status.good])
    spans.told(state, job, slave, report, fresh, now)
    fresh = [o for o in fresh if o.status.good or not _goes_on(state, job, o, report.lease)]
    if len(fresh) < len(report.outcomes):
        kept = {o.index for o in fresh}
        buffers = _of(kept, report.outcomes, buffers)
    final, again = _sort(state, job, report.lease, fresh)
    for outcome in final:
        _settle(state, job, outcome, report.lease, now)
    for outcome in again:
        _retry(state, job, outcome, report.lease, now)
    if again and report.report:  # else its slave is lost, which was said already
        _note_retries(state, job, again, slave.name)
    if final:
        _measure(job, final)
        state.actions.append(Store(job.id, job.chunks, slave.name, final, buffers))
        job.chunks += 1
        job.moved_s = now
        state.tally.result_bytes += sum(map(len, buffers))
        admission.stored(state, job, final, buffers)
        deliver(state, job, now)
    ledger.enqueue(state, job)
    ledger.maybe_end(state, job, now)


def _was_given(job: JobRecord, slave: SlaveRecord, reported: int, index: int) -> bool:
    """Whether a slave was given a task: in a lease that it holds, or in one that was taken from it
    while it was away. Nobody else has a say in what becomes of a task.
    """
    lease = slave.leases.get(reported)
    held = lease is not None and lease.job == job.id and index in lease.open
    return held or slave.instance in job.taken_from.get(index, ())


def _is_news(job: JobRecord, outcome: Outcome, reported: int) -> bool:
    """Whether an outcome may change anything.

    What comes to nothing is none if its task was started twice and its lease does not hold it any
    more: it was said before, or the lease was given up.
    """
    if not _may_count(job, outcome.index):
        return False
    if outcome.status.good or outcome.index not in job.doubled:
        return True
    return job.is_held(outcome.index, reported)


def _may_count(job: JobRecord, index: int) -> bool:
    """Whether a task is open. One that was never handed out has no outcome: the report speaks of
    another master's job of this name."""
    return job.was_placed(index) and job.states[index] in ledger.OPEN


def _goes_on(state: ClusterState, job: JobRecord, outcome: Outcome, reported: int) -> bool:
    """Whether a task without a result here still has its other start: then that one decides."""
    index = outcome.index
    if index not in job.doubled or not ledger.let_go(job, index, reported):
        return False
    lease = state.leases[reported]
    # Its `Assign` may come a second time, and then what comes of it is welcome.
    job.taken_from.setdefault(index, set()).add(lease.holder)
    lease.open.discard(index)
    if not lease.open:
        ledger.drop(state, lease)
    how = outcome.status.name.lower()
    said = f"task {index} of {job.id}: {how}, but its other start goes on"
    chronicle.note(state, "task", said, node=state.slaves[lease.holder].name, job=job.id)
    return True


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


def _settle(state: ClusterState, job: JobRecord, outcome: Outcome, lease: int, now: float) -> None:
    """Give a task its final state, and free it from the leases that hold it."""
    index, good = outcome.index, outcome.status.good
    ledger.move_task(state, job, index, TaskState.DONE if good else TaskState.FAILED, now)
    job.due.pop(index, None)
    job.failed_on.pop(index, None)
    job.taken_from.pop(index, None)
    state.tasks_done += 1
    state.tally.failed += not good
    if not good and not job.cause:
        place, text = f"task {index}: ", outcome.value.decode(errors="replace")
        job.cause = place + text[len(place) - limits.error_chars_max :]
    held = state.leases.get(lease)
    # Its slave goes on with the rest of the lease, which others may have done by now.
    goes_on = outcome.status is Status.TIMEOUT and held is not None and held.size > 1
    ledger.release(state, job, index, 0 if goes_on else lease, now)


def _retry(state: ClusterState, job: JobRecord, outcome: Outcome, lease: int, now: float) -> None:
    """Let a task that lost its worker wait again, before the others; one that raised, later."""
    index = outcome.index
    state.tally.again += 1
    ledger.note_taken(state, job, index)
    ledger.release(state, job, index, lease, now)
    if outcome.status is Status.ERROR:
        ledger.move_task(state, job, index, TaskState.DELAYED, now)
        job.due[index] = now + alarms.retry_s(job.tries[index])
        alarms.set_alarm(state, job, index, job.due[index])
    else:
        ledger.move_task(state, job, index, TaskState.WAITING, now)
        job.returned.append(index)


def _note_retries(
    state: ClusterState, job: JobRecord, outcomes: Sequence[Outcome], node: str
) -> None:
    """One line, however many they are: a slave may take thousands along."""
    first, more = outcomes[0], len(outcomes) - 1
    who = f"task {first.index}" + (f" and {more} more" if more else "")
    text = first.value.decode(errors="replace").strip().rpartition("\n")[2]
    chronicle.note(state, "task", f"{who} of {job.id} is run again: {text}", node=node, job=job.id)


def _of(kept: set[int], outcomes: Iterable[Outcome], buffers: Sequence[Buffer]) -> Sequence[Buffer]:
    """The buffers of some of the outcomes; each ARRAY owns the next one."""
    owners = [o.index for o in outcomes if o.status is Status.ARRAY]
    return [buffer for index, buffer in zip(owners, buffers, strict=True) if index in kept]


def _measure(job: JobRecord, outcomes: Sequence[Outcome]) -> None:
    """Let the time per cost follow what was just measured; half of it is the newest report."""
    good = [o for o in outcomes if o.status.good]
    if good:
        seconds, cost = sum([o.seconds for o in good]), sum([job.cost(o.index) for o in good])
        # What the kernel said is only good until something is measured.
        before = job.unit_s if job.unit_s is not None and job.took_cost else seconds / cost
        job.unit_s = (before + seconds / cost) / 2
        job.took_s += seconds
        job.took_cost += cost
