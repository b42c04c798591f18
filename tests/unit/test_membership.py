"""How a node stays with its master: hello until welcomed, beats, silence, a newer control state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpczmq import limits
from hpczmq.membership import Due, Membership
from hpczmq.messages import Beat, Control, Introduce, Message, Pong, Reject, Welcome
from hpczmq.model import Metrics, Role

BEAT_S = 2.0
QUEUE = bytes(16)
LOST_S = limits.lost_heartbeats * BEAT_S


def control(generation: int, epoch: int = 1) -> Control:
    return Control(epoch, generation, "round-robin", False)


def welcome(generation: int = 1, epoch: int = 1) -> Welcome:
    return Welcome("c", QUEUE, True, epoch, BEAT_S, 5011, control(generation, epoch))


@pytest.fixture
def member() -> Membership:
    """A node that was welcomed at 0 s, and has sent its first heartbeat then."""
    made = Membership()
    assert made.due(0.0) is Due.HELLO
    assert made.heard(welcome(), 0.0)
    assert made.due(0.0) is Due.BEAT
    return made


def test_hello_is_said_until_the_master_answers_but_not_all_the_time() -> None:
    node = Membership()
    assert node.due(5.0) is Due.HELLO
    assert node.due(5.0 + limits.hello_s * 0.9) is Due.NOTHING
    assert node.due(5.0 + limits.hello_s) is Due.HELLO


def test_a_welcome_makes_a_member_once(member: Membership) -> None:
    assert member.joined
    assert not member.heard(welcome(), 1.0)
    assert (member.heartbeat_s, member.welcome) == (BEAT_S, welcome())


def test_a_beat_is_due_every_heartbeat_of_the_master(member: Membership) -> None:
    assert member.due(BEAT_S * 0.9) is Due.NOTHING
    assert member.due(BEAT_S) is Due.BEAT
    assert member.sequence == 2


def test_the_echo_of_the_newest_beat_tells_the_latency(member: Membership) -> None:
    member.heard(Beat(1), 0.25)
    assert member.latency_s == 0.25
    member.heard(Beat(7), 0.5)
    assert member.latency_s == 0.25, "nobody sent that one"


def test_a_beat_in_a_hurry_leaves_the_last_one_its_echo(member: Membership) -> None:
    member.hurried = True
    member.heard(Beat(1), 0.25)
    assert member.latency_s == 0.25
    assert member.due(0.3) is Due.BEAT
    assert member.due(0.4) is Due.NOTHING, "it was one"


def test_a_probe_before_the_first_beat_is_no_echo() -> None:
    node = Membership()
    node.heard(welcome(), 3.0)
    node.heard(Beat(0), 3.0)
    assert node.latency_s == 0.0


def test_a_member_that_hears_nothing_says_hello_again(member: Membership) -> None:
    assert member.due(LOST_S) is Due.BEAT
    assert member.due(LOST_S + 0.1) is Due.HELLO
    assert not member.joined
    assert member.heard(welcome(), LOST_S + 1), "it is new again"


@pytest.mark.parametrize("message", [Beat(0), welcome(), Reject(3, "x", "y")])
def test_whatever_the_master_says_is_a_sign_of_life(member: Membership, message: Message) -> None:
    member.heard(message, LOST_S)
    assert member.due(LOST_S + 0.1) is Due.BEAT


def test_the_control_state_on_pub_is_no_sign_of_life_of_the_connection(
    member: Membership,
) -> None:
    member.heard(control(2), LOST_S)
    assert member.generation == 2
    assert member.due(LOST_S + 0.1) is Due.HELLO


def test_who_is_asked_to_introduce_itself_does_so_at_once(member: Membership) -> None:
    member.heard(Introduce(), 0.1)
    assert member.due(0.1) is Due.HELLO


@pytest.mark.parametrize(
    ("old", "new", "newest"),
    [
        (control(2), control(3), 3),
        (control(3), control(2), 3),
        (control(9, epoch=1), control(1, epoch=2), 1),
        (control(1, epoch=2), control(9, epoch=1), 1),
    ],
)
def test_the_newest_control_state_holds_and_an_older_epoch_is_fenced(
    old: Control, new: Control, newest: int
) -> None:
    node = Membership()
    node.heard(old, 0.0)
    node.heard(new, 0.0)
    assert node.generation == newest
    assert node.control is not None
    assert node.control.generation == newest


@pytest.mark.parametrize("code", ["protocol", "role"])
def test_a_node_that_is_refused_says_why_and_goes_on_asking(member: Membership, code: str) -> None:
    member.heard(Reject(0, code, "another version"), 1.0)
    assert (member.joined, member.refused) == (False, f"{code}: another version")
    assert member.due(1.0) is Due.HELLO
    assert member.heard(welcome(), 2.0)
    assert member.refused == ""


def test_the_answer_to_a_request_does_not_refuse_the_node(member: Membership) -> None:
    member.heard(Reject(4, "protocol", "no"), 1.0)
    member.heard(Reject(0, "kind", "no"), 1.0)
    assert member.joined


def test_where_heartbeats_are_rare_a_ping_measures_the_round_trip() -> None:
    node = Membership(ping_s=10.0)
    node.heard(replace(welcome(), heartbeat_s=30.0), 0.0)
    assert node.due(0.0) is Due.BEAT
    node.heard(Beat(1), 0.5)
    assert (node.latency_s, node.jitter_s) == (0.5, 0.0)
    assert node.due(9.9) is Due.NOTHING
    assert node.due(10.0) is Due.PING
    node.heard(Pong(1, Role.MASTER, "m", "", Metrics()), 10.1)
    assert node.latency_s == pytest.approx(0.1)
    assert node.jitter_s == pytest.approx(0.4 / 16)
    assert node.due(19.0) is Due.NOTHING
    assert node.due(20.0) is Due.PING
    node.heard(Pong(1, Role.MASTER, "m", "", Metrics()), 25.0)
    assert node.latency_s == pytest.approx(0.1), "an old answer measures nothing"
    assert node.due(30.0) is Due.BEAT
