"""Slaves on which tasks fail that succeed elsewhere."""

from __future__ import annotations

from hpczmq import limits
from hpczmq.messages import Ask, Assign, Done, Drain, ExplainAnswer, SlavesAnswer
from hpczmq.model import About, JobState, SlaveState, Status
from hpczmq.scheduler.events import Tick
from tests.unit.harness import CLIENT, World, failure


def fails(world: World, peer: bytes, lease: Assign) -> None:
    """The only task of a lease takes its worker down."""
    crash = failure(lease.tasks[0].index, Status.CRASH, "signal SIGSEGV")
    assert world.report(peer, lease, [crash]) is None
    world.note("is run again")


def fail_here_and_end_elsewhere(world: World, bad: bytes, tasks: int = 1) -> None:
    """Tasks that fail on one slave, and succeed on whatever slave they are given to then."""
    for _ in range(tasks):
        world.submit()
        handed = world.place()
        while handed[0][0] != bad:  # the other one was chosen: not this time
            world.finish(*handed[0])
            world.submit()
            handed = world.place()
        fails(world, *handed[0])
        ((to, lease),) = world.place()
        assert to != bad, "it goes elsewhere"
        world.finish(to, lease)


def tick(world: World, seconds: float) -> None:
    """Time passes, in which slaves are heard."""
    world.later(seconds)
    for slave in world.state.slaves.values():
        slave.heard_s = world.now
    world.state.clients[CLIENT].heard_s = world.state.published_s = world.now
    world.do(Tick())


def quarantined(world: World) -> bytes:
    """A slave that is in quarantine, beside one that is not."""
    bad, _ = world.slave("bad"), world.slave("good")
    fail_here_and_end_elsewhere(world, bad, limits.quarantine_limit)
    world.note("slave bad gets nothing new", "that succeeded elsewhere, 0 did not")
    assert world.record("bad").state is SlaveState.QUARANTINED
    return bad


def test_a_slave_on_which_tasks_fail_that_succeed_elsewhere_gets_nothing_new(world: World) -> None:
    quarantined(world)
    for _ in range(3):
        world.submit()
    assert {to for to, _ in world.place()} == {b"good"}
    world.say(CLIENT, Ask(1, About.SLAVES))
    bad, good = world.one(SlavesAnswer, CLIENT).slaves
    assert (bad.state, good.state, good.reason) == (SlaveState.QUARANTINED, SlaveState.READY, "")
    assert bad.reason.startswith("3 tasks failed here in 600 s that succeeded elsewhere")
    world.say(CLIENT, Ask(1, About.EXPLAIN, (f"j{world.state.jobs_made}",)))
    reasons = world.one(ExplainAnswer, CLIENT).reasons
    assert any("bad, which offers echo, is quarantined: 3 tasks" in reason for reason in reasons)


def test_it_is_let_back_by_hand_with_a_clean_record(world: World) -> None:
    bad = quarantined(world)
    world.say(CLIENT, Drain(1, ("bad",), undo=True))
    assert world.one(Done, CLIENT).names == ("bad",)
    world.note("bad gets work again")
    fail_here_and_end_elsewhere(world, bad, limits.quarantine_limit - 1)
    assert world.record("bad").state is SlaveState.READY


def test_it_is_let_back_on_probation_where_one_strike_is_enough(world: World) -> None:
    bad = quarantined(world)
    tick(world, limits.probation_s - 0.1)
    assert world.record("bad").state is SlaveState.QUARANTINED
    tick(world, 0.1)
    world.note("bad gets work again")
    assert world.record("bad").state is SlaveState.READY
    fail_here_and_end_elsewhere(world, bad)
    world.note("bad gets nothing new")


def test_strikes_of_long_ago_do_not_count(world: World) -> None:
    bad, _ = world.slave("bad"), world.slave("good")
    fail_here_and_end_elsewhere(world, bad, limits.quarantine_limit - 1)
    tick(world, limits.quarantine_window_s + 0.1)
    fail_here_and_end_elsewhere(world, bad)
    assert world.record("bad").state is SlaveState.READY


def test_a_slave_on_which_more_succeeds_than_fails_is_kept(world: World) -> None:
    bad, _ = world.slave("bad"), world.slave("good")
    fail_here_and_end_elsewhere(world, bad)
    world.record("bad").good = limits.quarantine_limit
    fail_here_and_end_elsewhere(world, bad, limits.quarantine_limit - 1)
    assert world.record("bad").state is SlaveState.READY


def test_the_last_one_that_offers_something_is_kept(world: World) -> None:
    bad, _ = world.slave("bad", offers=("echo", "julia")), world.slave("good")
    fail_here_and_end_elsewhere(world, bad, limits.quarantine_limit)
    assert world.record("bad").state is SlaveState.READY


def test_what_failed_on_the_only_slave_is_tried_there_again(world: World) -> None:
    peer, id = world.slave(), world.submit()
    fails(world, peer, world.place_one())
    world.finish(peer, world.place_one())
    assert world.job(id).state is JobState.DONE
    assert not world.record("s1").strikes


def test_a_task_waits_for_another_slave_but_not_for_ever(world: World) -> None:
    bad, id = world.slave("bad"), world.submit()
    fails(world, bad, world.place_one())
    world.slave("good", offers=("echo", "julia"))
    world.submit(priority=1, capability="julia")
    ((to, _),) = world.place()
    assert to == b"good"
    assert world.job(id).waiting == 1, "the other slave is ready, and has something to end"
    world.later(limits.avoid_s)
    ((to, lease),) = world.place()
    assert (to, lease.job) == (bad, id)


def test_others_get_the_slot_that_a_task_avoids(world: World) -> None:
    bad, id = world.slave("bad"), world.submit()
    fails(world, bad, world.place_one())
    world.slave("good", offers=("echo", "julia"))
    world.submit(priority=1, capability="julia")
    late = world.submit()
    assert {lease.job: to for to, lease in world.place()}[late] == bad
    assert world.job(id).waiting == 1
