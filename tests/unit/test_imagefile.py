from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hpczmq import imagefile
from hpczmq.errors import OutputError, ParameterError
from hpczmq.imagefile import picture, write_png
from hpczmq.palettes import PALETTES

COUNTS = np.arange(600, dtype=np.uint16).reshape(20, 30) % 101


def indices(counts: NDArray[Any], iterations: int) -> NDArray[np.uint8]:
    return np.asarray(picture(counts, iterations))


def test_a_picture_has_a_pixel_a_count_and_one_byte_a_pixel() -> None:
    image = picture(COUNTS, 100)
    assert image.mode == "P"
    assert image.size == (30, 20)


def test_the_interior_is_black_and_nothing_else_is_the_interiors_colour() -> None:
    assert np.array_equal(indices(COUNTS, 100) == 0, COUNTS == 100)
    image = picture(COUNTS, 100).convert("RGB")
    row, column = (int(where[0]) for where in np.nonzero(COUNTS == 100))
    assert image.getpixel((column, row)) == (0, 0, 0)


def test_a_slower_pixel_never_has_a_lower_colour() -> None:
    order = np.argsort(COUNTS, axis=None)
    order = order[COUNTS.ravel()[order] < 100]
    steps = np.diff(indices(COUNTS, 100).ravel()[order].astype(int))
    assert steps.min() >= 0
    assert steps.sum() > 200, "the palette is used from end to end"


def test_counts_of_many_pixels_get_more_of_the_palette() -> None:
    counts = np.array([[1] * 64 + [2] * 1 + [3] * 1], np.uint16)
    found = indices(counts, 10)[0]
    # Square roots: 8 of 10 parts, 1, and 1; each count lies in the middle of its part.
    assert [found[0], found[64], found[65]] == [103, 217, 242]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("iterations", [0, 1, 255, 65_536, 1 << 20, (1 << 20) + 1, (1 << 32) - 1])
def test_any_bound_and_any_count_make_a_picture(dtype: Any, iterations: int) -> None:
    largest = np.iinfo(dtype).max
    counts = np.array([[0, 1, 2], [largest // 2, largest - 1, largest]], dtype)
    assert np.array_equal(indices(counts, iterations) == 0, counts >= iterations)


def test_bands_of_a_mapped_file_give_the_same_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = indices(COUNTS, 100)
    np.save(tmp_path / "counts.npy", COUNTS)
    mapped = np.load(tmp_path / "counts.npy", mmap_mode="r")
    monkeypatch.setattr(imagefile, "_BAND_BYTES", 3 * 30 * 2)
    assert np.array_equal(indices(mapped, 100), whole)


@pytest.mark.parametrize("palette", PALETTES)
def test_a_file_shows_the_palettes_colours_without_a_loss(tmp_path: Path, palette: str) -> None:
    path = tmp_path / "image.png"
    write_png(path, COUNTS, 100, palette)
    expected = picture(COUNTS, 100, palette).convert("RGB")
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.convert("RGB").tobytes() == expected.tobytes()
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_palette_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ParameterError, match="palette = pink: must be one of ocean, viridis"):
        picture(COUNTS, 100, "pink")


def test_a_file_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        write_png(tmp_path / "file" / "image.png", COUNTS, 100)
