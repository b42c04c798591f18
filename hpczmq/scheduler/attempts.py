"""What is remembered of attempts: what went wrong where, with what the worker used and printed.

Of attempts that go well only sums are kept, or a million tasks would cost a million records. A
job keeps the last `attempts_kept_max` of the others, and all jobs together `log_chars_max` of
what workers printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf

from hpczmq import limits
from hpczmq.messages import Report
from hpczmq.model import Outcome, SlaveState, Status, Usage
from hpczmq.scheduler.answers import fits
from hpczmq.scheduler.jobs import Attempt, JobRecord, Lease
from hpczmq.scheduler.state import Blame, ClusterState, SlaveRecord

#: What a line costs beside its characters.
_LINE_CHARS = 50
#: What is said of a loss that was none.
_FORGIVEN = "its slave was away, and is back: this does not count"


def note(
    state: ClusterState,
    job: JobRecord,
    slave: SlaveRecord,
    report: Report,
    fresh: Sequence[Outcome],
    now: float,
) -> None:
    """Remember what a report tells of attempts, before its outcomes are taken into the books."""
    usage = report.usage
    job.user_s += usage.user_s
    job.system_s += usage.system_s
    job.peak_bytes = max(job.peak_bytes, usage.peak_bytes)
    died = [
        outcome
        for outcome in fresh
        if outcome.status is Status.CRASH and job.is_held(outcome.index, report.lease)
    ]
    if died:
        _keep(state, job, slave, died, usage, now)
    _judge(state, job, slave, report, fresh, now)
    for outcome in fresh:
        index, good = outcome.index, outcome.status.good
        told = outcome.status is not Status.CRASH and not good
        if told or (good and (index in job.crashes or index in job.tries)):
            _keep(state, job, slave, [outcome], usage, now)


def _judge(
    state: ClusterState,
    job: JobRecord,
    slave: SlaveRecord,
    report: Report,
    fresh: Sequence[Outcome],
    now: float,
) -> None:
    """Remember where tasks fail by themselves, and count it where others succeed with them."""
    lease = state.leases.get(report.lease)
    alone = lease is not None and lease.size == 1
    for outcome in fresh:
        index, status = outcome.index, outcome.status
        if status.good:
            slave.good += bool(slave.strikes)
            for instance in job.failed_on.pop(index, {}):
                other = state.slaves.get(instance)
                if other is not None and other is not slave:
                    other.strikes.append(now)
                    state.struck.add(instance)
            continue
        by_itself = status is Status.ERROR or (status is Status.CRASH and alone and report.report)
        if by_itself and job.is_held(index, report.lease):  # else it is no news
            job.failed_on.setdefault(index, {})[slave.instance] = now


def avoided(state: ClusterState, job: JobRecord, slave: SlaveRecord, now: float) -> set[int]:
    """The tasks that should not go to a slave, since they failed there lately, and others are
    ready on which they did not."""
    return {
        index
        for index, where in job.failed_on.items()
        if now - where.get(slave.instance, -inf) < limits.avoid_s
        and any(
            other.state is SlaveState.READY
            and not other.saturated
            and fits(other, job)
            and other.instance not in where
            for other in state.slaves.values()
        )
    }


def _keep(
    state: ClusterState,
    job: JobRecord,
    slave: SlaveRecord,
    outcomes: Sequence[Outcome],
    usage: Usage,
    now: float,
) -> None:
    first, indices = outcomes[0], tuple(outcome.index for outcome in outcomes)
    text = "" if first.status.good else first.value.decode(errors="replace")
    attempt = Attempt(
        indices,
        slave.instance,
        slave.name,
        first.status,
        first.seconds,
        now,
        text[-limits.text_chars_max :],
        usage,
    )
    job.history.append(attempt)
    if usage.log:
        state.logs.append(attempt)
        state.logs_chars += _chars(attempt)
    while state.logs_chars > limits.log_chars_max:
        oldest = state.logs.popleft()
        state.logs_chars -= _chars(oldest)
        oldest.usage = replace(oldest.usage, log=())


def _chars(attempt: Attempt) -> int:
    return sum(len(line) + _LINE_CHARS for line in attempt.usage.log)


def of_task(job: JobRecord, index: int) -> Iterator[Attempt]:
    """What is remembered of one task, oldest first."""
    return (attempt for attempt in job.history if index in attempt.indices)


# --- Slaves that are lost -----------------------------------------------------------------------


def suspects(slave: SlaveRecord) -> list[Lease]:
    """The leases that a slave was running when it was lost: it takes them in their order."""
    return list(slave.leases.values())[: slave.slots]


def is_blamed(job: JobRecord, index: int, lease: int) -> bool:
    """Whether the loss of a slave counts against a task of it: not while its other start goes on,
    or slaves that were lost with it would count twice."""
    return job.leases.get(index) == lease and index not in job.second


def blame(job: JobRecord, slave: SlaveRecord, lease: Lease, indices: Sequence[int]) -> None:
    """Remember, before it is counted, whom the loss of a slave is counted against."""
    for index in indices:
        slave.blames.append(Blame(job.id, index, lease.size == 1, index not in job.crashes))


def forgive(state: ClusterState, slave: SlaveRecord) -> None:
    """A slave that was lost is back: it was not killed by what it ran."""
    for blamed in slave.blames:
        job = state.jobs.get(blamed.job)
        if job is None or blamed.index not in job.crashes:
            continue
        job.crashes[blamed.index] -= blamed.alone
        if blamed.first and not job.crashes[blamed.index]:
            del job.crashes[blamed.index]
        for attempt in of_task(job, blamed.index):
            if attempt.instance == slave.instance and not attempt.usage.pid:
                attempt.text = _FORGIVEN
    slave.blames.clear()


# --- In words -----------------------------------------------------------------------------------


def words(attempt: Attempt) -> str:
    """One attempt in a line, without what it printed."""
    usage = attempt.usage
    last = attempt.text.strip().rpartition("\n")[2]
    how = last or ("done" if attempt.status.good else attempt.status.name.lower())
    where = f"on {attempt.slave}"
    if not usage.pid:
        return f"{where}: {how}"
    used = f"user {usage.user_s:.2f} s, system {usage.system_s:.2f} s"
    peak = f"at most {usage.peak_bytes / limits.MIB:.0f} MiB"
    return f"{where}, worker {usage.pid}, after {attempt.seconds:.2f} s: {how} ({used}, {peak})"


def last_words(job: JobRecord, outcome: Outcome) -> Outcome:
    """A failure for good, with each attempt and the end of what its worker printed."""
    told = [outcome.value.decode(errors="replace")[-limits.error_chars_max // 4 :]]
    for attempt in list(of_task(job, outcome.index))[-limits.crash_limit :]:
        told.append(f"  {words(attempt)}")
        log = "\n".join(f"    | {line}" for line in attempt.usage.log)
        if log:
            told.append(log[-limits.log_told_chars_max :])
    return outcome._replace(value="\n".join(told)[: limits.error_chars_max].encode())
