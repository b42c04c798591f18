from __future__ import annotations

import errno
import os
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hpczmq import bands, deflate, limits, pyramid
from hpczmq.errors import OutputError, ParameterError
from hpczmq.imagefile import write_picture
from hpczmq.mapping import Drawing
from hpczmq.palettes import MAPPINGS, PALETTES, Look, colours

USUAL = Look()
COUNTS = np.arange(600, dtype=np.uint16).reshape(20, 30) % 101


def drawn(counts: NDArray[Any], iterations: int, look: Look = USUAL) -> NDArray[np.uint8]:
    """Colours of counts, by the direct way."""
    return Drawing(counts, iterations, look).indices(counts)


def rings(height: int, width: int) -> NDArray[np.uint16]:
    """Counts of no tile's or band's size, with plain parts, fine parts and an interior of 200."""
    y, x = np.mgrid[0:height, 0:width]
    counts: NDArray[np.uint16] = np.hypot(x - width / 3, y - height / 2).astype(np.uint16)
    counts += ((x * y) % 7).astype(np.uint16)
    return np.minimum(counts, np.uint16(200))


@pytest.fixture(params=["isal", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Once with what is installed, once as on a machine that isal has no wheel for."""
    if request.param == "zlib":
        monkeypatch.setattr(deflate, "_library", zlib)
    else:
        pytest.importorskip("isal")
        assert deflate._library.__name__.startswith("isal")
    return deflate._library


# --- PNG --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("palette", PALETTES)
def test_a_png_file_has_the_palette_and_a_byte_a_pixel(
    tmp_path: Path, palette: str, mapping: str
) -> None:
    path, look = tmp_path / "image.png", Look(palette, mapping)
    assert write_picture(path, COUNTS, 100, look) == [path]
    assert list(tmp_path.iterdir()) == [path]
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "P", (30, 20))
        assert np.array_equal(np.asarray(image), drawn(COUNTS, 100, look))
        assert bytes(image.getpalette() or []) == colours(palette)


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (97, 131)])
@pytest.mark.parametrize("cores", [1, 3])
def test_bands_of_any_size_on_any_cores_make_one_png_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    library: Any,
    shape: tuple[int, int],
    cores: int,
) -> None:
    counts = rings(*shape)
    monkeypatch.setattr(bands, "_BAND_BYTES", 512)
    write_picture(tmp_path / "usual.png", counts, 200)
    monkeypatch.setattr(bands, "usable_cores", lambda: cores)
    write_picture(tmp_path / "image.png", counts, 200)
    assert (tmp_path / "image.png").read_bytes() == (tmp_path / "usual.png").read_bytes()
    with Image.open(tmp_path / "image.png") as image:
        image.verify()  # the sums of all chunks
    with Image.open(tmp_path / "image.png") as image:
        assert np.array_equal(np.asarray(image), drawn(counts, 200))


def test_the_stream_of_a_png_file_ends_with_its_own_checksum(tmp_path: Path, library: Any) -> None:
    write_picture(tmp_path / "image.png", rings(50, 60), 200)
    data = (tmp_path / "image.png").read_bytes()
    stream, place = b"", 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] == b"IDAT":
            stream += data[place + 8 : place + 8 + length]
        place += 12 + length
    # zlib raises where the checksum is wrong; pillow does not look at it.
    rows = np.frombuffer(zlib.decompress(stream), np.uint8).reshape(50, 61)
    assert not rows[:, 0].any()
    assert np.array_equal(rows[:, 1:], drawn(rings(50, 60), 200))


def test_a_look_that_there_is_not_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="palette = plaid: must be one of ocean, viridis"):
        write_picture(tmp_path / "image.png", COUNTS, 100, Look("plaid"))
    with pytest.raises(ParameterError, match="mapping = pink: must be balanced"):
        write_picture(tmp_path / "image.png", COUNTS, 100, Look(mapping="pink"))
    assert not [*tmp_path.iterdir()]


def test_a_file_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        write_picture(tmp_path / "file" / "image.png", COUNTS, 100)


# --- TIFF -------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds at which a picture of a few thousand pixels is a large one."""
    monkeypatch.setattr(limits, "png_pixels_max", 4_000)
    monkeypatch.setattr(limits, "overview_side_pixels_max", 50)
    monkeypatch.setattr(pyramid, "_TILE", 16)
    monkeypatch.setattr(bands, "_BAND_BYTES", 512)


def levels_of(path: Path) -> list[NDArray[Any]]:
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
        for number, page in enumerate(tiff.pages):
            assert isinstance(page, tifffile.TiffPage)
            assert (page.photometric, page.compression, page.tile) == (3, 8, (16, 16))
            assert page.is_reduced == (number > 0)
        return [page.asarray() for page in tiff.pages]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "shape", [(64, 64), (67, 130), (131, 48), (4_001, 1), (1, 4_001), (33, 160)]
)
def test_a_large_picture_is_a_pyramid_and_an_overview(
    tmp_path: Path, library: Any, shape: tuple[int, int]
) -> None:
    counts = rings(*shape)
    files = write_picture(tmp_path / "image.png", counts, 200)
    assert files == [tmp_path / "image.png", tmp_path / "image.tif"]
    assert sorted(tmp_path.iterdir()) == files
    step = -(-max(shape) // 50)
    overview = Drawing(np.ascontiguousarray(counts[::step, ::step]), 200, Look())
    with Image.open(files[0]) as image:
        assert max(image.size) <= 50
        assert np.array_equal(np.asarray(image), overview.indices(counts[::step, ::step]))
    levels = levels_of(files[1])
    assert max(levels[-1].shape) <= 16 < max(levels[-2].shape)
    for number, level in enumerate(levels):
        assert np.array_equal(level, overview.indices(counts[:: 2**number, :: 2**number]))


@pytest.mark.usefixtures("small")
def test_pillow_sees_the_same_levels_and_colours(tmp_path: Path) -> None:
    counts = rings(90, 70)
    write_picture(tmp_path / "image.png", counts, 200, Look("magma"))
    levels = levels_of(tmp_path / "image.tif")
    with Image.open(tmp_path / "image.tif") as image:
        assert getattr(image, "n_frames", 1) == len(levels)
        for number, level in enumerate(levels):
            image.seek(number)
            assert image.mode == "P"
            assert np.array_equal(np.asarray(image), level)
        image.seek(0)
        palette = np.frombuffer(colours("magma"), np.uint8).reshape(256, 3)
        assert np.array_equal(np.asarray(image.convert("RGB")), palette[levels[0]])


@pytest.mark.usefixtures("small")
def test_a_file_called_tif_is_one_whatever_its_size(tmp_path: Path) -> None:
    for name, counts in {"small.tif": rings(10, 12), "large.TIFF": rings(80, 90)}.items():
        files = write_picture(tmp_path / name, counts, 200)
        assert files == [tmp_path / name]
        assert levels_of(files[0])[0].shape == counts.shape
    assert len(levels_of(tmp_path / "small.tif")) == 1
    assert len([*tmp_path.iterdir()]) == 2


@pytest.mark.usefixtures("small")
def test_a_picture_larger_than_the_memory_is_never_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyramid, "_TILE", 64)
    monkeypatch.setattr(bands, "_BAND_BYTES", 1 << 13)
    monkeypatch.setattr(bands, "usable_cores", lambda: 2)
    np.save(tmp_path / "counts.npy", rings(1_200, 1_500))
    counts = np.load(tmp_path / "counts.npy", mmap_mode="r")
    drawing = Drawing(counts[::40, ::40], 200, USUAL)
    with open(tmp_path / "image.tif", "wb") as file:
        tracemalloc.start()
        try:
            pyramid.write(file, tmp_path, counts, drawing)
            assert tracemalloc.get_traced_memory()[1] < counts.size / 2, "half a byte a pixel"
        finally:
            tracemalloc.stop()
    assert np.array_equal(tifffile.imread(tmp_path / "image.tif"), drawing.indices(counts))


@pytest.mark.usefixtures("small")
def test_a_disk_that_is_full_half_way_is_one_error_and_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = pyramid._places

    def places(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
        yield next(original(shape))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pyramid, "_places", places)
    with pytest.raises(OutputError, match=r"image\.tif: No space left .*: free some space"):
        write_picture(tmp_path / "image.png", rings(90, 70), 200)
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]


def test_the_bounds_are_what_readers_take() -> None:
    # At twice this number pillow raises; programs that show pictures have it inside.
    assert Image.MAX_IMAGE_PIXELS is not None
    assert limits.png_pixels_max < 2 * Image.MAX_IMAGE_PIXELS
    assert limits.overview_side_pixels_max**2 < Image.MAX_IMAGE_PIXELS
