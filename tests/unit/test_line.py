"""The line to a master: dialled anew when it was not wanted, and with the cluster's next key."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpczmq import limits
from hpczmq.endpoint import Trouble
from hpczmq.guard import new_pair
from hpczmq.keyfiles import KeyFile, NodeKeys
from hpczmq.line import Line
from hpczmq.membership import Membership
from hpczmq.messages import Access, Beat

OLD, NEXT = b"o" * 32, b"n" * 32


class Dealer:
    """A socket that fails when the test says so."""

    def __init__(self) -> None:
        self.fails: Trouble | None = None

    def trouble(self) -> Trouble | None:
        failed, self.fails = self.fails, None
        return failed


class Sockets:
    """Counts the dials."""

    def __init__(self) -> None:
        self.dialled = 0

    def dealer(self, address: str) -> Dealer:
        self.dialled += 1
        return Dealer()

    def redialled(self, dealer: Dealer, address: str) -> Dealer:
        return self.dealer(address)


@pytest.fixture
def keys() -> NodeKeys:
    return NodeKeys(KeyFile("uno", "slave", new_pair(), OLD), None)


def line_of(keys: NodeKeys | None) -> tuple[Line, Sockets]:
    sockets = Sockets()
    return Line(sockets, "tcp://127.0.0.1:1", keys), sockets  # type: ignore[arg-type]  # it fails as it is told


@pytest.mark.parametrize("failure", Trouble)
def test_who_was_not_wanted_dials_again_until_it_is(failure: Trouble) -> None:
    line, sockets = line_of(None)
    member = Membership()
    line.dealer.fails = failure  # type: ignore[attr-defined]  # it is one of ours
    line.look(member, 100.0)
    assert (line.trouble, sockets.dialled) == (failure, 2)
    line.look(member, 100.0 + limits.redial_s)
    assert sockets.dialled == 2  # not as fast as it can
    line.look(member, 100.1 + limits.redial_s)
    assert sockets.dialled == 3
    member.joined = True
    member.heard(Beat(1), 103.0)
    line.look(member, 103.0)
    assert line.trouble is None
    line.look(member, 110.0)
    assert sockets.dialled == 3


def test_a_member_that_is_cut_off_dials_again_too(keys: NodeKeys) -> None:
    line, sockets = line_of(keys)
    member = Membership()
    member.joined = True
    member.heard(Beat(1), 99.0)
    line.dealer.fails = Trouble.KEY  # type: ignore[attr-defined]  # it is one of ours
    for now in (100.0, 100.1, 104.0):
        line.look(member, now)
    assert (line.trouble, sockets.dialled) == (Trouble.KEY, 3)


def test_the_next_key_is_learnt_once_and_tried_as_soon_as_the_old_one_fails(
    keys: NodeKeys,
) -> None:
    line, sockets = line_of(keys)
    member = Membership()
    member.joined = True
    member.heard(Access((), NEXT), 100.0)
    assert line.look(member, 100.0)
    assert not line.look(member, 100.1)
    assert keys.file.next_key == NEXT
    line.dealer.fails = Trouble.HANDSHAKE  # type: ignore[attr-defined]  # it is one of ours
    line.look(member, 100.3)
    assert (sockets.dialled, keys.keys.server) == (2, NEXT)
    member.heard(Access((), b""), 100.4)
    assert line.look(member, 100.4)
    assert keys.file == KeyFile("uno", "slave", keys.file.pair, NEXT)


def test_without_keys_nothing_is_learnt(tmp_path: Path) -> None:
    line, _ = line_of(None)
    member = Membership()
    member.heard(Access((), NEXT), 100.0)
    assert not line.look(member, 100.0)
