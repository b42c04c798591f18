"""Whatever is cut into whatever pieces comes out whole; junk ends the stream and nothing else."""

from __future__ import annotations

import socket
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st

from hpczmq.nodes.channel import Channel

messages = st.lists(
    st.lists(st.binary(max_size=50), min_size=1, max_size=5), min_size=1, max_size=5
)


def stream_of(sent: list[list[bytes]]) -> bytes:
    """The bytes that a channel writes for some messages."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        channel = Channel(ours)
        for frames in sent:
            channel.send(frames)
        assert not channel.pending
        return theirs.recv(1 << 20)


@given(messages, st.data())
def test_messages_come_out_whole_however_the_stream_is_cut(
    sent: list[list[bytes]], data: st.DataObject
) -> None:
    stream = stream_of(sent)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10).map(sorted))
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        theirs.setblocking(False)
        channel, got = Channel(theirs), []
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            ours.sendall(stream[start:end])
            while (frames := channel.receive()) is not None:
                got.append([bytes(frame) for frame in frames])
    assert got == sent


@given(st.binary(max_size=200) | messages.map(stream_of))
def test_any_stream_ends_in_the_end_of_the_stream(stream: bytes) -> None:
    ours, theirs = socket.socketpair()
    with closing(theirs):
        ours.sendall(stream)
        ours.close()
        channel = Channel(theirs)
        try:
            while (frames := channel.receive()) is not None:
                assert all(isinstance(frame, bytearray) for frame in frames)
        except EOFError:
            return
    raise AssertionError("a blocking channel went on without a message")
