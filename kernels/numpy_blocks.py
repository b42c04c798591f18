"""The Julia set with NumPy, for machines without a C compiler.

Pixels are computed in blocks that stay in the processor's cache, in rounds of a few iterations;
after each round those that escaped get their count and leave the block, so that the work shrinks
with the pixels that are still alive. Real and imaginary parts are apart: NumPy's complex product
fuses multiply and add on some processors, and the counts would depend on the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy

from hpczmq.kernels.base import CancelFlag, Cancelled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpczmq.kernels.julia import Counts, JuliaParams, Tile

    Floats = NDArray[numpy.float64]

#: Pixels of a block: zx, zy, xx and yy take 1 MiB, the second-level cache of a core. Smaller ones
#: lose more to the calls of NumPy than they gain (16,384: a third on images without interior).
BLOCK_PIXELS = 32_768
#: Iterations of a round, at least and at most: longer while few pixels escape, since closing a
#: round costs about as much as two iterations. Rounds count in uint8.
ROUND_MIN = 8
ROUND_MAX = 32

assert ROUND_MIN <= ROUND_MAX <= 255


def counts(params: JuliaParams, tile: Tile, out: Counts, cancelled: CancelFlag) -> None:
    """Write the counts of `tile` into `out`; see `julia.CountsFunction`."""
    dx = params.dx
    columns = numpy.arange(tile.x, tile.x + tile.width, dtype=numpy.float64)
    rows = numpy.arange(tile.y, tile.y + tile.height, dtype=numpy.float64)
    xs = params.center_x + (columns - (params.width - 1) / 2) * dx
    ys = params.center_y + ((params.height - 1) / 2 - rows) * dx
    flat = out.reshape(-1)  # a view: `out` is C-contiguous
    scratch = _Scratch.of(min(BLOCK_PIXELS, flat.size))
    # An escaped pixel runs on to the end of its round and may overflow. It stays "not <= 4",
    # which is all that is asked of it.
    with numpy.errstate(all="ignore"):
        for start in range(0, flat.size, BLOCK_PIXELS):
            block = flat[start : start + BLOCK_PIXELS]
            row, column = numpy.divmod(numpy.arange(start, start + block.size), tile.width)
            _block(params, xs[column], ys[row], block, scratch, cancelled)


class _Scratch(NamedTuple):
    """Room for one step of a block, made once a tile."""

    xx: Floats
    yy: Floats
    #: Whether the last look found |z| <= 2.
    inside: NDArray[numpy.bool_]
    #: Whether all looks of the round did.
    alive: NDArray[numpy.bool_]
    #: Looks of the round that did, up to the first that did not.
    steps: NDArray[numpy.uint8]

    @classmethod
    def of(cls, pixels: int) -> _Scratch:
        """New room, with nothing in it."""
        return cls(
            numpy.empty(pixels),
            numpy.empty(pixels),
            numpy.empty(pixels, bool),
            numpy.empty(pixels, bool),
            numpy.empty(pixels, numpy.uint8),
        )

    def first(self, pixels: int) -> _Scratch:
        """The same room for fewer pixels."""
        return _Scratch._make(array[:pixels] for array in self)


def _block(
    params: JuliaParams,
    zx: Floats,
    zy: Floats,
    out: Counts,
    scratch: _Scratch,
    cancelled: CancelFlag,
) -> None:
    """Write the counts of the pixels that start at (zx, zy), all of shape (pixels,), into `out`."""
    pixel = numpy.arange(out.size)  # where in `out` each living one belongs
    done, length = 0, ROUND_MIN
    while pixel.size and done < params.iterations:
        if cancelled.is_set():
            raise Cancelled
        length = min(length, params.iterations - done)
        room = scratch.first(pixel.size)
        _round(params, zx, zy, length, room)
        escaped = numpy.flatnonzero(~room.alive)
        if escaped.size:
            out[pixel[escaped]] = room.steps[escaped].astype(out.dtype) + done
            living = numpy.flatnonzero(room.alive)
            pixel, zx, zy = pixel[living], zx[living], zy[living]
        done += length
        few = escaped.size * 16 < room.alive.size
        length = min(2 * length, ROUND_MAX) if few else max(length // 2, ROUND_MIN)
    out[pixel] = params.iterations


def _round(
    params: JuliaParams,
    zx: Floats,
    zy: Floats,
    length: int,
    room: _Scratch,
) -> None:
    """Apply z² + c `length` times to (zx, zy), in place; leaves `alive` and `steps` in `room`."""
    xx, yy, inside, alive, steps = room
    alive.fill(True)
    steps.fill(0)
    one_if_alive = alive.view(numpy.uint8)
    for _ in range(length):
        numpy.multiply(zx, zx, out=xx)
        numpy.multiply(zy, zy, out=yy)
        # 2*zx*zy + c_im, before xx + yy takes zx's place
        numpy.add(zx, zx, out=zx)
        numpy.multiply(zx, zy, out=zy)
        numpy.add(zy, params.c_im, out=zy)
        numpy.add(xx, yy, out=zx)
        numpy.less_equal(zx, 4.0, out=inside)
        # Once out is out for good, wherever the orbit goes: with |c| >= 2 it may come back.
        numpy.logical_and(alive, inside, out=alive)
        numpy.add(steps, one_if_alive, out=steps)
        numpy.subtract(xx, yy, out=zx)
        numpy.add(zx, params.c_re, out=zx)
