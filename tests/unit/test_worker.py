"""The slave's core: leases in, tasks on slots, reports out until they are acknowledged."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.messages import (
    Ack,
    Assign,
    Beat,
    Control,
    Fetch,
    Goodbye,
    Heartbeat,
    Hello,
    Introduce,
    Ping,
    Pong,
    Reject,
    Report,
    Return,
    Revoke,
    Welcome,
)
from hpczmq.model import Metrics, Outcome, Role, Status, Task
from hpczmq.worker import (
    Drain,
    Exit,
    KillSlot,
    Received,
    RunLease,
    Send,
    SlotAnswered,
    SlotDied,
    SlotReady,
    SlotState,
    StartSlot,
    Stop,
    Subscribe,
    Tick,
)
from tests.unit.harness import WorkerBench, instance, value

BEAT_S = limits.heartbeat_s_default
RESEND_S = limits.resend_heartbeats * BEAT_S
QUEUE = bytes(16)
WELCOME = Welcome("hpczmq", QUEUE, True, 1, BEAT_S, 5011, Control(1, 1, "least-loaded", False))


def lease(number: int, *indices: int, timeout_s: float = 0.0) -> Assign:
    tasks = tuple(Task(index, b"t") for index in indices)
    return Assign(number, "j1", "echo", b"p", False, tasks, timeout_s)


def told(slave: WorkerBench, *messages: object) -> None:
    """The master says something."""
    for message in messages:
        slave.do(Received(message))  # type: ignore[arg-type]  # any message


def tick(slave: WorkerBench, seconds: float = 0.0) -> None:
    """Time passes, in which nothing but the heartbeat is due, and the master answers it."""
    slave.later(seconds)
    slave.do(Tick())
    for beat in slave.take(Heartbeat):
        told(slave, Beat(beat.sequence))


def up(slave: WorkerBench) -> WorkerBench:
    """A slave whose workers are ready and whom the master has welcomed."""
    slave.do(Tick())
    assert slave.one(Hello).role is Role.SLAVE
    assert [start.slot for start in slave.take(StartSlot)] == list(range(len(slave.core.slots)))
    for number in range(len(slave.core.slots)):
        slave.do(SlotReady(number))
    told(slave, WELCOME)
    slave.note("joined cluster hpczmq, epoch 1")
    assert slave.one(Subscribe).port == 5011
    tick(slave)
    return slave


def running(slave: WorkerBench, *indices: int, timeout_s: float = 0.0) -> WorkerBench:
    """A slave that runs lease 1."""
    told(up(slave), lease(1, *indices, timeout_s=timeout_s))
    assert slave.one(RunLease).slot == 0
    return slave


# --- Meeting the master -------------------------------------------------------------------------


def test_a_slave_says_what_it_is_and_starts_its_workers(slave: WorkerBench) -> None:
    slave.do(Tick())
    hello = slave.one(Hello)
    assert (hello.role, hello.name, hello.instance) == (Role.SLAVE, "s1", instance("s1"))
    assert (hello.slots, hello.capabilities, hello.leases) == (1, ("echo",), ())
    assert slave.one(StartSlot).slot == 0


def test_a_hello_is_said_again_until_it_is_answered(slave: WorkerBench) -> None:
    slave.do(Tick())
    assert slave.one(StartSlot)
    assert slave.one(Hello)
    slave.later(limits.hello_s / 2)
    slave.do(Tick())
    slave.later(limits.hello_s / 2)
    slave.do(Tick())
    assert slave.one(Hello)


def test_a_heartbeat_names_the_leases_that_are_held(slave: WorkerBench) -> None:
    told(running(slave, 0), lease(2, 1))
    slave.later(BEAT_S)
    slave.do(Tick(Metrics(cpu_percent=50.0)))
    beat = slave.one(Heartbeat)
    assert (beat.sequence, beat.leases, beat.generation) == (2, (1, 2), 1)
    assert beat.metrics.cpu_percent == 50.0
    assert (beat.metrics.slots_busy, beat.metrics.tasks_held) == (1, 2)


def test_a_slave_that_is_refused_says_so_once_and_goes_on_asking(slave: WorkerBench) -> None:
    up(slave)
    no = Reject(0, "protocol", "install the same version")
    told(slave, no, no)
    slave.note("the master does not take this slave: protocol: install the same version")
    slave.later(limits.hello_s)
    slave.do(Tick())
    assert slave.one(Hello)


def test_a_slave_that_is_not_known_introduces_itself_with_its_leases(slave: WorkerBench) -> None:
    told(running(slave, 0), Introduce())
    assert slave.one(Hello).leases == (1,)


def test_who_asks_on_the_own_router_gets_an_answer_to_pings_only(slave: WorkerBench) -> None:
    up(slave)
    slave.do(Received(Ping(4), b"asker"), Received(Fetch(1, "j", 0, 1), b"asker"))
    pong = slave.one(Pong, b"asker")
    assert (pong.request, pong.role, pong.name) == (4, Role.SLAVE, "s1")


# --- Running ------------------------------------------------------------------------------------


def test_leases_wait_in_their_order_for_a_slot(slave: WorkerBench) -> None:
    told(running(slave, 0), lease(3, 2), lease(2, 1))
    slave.do(SlotAnswered(0, [value(0)]))
    assert slave.one(Report).lease == 1
    assert slave.one(RunLease).lease.lease == 3


def test_a_lease_said_twice_runs_once(slave: WorkerBench) -> None:
    told(running(slave, 0), lease(1, 0))
    slave.do(SlotAnswered(0, [value(0)]))
    assert slave.one(Report)
    told(slave, lease(1, 0))
    assert not slave.core.queue, "it is done, and its report is not acknowledged yet"


def test_what_is_finished_is_reported_as_it_comes(slave: WorkerBench) -> None:
    running(slave, 5, 6, 7)
    slave.do(SlotAnswered(0, [value(5), Outcome(6, Status.ARRAY, 0.1, b"h")], [b"pixels"]))
    assert slave.core.slots[0].state is SlotState.BUSY
    first = slave.one(Send)
    assert isinstance(first.message, Report)
    assert (first.message.report, first.message.lease, first.message.job) == (1, 1, "j1")
    assert [outcome.index for outcome in first.message.outcomes] == [5, 6]
    assert first.buffers == [b"pixels"]
    slave.do(SlotAnswered(0, [value(7)]))
    assert slave.one(Report).report == 2
    assert slave.core.slots[0].state is SlotState.IDLE


def test_an_answer_that_does_not_fit_the_lease_raises(slave: WorkerBench) -> None:
    running(slave, 0, 1)
    with pytest.raises(AssertionError, match=r"slot 0 answered \[1\], not \[0\]"):
        slave.do(SlotAnswered(0, [value(1)]))


def test_an_impossible_move_of_a_slot_raises_with_its_story(slave: WorkerBench) -> None:
    told(running(slave, 0), Revoke((1,)))
    assert slave.one(KillSlot)
    with pytest.raises(
        AssertionError, match="KILLED → IDLE can't happen: slot 0 with None, 0 left"
    ):
        slave.do(SlotReady(0))


# --- Reporting ----------------------------------------------------------------------------------


def test_a_report_is_said_again_until_it_is_acknowledged(slave: WorkerBench) -> None:
    running(slave, 0)
    slave.do(SlotAnswered(0, [value(0)]))
    report = slave.one(Report)
    tick(slave, RESEND_S - 0.1)
    assert slave.core.held() == (1,), "a lease is held until its last report is acknowledged"
    tick(slave, 0.1)
    assert slave.one(Report) == report
    told(slave, Ack((1, 99)))
    assert slave.core.held() == ()
    tick(slave, RESEND_S)
    assert not slave.unseen


def test_reports_wait_while_there_is_no_master_and_go_out_when_it_is_back(
    slave: WorkerBench,
) -> None:
    told(running(slave, 0), Introduce())
    assert slave.one(Hello)
    slave.do(SlotAnswered(0, [value(0)]))
    assert not slave.unseen
    told(slave, WELCOME)
    slave.note("joined")
    assert slave.one(Subscribe)
    assert slave.one(Report).outcomes == (value(0),)


def test_a_slave_that_can_not_get_rid_of_its_results_begins_nothing_new(
    slave: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "kept_bytes_max", 10)
    told(running(slave, 0, 1), lease(2, 2))
    slave.do(SlotAnswered(0, [Outcome(0, Status.ARRAY, 0.1, b"head")], [b"pixels"]))
    assert slave.one(Report).outcomes[0].index == 0
    slave.do(SlotAnswered(0, [value(1)]))
    assert slave.one(Report).outcomes[0].index == 1, "what runs goes on"
    assert not slave.take(RunLease), "the next one waits"
    told(slave, Ack((1,)))
    assert slave.one(RunLease).lease.lease == 2


def test_losing_the_master_changes_nothing_for_what_runs(slave: WorkerBench) -> None:
    running(slave, 0)
    slave.later((limits.lost_heartbeats + 1) * BEAT_S)
    slave.do(Tick())
    slave.note("the master is silent; what runs goes on")
    assert slave.one(Hello).leases == (1,)
    assert slave.core.slots[0].state is SlotState.BUSY


# --- Revoking -----------------------------------------------------------------------------------


def test_a_revoked_lease_that_waits_never_runs(slave: WorkerBench) -> None:
    told(running(slave, 0), lease(2, 1), Revoke((2, 77)))
    assert slave.core.held() == (1,)


def test_a_revoked_lease_that_runs_is_killed_without_a_word_and_the_next_one_runs(
    slave: WorkerBench,
) -> None:
    told(running(slave, 0), lease(2, 1), Revoke((1,)))
    assert slave.one(KillSlot).slot == 0
    slave.do(SlotAnswered(0, [value(0)]))
    assert not slave.unseen, "its answer was under way"
    slave.do(SlotDied(0, "signal SIGKILL"))
    assert slave.one(StartSlot).slot == 0
    slave.do(SlotReady(0))
    assert slave.one(RunLease).lease.lease == 2


# --- Timeouts and crashes -----------------------------------------------------------------------


def test_a_task_that_takes_too_long_is_killed_and_the_others_go_on(slave: WorkerBench) -> None:
    running(slave, 0, 1, 2, timeout_s=2.0)
    tick(slave, 1.5)
    slave.do(SlotAnswered(0, [value(0)]))
    assert slave.one(Report)
    tick(slave, 1.9)
    assert slave.core.slots[0].state is SlotState.BUSY, "each task has the time for itself"
    tick(slave, 0.2)
    assert slave.one(KillSlot).slot == 0
    slave.later(0.5)
    slave.do(SlotDied(0, "signal SIGKILL"))
    (outcome,) = slave.one(Report).outcomes
    assert (outcome.index, outcome.status) == (1, Status.TIMEOUT)
    assert outcome.value == b"killed after timeout_s = 2"
    assert outcome.seconds == pytest.approx(2.6)
    assert slave.one(StartSlot)
    slave.do(SlotReady(0))
    assert [task.index for task in slave.one(RunLease).lease.tasks] == [2]


def test_a_timeout_is_seen_on_a_tick_only_when_what_came_in_before_is_known(
    slave: WorkerBench,
) -> None:
    """A slave that stood still may be told to drain before it reads what its worker has said."""
    running(slave, 0, timeout_s=2.0)
    slave.later(2.5)
    slave.do(Drain(9.0, "told to end"))
    slave.note("takes nothing new: told to end")
    slave.one(Heartbeat)
    assert not slave.take(KillSlot)
    slave.do(SlotAnswered(0, [value(0)]))
    assert slave.one(Report).outcomes[0].status is Status.VALUE


def test_a_lease_revoked_while_its_worker_is_killed_for_a_timeout_is_gone(
    slave: WorkerBench,
) -> None:
    running(slave, 0, 1, timeout_s=1.0)
    tick(slave, 1.1)
    assert slave.one(KillSlot)
    told(slave, Revoke((1,)))
    slave.do(SlotDied(0, "signal SIGKILL"))
    assert slave.one(StartSlot)
    assert slave.core.held() == ()


def test_a_worker_that_dies_at_work_reports_all_that_it_had_left(slave: WorkerBench) -> None:
    running(slave, 0, 1, 2)
    slave.do(SlotAnswered(0, [value(0)]))
    assert slave.one(Report)
    slave.do(SlotDied(0, "signal SIGSEGV"))
    outcomes = slave.one(Report).outcomes
    assert [(o.index, o.status) for o in outcomes] == [(1, Status.CRASH), (2, Status.CRASH)]
    assert outcomes[0].value == b"worker of s1 died: signal SIGSEGV"
    assert slave.one(StartSlot)
    slave.do(Received(Ping(1), b"asker"))
    metrics = slave.one(Pong, b"asker").metrics
    assert (metrics.tasks_done, metrics.tasks_failed, metrics.crashes) == (3, 2, 2)


def test_a_worker_that_dies_with_nothing_to_do_is_started_again(slave: WorkerBench) -> None:
    up(slave)
    slave.do(SlotDied(0, "exit code 0"))
    assert slave.one(StartSlot)


def test_a_worker_that_dies_while_starting_is_started_ever_later(slave: WorkerBench) -> None:
    slave.do(Tick())
    assert slave.one(Hello)
    waits = []
    for _ in range(12):
        assert slave.one(StartSlot)
        slave.do(SlotDied(0, "exit code 1"))
        slave.note("worker 0 died while starting (exit code 1)")
        waits.append(slave.core.slots[0].start_s - slave.now)
        slave.later(waits[-1] - 0.01)
        slave.do(Tick())
        slave.take(Hello)
        slave.later(0.02)
        slave.do(Tick())
        slave.take(Hello)
    assert waits[:3] == pytest.approx([0.2, 0.4, 0.8])
    assert waits[-1] == 30.0
    assert slave.one(StartSlot)


def test_a_worker_may_die_while_starting_for_ever(slave: WorkerBench) -> None:
    """At two tries a minute it takes nine hours until 2.0 ** tries is no float any more."""
    slave.do(Tick())
    assert slave.one(Hello)
    assert slave.one(StartSlot)
    slave.core.slots[0].stumbles = 2_000
    slave.do(SlotDied(0, "exit code 1"))
    slave.note("died while starting")
    assert slave.core.slots[0].start_s == slave.now + 30.0


def test_a_slave_none_of_whose_workers_starts_takes_no_lease(slave: WorkerBench) -> None:
    slave.do(Tick())
    assert slave.one(Hello)
    told(slave, lease(9, 0))
    assert slave.core.held() == (), "before the welcome nobody knows of which queue it is"
    told(slave, WELCOME, lease(1, 0))
    slave.note("joined")
    assert slave.one(Subscribe)
    for _ in range(limits.stumbles_max):
        assert slave.one(StartSlot)
        slave.do(SlotDied(0, "exit code 1"))
        slave.note("died while starting")
        slave.later(1.0)
        slave.do(Tick())
        slave.take(Heartbeat)
    assert slave.one(StartSlot)
    told(slave, lease(2, 1))
    assert slave.core.held() == (), "neither is named, so both go elsewhere"
    slave.do(SlotReady(0))
    told(slave, lease(3, 2))
    assert slave.one(RunLease).lease.lease == 3


def test_a_worker_that_is_not_ready_in_time_is_killed(slave: WorkerBench) -> None:
    slave.do(Tick())
    assert slave.one(StartSlot)
    slave.later(limits.worker_start_s + 0.1)
    slave.do(Tick())
    assert slave.one(KillSlot).slot == 0
    assert len(slave.take(Hello)) == 2


# --- The end ------------------------------------------------------------------------------------


def test_a_slave_that_is_told_to_stop_says_goodbye_and_takes_its_workers_along(
    slave: WorkerBench,
) -> None:
    running(slave, 0)
    slave.do(Stop())
    assert slave.one(KillSlot).slot == 0
    assert slave.one(Goodbye).reason == "told to stop"
    assert slave.unseen == [Exit()]
    assert slave.one(Exit)
    slave.do(Stop(), Tick(), SlotAnswered(0, [value(0)]))
    assert slave.one(Report), "what still comes is told"


def draining(slave: WorkerBench, within_s: float = 5.0) -> None:
    """It is told to end."""
    slave.do(Drain(within_s, "told to end"))
    slave.note("takes nothing new: told to end")
    assert slave.one(Heartbeat).draining


def left(slave: WorkerBench, reason: str = "told to end") -> None:
    """It has said goodbye, and the process may end."""
    assert slave.one(Goodbye).reason == reason
    assert slave.one(Exit)


def test_a_slave_that_drains_ends_what_runs_and_hands_back_the_rest(slave: WorkerBench) -> None:
    told(running(slave, 0), lease(2, 1))
    draining(slave)
    assert slave.one(Return).leases == (2,)
    told(slave, lease(3, 2))
    assert slave.one(Return).leases == (3,)
    slave.do(SlotAnswered(0, [value(0)]))
    assert slave.one(Report).lease == 1
    assert not slave.core.leaving, "its report is not acknowledged"
    told(slave, Ack((1,)))
    left(slave)


def test_a_slave_with_nothing_to_do_drains_at_once(slave: WorkerBench) -> None:
    up(slave)
    draining(slave)
    left(slave)


def test_a_slave_that_drains_hands_back_what_does_not_end_in_time(slave: WorkerBench) -> None:
    running(slave, 0)
    draining(slave)
    for _ in range(5):
        assert not slave.core.leaving
        tick(slave, 1.0)
    assert slave.one(Return).leases == (1,)
    assert slave.one(KillSlot).slot == 0
    left(slave)


def test_a_slave_that_drains_does_not_wait_for_ever_for_an_ack(slave: WorkerBench) -> None:
    running(slave, 0)
    draining(slave, 2.0)
    slave.do(SlotAnswered(0, [value(0)]))
    assert slave.one(Report)
    tick(slave, 2.0 + limits.farewell_s - 0.1)
    assert not slave.core.leaving
    tick(slave, 0.1)
    slave.take(Report)
    left(slave)


def test_what_is_left_of_a_lease_after_a_timeout_is_handed_back_by_a_slave_that_drains(
    slave: WorkerBench,
) -> None:
    running(slave, 0, 1, timeout_s=1.0)
    draining(slave, 60.0)
    tick(slave, 1.1)
    assert slave.one(KillSlot)
    slave.do(SlotDied(0, "signal SIGKILL"))
    assert slave.one(Report).outcomes[0].status is Status.TIMEOUT
    assert slave.one(Return).leases == (1,)
    told(slave, Ack((1,)))
    left(slave)


def test_a_slave_that_drains_can_be_hurried(slave: WorkerBench) -> None:
    running(slave, 0)
    draining(slave, 60.0)
    slave.do(Drain(1.0, "again"))
    tick(slave, 1.0)
    assert slave.one(Return)
    assert slave.one(KillSlot)
    left(slave)


def test_each_slot_runs_a_lease_of_its_own() -> None:
    slave = up(WorkerBench(slots=3))
    told(slave, lease(1, 0), lease(2, 1), lease(3, 2), lease(4, 3))
    assert [(run.slot, run.lease.lease) for run in slave.take(RunLease)] == [(0, 1), (1, 2), (2, 3)]
    slave.do(SlotAnswered(1, [value(1)]))
    assert slave.one(RunLease).slot == 1
    assert slave.one(Report).lease == 2
    slave.done()
