"""Every implementation of the Julia set, in every tiling, against the words of the contract."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from hpczmq.kernels.base import CancelFlag
from hpczmq.kernels.julia import JuliaKernel, JuliaParams

KERNEL = JuliaKernel()
FAST = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            f"julia:{name}" not in KERNEL.capabilities(), reason="there is no compiled module"
        ),
    )
    for name in ("Numpy", "juliaCython")
]

#: Around what matters to z² + c: dust, interior, the edge |c| = 2 where an orbit that left may
#: come back, numbers too small to be normal and too large to be squared.
interesting = st.sampled_from(
    [0.0, -0.0, 0.25, -0.75, -1.0, 2.0, -2.0, 2.5, 5e-324, 2.2e-308, 1e-160, 1e154, 1.7e308]
)
coordinates = st.one_of(
    interesting, st.floats(-2.5, 2.5), st.floats(allow_nan=False, allow_infinity=False)
)
half_widths = st.one_of(
    st.sampled_from([5e-324, 1e-300, 1e-16, 1.6, 1e100]),
    st.floats(0.01, 3.0),
    st.floats(min_value=0.0, max_value=1e100, exclude_min=True),
)
images = st.fixed_dictionaries(
    {
        "width": st.integers(1, 12),
        "height": st.integers(1, 12),
        "iterations": st.one_of(st.sampled_from([0, 1, 7, 8, 9, 24, 25]), st.integers(0, 90)),
        "c_re": coordinates,
        "c_im": coordinates,
        "center_x": coordinates,
        "center_y": coordinates,
        "half_width": half_widths,
    }
)


def contract(p: JuliaParams) -> Any:
    """The contract's text, word by word, as an array of counts."""
    width, height, dx = p.width, p.height, 2 * p.half_width / max(p.width - 1, 1)
    counts = numpy.zeros((height, width), numpy.uint16 if p.iterations <= 65_535 else numpy.uint32)
    for j in range(height):
        for i in range(width):
            zx = p.center_x + (i - (width - 1) / 2) * dx
            zy = p.center_y + ((height - 1) / 2 - j) * dx
            n = 0
            while n < p.iterations and zx * zx + zy * zy <= 4:
                zx, zy = zx * zx - zy * zy + p.c_re, 2 * zx * zy + p.c_im
                n += 1
            counts[j, i] = n
    return counts


def rendered(**values: Any) -> Any:
    """The image as a job makes it: split, run tile by tile, put together."""
    params = KERNEL.parse(values)
    image = numpy.empty(*KERNEL.allocate(params))
    for tile in KERNEL.split(params):
        KERNEL.place(params, KERNEL.run(params, tile, CancelFlag()), tile, image)
    return image


@given(image=images)
def test_the_reference_is_the_contract_word_by_word(image: dict[str, Any]) -> None:
    assert_array_equal(
        rendered(**image, algorithm="Secuencial"), contract(KERNEL.parse(image)), strict=True
    )


@pytest.mark.parametrize("algorithm", FAST)
@given(image=images)
def test_every_implementation_equals_the_reference(algorithm: str, image: dict[str, Any]) -> None:
    assert_array_equal(
        rendered(**image, algorithm=algorithm),
        rendered(**image, algorithm="Secuencial"),
        strict=True,
    )


@pytest.mark.parametrize("algorithm", ["Secuencial", *FAST])
@given(image=images, tile=st.integers(1, 13))
def test_the_tiling_does_not_show(algorithm: str, image: dict[str, Any], tile: int) -> None:
    image = dict(image, algorithm=algorithm)
    assert_array_equal(rendered(**image, tile=tile), rendered(**image), strict=True)


@pytest.mark.parametrize("algorithm", FAST)
@given(
    c_re=st.floats(-1.5, 0.5),
    c_im=st.floats(-1.0, 1.0),
    side=st.sampled_from([63, 181, 182]),
    iterations=st.integers(30, 200),
)
def test_images_of_more_than_one_block_equal_the_reference(
    algorithm: str, c_re: float, c_im: float, side: int, iterations: int
) -> None:
    # 181² pixels are one block of `numpy_blocks`, 182² are two. The reference is too slow for all
    # of them, so that a few rows stand for the rest.
    image = {
        "width": side,
        "height": side,
        "iterations": iterations,
        "c_re": c_re,
        "c_im": c_im,
        "tile": side,
    }
    fast = rendered(**image, algorithm=algorithm)
    params = KERNEL.parse(dict(image, algorithm="Secuencial"))
    for row in (0, side // 2, side - 1):
        strip = KERNEL.task([0, row, side, 1])
        assert_array_equal(fast[row : row + 1], KERNEL.run(params, strip, CancelFlag()))


@pytest.mark.parametrize("algorithm", ["Secuencial", *FAST])
@pytest.mark.parametrize("iterations", [65_535, 65_536])
def test_counts_of_pixels_that_never_escape_are_exact_beyond_16_bits(
    algorithm: str, iterations: int
) -> None:
    counts = rendered(width=1, height=1, iterations=iterations, c_re=0, algorithm=algorithm)
    assert counts.tolist() == [[iterations]]


@pytest.mark.parametrize("algorithm", ["Secuencial", *FAST])
@given(image=images)
def test_a_centred_image_is_the_same_upside_down(algorithm: str, image: dict[str, Any]) -> None:
    centred = dict(image, center_x=0.0, center_y=0.0, algorithm=algorithm)
    counts = rendered(**centred)
    assert_array_equal(counts, counts[::-1, ::-1])


@given(
    width=st.integers(1, 2000),
    height=st.integers(1, 2000),
    side=st.integers(1, 300),
    data=st.data(),
)
def test_tiles_cover_each_pixel_once(width: int, height: int, side: int, data: Any) -> None:
    tiles = KERNEL.split(JuliaParams(width=width, height=height, tile=side, symmetry=False))
    x = data.draw(st.integers(0, width - 1))
    y = data.draw(st.integers(0, height - 1))
    index = (y // side) * -(-width // side) + x // side
    tile = tiles[index]
    assert tile.x <= x < tile.x + tile.width <= width
    assert tile.y <= y < tile.y + tile.height <= height
    assert tiles[index - len(tiles)] == tile
    if len(tiles) <= 1000:
        assert sum(t.width * t.height for t in tiles) == width * height
        assert len(set(tiles)) == len(tiles)
