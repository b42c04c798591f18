"""The glance at an image before it is computed: what it sees, what follows, what it may cost."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy
import pytest

from hpczmq import limits
from hpczmq.kernels import compiled, glance
from hpczmq.kernels.base import CancelFlag
from hpczmq.kernels.glance import RATES, Look
from hpczmq.kernels.julia import JuliaKernel, JuliaParams

KERNEL = JuliaKernel()
#: Chaos, a cycle of 7 with discs, a disc, and dust: the images of docs/kernels.md, but smaller.
J1, J2, J3, J4 = (
    JuliaParams(width=w, height=h, iterations=n, c_re=c_re, c_im=c_im, half_width=half_width)
    for w, h, n, c_re, c_im, half_width in (
        (1750, 1400, 1500, -0.8, 0.156, 1.5),
        (1250, 1000, 3000, -0.62772, -0.42193, 1.8),
        (1000, 750, 500, 0.0, 0.0, 1.5),
        (1500, 1200, 1000, 0.285, 0.01, 1.5),
    )
)


@pytest.fixture(autouse=True)
def _anew() -> None:
    glance._look.cache_clear()


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image is worth a glance."""
    monkeypatch.setattr(glance, "WORTH_S", 0.0)


def asked(slots: int) -> Any:
    """A cluster of so many slots; `asked.times` says how often it was asked."""

    def ask() -> int:
        ask.times += 1  # type: ignore[attr-defined]
        return slots

    ask.times = 0  # type: ignore[attr-defined]
    return ask


# --- What it sees -------------------------------------------------------------------------------


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("image", [J1, J2, J3, J4])
@pytest.mark.parametrize("side", [64, 128])
def test_what_tiles_should_take_goes_with_the_sums_of_their_counts(
    image: JuliaParams, side: int
) -> None:
    """Of the implementation whose time is the counts and nothing else."""
    if not compiled.available():
        pytest.skip("the sums take too long without the compiled kernel")
    params = replace(image, algorithm="Secuencial", tile=side)
    costs = glance.costs(params)
    fast = replace(params, algorithm="juliaCython")
    tiles = KERNEL.split(fast)
    sums = [float(KERNEL.run(fast, tile, CancelFlag()).sum(dtype="u8")) for tile in tiles]
    rates = RATES["Secuencial"]
    real = [
        rates.tile_s + rates.pixel_s * tile.width * tile.height + rates.iteration_s * total
        for tile, total in zip(tiles, sums, strict=True)
    ]
    assert costs is not None
    assert numpy.corrcoef(costs, real)[0, 1] > 0.98
    assert costs.sum() == pytest.approx(sum(real), rel=0.05)


def test_a_cell_is_seen_at_its_middle() -> None:
    params = replace(J1, width=1003, height=517, center_x=0.3, center_y=-0.2)
    coarse = glance._coarse(params, 16, 10**9)
    assert (coarse.width, coarse.height) == (63, 33)
    for column in (0, 17, 62):
        x = coarse.center_x + (column - (coarse.width - 1) / 2) * coarse.dx
        first = params.center_x + (16 * column - (params.width - 1) / 2) * params.dx
        assert x == pytest.approx(first + 7.5 * params.dx)
    for row in (0, 9, 32):
        y = coarse.center_y + ((coarse.height - 1) / 2 - row) * coarse.dx
        first = params.center_y + ((params.height - 1) / 2 - 16 * row) * params.dx
        assert y == pytest.approx(first - 7.5 * params.dx)


def test_a_tile_is_charged_for_its_own_pixels_alone() -> None:
    """Tiles and cells need not begin at the same places."""
    params = replace(J1, width=250, height=100, symmetry=False, tile=100, algorithm="Secuencial")
    look = Look(16, numpy.full((7, 16), 10.0), numpy.full((7, 16), 10.0))
    costs = glance._tile_costs(params, look, 100)
    rates = RATES["Secuencial"]
    for cost, pixels in zip(costs, (10_000, 10_000, 5_000), strict=True):
        assert cost == pytest.approx(
            rates.tile_s + pixels * (rates.pixel_s + 10 * rates.iteration_s)
        )


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("algorithm", ["Numpy", "juliaCython"])
def test_a_pixel_that_ends_in_a_trap_takes_little(algorithm: str) -> None:
    with_trap = glance.costs(replace(J2, algorithm=algorithm))
    without = glance.costs(replace(J2, algorithm=algorithm, trap=False))
    assert with_trap is not None
    assert without is not None
    assert with_trap.max() < without.max() / 4
    assert (with_trap > 0).all()


def test_an_orbit_is_followed_as_its_implementation_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """With c = 0 every orbit inside is in the one disc at the first look that comes late enough."""
    monkeypatch.setattr(glance, "WORTH_S", 0.0)
    rates = RATES["juliaCython"]
    look = glance._look(replace(J3, algorithm="juliaCython"))
    assert look is not None
    inside = look.efforts[look.efforts.shape[0] - 1, look.efforts.shape[1] // 2]
    assert inside == rates.first


def test_who_had_not_escaped_goes_on_as_the_others_did() -> None:
    # 800 live for 512 iterations, a hundred of them for 1,024: an eighth is left after each 512.
    efforts = numpy.array([5.0] * 200 + [600.0] * 700 + [1024.0] * 100)
    more = glance._extrapolated(efforts, 10**9, 1024) - 1024
    assert more == pytest.approx(512 / math.log(8))
    assert glance._extrapolated(efforts, 1030, 1024) == 1030
    assert glance._extrapolated(numpy.full(10, 1024.0), 10**9, 1024) == 10**9, "none ever dies"


@pytest.mark.usefixtures("always")
def test_without_a_compiler_the_glance_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    params = replace(J4, algorithm="juliaCython", trap=False)
    fast = glance.costs(params)
    glance._look.cache_clear()
    monkeypatch.setattr(compiled, "available", tuple)
    slow = glance.costs(params)
    assert fast is not None
    assert slow is not None
    assert (fast == slow).all()


# --- What it may cost ---------------------------------------------------------------------------


def test_of_a_small_image_there_is_none() -> None:
    assert KERNEL.costs(replace(J3, algorithm="juliaCython")) is None
    ask = asked(16)
    assert KERNEL.fitted(replace(J3, algorithm="juliaCython"), ask).tile == 0
    assert ask.times == 0, "nobody is asked for nothing"


def test_a_quadrillion_iterations_are_not_looked_at() -> None:
    """Half of the image never escapes, and no disc says so."""
    params = replace(J3, algorithm="Secuencial", iterations=limits.iterations_max)
    coarse = glance._coarse(params, 16, glance.WORK_MAX)
    assert coarse.width * coarse.height * coarse.iterations <= glance.WORK_MAX
    if compiled.available():
        costs = glance.costs(params)
        assert costs is not None
        assert costs.max() > 1e6


def test_a_large_image_is_looked_at_from_further_away() -> None:
    if not compiled.available():
        pytest.skip("it takes too long without the compiled kernel")
    look = glance._look(replace(J1, width=100_000, height=80_000))
    assert look is not None
    assert look.efforts.size <= glance.POINTS_MAX
    assert look.step > glance.STEP


def test_a_window_at_the_end_of_the_numbers_has_no_glance() -> None:
    last = replace(J1, width=1, height=10**6, half_width=1e100, algorithm="Secuencial")
    assert glance.costs(last) is None


def test_very_many_tiles_have_no_costs() -> None:
    many = replace(J1, width=2**17, height=2**17, tile=64, iterations=10**6)
    assert len(KERNEL.split(many)) > limits.tasks_ordered_max
    assert KERNEL.costs(many) is None


# --- The side of tiles --------------------------------------------------------------------------


def test_a_side_that_the_user_gave_stays() -> None:
    ask = asked(16)
    assert KERNEL.fitted(replace(J1, algorithm="Numpy", tile=77), ask).tile == 77
    assert ask.times == 0


def test_where_nobody_knows_the_slots_no_side_is_chosen() -> None:
    params = replace(J1, algorithm="Numpy")
    assert KERNEL.fitted(params, asked(0)) == params


@pytest.mark.parametrize("image", [J1, J4])
def test_the_more_slots_the_smaller_the_tiles(image: JuliaParams) -> None:
    sides = [
        KERNEL.fitted(replace(image, algorithm="Secuencial"), asked(slots)).tile
        for slots in (1, 16, 1024)
    ]
    assert sides == sorted(sides, reverse=True)
    assert sides[0] > sides[-1]
    assert set(sides) <= set(glance.SIDES)


def test_all_sides_agree_on_the_tiles_of_fitted_parameters() -> None:
    """What was chosen is a parameter like any other: it travels, and nothing is chosen again."""
    fitted = KERNEL.fitted(replace(J1, algorithm="Numpy"), asked(4))
    arrived = KERNEL.parse(KERNEL.plain(fitted))
    assert fitted.tile in glance.SIDES
    assert list(KERNEL.split(arrived)) == list(KERNEL.split(fitted))
    costs = KERNEL.costs(arrived)
    assert costs is not None
    assert len(costs) == len(KERNEL.split(arrived))


def test_the_end_of_a_job_is_that_of_its_last_task() -> None:
    costs = numpy.array([3.0, 3.0, 2.0, 2.0, 2.0])
    assert glance._end_s(costs, 2) == pytest.approx(7.0 + glance.DOUBT * 3.0)  # 3+2+2, 3+2
    assert glance._end_s(costs, 9) == pytest.approx(3.0 + glance.DOUBT * 3.0)
    assert glance._end_s(numpy.ones(1000), 2) == pytest.approx(500.0 + glance.DOUBT)
