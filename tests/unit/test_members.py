"""Slaves and clients that join, beat, fall silent, leave and come back, and their leases."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.messages import (
    PROTOCOL,
    Ask,
    Beat,
    Control,
    Goodbye,
    Heartbeat,
    Hello,
    Introduce,
    Revoke,
    Sample,
    SetPolicy,
    SlavesAnswer,
    Welcome,
)
from hpczmq.messages import Done as Carried
from hpczmq.model import About, Metrics, Role, SlaveState
from hpczmq.scheduler.actions import Note, Publish
from hpczmq.scheduler.events import Tick, Unreachable
from hpczmq.scheduler.states import SLAVE_MOVES, check
from tests.unit.harness import CLIENT, World, instance, slave_hello, value

BEAT_S = limits.heartbeat_s_default
GRACE_S = limits.resend_heartbeats * BEAT_S


def beat(world: World, peer: bytes, *leases: int, sequence: int = 1) -> None:
    """A heartbeat comes and is echoed; nothing else follows from it but its sample."""
    world.say(peer, Heartbeat(sequence, Metrics(load=0.5), leases, world.state.control.generation))
    assert world.one(Beat, peer).sequence == sequence
    assert world.one(Sample) == Sample(peer.decode(), instance(peer.decode()), Metrics(load=0.5))


def tick(world: World, seconds: float) -> None:
    """Time passes; the control state is published each heartbeat."""
    world.later(seconds)
    world.do(Tick())
    for message in world.take(Control):
        assert message == world.state.control


# --- Joining ------------------------------------------------------------------------------------


def test_a_slave_is_welcomed_with_the_state_of_the_cluster(world: World) -> None:
    world.say(b"p", slave_hello("s1", slots=3))
    world.note("slave s1 joined with 3 slots")
    assert world.one(Welcome, b"p") == Welcome(
        "hpczmq", bytes(16), True, 1, BEAT_S, 0, Control(1, 1, "least-loaded", False)
    )


def test_a_slave_of_other_software_and_the_same_protocol_works_and_is_seen(world: World) -> None:
    world.state.software = "hpczmq 9"
    world.say(b"p", slave_hello("s1"))
    world.note("slave s1 joined with 1 slots; it runs test, not hpczmq 9")
    assert world.one(Welcome, b"p")
    world.client()
    world.say(CLIENT, Ask(3, About.SLAVES))
    assert [row.software for row in world.one(SlavesAnswer).slaves] == ["test"]


def test_a_slave_of_the_same_software_joins_without_a_word_about_it(world: World) -> None:
    world.state.software = "test"
    world.say(b"p", slave_hello("s1"))
    assert world.one(Note).text == "slave s1 joined with 1 slots"
    assert world.one(Welcome, b"p")


def test_a_hello_said_twice_is_one_slave_and_keeps_what_is_under_way(world: World) -> None:
    peer = world.slave()
    world.submit()
    assert world.place()
    world.say(peer, slave_hello("s1"))
    assert world.one(Welcome, peer)
    assert len(world.state.slaves) == 1
    assert len(world.state.leases) == 1, "the hello may be older than the lease"


def test_a_slave_that_comes_back_keeps_the_leases_it_names_and_loses_the_others(
    world: World,
) -> None:
    world.slave("s1", slots=2)
    id = world.submit(2)
    (_, kept), (_, lost) = world.place()
    world.say(b"new", slave_hello("s1", slots=2, leases=(kept.lease,)))
    world.note(f"lease {lost.lease} never reached s1")
    assert world.one(Welcome, b"new")
    assert set(world.state.leases) == {kept.lease}
    assert world.job(id).waiting == 1
    assert world.state.peers == {b"new": instance("s1")}
    ((to, _),) = world.place()
    assert to == b"new"


def test_what_the_old_connection_still_says_is_asked_to_introduce_itself(world: World) -> None:
    old = world.slave("s1")
    world.say(b"new", slave_hello("s1"))
    assert world.one(Welcome, b"new")
    world.say(old, Heartbeat(1, Metrics(), (), 1))
    assert world.one(Introduce, old)


def test_leases_that_the_master_does_not_know_are_revoked_at_the_hello(world: World) -> None:
    world.say(b"p", slave_hello("s1", leases=(7, 8)))
    world.note("s1 joined")
    assert world.one(Revoke, b"p").leases == (7, 8)
    assert world.one(Welcome, b"p")


def test_a_connection_that_speaks_for_another_process_has_lost_the_first_one(
    world: World,
) -> None:
    peer = world.slave("s1")
    id = world.submit()
    assert world.place()
    world.say(peer, slave_hello("s2"))
    assert [note.text for note in world.take(Note)] == [
        "slave s2 joined with 1 slots",
        "slave s1 is lost (its connection speaks for another process), 1 leases",
    ]
    assert world.one(Welcome, peer)
    assert world.job(id).waiting == 1


def test_a_connection_can_become_a_client_s_and_a_slave_s_again(world: World) -> None:
    peer = world.slave("s1")
    world.say(peer, Hello(Role.CLIENT, "me", instance("me"), PROTOCOL, ""))
    world.note("s1 is lost", "its connection became a client's")
    assert world.one(Welcome, peer)
    assert set(world.state.clients) == {peer}
    world.say(peer, slave_hello("s1"))
    assert world.one(Welcome, peer)
    assert not world.state.clients


def test_a_slave_has_the_slots_of_its_first_hello(world: World) -> None:
    peer, _ = world.slave("s1", slots=3), world.submit(3)
    leases = tuple(lease.lease for _, lease in world.place())
    world.say(peer, slave_hello("s1", slots=1, leases=leases))
    assert world.one(Welcome, peer)
    world.submit()
    assert world.place() == []


# --- Beating ------------------------------------------------------------------------------------


def test_a_heartbeat_is_echoed_and_its_sample_published(world: World) -> None:
    peer = world.slave()
    beat(world, peer, sequence=5)
    assert world.record("s1").metrics == Metrics(load=0.5)


def test_a_slave_that_has_not_heard_the_newest_control_state_is_told(world: World) -> None:
    peer = world.slave()
    world.client()
    world.say(CLIENT, SetPolicy(1, "round-robin"))
    assert world.one(Carried, CLIENT)
    assert world.one(Publish).message == world.state.control
    world.say(peer, Heartbeat(1, Metrics(), (), 1))
    assert world.one(Beat, peer)
    assert world.one(Control, peer).generation == 2
    assert world.one(Sample)
    beat(world, peer)
    assert world.record("s1").generation == 2


def test_a_lease_that_a_heartbeat_does_not_name_is_given_back_after_its_grace(
    world: World,
) -> None:
    peer, id = world.slave(), world.submit()
    lease = world.place_one()
    world.later(GRACE_S - 0.01)
    beat(world, peer)
    assert lease.lease in world.state.leases, "it may be under way"
    world.later(0.02)
    world.say(peer, Heartbeat(2, Metrics(), (), 1))
    world.note(f"lease {lease.lease} never reached s1")
    assert world.one(Beat, peer)
    assert world.one(Sample)
    assert world.job(id).waiting == 1


def test_a_lease_that_is_named_stays_however_long_it_takes(world: World) -> None:
    peer, _ = world.slave(), world.submit()
    lease = world.place_one()
    for _ in range(5):
        world.later(GRACE_S)
        beat(world, peer, lease.lease)
    assert lease.lease in world.state.leases


def test_a_lease_that_the_master_does_not_know_is_revoked_at_the_heartbeat(world: World) -> None:
    peer = world.slave()
    world.say(peer, Heartbeat(1, Metrics(), (99,), 1))
    assert world.one(Revoke, peer).leases == (99,)
    assert world.one(Beat, peer)
    assert world.one(Sample)


# --- Silence ------------------------------------------------------------------------------------


def test_a_late_slave_is_probed_then_gets_nothing_new_then_is_lost(world: World) -> None:
    peer, id = world.slave(slots=2), world.submit(1)
    assert world.place()
    tick(world, 1.2 * BEAT_S)
    tick(world, 0.1 * BEAT_S)
    assert world.one(Beat, peer).sequence == 0
    assert world.record("s1").state is SlaveState.READY
    tick(world, limits.silent_heartbeats * BEAT_S - 1.2 * BEAT_S)
    assert world.one(Beat, peer)
    assert world.record("s1").state is SlaveState.SILENT
    world.submit()
    assert world.place() == []
    tick(world, (limits.lost_heartbeats - limits.silent_heartbeats) * BEAT_S)
    world.note("s1 is lost (silent for 4.1 s), 1 leases")
    assert world.record("s1").state is SlaveState.LOST
    assert world.job(id).waiting == 1
    tick(world, 1.0)
    assert not world.unseen


def test_a_master_that_stood_still_itself_loses_nobody_at_once(world: World) -> None:
    """What the slaves said meanwhile comes in next."""
    peer = world.slave()
    tick(world, 100 * BEAT_S)
    assert world.one(Beat, peer)
    assert world.record("s1").state is SlaveState.SILENT
    beat(world, peer)
    tick(world, 0.1)
    assert world.record("s1").state is SlaveState.READY


def test_a_silent_slave_that_is_heard_again_gets_work_again(world: World) -> None:
    peer = world.slave()
    world.submit()
    tick(world, 2.1 * BEAT_S)
    assert world.one(Beat, peer)
    assert world.place() == []
    beat(world, peer)
    assert len(world.place()) == 1


def test_a_lost_slave_is_shown_for_a_while_and_then_forgotten(world: World) -> None:
    peer = world.slave()
    world.do(Unreachable(peer))
    world.note("s1 is lost")
    tick(world, limits.lost_shown_s)
    assert list(world.state.slaves) == [instance("s1")]
    tick(world, 0.1)
    assert not world.state.slaves


def test_a_lost_slave_that_says_hello_is_back(world: World) -> None:
    peer = world.slave()
    world.do(Unreachable(peer))
    world.note("s1 is lost")
    world.say(b"new", slave_hello("s1"))
    assert world.one(Welcome, b"new")
    assert world.record("s1").state is SlaveState.READY


@pytest.mark.parametrize("how", ["goodbye", "unreachable"])
def test_the_tasks_of_a_slave_that_goes_are_placed_elsewhere_at_once(
    world: World, how: str
) -> None:
    peer, id = world.slave("s1"), world.submit(1)
    assert world.place()
    world.slave("s2")
    world.do(Unreachable(peer)) if how == "unreachable" else world.say(peer, Goodbye("ends"))
    world.note("slave s1", "1 leases")
    ((to, lease),) = world.place()
    assert (to, lease.job, [task.index for task in lease.tasks]) == (b"s2", id, [0])
    blamed = {0: 1} if how == "unreachable" else {}
    assert world.job(id).crashes == blamed, "who goes on purpose blames no task"


def test_a_connection_that_nobody_knows_can_be_gone(world: World) -> None:
    world.do(Unreachable(b"nobody"))


def test_a_client_that_is_not_heard_is_forgotten_and_may_come_back(world: World) -> None:
    id = world.submit()
    assert world.fetch(id) == []
    tick(world, limits.client_silent_s)
    assert set(world.state.clients) == {CLIENT}
    tick(world, 0.1)
    assert not world.state.clients
    assert not world.state.watchers
    world.client()
    assert world.fetch(id) == []


def test_the_control_state_is_published_each_heartbeat(world: World) -> None:
    world.do(Tick())
    assert world.one(Publish).message == world.state.control
    world.later(BEAT_S / 2)
    world.do(Tick())
    world.later(BEAT_S / 2)
    world.do(Tick())
    assert world.one(Publish)


def test_what_a_lost_slave_still_had_is_welcome_when_it_is_back(world: World) -> None:
    peer, id = world.slave(), world.submit()
    lease = world.place_one()
    world.do(Unreachable(peer))
    world.note("s1 is lost")
    world.say(peer, slave_hello("s1", leases=(lease.lease,)))
    assert world.one(Revoke, peer).leases == (lease.lease,), "it was given back meanwhile"
    assert world.one(Welcome, peer)
    assert world.report(peer, lease, [value(0)]) is not None
    assert world.job(id).state.ended


def test_an_impossible_move_of_a_slave_raises() -> None:
    with pytest.raises(AssertionError, match="LOST → SILENT can't happen: slave s1"):
        check(SLAVE_MOVES, SlaveState.LOST, SlaveState.SILENT, "slave s1")
