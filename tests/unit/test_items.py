"""The parameter sets of a `map`, kept as two byte strings."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.errors import ProtocolError
from hpczmq.items import Items

MANY = [bytes([n % 251]) * (n % 7) for n in range(1_000)]


def test_items_come_back_as_they_were() -> None:
    items = Items.of(MANY)
    assert len(items) == len(MANY)
    assert list(items) == MANY
    assert items[-1] == MANY[-1]
    assert items[5:900:13] == MANY[5:900:13]
    with pytest.raises(IndexError):
        items[len(MANY)]


def test_none_is_false_and_equal_ones_are_equal() -> None:
    assert not Items()
    assert list(Items()) == []
    assert Items.of([b"a", b"b"]) == Items.of(iter([b"a", b"b"])) != Items.of([b"ab"])


def test_small_items_take_little_more_than_their_bytes() -> None:
    items = Items.of([b"12345678"] * 10_000)
    assert items.held_bytes == 12 * 10_000


@pytest.mark.parametrize("sizes", [b"123", b"\2\0\0\0", b"\5\0\0\0", b"\3\0\0\0\1\0\0\0"])
def test_sizes_that_do_not_add_up_are_refused(sizes: bytes) -> None:
    with pytest.raises(ProtocolError, match="sizes"):
        Items(sizes, b"abc")


def test_one_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "value_bytes_max", 5)
    assert len(Items.of([b"12345", b"123"])) == 2
    with pytest.raises(ProtocolError, match="above 5 bytes"):
        Items.of([b"1", b"123456"])
