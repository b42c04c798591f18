"""Which slave gets which tasks; runs once per turn of the loop, over everything that waits.

Order: priority, then the age of the job. A lease is made as large as its tasks are short, so that
a message carries `lease_work_s` of work, and never so large that the last slots go without.

A slave has credit for one lease per slot, and for one more per slot while all that it holds ends
soon: then the next is there before the slot is free. Long tasks are not prefetched, since they
would wait behind one slave while another has nothing to do.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf

from hpczmq import limits
from hpczmq.messages import Assign
from hpczmq.model import Policy, Task
from hpczmq.scheduler import attempts, ledger
from hpczmq.scheduler.actions import Send
from hpczmq.scheduler.state import ClusterState, JobRecord, SlaveRecord


def place(state: ClusterState, now: float) -> None:
    """Hand out leases until nothing waits or nobody has credit."""
    #: For each capability, the mean run time from which on no slave has credit any more. Credit
    #: only shrinks within a turn, so one look serves all jobs alike, however many are queued.
    exhausted: dict[str, float] = {}
    for priority in sorted(state.queues):
        for id in list(state.queues[priority]):
            if not state.free:
                return
            job = state.jobs[id]
            mean_s = inf if job.mean_s is None else job.mean_s
            if job.capability in exhausted and mean_s >= exhausted[job.capability]:
                continue
            _place_job(state, job, now)
            if job.waiting and not job.failed_on:
                exhausted[job.capability] = mean_s


def _place_job(state: ClusterState, job: JobRecord, now: float) -> None:
    slots = sum(state.slaves[instance].slots for instance in state.free)
    chooser = _Chooser(state, job)
    while job.waiting:
        slave = chooser.next()
        if slave is None:
            return
        avoided = attempts.avoided(state, job, slave, now) if job.failed_on else ()
        indices = ledger.take(job, lease_tasks(job, slots), avoided)
        if not indices:
            continue  # what waits has failed there: another slave will have it soon
        lease = ledger.grant(state, job, slave, indices, now)
        state.actions.append(_assign(job, slave, lease.id, indices))
        ledger.mark_free(state, slave)
        chooser.put_back(slave)


def lease_tasks(job: JobRecord, slots: int) -> int:
    """How many tasks the next lease of a job should carry."""
    if job.mean_s is None:
        return 1
    by_time = limits.lease_work_s / job.mean_s if job.mean_s > 0 else inf
    by_share = -(-job.waiting // (2 * max(1, slots)))
    return int(max(1, min(by_time, by_share, limits.tasks_per_lease_max)))


def has_credit(slave: SlaveRecord, job: JobRecord) -> bool:
    """Whether a slave may be given one more lease of this job."""
    if job.capability not in slave.capabilities:
        return False
    if len(slave.leases) < slave.slots:
        return True
    if len(slave.leases) >= 2 * slave.slots or job.mean_s is None:
        return False
    return slave.work_s / slave.slots + job.mean_s < limits.prefetch_below_s


class _Chooser:
    """The slaves with credit for one job, best first by the policy."""

    def __init__(self, state: ClusterState, job: JobRecord) -> None:
        self._state = state
        self._job = job
        self._least_loaded = state.control.policy == Policy.LEAST_LOADED.value
        #: (load, turn, slave); the turn keeps equals in turn, and comparisons off the records.
        self._heap: list[tuple[float, float, int, SlaveRecord]] = []
        self._turn = 0
        for instance in state.free:
            self.put_back(state.slaves[instance])

    def put_back(self, slave: SlaveRecord) -> None:
        """Consider a slave (again), while it has credit."""
        if slave.instance in self._state.free and has_credit(slave, self._job):
            self._turn += 1
            # An idle slot comes before a prefetch under every policy.
            queued = float(max(0, len(slave.leases) - slave.slots + 1))
            load = len(slave.leases) / slave.slots if self._least_loaded else 0.0
            tie = slave.metrics.cpu_percent if self._least_loaded else 0.0
            heappush(self._heap, (queued + load, tie, self._turn, slave))

    def next(self) -> SlaveRecord | None:
        """The slave whose turn it is; it goes to the end of the line for the next turns too."""
        if not self._heap:
            return None
        slave = heappop(self._heap)[-1]
        self._state.free[slave.instance] = self._state.free.pop(slave.instance, None)
        return slave


def _assign(job: JobRecord, slave: SlaveRecord, lease: int, indices: list[int]) -> Send:
    assert slave.peer is not None, f"{slave.name} is placed on without a connection"
    submit = job.submit
    tasks = tuple([Task(index, job.tasks[index]) for index in indices])
    params = b"" if job.is_map else submit.params
    message = Assign(lease, job.id, submit.kernel, params, job.is_map, tasks, submit.timeout_s)
    return Send(slave.peer, message)
