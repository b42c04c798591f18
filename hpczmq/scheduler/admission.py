"""What the master takes in and what it keeps, in bytes: when it says no, and what it forgets.

Three things grow with what users hand in: open jobs (parameters, and a byte a task), ended jobs
(the same, but for their input), and results. Each has a bound.

- A submit past a bound is refused, with what is full and what to do about it.
- Results may not be lost, and a job that runs can't be refused any more. So at the bound results
  are forgotten that somebody has taken whole, the oldest first; then those of cancelled jobs. If
  there are none, nothing is placed until there is room again: what is out comes in, and that is
  what results may be above their bound.
- Of ended jobs the oldest are forgotten, again first what was taken: a master that runs for months
  must not keep them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpczmq import limits
from hpczmq.messages import Submit
from hpczmq.model import JobState, Outcome
from hpczmq.scheduler import chronicle, spans
from hpczmq.scheduler.actions import Forget
from hpczmq.scheduler.delivery import drop_watch
from hpczmq.scheduler.events import Buffer
from hpczmq.scheduler.jobs import JobRecord
from hpczmq.scheduler.state import ClusterState

#: What a record takes beside what it holds, and each of its tasks that went wrong; rounded up.
_JOB_BYTES = 4 * limits.KIB
_TROUBLE_BYTES = 256
#: A task's place in the order, both ways.
_PLACE_BYTES = 8


def weight_bytes(submit: Submit, tasks: int, ordered: bool) -> int:
    """What a job takes in memory while it is open."""
    own = len(submit.params) + submit.items.held_bytes
    return _JOB_BYTES + own + tasks * (1 + _PLACE_BYTES * ordered)


def refusal(state: ClusterState, submit: Submit, tasks: int, ordered: bool) -> str:
    """Why a job can't be taken in: what is full, and what to do; empty: it can."""
    if len(state.jobs) - len(state.ended) >= limits.jobs_open_max:
        return f"{limits.jobs_open_max} jobs are open: wait for some, or cancel them"
    needed, most = weight_bytes(submit, tasks, ordered), limits.jobs_open_bytes_max
    if state.open_bytes + needed > most:
        told = f"open jobs take {size(state.open_bytes)} of {size(most)}, and this one"
        return f"{told} {size(needed)}: wait for some, or cancel them"
    return state.full


def took_in(state: ClusterState, job: JobRecord) -> None:
    """A job is in the books."""
    job.held_bytes = weight_bytes(job.submit, len(job.states), bool(job.order))
    state.open_bytes += job.held_bytes
    spans.trim(state)
    what = job.submit.name or job.submit.kernel
    said = f"{job.id} was submitted: {what}, {len(job.states)} tasks"
    chronicle.record(state, "job", said, job=job.id)


def ended(state: ClusterState, job: JobRecord) -> None:
    """A job has ended, and has let go of its input."""
    state.open_bytes -= job.held_bytes
    trouble = len(job.crashes) + len(job.tries) + len(job.history)
    job.held_bytes = weight_bytes(job.submit, len(job.states), False) + _TROUBLE_BYTES * trouble
    state.ended_bytes += job.held_bytes
    state.ended.append(job.id)


def forget_oldest(state: ClusterState) -> None:
    """Keep what is remembered of ended jobs bounded; those that somebody still reads go last."""
    while _too_many(state, 1):
        oldest = next(_taken(state), None)
        if oldest is None:
            oldest = next((id for id in state.ended if id not in state.watchers), None)
        if oldest is None and not _too_many(state, 2):
            return
        forget(state, oldest or state.ended[0])


def _too_many(state: ClusterState, times: int) -> bool:
    many = len(state.ended) > times * limits.jobs_ended_max
    return many or (state.ended_bytes > times * limits.jobs_ended_bytes_max and bool(state.ended))


def _taken(state: ClusterState) -> Iterator[str]:
    """Ended jobs whose results somebody has, and nobody reads now, oldest first."""
    return (id for id in state.ended if state.jobs[id].taken and id not in state.watchers)


def forget(state: ClusterState, id: str) -> None:
    """Remove an ended job and its results."""
    job = state.jobs.pop(id)
    state.ended.remove(id)
    state.uids.pop(job.submit.uid, None)
    for peer in list(state.watchers.get(id, ())):
        drop_watch(state, peer, id)
    spans.forget(state, job)
    state.ended_bytes -= job.held_bytes
    state.results_bytes -= job.results_bytes
    state.unwritten_bytes -= job.unwritten_bytes
    state.actions.append(Forget(id))
    look(state)


# --- Results ------------------------------------------------------------------------------------


def outcomes_bytes(outcomes: Sequence[Outcome], buffers: Sequence[Buffer]) -> int:
    """What a chunk of these takes, but for what frames it."""
    return sum([len(o.value) for o in outcomes]) + sum(map(len, buffers))


def stored(
    state: ClusterState, job: JobRecord, outcomes: Sequence[Outcome], buffers: Sequence[Buffer]
) -> None:
    """A chunk was accepted."""
    chunk_bytes = outcomes_bytes(outcomes, buffers)
    job.chunk_bytes.append(chunk_bytes)
    job.results_bytes += chunk_bytes
    state.results_bytes += chunk_bytes
    make_room(state)


def unwritten(state: ClusterState, id: str, kept_bytes: int) -> None:
    """The disk did not take a chunk: it is in memory, and will stay there."""
    job = state.jobs.get(id)
    if job is not None:
        job.unwritten_bytes += kept_bytes
        state.unwritten_bytes += kept_bytes
        make_room(state)


def make_room(state: ClusterState) -> None:
    """At the bound of the results, forget what may be forgotten; and see whether that was it."""
    while _why_full(state):
        cancelled = (
            id
            for id in state.ended
            if state.jobs[id].state is JobState.CANCELLED and id not in state.watchers
        )
        oldest = next(_taken(state), None) or next(cancelled, None)
        if oldest is None:
            break
        forget(state, oldest)
    look(state)


def look(state: ClusterState) -> None:
    """Note whether results are at their bound."""
    before, state.full = state.full, _why_full(state)
    if bool(before) != bool(state.full):
        said = f"nothing new is placed: {state.full}" if state.full else "there is room again"
        chronicle.note(state, "results", said)


def _why_full(state: ClusterState) -> str:
    remedy = "fetch what has ended, forget it with `hpczmq clear --ended`, or"
    if state.results_bytes >= state.results_bytes_max:
        taken = f"{size(state.results_bytes)} of {size(state.results_bytes_max)}"
        return f"results take {taken}: {remedy} raise HPCZMQ_RESULTS"
    if state.unwritten_bytes >= limits.unwritten_bytes_max:
        taken = f"{size(state.unwritten_bytes)} of results are in memory, since the master's disk"
        return f"{taken} does not take them: {remedy} make room there"
    return ""


def size(count: int) -> str:
    """A number of bytes for people."""
    for unit, name in ((limits.MIB * limits.KIB, "GiB"), (limits.MIB, "MiB"), (limits.KIB, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
