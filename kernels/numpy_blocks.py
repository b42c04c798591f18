"""The Julia set with NumPy, for machines without a C compiler.

A swath of pixels is computed in rounds of some iterations, block by block, each block small enough
for the processor's cache. After each round the pixels that escaped get their count, and the others
move together, so that the work shrinks with what is alive. What makes it fast:

- While many escape, each iteration counts who is still inside. When few do, rounds are longer and
  not looked into: at their end the escaped ones are run again from the round's start, and counted.
  Unless |c| is nearly 2 or more, that misses nobody, for an orbit that left never comes back.
- An orbit in a trap disc never escapes: its pixel is done (kernels/trap.py).
- Arrays start at a cache line: NumPy's loops are half as fast again as on what malloc gives.

Real and imaginary parts are apart: NumPy's complex product fuses multiply and add on some
processors, and the counts would depend on the machine. The proofs are in docs/exactness.md.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

from hpczmq.kernels.base import CancelFlag, Cancelled
from hpczmq.kernels.julia import discs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hpczmq.kernels.julia import Counts, JuliaParams, Tile
    from hpczmq.kernels.trap import Disc

    Floats = NDArray[numpy.float64]
    Places = NDArray[numpy.intp]

#: Pixels of a block: zx, zy, xx and yy take 1 MiB, the second-level cache of a core. Smaller ones
#: lose more to the calls of NumPy than they gain.
BLOCK_PIXELS = 32_768
#: Pixels of a swath, or one row if that is longer; its arrays take 6 MiB. In a large one the few
#: that live long still fill a block, and the calls of NumPy cost less.
SWATH_PIXELS = 2**18
#: Iterations of a round, at least and at most: longer while few pixels escape.
ROUND_MIN = 8
ROUND_MAX = 128
#: A call of NumPy costs as much as its loop over so many pixels.
CALL_PIXELS = 1_300
#: One disc is tested for each so many iterations of a round. A test takes about as long as an
#: iteration, so that all of them take no more than a fifth of the time.
ITERATIONS_PER_DISC = 4
#: Orbits with |c|² up to this never come back. Nearer to 4, rounding is in the proof's way.
NO_RETURN_C2 = 3.999
#: Bytes of a cache line, and of the longest vector.
LINE_BYTES = 64

assert ROUND_MIN <= ROUND_MAX <= 255  # rounds count in uint8
assert BLOCK_PIXELS * 8 % LINE_BYTES == 0


def counts(params: JuliaParams, tile: Tile, out: Counts, cancelled: CancelFlag) -> None:
    """Write the counts of `tile` into `out`; see `julia.CountsFunction`."""
    dx = params.dx
    columns = numpy.arange(tile.x, tile.x + tile.width, dtype=numpy.float64)
    rows = numpy.arange(tile.y, tile.y + tile.height, dtype=numpy.float64)
    xs = params.center_x + (columns - (params.width - 1) / 2) * dx
    ys = params.center_y + ((params.height - 1) / 2 - rows) * dx
    height = min(tile.height, max(1, SWATH_PIXELS // tile.width))
    living, room = _Living(height * tile.width), _Room.of(height * tile.width)
    discs = discs_of(params)
    step = _Step(params.c_re, params.c_im)
    # An escaped pixel runs on to the end of its round and may overflow. It stays "not <= 4",
    # which is all that is asked of it.
    with numpy.errstate(all="ignore"):
        for top in range(0, tile.height, height):
            part = out[top : top + height]
            part.fill(params.iterations)  # the count of all that do not escape
            living.start(xs, ys[top : top + height])
            _swath(step, discs, params.iterations, living, part.reshape(-1), room, cancelled)


def _swath(
    step: _Step,
    discs: Sequence[Disc],
    iterations: int,
    living: _Living,
    out: Counts,
    room: _Room,
    cancelled: CancelFlag,
) -> None:
    """Write the counts of the swath's pixels that escape into `out`, a view of shape (pixels,)."""
    done, length, looks, blind = 0, ROUND_MIN, 0, False
    while living.size and done < iterations:
        length = min(length, iterations - done)
        tested = _tested(discs, length, done + length, looks)
        size, living.size, escaped = living.size, 0, 0
        for start in range(0, size, BLOCK_PIXELS):
            if cancelled.is_set():
                raise Cancelled
            zx, zy, pixel = living.block(start, min(start + BLOCK_PIXELS, size))
            here = room.first(pixel.size)
            gone, steps = step.round(zx, zy, length, blind, here)
            out[pixel[gone]] = steps.astype(out.dtype) + done
            for disc in tested:
                _leave(disc, zx, zy, here)
            living.keep(zx, zy, pixel, here)
            escaped += gone.size
        done, looks = done + length, looks + 1
        blind = not step.returns and _pays_blind(living.size, escaped)
        length = _next_length(size, escaped, length)


def _pays_blind(size: int, escaped: int) -> bool:
    """Whether `size` pixels are better not looked at within a round if so many escape in it.

    It takes 7 calls an iteration instead of 10, and those 10 again for who escaped.
    """
    return not escaped or 4 * CALL_PIXELS + 6 * escaped < size


def _next_length(size: int, escaped: int, length: int) -> int:
    """Iterations of the next round, after one of `length` in which so many of `size` escaped.

    The longer, the fewer looks at all pixels, and the further the escaped run on for nothing: the
    best grows with the square root of `size` over those that escape in an iteration.
    """
    if not escaped:
        return min(2 * length, ROUND_MAX)
    even = math.isqrt(8 * (size + CALL_PIXELS) * length // escaped)
    return max(ROUND_MIN, min(even, 2 * length, ROUND_MAX))


def _tested(discs: Sequence[Disc], length: int, done: int, looks: int) -> list[Disc]:
    """The discs to test after a round of this length, when `done` iterations are.

    All of a short cycle. Of a long one some: orbits in the trap move on by a disc with each
    iteration, and the next look sees those that this one did not.
    """
    if not discs:
        return []
    number = min(len(discs), max(1, length // ITERATIONS_PER_DISC))
    first = done + looks * number
    return [discs[(first + i) % len(discs)] for i in range(number)]


def _leave(disc: Disc, zx: Floats, zy: Floats, room: _Room) -> None:
    """Take those that are in the disc out of `room.alive`."""
    dx, dy = room.xx, room.yy
    numpy.subtract(zx, disc.re, out=dx)
    numpy.subtract(zy, disc.im, out=dy)
    numpy.multiply(dx, dx, out=dx)
    numpy.multiply(dy, dy, out=dy)
    numpy.add(dx, dy, out=dx)
    numpy.greater(dx, disc.radius2, out=room.inside)
    numpy.logical_and(room.alive, room.inside, out=room.alive)


class _Room(NamedTuple):
    """Room for a round of a block, made once a tile. All of shape (pixels,)."""

    xx: Floats
    yy: Floats
    #: Where the round began.
    zx: Floats
    zy: Floats
    #: Whether a look found |z| <= 2.
    inside: NDArray[numpy.bool_]
    #: Whether there is more to do after the round.
    alive: NDArray[numpy.bool_]
    #: Looks of the round that found |z| <= 2, up to the first that did not.
    steps: NDArray[numpy.uint8]

    @classmethod
    def of(cls, pixels: int) -> _Room:
        """New room for a block of so many pixels at most, with nothing in it."""
        size = min(pixels, BLOCK_PIXELS)
        dtypes = ["f8"] * 4 + ["?", "?", "u1"]
        return cls._make(_aligned(size, dtype) for dtype in dtypes)

    def first(self, pixels: int) -> _Room:
        """The same room for fewer pixels."""
        return _Room._make(array[:pixels] for array in self)


class _Living:
    """The pixels of a swath that may still escape, `size` of them at the arrays' beginning."""

    def __init__(self, pixels: int) -> None:
        self.size = 0
        self._zx: Floats = _aligned(pixels, "f8")
        self._zy: Floats = _aligned(pixels, "f8")
        #: Where in the swath's counts each one belongs.
        self._pixel: Places = numpy.empty(pixels, numpy.intp)

    def start(self, xs: Floats, ys: Floats) -> None:
        """All pixels of a swath of these columns and rows, row by row."""
        self.size = xs.size * ys.size
        self._zx[: self.size].reshape(ys.size, xs.size)[:] = xs
        self._zy[: self.size].reshape(ys.size, xs.size)[:] = ys[:, numpy.newaxis]
        self._pixel[: self.size] = numpy.arange(self.size)

    def block(self, start: int, stop: int) -> tuple[Floats, Floats, Places]:
        """Views of zx, zy and places."""
        return self._zx[start:stop], self._zy[start:stop], self._pixel[start:stop]

    def keep(self, zx: Floats, zy: Floats, pixel: Places, room: _Room) -> None:
        """Append those of the block that are alive; no further than where the block begins."""
        which = numpy.flatnonzero(room.alive)
        stop = self.size + which.size
        self._zx[self.size : stop] = zx.take(which)
        self._zy[self.size : stop] = zy.take(which)
        self._pixel[self.size : stop] = pixel.take(which)
        self.size = stop


class _Step(NamedTuple):
    """z² + c, applied to (zx, zy) in place, both of shape (pixels,)."""

    c_re: float
    c_im: float

    @property
    def returns(self) -> bool:
        """Whether an orbit that left |z| <= 2 may come back into it."""
        return self.c_re * self.c_re + self.c_im * self.c_im > NO_RETURN_C2

    def round(
        self, zx: Floats, zy: Floats, length: int, blind: bool, room: _Room
    ) -> tuple[Places, NDArray[numpy.uint8]]:
        """`length` steps. Says who escaped, and after how many of them; `room.alive` is the rest.

        Not `blind`, whom the last step took out is left to the next round.
        """
        if not blind:
            self._counted(zx, zy, length, room)
            numpy.copyto(room.alive, room.inside)
            gone = numpy.flatnonzero(~room.alive)
            return gone, room.steps.take(gone)
        numpy.copyto(room.zx, zx)
        numpy.copyto(room.zy, zy)
        self._blind(zx, zy, length, room)
        numpy.multiply(zx, zx, out=room.xx)
        numpy.multiply(zy, zy, out=room.yy)
        numpy.add(room.xx, room.yy, out=room.xx)
        numpy.less_equal(room.xx, 4.0, out=room.alive)
        gone = numpy.flatnonzero(~room.alive)
        again = room.first(gone.size)
        self._counted(room.zx.take(gone), room.zy.take(gone), length, again)
        return gone, again.steps

    def _blind(self, zx: Floats, zy: Floats, length: int, room: _Room) -> None:
        xx, yy = room.xx, room.yy
        # Arrays without a dimension and outputs by position: a third off a call's fixed cost.
        c_re, c_im = numpy.array(self.c_re), numpy.array(self.c_im)
        add, subtract, multiply = numpy.add, numpy.subtract, numpy.multiply
        for _ in range(length):
            multiply(zx, zx, xx)
            multiply(zy, zy, yy)
            add(zx, zx, zx)
            multiply(zx, zy, zy)
            add(zy, c_im, zy)
            subtract(xx, yy, zx)
            add(zx, c_re, zx)

    def _counted(self, zx: Floats, zy: Floats, length: int, room: _Room) -> None:
        """Leaves `inside`, of the last look, and `steps` in `room`."""
        xx, yy, inside, steps = room.xx, room.yy, room.inside, room.steps
        steps.fill(0)
        inside.fill(True)
        one_if_inside = inside.view(numpy.uint8)
        look = _still_less_equal if self.returns else numpy.less_equal
        c_re, c_im, four = numpy.array(self.c_re), numpy.array(self.c_im), numpy.array(4.0)
        add, subtract, multiply = numpy.add, numpy.subtract, numpy.multiply
        for _ in range(length):
            multiply(zx, zx, xx)
            multiply(zy, zy, yy)
            # 2*zx*zy + c_im, before xx + yy takes zx's place
            add(zx, zx, zx)
            multiply(zx, zy, zy)
            add(zy, c_im, zy)
            add(xx, yy, zx)
            look(zx, four, inside)
            add(steps, one_if_inside, steps)
            subtract(xx, yy, zx)
            add(zx, c_re, zx)


def _still_less_equal(values: Floats, limit: Floats, out: NDArray[numpy.bool_]) -> None:
    """Once out is out for good, even of those that come back."""
    numpy.logical_and(out, values <= limit, out=out)


def _aligned(length: int, dtype: str) -> Any:
    """An array of shape (length,) that begins at a cache line; its values are undefined."""
    size = length * numpy.dtype(dtype).itemsize
    raw = numpy.empty(size + LINE_BYTES, numpy.uint8)
    first = -raw.ctypes.data % LINE_BYTES
    return raw[first : first + size].view(dtype)
