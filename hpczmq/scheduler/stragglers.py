"""Second starts at the tail of a job: the first result wins, the other lease is revoked.

When nothing of a job waits any more and a slot is idle, the oldest leases that have been out for
longer than their tasks take (each by its cost, as long as those that are done took by theirs) are
started a second time, on another slave. It is bounded: only idle
slots are used, a task has two leases at most, and is started a second time once in its life; one
that has killed a worker never is. A slave that drains or is quarantined gets none, nor does one on
which the task has failed.
"""

from __future__ import annotations

from itertools import islice

from hpczmq import limits
from hpczmq.model import Policy, Task
from hpczmq.scheduler import chronicle, ledger
from hpczmq.scheduler.jobs import JobRecord, Lease
from hpczmq.scheduler.placement import assign, has_credit, load
from hpczmq.scheduler.state import ClusterState, SlaveRecord


def place(state: ClusterState, now: float) -> None:
    """Start stragglers a second time, where slots are idle and nothing waits for them."""
    if state.full or now - state.seen_s < limits.tick_s:
        return
    state.seen_s = now
    idle: list[SlaveRecord] | None = None
    # Numbers grow with time, so the oldest lease comes first.
    for lease in list(islice(state.leases.values(), limits.stragglers_seen_max)):
        if now - lease.sent_s < limits.straggler_s:
            return
        job = state.jobs[lease.job]
        if late(job, lease, now):
            idle = _idle(state) if idle is None else idle
            if not idle:
                return
            _double(state, job, lease, idle, now)


def late(job: JobRecord, lease: Lease, now: float) -> bool:
    """Whether a lease is out for longer than its tasks take, and nothing of its job waits."""
    if job.waiting or not job.took_cost:
        return False
    expected_s = lease.cost * job.took_s / job.took_cost
    return now - lease.sent_s > max(limits.straggler_s, limits.straggler_times * expected_s)


def _idle(state: ClusterState) -> list[SlaveRecord]:
    """Slaves with an idle slot, first whom the policy likes best."""
    slaves = [state.slaves[instance] for instance in state.free]
    policy = Policy(state.control.policy)
    idle = [slave for slave in slaves if slave.slots_taken < slave.slots]
    return sorted(idle, key=lambda slave: load(slave, policy, state.weights))


def _double(
    state: ClusterState, job: JobRecord, lease: Lease, idle: list[SlaveRecord], now: float
) -> None:
    """Start what is left of a lease a second time, if an idle slot can run it."""
    indices = sorted(i for i in lease.open if i not in job.doubled and i not in job.crashes)
    spared = {lease.holder}.union(*(job.failed_on.get(i, ()) for i in indices))
    able = (s for s in idle if s.instance not in spared and has_credit(s, job))
    slave = next(able, None) if indices else None
    if slave is None:
        return
    second = ledger.grant_second(state, job, slave, indices, now)
    tasks = [Task(index, job.tasks[index]) for index in indices]
    state.actions.append(assign(job, slave, second.id, tasks))
    ledger.mark_free(state, slave)
    idle.remove(slave)
    if slave.slots_taken < slave.slots:
        idle.append(slave)
    holder, out_s = state.slaves[lease.holder].name, now - lease.sent_s
    what = f"{len(indices)} tasks of {job.id}, out on {holder} for {out_s:.1f} s"
    said = f"straggler: {what}: started a second time on {slave.name}"
    chronicle.note(state, "task", said, node=slave.name, job=job.id)
