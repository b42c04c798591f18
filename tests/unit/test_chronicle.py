"""What the master remembers of what happened."""

from __future__ import annotations

from hpczmq import limits
from hpczmq.happened import EventInfo
from hpczmq.messages import Ask, Done, EventsAnswer, Goodbye, SetPolicy
from hpczmq.model import About
from hpczmq.scheduler import chronicle
from hpczmq.scheduler.actions import Publish
from hpczmq.scheduler.state import ClusterState
from tests.unit.harness import CLIENT, World


def events(world: World, *nodes: str) -> tuple[EventInfo, ...]:
    """What a client is told."""
    world.say(CLIENT, Ask(1, About.EVENTS, nodes))
    return world.one(EventsAnswer, CLIENT).events


def test_the_life_of_a_job_and_of_its_slave_is_told_oldest_first(world: World) -> None:
    peer = world.slave()
    world.later(1)
    id = world.submit(1, name="rabbit")
    lease = world.place_one()
    world.later(2)
    world.finish(peer, lease)
    world.say(peer, Goodbye("told to stop"))
    world.note("left")
    told = events(world)
    assert [(one.age_s, one.kind, one.node, one.job, one.text) for one in told] == [
        (3.0, "slave", "s1", "", "slave s1 joined with 1 slots"),
        (2.0, "job", "", id, "j1 was submitted: rabbit, 1 tasks"),
        (2.0, "job", "", id, "j1 begins on s1"),
        (0.0, "job", "", id, "j1 is done"),
        (0.0, "slave", "s1", "", "slave s1 left (told to stop), 0 leases"),
    ]


def test_events_of_some_nodes_can_be_asked_for(world: World) -> None:
    world.client()
    world.slave("s1")
    world.slave("s2")
    assert [one.node for one in events(world, "s2", "s3")] == ["s2"]


def test_of_very_many_events_the_oldest_are_forgotten(world: World) -> None:
    world.client()
    assert world.state.happenings.maxlen == limits.events_kept_max
    for policy in ("round-robin", "least-loaded"):
        world.say(CLIENT, SetPolicy(2, policy))
        assert world.one(Publish)
        assert world.one(Done, CLIENT)
        world.state.orders.clear()
    assert [one.text for one in events(world)] == [
        "the policy is round-robin",
        "the policy is least-loaded",
    ]


def test_a_long_text_is_cut(world: World) -> None:
    state: ClusterState = world.state
    chronicle.record(state, "slave", "x" * 5000)
    assert len(state.happenings[-1].text) == limits.text_chars_max
