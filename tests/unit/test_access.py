"""Who may do what with the master: by the key of a connection, whatever is said on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpczmq import limits, roles
from hpczmq.identity import ANYBODY, KeyRole, Member, newcomer
from hpczmq.messages import (
    KINDS,
    PROTOCOL,
    Access,
    Ask,
    Cancel,
    Done,
    Drain,
    Enrol,
    Enrolled,
    EventsAnswer,
    ExplainAnswer,
    Fetch,
    Hello,
    JobsAnswer,
    Message,
    Ping,
    Pong,
    Reject,
    SetPolicy,
    SlavesAnswer,
    Submitted,
    Taken,
    TraceAnswer,
    Welcome,
)
from hpczmq.model import About, Role
from hpczmq.scheduler import actions, events
from tests.unit.harness import World, instance, slave_hello, submission

R = KeyRole


def member(name: str, role: KeyRole) -> Member:
    return Member(name, role, name.encode().ljust(32, b"."))


ADMIN, ANA, BEN = member("admin", R.ADMIN), member("ana", R.CLIENT), member("ben", R.CLIENT)
VERA, UNO, DOS = member("vera", R.VIEWER), member("uno", R.SLAVE), member("dos", R.SLAVE)
MEMORIA = member("memoria1", R.MEMORIA)
READERS = (ADMIN, ANA, BEN, VERA, MEMORIA)


@pytest.fixture
def keyed(world: World) -> World:
    """A master that asks for keys."""
    world.do(events.AccessChanged(Access(READERS, b""), frozenset()))
    return world


def say(world: World, who: Member, message: Message) -> None:
    world.do(events.Received(who.name.encode(), message, (), who))


def joins(world: World, who: Member) -> Access:
    """Somebody joins as what the key is for; what is told about keys."""
    peer = who.name.encode()
    role = {R.SLAVE: Role.SLAVE, R.MEMORIA: Role.MEMORIA}.get(who.role, Role.CLIENT)
    slots = {"slots": 1, "capabilities": ("echo",)} if role is Role.SLAVE else {}
    say(world, who, Hello(role, who.name, instance(who.name), PROTOCOL, "test", **slots))  # type: ignore[arg-type]  # a slave's own
    world.one(Welcome, peer)
    if role is Role.SLAVE:
        world.note("joined")
    return world.one(Access, peer)


def hands_in(world: World, who: Member, number: int) -> str:
    say(world, who, submission(number))
    plan = world.one(actions.Plan)
    assert plan.owner == who.key
    world.do(events.Planned(plan.peer, plan.submit, [b"t"], "echo", owner=plan.owner))
    return world.one(Submitted, who.name.encode()).job


def refused(world: World, who: Member, message: Message) -> Reject:
    say(world, who, message)
    return world.one(Reject, who.name.encode())


# --- The table ----------------------------------------------------------------------------------


def test_only_what_the_table_has_may_be_said() -> None:
    sent_by_nodes = {
        "Hello", "Ping", "Goodbye", "Heartbeat", "Report", "Return", "Submit", "Fetch", "Ask",
        "Cancel", "SetPolicy", "Drain", "Taken", "AlertsAnswer", "Enrol",
    }  # fmt: skip
    assert {kind.__name__ for kind in roles.MAY_SAY} >= sent_by_nodes
    assert set(roles.MAY_SAY) <= set(KINDS.values())
    assert set(roles.MAY_BE) == set(Role)


@pytest.mark.parametrize("who", [VERA, UNO, MEMORIA, member("s", R.STANDBY), member("r", R.RELAY)])
@pytest.mark.parametrize(
    "message", [submission(1), Cancel(2, ()), SetPolicy(3, "round-robin"), Drain(4, ("uno",))]
)
def test_who_only_looks_or_works_gives_no_orders(
    keyed: World, who: Member, message: Message
) -> None:
    joins(keyed, who)
    reject = refused(keyed, who, message)
    assert (reject.code, reject.request) == ("role", message.request)  # type: ignore[union-attr]  # all of these have one
    assert f"the key of {who.name} has the role {who.role.name.lower()}" in reject.reason
    assert keyed.state.control.policy == "least-loaded"


@pytest.mark.parametrize("role", [Role.SLAVE, Role.MEMORIA, Role.MASTER])
def test_a_client_is_no_slave_whatever_it_says(keyed: World, role: Role) -> None:
    reject = refused(keyed, ANA, Hello(role, "uno", instance("uno"), PROTOCOL, "test"))
    assert (reject.request, reject.code) == (0, "role")
    assert not keyed.state.slaves
    assert not keyed.state.clients


def test_a_slave_is_no_client(keyed: World) -> None:
    reject = refused(keyed, UNO, Hello(Role.CLIENT, "me", instance("me"), PROTOCOL, "test"))
    assert "may not be a client: admin, client, viewer, standby, relay may" in reject.reason


def test_a_slave_is_not_another_slave(keyed: World) -> None:
    joins(keyed, UNO)
    say(keyed, DOS, replace(slave_hello("uno"), capabilities=("echo",)))
    assert keyed.one(Reject, b"dos").code == "role"
    assert keyed.record("uno").peer == b"uno"


def test_where_no_keys_are_asked_for_everybody_may_do_everything(world: World) -> None:
    world.slave()
    job = world.submit()
    world.say(b"client", Cancel(7, (job,)))
    assert world.one(Done).names == (job,)


# --- Whose job it is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda job: Cancel(5, (job,)),
        lambda job: Cancel(5, (job,), ended=True),
        lambda job: Fetch(5, job, 0, 1),
        lambda job: Ask(5, About.JOBS, (job,)),
        lambda job: Ask(5, About.EXPLAIN, (job,)),
        lambda job: Ask(5, About.EXPLAIN, (f"{job}/0",)),
    ],
)
def test_to_another_client_a_job_is_not_there(keyed: World, ask: object) -> None:
    assert callable(ask)
    for who in (ANA, BEN):
        joins(keyed, who)
    job = hands_in(keyed, ANA, 1)
    reject = refused(keyed, BEN, ask(job))
    assert (reject.request, reject.code) == (5, "unknown job")
    assert not keyed.job(job).state.ended


def test_a_client_has_its_own_jobs_and_an_admin_and_a_viewer_see_all(keyed: World) -> None:
    for who in (ANA, BEN, ADMIN, VERA):
        joins(keyed, who)
    hers, his = hands_in(keyed, ANA, 1), hands_in(keyed, BEN, 2)
    for who, seen in ((ANA, [hers]), (BEN, [his]), (ADMIN, [hers, his]), (VERA, [hers, his])):
        say(keyed, who, Ask(5, About.JOBS))
        assert [row.id for row in keyed.one(JobsAnswer).jobs] == seen
    say(keyed, VERA, Ask(6, About.EXPLAIN, (hers,)))
    assert keyed.one(ExplainAnswer).id == hers


def test_clear_ends_what_is_ones_own(keyed: World) -> None:
    for who in (ANA, BEN, ADMIN):
        joins(keyed, who)
    hers, his = hands_in(keyed, ANA, 1), hands_in(keyed, BEN, 2)
    say(keyed, BEN, Cancel(5, (), queued=True))
    assert keyed.one(Done).names == (his,)
    say(keyed, BEN, Cancel(6, (), ended=True))
    assert keyed.one(Done).names == (his,)
    keyed.take(actions.Forget)
    say(keyed, ADMIN, Cancel(5, (), queued=True))
    assert keyed.one(Done).names == (hers,)


def test_a_uid_of_somebody_else_is_no_way_to_a_job(keyed: World) -> None:
    for who in (ANA, BEN):
        joins(keyed, who)
    hands_in(keyed, ANA, 1)
    assert refused(keyed, BEN, submission(1)).code == "uid"
    say(keyed, ANA, submission(1))
    assert keyed.one(Submitted).job == "j1"


def test_an_answer_to_an_order_is_not_given_to_who_takes_the_same_instance(keyed: World) -> None:
    for who in (ANA, BEN):
        joins(keyed, who)
    job = hands_in(keyed, ANA, 1)
    say(keyed, ANA, Cancel(5, (job,)))
    assert keyed.one(Done).names == (job,)
    keyed.state.clients[b"ben"].instance = instance("ana")
    assert refused(keyed, BEN, Cancel(5, (job,))).code == "unknown job"


def test_somebody_elses_results_are_not_taken(keyed: World) -> None:
    for who in (ANA, BEN):
        joins(keyed, who)
    job = hands_in(keyed, ANA, 1)
    assert refused(keyed, BEN, Taken(job, True)).code == "unknown job"


# --- What nodes are told, and revocation --------------------------------------------------------


def test_who_has_a_port_of_its_own_hears_whom_to_answer(keyed: World) -> None:
    assert joins(keyed, UNO) == Access(READERS, b"")
    assert joins(keyed, MEMORIA) == Access(READERS, b"")
    assert joins(keyed, ANA) == Access((), b"")


def test_a_node_is_reached_by_its_own_key_whatever_it_says(keyed: World) -> None:
    hello = replace(slave_hello("uno"), address=f"tcp://10.0.0.7:5002#{'00' * 32}")
    say(keyed, UNO, hello)
    keyed.one(Welcome)
    keyed.one(Access)
    keyed.note("joined")
    say(keyed, UNO, Ping(1))
    keyed.one(Pong)
    joins(keyed, ANA)
    say(keyed, ANA, Ask(2, About.SLAVES))
    (row,) = keyed.one(SlavesAnswer).slaves
    assert row.address == f"tcp://10.0.0.7:5002#{UNO.key.hex()}"


def test_who_loses_its_key_is_out_and_its_tasks_go_elsewhere(keyed: World) -> None:
    for who in (UNO, ANA, ADMIN):
        joins(keyed, who)
    job = hands_in(keyed, ADMIN, 1)
    assert [peer for peer, _ in keyed.place()] == [b"uno"]
    left = tuple(one for one in READERS if one is not ANA)
    keyed.do(events.AccessChanged(Access(left, b"k" * 32), frozenset({UNO.key, ANA.key})))
    assert keyed.one(Access) == Access((), b"k" * 32)  # the admin, who is still here
    notes = " ".join(note.text for note in keyed.take(actions.Note))
    assert "slave uno is lost (its key was revoked)" in notes
    assert "client ana is cut off" in notes
    assert list(keyed.state.clients) == [b"admin"]
    assert keyed.job(job).waiting == 1
    # What still comes from there, if anything: whoever has no key is a newcomer.
    assert refused(keyed, newcomer(UNO.key), slave_hello("uno")).code == "role"
    joins(keyed, DOS)
    assert [peer for peer, _ in keyed.place()] == [b"dos"]


# --- Joining by a token -------------------------------------------------------------------------


def test_a_newcomer_may_only_join(keyed: World) -> None:
    stranger = newcomer(b"n" * 32)
    for message in (Ping(1), submission(1), Ask(3, About.STATUS)):
        keyed.do(events.Received(b"new", message, (), stranger))
        assert "this key is none of the cluster's" in keyed.one(Reject, b"new").reason
    keyed.do(events.Received(b"new", Enrol(4, b"token", "tres"), (), stranger))
    asked = keyed.one(actions.Enlist)
    assert asked == actions.Enlist(b"new", 4, b"token", "tres", b"n" * 32)
    keyed.do(events.Enlisted(b"new", 4, "tres-2", R.SLAVE))
    assert keyed.one(Enrolled, b"new") == Enrolled(4, "tres-2", R.SLAVE)
    keyed.do(events.Enlisted(b"new", 5, "", R.NEWCOMER, "token = …: is used up"))
    assert keyed.one(Reject, b"new") == Reject(5, "token", "token = …: is used up")


def test_a_member_does_not_join_again(keyed: World) -> None:
    assert refused(keyed, UNO, Enrol(1, b"token", "uno")).code == "role"


def test_who_tries_tokens_is_soon_not_heard(keyed: World) -> None:
    stranger = newcomer(b"n" * 32)
    for request in range(20):
        keyed.do(events.Received(b"new", Enrol(request, b"guess", "x"), (), stranger))
    tries = keyed.take(actions.Enlist)
    assert len(tries) == limits.useless_messages_max // limits.token_try_messages
    assert keyed.one(Reject, b"new").code == "flood"


def test_anybody_has_no_key_and_every_right() -> None:
    assert not roles.refusal(ANYBODY, SetPolicy(1, "x"))
    assert roles.owns(ANYBODY, b"somebody's")


def test_a_client_is_told_when_and_what_of_its_own_jobs_and_a_viewer_of_all(keyed: World) -> None:
    for who in (ANA, BEN, VERA):
        joins(keyed, who)
    mine, other = hands_in(keyed, ANA, 1), hands_in(keyed, BEN, 2)
    assert refused(keyed, ANA, Ask(5, About.TRACE, (other,))).code == "unknown job"
    for who, seen in ((ANA, {mine}), (BEN, {other}), (VERA, {mine, other})):
        say(keyed, who, Ask(6, About.EVENTS))
        told = keyed.one(EventsAnswer, who.name.encode()).events
        assert {event.job for event in told} == seen
        for id in seen:
            say(keyed, who, Ask(7, About.TRACE, (id,)))
            assert keyed.one(TraceAnswer, who.name.encode()).info.id == id
