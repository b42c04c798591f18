"""Laws of the trap discs: a step from a disc ends in the next one, however it is rounded."""

from __future__ import annotations

import cmath
import math
from fractions import Fraction

from hypothesis import assume, example, given
from hypothesis import strategies as st

from hpczmq.kernels import trap
from hpczmq.kernels.trap import Circle, Disc, circles, discs
from tests.property.steps import Step, contract, flushed, fma, fused

#: Centres of components of the Mandelbrot set's interior, with a radius that stays inside.
COMPONENTS = [
    (0j, 0.2), (-0.4 + 0.3j, 0.1), (-1 + 0j, 0.24),  # periods 1, 1, 2
    (-0.1226 + 0.7449j, 0.06), (-1.7549 + 0j, 0.004),  # 3, 3
    (-1.3107 + 0j, 0.03), (0.2822 + 0.5301j, 0.02), (-0.15652 + 1.03225j, 0.001),  # 4
    (-0.5044 + 0.5628j, 0.02), (-1.62541 + 0j, 0.0005), (-0.62772 - 0.42193j, 0.0),  # 5, 5, 7
    (-1.5749 + 0j, 0.0), (-0.123 + 0.745j, 0.0), (-1.401 + 0j, 0.0),  # 7, 3, 64
]  # fmt: skip
angles = st.floats(0, math.tau)
inside = st.builds(
    lambda component, part, angle: component[0] + component[1] * part * cmath.exp(1j * angle),
    st.sampled_from(COMPONENTS),
    st.floats(0, 1),
    angles,
)
#: The edge is where a disc vanishes; a c may be a hair on either side of it.
near_the_edge = st.builds(
    lambda angle, part, side: (
        (m := (1 + side * 10.0**-part) * cmath.exp(1j * angle)) / 2 - m * m / 4
    ),
    angles,
    st.floats(0, 17),
    st.sampled_from([-1, 1]),
)
anything = st.builds(complex, st.floats(), st.floats())
small = st.builds(complex, st.floats(-2.2, 2.2), st.floats(-2.2, 2.2))

steps = st.sampled_from([contract, fused, flushed])


def is_in(zx: float, zy: float, circle: Circle) -> bool:
    """Exactly."""
    dx, dy = Fraction(zx) - Fraction(circle.re), Fraction(zy) - Fraction(circle.im)
    return dx * dx + dy * dy <= Fraction(circle.radius) ** 2


def passes(zx: float, zy: float, disc: Disc) -> bool:
    """The test that a kernel makes."""
    return (zx - disc.re) * (zx - disc.re) + (zy - disc.im) * (zy - disc.im) <= disc.radius2


def on(disc: Disc, part: float, angle: float) -> tuple[float, float]:
    """A point at this part of the disc's radius."""
    radius = math.sqrt(disc.radius2) * part
    return disc.re + radius * math.cos(angle), disc.im + radius * math.sin(angle)


#: Mostly the edge, where it could go wrong.
parts = st.one_of(st.just(1.0), st.floats(1 - 1e-14, 1 + 1e-14), st.floats(0.0, 1.0))


@given(c=st.one_of(inside, near_the_edge), part=parts, angle=angles, step=steps, data=st.data())
@example(c=0j, part=1.0, angle=0.0, step=contract, data=None)
def test_an_orbit_goes_from_disc_to_disc(
    c: complex, part: float, angle: float, step: Step, data: st.DataObject | None
) -> None:
    ring = circles(c.real, c.imag)
    assume(ring)
    first = data.draw(st.integers(0, len(ring) - 1)) if data else 0
    zx, zy = on(discs(c.real, c.imag)[first], part, angle)
    assume(passes(zx, zy, discs(c.real, c.imag)[first]))
    for index in range(first, first + 60):
        assert is_in(zx, zy, ring[index % len(ring)])
        assert zx * zx + zy * zy <= 4
        zx, zy = step(zx, zy, c)


@given(c=inside, angle=angles, data=st.data())
def test_an_orbit_never_escapes_again(c: complex, angle: float, data: st.DataObject) -> None:
    found = discs(c.real, c.imag)
    assert found
    index = data.draw(st.integers(0, len(found) - 1))
    zx, zy = on(found[index], 1.0, angle)
    assume(passes(zx, zy, found[index]))
    for _ in range(3_000):
        zx, zy = contract(zx, zy, c)
        assert zx * zx + zy * zy <= 4


@given(c=inside, part=parts, angle=angles, data=st.data())
def test_the_test_is_true_inside_the_disc_only(
    c: complex, part: float, angle: float, data: st.DataObject
) -> None:
    ring, found = circles(c.real, c.imag), discs(c.real, c.imag)
    index = data.draw(st.integers(0, len(ring) - 1))
    disc = found[index]
    zx, zy = on(disc, part, angle)
    dx, dy = zx - disc.re, zy - disc.im
    for value in (dx * dx + dy * dy, fma(dx, dx, dy * dy), fma(dy, dy, dx * dx)):
        assert value > disc.radius2 or is_in(zx, zy, ring[index])


@given(zx=st.floats(), zy=st.floats(), c=inside)
def test_numbers_beyond_all_discs_are_in_none(zx: float, zy: float, c: complex) -> None:
    found = [disc for disc in discs(c.real, c.imag) if passes(zx, zy, disc)]
    assert not found or (abs(zx) <= 2 and abs(zy) <= 2)


@given(c=st.one_of(anything, small, near_the_edge))
def test_every_constant_gets_discs_that_are_certified_or_none(c: complex) -> None:
    ring = circles(c.real, c.imag)
    assert len(ring) <= trap.PERIOD_MAX
    assert not ring or trap.certified(c.real, c.imag, ring)
    assert len(discs(c.real, c.imag)) == len(ring)
