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
    door.came(1, "silent", 0.0)
    door.came(2, "speaks", 0.0)
    door.spoke(b"two", 2)
    assert cut(door, limits.speechless_s) == {}
    assert cut(door, limits.speechless_s + 1) == {1: SILENT}


def test_nobody_speaks_to_a_publisher() -> None:
    door = Doorman(speaks=False)
    door.came(1, "listens", 0.0)
    assert cut(door, 1e6) == {}


def test_above_the_bound_the_silent_go_first_then_who_is_no_member(door: Doorman) -> None:
    for fd in range(10):
        door.came(fd, f"{fd}", float(fd))
    for fd in (0, 1, 2, 3, 4, 5):
        door.spoke(b"%d" % fd, fd)
    members = (b"0", b"3")
    assert cut(door, 10.0, room=8, members=members) == {6: CROWDED, 7: CROWDED}
    assert cut(door, 10.0, room=4, members=members) == dict.fromkeys([8, 9, 1, 2], CROWDED)


def test_below_the_bound_everybody_stays(door: Doorman) -> None:
    for fd in range(ROOM):
        door.came(fd, "", 0.0)
    assert cut(door) == {}


def test_who_sends_without_end_has_to_go(door: Doorman) -> None:
    door.came(1, "endless", 0.0)
    door.spoke(b"one", 1)
    most = limits.message_bytes_max
    assert cut(door, received=lambda fd: most) == {}  # heard since: counted from here
    assert cut(door, received=lambda fd: 2 * most) == {}
    assert cut(door, received=lambda fd: 2 * most + 1) == {1: ENDLESS}


def test_who_ends_its_messages_may_send_as_much_as_it_likes(door: Doorman) -> None:
    door.came(1, "works", 0.0)
    door.spoke(b"one", 1)
    for step in range(100):
        assert door.heard(b"one")
        assert cut(door, received=lambda fd, step=step: step * limits.message_bytes_max) == {}  # type: ignore[misc]  # a default binds it now


def test_all_connections_are_looked_at_in_turn(door: Doorman) -> None:
    many = 3 * limits.connections_looked_max
    for fd in range(many):
        door.came(fd, "", 0.0)
    seen: list[int] = []
    for _ in range(3):
        cut(door, room=many, received=lambda fd: seen.append(fd) or 0)  # type: ignore[func-returns-value]  # that is the point
    assert sorted(seen) == list(range(many))


def test_a_descriptor_that_is_used_again_is_another_connection(door: Doorman) -> None:
    door.came(1, "first", 0.0)
    door.spoke(b"one", 1)
    door.left(1)
    door.came(1, "second", 50.0)
    assert not door.heard(b"one")
    assert cut(door, 51.0) == {}
    door.spoke(b"two", 1)
    assert door.heard(b"two")
