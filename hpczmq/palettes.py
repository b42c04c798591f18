"""How pictures look, by name: palettes and mappings. Here and not beside the drawing: the command
line names them in its help, and most commands need neither numpy nor the library of the palettes.

The palettes are those of cmap, by any name that it knows, and one of our own. A mapping says
which part of the palette a count gets; `mapping.py` has the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from hpczmq.errors import ParameterError

#: Palettes to name in a help, the default first; a test finds the others in the library.
PALETTES: Final = (
    "ocean",
    "viridis",
    "magma",
    "inferno",
    "plasma",
    "cividis",
    "batlow",
    "turbo",
    "twilight",
    "ember",
    "gray",
)

#: Ours, over the library's `gnuplot:ocean`: anchor colours from the fastest escape to the
#: slowest, evenly spaced in between.
_OCEAN: Final = "03071e 0a1f44 0f3d6e 14619a 1c8fc0 52bcd8 a6e1e8 f4fbf2 fde9b0 f6b24f"

#: Mappings, the default first.
MAPPINGS: Final = ("balanced", "equalised", "linear")


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture is to be drawn."""

    #: One of `PALETTES`, or any other name of a colour map that cmap knows.
    palette: str = PALETTES[0]
    #: One of `MAPPINGS`.
    mapping: str = MAPPINGS[0]

    def check(self) -> None:
        """Find out before the work whether there is such a look.

        Raises:
            ParameterError: there is no such palette, or no such mapping.
        """
        if self.mapping not in MAPPINGS:
            what = f"must be {', '.join(MAPPINGS[:-1])} or {MAPPINGS[-1]}"
            raise ParameterError("mapping", self.mapping, what)
        colours(self.palette)


def colours(palette: str) -> bytes:
    """256 colours as R, G, B, R, … in 0..255: black, then the palette from end to end.

    Raises:
        ParameterError: there is no such palette.
    """
    import numpy as np  # see the top
    from cmap import Colormap

    if palette == PALETTES[0]:
        colormap = Colormap([f"#{colour}" for colour in _OCEAN.split()])
    else:
        colormap = Colormap(_resolved(palette))
    scaled = np.rint(255 * colormap(np.linspace(0, 1, 255))[:, :3])
    return bytes(3) + scaled.astype(np.uint8).tobytes()


def _resolved(palette: str) -> str:
    """The library's full name of a palette; a name that several have means the same every time."""
    from cmap import Catalog

    catalog = Catalog()
    # "_r" at its end turns any of them round.
    name, turned = (palette[:-2], "_r") if palette.endswith("_r") else (palette, "")
    try:
        return catalog.resolve(name) + turned
    except KeyError:
        known = {*PALETTES, *catalog.short_keys()}
        near = get_close_matches(palette, sorted(known), 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        what = f"must be one of {', '.join(PALETTES)}, or another colour map of cmap{hint}"
        raise ParameterError("palette", palette, what) from None
