"""What the master takes in, keeps and sends, in bytes: each has a bound, and a word for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpczmq import limits
from hpczmq.items import Items
from hpczmq.messages import (
    PROTOCOL,
    Ask,
    Assign,
    Cancel,
    Done,
    Ended,
    ExplainAnswer,
    Fetch,
    Hello,
    Introduce,
    JobsAnswer,
    Reject,
    Report,
    Submitted,
    Taken,
    Welcome,
)
from hpczmq.model import About, JobState, Outcome, Role, Status
from hpczmq.scheduler import admission
from hpczmq.scheduler.actions import Forget, Plan
from hpczmq.scheduler.events import Choked, Planned, Tick, Turn, Unreachable, Unwritten
from tests.unit.harness import CLIENT, World, instance, slave_hello, submission, value

KIB, MIB = limits.KIB, limits.MIB


def refused(world: World, code: str = "full") -> str:
    """Why the client was refused."""
    reject = world.one(Reject, CLIENT)
    assert reject.code == code
    return reject.reason


def big(index: int, kib: int = 1) -> Outcome:
    """A result of so many KiB; it took so long that each task is a lease of its own."""
    return Outcome(index, Status.VALUE, 1.0, b"x" * (kib * KIB))


def finish_all(world: World, peer: bytes, kib: int = 1) -> None:
    """Run all that waits, a task a lease, with results of so many KiB."""
    while leases := world.place():
        for _, lease in leases:
            assert world.report(peer, lease, [big(task.index, kib) for task in lease.tasks])


# --- Submits ------------------------------------------------------------------------------------


def test_a_submit_past_the_bytes_of_open_jobs_is_refused_and_told_what_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "jobs_open_bytes_max", 20 * KIB)
    world.submit(1)
    wish = replace(submission(100), params=b"p" * (13 * KIB))
    world.say(CLIENT, wish)
    assert refused(world) == (
        "open jobs take 4.0 KiB of 20.0 KiB, and this one 17.0 KiB: wait for some, or cancel them"
    )
    world.say(CLIENT, replace(wish, params=b"p" * (11 * KIB)))
    assert world.one(Plan), "there is room for this one"


def test_tasks_count_once_the_kernel_has_said_how_many_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "jobs_open_bytes_max", 20 * KIB)
    wish = submission(100)
    world.client()
    world.say(CLIENT, wish)
    plan = world.one(Plan)
    world.do(Planned(plan.peer, plan.submit, [b"t"] * (17 * KIB), "echo"))
    assert "this one 21.0 KiB" in refused(world)
    assert not world.state.jobs
    world.do(Planned(plan.peer, plan.submit, [b"t"] * (15 * KIB), "echo"))
    assert world.one(Submitted).tasks == 15 * KIB


def test_an_order_of_the_tasks_counts_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "jobs_open_bytes_max", 20 * KIB)
    assert not admission.refusal(world.state, submission(1), 2 * KIB, False)
    assert "22.0 KiB" in admission.refusal(world.state, submission(1), 2 * KIB, True)


def test_a_job_that_has_ended_makes_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "jobs_open_bytes_max", 10 * KIB)
    first = world.submit(1)
    world.submit(1)
    world.say(CLIENT, submission(100))
    assert refused(world)
    world.say(CLIENT, Cancel(5, (first,)))
    assert world.one(Done).names == (first,)
    world.say(CLIENT, submission(100))
    assert world.one(Plan)


def test_a_million_items_weigh_what_their_bytes_weigh(world: World) -> None:
    items = Items.of([b"12345678"] * 1_000_000)
    wish = replace(submission(1), items=items)
    weight = admission.weight_bytes(wish, len(items), False)
    assert weight < 14 * 1_000_000, "8 of the item, 4 of its size, 1 of its state"


# --- Ended jobs ---------------------------------------------------------------------------------


def test_ended_jobs_are_bounded_by_what_they_take(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "jobs_ended_bytes_max", 15 * KIB)
    ids = [world.submit(1) for _ in range(4)]
    world.say(CLIENT, Cancel(5, tuple(ids)))
    assert world.one(Done).names == tuple(ids)
    assert [action.job for action in world.take(Forget)] == ids[:1]


def test_what_was_taken_is_forgotten_before_what_nobody_has(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "jobs_ended_max", 2)
    peer, ids = world.slave(), [world.submit(1) for _ in range(3)]
    for _ in ids[:2]:
        ((_, lease),) = world.place()
        world.finish(peer, lease)
    assert world.fetch(ids[1]) == [0]
    assert world.ended(ids[1])
    world.say(CLIENT, Taken(ids[1], True))
    ((_, lease),) = world.place()
    world.finish(peer, lease)
    assert world.one(Forget).job == ids[1]


# --- Results ------------------------------------------------------------------------------------


def test_full_of_results_nothing_is_placed_or_taken_in_until_some_are_taken(world: World) -> None:
    world.state.results_bytes_max = 3 * KIB
    peer, first = world.slave(), world.submit(3)
    second = world.submit(1, priority=3)
    finish_all(world, peer)
    world.note("nothing new is placed", "results take 3.0 KiB of 3.0 KiB")
    assert world.job(second).state is JobState.QUEUED
    world.say(CLIENT, submission(100))
    assert refused(world) == (
        "results take 3.0 KiB of 3.0 KiB: fetch what has ended, forget it with"
        " `hpczmq clear --ended`, or raise HPCZMQ_RESULTS"
    )
    world.say(CLIENT, Ask(3, About.JOBS, (second,)))
    (row,) = world.one(JobsAnswer).jobs
    assert row.cause.startswith("waits: results take")
    assert world.fetch(first) == [0, 1, 2]
    assert world.ended(first).info.state is JobState.DONE
    assert not world.place(), "it is on its way, and may be lost"
    world.say(CLIENT, Taken(first, True))
    assert world.one(Forget).job == first
    world.note("there is room again")
    assert world.place_one().job == second


def test_what_runs_comes_in_when_results_are_full_and_nothing_is_lost(world: World) -> None:
    world.state.results_bytes_max = KIB
    peer, id = world.slave(slots=3), world.submit(4)
    leases = [lease for _, lease in world.place()]
    assert len(leases) == 3
    for lease in leases:
        assert world.report(peer, lease, [big(task.index) for task in lease.tasks])
    world.note("nothing new is placed")
    assert world.state.results_bytes == 3 * KIB, "above its bound by what was out"
    assert not world.place()
    assert world.fetch(id) == [0, 1, 2]


def test_results_of_cancelled_jobs_make_room(world: World) -> None:
    world.state.results_bytes_max = 2 * KIB
    peer, id = world.slave(), world.submit(3)
    finish_all(world, peer)
    world.note("nothing new is placed")
    world.say(CLIENT, Cancel(5, (id,)))
    assert world.one(Done).names == (id,)
    world.do(Tick())
    world.take(object)
    world.say(CLIENT, Taken("j9", False))
    assert world.one(Forget).job == id
    world.note("there is room again")


def test_ended_jobs_can_be_forgotten_on_demand(world: World) -> None:
    peer, first = world.slave(), world.submit(1)
    finish_all(world, peer)
    second, third = world.submit(1), world.submit(1)
    world.say(CLIENT, Cancel(5, (second,)))
    assert world.one(Done)
    world.say(CLIENT, Cancel(6, (first, third), ended=True))
    assert world.one(Done).names == (first,), "one that is open is none of its business"
    assert world.one(Forget).job == first
    world.say(CLIENT, Cancel(7, (), ended=True))
    assert world.one(Done).names == (second,)
    assert world.one(Forget).job == second
    assert set(world.state.jobs) == {third}
    assert world.state.results_bytes == 0


def test_results_that_the_disk_does_not_take_stop_placement_in_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "unwritten_bytes_max", 2 * KIB)
    peer, id = world.slave(), world.submit(3)
    for _ in range(2):
        assert world.report(peer, world.place_one(), [big(world.job(id).chunks)])
        world.do(Unwritten(id, KIB))
    world.note("2.0 KiB of results are in memory, since the master's disk does not take them")
    assert not world.place()
    world.do(Unwritten("j9", KIB))
    world.say(CLIENT, Cancel(5, (id,)))
    assert world.one(Done)
    world.say(CLIENT, Cancel(6, (), ended=True))
    assert world.one(Done)
    assert world.one(Forget)
    world.note("there is room again")
    assert world.state.unwritten_bytes == 0


# --- Leases -------------------------------------------------------------------------------------


def heavy(world: World, tasks: int, kib: int) -> str:
    """A job of which nothing is known but that its tasks are short and their input is heavy."""
    world.client()
    world.say(CLIENT, submission(50))
    plan = world.one(Plan)
    world.do(Planned(plan.peer, plan.submit, [b"x" * (kib * KIB)] * tasks, "echo"))
    return world.one(Submitted).job


def test_a_lease_carries_no_more_bytes_than_its_bound_and_the_rest_comes_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "lease_bytes_max", 10 * KIB)
    peer, id = world.slave(), heavy(world, 30, 4)
    world.finish(peer, world.place_one(), seconds=0.0001)
    done, sizes = 1, []
    while leases := world.place():
        for _, lease in leases:
            assert [task.index for task in lease.tasks] == list(
                range(done, done + len(lease.tasks))
            )
            sizes.append(len(lease.tasks))
            done += len(lease.tasks)
            world.finish(peer, lease, seconds=0.0001)
    assert max(sizes) == 3, "two are below the bound, and one more is above it"
    assert world.job(id).state is JobState.DONE


def test_tasks_of_the_largest_size_still_make_a_message(world: World) -> None:
    peer, _ = world.slave(), heavy(world, 20, 8 * KIB)
    world.finish(peer, world.place_one(), seconds=0.0001)
    world.do(Turn())
    assert all(len(lease.tasks) == 1 for lease in world.take(Assign))


# --- Clients that don't read ----------------------------------------------------------------------


def with_results(world: World, chunks: int, kib: int) -> tuple[bytes, str]:
    """A job with so many chunks of so many KiB, and its slave."""
    peer, id = world.slave(), world.submit(chunks)
    finish_all(world, peer, kib)
    return peer, id


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may have 10 KiB on its way."""
    monkeypatch.setattr(limits, "client_backlog_bytes_max", 10 * KIB)


@pytest.mark.usefixtures("narrow")
def test_a_client_is_sent_so_many_bytes_and_more_as_it_asks_beyond_them(world: World) -> None:
    _, id = with_results(world, 9, 4)
    assert world.fetch(id) == [0, 1]
    assert world.fetch(id, 1) == [2]
    assert world.fetch(id, 3) == [3, 4]
    assert world.fetch(id, 5) == [5, 6]
    assert world.fetch(id, 7) == [7, 8]
    assert world.ended(id)


@pytest.mark.usefixtures("narrow")
def test_a_chunk_that_is_larger_than_the_bound_goes_alone(world: World) -> None:
    _, id = with_results(world, 2, 11)
    assert world.fetch(id) == [0]
    assert world.fetch(id, 1) == [1]
    assert world.ended(id)


@pytest.mark.usefixtures("narrow")
def test_all_jobs_of_a_client_share_its_bytes_and_each_gets_its_turn(world: World) -> None:
    peer, first = with_results(world, 3, 4)
    second = world.submit(3)
    finish_all(world, peer, 4)
    assert world.fetch(first, request=1) == [0, 1]
    assert world.fetch(second, request=2) == []
    world.say(CLIENT, Fetch(1, first, 1, 64))
    assert world.delivered(second) == [0], "who has waited longest goes on first"
    world.say(CLIENT, Fetch(2, second, 1, 64))
    assert world.delivered(first) == [2]
    assert world.ended(first)
    world.say(CLIENT, Taken(first, True))
    assert world.delivered(second) == [1, 2]
    assert world.ended(second)
    world.say(CLIENT, Taken(second, False))
    assert world.state.backlog_bytes == 0


@pytest.mark.usefixtures("narrow")
def test_others_who_do_not_read_do_not_stop_a_client(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "clients_backlog_bytes_max", 10 * KIB)
    _, id = with_results(world, 3, 4)
    other = world.client(b"other")
    world.say(other, Fetch(1, id, 0, 64))
    assert len(world.take(type(world.unseen[0]))) == 2
    for cursor in range(3):
        assert world.fetch(id, cursor) == [cursor], "one at a time, but on and on"
    assert world.ended(id)


def test_what_may_still_be_on_its_way_is_not_sent_again(world: World) -> None:
    _, id = with_results(world, 4, KIB)
    assert world.fetch(id, request=1) == [0, 1, 2, 3]
    assert world.ended(id)
    world.later(3.9)
    assert world.fetch(id, request=2) == [], "4 MiB take 4 s on a slow link"
    assert world.ended(id).request == 2
    world.later(0.2)
    assert world.fetch(id, request=3) == [0, 1, 2, 3]
    assert world.ended(id)


def test_a_client_whose_bytes_do_not_move_is_cut_off_and_told_now_and_when_it_is_back(
    world: World,
) -> None:
    _, id = with_results(world, 2, KIB)
    assert world.fetch(id) == [0, 1]
    assert world.ended(id)
    world.later(limits.client_still_s - 1)
    world.say(CLIENT, Ask(7, About.JOBS))
    world.do(Tick())
    world.take(object)
    assert world.state.watchers
    world.later(2)
    world.record("s1").heard_s = world.now  # the slave is not what this is about
    world.do(Tick())
    world.note("client me is cut off", "2.0 MiB wait")
    told = world.one(Reject, CLIENT)
    assert (told.request, told.code) == (0, "backlog")
    assert told.reason.startswith("cut off: nothing was read for 21 s, 2.0 MiB wait")
    world.take(object)
    assert not world.state.watchers
    assert world.state.backlog_bytes == 0
    assert id in world.state.jobs, "its results are still to be had"
    world.do(Unreachable(CLIENT))
    world.say(b"again", Hello(Role.CLIENT, "me", instance("me"), PROTOCOL, "test"))
    assert world.one(Welcome, b"again")
    assert world.one(Reject, b"again").reason == told.reason
    world.say(b"again", Fetch(1, id, 0, 64))
    assert len(world.take(object)) == 3, "two chunks and the end"


def test_a_client_that_was_told_is_not_told_again(world: World) -> None:
    _, id = with_results(world, 1, 1)
    assert world.fetch(id) == [0]
    assert world.ended(id)
    world.do(Choked(CLIENT))
    world.note("it does not read what it is sent")
    assert world.one(Reject, CLIENT).code == "backlog"
    world.later(1.0)
    assert world.fetch(id, request=10) == [0]
    assert world.ended(id)
    world.say(b"again", Hello(Role.CLIENT, "me", instance("me"), PROTOCOL, "test"))
    assert world.one(Welcome, b"again")


def test_a_connection_that_broke_since_nobody_read_is_told_of(world: World) -> None:
    _, id = with_results(world, 1, 1)
    assert world.fetch(id) == [0]
    assert world.ended(id)
    world.later(limits.connection_silent_s + 1)
    world.do(Unreachable(CLIENT))
    world.note("cut off: nothing was read for 5 s")
    assert world.one(Reject)
    assert not world.state.clients
    assert world.state.cut_off


def test_a_slave_that_takes_no_more_is_not_a_client(world: World) -> None:
    world.do(Choked(world.slave()))


# --- Nodes --------------------------------------------------------------------------------------


def test_slaves_and_clients_past_their_bounds_are_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "slaves_max", 1)
    monkeypatch.setattr(limits, "clients_max", 1)
    peer, client = world.slave(), world.client()
    world.say(b"s2", slave_hello("s2"))
    assert world.one(Reject, b"s2").reason.startswith("1 slaves are here: try later")
    world.say(b"c2", Hello(Role.CLIENT, "you", instance("you"), PROTOCOL, "test"))
    assert world.one(Reject, b"c2").code == "full"
    world.say(peer, slave_hello("s1"))
    world.say(client, Hello(Role.CLIENT, "me", instance("me"), PROTOCOL, "test"))
    assert len(world.take(Welcome)) == 2, "who is here stays"


def test_deadlines_of_jobs_that_have_ended_are_not_kept_until_they_are_due(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "alarms_kept", 10)
    world.state.alarms_max = 10
    kept = world.submit(1, deadline_s=1e6)
    for _ in range(50):
        id = world.submit(1, deadline_s=1e5)
        world.say(CLIENT, Cancel(5, (id,)))
        world.take(object)
        world.state.orders.clear()
    assert len(world.state.alarms) <= 11
    assert kept in {alarm[2] for alarm in world.state.alarms}


# --- Another queue ------------------------------------------------------------------------------

OTHER = b"another queue..."


def test_what_is_about_another_queue_acts_on_nothing(world: World) -> None:
    peer, id = world.slave(), world.submit(2)
    lease = world.place_one()
    world.say(peer, Report(1, lease.lease, id, (value(0),), queue=OTHER))
    assert world.one(Introduce, peer)
    assert world.job(id).counts[0] == 1, "nothing came in"
    world.say(CLIENT, Fetch(4, id, 0, 1, OTHER))
    assert refused(world, "queue") == "the master was started anew, without its jobs"
    world.say(CLIENT, Cancel(5, (id,), queue=OTHER))
    assert refused(world, "queue")
    assert not world.job(id).state.ended
    assert world.fetch(id) == []
    world.say(CLIENT, Taken(id, True, OTHER))
    assert world.state.watchers


def test_an_end_that_was_told_is_no_proof_that_it_arrived(world: World) -> None:
    _, id = with_results(world, 1, 1)
    assert world.fetch(id) == [0]
    assert isinstance(world.ended(id), Ended)
    assert not world.job(id).taken


# --- What is remembered ---------------------------------------------------------------------------


def test_of_very_many_orders_the_oldest_answers_are_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "orders_known_max", 3)
    world.client()
    for request in range(1, 9):
        world.say(CLIENT, Cancel(request, ()))
    assert len(world.take(Done)) == 8
    assert [request for _, _, request in world.state.orders] == [6, 7, 8]


def test_of_very_many_clients_that_were_cut_off_the_oldest_are_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "orders_known_max", 2)
    for number in range(4):
        peer = f"c{number}".encode()
        world.say(peer, Hello(Role.CLIENT, peer.decode(), instance(peer.decode()), PROTOCOL, ""))
        world.do(Choked(peer))
    world.take(object)
    assert list(world.state.cut_off) == [instance("c2"), instance("c3")]


def test_of_very_many_strikes_the_oldest_are_forgotten(world: World) -> None:
    world.slave()
    strikes = world.record("s1").strikes
    strikes.extend(range(limits.strikes_max + 5))
    assert (len(strikes), strikes[0]) == (limits.strikes_max, 5)


def test_a_job_asks_for_more_than_there_is_and_an_answer_says_so(world: World) -> None:
    world.state.results_bytes_max = 1
    peer, id = world.slave(), world.submit(2)
    world.finish(peer, world.place_one())
    world.note("nothing new is placed")
    world.say(CLIENT, Ask(3, About.EXPLAIN, (id,)))
    reasons = world.one(ExplainAnswer).reasons
    assert sum("results take 1 bytes of 1 bytes" in reason for reason in reasons) == 1
