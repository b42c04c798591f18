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


def test_many_peers_together_get_little_more_than_a_few(quota: Quota) -> None:
    peers = [b"%d" % i for i in range(1_000)]
    passed = 0
    for _ in range(200):
        for peer in peers:
            if not quota.is_muted(peer, 0.0):
                passed += not quota.charge(peer, 1.0, 0.0)
    each = limits.useless_pressed_messages
    assert passed <= limits.useless_together_messages_max + len(peers) * (each + 1)


def test_who_says_little_is_heard_while_others_flood(quota: Quota) -> None:
    for i in range(10):
        until_muted(quota, b"%d" % i)
    for second in range(5):
        for _ in range(10):
            assert not quota.charge(b"honest", 1.0, float(second))
    assert not quota.is_muted(b"honest", 5.0)


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
