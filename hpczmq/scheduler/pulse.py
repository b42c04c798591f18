"""What the master tells memorias: its own measurements, and what it sees of its cluster.

With each heartbeat it publishes a sample of itself, as of any other node, and its findings: jobs
that don't move, slaves that are lost, queues that fill. The rules of alerts look at these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice

from hpczmq import limits
from hpczmq.messages import Pulse, Sample, VitalsReport
from hpczmq.model import Finding, JobState, Metrics, Role, SlaveState, Vitals
from hpczmq.scheduler.actions import Publish
from hpczmq.scheduler.events import Tick
from hpczmq.scheduler.jobs import JobRecord
from hpczmq.scheduler.state import ClientRecord, ClusterState, SlaveRecord

#: The master's name as a node.
NODE = "master"
#: With no more jobs in the queues than these, their tasks are counted with each heartbeat.
_COUNTED = 2_000


def tick(state: ClusterState, tick: Tick, now: float) -> None:
    """Tell of the master itself, when it was measured."""
    if tick.metrics is not None:
        metrics = _measured(state, tick.metrics, tick.vitals is not None, tick.clock_s)
        found = tuple(islice(_findings(state, now), limits.findings_max))
        state.actions.append(Publish(Sample(NODE, state.queue, metrics, Role.MASTER)))
        state.actions.append(Publish(Pulse(found)))
    if tick.vitals is not None:
        state.actions.append(Publish(VitalsReport(NODE, state.queue, tick.vitals)))


def sample(state: ClusterState, memoria: ClientRecord, metrics: Metrics) -> None:
    """Pass on how a memoria is; a client's heartbeat measures nothing."""
    if memoria.address:
        state.actions.append(Publish(Sample(memoria.name, memoria.instance, metrics, Role.MEMORIA)))


def republish(state: ClusterState, node: SlaveRecord | ClientRecord, vitals: Vitals) -> None:
    """Pass on what a slave or a memoria has measured, under the name by which it is known."""
    if isinstance(node, SlaveRecord) or node.address:
        state.actions.append(Publish(VitalsReport(node.name, node.instance, vitals)))


def lost(state: ClusterState, name: str, now: float) -> None:
    """Remember that a slave was lost: one that is lost time and again flaps."""
    times = state.losses.pop(name, None) or deque(maxlen=limits.strikes_max)
    state.losses[name] = times  # the newest are last
    times.append(now)
    while len(state.losses) > limits.losses_max:
        del state.losses[next(iter(state.losses))]


def _measured(state: ClusterState, measured: Metrics, counted: bool, clock_s: float) -> Metrics:
    if counted or sum(map(len, state.queues.values())) <= _COUNTED:
        state.tasks_waiting = sum(
            state.jobs[id].waiting for queue in state.queues.values() for id in queue
        )
    tally = state.tally
    return replace(
        measured,
        slots_busy=len(state.leases),
        tasks_held=state.tasks_waiting,
        tasks_done=state.tasks_done,
        tasks_failed=tally.failed,
        errors=tally.errors,
        crashes=tally.crashes,
        timeouts=tally.timeouts,
        tasks_again=tally.again,
        result_bytes=tally.result_bytes,
        clock_s=clock_s,
    )


def _findings(state: ClusterState, now: float) -> Iterator[Finding]:
    """All that a rule may look at; what is well is left out where that is nothing."""
    if state.insecure:
        yield Finding("insecure", NODE, 1.0)
    jobs = len(state.jobs) - len(state.ended)
    full = max(jobs / limits.jobs_open_max, state.open_bytes / limits.jobs_open_bytes_max)
    yield Finding("queue_percent", NODE, 100.0 * full)
    room = max(1, state.results_bytes_max)
    yield Finding("results_percent", NODE, min(100.0, 100.0 * state.results_bytes / room))
    yield from _slaves(state, now)
    yield from _jobs(state, now)


def _slaves(state: ClusterState, now: float) -> Iterator[Finding]:
    gone = {s.name: s for s in state.slaves.values() if s.state is SlaveState.LOST}
    if gone:
        here = {slave.name for slave in state.slaves.values() if not slave.state.gone}
        for name, slave in gone.items():
            if name not in here:  # else it was started anew
                yield Finding("slave_lost_s", name, now - slave.heard_s)
    for name, times in list(state.losses.items()):
        while times and now - times[0] > limits.losses_window_s:
            times.popleft()
        if not times:
            del state.losses[name]
            continue
        yield Finding("slave_losses", name, float(len(times)))


def _jobs(state: ClusterState, now: float) -> Iterator[Finding]:
    """Jobs that run, and those at the front of the queues while somebody has a slot to spare."""
    running = (lease.job for lease in state.leases.values())
    front = (
        queue[place]
        for queue in state.queues.values()
        for place in range(min(len(queue), limits.jobs_looked_max))
    )
    for id in dict.fromkeys(chain(running, front if state.free else ())):
        job = state.jobs[id]
        if not job.state.ended:
            yield Finding("job_idle_s", id, max(0.0, now - _moved_s(job)))
            if job.second:
                yield Finding("job_stragglers", id, float(len(job.second)))


def _moved_s(job: JobRecord) -> float:
    """When something of a job came to its end last, or it began to wait."""
    began_s = job.submitted_s if job.state is JobState.QUEUED else job.started_s
    return max(job.moved_s, began_s or 0.0)
