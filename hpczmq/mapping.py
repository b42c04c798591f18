"""Iteration counts to colours: which of 255 colours each count gets; the interior is colour 0.

Counts of one picture span from 1 to thousands, most pixels share a few small ones, and the
filaments worth seeing hold the rest. With p(k) the pixels of count k, s(k) the running sum of a
weight, and lo and hi the least and the largest count that escaped, count k gets the colour
1 + 254 * t(k), where t(k) is for

    linear      (k - lo) / (hi - lo)                      counts as they are: mostly plain
    equalised   (s(k) - s(lo)) / (s(hi) - s(lo))          weight p: plain areas get most colours
    balanced    (s(k) - w(k)/2) / s(hi)                   weight w = sqrt(p): between the two

All three depend on the image alone, not on its tiles, nor on a bound of iterations that no orbit
comes near. One table lookup a pixel then makes the picture.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpczmq.bands import bands, in_order
from hpczmq.palettes import Look, colours

#: Counts from here on share a colour. It bounds the table; so slow pixels are a handful.
_COUNT_MAX: Final = 1 << 20
#: Where runs of equal counts are longer than this on average, they are counted instead of pixels.
_RUN_PIXELS: Final = 4


class Drawing:
    """How the counts of one image become colours.

    Args:
        counts: (H, W), any unsigned dtype, each 0..iterations; may be a map of a file, and may be
            a part of the image that stands for the whole.
        iterations: the bound of the computation; pixels that reached it are black.
        look: palette and mapping.

    Raises:
        ParameterError: there is no such palette, or no such mapping.
    """

    def __init__(self, counts: NDArray[Any], iterations: int, look: Look) -> None:
        look.check()
        #: 256 colours of R, G, B in 0..255: black, then the palette.
        self.colours = colours(look.palette)
        self._iterations = iterations
        #: Counts from here on are the interior.
        self._interior = min(iterations, _COUNT_MAX)
        self._table = _table(self._pixels(counts), self._interior, look.mapping)

    def indices(self, counts: NDArray[Any]) -> NDArray[np.uint8]:
        """Colours of some counts of the image, 0..255, in an array of their shape."""
        drawn: NDArray[np.uint8] = np.take(self._table, self._capped(counts), mode="clip")
        return drawn

    def _pixels(self, counts: NDArray[Any]) -> NDArray[np.int64]:
        """Pixels of each count that escaped; zero for all other entries of the table."""
        narrow = counts.dtype.itemsize <= 2
        largest = int(np.iinfo(counts.dtype).max) if narrow else self._interior
        pixels = np.zeros(largest + 1, np.int64)
        parts = bands(len(counts), counts[:1].nbytes)
        for found in in_order(lambda band: _pixels_of(self._capped(counts[band])), parts):
            pixels[: len(found)] += found
        pixels[self._interior :] = 0
        return pixels

    def _capped(self, counts: NDArray[Any]) -> NDArray[Any]:
        """Counts that fit the table, whatever a peer sent; the interior stays apart, at its end."""
        if counts.dtype.itemsize <= 2:  # the table is as large as they get
            return counts
        wide = self._iterations > _COUNT_MAX
        capped: NDArray[Any] = np.minimum(counts, _COUNT_MAX - 1 if wide else self._iterations)
        if wide:
            capped[counts >= self._iterations] = _COUNT_MAX
        return capped.astype(np.uint32, copy=False)  # numpy 1.26 can't count uint64


def _pixels_of(counts: NDArray[Any]) -> NDArray[np.int64]:
    """Pixels of each count from 0 to the largest.

    Neighbours are mostly alike, and a run of them is found much faster than it is counted pixel
    by pixel; where they are not, counting is faster.
    """
    flat = counts.ravel()
    is_end = np.ones(len(flat), bool)
    np.not_equal(flat[1:], flat[:-1], out=is_end[:-1])
    ends = np.flatnonzero(is_end)
    if _RUN_PIXELS * len(ends) > len(flat):
        return np.bincount(flat)
    lengths = ends + 1.0
    lengths[1:] -= lengths[:-1].copy()
    return np.bincount(flat[ends], lengths).astype(np.int64)  # sums of float64 are exact here


def _table(pixels: NDArray[np.int64], interior: int, mapping: str) -> NDArray[np.uint8]:
    """Colour of each count, also of those that no pixel has.

    Args:
        pixels: how many there are of each count; none from `interior` on.
        interior: the counts from here on are colour 0.
        mapping: one of `palettes.MAPPINGS`.
    """
    table = np.zeros(len(pixels), np.uint8)
    escaped = np.flatnonzero(pixels)
    if len(escaped) == 0:
        return table
    first, last = int(escaped[0]), int(escaped[-1])
    if mapping == "linear":
        place = (np.arange(len(pixels)) - first) / max(last - first, 1)
    elif mapping == "equalised":
        sums = np.cumsum(pixels)
        place = (sums - sums[first]) / max(sums[-1] - sums[first], 1)
    else:
        weights = np.sqrt(pixels)
        sums = np.cumsum(weights)
        place = (sums - weights / 2) / sums[-1]
    table[:] = np.rint(1 + 254 * np.clip(place, 0, 1))
    table[interior:] = 0
    return table
