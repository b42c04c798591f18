"""Discs of the plane that no orbit of z² + c ever leaves, with the rounding counted in.

If z² + c has an attracting cycle a_0 → a_1 → … → a_0, then around each of its points there is a
disc D_i such that a step from D_i ends in D_(i+1). All of them lie inside |z| <= 2, so that a
pixel whose orbit enters one never escapes: its count is `iterations`, proven and not guessed.

Two halves, and only the second one has to be right:

- *Finding*: the critical orbit 0 → c → c² + c … goes to the cycle if there is one (Fatou). Its
  closest returns name periods, Newton's method refines the cycle, and the largest radii follow.
- *Certifying* (`certified`), in exact rational arithmetic. For z = a + d with |d| <= r,

      |fl(z² + c) - a'| <= 2·|a|·r + r² + |a² + c - a'| + STEP_ERROR

  must be at most the next disc's radius. `STEP_ERROR` bounds what rounding adds in each way the
  step is computed here, whatever the processor does with subnormal numbers.

The proofs are in docs/exactness.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

#: Steps of the critical orbit after which a cycle is looked for: most c need few. It bounds the
#: time (a few tens of ms), and so which c near the edge of the Mandelbrot set get no discs.
STEPS = (512, 4_096, 32_768, 131_072)
#: The longest cycle that is looked for. Discs of a long one are small and seldom gain anything.
PERIOD_MAX = 256
#: Newton doubles the digits with each step; one that needs more does not converge.
NEWTON_STEPS_MAX = 12
#: Squared distance below which two points of a cycle are one.
SAME2 = 2.0**-80

#: Distance between the computed step and z² + c, at most, for |z| <= 2 and |c| <= 2. The two
#: parts take at most 5·|z|² + 2·|c| <= 24 units of 2**-53; the rest up to 32 is for underflow.
STEP_ERROR = Fraction(1, 2**48)
#: |z| <= REACH_MAX makes `zx*zx + zy*zy <= 4` true, rounded or not.
REACH_MAX = 2 - Fraction(1, 2**48)
#: How much less than r² a disc's `radius2` is, relatively: four roundings of 2**-53, twice.
TEST_MARGIN = Fraction(1, 2**50)

#: Parts that radii are made smaller by until they can be certified: near the edge of a component
#: of the Mandelbrot set the slack grows only with the square of what is taken away.
_SHRINK = (2.0**-40, 2.0**-30, 2.0**-20, 2.0**-12, 2.0**-6, 2.0**-2)
#: Relative room that makes a float result an upper bound.
_UP = 1 + 2.0**-48


class Disc(NamedTuple):
    """A disc that an orbit never leaves but for the next one of its cycle.

    ``(zx - re)*(zx - re) + (zy - im)*(zy - im) <= radius2``, computed in binary64 in any order,
    fused or not, proves that (zx, zy) is inside.
    """

    re: float
    im: float
    radius2: float


class Circle(NamedTuple):
    """A cycle's point and the exact radius around it, before they are made a test."""

    re: float
    im: float
    radius: float


@functools.lru_cache(maxsize=256)
def discs(c_re: float, c_im: float) -> tuple[Disc, ...]:
    """The trap discs of z² + c, one for each point of its attracting cycle, in its order.

    Any two floats may be given. There is none (an empty tuple) if |c| > 2, if there is no
    attracting cycle, and if one is too long or too weak to be found or certified.
    """
    return tuple(_disc(circle) for circle in circles(c_re, c_im))


def circles(c_re: float, c_im: float) -> tuple[Circle, ...]:
    """The circles behind `discs`, with their exact radii. At most 0.05 s."""
    if not math.hypot(c_re, c_im) <= 2:  # NaN too
        return ()
    for cycle in _cycles(complex(c_re, c_im)):
        for found in _candidates(cycle, complex(c_re, c_im)):
            if certified(c_re, c_im, found):
                return found
    return ()


def certified(c_re: float, c_im: float, ring: Sequence[Circle]) -> bool:
    """Whether a step from each circle's disc ends in the next one's, all of them inside |z| <= 2.

    Exact: its arithmetic is rational. The last circle is followed by the first. At least one
    circle; everything finite.
    """
    real, imag = Fraction(c_re), Fraction(c_im)
    if real * real + imag * imag > 4:
        return False
    following = [*ring[1:], ring[0]]
    return all(
        _leads_to(here, there, real, imag) for here, there in zip(ring, following, strict=True)
    )


def _leads_to(here: Circle, there: Circle, c_re: Fraction, c_im: Fraction) -> bool:
    x, y, r = map(Fraction, here)
    next_x, next_y, next_r = map(Fraction, there)
    if r < 0:
        return False
    size = Fraction(math.nextafter(math.hypot(here.re, here.im), math.inf))
    if size * size < x * x + y * y or size + r > REACH_MAX:
        return False
    # Compared by their squares, which needs no root.
    room = next_r - (2 * size * r + r * r + STEP_ERROR)
    off_x, off_y = x * x - y * y + c_re - next_x, 2 * x * y + c_im - next_y
    return room >= 0 and room * room >= off_x * off_x + off_y * off_y


def _disc(circle: Circle) -> Disc:
    """The circle as a test that is true inside it only."""
    radius2 = circle.radius * circle.radius
    while Fraction(radius2) > Fraction(circle.radius) ** 2 * (1 - TEST_MARGIN):
        radius2 = math.nextafter(radius2, 0)
    return Disc(circle.re, circle.im, radius2)


# --- Finding ------------------------------------------------------------------------------------


def _cycles(c: complex) -> Iterator[list[complex]]:
    """Attracting cycles as the critical orbit gives them; the same one may come again."""
    z, done = 0j, 0
    for steps in STEPS:
        for _ in range(steps - done):
            z = z * z + c
        done = steps
        if not _square(z) <= 4:
            return  # it escaped, so there is none
        for period in _returns(z, c):
            if cycle := _refined(z, c, period):
                # Newton for p steps finds the cycles of p's divisors too.
                shortest = _period(cycle)
                yield cycle if shortest == period else _refined(cycle[0], c, shortest) or cycle


def _returns(z: complex, c: complex) -> list[int]:
    """Numbers of steps after which the orbit of z comes closer to z than ever before."""
    found, nearest, w = [], math.inf, z
    for steps in range(1, PERIOD_MAX + 1):
        w = w * w + c
        distance = _square(w - z)
        if distance < nearest:
            found.append(steps)
            nearest = distance
    return found


def _refined(z: complex, c: complex, period: int) -> list[complex]:
    """The attracting cycle of this period near z, as good as floats can be; empty if none."""
    for _ in range(NEWTON_STEPS_MAX):
        w, slope = z, 1 + 0j
        for _ in range(period):
            slope *= 2 * w
            w = w * w + c
        if not _square(slope) < 1:
            return []
        step = (w - z) / (slope - 1)
        z -= step
        if _square(step) < 2.0**-100:
            break
    cycle = [z]
    while len(cycle) < period:
        cycle.append(cycle[-1] * cycle[-1] + c)
    return cycle if all(_square(a) <= 4 for a in cycle) else []


def _period(cycle: list[complex]) -> int:
    """Steps after which the cycle is where it began."""
    length = len(cycle)
    divisors = (steps for steps in range(1, length) if length % steps == 0)
    same = (steps for steps in divisors if _square(cycle[steps] - cycle[0]) < SAME2)
    return next(same, length)


def _candidates(cycle: list[complex], c: complex) -> Iterator[tuple[Circle, ...]]:
    """Circles around the cycle's points, the largest first."""
    sizes = [abs(a) * _UP for a in cycle]
    following = [*cycle[1:], cycle[0]]
    errors = [
        (abs(a * a + c - b) + 2 * float(STEP_ERROR)) * _UP
        for a, b in zip(cycle, following, strict=True)
    ]
    largest = _largest(sizes, errors)
    for part in _SHRINK:
        radii = [largest * (1 - part)]
        for size, error in zip(sizes, errors, strict=True):
            radii.append((2 * size * radii[-1] + radii[-1] * radii[-1] + error) * _UP)
        if radii.pop() <= radii[0]:
            yield tuple(Circle(a.real, a.imag, r) for a, r in zip(cycle, radii, strict=True))


def _largest(sizes: list[float], errors: list[float]) -> float:
    """The largest radius of the first disc that the others lead back to, about.

    Going round once makes a radius r into P(r), a polynomial without negative coefficients and so
    convex: P(r) <= r holds between two roots, and to the right of the larger one P(r) > r with
    P'(r) >= 1. All the other radii are largest together with it.
    """
    low, high = 0.0, 2.0
    for _ in range(60):
        middle = (low + high) / 2
        r, slope = middle, 1.0
        for size, error in zip(sizes, errors, strict=True):
            slope *= 2 * (size + r)
            r = 2 * size * r + r * r + error
        if r <= middle or slope < 1:
            low = middle
        else:
            high = middle  # NaN after an overflow too
    return low


def _square(z: complex) -> float:
    """|z|², where `abs` would raise for what overflows."""
    return z.real * z.real + z.imag * z.imag
