"""Whatever is sent arrives as it was, and whatever arrives is a message or a `ProtocolError`."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpczmq import wire
from hpczmq.errors import ProtocolError
from hpczmq.messages import KINDS, Message
from tests.property.strategies import messages, of, plain_values


def taken_or_refused(frames: list[wire.Buffer]) -> None:
    """Frames are refused with a `ProtocolError`, or are a message that can be sent on."""
    try:
        message, buffers = wire.decode(frames)
    except ProtocolError as error:
        reason = f"{error.code}: {error.reason}"
    else:
        again, _ = wire.decode(wire.encode(message, buffers))
        assert again == message
        return
    assert reason.isprintable()
    assert len(reason) < 500, "it goes into logs"


@pytest.mark.parametrize("cls", KINDS.values(), ids=lambda cls: cls.__name__)
@given(data=st.data(), buffers=st.lists(st.binary(), max_size=3))
def test_every_kind_arrives_as_it_was_sent(
    cls: type[Message], data: st.DataObject, buffers: list[bytes]
) -> None:
    message = data.draw(of(cls))
    topic = wire.TOPICS.get(cls, wire.MAGIC)
    arrived, rest = wire.decode(wire.encode(message, buffers, topic))
    assert arrived == message
    assert type(arrived) is cls
    assert list(rest) == buffers


@given(st.lists(st.binary() | st.sampled_from([wire.MAGIC, b"HZ1c", b""]), max_size=4))
@example([wire.MAGIC])
@example([wire.MAGIC, b"\x90"])
def test_any_frames_are_refused_or_taken(frames: list[bytes]) -> None:
    taken_or_refused([*frames])


@given(st.binary())
@example(b"\x91" * 100_000)
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\x92\x05\xd6\xff\x00\x00\x00\x01")
def test_any_body_is_refused_or_taken(body: bytes) -> None:
    taken_or_refused([wire.MAGIC, body])


@given(st.sampled_from(sorted(KINDS)), st.lists(plain_values, max_size=9))
def test_any_fields_behind_a_kind_are_refused_or_taken(kind: int, values: list[object]) -> None:
    taken_or_refused([wire.MAGIC, msgpack.packb([kind, *values])])


@given(messages(), st.data())
def test_one_field_of_another_type_is_refused_or_taken(
    message: Message, data: st.DataObject
) -> None:
    values = list(msgpack.unpackb(wire.encode(message)[1]))
    place = data.draw(st.integers(0, len(values) - 1))
    values[place] = data.draw(plain_values)
    taken_or_refused([wire.MAGIC, msgpack.packb(values)])


@given(messages(), st.data())
def test_a_body_with_some_bytes_changed_is_refused_or_taken(
    message: Message, data: st.DataObject
) -> None:
    body = bytearray(wire.encode(message)[1])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    taken_or_refused([wire.MAGIC, bytes(body)])
    taken_or_refused([wire.MAGIC, bytes(body[:cut])])


@given(plain_values)
def test_plain_values_come_back_as_they_were(value: object) -> None:
    again = wire.unpack(wire.pack(value), lists=True)
    assert repr(again) == repr(value)  # by its looks, since a NaN does not equal itself


@given(st.binary())
def test_any_bytes_are_a_plain_value_or_refused(data: bytes) -> None:
    try:
        value = wire.unpack(data)
    except ProtocolError:
        return
    wire.pack(value)
