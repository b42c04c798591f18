"""Tasks that raise and are tried again, and jobs that are too late."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.messages import Ask, Assign, ExplainAnswer, Revoke
from hpczmq.model import About, JobState
from hpczmq.scheduler import alarms
from hpczmq.scheduler.events import Tick
from hpczmq.scheduler.states import TaskState
from tests.unit.harness import CLIENT, World, failure, value


def raised(world: World, peer: bytes, lease: Assign) -> None:
    """The only task of a lease raises, and is to be tried again."""
    assert world.report(peer, lease, [failure(lease.tasks[0].index)]) is None
    world.note("is run again: boom")


def tick(world: World, seconds: float) -> None:
    """Time passes, in which slaves are heard."""
    world.later(seconds)
    for slave in world.state.slaves.values():
        slave.heard_s = world.now
    world.state.clients[CLIENT].heard_s = world.state.published_s = world.now
    world.do(Tick())


def reasons(world: World, id: str) -> str:
    """What the master explains."""
    world.say(CLIENT, Ask(1, About.EXPLAIN, (id,)))
    return "\n".join(world.one(ExplainAnswer, CLIENT).reasons)


def test_without_retries_the_first_exception_is_the_last(world: World) -> None:
    peer, id = world.slave(), world.submit()
    assert world.report(peer, world.place_one(), [failure(0)]) is not None
    assert world.job(id).state is JobState.FAILED


def test_a_task_that_raised_waits_ever_longer_until_its_retries_are_used_up(world: World) -> None:
    peer, id = world.slave(), world.submit(retries=2)
    for wait_s in (limits.retry_s_min, 2 * limits.retry_s_min):
        raised(world, peer, world.place_one())
        tick(world, wait_s - 0.1)
        assert world.place() == []
        assert world.job(id).counts[TaskState.DELAYED] == 1
        tick(world, 0.1)
        assert world.job(id).waiting == 1
    stored = world.report(peer, world.place_one(), [failure(0)])
    assert stored is not None
    job = world.job(id)
    assert job.state is JobState.FAILED
    assert job.cause.startswith("task 0: boom\n")
    assert job.cause.count("on s1: boom") == 3, "each attempt is told"


def test_a_task_that_raised_may_come_out_well_in_the_end(world: World) -> None:
    peer, id = world.slave(), world.submit(retries=1)
    raised(world, peer, world.place_one())
    assert "1 tasks that raised wait for their next try, first in 1.0 s" in reasons(world, id)
    assert "waits for its next try, in 1.0 s" in reasons(world, f"{id}/0")
    tick(world, limits.retry_s_min)
    world.finish(peer, world.place_one())
    assert world.job(id).state is JobState.DONE
    assert "its kernel raised once (it has 1 retries)" in reasons(world, id)


def test_the_wait_has_its_bound() -> None:
    waits = [alarms.retry_s(tried) for tried in range(1, limits.retries_max + 1)]
    assert waits[:3] == [limits.retry_s_min, 2 * limits.retry_s_min, 4 * limits.retry_s_min]
    assert max(waits) == waits[-1] == limits.retry_s_max


def test_a_try_that_is_reported_twice_counts_once(world: World) -> None:
    peer, id = world.slave(), world.submit(retries=5)
    lease = world.place_one()
    raised(world, peer, lease)
    assert world.report(peer, lease, [failure(0)]) is None
    assert world.job(id).tries == {0: 1}


def test_the_last_try_is_not_ended_by_an_earlier_one_that_is_said_again(world: World) -> None:
    peer, id = world.slave(), world.submit(retries=1)
    first = world.place_one()
    raised(world, peer, first)
    tick(world, limits.retry_s_min)
    last = world.place_one()
    assert world.report(peer, first, [failure(0)]) is None
    world.finish(peer, last)
    assert world.job(id).state is JobState.DONE


def test_a_result_that_arrives_while_its_task_waits_for_its_next_try_is_taken(world: World) -> None:
    peer, id = world.slave(), world.submit(retries=5)
    lease = world.place_one()
    raised(world, peer, lease)
    world.report(peer, lease, [value(0)])
    assert world.job(id).state is JobState.DONE
    tick(world, limits.retry_s_min)
    assert world.place() == []


def test_a_job_that_ends_takes_along_what_waits_for_its_next_try(world: World) -> None:
    peer, id = world.slave(), world.submit(2, retries=5, deadline_s=0.5)
    raised(world, peer, world.place_one())
    lease = world.place_one()
    tick(world, 0.5)
    assert world.one(Revoke, peer).leases == (lease.lease,)
    job = world.job(id)
    assert job.state is JobState.FAILED
    assert job.cause == "deadline_s = 0.5 is over, and 0 of 2 tasks are done"
    assert job.counts[TaskState.CANCELLED] == 2
    tick(world, limits.retry_s_min)
    assert world.place() == []


def test_a_job_that_never_began_can_be_too_late(world: World) -> None:
    id = world.submit(deadline_s=3.0)
    tick(world, 2.9)
    assert world.job(id).state is JobState.QUEUED
    tick(world, 0.1)
    assert world.job(id).state is JobState.FAILED


def test_a_job_that_is_done_in_time_does_not_hear_of_its_deadline(world: World) -> None:
    peer, id = world.slave(), world.submit(deadline_s=3.0)
    world.finish(peer, world.place_one())
    tick(world, 5.0)
    assert world.job(id).state is JobState.DONE


@pytest.mark.parametrize("seconds", [0.001, limits.timeout_s_max])
def test_deadlines_are_in_the_submit_as_they_are(world: World, seconds: float) -> None:
    id = world.submit(deadline_s=seconds)
    assert world.state.alarms[0][0] == pytest.approx(world.now + seconds)
    assert world.job(id).submit.deadline_s == seconds
