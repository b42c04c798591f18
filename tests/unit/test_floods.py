"""What a message costs its sender, and what is free."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.messages import Ask, Cancel, Fetch, Heartbeat, Message, Report
from hpczmq.model import About, Metrics, Outcome, Status
from hpczmq.scheduler import floods
from tests.unit.harness import CLIENT, World

FORGED = Report(1, 99, "j1", (Outcome(0, Status.VALUE, 0.0, b""),))


def owed(world: World, peer: bytes, message: Message) -> float:
    """What a message is charged with."""
    before = world.state.quota.spent
    assert not floods.is_too_much(world.state, peer, message, world.now)
    return world.state.quota.spent - before


def test_to_end_what_is_open_and_to_fetch_it_anew_is_work(world: World) -> None:
    id = world.submit(1)
    assert owed(world, CLIENT, Cancel(1, (id,))) == 0.0
    assert owed(world, CLIENT, Fetch(1, id, 0, 1)) == 0.0
    world.fetch(id)
    assert owed(world, CLIENT, Fetch(9, id, 0, 1)) > 0.0
    assert owed(world, CLIENT, Fetch(1, "j99", 0, 1)) >= 1.0
    assert owed(world, CLIENT, Cancel(1, ("j99",))) >= 1.0
    assert owed(world, CLIENT, Cancel(1, (), queued=True)) >= 1.0


@pytest.mark.parametrize(
    "message",
    [Ask(1, About.STATUS), Heartbeat(1, Metrics(), tuple(range(100)), 0), FORGED],
    ids=["ask", "heartbeat", "forged"],
)
def test_what_brings_nothing_on_makes_its_sender_wait(world: World, message: Message) -> None:
    peer, quota = world.slave(), world.state.quota
    for _ in range(2 * int(limits.useless_together_messages_max)):
        if quota.must_wait(peer, world.now):
            break
        floods.is_too_much(world.state, peer, message, world.now)
    assert quota.must_wait(peer, world.now)
    assert not quota.must_wait(CLIENT, world.now)
