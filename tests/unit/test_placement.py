"""Which slave gets which tasks: order of the jobs, size of the leases, credit, policies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpczmq import limits
from hpczmq.messages import Ask, Beat, Done, Goodbye, Heartbeat, JobsAnswer, SetPolicy, Welcome
from hpczmq.model import About, JobState, Metrics, Policy, Requires
from hpczmq.scheduler import ledger
from hpczmq.scheduler.actions import Publish
from hpczmq.scheduler.events import Turn
from hpczmq.scheduler.ledger import take
from hpczmq.scheduler.placement import lease_cost
from hpczmq.scheduler.queue import Queue, rank
from hpczmq.scheduler.state import Weights
from tests.unit.harness import CLIENT, World, slave_hello, value


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


def load(world: World, peer: bytes, cpu_percent: float = 0.0, **metrics: Any) -> None:
    """A slave says how busy its machine is."""
    generation, held = world.state.control.generation, tuple(world.record(peer.decode()).leases)
    measured = Metrics(cpu_percent=cpu_percent, **metrics)
    world.say(peer, Heartbeat(1, measured, held, generation))
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


def test_jobs_of_one_priority_share_the_slots(world: World) -> None:
    for tasks in (100, 3, 100):
        world.submit(tasks)
    world.slave(slots=6)
    assert [job for _, job, _ in placed(world)] == ["j1", "j2", "j3"] * 2


def test_who_has_fewer_slots_is_served_first(world: World) -> None:
    first = world.slave("s1", slots=3)
    world.submit(100)
    leases = world.place()
    world.submit(100)
    for _, lease in leases[:2]:
        world.finish(first, lease, 10.0)
    assert [job for _, job, _ in placed(world)] == ["j2", "j2"]


def test_a_share_is_given_up_by_who_has_nothing_to_do_with_it(world: World) -> None:
    world.submit(1)
    world.submit(100)
    world.slave(slots=5)
    assert [job for _, job, _ in placed(world)] == ["j1", "j2", "j2", "j2", "j2"]


def test_of_jobs_with_equal_shares_the_one_with_the_longest_tasks_is_served_first(
    world: World,
) -> None:
    peer = world.slave(slots=4)
    for _ in range(4):
        world.submit(9)
    leases = dict(zip(("j1", "j2", "j3", "j4"), world.place(), strict=True))
    for job, seconds in (("j1", 0.3), ("j2", 30.0), ("j3", 3.0)):
        world.finish(peer, leases[job][1], seconds)
    assert [job for _, job, _ in placed(world)] == ["j2", "j3", "j1"]


def test_a_higher_priority_takes_all(world: World) -> None:
    world.submit(9, priority=2)
    world.submit(9, priority=1)
    world.slave(slots=4)
    assert [job for _, job, _ in placed(world)] == ["j2"] * 4


def test_queueing_a_job_does_not_move_those_that_wait() -> None:
    """100,000 jobs may wait; a cost in proportion to them, for each, would be minutes."""
    line = Queue()
    for number in (3, 1, 2):
        line.put(f"j{number}", rank(0, None, number))
    assert list(line) == ["j1", "j2", "j3"]
    line.put("j1", rank(1, None, 1))
    assert [line[place] for place in range(len(line))] == ["j2", "j3", "j1"]
    line.put("j1", rank(1, None, 1))
    line.remove("j3")
    line.remove("j3")
    assert list(line) == ["j2", "j1"]
    assert "j3" not in line


def test_run_times_alike_within_a_factor_of_two_rank_the_same() -> None:
    assert rank(0, 1.0, 1) == rank(0, 1.9, 1)
    ranks = [rank(0, next_s, 1) for next_s in (None, 1e4, 1.0, 0.001, 0.0)]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)


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


@pytest.mark.parametrize(
    "worse",
    [
        {"cpu_percent": 50.0},
        {"memory_percent": 90.0},
        {"latency_s": limits.latency_high_s / 2},
        {"cpu_percent": limits.cpu_saturated_percent, "own_cpu_percent": 40.0},
    ],
)
def test_resources_looks_at_all_that_the_slaves_measure(
    world: World, worse: dict[str, float]
) -> None:
    policy(world, "resources")
    load(world, world.slave("s1"), **worse)
    load(world, world.slave("s2"), cpu_percent=10.0, memory_percent=10.0, latency_s=0.001)
    world.submit()
    assert [slave for slave, _, _ in placed(world)] == ["s2"]


def test_what_may_become_an_alert_counts_for_resources_before_it_is_one(world: World) -> None:
    policy(world, "resources")
    load(world, world.slave("s1"), cpu_percent=limits.cpu_saturated_percent)
    load(world, world.slave("s2"), cpu_percent=limits.cpu_saturated_percent - 1, memory_percent=90)
    world.submit()
    assert [slave for slave, _, _ in placed(world)] == ["s2"]


def test_resources_spreads_tasks_over_slaves_that_measure_the_same(world: World) -> None:
    policy(world, "resources")
    for name in ("s1", "s2"):
        load(world, world.slave(name, slots=4), cpu_percent=20.0)
    world.submit(4)
    assert [slave for slave, _, _ in placed(world)] == ["s1", "s2", "s1", "s2"]


def test_the_weights_say_what_resources_looks_at() -> None:
    for weights, chosen in ((Weights(memory=0.0), "s2"), (Weights(cpu=0.0), "s1")):
        world = World(policy=Policy.RESOURCES, weights=weights)
        load(world, world.slave("s1"), cpu_percent=60.0, memory_percent=10.0)
        load(world, world.slave("s2"), cpu_percent=10.0, memory_percent=60.0)
        world.submit()
        assert [slave for slave, _, _ in placed(world)] == [chosen]
        world.done()


# --- Saturation ---------------------------------------------------------------------------------


def saturated(world: World, peer: bytes) -> None:
    """Others use a slave's machine for so long that it is an alert."""
    load(world, peer, cpu_percent=100.0)
    assert not world.record(peer.decode()).saturated
    world.later(limits.cpu_saturated_s)
    load(world, peer, cpu_percent=100.0)
    world.note("s1 gets nothing new until this clears: CPU of s1 at 100 %")


def test_a_saturated_slave_gets_nothing_new_until_its_alert_clears(world: World) -> None:
    peer = world.slave(slots=2)
    world.submit()
    (held,) = world.place()
    saturated(world, peer)
    id = world.submit()
    assert world.place() == []
    world.finish(peer, held[1])  # what it has goes on
    assert world.place() == []
    world.say(CLIENT, Ask(1, About.JOBS, (id,)))
    assert "waits: CPU of s1 at 100 %" in world.one(JobsAnswer).jobs[0].cause
    load(world, peer, cpu_percent=limits.cpu_clear_percent)
    assert world.place() == []
    load(world, peer, cpu_percent=limits.cpu_clear_percent - 1)
    world.note("s1 gets work again")
    assert placed(world) == [("s1", id, [0])]


def test_work_goes_round_a_saturated_slave(world: World) -> None:
    saturated(world, world.slave("s1", slots=4))
    world.slave("s2")
    world.submit(2)
    assert [slave for slave, _, _ in placed(world)] == ["s2"]


def test_a_slave_that_is_busy_with_our_own_tasks_is_not_saturated(world: World) -> None:
    peer = world.slave()
    for _ in range(3):
        load(world, peer, cpu_percent=100.0, own_cpu_percent=99.0)
        world.later(limits.cpu_saturated_s)
    world.submit()
    assert len(world.place()) == 1


def test_a_master_may_be_told_not_to_spare_the_saturated() -> None:
    world = World(spares_saturated=False)
    peer = world.slave()
    for _ in range(3):
        load(world, peer, cpu_percent=100.0)
        world.later(limits.cpu_saturated_s)
    world.submit()
    assert len(world.place()) == 1
    world.done()


# --- What tasks need ----------------------------------------------------------------------------

GIB = 1 << 30


def why(world: World, id: str) -> str:
    world.say(CLIENT, Ask(1, About.JOBS, (id,)))
    return world.one(JobsAnswer).jobs[0].cause


def test_tasks_go_only_to_slaves_with_their_labels(world: World) -> None:
    world.slave("s1", labels=("gpu=none",), slots=9)
    world.slave("s2", labels=("gpu=a100", "room=3"))
    world.submit(2, requires=Requires(labels=("gpu=a100",)))
    assert placed(world) == [("s2", "j1", [0])]


def test_the_memory_of_a_slave_bounds_what_runs_there(world: World) -> None:
    world.slave("s1", slots=8, memory_bytes=5 * GIB)
    id = world.submit(9, requires=Requires(memory_bytes=2 * GIB))
    leases = world.place()
    assert len(leases) == 2
    assert world.record("s1").memory_taken_bytes == 4 * GIB
    world.submit(9)
    assert {lease.job for _, lease in world.place()} == {"j2"}
    world.finish(b"s1", leases[0][1], 10.0)
    assert [lease.job for _, lease in world.place()] == [id]


def test_a_task_of_two_slots_takes_two(world: World) -> None:
    world.slave("s1", slots=5)
    world.submit(9, requires=Requires(slots=2))
    assert len(world.place()) == 2
    world.submit(9)
    assert len(world.place()) == 1
    assert world.record("s1").slots_taken == 5


def test_beside_a_task_of_several_slots_nothing_is_prefetched(world: World) -> None:
    peer = world.slave("s1", slots=3)
    world.submit(9)
    for _, lease in world.place():
        world.finish(peer, lease, 0.001)
    world.submit(1, requires=Requires(slots=2), priority=1)
    handed = world.place()
    assert [lease.job for _, lease in handed] == ["j2", "j1"]
    assert world.place() == []


def test_a_task_of_several_slots_does_not_starve(world: World) -> None:
    """As slots get free one by one, they are kept for it, and not given to what needs but one."""
    peer = world.slave("s1", slots=2)
    world.submit(100)
    held = world.place()
    wide = world.submit(1, requires=Requires(slots=2))
    world.finish(peer, held[0][1], 10.0)
    assert world.place() == []
    assert why(world, wide) == "waits: every slot is taken"
    world.finish(peer, held[1][1], 10.0)
    assert [lease.job for _, lease in world.place()] == [wide]


def test_slots_are_kept_on_one_slave_only(world: World) -> None:
    for name in ("s1", "s2"):
        world.slave(name, slots=2)
    world.submit(100)
    held = world.place()
    for _ in range(2):
        world.submit(1, requires=Requires(slots=2))
    for peer, lease in held[:2]:
        world.finish(peer, lease, 10.0)
    ((_, lease),) = world.place()
    assert lease.job == "j1"


def test_who_has_a_share_has_no_slots_kept_for_more(world: World) -> None:
    world.slave("s1", slots=3)
    world.submit(9, requires=Requires(slots=2))
    world.submit(9)
    assert [lease.job for _, lease in world.place()] == ["j1", "j2"]


@pytest.mark.parametrize(
    ("requires", "reason"),
    [
        (Requires(labels=("gpu=h100",)), "no slave has the labels gpu=h100"),
        (Requires(slots=9), "a task takes 9 slots, and no slave has more than 8"),
        (
            Requires(memory_bytes=9 * GIB),
            "a task takes 9.0 GiB of memory, and no slave has more than 4.0 GiB",
        ),
        (
            Requires(memory_bytes=4 * GIB, slots=8),
            "no slave has both 8 slots and 4.0 GiB of memory",
        ),
    ],
)
def test_a_job_that_nobody_can_run_says_so_at_once_and_runs_when_a_slave_joins_that_can(
    world: World, requires: Requires, reason: str
) -> None:
    world.slave("s1", slots=8, memory_bytes=GIB)
    world.slave("s2", slots=2, memory_bytes=4 * GIB, labels=("gpu=a100",))
    id = world.submit(1, requires=requires)
    assert world.place() == []
    assert why(world, id) == f"waits: {reason}"
    world.slave("able", slots=9, memory_bytes=9 * GIB, labels=("gpu=h100",))
    assert placed(world) == [("able", id, [0])]


# --- How much -----------------------------------------------------------------------------------


def test_nothing_is_known_of_the_first_tasks_so_they_go_one_by_one(world: World) -> None:
    world.slave(slots=2)
    world.submit(10)
    assert [indices for _, _, indices in placed(world)] == [[0], [1]]


@pytest.mark.parametrize(
    ("unit_s", "waiting", "slots", "tasks"),
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
    world: World, unit_s: float | None, waiting: int, slots: int, tasks: int
) -> None:
    job = world.job(world.submit(min(waiting, 1000)))
    job.counts[0] = waiting
    job.unit_s = unit_s
    assert len(take(job, lease_cost(job, slots))) == tasks
    job.next = 0
    job.counts[0] = len(job.states)


def test_slaves_that_offer_nothing_do_not_make_the_leases_of_others_smaller(world: World) -> None:
    peer, id = world.slave(), world.submit(100)
    for number in range(50):
        world.slave(f"idle{number}", offers=())
    world.job(id).unit_s = limits.lease_work_s / 10
    assert len(world.place()[0][1].tasks) == 10
    assert world.state.slots_open == len(world.state.open) == world.record(peer.decode()).slots


def test_the_measure_follows_what_is_measured(world: World) -> None:
    peer, id = world.slave(), world.submit(9)
    world.finish(peer, world.place_one(), 1.0)
    assert world.job(id).unit_s == 1.0
    world.finish(peer, world.place_one(), 0.5)
    assert world.job(id).unit_s == 0.75


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


# --- Within a job -------------------------------------------------------------------------------


def test_the_tasks_of_a_job_go_in_the_order_that_was_planned(world: World) -> None:
    peer = world.slave(slots=2)
    id = world.submit(4, order=(2, 0, 3, 1))
    leases = [lease for _, lease in world.place()]
    assert [lease.tasks[0].index for lease in leases] == [2, 0]
    assert world.report(peer, replace(leases[0], lease=99), [value(1)]) is None, "not yet placed"
    for lease in leases:
        world.finish(peer, lease, 10.0)
    for lease in [lease for _, lease in world.place()]:
        world.finish(peer, lease, 10.0)
    assert world.job(id).state is JobState.DONE


def test_what_comes_back_goes_before_the_rest_of_the_order(world: World) -> None:
    peer = world.slave()
    world.submit(3, order=(2, 1, 0))
    world.place()
    world.say(peer, Goodbye("ends"))
    world.note("s1 left")
    world.slave("s2", slots=3)
    assert placed(world) == [("s2", "j1", [2]), ("s2", "j1", [1]), ("s2", "j1", [0])]


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
