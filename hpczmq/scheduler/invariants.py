"""What is true of the scheduler's books between any two events.

`check` runs after every step in the unit tests and in the simulation. It costs time in
proportion to everything, so the real master does not call it.
"""

from __future__ import annotations

from hpczmq import limits
from hpczmq.model import JobState, SlaveState
from hpczmq.scheduler.jobs import JobRecord
from hpczmq.scheduler.ledger import is_open, may_have_credit
from hpczmq.scheduler.state import ClusterState
from hpczmq.scheduler.states import TaskState


def check(state: ClusterState, settled: set[str] | None = None) -> None:
    """Raise AssertionError if the books contradict themselves.

    Given `settled`, jobs in it are left out, and those that have ended are put into it once they
    were checked: who checks after each step knows them, and nothing of an ended job may move any
    more. What moves all the same is found by a check without it, now and then.
    """
    for job in state.jobs.values():
        if settled is None:
            _check_job(state, job)
        elif job.id not in settled:
            _check_job(state, job)
            if job.state.ended:
                settled.add(job.id)
    _check_leases(state)
    _check_slaves(state)
    _check_clients(state)
    assert set(state.uids.values()) == set(state.jobs), "each job has one uid"
    ended = [job.id for job in state.jobs.values() if job.state.ended]
    assert sorted(state.ended) == sorted(ended), "ended jobs are listed once"
    _check_bytes(state)


def _check_bytes(state: ClusterState) -> None:
    jobs = state.jobs.values()
    assert state.open_bytes == sum(job.held_bytes for job in jobs if not job.state.ended)
    assert state.ended_bytes == sum(job.held_bytes for job in jobs if job.state.ended)
    assert state.results_bytes == sum(job.results_bytes for job in jobs)
    assert state.unwritten_bytes == sum(job.unwritten_bytes for job in jobs)
    assert state.spans_kept == sum(len(job.spans) for job in jobs) <= limits.spans_kept_max
    for job in jobs:
        assert len(job.chunk_bytes) == job.chunks, f"{job.id}: each chunk has its weight"
        assert sum(job.chunk_bytes) == job.results_bytes
    assert state.open_bytes <= limits.jobs_open_bytes_max, "open jobs are within their bound"
    assert state.ended_bytes <= 2 * limits.jobs_ended_bytes_max, "and so are ended ones"
    assert state.backlog_bytes == sum(client.backlog_bytes for client in state.clients.values())
    for client in state.clients.values():
        sent = [weight for watch in client.watches.values() for _, weight in watch.sent]
        assert client.backlog_bytes == sum(sent), f"{client.name}: what is on its way is booked"
        most = limits.client_backlog_bytes_max
        assert client.backlog_bytes <= max(most, *sent, 0), f"{client.name} is over its credit"


def _check_job(state: ClusterState, job: JobRecord) -> None:
    counted = [job.states.count(task_state) for task_state in TaskState]
    assert counted == job.counts, f"{job.id}: {counted} counted, {job.counts} booked"
    assert sum(counted) == len(job.states), f"{job.id} lost a task"
    leased = _tasks(job, TaskState.LEASED)
    assert leased == set(job.leases), f"{job.id}: a leased task has one lease"
    for index, lease in job.leases.items():
        assert index in state.leases[lease].open, f"lease {lease} does not hold {job.id}/{index}"
    for index, lease in job.second.items():
        first, other = state.leases[job.leases[index]], state.leases[lease]
        assert index in other.open, f"lease {lease} does not hold {job.id}/{index}"
        assert first.holder != other.holder, f"{job.id}/{index} runs twice on one slave"
        assert index in job.doubled
    assert _tasks(job, TaskState.DELAYED) == set(job.due), f"{job.id}: each delay has its end"
    alarms = {(alarm[2], alarm[3], alarm[0]) for alarm in state.alarms}
    for index, due_s in job.due.items():
        assert (job.id, index, due_s) in alarms, f"{job.id}/{index} will never be tried again"
    open_states = (TaskState.WAITING, TaskState.LEASED, TaskState.DELAYED)
    remembered = (*job.failed_on, *job.taken_from)
    closed = [index for index in remembered if job.states[index] not in open_states]
    assert not closed, f"{job.id}: {closed} have ended, and are still remembered"
    waiting = _tasks(job, TaskState.WAITING)
    left = {i for i in waiting if job.was_placed(i)}.difference(job.returned)
    assert not left, f"{job.id}: {sorted(left)} will never be placed"
    if job.costs:
        cost = sum([job.costs[index] for index in waiting])
        assert abs(job.waiting_cost - cost) <= 1e-6 * max(job.costs) * len(job.states), (
            f"{job.id}: what waits costs {cost}, {job.waiting_cost} booked"
        )
    queued = job.id in state.queues.get(job.submit.priority, ())
    assert queued == bool(job.waiting and not job.state.ended), f"{job.id} is in the wrong place"
    held = {*job.leases.values(), *job.second.values()}
    assert job.held == len(held), f"{job.id} has {len(held)} leases, {job.held} booked"
    if job.state.ended:
        assert not waiting and not leased and not job.due, f"{job.id} has ended with open tasks"
    if job.state is JobState.DONE:
        assert counted[TaskState.DONE] == len(job.states), f"{job.id} is done without its results"


def _tasks(job: JobRecord, state: TaskState) -> set[int]:
    """Indices of the tasks in a state. Most jobs have ended, and have none to look for."""
    if not job.counts[state]:
        return set()
    return {index for index, byte in enumerate(job.states) if byte == state}


def _check_leases(state: ClusterState) -> None:
    held = {id: lease for s in state.slaves.values() for id, lease in s.leases.items()}
    assert held == state.leases, "each lease is held by one slave"
    for lease in state.leases.values():
        assert lease.open, f"lease {lease.id} holds nothing"
        assert len(lease.open) <= lease.size
        job = state.jobs[lease.job]
        for index in lease.open:
            known = (job.leases[index], job.second.get(index))
            assert lease.id in known, f"{job.id}/{index} has an unknown lease"


def _check_slaves(state: ClusterState) -> None:
    peers = [(s.peer, s.instance) for s in state.slaves.values() if s.peer is not None]
    assert sorted(peers) == sorted(state.peers.items()), "each connection belongs to one slave"
    assert not state.struck, "a strike is judged at once"
    for slave in state.slaves.values():
        closed = slave.rest in (SlaveState.DRAINING, SlaveState.QUARANTINED)
        assert closed == bool(slave.reason), f"{slave.name} says why, exactly while it is closed"
        assert len(slave.leases) <= 2 * slave.slots, f"{slave.name} is over its credit"
        taken, memory = slave.slots_taken, slave.memory_taken_bytes
        assert taken == sum(lease.slots for lease in slave.leases.values())
        assert not slave.is_wide or taken <= slave.slots, f"{slave.name} has too few slots"
        assert not memory or memory <= slave.memory_bytes, f"{slave.name} has too little memory"
        if slave.state.gone:
            assert not slave.leases, f"{slave.name} is gone, with leases"
        may = is_open(slave)
        assert may == (slave.instance in state.open), f"{slave.name} is wrongly open or not"
        may = may and may_have_credit(slave)
        assert may == (slave.instance in state.free), f"{slave.name} is wrongly free or not"
    assert state.slots_open == sum(state.slaves[id].slots for id in state.open)


def _check_clients(state: ClusterState) -> None:
    watched = {(job, peer) for peer, client in state.clients.items() for job in client.watches}
    booked = {(job, peer) for job, peers in state.watchers.items() for peer in peers}
    assert watched == booked, "a wish is booked on both sides"
    assert not set(state.clients) & set(state.peers), "a connection has one role"
    for peer, client in state.clients.items():
        for id, watch in client.watches.items():
            job = state.jobs[id]
            stuck = watch.cursor < min(watch.limit, job.chunks)
            waits = id in client.stalled and client.backlog_bytes
            assert not stuck or waits, f"{peer!r} waits for a chunk of {id} that is there"
