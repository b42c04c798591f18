"""What docs/exactness.md proves, tried: who left stays out, and other forms of the step agree."""

from __future__ import annotations

import cmath
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hpczmq.kernels.numpy_blocks import NO_RETURN_C2
from tests.property.steps import (
    Step,
    contract,
    count,
    flushed,
    fused,
)

angles = st.floats(0, math.tau)
#: The largest |c| that is looked at at the end of a round only, and all below.
safe_c = st.builds(
    lambda part, angle: math.sqrt(NO_RETURN_C2) * part * cmath.exp(1j * angle),
    st.one_of(st.just(1.0), st.floats(0, 1)),
    angles,
)
#: Just outside of |z| = 2, and anywhere.
rims = st.builds(
    lambda ulps, angle: (2 + ulps * 2.0**-51) * cmath.exp(1j * angle), st.integers(-2, 4), angles
)
anywhere = st.builds(complex, st.floats(), st.floats())
#: Of every size, down to the subnormal ones: where forms could part.
sized = st.builds(
    lambda mantissa, exponent: math.ldexp(mantissa, exponent),
    st.one_of(st.sampled_from([1.0, -1.0, 0.0]), st.floats(-1, 1)),
    st.one_of(st.integers(-1074, 1), st.sampled_from([-480, -511, -537, -800, -900, -960])),
)
starts = st.tuples(sized, sized)
constants = st.builds(complex, sized, sized)


def is_inside(zx: float, zy: float) -> bool:
    return zx * zx + zy * zy <= 4


@pytest.mark.parametrize("step", [contract, fused, flushed])
@given(c=safe_c, z=st.one_of(rims, anywhere))
def test_who_has_left_stays_out(step: Step, c: complex, z: complex) -> None:
    zx, zy = z.real, z.imag
    assume(not is_inside(zx, zy))
    for _ in range(30):
        zx, zy = step(zx, zy, c)
        assert not is_inside(zx, zy)


@given(start=starts, c=constants)
def test_the_fused_form_is_the_contract_if_the_imaginary_part_is_not_tiny(
    start: tuple[float, float], c: complex
) -> None:
    assume(abs(c.imag) >= 2.0**-960)
    assert fused(*start, c) == contract(*start, c)


def test_the_fused_form_counts_otherwise_if_the_imaginary_part_is_tiny() -> None:
    # A product is rounded before it is doubled, or after; the real axis drives the two apart.
    start, c = (1.0, 5e-324), -1.9 + 0j
    assert count(start, c, 4_000) == 1_368
    assert count(start, c, 4_000, fused) == 1_370


@given(start=starts, c=constants)
def test_flushing_subnormal_numbers_changes_nothing_if_no_part_of_c_is_tiny(
    start: tuple[float, float], c: complex
) -> None:
    assume(min(abs(c.real), abs(c.imag)) >= 2.0**-900)
    assert flushed(*start, c) == contract(*start, c)


def test_flushing_subnormal_numbers_changes_counts_if_a_part_of_c_is_zero() -> None:
    # 1 + 5e-324i doubles its imaginary part with each step of z², and gets out.
    assert count((1.0, 5e-324), 0j, 2_000) < 2_000
    assert count((1.0, 5e-324), 0j, 2_000, flushed) == 2_000
