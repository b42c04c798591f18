"""Which slave gets which tasks; runs once per turn of the loop, over everything that waits.

Order: priority, then fair shares, then the longest expected tasks, then age (`queue.rank`): leases
are given one by one, each to the job whose turn it is by then. A lease is made as large as its
tasks are short, so that a message carries `lease_work_s` of work, and at most half of what would be
each slot's share of the rest: the last ones are small, and no slot goes without. How long a task
takes is what its kernel expected (`JobRecord.costs`), times what that has taken so far.

A slave has credit for one lease per slot, and for one more per slot while all that it holds ends
soon: then the next is there before the slot is free. Long tasks are not prefetched, since they
would wait behind one slave while another has nothing to do.

A task that takes several slots, or much memory, may wait until one slave has room; no lesser job
gets anything there meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf

from hpczmq import limits
from hpczmq.messages import Assign
from hpczmq.model import Policy, SlaveState, Task
from hpczmq.scheduler import attempts, ledger
from hpczmq.scheduler.actions import Send
from hpczmq.scheduler.answers import fits
from hpczmq.scheduler.jobs import Demand, JobRecord
from hpczmq.scheduler.state import ClusterState, SlaveRecord, Weights
from hpczmq.scheduler.states import TaskState


def place(state: ClusterState, now: float) -> None:
    """Hand out leases until nothing waits or nobody has credit."""
    if state.full or not state.free or not any(state.queues.values()):
        return
    chooser = _Chooser(state)
    for priority in sorted(state.queues):
        queue, place = state.queues[priority], 0
        # A job that gets a lease goes back in the line, and the next one takes its place.
        while place < len(queue) and chooser.hopes:
            job = state.jobs[queue[place]]
            slave = chooser.next(job, now)
            if slave is None:
                place += 1
                continue
            indices = ledger.take(job, lease_cost(job, chooser.slots), chooser.avoided)
            tasks = ledger.light_enough(job, indices)
            lease = ledger.grant(state, job, slave, indices[: len(tasks)], now)
            state.actions.append(assign(job, slave, lease.id, tasks))
            ledger.mark_free(state, slave)
            chooser.put_back(slave)


def lease_cost(job: JobRecord, slots: int) -> float:
    """What the tasks of a job's next lease should cost together; it has one at least."""
    if job.unit_s is None:
        return 0.0
    by_time = limits.lease_work_s / job.unit_s if job.unit_s > 0 else inf
    rest = job.waiting_cost if job.costs else job.waiting
    return min(by_time, rest / (2 * max(1, slots)))


def has_credit(slave: SlaveRecord, job: JobRecord) -> bool:
    """Whether a slave may be given one more lease of this job."""
    requires = job.submit.requires
    if not fits(slave, job):
        return False
    if requires.memory_bytes > slave.memory_bytes - slave.memory_taken_bytes:
        return False
    if slave.slots_taken + requires.slots <= slave.slots:
        return True
    next_s = job.next_s
    if requires.slots > 1 or next_s is None or not ledger.may_prefetch(slave):
        return False
    return slave.work_s / slave.slots + next_s < limits.prefetch_below_s


def score(slave: SlaveRecord, weights: Weights) -> float:
    """What `resources` thinks of a slave's machine: the lower, the better."""
    metrics = slave.metrics
    return (
        weights.cpu * metrics.cpu_percent / 100.0
        + weights.memory * metrics.memory_percent / 100.0
        + weights.latency * min(1.0, metrics.latency_s / limits.latency_high_s)
        + weights.alerts * any(watcher.rising for watcher in slave.watchers)
    )


def load(slave: SlaveRecord, policy: Policy, weights: Weights) -> tuple[float, float]:
    """How little a policy likes a slave, and what it looks at between equals."""
    if policy is Policy.ROUND_ROBIN:
        return 0.0, 0.0
    taken = slave.slots_taken / slave.slots
    if policy is Policy.LEAST_LOADED:
        return taken, slave.metrics.cpu_percent
    return weights.slots * taken + score(slave, weights), 0.0


#: (queued, load, turn, leases, slave); the turn keeps equals in turn, and comparisons off the
#: records.
_Row = tuple[float, tuple[float, float], int, int, SlaveRecord]


class _Chooser:
    """The slaves that may get a lease in this turn, best first by the policy."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._policy = Policy(state.control.policy)
        #: For each kind of demand that a job has. A row whose slave holds another number of
        #: leases by now is stale, and there is a newer one.
        self._heaps: dict[Demand, list[_Row]] = {}
        #: For each kind of demand, a task's run time from which on no slave has credit any more.
        #: Credit only shrinks within a turn, so one look serves all jobs alike.
        self._exhausted: dict[Demand, float] = {}
        #: Slaves that are kept for tasks which take much of one, by instance.
        self._reserved: set[bytes] = set()
        self._turn = 0
        #: Tasks that the slave which was chosen last should not get: they failed there.
        self.avoided: set[int] = set()
        self.slots = state.slots_open
        #: Slaves to whom some job might give one more lease, by instance.
        self.hopes = {instance: state.slaves[instance] for instance in state.free}

    def put_back(self, slave: SlaveRecord) -> None:
        """Consider a slave again, after it was given a lease."""
        if slave.instance not in self._state.free:
            self.hopes.pop(slave.instance, None)
            return
        for heap in self._heaps.values():
            self._push(heap, slave)

    def next(self, job: JobRecord, now: float) -> SlaveRecord | None:
        """The slave whose turn it is; it goes to the end of the line for the next turns too."""
        next_s = inf if job.next_s is None else job.next_s
        demand = job.demand
        if demand in self._exhausted and next_s >= self._exhausted[demand]:
            return None
        heap = self._heap(demand, job)
        aside, found, spared = [], None, False
        while heap and found is None:
            row = heappop(heap)
            slave = row[-1]
            if slave.instance not in self.hopes or row[3] != len(slave.leases):
                continue
            if has_credit(slave, job):
                if self._has_task_for(slave, job, now):
                    found = slave
                    continue
                spared = True
            aside.append(row)  # another job's tasks may be short enough for it
        for row in aside:
            heappush(heap, row)
        if found is None:
            if not spared:  # else other jobs' tasks did not fail there
                self._exhausted[demand] = next_s
            self._reserve(job, now)
            return None
        self._state.free[found.instance] = self._state.free.pop(found.instance, None)
        return found

    def _has_task_for(self, slave: SlaveRecord, job: JobRecord, now: float) -> bool:
        """Whether anything waits of a job that has not failed on a slave lately."""
        if not job.failed_on:
            self.avoided = set()
            return True
        self.avoided = attempts.avoided(self._state, job, slave, now)
        waiting = [index for index in self.avoided if job.states[index] == TaskState.WAITING]
        return len(waiting) < job.waiting

    def _reserve(self, job: JobRecord, now: float) -> None:
        """Keep a slave free of lesser jobs until it has room for a task that takes much of one.

        Else the slots of that task would be taken again one by one, for ever.
        """
        requires = job.submit.requires
        if job.held or (requires.slots == 1 and not requires.memory_bytes):
            return  # it has a share, or needs no more than others do
        slaves = self._state.slaves.values()
        able = [s for s in slaves if s.state is SlaveState.READY and fits(s, job)]
        able = [s for s in able if not s.saturated and self._has_task_for(s, job, now)]
        if able and not any(slave.instance in self._reserved for slave in able):
            nearest = min(able, key=lambda slave: (slave.slots_taken, slave.memory_taken_bytes))
            self._reserved.add(nearest.instance)
            self.hopes.pop(nearest.instance, None)

    def _heap(self, demand: Demand, job: JobRecord) -> list[_Row]:
        heap = self._heaps.get(demand)
        if heap is None:
            heap = self._heaps[demand] = []
            for slave in self.hopes.values():
                if fits(slave, job):
                    self._push(heap, slave)
        return heap

    def _push(self, heap: list[_Row], slave: SlaveRecord) -> None:
        self._turn += 1
        leases = len(slave.leases)
        # An idle slot comes before a prefetch under every policy.
        queued = float(max(0, slave.slots_taken - slave.slots + 1))
        liked = load(slave, self._policy, self._state.weights)
        heappush(heap, (queued, liked, self._turn, leases, slave))


def assign(job: JobRecord, slave: SlaveRecord, lease: int, tasks: Sequence[Task]) -> Send:
    """The message that hands tasks to a slave."""
    assert slave.peer is not None, f"{slave.name} is placed on without a connection"
    submit = job.submit
    params, timeout_s = b"" if job.is_map else submit.params, submit.timeout_s
    message = Assign(lease, job.id, submit.kernel, params, job.is_map, tuple(tasks), timeout_s)
    return Send(slave.peer, message)
