"""Which slave gets which tasks: order of the jobs, size of the leases, credit, policies."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.messages import Beat, Done, Goodbye, Heartbeat, SetPolicy, Welcome
from hpczmq.model import Metrics
from hpczmq.scheduler import ledger
from hpczmq.scheduler.actions import Publish
from hpczmq.scheduler.events import Turn
from hpczmq.scheduler.placement import lease_tasks
from hpczmq.scheduler.state import JobRecord
from tests.unit.harness import CLIENT, World, slave_hello, submission


def placed(world: World) -> list[tuple[str, str, list[int]]]:
    """What placement hands out: (slave, job, indices)."""
    return [
        (peer.decode(), lease.job, [task.index for task in lease.tasks])
        for peer, lease in world.place()
    ]


def policy(world: World, name: str) -> None:
    world.client()
    world.say(CLIENT, SetPolicy(1, name))
    assert world.one(Publish)
    assert world.one(Done, CLIENT)


def load(world: World, peer: bytes, cpu_percent: float) -> None:
    """A slave says how busy its machine is."""
    generation = world.state.control.generation
    world.say(peer, Heartbeat(1, Metrics(cpu_percent=cpu_percent), (), generation))
    assert world.one(Beat, peer)
    assert world.one(Publish)


# --- When ---------------------------------------------------------------------------------------


def test_nothing_is_placed_before_the_turn(world: World) -> None:
    world.slave()
    world.submit()
    assert not world.unseen
    assert placed(world) == [("s1", "j1", [0])]


def test_a_turn_with_nothing_to_place_does_nothing(world: World) -> None:
    world.do(Turn())
    world.slave()
    world.do(Turn())
    assert not world.unseen


def test_a_lease_says_all_that_its_slave_has_to_know(world: World) -> None:
    world.slave()
    id = world.submit(1, timeout_s=2.5)
    lease = world.place_one()
    assert (lease.lease, lease.job, lease.kernel, lease.params) == (1, id, "echo", b"p")
    assert (lease.items, lease.tasks, lease.timeout_s) == (False, ((0, b"t"),), 2.5)


def test_the_tasks_of_a_map_carry_their_own_parameters(world: World) -> None:
    world.slave()
    world.submit(1, items=True)
    lease = world.place_one()
    assert (lease.items, lease.params, lease.tasks) == (True, b"", ((0, b"t"),))


# --- Which job ----------------------------------------------------------------------------------


def test_jobs_go_by_priority_and_then_by_age(world: World) -> None:
    jobs = [world.submit(priority=priority) for priority in (3, 2, 1, 2, 1)]
    world.slave(slots=5)
    assert [job for _, job, _ in placed(world)] == [jobs[i] for i in (2, 4, 1, 3, 0)]


def test_a_job_that_comes_back_stands_before_the_younger_ones(world: World) -> None:
    """Even before those that were handed in at the same time."""
    first = world.slave("s1")
    jobs = [world.submit() for _ in range(4)]
    assert placed(world) == [("s1", "j1", [0])]
    world.say(first, Goodbye("ends"))
    world.note("s1 left (ends), 1 leases")
    world.slave("s2", slots=4)
    assert [job for _, job, _ in placed(world)] == jobs


def test_queueing_a_job_does_not_look_at_those_that_wait(world: World) -> None:
    """100,000 jobs may wait; a cost in proportion to them, for each, would be minutes."""
    for _ in range(3):
        world.submit()

    looked: list[str] = []

    class Watched(dict[str, JobRecord]):
        def __getitem__(self, id: str) -> JobRecord:
            looked.append(id)
            return super().__getitem__(id)

    fourth = JobRecord("j4", submission(4), [b"t"], "echo", world.now, 4)
    world.state.jobs = Watched({**world.state.jobs, "j4": fourth})
    ledger.enqueue(world.state, fourth)
    assert list(world.state.queues[2]) == ["j1", "j2", "j3", "j4"]
    assert looked == ["j3"]
    del world.state.queues[2]["j4"], world.state.jobs["j4"]


def test_a_job_that_nobody_can_run_does_not_hold_up_the_others(world: World) -> None:
    world.submit(capability="julia/juliaCython", priority=1)
    id = world.submit()
    world.slave()
    assert placed(world) == [("s1", id, [0])]


# --- Which slave --------------------------------------------------------------------------------


def test_tasks_go_only_where_their_kernel_is(world: World) -> None:
    world.slave("s1", offers=("julia/Numpy",))
    world.slave("s2", offers=("julia/Numpy", "julia/juliaCython"))
    world.submit(2, capability="julia/juliaCython")
    assert placed(world) == [("s2", "j1", [0])]


def test_a_slave_may_learn_a_kernel(world: World) -> None:
    peer = world.slave("s1", offers=())
    world.submit()
    assert placed(world) == []
    world.say(peer, slave_hello("s1", offers=("echo",)))
    assert world.one(Welcome, peer)
    assert placed(world) == [("s1", "j1", [0])]


def test_round_robin_gives_to_each_in_turn_and_goes_on_where_it_was(world: World) -> None:
    policy(world, "round-robin")
    for name in ("s1", "s2", "s3"):
        load(world, world.slave(name, slots=4), cpu_percent=10.0 * int(name[1]))
    world.submit(4)
    assert [slave for slave, _, _ in placed(world)] == ["s1", "s2", "s3", "s1"]
    world.submit(2)
    assert [slave for slave, _, _ in placed(world)] == ["s2", "s3"]


def test_least_loaded_gives_to_whom_has_the_smallest_share_of_its_slots_taken(
    world: World,
) -> None:
    world.slave("s1", slots=1)
    world.slave("s2", slots=4)
    world.submit(5)
    slaves = [slave for slave, _, _ in placed(world)]
    assert sorted(slaves[:2]) == ["s1", "s2"]
    assert slaves[2:] == ["s2"] * 3


def test_of_two_idle_slaves_the_one_with_the_idler_machine_gets_the_task(world: World) -> None:
    load(world, world.slave("s1"), cpu_percent=90.0)
    load(world, world.slave("s2"), cpu_percent=10.0)
    world.submit()
    assert [slave for slave, _, _ in placed(world)] == ["s2"]


def test_a_new_policy_holds_from_the_next_placement_on(world: World) -> None:
    load(world, world.slave("s1", slots=2), cpu_percent=90.0)
    load(world, world.slave("s2", slots=2), cpu_percent=10.0)
    world.submit()
    assert [slave for slave, _, _ in placed(world)] == ["s2"]
    policy(world, "round-robin")
    world.submit(3)
    assert [slave for slave, _, _ in placed(world)] == ["s1", "s2", "s1"]


# --- How much -----------------------------------------------------------------------------------


def test_nothing_is_known_of_the_first_tasks_so_they_go_one_by_one(world: World) -> None:
    world.slave(slots=2)
    world.submit(10)
    assert [indices for _, _, indices in placed(world)] == [[0], [1]]


@pytest.mark.parametrize(
    ("mean_s", "waiting", "slots", "tasks"),
    [
        (None, 1000, 1, 1),  # nothing measured
        (limits.lease_work_s / 10, 1000, 1, 10),  # as many as make 30 ms
        (limits.lease_work_s * 10, 1000, 1, 1),  # long ones alone
        (0.0, 10**6, 1, limits.tasks_per_lease_max),
        (limits.lease_work_s / 10, 16, 4, 2),  # half of each slot's share: others need some too
        (limits.lease_work_s / 10, 1, 4, 1),
    ],
)
def test_leases_are_sized_by_the_measured_run_time(
    world: World, mean_s: float | None, waiting: int, slots: int, tasks: int
) -> None:
    job = world.job(world.submit(min(waiting, 1000)))
    job.counts[0] = waiting
    job.mean_s = mean_s
    assert lease_tasks(job, slots) == tasks
    job.counts[0] = len(job.states)


def test_the_measure_follows_what_is_measured(world: World) -> None:
    peer, id = world.slave(), world.submit(9)
    world.finish(peer, world.place_one(), 1.0)
    assert world.job(id).mean_s == 1.0
    world.finish(peer, world.place_one(), 0.5)
    assert world.job(id).mean_s == 0.75


def test_short_tasks_are_prefetched_one_lease_a_slot(world: World) -> None:
    peer, _ = world.slave(slots=2), world.submit(50)
    for _, lease in world.place():
        world.finish(peer, lease, 0.01)
    assert len(world.place()) == 4
    assert world.place() == []


def test_long_tasks_are_not_prefetched(world: World) -> None:
    peer, _ = world.slave(slots=2), world.submit(50)
    for _, lease in world.place():
        world.finish(peer, lease, limits.prefetch_below_s)
    assert len(world.place()) == 2
    assert world.place() == []


def test_an_idle_slot_comes_before_a_prefetch(world: World) -> None:
    peer, _ = world.slave("s1"), world.submit(4)
    world.finish(peer, world.place_one(), 0.1)
    assert [slave for slave, _, _ in placed(world)] == ["s1", "s1"]
    world.slave("s2")
    assert [slave for slave, _, _ in placed(world)] == ["s2"]


def test_a_slave_with_a_task_of_unknown_length_gets_no_more(world: World) -> None:
    peer, _ = world.slave(), world.submit(1)
    assert len(world.place()) == 1
    world.submit(1)
    assert world.place() == []
    assert peer.decode() in {slave.name for slave in world.state.slaves.values()}


# --- What is taken ------------------------------------------------------------------------------


def test_what_came_back_is_taken_first_and_stale_entries_are_skipped(world: World) -> None:
    world.slave()
    job = world.job(world.submit(6))
    for _ in range(3):
        ledger.grant(world.state, job, world.record("s1"), ledger.take(job, 1), 0.0)
        (lease,) = world.record("s1").leases.values()
        ledger.give_back(world.state, lease, 0.0)
    assert ledger.take(job, 3) == [0, 1, 2]
    job.returned.extend([0, 1, 2])
    assert ledger.take(job, 5) == [0, 1, 2, 3, 4]
    job.next, job.returned = 0, type(job.returned)()
