"""Iteration counts to a picture: 8 bits a pixel, a palette, black where no orbit escaped.

Counts of one picture span from 1 to thousands, most pixels share a few small ones, and the
filaments worth seeing hold the rest. A linear or logarithmic scale shows one of the two. Full
histogram equalisation would give the large plain areas most of the colours. So each count gets as
much of the palette as the square root of the number of its pixels: the k-th colour index is

    1 + 254 * (s(k) - r(k)/2) / s(max)      with r(k) = sqrt(pixels of count k), s = running sum

which depends on the image alone, not on the number of iterations or tiles. One table lookup a
pixel then makes the picture, in bands of rows, so that counts may come from a mapped file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hpczmq import limits, palettes
from hpczmq.atomic import replacing
from hpczmq.palettes import PALETTES

#: Counts from here on share a colour. It bounds the table; so slow pixels are a handful.
_COUNT_MAX: Final = 1 << 20
#: Bytes of counts that are looked at at a time.
_BAND_BYTES: Final = 2 * limits.MIB
#: Deflate's fastest: the next levels take several times as long for a few percent.
_PNG_LEVEL: Final = 1


def picture(counts: NDArray[Any], iterations: int, palette: str = PALETTES[0]) -> Image.Image:
    """Draw counts.

    Args:
        counts: (H, W), any unsigned dtype, each 0..iterations; may be a map of a file.
        iterations: the bound of the computation; pixels that reached it are black.
        palette: one of `palettes.PALETTES`.

    Returns:
        An image of mode "P", W by H pixels; colour 0 is the interior, 1..255 the palette.

    Raises:
        ParameterError: there is no such palette.
    """
    colours = _colours(palette)
    top = min(iterations, _COUNT_MAX)
    pixels = np.zeros(top + 1, np.int64)
    for band in _bands(counts):
        found = np.bincount(_capped(counts[band], iterations).ravel())
        pixels[: len(found)] += found
    table = _table(pixels)
    indices = np.empty(counts.shape, np.uint8)
    for band in _bands(counts):
        np.take(table, _capped(counts[band], iterations), out=indices[band], mode="clip")
    height, width = counts.shape
    # Without a copy: the image keeps the array.
    image = Image.frombuffer("P", (width, height), indices, "raw", "P", 0, 1)
    image.putpalette(colours)
    return image


def write_png(
    path: Path, counts: NDArray[Any], iterations: int, palette: str = PALETTES[0]
) -> None:
    """Draw counts into a PNG file, which appears whole or not at all.

    Args:
        path: the file; one that exists is replaced.
        counts: see `picture`, as are `iterations` and `palette`.

    Raises:
        ParameterError: there is no such palette.
        OutputError: the file can't be written.
    """
    image = picture(counts, iterations, palette)
    with replacing(path) as file:
        image.save(file, "PNG", compress_level=_PNG_LEVEL)


def _bands(counts: NDArray[Any]) -> Iterator[slice]:
    height, width = counts.shape
    rows = max(1, _BAND_BYTES // max(1, width * counts.itemsize))
    return (slice(row, row + rows) for row in range(0, height, rows))


def _capped(band: NDArray[Any], iterations: int) -> NDArray[Any]:
    """Counts that fit the table, whatever a peer sent; the interior stays apart, at its end."""
    largest = int(np.iinfo(band.dtype).max)
    wide = iterations > _COUNT_MAX and largest > _COUNT_MAX
    most = _COUNT_MAX - 1 if wide else min(iterations, largest)
    capped: NDArray[Any] = np.minimum(band, most)
    if wide:
        capped[band >= iterations] = _COUNT_MAX
    return capped


def _table(pixels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Colour index of each count, from the number of pixels of each; the last is the interior."""
    weights = np.sqrt(pixels)
    weights[-1] = 0
    sums = np.cumsum(weights)
    table = 1 + 254 * (sums - weights / 2) / max(sums[-1], 1.0)
    table[-1] = 0
    indices: NDArray[np.uint8] = np.rint(table).astype(np.uint8)
    return indices


def _colours(palette: str) -> list[int]:
    """256 colours as R, G, B, R, … in 0..255: black, then the palette's anchors interpolated."""
    anchors = np.array([list(colour) for colour in palettes.anchors(palette)], float)
    place = np.linspace(0, len(anchors) - 1, 255)
    channels = [np.interp(place, np.arange(len(anchors)), channel) for channel in anchors.T]
    return [0, 0, 0, *np.rint(np.stack(channels, axis=1)).astype(int).ravel().tolist()]
