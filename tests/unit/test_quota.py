"""How much a peer may say that is of no use."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.quota import Quota


@pytest.fixture
def quota() -> Quota:
    return Quota()


def until_muted(quota: Quota, peer: bytes, now: float = 0.0, cost: float = 1.0) -> int:
    """How many messages pass before the one that is too much."""
    for passed in range(1_000_000):
        if quota.charge(peer, cost, now):
            return passed
    raise AssertionError("nobody was muted")


def test_a_peer_is_muted_once_it_owes_too_much(quota: Quota) -> None:
    assert until_muted(quota, b"a") == limits.useless_messages_max
    assert quota.is_muted(b"a", 0.0)
    assert not quota.is_muted(b"b", 0.0)


def test_what_a_muted_peer_says_is_counted(quota: Quota) -> None:
    until_muted(quota, b"a")
    for _ in range(3):
        quota.is_muted(b"a", 1.0)
    assert quota.refused == {"flood": 3}


def test_a_muted_peer_is_heard_again_and_soon_muted_again_if_it_goes_on(quota: Quota) -> None:
    until_muted(quota, b"a")
    later = limits.flood_mute_s
    assert not quota.is_muted(b"a", later)
    paid = limits.flood_mute_s * limits.useless_messages_per_s
    assert until_muted(quota, b"a", later) == pytest.approx(paid, abs=2)


def test_a_debt_falls_with_time(quota: Quota) -> None:
    for second in range(1_000):
        for _ in range(int(limits.useless_messages_per_s)):
            assert not quota.charge(b"a", 1.0, float(second))


def press(quota: Quota, now: float = 0.0) -> None:
    """Have all together owe too much."""
    quota.charge(b"others", limits.useless_together_messages_max + 100, now)


def test_many_peers_together_get_little_more_than_a_few(quota: Quota) -> None:
    peers = [b"%d" % i for i in range(1_000)]
    passed = 0
    for _ in range(200):
        for peer in peers:
            if not quota.is_muted(peer, 0.0) and not quota.must_wait(peer, 0.0):
                passed += not quota.charge(peer, 1.0, 0.0)
    each = limits.useless_pressed_messages
    assert passed <= limits.useless_together_messages_max + len(peers) * (each + 1)


def test_who_says_little_is_heard_while_others_flood(quota: Quota) -> None:
    press(quota)
    for second in range(5):
        press(quota, float(second))
        for _ in range(10):
            assert not quota.must_wait(b"honest", float(second))
            assert not quota.charge(b"honest", 1.0, float(second))


def test_under_pressure_one_that_waits_for_its_answers_is_slowed_down_and_loses_nothing(
    quota: Quota,
) -> None:
    answered, now, question = 0, 0.0, [b"peer", b"head", b"question"]
    while now < 10.0:
        now += 0.001
        press(quota, now)
        if not quota.is_holding:
            if quota.must_wait(b"peer", now):
                assert quota.hold(b"peer", question, now)
                continue
            assert not quota.charge(b"peer", 1.0, now)
            answered += 1
        for frames in quota.due(now):
            assert frames == question
            assert not quota.charge(b"peer", 1.0, now)
            answered += 1
    paid = limits.useless_pressed_messages + 10 * limits.useless_messages_per_s
    assert answered == pytest.approx(paid, rel=0.05)
    assert not quota.is_muted(b"peer", now)


def test_what_waits_comes_in_its_order_once_the_pressure_is_over(quota: Quota) -> None:
    press(quota)
    quota.charge(b"a", 100.0, 0.0)
    for number in range(3):
        assert quota.must_wait(b"a", 0.0)
        assert quota.hold(b"a", [b"a", b"%d" % number], 0.0)
    assert list(quota.due(0.0)) == []
    later = 1.0  # nobody owes anything by then
    assert [frames[1] for frames in quota.due(later)] == [b"0", b"1", b"2"]
    assert not quota.is_holding
    assert not quota.must_wait(b"a", later)


def test_one_that_does_not_wait_is_muted_and_what_waited_is_forgotten(quota: Quota) -> None:
    press(quota)
    quota.charge(b"a", 100.0, 0.0)
    for _ in range(limits.held_messages_max):
        assert quota.hold(b"a", [b"a", b"x"], 0.0)
    assert not quota.hold(b"a", [b"a", b"x"], 0.0)
    assert quota.is_muted(b"a", 0.0)
    assert not quota.is_holding
    assert list(quota.due(100.0)) == []


def test_what_waits_is_bounded_in_bytes_and_together(quota: Quota) -> None:
    assert quota.hold(b"a", [b"a", bytes(limits.held_bytes_max - 1)], 0.0)
    assert not quota.hold(b"b", [b"bb"], 0.0)
    assert list(quota.due(0.0))
    for number in range(limits.held_together_messages_max):
        assert quota.hold(b"%d" % number, [b"x"], 0.0)
    assert not quota.hold(b"b", [b"x"], 0.0)


def test_strangers_are_heard_so_often_and_one_that_goes_on_is_muted(quota: Quota) -> None:
    heard = sum(quota.hears_stranger(b"%d" % i, 0.0) for i in range(1_000))
    assert heard == limits.strangers_messages_max
    assert quota.refused == {"strangers": 1_000 - heard}
    assert quota.hears_stranger(b"new", 1.0)
    for _ in range(1_000):
        quota.hears_stranger(b"loud", 1.0)
    assert quota.is_muted(b"loud", 1.0)
    assert not quota.is_muted(b"new", 1.0)


def test_who_is_muted_is_cut_off_once_it_can_have_read_why(quota: Quota) -> None:
    until_muted(quota, b"a", cost=1_000.0)
    assert list(quota.to_cut(0.0)) == []
    assert list(quota.to_cut(limits.flood_told_s)) == [b"a"]
    assert list(quota.to_cut(1.0)) == []


def test_heartbeats_count_for_all_together_once_a_peer_does_nothing_else(quota: Quota) -> None:
    free = 1 + limits.useless_pressed_messages
    for _ in range(int(free + limits.useless_together_messages_max)):
        quota.charge(b"a", 1.0, 0.0, alone=True)
        assert not quota.must_wait(b"a", 0.0)
    quota.charge(b"a", 1.0, 0.0, alone=True)
    assert quota.must_wait(b"a", 0.0)
    assert not quota.must_wait(b"b", 0.0)


def test_heartbeats_of_ten_thousand_are_no_flood(quota: Quota) -> None:
    for second in range(20):
        for number in range(10_000):
            assert not quota.charge(b"%d" % number, 1.0, float(second), alone=True)
    assert not quota.charge(b"client", limits.useless_pressed_messages + 1, 20.0)


def test_ten_thousand_newcomers_are_let_in_at_once_and_a_flood_of_them_is_not(
    quota: Quota,
) -> None:
    assert all(quota.newcomer(0.0) for _ in range(10_000))
    let_in = sum(quota.newcomer(1.0) for _ in range(1_000_000))
    assert let_in <= limits.newcomers_max - 10_000 + limits.newcomers_per_s + 1
    assert quota.newcomer(2.0)


def test_what_is_remembered_is_bounded_and_forgotten(quota: Quota) -> None:
    for i in range(limits.nodes_max + 100):
        quota.charge(b"%d" % i, 1e9, 0.0)
    assert len(quota._debts) == len(quota._muted) == limits.nodes_max
    quota.forget(1e8)
    assert not quota._debts
    assert not quota._muted


def test_codes_past_the_bound_are_counted_together(quota: Quota) -> None:
    for i in range(1_000):
        quota.count(f"code {i}")
    assert len(quota.refused) == limits.refusal_codes_max + 1
    assert sum(quota.refused.values()) == 1_000
