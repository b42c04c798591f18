"""The master's core: who may say what, jobs from submit to forgetting, chunks, and control."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.messages import (
    PROTOCOL,
    Ack,
    AlertsAnswer,
    Ask,
    Beat,
    Cancel,
    ClusterAnswer,
    Control,
    Done,
    Fetch,
    Heartbeat,
    Hello,
    Introduce,
    JobsAnswer,
    Message,
    Ping,
    Pong,
    Reject,
    Report,
    Revoke,
    SetPolicy,
    SlavesAnswer,
    Submitted,
    Welcome,
)
from hpczmq.model import About, JobState, Metrics, Role, SlaveState
from hpczmq.scheduler import ledger
from hpczmq.scheduler.actions import Note, Plan, Publish
from hpczmq.scheduler.events import Planned, Stop, Unplannable
from hpczmq.scheduler.states import TaskState
from tests.unit.harness import (
    CLIENT,
    World,
    instance,
    slave_hello,
    submission,
    value,
)

STRANGER = b"stranger"


# --- Who may say what ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message", [submission(1), Ack((1,)), Heartbeat(1, Metrics(), (), 0), Ask(1, About.STATUS)]
)
def test_who_is_not_known_is_told_to_introduce_itself(world: World, message: Message) -> None:
    world.say(STRANGER, message)
    assert world.one(Introduce, STRANGER) == Introduce()


def test_anybody_may_ping(world: World) -> None:
    world.say(STRANGER, Ping(7))
    pong = world.one(Pong, STRANGER)
    assert (pong.request, pong.role, pong.name) == (7, Role.MASTER, "hpczmq")


def test_another_protocol_is_refused_with_both_numbers_and_the_remedy(world: World) -> None:
    world.say(STRANGER, slave_hello("s1", protocol=PROTOCOL + 1))
    answer = world.one(Reject, STRANGER)
    assert (answer.request, answer.code) == (0, "protocol")
    assert f"protocol {PROTOCOL + 1}, this master {PROTOCOL}" in answer.reason
    assert "install the same version" in answer.reason
    assert not world.state.slaves
    world.note("s1 (test) speaks protocol")


def test_a_refusal_for_the_protocol_names_the_versions_of_both(world: World) -> None:
    world.state.software = "hpczmq 9"
    world.say(STRANGER, slave_hello("uno", protocol=3))
    told = f"uno (test) speaks protocol 3, this master (hpczmq 9) {PROTOCOL}: install the same"
    assert world.one(Reject, STRANGER).reason.startswith(told)
    world.note("uno (test) speaks")


def test_a_node_of_another_protocol_is_among_the_events_once_however_often_it_tries(
    world: World,
) -> None:
    for _ in range(3):
        world.say(STRANGER, slave_hello("s1", protocol=3))
        assert world.one(Reject, STRANGER).code == "protocol"
    world.note("s1 (test) speaks")
    assert [one.node for one in world.state.happenings] == ["s1"]


def test_a_client_of_another_protocol_is_told_so_itself_and_is_no_event(world: World) -> None:
    world.say(STRANGER, Hello(Role.CLIENT, "me", instance("me"), 3, "test"))
    assert world.one(Reject, STRANGER).code == "protocol"
    assert not world.state.happenings


def test_strangers_of_another_protocol_do_not_fill_the_events(world: World) -> None:
    strangers = 2 * limits.refusals_kept_max
    for number in range(strangers):
        world.say(b"%d" % number, slave_hello(f"s{number}", protocol=3))
    assert len(world.take(Reject)) == strangers
    assert len(world.take(Note)) == len(world.state.happenings) == limits.refusals_kept_max


def test_a_master_does_not_join_a_master(world: World) -> None:
    world.say(STRANGER, Hello(Role.MASTER, "other", instance("other"), PROTOCOL, ""))
    assert world.one(Reject, STRANGER).code == "role"


def test_a_slave_may_not_send_what_clients_send(world: World) -> None:
    peer = world.slave("s1")
    world.say(peer, submission(1))
    assert world.one(Reject, peer).reason == "a slave may not send Submit"
    assert world.state.frames_dropped == 1


def test_a_client_may_not_send_what_slaves_send(world: World) -> None:
    world.client()
    world.say(CLIENT, Report(1, 1, "j1", ()))
    assert world.one(Reject, CLIENT).reason == "a client may not send Report"
    assert world.state.frames_dropped == 1


def test_a_client_s_heartbeat_is_echoed(world: World) -> None:
    world.client()
    world.say(CLIENT, Heartbeat(3, Metrics(), (), 1))
    assert world.one(Beat, CLIENT).sequence == 3


def test_a_memoria_is_named_in_the_status_and_its_alerts_are_taken(world: World) -> None:
    hello = Hello(Role.MEMORIA, "memoria1", instance("m"), PROTOCOL, "", address="tcp://h:5003")
    world.say(b"m", hello)
    assert world.one(Welcome, b"m").control.generation == 1
    world.say(b"m", AlertsAnswer(0, ()))
    world.client()
    world.say(CLIENT, Ask(1, About.STATUS))
    info = world.one(ClusterAnswer, CLIENT).info
    assert (info.memorias, info.clients) == (("tcp://h:5003",), 1)


def test_questions_for_a_memoria_are_sent_there(world: World) -> None:
    world.client()
    world.say(CLIENT, Ask(4, About.ALERTS))
    answer = world.one(Reject, CLIENT)
    assert (answer.request, answer.code) == (4, "not here")


# --- Submit -------------------------------------------------------------------------------------


def test_a_submit_said_twice_is_one_job(world: World) -> None:
    id = world.submit(3)
    world.say(CLIENT, submission(1, 3))
    assert world.one(Submitted, CLIENT) == Submitted(1, id, 3)
    assert list(world.state.jobs) == [id]


def test_a_submit_that_was_planned_twice_is_one_job(world: World) -> None:
    world.client()
    world.say(CLIENT, submission(1))
    plan = world.one(Plan)
    world.do(Planned(plan.peer, plan.submit, [b"t"], "echo"))
    world.do(Planned(plan.peer, plan.submit, [b"t"], "echo"))
    assert [answer.job for answer in world.take(Submitted, CLIENT)] == ["j1", "j1"]


def test_what_the_kernel_refuses_is_refused_with_its_words(world: World) -> None:
    world.client()
    world.say(CLIENT, submission(1))
    world.do(Unplannable(CLIENT, world.one(Plan).submit, "width = 0: must be 1..9"))
    answer = world.one(Reject, CLIENT)
    assert (answer.request, answer.code) == (1, "parameters")
    assert answer.reason == "width = 0: must be 1..9"
    assert not world.state.jobs


def test_a_submit_past_the_bound_of_open_jobs_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "jobs_open_max", 2)
    world.submit()
    world.submit()
    world.say(CLIENT, submission(3))
    answer = world.one(Reject, CLIENT)
    assert (answer.request, answer.code) == (3, "full")
    assert answer.reason == "2 jobs are open: wait for some, or cancel them"


def test_a_job_without_tasks_is_done_at_once(world: World) -> None:
    id = world.submit(0)
    assert world.job(id).state is JobState.DONE
    assert world.fetch(id) == []
    assert world.ended(id).chunks == 0


# --- Questions ----------------------------------------------------------------------------------


def test_a_job_tells_why_it_waits(world: World) -> None:
    id = world.submit()
    world.say(CLIENT, Ask(1, About.JOBS, (id,)))
    assert "no slave is here" in world.one(JobsAnswer, CLIENT).jobs[0].cause
    peer = world.slave("s1", offers=("julia",))
    world.say(CLIENT, Ask(1, About.JOBS))
    assert "no slave offers echo" in world.one(JobsAnswer, CLIENT).jobs[0].cause
    world.say(peer, slave_hello("s1", offers=("echo",)))
    assert world.one(Welcome, peer)
    world.say(CLIENT, Ask(1, About.JOBS))
    assert "every slot is taken" in world.one(JobsAnswer, CLIENT).jobs[0].cause


def test_a_job_s_row_counts_its_tasks_and_times(world: World) -> None:
    peer, id = world.slave(), world.submit(3, name="mine", priority=1)
    world.later(2.0)
    world.finish(peer, world.place_one())
    world.later(5.0)
    world.say(CLIENT, Ask(1, About.JOBS, (id,)))
    (row,) = world.one(JobsAnswer, CLIENT).jobs
    assert (row.name, row.kernel, row.priority, row.params) == ("mine", "echo", 1, b"p")
    assert (row.state, row.tasks, row.done, row.failed) == (JobState.RUNNING, 3, 1, 0)
    assert (row.running, row.waited_s, row.ran_s, row.cause) == (0, 2.0, 5.0, "")


def test_of_more_jobs_than_an_answer_takes_the_newest_are_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some with large parameters are enough for it; the master must not fall over its answer."""
    ids = [world.submit(name="n" * 100) for _ in range(9)]
    monkeypatch.setattr(limits, "body_bytes_max", 2_000)
    world.say(CLIENT, Ask(1, About.JOBS))
    told = [row.id for row in world.one(JobsAnswer, CLIENT).jobs]
    assert 1 < len(told) < 9
    assert told == ids[-len(told) :]
    world.say(CLIENT, Ask(2, About.JOBS, (ids[0],)))
    assert [row.id for row in world.one(JobsAnswer, CLIENT).jobs] == [ids[0]]


@pytest.mark.parametrize("wish", [Ask(2, About.JOBS, ("j9",)), Fetch(2, "j9", 0, 1)])
def test_a_job_that_nobody_knows_is_refused_with_the_remedy(world: World, wish: Message) -> None:
    world.client()
    world.say(CLIENT, wish)
    answer = world.one(Reject, CLIENT)
    assert (answer.request, answer.code) == (2, "unknown job")
    assert "j9" in answer.reason
    assert "hpczmq jobs" in answer.reason


def test_the_cluster_s_row_adds_everything_up(world: World) -> None:
    world.slave("s1", slots=2)
    world.slave("s2")
    world.submit(5)
    assert len(world.place()) == 3
    world.submit()
    world.later(3.0)
    world.say(CLIENT, Ask(1, About.STATUS))
    info = world.one(ClusterAnswer, CLIENT).info
    assert (info.slaves, info.slots, info.up_s, info.policy) == (2, 3, 3.0, "least-loaded")
    assert (info.jobs_queued, info.jobs_running, info.jobs_ended) == (1, 1, 0)
    assert (info.tasks_waiting, info.tasks_running, info.tasks_done) == (3, 3, 0)


def test_slaves_are_listed_in_the_order_of_their_arrival(world: World) -> None:
    world.slave("s2", slots=4)
    world.slave("s1")
    world.client()
    world.say(CLIENT, Ask(1, About.SLAVES))
    rows = world.one(SlavesAnswer, CLIENT).slaves
    assert [(row.name, row.slots, row.state) for row in rows] == [
        ("s2", 4, SlaveState.READY),
        ("s1", 1, SlaveState.READY),
    ]
    world.say(CLIENT, Ask(1, About.SLAVES, ("s1",)))
    assert [row.name for row in world.one(SlavesAnswer, CLIENT).slaves] == ["s1"]


# --- Cancel -------------------------------------------------------------------------------------


def test_a_cancelled_job_leaves_its_slaves_and_its_watchers_know(world: World) -> None:
    peer, id = world.slave(), world.submit(3)
    lease = world.place_one()
    assert world.fetch(id) == []
    world.say(CLIENT, Cancel(5, (id, id)))
    assert world.one(Revoke, peer).leases == (lease.lease,)
    assert world.ended(id).info.cause == "cancelled by a client"
    assert world.one(Done, CLIENT) == Done(5, (id,))
    assert world.job(id).counts[TaskState.CANCELLED] == 3


def test_what_comes_for_a_cancelled_job_is_acknowledged_and_dropped(world: World) -> None:
    peer, id = world.slave(), world.submit()
    lease = world.place_one()
    world.say(CLIENT, Cancel(5, (id,)))
    assert world.one(Revoke, peer)
    assert world.one(Done, CLIENT)
    assert world.report(peer, lease, [value(0)]) is None


def test_cancelling_what_has_ended_does_nothing(world: World) -> None:
    id = world.submit(0)
    world.say(CLIENT, Cancel(5, (id,)))
    assert world.one(Done, CLIENT).names == ()
    assert world.job(id).state is JobState.DONE


def test_cancelling_an_unknown_job_cancels_none(world: World) -> None:
    id = world.submit()
    world.say(CLIENT, Cancel(5, (id, "j9")))
    assert world.one(Reject, CLIENT).request == 5
    assert world.job(id).state is JobState.QUEUED


def test_clear_ends_what_has_not_started_and_nothing_else(world: World) -> None:
    world.slave()
    running, queued = world.submit(), world.submit()
    assert world.place_one().job == running
    world.say(CLIENT, Cancel(5, (), queued=True))
    assert world.one(Done, CLIENT).names == (queued,)
    assert world.job(running).state is JobState.RUNNING


def test_an_order_said_twice_is_carried_out_once_and_answered_twice(world: World) -> None:
    """The answer to the first was lost; a second `clear` would end what came since."""
    first = world.submit()
    world.say(CLIENT, Cancel(5, (), queued=True))
    second = world.submit()
    world.say(CLIENT, Cancel(5, (), queued=True))
    assert world.take(Done, CLIENT) == [Done(5, (first,))] * 2
    assert world.job(second).state is JobState.QUEUED


# --- Control ------------------------------------------------------------------------------------


def test_a_new_policy_is_published_as_a_newer_generation(world: World) -> None:
    world.client()
    world.say(CLIENT, SetPolicy(1, "round-robin"))
    assert world.one(Publish) == Publish(Control(1, 2, "round-robin", False))
    assert world.one(Done, CLIENT) == Done(1, ("round-robin",))


def test_an_unknown_policy_is_refused_with_those_that_there_are(world: World) -> None:
    world.client()
    world.say(CLIENT, SetPolicy(1, "random"))
    answer = world.one(Reject, CLIENT)
    assert answer.code == "policy"
    assert "use one of round-robin, least-loaded" in answer.reason
    assert world.state.control.generation == 1


def test_a_master_that_ends_says_so(world: World) -> None:
    world.do(Stop())
    assert world.one(Publish) == Publish(Control(1, 2, "least-loaded", True))


# --- What can't happen --------------------------------------------------------------------------


def story(error: BaseException) -> list[str]:
    return str(error).rpartition(": ")[2].split("; ")


def test_an_impossible_move_of_a_task_raises_with_its_story(world: World) -> None:
    peer, id = world.slave(), world.submit(2)
    world.finish(peer, world.place_one())
    with pytest.raises(AssertionError, match="DONE → LEASED can't happen: task 0 of j1") as raised:
        ledger.move_task(world.state, world.job(id), 0, TaskState.LEASED, 7.0)
    moves = ["WAITING → LEASED at 1000", "LEASED → DONE at 1000", "DONE → LEASED at 7"]
    assert [part.partition(".")[0] for part in story(raised.value)] == moves


def test_an_impossible_move_of_a_job_raises(world: World) -> None:
    job = world.job(world.submit(0))
    with pytest.raises(AssertionError, match="DONE → RUNNING can't happen: job j1"):
        ledger.move_job(job, JobState.RUNNING, 0.0)
