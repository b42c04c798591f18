"""The Julia set as a plain loop: slow, and what the other implementations are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpczmq.kernels.base import CancelFlag, Cancelled

if TYPE_CHECKING:
    from hpczmq.kernels.julia import Counts, JuliaParams, Tile


def counts(params: JuliaParams, tile: Tile, out: Counts, cancelled: CancelFlag) -> None:
    """Write the counts of `tile` into `out`; see `julia.CountsFunction`."""
    dx = params.dx
    xs = [
        params.center_x + (i - (params.width - 1) / 2) * dx
        for i in range(tile.x, tile.x + tile.width)
    ]
    for row in range(tile.height):
        if cancelled.is_set():
            raise Cancelled
        y = params.center_y + ((params.height - 1) / 2 - (tile.y + row)) * dx
        out[row] = [escape(x, y, params.c_re, params.c_im, params.iterations) for x in xs]


def escape(zx: float, zy: float, c_re: float, c_im: float, iterations: int) -> int:
    """How often z² + c can be applied to (zx, zy) before |z| > 2; `iterations` at most.

    An overflow to infinity or NaN is not <= 4 and so ends the loop like any other escape. Written
    as 4.0 and 2.0 the constants are floats, which Python computes with half as fast again.
    """
    for n in range(iterations):
        xx, yy = zx * zx, zy * zy
        if not xx + yy <= 4.0:
            return n
        zy = 2.0 * zx * zy + c_im
        zx = xx - yy + c_re
    return iterations
