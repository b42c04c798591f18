"""A master that comes back with an empty queue, and slaves that are slower than their silence."""

from __future__ import annotations

from dataclasses import replace

from hpczmq import limits
from hpczmq.messages import (
    Ack,
    Assign,
    Beat,
    Cancel,
    Control,
    Fetch,
    Goodbye,
    Heartbeat,
    Hello,
    Report,
    Submit,
    Submitted,
    Welcome,
)
from hpczmq.model import Outcome, SlaveState, Status, Task
from hpczmq.scheduler.events import Tick as ServerTick
from hpczmq.scheduler.states import TaskState
from hpczmq.session import Follow, GiveUp, Gone, Tick, Turned, Wish
from hpczmq.session import Received as Heard
from hpczmq.worker import (
    KillSlot,
    Received,
    RunLease,
    SlotAnswered,
    SlotReady,
    StartSlot,
    Subscribe,
)
from hpczmq.worker import Tick as SlaveTick
from tests.unit.harness import SessionBench, WorkerBench, World, slave_hello, submission, value

BEAT_S = limits.heartbeat_s_default
WELCOME = Welcome("hpczmq", bytes(16), True, 1, BEAT_S, 5011, Control(1, 1, "least-loaded", False))
#: What a master says that was started anew, without its jobs.
ANEW = replace(WELCOME, queue=b"another-queue-16")


def lease(number: int, index: int) -> Assign:
    return Assign(number, "j1", "echo", b"p", False, (Task(index, b"t"),), 0.0)


def busy(slave: WorkerBench) -> WorkerBench:
    """A slave that runs lease 1, has lease 2 waiting, and holds a report of lease 3."""
    slave.do(SlaveTick(), SlotReady(0), Received(WELCOME), Received(lease(3, 3)))
    slave.do(SlotAnswered(0, [value(3)]), Received(lease(1, 1)), Received(lease(2, 2)))
    slave.take(Hello), slave.take(StartSlot), slave.take(RunLease), slave.take(Subscribe)
    slave.note("joined")
    assert slave.one(Report).lease == 3
    assert slave.core.held() == (1, 2, 3)
    return slave


def test_a_slave_drops_everything_when_the_master_has_another_queue(slave: WorkerBench) -> None:
    busy(slave).do(Received(ANEW))
    assert slave.one(KillSlot).slot == 0
    assert slave.one(Subscribe)
    slave.note("dropped")
    assert slave.core.held() == ()


def test_a_slave_keeps_everything_when_the_queue_is_the_same(slave: WorkerBench) -> None:
    busy(slave).do(Received(replace(WELCOME, epoch=2)))
    assert slave.one(Subscribe)
    assert slave.one(Report).lease == 3, "said again, for the connection is new"
    assert slave.core.held() == (1, 2, 3)


def test_on_a_connection_that_the_master_knows_nothing_is_said_twice(slave: WorkerBench) -> None:
    busy(slave).do(Received(replace(WELCOME, fresh=False)))
    assert slave.one(Subscribe)
    assert not slave.take(Report)


def test_a_large_report_is_given_the_time_that_it_takes_on_a_slow_link(slave: WorkerBench) -> None:
    slave.do(SlaveTick(), SlotReady(0), Received(WELCOME), Received(lease(1, 1)))
    outcome = Outcome(1, Status.ARRAY, 0.1, b"head")
    slave.do(SlotAnswered(0, [outcome], [bytes(8 * limits.MIB)]))
    assert slave.one(Report)
    said = 0
    for _ in range(20):  # seconds in which the master is there, but has not got the report yet
        slave.later(BEAT_S)
        slave.do(SlaveTick())
        for beat in slave.take(Heartbeat):
            slave.do(Received(Beat(beat.sequence)))
        said += len(slave.take(Report))
    assert said == 1, "after 3 heartbeats and 8 s, and then twice as late"
    slave.unseen.clear()


def test_a_client_learns_that_its_jobs_are_no_more(session: SessionBench) -> None:
    session.do(Tick(), Heard(WELCOME), Follow("j1"))
    session.take(Hello), session.take(Turned), session.take(Heartbeat), session.take(Fetch)
    session.do(Heard(ANEW))
    gone = session.one(Gone)
    assert gone.job == "j1"
    assert "started anew" in gone.reason
    assert not session.core.followed


def test_a_submit_that_was_given_up_is_cancelled_when_it_is_accepted(session: SessionBench) -> None:
    session.do(Tick(), Heard(WELCOME), Wish(7, submission(1)))
    session.take(Hello), session.take(Turned), session.take(Heartbeat)
    request = session.one(Submit).request
    session.do(GiveUp(7), Heard(Submitted(request, "j9", 1)))
    assert session.one(Cancel).jobs == ("j9",)


def test_a_submit_that_was_given_up_before_it_was_sent_is_forgotten(session: SessionBench) -> None:
    session.do(Wish(7, submission(1)), GiveUp(7), Heard(WELCOME))
    session.take(Hello), session.take(Turned), session.take(Heartbeat)
    assert not session.take(Submit)
    assert not session.core.pending


def test_what_a_lost_slave_still_reports_is_taken(world: World) -> None:
    peer, id = world.slave("s1"), world.submit(1)
    given = world.place_one()
    for _ in range(6):
        world.later(BEAT_S)
        world.do(ServerTick())
    assert world.record("s1").state is SlaveState.LOST
    world.say(peer, Report(1, given.lease, id, (value(0),)))
    assert world.one(Ack).reports == (1,)
    assert world.record("s1").state is SlaveState.READY
    assert world.job(id).state.ended
    world.unseen.clear()


def test_nobody_has_a_say_in_a_task_that_was_never_given_to_him(world: World) -> None:
    """Not by its lease's number, which is easy to guess, nor by that of a lease of its own."""
    peer, id = world.slave("s1"), world.submit(2)
    first = world.place_one()
    forger = world.slave("s2")
    own = world.place_one()
    index = first.tasks[0].index
    for lease in (first.lease, own.lease, 999):
        world.say(forger, Report(lease, lease, id, (value(index),)))
        assert world.one(Ack).reports == (lease,), "so that an honest one forgets it"
    assert world.state.quota.refused == {"not assigned": 3}
    assert world.job(id).counts[TaskState.DONE] == 0
    world.finish(peer, first)


def test_a_slave_that_said_goodbye_is_shown_as_one_that_left(world: World) -> None:
    world.say(world.slave("s1"), Goodbye("told to stop"))
    world.note("slave s1 left (told to stop)")
    assert world.record("s1").state is SlaveState.LEFT


def test_a_slave_on_its_own_connection_is_told_that_it_is_known(world: World) -> None:
    peer = world.slave("s1")
    world.say(peer, slave_hello("s1"))
    assert not world.one(Welcome, peer).fresh
