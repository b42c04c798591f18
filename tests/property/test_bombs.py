"""Few bytes that claim to be much: depth, lengths, extension types; as a body and inside a field.

Whatever they claim, they are refused with a `ProtocolError` or read as what they are, and take no
more memory than bytes of that many honest values would.
"""

from __future__ import annotations

import hashlib
import struct
import tracemalloc
from collections.abc import Callable

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpczmq import arrays, limits, wire
from hpczmq.errors import ProtocolError
from hpczmq.messages import PROTOCOL
from hpczmq.model import Role
from tests.property.strategies import plain_values

#: Each way in which msgpack says how much follows: its first byte, and how the length is written.
LENGTHS = {
    "str8": (b"\xd9", "B"), "str16": (b"\xda", ">H"), "str32": (b"\xdb", ">I"),
    "bin8": (b"\xc4", "B"), "bin16": (b"\xc5", ">H"), "bin32": (b"\xc6", ">I"),
    "list16": (b"\xdc", ">H"), "list32": (b"\xdd", ">I"),
    "map16": (b"\xde", ">H"), "map32": (b"\xdf", ">I"),
    "ext8": (b"\xc7", "B"), "ext16": (b"\xc8", ">H"), "ext32": (b"\xc9", ">I"),
}  # fmt: skip
#: What one level more is: a list of one, of two, a dict whose value, or whose key, goes on.
LEVELS = [b"\x91", b"\x92\xc0", b"\x81\xa1k", b"\x81", b"\xdc\x00\x01", b"\xdd\x00\x00\x00\x01"]
#: Memory of reading a bomb of some kilobytes: msgpack goes 1,024 levels deep, and makes room for at
#: most 10,000 values in each before they have come.
MOST_BYTES = 96 * limits.MIB


@st.composite
def claims(draw: st.DrawFn) -> bytes:
    """A head that says that much follows, and little that does."""
    first, form = LENGTHS[draw(st.sampled_from(sorted(LENGTHS)))]
    most = 256 ** struct.calcsize(form) - 1
    told = draw(st.sampled_from([most, limits.values_max, most // 2, 16]) | st.integers(0, most))
    return first + struct.pack(form, min(told, most)) + draw(st.binary(max_size=20))


extensions = st.builds(
    lambda code, data: bytes(msgpack.packb(msgpack.ExtType(code, data))),
    st.integers(0, 127),
    st.sampled_from([1, 2, 4, 8, 16]).flatmap(lambda n: st.binary(min_size=n, max_size=n))
    | st.binary(max_size=300),
)
#: Codes that msgpack keeps to itself: a timestamp of each length, right and wrong, and the others.
reserved = st.builds(
    lambda code, data: b"\xc7" + bytes([len(data), code]) + data,
    st.sampled_from([255, 255, 128]) | st.integers(128, 255),
    st.sampled_from([4, 8, 12]).flatmap(lambda n: st.binary(min_size=n, max_size=n))
    | st.binary(max_size=20),
)
nested = st.builds(
    lambda levels, times, inner: b"".join(levels) * times + inner,
    st.lists(st.sampled_from(LEVELS), min_size=1, max_size=4),
    st.integers(1, 2_000),
    claims() | st.just(b"\xc0"),
)
#: A claim in a claim in a claim: each would like to have its room made before the next is read.
chains = st.builds(lambda head, times: head * times, claims(), st.integers(1, 500))
bombs = claims() | extensions | reserved | nested | chains


def in_a_hello(bomb: bytes) -> bytes:
    """The body of a hello whose name is a bomb."""
    fields = [Role.SLAVE, "NAME", bytes(16), PROTOCOL, "", 1, [], [], "", 0, []]
    return bytes(msgpack.packb([1, *fields])).replace(b"\xa4NAME", bomb)


@pytest.mark.parametrize("place", [bytes, in_a_hello])
@given(bomb=bombs)
def test_a_bomb_is_refused_or_read_and_takes_little(
    place: Callable[[bytes], bytes], bomb: bytes
) -> None:
    frames, reason = [wire.MAGIC, place(bomb)], ""
    tracemalloc.start()
    try:
        wire.decode(frames)
    except ProtocolError as error:
        reason = error.reason
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < MOST_BYTES
    assert not reason or reason.isprintable()
    assert len(reason) < 500


sizes = st.integers(0, 4) | st.sampled_from([2**31, 2**62, 2**63 - 1, 2**64 - 1, -1])
dtypes = st.sampled_from(["<f8", "<u2", "|b1", "<c16", "<f99", "|O", "<U9", "|V8", "f8,f8", ""])


@given(dtypes, st.lists(sizes, max_size=40) | plain_values, st.binary(max_size=64), st.booleans())
def test_an_array_is_what_its_buffer_holds_or_is_refused(
    dtype: str, shape: object, buffer: bytes, honest: bool
) -> None:
    digest = hashlib.sha256(buffer).digest()[:16] if honest else bytes(16)
    tracemalloc.start()
    try:
        array = arrays.unpacked(wire.pack([dtype, shape, digest]), buffer)
    except ProtocolError:
        return
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < limits.MIB
    assert honest
    assert array.nbytes == len(buffer)
    assert array.dtype.kind != "O"


@pytest.mark.parametrize("first", [b"\xdd", b"\xdc"])
def test_lists_that_claim_more_than_there_is_take_no_room_before_it_comes(first: bytes) -> None:
    """Before 1.2.4 msgpack took 32 MB for each of these levels of five bytes."""
    most = limits.values_max if first == b"\xdd" else 0xFFFF
    head = first + struct.pack(LENGTHS["list32" if first == b"\xdd" else "list16"][1], most)
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        wire.unpack(head * 500)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < MOST_BYTES
