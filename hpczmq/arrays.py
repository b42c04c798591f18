"""Arrays on the wire: a small packed head, and the bytes as a raw buffer.

The digest is made where the array is made and checked where it is used, so that whatever stands
between the two can't change a result unseen.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from hpczmq import limits, wire
from hpczmq.errors import ProtocolError

#: Kinds of numpy dtypes that may travel: numbers and truth values, never objects.
_KINDS = frozenset("buifc")


def packed(array: np.ndarray[Any, Any]) -> tuple[bytes, memoryview]:
    """Head and bytes of an array. The bytes are a view; nothing is copied if it is contiguous.

    Raises:
        ValueError: its dtype does not travel, or it is larger than `buffer_bytes_max`.
    """
    array = np.asarray(array, order="C")
    if array.dtype.kind not in _KINDS or array.nbytes > limits.buffer_bytes_max:
        raise ValueError(f"{array.dtype} of {array.nbytes} bytes does not travel as one result")
    buffer = memoryview(array.reshape(-1).view(np.uint8).data)
    return wire.pack([array.dtype.str, array.shape, _digest(buffer)]), buffer


def unpacked(head: bytes, buffer: wire.Buffer) -> np.ndarray[Any, Any]:
    """The array of a head and its bytes; a read-only view of the buffer.

    Raises:
        ProtocolError: the head is malformed, claims another size than the buffer has, or its
            digest does not fit the bytes.
    """
    fields = wire.unpack(head)
    if type(fields) is not tuple or len(fields) != 3:
        raise ProtocolError("array", "the head has not three fields")
    name, shape, digest = fields
    dtype = _dtype(name)
    if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
        raise ProtocolError("array", "the shape is not made of sizes")
    if len(shape) > 32 or math.prod(shape) * dtype.itemsize != len(buffer):
        raise ProtocolError("array", f"{shape} of {dtype} is not {len(buffer)} bytes")
    if digest != _digest(buffer):
        raise ProtocolError("digest", "the bytes are not those that the slave computed")
    try:
        array = np.frombuffer(buffer, dtype).reshape(shape)
    except ValueError as error:  # beside a 0 the other sizes may be anything
        raise ProtocolError("array", f"the shape is not one that numpy has: {error}") from None
    array.flags.writeable = False
    return array


def _dtype(name: object) -> np.dtype[Any]:
    # numpy takes many more names, some of them with a warning, or for more than one number.
    if isinstance(name, str) and re.fullmatch(r"[<>|][buifc]\d{1,2}", name, re.ASCII):
        with suppress(TypeError):
            return np.dtype(name)
    raise ProtocolError("array", "the dtype is not one that travels")


def _digest(buffer: wire.Buffer | Sequence[int]) -> bytes:
    return hashlib.sha256(buffer).digest()[:16]  # type: ignore[arg-type]  # any buffer will do
