"""Where and when the tasks of a job ran, as the master remembers it."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.happened import Span, SpanEnd
from hpczmq.messages import (
    Ack,
    Ask,
    Assign,
    Cancel,
    Done,
    Goodbye,
    Reject,
    Report,
    Revoke,
    TraceAnswer,
)
from hpczmq.model import About, JobState, Outcome, Status
from hpczmq.scheduler import spans
from hpczmq.scheduler.actions import Store
from hpczmq.worker import SlotAnswered
from tests.unit.harness import CLIENT, WorkerBench, World, value
from tests.unit.test_worker import running

#: The slave's clock is so far ahead of the master's.
AHEAD_S = 500.0


def told(
    world: World, peer: bytes, lease: Assign, outcomes: list[Outcome], began_s: float, way_s: float
) -> None:
    """A slave reports from slot 2 what began then on the master's clock; it is on its way for so
    long, and arrives now."""
    at_s = world.now - way_s + AHEAD_S
    report = Report(
        lease.lease * 10 + outcomes[0].index, lease.lease, lease.job, tuple(outcomes), slot=2,
        began_s=began_s + AHEAD_S, at_s=at_s,
    )  # fmt: skip
    world.say(peer, report)
    world.take(Store)
    assert world.one(Ack, peer)


def trace(world: World, id: str) -> TraceAnswer:
    """What a client is told."""
    world.say(CLIENT, Ask(1, About.TRACE, (id,)))
    return world.one(TraceAnswer, CLIENT)


def test_a_trace_says_where_and_when_each_task_ran_on_the_masters_clock(world: World) -> None:
    id = world.submit(2, costs=[1.0, 1.0])
    world.later(1)
    peer = world.slave()
    first, second = world.place_one(), None
    world.later(2)
    told(world, peer, first, [value(0, 0.5)], world.now - 0.6, 0.1)
    second = world.place_one()
    world.later(3)
    # This one is on its way for a second: the clock is known by the faster one.
    told(world, peer, second, [value(1, 1.5)], world.now - 2.5, 1.0)
    answer = trace(world, id)
    assert (answer.slaves, answer.left_out, answer.age_s) == (("s1",), 0, 6.0)
    assert answer.info.state is JobState.DONE
    one, two = answer.spans
    assert one[:4] == (0, 0, 2, SpanEnd.DONE)
    # The clocks are seen 0.1 s less apart than they are: no report was faster.
    assert one[4:] == pytest.approx((1.0, 2.5, 3.0, 3.0), abs=1e-3)
    assert two[:4] == (1, 0, 2, SpanEnd.DONE)
    assert two[4:] == pytest.approx((3.0, 3.6, 5.1, 6.0), abs=1e-3)


def test_tasks_of_one_report_follow_each_other(world: World) -> None:
    id = world.submit(20)
    peer = world.slave()
    lease = world.place_one()
    world.later(1)
    told(world, peer, lease, [value(0)], world.now - 0.001, 0.0)
    lease = world.place()[0][1]
    assert [task.index for task in lease.tasks][:2] == [1, 2]
    world.later(1)
    outcomes = [value(1, 0.25), value(2, 0.001)]
    told(world, peer, lease, outcomes, world.now - 0.3, 0.0)
    _, one, two = trace(world, id).spans
    assert one[5:7] == pytest.approx((1.7, 1.95), abs=1e-3)
    assert two[5:7] == pytest.approx((1.95, 1.951), abs=1e-3)
    assert (one.task, two.task) == (1, 2)


def test_of_a_lost_slave_the_trace_says_what_it_had(world: World) -> None:
    id = world.submit()
    peer = world.slave()
    world.place_one()
    world.later(2)
    world.say(peer, Goodbye("told to stop"))
    world.note("s1", "left")
    assert trace(world, id).spans == (Span(0, 0, 0, SpanEnd.LOST, 0.0, 0.0, 2.0, 2.0),)


def test_a_job_that_is_cancelled_shows_what_was_killed_for_it(world: World) -> None:
    id = world.submit()
    peer = world.slave()
    world.place_one()
    world.later(2)
    world.say(CLIENT, Cancel(5, (id,)))
    assert world.one(Revoke, peer)
    assert world.one(Done, CLIENT)
    assert [span.end for span in trace(world, id).spans] == [SpanEnd.REVOKED]


def test_a_trace_of_a_job_that_nobody_knows_is_refused(world: World) -> None:
    world.client()
    for names in (("j9",), ()):
        world.say(CLIENT, Ask(1, About.TRACE, names))
        assert world.one(Reject, CLIENT).code == "unknown job"


def test_of_a_job_of_very_many_tasks_the_first_are_traced_and_the_others_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "spans_per_job_max", 2)
    id = world.submit(4)
    peer = world.slave()
    for index in range(4):
        lease = world.place_one()
        told(world, peer, lease, [value(index, 1.0)], world.now, 0.0)
    answer = trace(world, id)
    assert [span.task for span in answer.spans] == [0, 1]
    assert answer.left_out == 2


def test_the_traces_of_the_oldest_jobs_go_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "spans_per_job_max", 2)
    monkeypatch.setattr(limits, "spans_kept_max", 4)
    peer = world.slave()
    ids = []
    for _ in range(4):
        ids.append(world.submit())
        told(world, peer, world.place_one(), [value(0)], world.now, 0.0)
    world.submit()
    assert [len(world.job(id).spans) for id in ids] == [0, 0, 1, 1]
    assert trace(world, ids[0]).left_out == 1


def test_a_slave_says_which_slot_it_was_and_when_it_began(slave: WorkerBench) -> None:
    running(slave, 0)
    slave.later(3)
    slave.do(SlotAnswered(0, [value(0)], age_s=2.0))
    report = slave.one(Report)
    assert (report.slot, report.began_s, report.at_s) == (1, slave.now - 2, slave.now)


def test_spans_take_some_forty_bytes_each() -> None:
    kept = spans.Spans()
    kept.add("s1", 1, 0.0, 1.0, [1], [SpanEnd.DONE], [0.5], [0.75])
    assert sum(column.itemsize for column in kept._columns) == 43
    assert kept.rows(0.5) == (Span(1, 0, 1, SpanEnd.DONE, 0.0, 0.0, 0.25, 0.5),)


def test_a_crash_of_several_tasks_is_one_time_for_all_of_them(world: World) -> None:
    id = world.submit(20)
    peer = world.slave()
    lease = world.place_one()
    world.later(1)
    told(world, peer, lease, [value(0)], world.now - 0.001, 0.0)
    lease = world.place()[0][1]
    world.later(2)
    crashed = [Outcome(index, Status.CRASH, 1.5, b"died") for index in (1, 2)]
    told(world, peer, lease, crashed, world.now - 1.5, 0.0)
    world.note("run again")
    for span in trace(world, id).spans[1:]:
        assert span[5:7] == pytest.approx((1.5, 3.0), abs=1e-3)
        assert span.end is SpanEnd.CRASH
