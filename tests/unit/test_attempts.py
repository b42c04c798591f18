"""What is remembered of attempts, what the loss of a slave counts, and how all that is told."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.messages import Ask, Assign, ExplainAnswer, Goodbye, Reject, Report, Welcome
from hpczmq.model import About, JobState, Outcome, Status, Usage
from hpczmq.scheduler.actions import Store
from hpczmq.scheduler.events import Unreachable
from tests.unit.harness import CLIENT, World, failure, slave_hello, value

USED = Usage(4711, "signal SIGSEGV", 1.5, 0.25, 64 * limits.MIB, ("first line", "last line"))


def told(world: World, id: str) -> ExplainAnswer:
    """What the master explains."""
    world.say(CLIENT, Ask(7, About.EXPLAIN, (id,)))
    answer = world.one(ExplainAnswer, CLIENT)
    assert (answer.request, answer.id) == (7, id)
    return answer


def says(answer: ExplainAnswer, *words: str) -> bool:
    """Whether one of its sentences has all of these words."""
    return any(all(word in reason for word in words) for reason in answer.reasons)


def crashed(world: World, peer: bytes, lease: Assign, usage: Usage = USED) -> None:
    """A worker dies, with all that it had left."""
    outcomes = tuple(failure(t.index, Status.CRASH, "worker died: SIGSEGV") for t in lease.tasks)
    world.say(peer, Report(1, lease.lease, lease.job, outcomes, usage))
    world.unseen.clear()


def lose(world: World, name: str) -> None:
    """A slave is gone with its machine."""
    world.do(Unreachable(name.encode()))
    world.note(f"slave {name} is lost")


# --- Slaves that are lost -------------------------------------------------------------------------


def test_a_task_that_outlives_too_many_slaves_fails_with_all_of_them(world: World) -> None:
    id = world.submit()
    for number in range(limits.crash_limit):
        assert world.job(id).state is not JobState.FAILED
        world.slave(f"s{number}")
        world.place_one()
        lose(world, f"s{number}")
    job = world.job(id)
    assert job.state is JobState.FAILED
    (stored,) = world.take(Store)
    assert stored.outcomes[0].status is Status.CRASH
    for number in range(limits.crash_limit):
        assert f"on s{number}: slave s{number} is lost (its connection is gone)" in job.cause


def test_a_slave_that_ends_on_purpose_counts_against_nothing(world: World) -> None:
    id = world.submit()
    world.say(world.slave(), Goodbye("nothing to do"))
    world.note("left")
    peer = world.slave("s2")
    world.place_one()
    world.say(peer, Goodbye("told to stop"))
    world.note("s2 left")
    assert world.job(id).crashes == {}
    assert world.job(id).waiting == 1


def test_a_slave_that_was_only_away_counts_against_nothing(world: World) -> None:
    id = world.submit()
    for _ in range(2 * limits.crash_limit):
        if world.state.slaves:
            world.say(b"s1", slave_hello())
            assert world.one(Welcome, b"s1")
            assert world.job(id).crashes == {}
        else:
            world.slave()
        world.place_one()
        lose(world, "s1")
        assert world.job(id).crashes == {0: 1}
    assert says(told(world, f"{id}/0"), "its slave was away, and is back")


def test_what_was_counted_before_a_loss_stays_when_that_is_taken_back(world: World) -> None:
    peer, id = world.slave(), world.submit()
    crashed(world, peer, world.place_one())
    world.place_one()
    lose(world, "s1")
    assert world.job(id).crashes == {0: 2}
    world.say(b"s1", slave_hello())
    assert world.one(Welcome, b"s1")
    assert world.job(id).crashes == {0: 1}


def test_what_waited_on_a_slave_is_not_blamed_for_its_loss(world: World) -> None:
    world.slave()
    id = world.submit(3)
    world.finish(b"s1", world.place_one(), 0.05)
    first, second = (lease for _, lease in world.place())
    lose(world, "s1")
    assert world.job(id).crashes == {first.tasks[0].index: 1}, "the other one had not begun"
    assert second.tasks[0].index not in world.job(id).crashes


def test_of_several_tasks_in_a_lost_slot_none_is_blamed_and_each_runs_alone(world: World) -> None:
    world.slave()
    id = world.submit(9)
    world.finish(b"s1", world.place_one(), 0.0)
    lease = world.place()[0][1]
    indices = [task.index for task in lease.tasks]
    assert len(indices) > 1
    lose(world, "s1")
    assert world.job(id).crashes == dict.fromkeys(indices, 0)
    assert says(told(world, id), f"{len(indices)} tasks were run again, alone")
    world.say(b"s1", slave_hello())
    assert world.one(Welcome, b"s1")
    assert world.job(id).crashes == {}, "it is back, so they may travel together again"


# --- What is remembered ---------------------------------------------------------------------------


def test_an_attempt_keeps_what_its_worker_used_and_printed(world: World) -> None:
    peer, id = world.slave(), world.submit()
    crashed(world, peer, world.place_one())
    (row,) = told(world, f"{id}/0").attempts
    assert (row.task, row.tasks, row.slave, row.status) == (0, 1, "s1", Status.CRASH)
    assert row.usage == USED
    answer = told(world, id)
    assert says(answer, "task 0 was run again", "once (at 3 it fails)")
    assert says(answer, "1.50 s of user and 0.25 s of system CPU time", "64 MiB")


def test_the_error_of_a_poisoned_task_has_each_attempt_with_its_log(world: World) -> None:
    peer, id = world.slave(), world.submit()
    for _ in range(limits.crash_limit):
        crashed(world, peer, world.place_one())
    cause = world.job(id).cause
    assert cause.startswith("task 0: worker died: SIGSEGV\n  on s1, worker 4711, after 0.00 s: ")
    assert cause.count("user 1.50 s, system 0.25 s, at most 64 MiB") == limits.crash_limit
    assert cause.count("    | first line\n    | last line") == limits.crash_limit


def test_long_logs_do_not_push_the_cause_out_of_the_error(world: World) -> None:
    peer, id = world.slave(), world.submit()
    log = ("x" * limits.log_line_chars_max,) * limits.log_lines_max
    for _ in range(limits.crash_limit):
        crashed(world, peer, world.place_one(), Usage(4711, "signal SIGSEGV", log=log))
    cause = world.job(id).cause
    assert cause.startswith("task 0: worker died: SIGSEGV\n")
    assert cause.count("worker 4711") == limits.crash_limit


def test_all_logs_together_are_bounded_and_the_oldest_go_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "log_chars_max", 500)
    peer, id = world.slave(), world.submit(20, items=True)
    for _ in range(10):
        lease = world.place_one()
        outcomes = (failure(lease.tasks[0].index),)
        world.say(peer, Report(1, lease.lease, id, outcomes, USED))
        world.unseen.clear()
    logs = [len(attempt.usage.log) for attempt in world.job(id).history]
    assert logs == [0] * 6 + [2] * 4
    assert world.state.logs_chars <= 500
    assert all(attempt.usage.pid for attempt in world.job(id).history)


def test_a_job_remembers_so_many_attempts_and_none_that_went_well(world: World) -> None:
    peer, id = world.slave(), world.submit(limits.attempts_kept_max + 9, items=True)
    world.finish(peer, world.place_one())
    assert not world.job(id).history
    while leases := world.place():
        for _, lease in leases:
            world.report(peer, lease, [failure(task.index) for task in lease.tasks])
    assert len(world.job(id).history) == limits.attempts_kept_max


def test_a_task_that_came_out_well_at_last_has_that_in_its_story(world: World) -> None:
    peer, id = world.slave(), world.submit()
    crashed(world, peer, world.place_one())
    world.finish(peer, world.place_one())
    rows = told(world, f"{id}/0").attempts
    assert [row.status for row in rows] == [Status.CRASH, Status.VALUE]
    assert says(told(world, f"{id}/0"), "task 0 of j1 is done")


# --- Why ------------------------------------------------------------------------------------------


def test_a_job_that_waits_says_for_what(world: World) -> None:
    id = world.submit(2)
    assert says(told(world, id), "no slave is here")
    world.slave("s1", offers=("julia",))
    assert says(told(world, id), "no slave offers echo")
    world.slave("s2")
    world.place_one()
    assert says(told(world, id), "j1 is running: of 2 tasks 0 are done, 1 run, 1 wait")
    assert says(told(world, id), "every slot of every slave that is ready is taken") is False
    late = world.submit(1, priority=3)
    assert says(told(world, late), "1 jobs that wait stand before it")
    assert says(told(world, f"{id}/0"), "task 0 of j1 is with s2 since 0.0 s")
    assert says(told(world, f"{id}/1"), "task 1 of j1 waits")
    lose(world, "s2")
    assert says(told(world, id), "s2, which offers echo, is lost")


def test_a_task_that_was_cancelled_says_by_what(world: World) -> None:
    peer, id = world.slave(), world.submit(2)
    world.report(peer, world.place_one(), [Outcome(0, Status.ERROR, 0.1, b"ZeroDivisionError")])
    assert says(told(world, f"{id}/0"), "task 0 of j1 failed for good")
    assert says(told(world, f"{id}/1"), "was cancelled: task 0: ZeroDivisionError")


@pytest.mark.parametrize("name", ["j9", "j9/0", "", "/", "j1/9", "j1/", "j1/x", "j1/-1", "j1/²"])
def test_what_is_not_there_can_not_be_explained(world: World, name: str) -> None:
    world.submit(2)
    world.say(CLIENT, Ask(7, About.EXPLAIN, (name,)))
    assert world.one(Reject, CLIENT).code in ("unknown job", "unknown task")


def test_many_tasks_that_were_run_again_are_told_in_a_few_sentences(world: World) -> None:
    peer, id = world.slave(slots=30), world.submit(30)
    for _, lease in world.place():
        crashed(world, peer, lease)
    assert says(told(world, id), "and 20 more")
    assert len(told(world, id).reasons) < 20
    assert value(0).status.good
