"""Each way that the compiled part can compute, with and without its short cuts, gives one image."""

from __future__ import annotations

import cmath
import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from hpczmq.kernels import compiled, trap
from hpczmq.kernels.base import CancelFlag, Cancelled
from hpczmq.kernels.julia import JuliaKernel, JuliaParams, Tile

KERNEL = JuliaKernel()
ISAS = compiled.available()
WAYS = list(itertools.product(ISAS, (False, True), (False, True)))

pytestmark = pytest.mark.skipif(not ISAS, reason="there is no compiled module")
every_isa = pytest.mark.parametrize("isa", ISAS)

#: Where rounds, looks and replays begin and end: 8 or 64 iterations first, then rounds of 12 to 96.
LIMITS = [0, 1, 7, 8, 9, 11, 12, 13, 20, 21, 63, 64, 65, 75, 76, 77, 95, 96, 97, 159, 160, 161]
DEEP = [255, 256, 257, 1000, 65_535, 65_536, 65_537, 100_000]
#: Below 2**-960 a fused step would show; see docs/exactness.md, section 4.
TINY = [5e-324, 2.0**-1074, 2.0**-1022, 2.0**-961, math.nextafter(2.0**-960, 0), 2.0**-960, 1e-280]
#: Where cycles attract, of 1, 2, 3, 3, 4 and 5 points, and where none does.
MIDDLES = [0j, -1 + 0j, -1.7548776662 + 0j, -0.1225611669 + 0.7448617666j, -1.3107026413 + 0j,
           -0.5043401754 + 0.5627657614j, 1j, 0.25 + 0j, -0.75 + 0j, -1.9 + 0j]  # fmt: skip

#: Of which the pixels in the middle stay, or (the last two) go after hundreds of iterations.
CROWDED = [0j, -1 + 0j, -0.5 + 0j, -0.12 + 0.74j, 0.2502 + 0j, 0.2502 + 1e-4j]
#: An orbit that has left would come back: 3 → 0. And a fused step would count 1339, not 1338.
RETURNS = {"width": 3, "height": 1, "iterations": 99, "c_re": -9.0, "c_im": 0.0, "half_width": 3.0}
PARTS = {"width": 1, "height": 1, "iterations": 1400, "c_re": -1.9, "c_im": 1e-323,
         "center_x": 1.25, "center_y": 5e-324}  # fmt: skip

Image = dict[str, Any]
Whole = st.SearchStrategy[int]

numbers = st.floats(allow_nan=False, allow_infinity=False)
tiny = st.builds(math.copysign, st.sampled_from(TINY), st.sampled_from([1.0, -1.0]))
constants = st.one_of(
    st.builds(complex, st.floats(-2, 1), st.floats(-1.2, 1.2)),
    st.builds(complex, st.floats(-2.1, 0.5), st.sampled_from([0.0, -0.0])),
    st.builds(complex, st.sampled_from([0.0, -0.0]), st.floats(-1.2, 1.2)),
    st.builds(complex, st.one_of(st.floats(-2, 0.5), tiny), tiny),
    st.builds(  # the most of |c|² that rounds are run for, and the circle where orbits come back
        lambda norm, angle: cmath.rect(math.sqrt(norm), angle),
        st.sampled_from([3.999, math.nextafter(3.999, 0), 4.0, 9.0]),
        st.one_of(st.sampled_from([0, math.pi / 2, math.pi]), st.floats(0, math.tau)),
    ),
    st.builds(complex, numbers, numbers),
    st.builds(
        lambda middle, re, im: middle + complex(re, im),
        st.sampled_from(MIDDLES), st.floats(-0.02, 0.02), st.sampled_from([0.0, 1e-9, 0.01]),
    ),
)  # fmt: skip
centres = st.one_of(st.just(0.0), st.floats(-2, 2), st.one_of(tiny, numbers))
half_widths = st.one_of(
    st.sampled_from([1.6, 0.5, 5e-324, 1e-300, 1e-16, 1e100]), st.floats(0.01, 3.0)
)
sides = st.one_of(st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 17]), st.integers(1, 33))


@st.composite
def images(draw: st.DrawFn, iterations: Whole, side: Whole) -> Image:
    """Parameters, without an algorithm and without the short cuts."""
    c = draw(constants)
    centred = draw(st.booleans())
    return {
        "width": draw(side),
        "height": draw(side),
        "iterations": draw(iterations),
        "c_re": c.real,
        "c_im": c.imag,
        "center_x": 0.0 if centred else draw(centres),
        "center_y": 0.0 if centred else draw(centres),
        "half_width": draw(half_widths),
    }


shallow = images(st.one_of(st.sampled_from(LIMITS), st.integers(0, 200)), sides)
deep = images(st.sampled_from(DEEP), st.integers(1, 2))


def computed(isa: str, params: JuliaParams, tile: Tile) -> Any:
    """One tile by one instruction set, in an array that knows none of its counts."""
    from hpczmq.kernels import _julia

    out = numpy.full((tile.height, tile.width), 0xA5A5, params.dtype)
    _julia.counts(params, tile, out, CancelFlag(), isa)
    return out


def rendered(isa: str, **values: Any) -> Any:
    """The image as a job makes it: split, run tile by tile, put together."""
    params = KERNEL.parse(values)
    array = numpy.empty(*KERNEL.allocate(params))
    for tile in KERNEL.split(params):
        KERNEL.place(params, computed(isa, params, tile), tile, array)
    return array


def reference(part: Tile | None = None, /, **values: Any) -> Any:
    """A tile, or all, by the plain loop."""
    params = KERNEL.parse(values | {"algorithm": "Secuencial"})
    return KERNEL.run(params, part or KERNEL.whole(params), CancelFlag())


def check(image: Image, **more: Any) -> None:
    """Every way against the reference, which is computed once."""
    wanted = reference(**image)
    for isa, trapped, mirrored in WAYS:
        got = rendered(isa, **image, trap=trapped, symmetry=mirrored, **more)
        way = f"{isa}, trap={trapped}, symmetry={mirrored}"
        assert_array_equal(got, wanted, strict=True, err_msg=way)


@given(image=shallow, threads=st.integers(1, 3), tile=st.integers(1, 40))
@example(image=RETURNS, threads=1, tile=3)
@example(image=PARTS, threads=1, tile=1)
def test_every_way_gives_the_image_of_the_reference(image: Image, threads: int, tile: int) -> None:
    check(image, threads=threads, tile=tile)


@given(image=deep, threads=st.integers(1, 3))
def test_deep_counts_are_those_of_the_reference_in_both_widths(image: Image, threads: int) -> None:
    check(image, threads=threads)


@pytest.mark.parametrize("iterations", LIMITS)
def test_wherever_the_iterations_end_every_way_counts_the_same(iterations: int) -> None:
    for c in (-0.772691322542185 + 0.124281466072787j, -1.9, -1.25, 0.27, -0.12 + 0.74j):
        image: Image = {"width": 13, "height": 7, "c_re": c.real, "c_im": c.imag}
        check(image | {"iterations": iterations, "half_width": 1.1})


@every_isa
def test_a_tile_anywhere_in_its_image_is_that_part_of_it(isa: str) -> None:
    image: Image = {"width": 12, "height": 9, "iterations": 150, "center_x": 0.2}
    params, whole = KERNEL.parse(image), reference(**image)
    assert len(numpy.unique(whole)) > 20  # a shift would show
    lefts = list(itertools.combinations(range(params.width + 1), 2))
    tops = list(itertools.combinations(range(params.height + 1), 2))
    for (left, right), (top, bottom) in itertools.product(lefts, tops):
        tile = Tile(left, top, right - left, bottom - top)
        got = computed(isa, params, tile)
        assert_array_equal(got, whole[top:bottom, left:right], err_msg=str(tile))


def crowd(c: complex, iterations: int) -> Image:
    """One of which more pixels go on after the first iterations than the queue holds."""
    image = {"width": 300, "height": 200, "half_width": 1.2, "center_x": 0.01, "tile": 300}
    return image | {"c_re": c.real, "c_im": c.imag, "iterations": iterations}


@pytest.mark.parametrize("c", CROWDED)
def test_a_queue_that_drains_and_fills_again_loses_no_pixel(c: complex) -> None:
    image = crowd(c, 300)
    whole = rendered("scalar", **image, trap=False)
    assert (whole > 64).sum() > 16_384
    for row in (0, 100, 199):
        assert_array_equal(whole[row : row + 1], reference(Tile(0, row, 300, 1), **image))
    for isa, trapped, threads in itertools.product(ISAS, (False, True), (1, 2, 3)):
        got = rendered(isa, **image, trap=trapped, threads=threads)
        assert_array_equal(got, whole, strict=True, err_msg=f"{isa}, {trapped}, {threads}")


@pytest.mark.parametrize("c", [c for c in CROWDED if trap.discs(c.real, c.imag)])
def test_a_crowd_that_never_escapes_has_its_iterations_beyond_16_bits(c: complex) -> None:
    image = crowd(c, 66_000)
    whole = rendered("scalar", **image)
    assert whole.dtype == numpy.uint32
    assert (whole == 66_000).sum() > 16_384
    assert_array_equal(whole[100:101, :4], reference(Tile(0, 100, 4, 1), **image))
    for isa, threads in itertools.product(ISAS, (1, 2, 3)):
        got = rendered(isa, **image, threads=threads)
        assert_array_equal(got, whole, strict=True, err_msg=f"{isa}, {threads}")


@every_isa
def test_a_deep_image_of_dust_is_that_of_the_plain_loop(isa: str) -> None:
    # Thousands of pixels go on, and escape in all rounds up to the last ones.
    image: Image = {"width": 301, "height": 203, "iterations": 3000, "half_width": 0.4}
    image |= {"tile": 301}
    whole = rendered("scalar", **image, trap=False, symmetry=False)
    assert (whole > 64).sum() > 4000
    for row in (101, 160):
        assert_array_equal(whole[row : row + 1], reference(Tile(0, row, 301, 1), **image))
    for threads in (1, 2, 3):
        assert_array_equal(rendered(isa, **image, threads=threads), whole, strict=True)


@every_isa
@pytest.mark.parametrize("c_re", [-1.9, -2.0], ids=["in rounds", "pixel by pixel"])
def test_a_tile_is_cancelled_before_and_while_it_is_computed(isa: str, c_re: float) -> None:
    from hpczmq.kernels import _julia

    # The first pixel is outside; the second one stays, and would take minutes.
    params = JuliaParams(
        width=2, height=1, iterations=2**32 - 1, c_re=c_re, c_im=0, center_x=-1.5, half_width=1.5
    )
    flag, out = CancelFlag(), numpy.full((1, 2), 7, "u4")
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(_julia.counts, params, Tile(0, 0, 2, 1), out, flag, isa)
        while out[0, 0] == 7 and not future.done():
            pass  # this loop gets the GIL while the tile is computed
        flag.set()
        with pytest.raises(Cancelled):
            future.result()
    with pytest.raises(Cancelled):  # and once it is set
        _julia.counts(params, Tile(0, 0, 2, 1), out, flag, isa)


@every_isa
def test_an_instruction_set_that_is_named_computes_the_job(
    isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image: Image = {"width": 40, "height": 30, "iterations": 200}
    monkeypatch.setenv("HPCZMQ_ISA", isa)
    params = KERNEL.parse(image)
    got = KERNEL.run(params, KERNEL.whole(params), CancelFlag())
    assert_array_equal(got, reference(**image), strict=True)
