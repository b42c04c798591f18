"""Numba's two ways: the plain loop, and 32 pixels side by side, which it makes vectors of.

Numba is not among the project's dependencies, since it holds NumPy and Python back for everybody:
where it can't be imported these variants are left out. `pip install numba` gets it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy

LANES = 32

Loop = Callable[[float, float, int, Any, Any, Any], None]


def scalar(c_re: float, c_im: float, iterations: int, xs: Any, ys: Any, out: Any) -> None:
    """The plain loop."""
    for j in range(ys.size):
        for i in range(xs.size):
            zx, zy = xs[i], ys[j]
            n = 0
            while n < iterations and zx * zx + zy * zy <= 4.0:
                zx, zy = zx * zx - zy * zy + c_re, 2.0 * zx * zy + c_im
                n += 1
            out[j, i] = n


def lanes(c_re: float, c_im: float, iterations: int, xs: Any, ys: Any, out: Any) -> None:
    """32 pixels at a time until all have escaped: right for |c| < 2, where none comes back."""
    zx, zy, counts = numpy.empty(LANES), numpy.empty(LANES), numpy.empty(LANES, numpy.int64)
    for j in range(ys.size):
        for left in range(0, xs.size, LANES):
            there = min(LANES, xs.size - left)
            zx[:] = 4.0  # where no pixel is, one that is outside
            zx[:there] = xs[left : left + there]
            zy[:] = ys[j]
            counts[:] = 0
            for _ in range(iterations):
                alive = 0
                for k in range(LANES):
                    xx, yy = zx[k] * zx[k], zy[k] * zy[k]
                    inside = 1 if xx + yy <= 4.0 else 0
                    counts[k] += inside
                    alive += inside
                    zy[k] = 2.0 * zx[k] * zy[k] + c_im
                    zx[k] = xx - yy + c_re
                if alive == 0:
                    break
            out[j, left : left + there] = counts[:there]


def compiled(loop: Loop) -> Loop:
    """The loop, compiled for this processor by its first call.

    Raises:
        ImportError: there is no numba here.
    """
    numba = importlib.import_module("numba")
    made: Loop = numba.njit(loop)
    small = numpy.zeros(LANES)
    made(0.0, 0.0, 1, small, small, numpy.empty((LANES, LANES), numpy.uint16))
    return made


def version() -> str:
    """Numba's version, or nothing."""
    try:
        return str(importlib.import_module("numba").__version__)
    except ImportError:
        return ""
