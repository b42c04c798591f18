"""The Julia set with NumPy: rounds, swaths and traps don't show in the counts."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from numpy.testing import assert_array_equal

import hpczmq.kernels.numpy_blocks as numpy_blocks
from hpczmq.kernels import trap
from hpczmq.kernels.base import CancelFlag, Cancelled
from hpczmq.kernels.julia import JuliaKernel, JuliaParams, counts_of
from hpczmq.kernels.trap import Disc

KERNEL = JuliaKernel()
#: One c each with discs of a cycle of 1, 7 and 256, without any, and with |c| >= 2.
CONSTANTS = {
    "a fixed point": (0.0, 0.0),
    "a cycle of 7": (-0.62772, -0.42193),
    "a cycle of 256": (-1.40115, 0.0),
    "dust": (-0.8, 0.156),
    "outside": (-2.1, 0.0),
}
constants = pytest.mark.parametrize(("c_re", "c_im"), CONSTANTS.values(), ids=CONSTANTS)


class Flag(CancelFlag):
    """Counts how often it is looked at, and may be set by then."""

    def __init__(self, after: int | None = None) -> None:
        super().__init__()
        self.looks, self.after = 0, after

    def is_set(self) -> bool:
        self.looks += 1
        return self.looks == self.after


def params_of(**values: Any) -> JuliaParams:
    return KERNEL.parse({"width": 40, "height": 30, "iterations": 700, "half_width": 1.5} | values)


def counts(params: JuliaParams, algorithm: str = "Numpy", flag: CancelFlag | None = None) -> Any:
    out = numpy.empty(*KERNEL.allocate(params))
    counts_of(algorithm)(params, KERNEL.whole(params), out, flag or CancelFlag())
    return out


@constants
def test_with_and_without_the_trap_the_counts_are_those_of_the_reference(
    c_re: float, c_im: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = params_of(c_re=c_re, c_im=c_im)
    reference = counts(params, "Secuencial")
    assert_array_equal(counts(params), reference, strict=True)
    monkeypatch.setattr(trap, "discs", lambda c_re, c_im: ())
    assert_array_equal(counts(params), reference, strict=True)


@constants
@pytest.mark.parametrize(("block", "swath"), [(8, 8), (64, 256), (64, 2**20)])
def test_blocks_and_swaths_do_not_show(
    c_re: float, c_im: float, block: int, swath: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = params_of(c_re=c_re, c_im=c_im, iterations=90)
    expected = counts(params)
    monkeypatch.setattr(numpy_blocks, "BLOCK_PIXELS", block)
    monkeypatch.setattr(numpy_blocks, "SWATH_PIXELS", swath)
    assert_array_equal(counts(params), expected, strict=True)


@constants
@pytest.mark.parametrize("blind", [False, True])
def test_rounds_that_look_once_and_rounds_that_count_give_the_same(
    c_re: float, c_im: float, blind: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = params_of(c_re=c_re, c_im=c_im)
    monkeypatch.setattr(numpy_blocks, "_pays_blind", lambda size, escaped: blind)
    assert_array_equal(counts(params), counts(params, "Secuencial"), strict=True)


def test_a_trapped_pixel_is_done_long_before_its_iterations_are() -> None:
    flag = Flag()
    out = counts(params_of(iterations=2**32 - 1, half_width=0.7, c_re=0, c_im=0), flag=flag)
    assert (out == 2**32 - 1).all()
    assert flag.looks < 50


def test_the_flag_is_looked_at_in_each_round() -> None:
    params = params_of(c_re=0.25, c_im=0, iterations=2**32 - 1, half_width=0.1)
    flag = Flag(after=40)
    with pytest.raises(Cancelled):
        counts(params, flag=flag)
    assert flag.looks == 40


def test_an_orbit_in_the_trap_meets_a_disc_that_is_tested_whatever_the_rounds_are() -> None:
    ring = [Disc(float(i), 0.0, 1.0) for i in range(64)]
    for length in (8, 16, 64, 128):
        for phase in range(64):
            done, looks = 0, 0
            while True:  # the orbit is in ring[phase + done]
                done += length
                tested = numpy_blocks._tested(ring, length, done, looks)
                looks += 1
                if ring[(phase + done) % 64] in tested:
                    break
                assert looks < 64


def test_arrays_begin_at_a_cache_line() -> None:
    for length in (1, 7, 4096):
        array = numpy_blocks._aligned(length, "f8")
        assert array.shape == (length,)
        assert array.ctypes.data % numpy_blocks.LINE_BYTES == 0
