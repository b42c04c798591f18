"""A small copy of an image while its tiles arrive: some hundred pixels a side, whatever it is."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpczmq.errors import ProtocolError
from hpczmq.futures import Sink, value_of
from hpczmq.mapping import Drawing
from hpczmq.model import JobInfo, Outcome
from hpczmq.palettes import Look
from hpczmq.wire import Buffer

#: The longer side, in pixels: what a large terminal shows, twice over.
_SIDE: Final = 256


class Canvas(Sink):
    """Takes the tiles of an image in, in the client's thread; drawn in another.

    Of each tile only the pixels in the middle of the canvas' own are kept.

    Args:
        kernel: the Julia set's.
        params: the image, as the kernel's `parse` gives it.
        side: the longer side, in pixels, at most.
    """

    def __init__(self, kernel: Any, params: Any, side: int = _SIDE) -> None:
        self._tiles = kernel.split(params)
        super().__init__(len(self._tiles))
        self._mirrored = bool(params.mirrored)
        self._iterations = int(params.iterations)
        wide, high = params.width, params.height
        shrink = max(1.0, max(wide, high) / side)
        self.width, self.height = max(1, round(wide / shrink)), max(1, round(high / shrink))
        #: Column and row of the image that each of ours shows.
        self._columns = ((np.arange(self.width) + 0.5) * wide / self.width).astype(np.int64)
        self._rows = ((np.arange(self.height) + 0.5) * high / self.height).astype(np.int64)
        self._whole = wide, high
        self._counts = np.zeros((self.height, self.width), np.uint32)
        self._there = np.zeros((self.height, self.width), bool)
        self._lock = threading.Lock()
        #: Grows with each tile; and the last drawing, of which size and of how much.
        self.version = 0
        self._drawn: tuple[tuple[int, int, int], NDArray[np.int16]] | None = None
        #: 256 colours of R, G, B; black first.
        self.colours = b""
        self.cause = ""

    def over(self, info: JobInfo) -> None:
        """See `Sink.over`."""
        self.ended = True

    def fail(self, error: BaseException) -> None:
        """See `Sink.fail`."""
        self.ended, self.cause = True, str(error)

    def _take(self, outcomes: Sequence[Outcome], buffers: Sequence[Buffer]) -> None:
        rest = iter(buffers)
        for outcome in outcomes:
            if outcome.status.good and outcome.index < len(self._tiles):
                try:
                    self.place(self._tiles[outcome.index], value_of(outcome, rest))
                except ProtocolError as error:
                    self.cause = str(error)

    def place(self, tile: Any, counts: Any) -> None:
        """Keep a few pixels of a tile; one that is not as it should be is left out."""
        if getattr(counts, "shape", None) != (tile.height, tile.width) or counts.dtype.kind != "u":
            return
        with self._lock:
            self._place(tile.x, tile.y, counts)
            if self._mirrored:
                wide, high = self._whole
                x, y = wide - tile.x - tile.width, high - tile.y - tile.height
                self._place(x, y, counts[::-1, ::-1])
            self.version += 1

    def _place(self, x: int, y: int, counts: NDArray[Any]) -> None:
        high, wide = counts.shape
        left, right = np.searchsorted(self._columns, (x, x + wide))
        top, bottom = np.searchsorted(self._rows, (y, y + high))
        if left < right and top < bottom:
            rows, columns = self._rows[top:bottom] - y, self._columns[left:right] - x
            self._counts[top:bottom, left:right] = counts[np.ix_(rows, columns)]
            self._there[top:bottom, left:right] = True

    def counts(self) -> NDArray[np.uint32]:
        """What has arrived, (height, width), each 0..iterations; 0 where nothing has."""
        with self._lock:
            return self._counts.copy()

    def pixels(self, columns: int, rows: int) -> NDArray[np.int16]:
        """The image as it fits so many pixels: (height, width) of numbers of a colour, 0..255, and
        −1 where nothing has arrived yet."""
        with self._lock:
            asked = columns, rows, self.version
            if self._drawn is not None and self._drawn[0] == asked:
                return self._drawn[1]
            counts, there = self._counts.copy(), self._there.copy()
        shrink = max(self.width / columns, self.height / rows)
        wide = max(1, min(columns, int(self.width / shrink)))
        high = max(1, min(rows, int(self.height / shrink)))
        if not there.any():
            return np.full((high, wide), -1, np.int16)
        drawing = Drawing(counts[there][np.newaxis], self._iterations, Look())
        self.colours = drawing.colours
        index = drawing.indices(counts).astype(np.float32)
        index[~there] = 0
        sums, cells = _sums(index, wide, high), _sums(there.astype(np.float32), wide, high)
        found = np.full((high, wide), -1, np.int16)
        seen = cells > 0
        found[seen] = np.rint(sums[seen] / cells[seen]).astype(np.int16)
        with self._lock:
            self._drawn = asked, found
        return found


def _sums(values: NDArray[np.float32], wide: int, high: int) -> NDArray[Any]:
    """Sums of an array over so many columns and rows of about equal size."""
    rows, columns = values.shape
    row_edges = (np.arange(high) * rows // high).astype(np.int64)
    column_edges = (np.arange(wide) * columns // wide).astype(np.int64)
    # Where there are fewer pixels than wanted, each stands for several.
    if high > rows or wide > columns:
        values = values[np.ix_(np.arange(high) * rows // high, np.arange(wide) * columns // wide)]
        return values
    return np.add.reduceat(np.add.reduceat(values, row_edges, axis=0), column_edges, axis=1)
