"""What the scheduler tells about itself: rows for `status`, `jobs` and `slaves`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from hpczmq import limits
from hpczmq.alerts import merged
from hpczmq.messages import (
    AlertsAnswer,
    Ask,
    ClusterAnswer,
    JobsAnswer,
    Message,
    Reject,
    SlavesAnswer,
    TraceAnswer,
)
from hpczmq.model import About, ClusterInfo, JobInfo, JobState, Refusal, Requires, SlaveInfo
from hpczmq.scheduler import chronicle
from hpczmq.scheduler.jobs import JobRecord
from hpczmq.scheduler.state import ClusterState, SlaveRecord
from hpczmq.scheduler.states import TaskState

#: What all the numbers of a row take together, packed, at most.
_NUMBERS_BYTES = 150


def answer(state: ClusterState, ask: Ask, jobs: Mapping[str, JobRecord], now: float) -> Message:
    """The answer to a question, or the reason why there is none; `jobs` are those of the asker."""
    if ask.about is About.STATUS:
        return ClusterAnswer(ask.request, cluster_info(state, now))
    if ask.about is About.JOBS:
        unknown = [name for name in ask.names if name not in jobs]
        if unknown:
            return unknown_job(ask.request, unknown[0])
        wanted = ask.names or tuple(jobs)[-limits.rows_max :]
        rows = [job_info(state, jobs[name], now) for name in wanted]
        return JobsAnswer(ask.request, _that_fit(rows))
    if ask.about is About.SLAVES:
        slaves = [s for s in state.slaves.values() if not ask.names or s.name in ask.names]
        return SlavesAnswer(ask.request, _slaves_that_fit(slaves, now))
    if ask.about is About.ALERTS and any(client.address for client in state.clients.values()):
        alerts = merged(client.alerts for client in state.clients.values())
        chosen = [alert for alert in alerts if not ask.names or alert.node in ask.names]
        return AlertsAnswer(ask.request, tuple(chosen[: limits.alerts_told_max]))
    if ask.about is About.EVENTS:
        return chronicle.answer(state, ask, jobs, now)
    if ask.about is About.TRACE:
        return _trace(state, ask, jobs, now)
    return Reject(ask.request, "not here", "ask a memoria; `status` says where they are")


def _trace(state: ClusterState, ask: Ask, jobs: Mapping[str, JobRecord], now: float) -> Message:
    """Where and when the tasks of the job that `names` holds ran."""
    id = ask.names[0] if ask.names else ""
    job = jobs.get(id)
    if job is None:
        return unknown_job(ask.request, id)
    since_s, spans = job.submitted_s, job.spans
    info, rows = job_info(state, job, now), spans.rows(since_s)
    return TraceAnswer(ask.request, info, now - since_s, spans.slaves, rows, spans.left_out)


def _that_fit(rows: list[JobInfo]) -> tuple[JobInfo, ...]:
    """The last rows, as many as one message takes."""
    room, first = limits.body_bytes_max - _NUMBERS_BYTES, len(rows)
    for row in reversed(rows):
        chars = len(row.id) + len(row.name) + len(row.kernel) + len(row.cause)
        room -= 4 * chars + len(row.params) + _NUMBERS_BYTES
        if room < 0:
            break
        first -= 1
    return tuple(rows[first:])


def _slaves_that_fit(slaves: list[SlaveRecord], now: float) -> tuple[SlaveInfo, ...]:
    """The first slaves, as many as one message takes: what they say of themselves may be long."""
    room, rows = limits.body_bytes_max - _NUMBERS_BYTES, []
    for slave in slaves[: limits.rows_max]:
        row = slave_info(slave, now)
        texts = (row.name, row.address, row.reason, row.software, *row.labels)
        room -= 4 * sum(map(len, texts)) + 5 * len(row.labels) + 2 * _NUMBERS_BYTES
        if room < 0:
            break
        rows.append(row)
    return tuple(rows)


def unknown_job(request: int, name: str) -> Reject:
    """The refusal of a job id that nobody knows."""
    reason = f"job {name} is not known here: `hpczmq jobs` lists those that are"
    return Reject(request, "unknown job", reason[: limits.text_chars_max])


def job_info(state: ClusterState, job: JobRecord, now: float) -> JobInfo:
    """One job as a row."""
    started = job.started_s
    ended = now if job.ended_s is None else job.ended_s
    return JobInfo(
        id=job.id,
        name=job.submit.name,
        kernel=job.submit.kernel,
        params=job.submit.params,
        priority=job.submit.priority,
        state=job.state,
        tasks=len(job.states),
        done=job.counts[TaskState.DONE],
        failed=job.counts[TaskState.FAILED],
        running=job.counts[TaskState.LEASED],
        waited_s=(ended if started is None else started) - job.submitted_s,
        ran_s=0.0 if started is None else ended - started,
        attempts=job.attempts,
        cause=job.cause or _why_waiting(state, job),
    )


def _why_waiting(state: ClusterState, job: JobRecord) -> str:
    if not job.waiting or job.leases:
        return ""
    if state.full:
        return f"waits: {state.full}"
    alive = [s for s in state.slaves.values() if not s.state.gone]
    if not alive:
        return "waits: no slave is here; start one with `hpczmq slave`"
    if not any(job.capability in s.capabilities for s in alive):
        return f"waits: no slave offers {job.capability}"
    able = [s for s in alive if job.capability in s.capabilities]
    lacking = lacks(able, job.submit.requires)
    if lacking:
        return f"waits: {lacking}"[: limits.text_chars_max]
    able = [s for s in able if fits(s, job)]
    if all(slave.reason or slave.saturated for slave in able):
        first = next((s for s in able if s.reason), able[0])
        why = f"{first.name} is {first.rest.name.lower()}: {first.reason}"
        return f"waits: {why if first.reason else first.saturated}"[: limits.text_chars_max]
    return "waits: every slot is taken" if job.state is JobState.QUEUED else ""


def lacks(slaves: list[SlaveRecord], requires: Requires) -> str:
    """What a job asks for that none of some slaves has; empty: one of them has all of it."""
    wanted = set(requires.labels)
    labelled = [s for s in slaves if wanted <= s.labels]
    if not labelled:
        return f"no slave has the labels {', '.join(requires.labels)}"
    slots = max(s.slots for s in labelled)
    memory = max(s.memory_bytes for s in labelled)
    if slots < requires.slots:
        return f"a task takes {requires.slots} slots, and no slave has more than {slots}"
    if memory < requires.memory_bytes:
        needed, most = _gib(requires.memory_bytes), _gib(memory)
        return f"a task takes {needed} of memory, and no slave has more than {most}"
    both = [s for s in labelled if s.slots >= requires.slots]
    if not any(s.memory_bytes >= requires.memory_bytes for s in both):
        needed = _gib(requires.memory_bytes)
        return f"no slave has both {requires.slots} slots and {needed} of memory"
    return ""


def fits(slave: SlaveRecord, job: JobRecord) -> bool:
    """Whether a slave could run a job's tasks if it had nothing else to do."""
    requires = job.submit.requires
    return (
        job.capability in slave.capabilities
        and requires.slots <= slave.slots
        and requires.memory_bytes <= slave.memory_bytes
        and (not requires.labels or slave.labels.issuperset(requires.labels))
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def slave_info(slave: SlaveRecord, now: float) -> SlaveInfo:
    """One slave as a row."""
    return SlaveInfo(
        name=slave.name,
        instance=slave.instance,
        address=slave.address,
        state=slave.state,
        slots=slave.slots,
        leases=len(slave.leases),
        tasks=sum(len(lease.open) for lease in slave.leases.values()),
        silent_s=now - slave.heard_s,
        generation=slave.generation,
        metrics=slave.metrics,
        memory_bytes=slave.memory_bytes,
        labels=tuple(sorted(slave.labels)),
        reason=slave.reason,
        software=slave.software,
    )


def cluster_info(state: ClusterState, now: float) -> ClusterInfo:
    """The cluster in one row."""
    alive = [s for s in state.slaves.values() if not s.state.gone]
    jobs = [job.state for job in state.jobs.values()]
    running = sum(len(lease.open) for lease in state.leases.values())
    return ClusterInfo(
        cluster=state.cluster,
        epoch=state.epoch,
        software=state.software,
        up_s=now - state.started_s,
        policy=state.control.policy,
        generation=state.control.generation,
        slaves=len(alive),
        slots=sum(slave.slots for slave in alive),
        jobs_queued=jobs.count(JobState.QUEUED),
        jobs_running=jobs.count(JobState.RUNNING),
        jobs_ended=sum(job.ended for job in jobs),
        tasks_waiting=sum(
            state.jobs[id].waiting for queue in state.queues.values() for id in queue
        ),
        tasks_running=running,
        tasks_done=state.tasks_done,
        clients=sum(not client.address for client in state.clients.values()),
        frames_dropped=state.frames_dropped,
        memorias=tuple(
            islice(
                (c.address for c in state.clients.values() if c.address), limits.memorias_shown_max
            )
        ),
        connections=state.quota.connections,
        refused=tuple(Refusal(code, times) for code, times in sorted(state.quota.refused.items())),
        insecure=state.insecure,
    )
