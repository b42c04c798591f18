"""The ways in which z² + c is computed here, each operation rounded as the processor would."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

#: (zx, zy) and c in, the next (zx, zy) out.
Step = Callable[[float, float, complex], tuple[float, float]]


def contract(zx: float, zy: float, c: complex) -> tuple[float, float]:
    """The step of the contract."""
    return zx * zx - zy * zy + c.real, 2 * zx * zy + c.imag


def fma(a: float, b: float, c: float) -> float:
    """a*b + c with one rounding: the quotient of two ints is rounded once."""
    if not all(map(math.isfinite, (a, b, c))):
        return a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def fused(zx: float, zy: float, c: complex) -> tuple[float, float]:
    """The imaginary part with a fused doubling."""
    return zx * zx - zy * zy + c.real, fma(2.0, zx * zy, c.imag)


def flushed(zx: float, zy: float, c: complex) -> tuple[float, float]:
    """The step of a processor that takes subnormal numbers for zero, going in and coming out."""

    def z(value: float) -> float:
        return 0.0 if abs(value) < 2.0**-1022 else value

    zx, zy, c = z(zx), z(zy), complex(z(c.real), z(c.imag))
    return z(z(z(zx * zx) - z(zy * zy)) + c.real), z(z(2 * zx * zy) + c.imag)


def count(start: tuple[float, float], c: complex, iterations: int, step: Step = contract) -> int:
    """The contract's loop with another step."""
    zx, zy = start
    for n in range(iterations):
        if not zx * zx + zy * zy <= 4:
            return n
        zx, zy = step(zx, zy, c)
    return iterations
