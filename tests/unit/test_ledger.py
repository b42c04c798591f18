"""The books of tasks and leases: what comes of a report, and how a job ends by it."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.messages import (
    Ask,
    Assign,
    Goodbye,
    JobsAnswer,
    Reject,
    Report,
    Revoke,
    Welcome,
)
from hpczmq.model import About, JobState, Outcome, Status
from hpczmq.scheduler.actions import Note, Store
from hpczmq.scheduler.events import Unreachable
from hpczmq.scheduler.states import TaskState
from tests.unit.harness import CLIENT, World, failure, slave_hello, value

BAD = (Status.ERROR, Status.TIMEOUT)


def array(index: int) -> Outcome:
    return Outcome(index, Status.ARRAY, 0.001, b"head")


def crash(index: int = 0, text: str = "signal SIGSEGV") -> Outcome:
    return failure(index, Status.CRASH, text)


def after_a_first_task(world: World, peer: bytes) -> list[Assign]:
    """Run a task that takes no time, so that leases get large; gives back the next ones."""
    world.finish(peer, world.place_one(), 0.0)
    return [lease for _, lease in world.place()]


def come_back(world: World, name: str) -> bytes:
    """A slave that was lost joins again, without any lease."""
    peer = name.encode()
    world.say(peer, slave_hello(name))
    assert world.one(Welcome, peer)
    return peer


# --- Accepted once ------------------------------------------------------------------------------


def test_a_report_said_twice_counts_once(world: World) -> None:
    peer, id = world.slave(), world.submit(2)
    lease = world.place_one()
    world.finish(peer, lease)
    assert world.report(peer, lease, [value(0)]) is None
    assert world.job(id).counts[TaskState.DONE] == 1
    assert world.state.tasks_done == 1


def test_of_two_copies_of_a_task_the_first_counts_and_the_other_lease_is_revoked(
    world: World,
) -> None:
    first, id = world.slave("s1"), world.submit()
    early = world.place_one()
    world.say(first, Goodbye("network"))
    world.note("s1 left (network)")
    second = world.slave("s2")
    late = world.place_one()
    first = come_back(world, "s1")
    world.finish(first, early)
    assert world.one(Revoke, second).leases == (late.lease,)
    assert world.report(second, late, [value(0)]) is None
    assert world.job(id).state is JobState.DONE


def test_a_result_that_arrives_while_its_task_waits_again_is_taken(world: World) -> None:
    peer, id = world.slave(), world.submit()
    lease = world.place_one()
    world.do(Unreachable(peer))
    world.note("s1 is lost", "its connection is gone")
    assert world.job(id).waiting == 1
    world.finish(come_back(world, "s1"), lease)
    assert world.job(id).state is JobState.DONE
    assert world.place() == []


def test_only_the_buffers_of_what_is_new_are_stored(world: World) -> None:
    peer, _ = world.slave(), world.submit(5)
    lease, _ = after_a_first_task(world, peer)
    first, second = (task.index for task in lease.tasks[:2])
    assert world.report(peer, lease, [array(first)], b"1") is not None
    stored = world.report(peer, lease, [array(first), array(second)], b"1", b"2")
    assert stored is not None
    assert list(stored.outcomes) == [array(second)]
    assert list(stored.buffers) == [b"2"]


@pytest.mark.parametrize(
    ("outcomes", "buffers"),
    [([array(0)], ()), ([value(0)], (b"x",)), ([value(0), value(0)], ())],
)
def test_a_report_that_contradicts_itself_is_refused_whole(
    world: World, outcomes: list[Outcome], buffers: tuple[bytes, ...]
) -> None:
    peer, id = world.slave(), world.submit()
    lease = world.place_one()
    world.say(peer, Report(1, lease.lease, id, tuple(outcomes)), *buffers)
    assert world.one(Reject, peer).code == "report"
    assert world.job(id).counts[TaskState.LEASED] == 1


def test_a_report_that_could_not_be_passed_on_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk is a little larger than its report: it has the slave's name in it."""
    peer, id = world.slave(), world.submit()
    lease = world.place_one()
    monkeypatch.setattr(limits, "body_bytes_max", 200)
    world.say(peer, Report(1, lease.lease, id, (failure(0, text="x" * 170),)))
    assert world.one(Reject, peer).code == "report"
    assert world.report(peer, lease, [failure(0, text="x" * 90)]) is not None


def test_tasks_that_a_job_does_not_have_are_dropped(world: World) -> None:
    peer, id = world.slave(), world.submit()
    lease = world.place_one()
    assert world.report(peer, lease, [value(1), value(2**62)]) is None
    assert world.job(id).counts[TaskState.LEASED] == 1


@pytest.mark.parametrize("status", Status)
def test_a_report_of_a_job_that_was_never_handed_out_can_not_harm(
    world: World, status: Status
) -> None:
    """As it comes from a slave that remembers a master before this one, or that lies."""
    peer, id = world.slave(offers=("julia",)), world.submit()
    lease = Assign(9, id, "echo", b"", False, (), 0.0)
    buffers = [b"pixels"] if status is Status.ARRAY else []
    assert world.report(peer, lease, [Outcome(0, status, 0.1, b"")], *buffers) is None
    assert world.job(id).state is JobState.QUEUED
    assert world.job(id).waiting == 1


def test_a_lease_ends_with_its_last_task_and_not_before(world: World) -> None:
    peer, _ = world.slave(), world.submit(5)
    lease, _ = after_a_first_task(world, peer)
    assert len(lease.tasks) == 2
    world.report(peer, lease, [value(lease.tasks[0].index)])
    assert world.state.leases[lease.lease].open == {lease.tasks[1].index}
    world.report(peer, lease, [value(lease.tasks[1].index)])
    assert lease.lease not in world.state.leases


# --- Failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", BAD)
def test_a_failure_ends_an_image_job_at_once_everywhere(world: World, status: Status) -> None:
    first, second, id = world.slave("s1"), world.slave("s2"), world.submit(5)
    (to_first, one), (to_second, other) = world.place()
    assert (to_first, to_second) == (first, second)
    stored = world.report(first, one, [failure(0, status, "ZeroDivisionError")])
    assert stored == Store(id, 0, "s1", [failure(0, status, "ZeroDivisionError")], ())
    assert world.one(Revoke, second).leases == (other.lease,)
    job = world.job(id)
    assert (job.state, job.cause) == (JobState.FAILED, "task 0: ZeroDivisionError")
    assert job.counts == [0, 0, 0, 1, 4, 0]
    assert world.place() == []


@pytest.mark.parametrize("status", BAD)
def test_a_failure_of_a_map_ends_only_its_item(world: World, status: Status) -> None:
    peer, id = world.slave(), world.submit(2, items=True)
    world.report(peer, world.place_one(), [failure(0, status)])
    assert world.job(id).state is JobState.RUNNING
    world.finish(peer, world.place_one())
    job = world.job(id)
    assert (job.state, job.cause) == (JobState.FAILED, "task 0: boom")
    assert job.counts == [0, 0, 1, 1, 0, 0]


def test_the_cause_of_a_job_that_goes_on_fits_its_row(world: World) -> None:
    peer, id = world.slave(), world.submit(2, items=True)
    long = "x" * (limits.error_chars_max - 5) + "cause"
    world.report(peer, world.place_one(), [failure(0, text=long)])
    world.say(CLIENT, Ask(1, About.JOBS, (id,)))
    (row,) = world.one(JobsAnswer, CLIENT).jobs
    assert row.state is JobState.RUNNING
    assert row.cause.endswith("cause"), "of a long one the end is kept"


def test_the_first_cause_is_kept(world: World) -> None:
    peer, id = world.slave(), world.submit(2, items=True)
    for text in ("first", "second"):
        lease = world.place_one()
        world.report(peer, lease, [failure(lease.tasks[0].index, text=text)])
    assert world.job(id).cause == "task 0: first"


# --- Crashes ------------------------------------------------------------------------------------


def test_a_crash_is_run_again_until_the_limit(world: World) -> None:
    peer, id = world.slave(), world.submit()
    for _ in range(limits.crash_limit - 1):
        assert world.report(peer, world.place_one(), [crash()]) is None
        world.note("task 0 of j1 is run again", "SIGSEGV")
        assert world.job(id).waiting == 1
    stored = world.report(peer, world.place_one(), [crash()])
    assert stored is not None
    assert world.job(id).state is JobState.FAILED
    assert world.job(id).cause.startswith("task 0: signal SIGSEGV\n")
    assert world.job(id).cause.count("on s1: signal SIGSEGV") == limits.crash_limit


def test_tasks_that_crashed_together_are_run_alone_and_not_blamed(world: World) -> None:
    peer, id = world.slave(), world.submit(9)
    lease, next_lease = after_a_first_task(world, peer)
    world.finish(peer, next_lease, 0.0)
    together = [task.index for task in lease.tasks]
    assert len(together) > 2
    world.report(peer, lease, [crash(index) for index in together])
    world.note(f"task {together[0]} and {len(together) - 1} more of j1 is run again: signal")
    assert world.job(id).crashes == dict.fromkeys(together, 0)
    seen = []
    while world.job(id).waiting:
        for _, lease in world.place():
            indices = [task.index for task in lease.tasks]
            assert len(indices) == 1 or not set(indices) & set(together)
            seen += indices
            world.finish(peer, lease, 0.0)
    assert seen == [*together, 7, 8], "each once, and before the others"


def test_a_suspect_that_comes_behind_others_waits_for_its_turn_alone(world: World) -> None:
    peer, id = world.slave(), world.submit(9)
    lease, _ = after_a_first_task(world, peer)
    assert [task.index for task in lease.tasks] == [1, 2, 3, 4]
    job = world.job(id)
    job.crashes[2] = 1
    world.do(Unreachable(peer))
    world.note("s1 is lost")
    come_back(world, "s1")
    taken = []
    while job.waiting:
        for _, lease in world.place():
            taken.append([task.index for task in lease.tasks])
            world.finish(b"s1", lease, 0.0)
    assert taken[0][0] == 1
    assert [2] in taken
    assert sorted(index for indices in taken for index in indices) == list(range(1, 9))


def test_a_crash_that_was_reported_twice_counts_once(world: World) -> None:
    peer, id = world.slave(), world.submit()
    lease = world.place_one()
    world.report(peer, lease, [crash()])
    world.note("run again")
    world.report(peer, lease, [crash()])
    assert world.job(id).crashes == {0: 1}
    again = world.place_one()
    world.report(peer, lease, [crash()])
    assert world.job(id).crashes == {0: 1}, "nor against the lease that runs now"
    assert world.state.leases[again.lease].open == {0}


def test_a_crash_of_one_item_of_a_map_leaves_the_others(world: World) -> None:
    peer, id = world.slave(), world.submit(2, items=True)
    for _ in range(limits.crash_limit):
        lease = world.place_one()
        world.report(peer, lease, [crash(lease.tasks[0].index)])
    assert len(world.take(Note)) == limits.crash_limit - 1
    world.finish(peer, world.place_one())
    assert world.job(id).counts[TaskState.DONE] == 1
    assert world.job(id).counts[TaskState.FAILED] == 1
    assert world.job(id).state is JobState.FAILED
