"""Second starts at the tail of a job: when, of what, where; and which of the two counts."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.messages import Assign, Cancel, Done, Goodbye, Heartbeat, Revoke
from hpczmq.model import JobState, Metrics, Status
from hpczmq.scheduler.actions import Note, Publish
from hpczmq.scheduler.states import TaskState
from tests.unit.harness import CLIENT, World, failure, value

#: What a task takes in these tests; long enough not to be prefetched.
TASK_S = 2.0
LATE_S = limits.straggler_times * TASK_S + 0.1


def race(world: World, tasks: int = 2) -> tuple[str, Assign, Assign]:
    """Two slaves; the second task of a job is still on `slow` when everything else is done, and is
    started again on `fast`. Gives back the job and both leases."""
    fast, slow = world.slave("fast"), world.slave("slow")
    id = world.submit(tasks)
    (_, first), (_, straggler) = world.place()
    for _ in range(tasks - 2):
        world.finish(fast, first, TASK_S)
        first = world.place_one()
    world.finish(fast, first, TASK_S)
    assert world.place() == []
    world.later(LATE_S)
    ((peer, second),) = world.place()
    world.note("straggler: 1 tasks of j1, out on slow for 3.1 s: started a second time on fast")
    assert peer == fast
    assert second.tasks == straggler.tasks
    assert slow != fast
    return id, straggler, second


# --- When ---------------------------------------------------------------------------------------


def test_the_first_result_wins_and_the_other_lease_is_revoked(world: World) -> None:
    id, straggler, second = race(world)
    world.finish(b"fast", second, TASK_S)
    assert world.one(Revoke, b"slow").leases == (straggler.lease,)
    assert world.job(id).state is JobState.DONE
    assert world.report(b"slow", straggler, [value(1)]) is None
    assert world.job(id).counts[TaskState.DONE] == 2


def test_the_slow_one_may_win_after_all(world: World) -> None:
    id, straggler, second = race(world)
    world.finish(b"slow", straggler, 9.0)
    assert world.one(Revoke, b"fast").leases == (second.lease,)
    assert world.job(id).state is JobState.DONE


def test_a_task_is_started_a_second_time_once(world: World) -> None:
    race(world)
    world.slave("third")
    world.later(10 * LATE_S)
    assert world.place() == []


def test_what_is_not_older_than_what_the_finished_ones_took_is_left_alone(world: World) -> None:
    fast = world.slave("fast")
    world.slave("slow")
    world.submit(2)
    (_, first), _ = world.place()
    world.later(TASK_S)
    world.finish(fast, first, TASK_S)
    world.later(limits.straggler_times * TASK_S - TASK_S - 0.1)
    assert world.place() == []
    world.later(0.2)
    assert len(world.place()) == 1
    assert world.one(Note)


def test_nothing_is_known_before_the_first_task_is_done(world: World) -> None:
    world.slave("s1")
    world.submit(1)
    assert len(world.place()) == 1
    world.slave("s2")
    world.later(1000.0)
    assert world.place() == []


def test_short_tasks_are_given_half_a_second(world: World) -> None:
    fast = world.slave("fast")
    world.slave("slow")
    world.submit(2)
    (_, first), _ = world.place()
    world.finish(fast, first, 0.001)
    world.later(limits.straggler_s - 0.01)
    assert world.place() == []
    world.later(0.11)
    assert len(world.place()) == 1
    assert world.one(Note)


def test_what_waits_goes_first(world: World) -> None:
    fast = world.slave("fast")
    world.slave("slow")
    world.submit(4)
    (_, first), _ = world.place()
    world.later(LATE_S)
    world.finish(fast, first, TASK_S)
    assert world.place_one().tasks[0].index == 2


def test_a_second_start_takes_an_idle_slot_and_no_more(world: World) -> None:
    """Whoever has his hands full may take one more lease in advance, but not of this kind."""
    fast = world.slave("fast")
    world.slave("slow")
    world.submit(2)
    (_, first), _ = world.place()
    world.finish(fast, first, 0.01)
    world.submit(1)
    assert len(world.place()) == 1
    world.later(LATE_S)
    assert world.place() == []


def test_a_second_start_goes_to_another_slave_that_can_run_it(world: World) -> None:
    first = world.slave("s1", slots=2)
    world.slave("other", offers=("julia",))
    world.submit(2)
    (_, lease), _ = world.place()
    world.finish(first, lease, TASK_S)
    world.later(LATE_S)
    assert world.place() == []
    world.slave("able")
    world.later(0.2)
    ((peer, _),) = world.place()
    world.note("on able")
    assert peer == b"able"


def test_a_task_that_killed_a_worker_is_not_started_twice(world: World) -> None:
    s1 = world.slave("s1")
    world.slave("s2")
    id = world.submit(2)
    (_, first), (_, second) = world.place()
    world.finish(s1, first, TASK_S)
    world.report(b"s2", second, [failure(1, Status.CRASH)])
    world.note("is run again")
    assert len(world.place()) == 1
    world.later(LATE_S)
    assert world.place() == []
    assert world.job(id).crashes == {1: 1}


# --- What goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.ERROR, Status.CRASH, Status.TIMEOUT])
def test_the_start_that_comes_to_nothing_leaves_it_to_the_other(
    world: World, status: Status
) -> None:
    id, straggler, second = race(world)
    for _ in range(2):  # said again, it counts no more
        assert world.report(b"slow", straggler, [failure(1, status)]) is None
    world.note("its other start goes on")
    assert not world.record("slow").leases
    world.finish(b"fast", second)
    assert world.job(id).state is JobState.DONE


def test_a_start_that_came_to_nothing_and_is_begun_anew_may_still_win(world: World) -> None:
    id, straggler, _ = race(world)
    assert world.report(b"slow", straggler, [failure(1, Status.CRASH)]) is None
    world.note("its other start goes on")
    # The network gave its `Assign` a second time.
    world.finish(b"slow", straggler)
    world.take(Revoke)
    assert world.job(id).state is JobState.DONE


def test_when_both_come_to_nothing_the_last_one_counts(world: World) -> None:
    id, straggler, second = race(world)
    assert world.report(b"fast", second, [failure(1, Status.TIMEOUT)]) is None
    world.note("its other start goes on")
    assert world.report(b"slow", straggler, [failure(1, Status.TIMEOUT)]) is not None
    assert world.job(id).state is JobState.FAILED


@pytest.mark.parametrize("lost", ["slow", "fast"])
def test_a_lost_slave_leaves_it_to_the_other(world: World, lost: str) -> None:
    id, straggler, second = race(world)
    world.say(lost.encode(), Goodbye("ends"))
    world.note(f"{lost} left")
    assert world.job(id).waiting == 0
    peer, lease = (b"fast", second) if lost == "slow" else (b"slow", straggler)
    world.finish(peer, lease)
    assert world.job(id).state is JobState.DONE


def test_when_both_slaves_are_lost_the_task_waits_again(world: World) -> None:
    id, _, _ = race(world)
    for name in ("slow", "fast"):
        world.say(name.encode(), Goodbye("ends"))
        world.note(f"{name} left")
    assert world.job(id).waiting == 1
    third = world.slave("third")
    world.finish(third, world.place_one())
    assert world.job(id).state is JobState.DONE


def test_a_second_start_that_never_arrives_is_given_back(world: World) -> None:
    id, straggler, _ = race(world)
    world.later(limits.resend_heartbeats + 0.1)
    world.say(b"fast", Heartbeat(1, Metrics(), (), 1))
    assert world.take(Publish)
    world.note("never reached fast")
    world.unseen.clear()
    world.finish(b"slow", straggler)
    assert world.job(id).state is JobState.DONE


def test_a_job_that_ends_ends_both_starts(world: World) -> None:
    id, straggler, second = race(world, 4)
    world.say(CLIENT, Cancel(1, (id,)))
    assert world.one(Done)
    assert {r.leases for r in world.take(Revoke)} == {(straggler.lease,), (second.lease,)}
    assert world.job(id).state is JobState.CANCELLED
