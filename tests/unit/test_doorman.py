"""Which connections have to go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hpczmq import limits
from hpczmq.doorman import CROWDED, ENDLESS, SILENT, Doorman

ROOM = 1_000


@pytest.fixture
def door() -> Doorman:
    return Doorman(speaks=True)


def cut(
    door: Doorman,
    now: float = 0.0,
    room: int = ROOM,
    received: Callable[[int], int] = lambda fd: 0,
    members: tuple[bytes, ...] = (),
) -> dict[int, str]:
    """Look, and hang up on who has to go."""
    found = door.inspect(room, received, members.__contains__, now)
    for connection, _ in found:
        door.left(connection.fd)
    return {connection.fd: why for connection, why in found}


def test_who_says_nothing_has_to_go_after_a_while(door: Doorman) -> None:
    door.came(1, 11, 0.0)
    door.came(2, 12, 0.0)
    door.spoke(b"two", 2, 12, 0.0)
    assert cut(door, limits.speechless_s) == {}
    assert cut(door, limits.speechless_s + 1) == {1: SILENT}


def test_nobody_speaks_to_a_publisher() -> None:
    door = Doorman(speaks=False)
    door.came(1, 11, 0.0)
    assert cut(door, 1e6) == {}


def test_above_the_bound_the_silent_go_first_then_who_is_no_member(door: Doorman) -> None:
    for fd in range(10):
        door.came(fd, 10 + fd, float(fd))
    for fd in (0, 1, 2, 3, 4, 5):
        door.spoke(b"%d" % fd, fd, 10 + fd, float(fd))
    members = (b"0", b"3")
    assert cut(door, 10.0, room=8, members=members) == {6: CROWDED, 7: CROWDED}
    assert cut(door, 10.0, room=4, members=members) == dict.fromkeys([8, 9, 1, 2], CROWDED)


def test_below_the_bound_everybody_stays(door: Doorman) -> None:
    for fd in range(ROOM):
        door.came(fd, 10 + fd, 0.0)
    assert cut(door) == {}


@pytest.mark.parametrize(
    ("members", "most"),
    [((), limits.stranger_bytes_max), ((b"one",), limits.message_bytes_max)],
)
def test_who_sends_without_end_has_to_go_and_a_stranger_sooner(
    door: Doorman, members: tuple[bytes, ...], most: int
) -> None:
    door.came(1, 11, 0.0)
    door.spoke(b"one", 1, 11, 0.0)
    assert cut(door, received=lambda fd: most, members=members) == {}  # heard: counted from here
    assert cut(door, received=lambda fd: 2 * most, members=members) == {}
    assert cut(door, received=lambda fd: 2 * most + 1, members=members) == {1: ENDLESS}


def test_of_many_large_messages_on_their_way_the_largest_has_to_go(door: Doorman) -> None:
    each = limits.unfinished_bytes_max // 10
    peers = tuple(b"%d" % fd for fd in range(11))
    for fd, peer in enumerate(peers):
        door.came(fd, 10 + fd, 0.0)
        door.spoke(peer, fd, 10 + fd, 0.0)
    cut(door, members=peers)  # heard: counted from here
    assert cut(door, received=lambda fd: each - (fd == 10), members=peers[:10]) == {10: ENDLESS}
    assert cut(door, received=lambda fd: each + 9 * (fd == 3), members=peers) == {3: ENDLESS}
    assert cut(door, received=lambda fd: each, members=peers) == {}


def test_who_ends_its_messages_may_send_as_much_as_it_likes(door: Doorman) -> None:
    door.came(1, 11, 0.0)
    door.spoke(b"one", 1, 11, 0.0)
    for step in range(100):
        assert door.heard(b"one")
        come = step * limits.stranger_bytes_max
        assert cut(door, received=lambda fd, come=come: come) == {}  # type: ignore[misc]  # a default binds it now


def test_all_connections_are_looked_at_in_turn(door: Doorman) -> None:
    many = 3 * limits.connections_looked_max
    for fd in range(many):
        door.came(fd, 10 + fd, 0.0)
    seen: list[int] = []
    for _ in range(3):
        cut(door, room=many, received=lambda fd: seen.append(fd) or 0)  # type: ignore[func-returns-value]  # that is the point
    assert sorted(seen) == list(range(many))


def test_in_a_hurry_all_are_looked_at_and_a_large_one_each_time(door: Doorman) -> None:
    many, large = 3 * limits.connections_looked_max, limits.stranger_bytes_max // 2
    for fd in range(many):
        door.came(fd, 10 + fd, 0.0)
    seen: list[int] = []

    def received(fd: int) -> int:
        seen.append(fd)
        return large if fd == 1 else 0

    door.inspect(many, received, lambda peer: False, 1.0, hurry=True)
    assert sorted(seen) == list(range(many))
    assert door.is_restless(1.0)
    for _ in range(5):
        seen.clear()
        cut(door, 1.0, room=many, received=received)
        assert 1 in seen
        assert len(seen) <= limits.connections_looked_max + 1


def test_a_descriptor_that_is_used_again_is_another_connection(door: Doorman) -> None:
    door.came(1, 11, 0.0)
    door.spoke(b"one", 1, 11, 0.0)
    door.left(1)
    door.came(1, 12, 50.0)
    assert not door.heard(b"one")
    assert cut(door, 51.0) == {}
    door.spoke(b"two", 1, 12, 51.0)
    assert door.heard(b"two")


def test_one_that_speaks_before_it_is_announced_is_known_and_stays_so(door: Doorman) -> None:
    door.came(1, 11, 0.0)
    door.spoke(b"one", 1, 11, 0.0)
    door.spoke(b"two", 1, 12, 1.0)  # the first has ended, and we are told of it later
    assert not door.heard(b"one")
    door.ended(1)
    door.came(1, 12, 1.1)
    assert door.heard(b"two")
    door.ended(1)
    assert not door.heard(b"two")
    door.spoke(b"three", 1, 0, 2.0)  # it is gone by now
    assert not door.heard(b"three")


def test_past_so_many_new_connections_the_door_is_shut_until_half_are_paid(door: Doorman) -> None:
    most = int(limits.arrivals_max)
    for fd in range(most):
        door.came(fd, 10 + fd, 0.0)
    assert not door.shuts(0.0, busy=True)
    door.came(most, 10 + most, 0.0)
    assert door.shuts(0.0, busy=True)
    paid_s = most / 2 / limits.arrivals_per_s
    assert door.shuts(paid_s, busy=True)
    assert not door.shuts(paid_s + 0.1, busy=True)


def test_while_nobody_works_all_may_come_and_work_finds_the_door_open(door: Doorman) -> None:
    for fd in range(10 * int(limits.arrivals_max)):
        door.came(fd, 10 + fd, 0.0)
    assert not door.shuts(0.0, busy=False)
    assert not door.shuts(0.1, busy=True)


def test_one_that_was_cut_counts_for_many_that_come(door: Doorman) -> None:
    for fd in range(int(limits.arrivals_max / limits.cut_arrivals) + 1):
        door.came(fd, 10 + fd, 0.0)
        door.spoke(b"%d" % fd, fd, 10 + fd, 0.0)
        gone = door.dismiss(b"%d" % fd, 0.0)
        assert gone is not None
        assert gone.fd == fd
    assert door.shuts(0.0, busy=True)
    assert door.dismiss(b"nobody", 0.0) is None
