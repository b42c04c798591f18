"""Arrays that travel come out as they went in, and nothing else comes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpczmq import arrays, limits, wire
from hpczmq.errors import ProtocolError

DTYPES = ["?", "u1", "<u2", ">u4", "<i8", "<f2", "<f4", ">f8", "<c8", "<c16"]
DIGEST = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb924")  # of nothing


def head(dtype: Any = "<u4", shape: Any = (0,), digest: Any = DIGEST) -> bytes:
    return wire.pack([dtype, shape, digest])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6,), (2, 3), (0,), (4, 0, 2), (), (1,) * 20], ids=str)
def test_an_array_comes_back_as_it_was(dtype: str, shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape))
    array = np.arange(1, count + 1).astype(dtype).reshape(shape)
    again = arrays.unpacked(*arrays.packed(array))
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12).reshape(3, 4).T,
        np.arange(12)[::-2],
        np.asfortranarray(np.eye(3)),
        np.broadcast_to(np.float32(2.5), (2, 2)),
    ],
)
def test_what_is_not_contiguous_is_copied_into_order(array: np.ndarray[Any, Any]) -> None:
    again = arrays.unpacked(*arrays.packed(array))
    assert np.array_equal(again, array)
    assert again.flags.c_contiguous


def test_nothing_is_copied_on_the_way() -> None:
    array = np.arange(10, dtype="<u4")
    packed_head, buffer = arrays.packed(array)
    assert np.shares_memory(np.frombuffer(buffer, "u1"), array)
    again = arrays.unpacked(packed_head, buffer)
    assert np.shares_memory(again, array)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_arrives_can_not_be_written(kind: Any) -> None:
    packed_head, buffer = arrays.packed(np.arange(3))
    again = arrays.unpacked(packed_head, kind(bytearray(buffer)))
    assert not again.flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        np.array([object()]),
        np.array(["text"]),
        np.array([b"bytes"]),
        np.array(["2020-01-01"], "datetime64[D]"),
        np.array([(1, 2.0)], "i4,f8"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_what_is_not_made_of_numbers_does_not_travel(array: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ValueError, match="does not travel"):
        arrays.packed(array)


def test_what_is_too_large_for_a_buffer_does_not_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "buffer_bytes_max", 8)
    arrays.packed(np.zeros(8, "u1"))
    with pytest.raises(ValueError, match="uint8 of 9 bytes does not travel"):
        arrays.packed(np.zeros(9, "u1"))


def test_a_bit_that_was_changed_is_noticed() -> None:
    packed_head, buffer = arrays.packed(np.arange(100))
    wrong = bytearray(buffer)
    wrong[17] ^= 1
    with pytest.raises(ProtocolError) as raised:
        arrays.unpacked(packed_head, wrong)
    assert raised.value.code == "digest"


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\xc1",
        wire.pack(None),
        wire.pack(["<u4", (0,)]),
        wire.pack(["<u4", (0,), DIGEST, 0]),
        head(dtype=4),
        head(dtype=""),
        head(dtype="O"),
        head(dtype="|O8"),
        head(dtype="<i3"),
        head(dtype="(2,)<u4"),
        head(dtype="<u4,<u4"),
        head(dtype="a"),
        head(dtype="V0"),
        head(dtype="m8[ns]"),
        head(dtype="\x00"),
        head(dtype="float"),
        head(shape=0),
        head(shape=(-1,)),
        head(shape=(0.0,)),
        head(shape=(False,)),
        head(shape=("0",)),
        head(shape=(1,)),
        head(shape=(0,) * 65),
        head(shape=(0, 2**63)),
        head(shape=(0, 2**62, 2**62)),
        head(shape=(0, 2**64 - 1)),
        head(digest=bytes(16)),
        head(digest=DIGEST.hex()),
        head(digest=None),
    ],
    ids=lambda wrong: wrong.hex()[:20],
)
def test_a_head_that_does_not_fit_is_refused(wrong: bytes) -> None:
    with pytest.raises(ProtocolError):
        arrays.unpacked(wrong, b"")
