"""Slaves that get nothing new: by a client's order, or since they are about to end."""

from __future__ import annotations

from hpczmq import limits
from hpczmq.messages import (
    Ask,
    Beat,
    Control,
    Done,
    Drain,
    Heartbeat,
    Message,
    Reject,
    Return,
    Sample,
    SlavesAnswer,
    Welcome,
)
from hpczmq.model import About, JobState, Metrics, SlaveState
from hpczmq.scheduler.events import Tick, Unreachable
from tests.unit.harness import CLIENT, World, slave_hello


def order(world: World, *names: str, undo: bool = False, request: int = 0) -> None:
    """A client wants it."""
    if CLIENT not in world.state.clients:
        world.client()
    world.say(CLIENT, Drain(request, names, undo))


def drained(world: World, *names: str, undo: bool = False) -> None:
    """A client wants it, and it is done."""
    order(world, *names, undo=undo)
    assert world.one(Done, CLIENT).names == names
    world.note(names[0], "work again" if undo else "nothing new: drained by a client")


def beats(world: World, name: str, *leases: int, draining: bool = True) -> None:
    """A slave beats."""
    generation = world.state.control.generation
    beat: Message = Heartbeat(1, Metrics(), leases, generation, draining)
    world.say(name.encode(), beat)
    assert world.one(Beat)
    assert world.one(Sample)


def test_a_drained_slave_ends_what_it_has_and_gets_nothing_new(world: World) -> None:
    peer, id = world.slave(), world.submit(2)
    lease = world.place_one()
    drained(world, "s1")
    world.finish(peer, lease)
    assert world.place() == []
    assert world.record("s1").state is SlaveState.DRAINING
    drained(world, "s1", undo=True)
    world.finish(peer, world.place_one())
    assert world.job(id).state is JobState.DONE


def test_slaves_says_who_drains_and_why(world: World) -> None:
    world.slave()
    drained(world, "s1")
    world.say(CLIENT, Ask(1, About.SLAVES))
    (row,) = world.one(SlavesAnswer, CLIENT).slaves
    assert (row.state, row.reason) == (SlaveState.DRAINING, "drained by a client")


def test_a_drain_is_done_once_however_often_it_is_said(world: World) -> None:
    world.slave()
    for _ in range(2):
        order(world, "s1", request=5)
    assert [done.names for done in world.take(Done, CLIENT)] == [("s1",)] * 2
    world.note("nothing new")


def test_a_drain_of_nobody_is_refused_whole(world: World) -> None:
    world.slave()
    order(world, "s1", "s9")
    assert "no slave s9 is here" in world.one(Reject, CLIENT).reason
    assert world.record("s1").state is SlaveState.READY


def test_a_drained_slave_that_is_lost_and_comes_back_drains_still(world: World) -> None:
    world.slave()
    drained(world, "s1")
    world.do(Unreachable(b"s1"))
    world.note("s1 is lost")
    world.say(b"s1", slave_hello())
    assert world.one(Welcome, b"s1")
    assert world.record("s1").state is SlaveState.DRAINING


def test_a_slave_that_is_silent_can_be_drained_for_later(world: World) -> None:
    world.slave()
    world.later(limits.silent_heartbeats * limits.heartbeat_s_default + 0.1)
    world.do(Tick())
    assert len(world.take(Beat)) == 1, "it is asked for a sign of life"
    world.take(Control)
    assert world.record("s1").state is SlaveState.SILENT
    drained(world, "s1")
    assert world.record("s1").state is SlaveState.SILENT
    beats(world, "s1", draining=False)
    assert world.record("s1").state is SlaveState.DRAINING


def test_a_slave_that_is_about_to_end_gets_nothing_new(world: World) -> None:
    world.slave()
    beats(world, "s1")
    world.note("s1 gets nothing new: is about to end")
    world.submit()
    assert world.place() == []
    beats(world, "s1")


def test_what_a_slave_hands_back_runs_elsewhere_at_once(world: World) -> None:
    world.slave("s1")
    id = world.submit()
    lease = world.place_one()
    world.say(b"s1", Return((lease.lease, 99, lease.lease)))
    beats(world, "s1")
    world.note("nothing new")
    world.slave("s2")
    ((to, again),) = world.place()
    assert (to, again.job) == (b"s2", id)
    world.say(b"s1", Return((lease.lease,)))
    assert world.job(id).crashes == {}
