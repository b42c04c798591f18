"""TIFF files of pictures that no viewer opens whole: tiles, and levels of half the size each.

A tiled BigTIFF of 8-bit palette colours, deflated: viewers read the tiles that they show, from the
level that fits their window. Level 0 is the picture, each next page has half the width and height
of the one before, rounded up, down to one that fits a tile (the layout of GDAL, OpenSlide, vips).

A pixel of level k is the pixel of level 0 at 2**k times its row and column, not a mean: colours of
a palette have no mean, the largest count would swell the filaments and the least would cut them.
So a level is exactly the picture of a coarser grid of points, as `render` would make it.

Nothing is ever whole in memory: level 0 comes from the counts, tile by tile, and leaves every
second pixel of every second row in a nameless file beside the picture, which the others come from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from hpczmq import deflate, limits
from hpczmq._version import __version__
from hpczmq.bands import in_order
from hpczmq.mapping import Drawing

_TILE: Final = limits.tiff_tile_pixels

Indices = NDArray[np.uint8]


def write(file: BinaryIO, folder: Path, counts: NDArray[Any], drawing: Drawing) -> None:
    """Draw counts into a TIFF file.

    Args:
        file: where to; it must be seekable.
        folder: takes a temporary file of H/2 * W/2 bytes, which no kill leaves behind.
        counts: (H, W), unsigned; may be a map of a file.
        drawing: the colours of this image.

    Raises:
        OSError: a file can't be written.
    """
    height, width = counts.shape
    colours = np.frombuffer(drawing.colours, np.uint8).reshape(256, 3)
    common: dict[str, Any] = {
        "dtype": np.uint8,
        "tile": (_TILE, _TILE),
        "photometric": "palette",
        "colormap": colours.T.astype(np.uint16) * 257,
        "compression": "zlib",
        "metadata": None,
        "software": f"hpczmq {__version__}",
    }
    with (
        tempfile.TemporaryFile(dir=folder) as spool,
        tifffile.TiffWriter(file, bigtiff=True) as tiff,
    ):
        tiles = _first_level(counts, drawing.indices, spool)
        tiff.write(tiles, shape=(height, width), subfiletype=0, **common)
        if max(height, width) <= _TILE:
            return
        spool.flush()
        half = (-(-height // 2), -(-width // 2))
        level: Indices = np.memmap(spool, np.uint8, "r", shape=half)
        while True:
            tiff.write(_level(level), shape=level.shape, subfiletype=1, **common)
            if max(level.shape) <= _TILE:
                return
            level = level[::2, ::2]


def _first_level(
    counts: NDArray[Any], draw: Callable[[NDArray[Any]], Indices], spool: BinaryIO
) -> Iterator[bytes]:
    """Compressed tiles of the counts; `spool` gets every second pixel of every second row."""
    width = counts.shape[1]
    #: Of one row of tiles.
    halves = np.empty((_TILE // 2, -(-width // 2)), np.uint8)

    def drawn(place: tuple[int, int]) -> tuple[int, bytes, Indices]:
        row, column = place
        pixels = draw(counts[row : row + _TILE, column : column + _TILE])
        return column, _compressed(pixels), pixels[::2, ::2]

    for column, tile, half in in_order(drawn, _places(counts.shape)):
        rows, columns = half.shape
        halves[:rows, column // 2 : column // 2 + columns] = half
        if column + _TILE >= width:
            spool.write(halves[:rows].tobytes())
        yield tile


def _level(pixels: Indices) -> Iterator[bytes]:
    """The compressed tiles of a level that is drawn already."""

    def copied(place: tuple[int, int]) -> bytes:
        row, column = place
        return _compressed(pixels[row : row + _TILE, column : column + _TILE])

    return in_order(copied, _places(pixels.shape))


def _places(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Row and column of each tile's first pixel, in the order of the file."""
    height, width = shape
    return ((row, column) for row in range(0, height, _TILE) for column in range(0, width, _TILE))


def _compressed(pixels: Indices) -> bytes:
    """A whole tile, filled up with colour 0 where the picture ends."""
    if pixels.shape != (_TILE, _TILE):
        tile = np.zeros((_TILE, _TILE), np.uint8)
        tile[: pixels.shape[0], : pixels.shape[1]] = pixels
        pixels = tile
    return deflate.whole(pixels)
