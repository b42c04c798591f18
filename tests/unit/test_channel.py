"""Frames over a socket pair, in pieces of any size, until the other end is gone."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from hpczmq import limits
from hpczmq.nodes.channel import Channel

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends that never block."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield Channel(ends[0]), Channel(ends[1])
    for end in ends:
        end.close()


def received(channel: Channel) -> list[bytes] | None:
    frames = channel.receive()
    return None if frames is None else [bytes(frame) for frame in frames]


def test_a_message_comes_out_as_it_went_in(pair: Pair) -> None:
    ours, theirs = pair
    ours.send([b"HZ1", b"body", memoryview(b"pixels"), b"", bytearray(b"more")])
    assert not ours.pending
    assert received(theirs) == [b"HZ1", b"body", b"pixels", b"", b"more"]
    assert received(theirs) is None


def test_messages_stay_apart_and_in_order_both_ways(pair: Pair) -> None:
    ours, theirs = pair
    for number in range(5):
        ours.send([bytes([number])])
        theirs.send([b"back", bytes([number])])
    assert [received(theirs) for _ in range(5)] == [[bytes([n])] for n in range(5)]
    assert [received(ours) for _ in range(5)] == [[b"back", bytes([n])] for n in range(5)]


def test_a_message_that_comes_byte_by_byte_is_whole_at_its_last_one(pair: Pair) -> None:
    ours, theirs = pair
    stream = struct.pack("<IIII", 3, 1, 0, 2) + b"abc"
    for byte in stream[:-1]:
        ours.socket.send(bytes([byte]))
        assert received(theirs) is None
    ours.socket.send(stream[-1:])
    assert received(theirs) == [b"a", b"", b"bc"]


def test_what_does_not_fit_is_sent_when_there_is_room(pair: Pair) -> None:
    ours, theirs = pair
    pixels = bytes(range(256)) * (8 * limits.KIB)
    ours.send([b"HZ1", pixels, pixels])
    assert ours.pending, "2 x 2 MiB fit no socket's buffer"
    frames = None
    while frames is None:
        frames = received(theirs)
        ours.flush()
    assert frames == [b"HZ1", pixels, pixels]
    assert not ours.pending


def test_as_many_frames_as_a_message_may_have_go_through(pair: Pair) -> None:
    ours, theirs = pair
    frames = [b"HZ1", b"body", *[b"x"] * limits.buffers_max]
    ours.send(frames)
    got = None
    while got is None:
        got = received(theirs)
        ours.flush()
    assert got == frames


def test_an_end_that_is_closed_is_noticed_after_what_it_had_sent(pair: Pair) -> None:
    ours, theirs = pair
    ours.send([b"last"])
    ours.socket.close()
    assert received(theirs) == [b"last"]
    for _ in range(2):
        with pytest.raises(EOFError, match="the other end is gone"):
            theirs.receive()


def test_an_end_that_is_closed_in_the_middle_of_a_message_is_noticed(pair: Pair) -> None:
    ours, theirs = pair
    ours.socket.send(struct.pack("<II", 1, 100) + b"half")
    ours.socket.close()
    with pytest.raises(EOFError):
        theirs.receive()


def test_sending_to_nobody_is_no_error(pair: Pair) -> None:
    ours, theirs = pair
    theirs.socket.close()
    ours.send([b"HZ1", bytes(limits.MIB)])
    ours.send([b"HZ1"])
    assert not ours.pending
    with pytest.raises(EOFError):
        ours.receive()


@pytest.mark.parametrize("count", [0, limits.buffers_max + 3, 2**32 - 1])
def test_a_count_that_no_message_has_ends_the_stream(pair: Pair, count: int) -> None:
    ours, theirs = pair
    ours.socket.send(struct.pack("<I", count) + bytes(100))
    with pytest.raises(EOFError, match=f"a message of {count} frames"):
        theirs.receive()
    with pytest.raises(EOFError, match="made no sense"):
        theirs.receive()


def test_a_frame_that_no_message_has_ends_the_stream_before_there_is_room_for_it(
    pair: Pair,
) -> None:
    """A kernel may write to any descriptor; 4 GiB of zeroes are not to be made for that."""
    ours, theirs = pair
    ours.socket.send(struct.pack("<III", 2, 3, 2**32 - 1))
    with pytest.raises(EOFError, match="a frame of 4294967295 bytes"):
        theirs.receive()


def test_a_blocking_end_waits_for_a_whole_message(pair: Pair) -> None:
    ours, theirs = pair
    theirs.socket.setblocking(True)
    ours.send([b"HZ1", b"body"])
    assert received(theirs) == [b"HZ1", b"body"]
