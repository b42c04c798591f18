from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hpczmq import bands, mapping
from hpczmq.mapping import Drawing
from hpczmq.palettes import MAPPINGS, Look

COUNTS = np.arange(600, dtype=np.uint16).reshape(20, 30) % 101


def indices(counts: NDArray[Any], iterations: int, mapping: str = MAPPINGS[0]) -> NDArray[np.uint8]:
    return Drawing(counts, iterations, Look(mapping=mapping)).indices(counts)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_the_interior_is_colour_0_and_nothing_else_is(mapping: str) -> None:
    found = indices(COUNTS, 100, mapping)
    assert (found.shape, found.dtype) == (COUNTS.shape, np.uint8)
    assert np.array_equal(found == 0, COUNTS == 100)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_a_slower_pixel_never_has_a_lower_colour(mapping: str) -> None:
    order = np.argsort(COUNTS, axis=None)
    order = order[COUNTS.ravel()[order] < 100]
    steps = np.diff(indices(COUNTS, 100, mapping).ravel()[order].astype(int))
    assert steps.min() >= 0
    assert steps.sum() > 240, "the palette is used from end to end"


# 64 pixels of count 1, one of 2, one of 5, one of the interior.
PLAIN = np.array([[1] * 64 + [2, 5, 9]], np.uint16)


@pytest.mark.parametrize(
    ("mapping", "colours"),
    [
        # Square roots: 8 of 10 parts, 1, and 1; each count lies in the middle of its part.
        ("balanced", [1 + 254 * 4 / 10, 1 + 254 * 8.5 / 10, 1 + 254 * 9.5 / 10]),
        # Ranks beyond those of the first count: 0 of 2, 1 and 2.
        ("equalised", [1, 128, 255]),
        ("linear", [1, 1 + 254 / 4, 255]),
    ],
)
def test_each_mapping_shares_the_palette_out_by_its_formula(
    mapping: str, colours: list[float]
) -> None:
    found = indices(PLAIN, 9, mapping)[0]
    assert [found[0], found[64], found[65]] == [int(np.rint(colour)) for colour in colours]
    assert found[66] == 0


def test_equalised_gives_each_part_of_the_palette_the_same_number_of_pixels() -> None:
    counts = np.random.default_rng(7).geometric(0.001, (400, 500)).astype(np.uint16)
    found = indices(counts, 65_535, "equalised")
    quarters = np.histogram(found, bins=4, range=(1, 256))[0] / found.size
    assert np.allclose(quarters, 0.25, atol=0.01)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("counts", [[[7, 7]], [[9, 9]], [[7, 9]]])
def test_an_image_of_one_count_or_of_none_that_escaped_has_its_picture(
    mapping: str, counts: list[list[int]]
) -> None:
    array = np.array(counts, np.uint16)
    assert np.array_equal(indices(array, 9, mapping) == 0, array == 9)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("iterations", [0, 1, 255, 65_536, 1 << 20, (1 << 20) + 1, (1 << 32) - 1])
def test_any_bound_and_any_count_make_a_picture(dtype: Any, iterations: int, mapping: str) -> None:
    largest = np.iinfo(dtype).max
    counts = np.array([[0, 1, 2], [largest // 2, largest - 1, largest]], dtype)
    assert np.array_equal(indices(counts, iterations, mapping) == 0, counts >= iterations)


def test_noise_and_long_runs_are_counted_alike() -> None:
    rng = np.random.default_rng(3)
    for counts in (
        rng.integers(0, 300, (7, 11)).astype(np.uint16),
        np.repeat(rng.integers(0, 300, 9), 50).astype(np.uint32).reshape(9, 50),
        np.full((1, 1), 299, np.uint8 if rng is None else np.uint16),
    ):
        found = mapping._pixels_of(counts)
        assert found.dtype == np.int64
        assert np.array_equal(found, np.bincount(counts.ravel()))


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_bands_and_cores_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    whole = indices(COUNTS, 100)
    np.save(tmp_path / "counts.npy", COUNTS)
    mapped = np.load(tmp_path / "counts.npy", mmap_mode="r")
    monkeypatch.setattr(bands, "_BAND_BYTES", 3 * 30 * 2)
    monkeypatch.setattr(bands, "usable_cores", lambda: cores)
    assert np.array_equal(indices(mapped, 100), whole)


def test_a_part_of_an_image_gives_colours_to_counts_that_it_does_not_have() -> None:
    part = np.array([[10, 20, 30]], np.uint16)
    others = np.array([[1, 15, 200, 1000, 999]], np.uint16)
    for name in MAPPINGS:
        low, between, high, inside, nearly = Drawing(part, 1000, Look(mapping=name)).indices(
            others
        )[0]
        assert 1 <= low <= between <= high == nearly
        assert inside == 0


def test_counting_takes_the_memory_of_a_few_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "_BAND_BYTES", 1 << 12)
    monkeypatch.setattr(bands, "usable_cores", lambda: 2)
    counts = np.zeros((2_000, 500), np.uint16)
    drawing = Drawing(counts, 100, Look())
    tracemalloc.start()
    try:
        drawing._pixels(counts)
        assert tracemalloc.get_traced_memory()[1] < counts.nbytes
    finally:
        tracemalloc.stop()
