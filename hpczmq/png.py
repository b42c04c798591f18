"""PNG files of 8-bit palette pictures, written by all cores at once.

The libraries that write PNG compress a picture as one stream, on one core, through zlib. Here
each band of rows is a part of the stream that knows nothing of the others, which costs 1 % in size.
PNG is a signature and chunks: length, type, content, CRC-32 of the last two. The rows have filter 0
(none) in front of them: palette indices have no use for differences.
"""

from __future__ import annotations

import struct
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from hpczmq import deflate
from hpczmq.bands import bands, in_order
from hpczmq.mapping import Drawing

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
#: After width and height: bits a pixel, palette colour, deflate, filters a row, not interlaced.
_FORMAT: Final = bytes((8, 3, 0, 0, 0))


def write(file: BinaryIO, counts: NDArray[Any], drawing: Drawing) -> None:
    """Draw counts into a PNG file.

    Args:
        file: where to; what is written does not depend on the number of cores.
        counts: (H, W), unsigned; may be a map of a file.
        drawing: the colours of this image.

    Raises:
        OSError: the file can't be written.
    """
    height, width = counts.shape

    def compressed(rows: slice) -> tuple[bytes, NDArray[np.uint8]]:
        drawn = drawing.indices(counts[rows])
        filtered = np.zeros((len(drawn), 1 + width), np.uint8)
        filtered[:, 1:] = drawn
        return deflate.part(filtered), filtered

    file.write(_SIGNATURE)
    _chunk(file, b"IHDR", struct.pack(">II", width, height) + _FORMAT)
    _chunk(file, b"PLTE", drawing.colours)
    _chunk(file, b"IDAT", deflate.STREAM_START)
    checksum = 1
    for data, pixels in in_order(compressed, bands(height, counts[:1].nbytes)):
        checksum = deflate.adler32(pixels, checksum)
        _chunk(file, b"IDAT", data)
    _chunk(file, b"IDAT", deflate.stream_end(checksum))
    _chunk(file, b"IEND", b"")


def _chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    body = kind + content
    file.write(struct.pack(">I", len(content)) + body + struct.pack(">I", deflate.crc32(body)))
