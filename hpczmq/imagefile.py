"""Iteration counts to picture files.

Every picture is a PNG file. One that is too large for the programs that show PNG files is a PNG
file of fewer pixels, and beside it a TIFF file of all of them, which such programs show in parts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpczmq import limits, png, pyramid
from hpczmq.atomic import replacing
from hpczmq.mapping import Drawing
from hpczmq.palettes import Look

_USUAL: Final = Look()
_TIFF: Final = (".tif", ".tiff")


def write_picture(
    path: Path, counts: NDArray[Any], iterations: int, look: Look = _USUAL
) -> list[Path]:
    """Draw counts into a file, or two; each appears whole or not at all.

    Args:
        path: the PNG file; one that exists is replaced. A TIFF file gets its name with ``.tif``;
            a path that ends so itself asks for a TIFF file, and no other.
        counts: (H, W), any unsigned dtype, each 0..iterations; may be a map of a file, and is
            never whole in memory if it is.
        iterations: the bound of the computation; pixels that reached it are black.
        look: palette and mapping.

    Returns:
        The files. With more than `limits.png_pixels_max` pixels they are two: then the PNG file
        has every n-th pixel of every n-th row, at most `limits.overview_side_pixels_max` on a
        side, and these pixels stand for all of them when colours are shared out.

    Raises:
        ParameterError: there is no such look.
        OutputError: a file can't be written.
    """
    whole = counts.size <= limits.png_pixels_max
    step = 1 if whole else -(-max(counts.shape) // limits.overview_side_pixels_max)
    shown = counts if whole else np.ascontiguousarray(counts[::step, ::step])
    drawing = Drawing(shown, iterations, look)
    written = []
    if path.suffix.lower() not in _TIFF:
        with replacing(path) as file:
            png.write(file, shown, drawing)
        written.append(path)
        if whole:
            return written
        path = path.with_suffix(_TIFF[0])
    with replacing(path) as file:
        pyramid.write(file, path.parent, counts, drawing)
    return [*written, path]
