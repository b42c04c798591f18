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

    An overflow to infinity or NaN is not <= 4 and so ends the loop like any other escape.
    """
    n = 0
    while n < iterations and zx * zx + zy * zy <= 4:
        zx, zy = zx * zx - zy * zy + c_re, 2 * zx * zy + c_im
        n += 1
    return n
