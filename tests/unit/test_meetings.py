"""Where second starts, demands and the order of jobs meet crashes, retries, drain, quarantine."""

from __future__ import annotations

from hpczmq import limits
from hpczmq.messages import Ask, Assign, Done, Drain, ExplainAnswer, Goodbye, JobsAnswer, Revoke
from hpczmq.model import About, JobState, Requires, SlaveState, Status
from hpczmq.scheduler import members
from hpczmq.scheduler.events import Tick, Unreachable
from hpczmq.scheduler.states import TaskState
from tests.unit.harness import CLIENT, World, failure

TASK_S = 2.0
LATE_S = limits.straggler_times * TASK_S + 0.1
LABELLED = Requires(labels=("room=3",))


def race(world: World, retries: int = 0) -> tuple[str, Assign, Assign]:
    """A job whose task 1 is on `slow`, and started again on `fast`."""
    fast, _ = world.slave("fast"), world.slave("slow")
    id = world.submit(2, items=True, retries=retries)
    (_, first), (_, straggler) = world.place()
    world.finish(fast, first, TASK_S)
    world.later(LATE_S)
    ((_, second),) = world.place()
    world.note("started a second time on fast")
    return id, straggler, second


def lose(world: World, peer: bytes) -> None:
    world.do(Unreachable(peer))
    world.note("is lost")


def try_again(world: World) -> None:
    """The next try of what has raised is due."""
    world.later(limits.retry_s_min)
    world.state.published_s = world.now
    world.do(Tick())


def explained(world: World, name: str) -> str:
    world.say(CLIENT, Ask(7, About.EXPLAIN, (name,)))
    return "\n".join(world.one(ExplainAnswer, CLIENT).reasons)


def drain(world: World, name: str) -> None:
    world.say(CLIENT, Drain(1, (name,)))
    assert world.one(Done, CLIENT).names == (name,)
    world.note("gets nothing new")


# --- Second starts --------------------------------------------------------------------------------


def test_a_crash_does_not_count_while_the_other_start_goes_on(world: World) -> None:
    id, straggler, second = race(world)
    crash = failure(1, Status.CRASH, "signal SIGSEGV")
    assert world.report(b"slow", straggler, [crash]) is None
    world.note("its other start goes on")
    assert world.job(id).crashes == {}
    assert "on slow: signal SIGSEGV" in explained(world, f"{id}/1")
    world.finish(b"fast", second, TASK_S)
    assert world.job(id).state is JobState.DONE
    assert len(world.record("slow").strikes) == 1, "it failed there, and succeeded elsewhere"


def test_an_error_costs_no_retry_while_the_other_start_goes_on(world: World) -> None:
    id, straggler, second = race(world, retries=1)
    assert world.report(b"slow", straggler, [failure(1)]) is None
    world.note("its other start goes on")
    assert world.job(id).tries == {}
    assert world.report(b"slow", straggler, [failure(1)]) is None, "said again, it is no news"
    assert world.report(b"fast", second, [failure(1)]) is None
    world.note("is run again")
    assert world.job(id).tries == {1: 1}
    assert world.job(id).states[1] == TaskState.DELAYED
    assert world.place() == [], "it waits for its next try, on whatever slave"


def test_what_a_revoked_start_says_is_no_attempt(world: World) -> None:
    id, straggler, second = race(world)
    world.finish(b"fast", second, TASK_S)
    assert world.one(Revoke, b"slow").leases == (straggler.lease,)
    assert world.report(b"slow", straggler, [failure(1, Status.CRASH)]) is None
    job = world.job(id)
    assert (list(job.history), job.crashes, job.failed_on) == ([], {}, {})
    assert not world.record("slow").strikes


def test_two_slaves_lost_with_one_task_count_once(world: World) -> None:
    id, _, _ = race(world)
    lose(world, b"slow")
    assert world.job(id).crashes == {}
    assert world.record("slow").blames == [], "nothing to take back, if it was only away"
    lose(world, b"fast")
    assert world.job(id).crashes == {1: 1}
    assert world.job(id).states[1] == TaskState.WAITING


def test_a_slave_that_leaves_with_one_of_two_starts_costs_nothing(world: World) -> None:
    id, straggler, _ = race(world)
    world.say(b"fast", Goodbye("told to end"))
    world.note("fast left")
    assert world.job(id).leases == {1: straggler.lease}
    world.finish(b"slow", straggler, 9.0)
    assert world.job(id).state is JobState.DONE


def test_a_closed_slave_gets_no_second_start(world: World) -> None:
    fast, _ = world.slave("fast"), world.slave("slow")
    world.submit(2)
    (_, first), _ = world.place()
    drain(world, "fast")
    world.finish(fast, first, TASK_S)
    world.later(LATE_S)
    assert world.place() == []


def test_a_task_is_not_started_a_second_time_where_it_failed(world: World) -> None:
    bad, good = world.slave("bad"), world.slave("good")
    id = world.submit(2, items=True, retries=1)
    handed = dict(world.place())
    world.finish(good, handed[good], TASK_S)
    index = handed[bad].tasks[0].index
    assert world.report(bad, handed[bad], [failure(index)]) is None
    world.note("is run again")
    try_again(world)
    ((peer, _),) = world.place()
    assert peer == good
    world.later(LATE_S)
    assert world.place() == []
    third = world.slave("third")
    world.later(0.2)
    ((peer, _),) = world.place()
    world.note("straggler", f"of {id}")
    assert peer == third


# --- Placement ------------------------------------------------------------------------------------


def test_a_slave_that_one_job_avoids_is_free_for_another_one(world: World) -> None:
    bad, good = world.slave("bad"), world.slave("good")
    first = world.submit(2, items=True, retries=1)
    handed = dict(world.place())
    index = handed[bad].tasks[0].index
    assert world.report(bad, handed[bad], [failure(index)]) is None
    world.note("is run again")
    try_again(world)
    assert world.place() == [], "it waits for the other slave"
    second = world.submit(1, priority=3)
    ((peer, lease),) = world.place()
    assert (peer, lease.job) == (bad, second)
    world.finish(good, handed[good], TASK_S)
    ((peer, lease),) = world.place()
    assert (peer, lease.job) == (good, first)


def test_who_lacks_what_a_task_needs_is_not_waited_for(world: World) -> None:
    """It failed on the only slave with its label: there it goes again."""
    only, _ = world.slave("only", labels=("room=3",)), world.slave("other")
    world.submit(1, retries=1, requires=LABELLED)
    lease = world.place_one()
    assert world.report(only, lease, [failure(0)]) is None
    world.note("is run again")
    try_again(world)
    ((peer, _),) = world.place()
    assert peer == only


def test_the_last_slave_that_a_job_can_use_is_not_quarantined(world: World) -> None:
    for name in ("bad", "good"):
        world.slave(name, labels=("room=3",) if name == "bad" else ())
    record = world.record("bad")
    for job_needs_it in (True, False):
        id = world.submit(1, requires=LABELLED)
        lease = world.place_one()
        if not job_needs_it:
            world.finish(b"bad", lease)
        record.strikes.extend([world.now] * limits.quarantine_limit)
        world.state.struck.add(record.instance)
        members.judge(world.state, world.now)
        assert record.state is SlaveState.READY if job_needs_it else SlaveState.QUARANTINED
        if job_needs_it:
            world.finish(b"bad", lease)
            assert world.job(id).state is JobState.DONE
            record.strikes.clear()


# --- Words ----------------------------------------------------------------------------------------


def test_a_job_says_what_it_requires_and_who_is_closed(world: World) -> None:
    world.slave("other")
    id = world.submit(1, requires=LABELLED)
    assert "no slave has the labels room=3" in explained(world, id)
    world.slave("only", labels=("room=3",))
    drain(world, "only")
    told = explained(world, id)
    assert "no slave that offers echo and has what it requires can take anything now" in told
    assert "only, which offers echo and has what it requires, is draining: drained by" in told
    assert "other" not in told
    world.say(CLIENT, Ask(1, About.JOBS, (id,)))
    assert (
        world.one(JobsAnswer, CLIENT).jobs[0].cause.startswith("waits: only is draining: drained")
    )


def test_a_task_says_that_it_was_started_twice(world: World) -> None:
    id, _, _ = race(world)
    told = explained(world, f"{id}/1")
    assert "is with slow since" in told
    assert "it was started a second time, on fast" in told
