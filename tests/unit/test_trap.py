"""Trap discs: where there are some, how large they are, and that the certificate can say no."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from hpczmq.kernels import trap
from hpczmq.kernels.trap import Circle, certified, circles, discs

#: c, and the length of its attracting cycle.
CYCLES = {
    "zero": (0.0, 0.0, 1),
    "main cardioid": (-0.4, 0.3, 1),
    "near the edge of the main cardioid": (0.24999, 0.0, 1),
    "period 2, at its centre": (-1.0, 0.0, 2),
    "rabbit": (-0.123, 0.745, 3),
    "airplane": (-1.7549, 0.0, 3),
    "period 4": (-1.31, 0.0, 4),
    "period 5": (-0.504, 0.563, 5),
    "period 7": (-0.62772, -0.42193, 7),
    "period 256": (-1.40115, 0.0, 256),
}
cycles = pytest.mark.parametrize(("c_re", "c_im", "period"), CYCLES.values(), ids=CYCLES)


@cycles
def test_there_is_a_disc_around_each_point_of_the_cycle_in_its_order(
    c_re: float, c_im: float, period: int
) -> None:
    found = discs(c_re, c_im)
    assert len(found) == period
    for here, there in zip(found, [*found[1:], found[0]], strict=True):
        step = complex(here.re, here.im) ** 2 + complex(c_re, c_im)
        assert abs(step - complex(there.re, there.im)) < 1e-13


@cycles
def test_the_radii_are_the_largest_that_can_be_certified(
    c_re: float, c_im: float, period: int
) -> None:
    ring = circles(c_re, c_im)
    assert certified(c_re, c_im, ring)
    assert not certified(c_re, c_im, [c._replace(radius=c.radius * 1.01) for c in ring])
    assert not certified(c_re, c_im, [c._replace(radius=c.radius * 1.0001) for c in ring])


@cycles
def test_a_radius_that_is_slightly_too_large_is_refused(
    c_re: float, c_im: float, period: int
) -> None:
    ring = list(circles(c_re, c_im))
    for index in {0, period // 2, period - 1}:
        wrong = ring.copy()
        wrong[index] = ring[index]._replace(radius=ring[index].radius * 1.0001)
        assert not certified(c_re, c_im, wrong)


@cycles
def test_a_centre_beside_its_place_is_refused(c_re: float, c_im: float, period: int) -> None:
    ring = list(circles(c_re, c_im))
    ring[-1] = ring[-1]._replace(re=ring[-1].re + ring[-1].radius / 2)
    assert not certified(c_re, c_im, ring)


def test_the_certificate_counts_the_rounding_of_the_step() -> None:
    # Without rounding, each disc around 0 that is smaller than the unit disc is a trap of z².
    step = float(trap.STEP_ERROR)
    assert certified(0.0, 0.0, [Circle(0.0, 0.0, 1 - 2 * step)])
    assert not certified(0.0, 0.0, [Circle(0.0, 0.0, 1 - step / 2)])
    assert certified(0.0, 0.0, [Circle(0.0, 0.0, 2 * step)])
    assert not certified(0.0, 0.0, [Circle(0.0, 0.0, step / 2)])
    assert not certified(0.0, 0.0, [Circle(0.0, 0.0, -0.5)])


def test_a_disc_that_reaches_the_edge_of_what_has_not_escaped_is_refused() -> None:
    # -2 → 2 → 2: a fixed point whose disc would be half outside.
    assert not certified(-2.0, 0.0, [Circle(2.0, 0.0, 0.1)])
    assert not certified(0.0, 0.0, [Circle(0.0, 0.0, 2.0)])


def test_a_constant_beyond_the_bound_on_the_rounding_is_refused() -> None:
    ring = [Circle(0.0, 0.0, 0.5)]
    assert not certified(2.1, 0.0, ring)
    assert not certified(1e300, -1e300, ring)


def test_for_zero_the_disc_is_nearly_the_unit_disc() -> None:
    (disc,) = discs(0.0, 0.0)
    assert disc[:2] == (0.0, 0.0)
    assert 1 - 1e-11 < disc.radius2 < 1


@pytest.mark.parametrize(
    ("c_re", "c_im"),
    [
        (0.285, 0.01), (-0.8, 0.156), (1.0, 0.0),  # the critical orbit escapes
        (0.25, 0.0), (-0.75, 0.0), (-1.25, 0.0),  # the cycle attracts too weakly, or not at all
        (-2.0, 0.0), (0.0, 1.0),  # the critical orbit ends in a cycle that repels
        (2.0, 2.0), (1e308, 1e308), (-1.7e308, 0.0), (0.0, 2.5),
        (math.inf, 0.0), (0.0, -math.inf), (math.nan, 0.0), (0.0, math.nan),
    ],
)  # fmt: skip
def test_where_nothing_attracts_there_is_no_disc(c_re: float, c_im: float) -> None:
    assert discs(c_re, c_im) == ()


@pytest.mark.parametrize("tiny", [5e-324, -5e-324, 2.2e-308, 1e-300, -0.0])
def test_a_tiny_constant_has_the_disc_of_zero(tiny: float) -> None:
    assert discs(tiny, tiny)[0].radius2 == pytest.approx(1, abs=1e-11)


def test_the_tested_radius_leaves_room_for_the_rounding_of_the_test() -> None:
    for circle, disc in zip(circles(-0.123, 0.745), discs(-0.123, 0.745), strict=True):
        assert (circle.re, circle.im) == (disc.re, disc.im)
        exact = Fraction(circle.radius) ** 2
        assert exact * (1 - 2 * trap.TEST_MARGIN) < disc.radius2 <= exact * (1 - trap.TEST_MARGIN)


def test_discs_are_found_once_and_kept() -> None:
    assert discs(-0.5, 0.25) is discs(-0.5, 0.25)
