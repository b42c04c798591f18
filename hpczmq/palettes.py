"""The palettes by name. Here and not beside the drawing: the command line names them in its help,
and most commands need no numpy, which takes as long to load as all else together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hpczmq.errors import ParameterError

#: Anchor colours from the fastest escape to the slowest, evenly spaced in between.
#: The first three are cut from matplotlib's perceptually uniform maps (CC0).
_ANCHORS: Final[Mapping[str, str]] = {
    "viridis": "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
    "magma": "000004 180f3d 440f76 721f81 9e2f7f cd4071 f1605d fd9668 feca8d fcfdbf",
    "inferno": "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4",
    "ocean": "03071e 0a1f44 0f3d6e 14619a 1c8fc0 52bcd8 a6e1e8 f4fbf2 fde9b0 f6b24f",
    "ember": "0b0d17 2a1030 5c1a3c 96273a cb4030 ec6a2b f79b3b fcc868 fdeaa8 fffdf0",
    "gray": "101010 ffffff",
}

#: Names of the palettes; the first one is the default.
PALETTES: Final = ("ocean", *(name for name in _ANCHORS if name != "ocean"))


def anchors(palette: str) -> list[bytes]:
    """The palette's anchor colours, three bytes each: red, green, blue.

    Raises:
        ParameterError: there is no such palette.
    """
    if palette not in _ANCHORS:
        raise ParameterError("palette", palette, f"must be one of {', '.join(PALETTES)}")
    return [bytes.fromhex(colour) for colour in _ANCHORS[palette].split()]
