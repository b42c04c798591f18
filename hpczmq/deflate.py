"""Deflate as fast as it gets: a picture is written in less time than it took to compute.

isal does 1.7 GB/s a core of palette indices, where zlib's fastest level does 0.3, in as few bytes.
It has no wheels for some machines: there zlib does it. Which one it was shows in the bytes of a
file and not in its pixels.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_library: Any = zlib
with suppress(ImportError):
    from isal import isal_zlib as _library

#: Of both libraries; isal's level 0 is hardly faster, and a quarter larger.
_LEVEL: Final = 1
_WINDOW_BITS: Final = 15

#: What a stream of parts starts with: the header of zlib's format, for the fastest levels.
STREAM_START: Final = b"\x78\x01"


def whole(pixels: NDArray[np.uint8]) -> bytes:
    """A stream of its own, in zlib's format."""
    compressed: bytes = _library.compress(np.ascontiguousarray(pixels), _LEVEL)
    return compressed


def part(pixels: NDArray[np.uint8]) -> bytes:
    """A part of a stream that can be made before, or beside, the parts that come before it."""
    compressor = _library.compressobj(_LEVEL, zlib.DEFLATED, -_WINDOW_BITS)
    compressed: bytes = compressor.compress(np.ascontiguousarray(pixels))
    return compressed + bytes(compressor.flush(zlib.Z_SYNC_FLUSH))


def stream_end(checksum: int) -> bytes:
    """What a stream of parts ends with: an empty last block, and Adler-32 of all the pixels."""
    return b"\x03\x00" + checksum.to_bytes(4, "big")


def adler32(pixels: NDArray[np.uint8], checksum: int = 1) -> int:
    """Adler-32 of what was before (`checksum`) and these pixels, which are contiguous."""
    return int(_library.adler32(pixels, checksum))


def crc32(data: bytes) -> int:
    """CRC-32, as PNG wants it of a chunk."""
    return int(_library.crc32(data))
