"""The four images that are computed, and the parts of them that slow variants get."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy

from hpczmq.kernels.julia import JuliaParams


@dataclass(frozen=True, slots=True)
class Image:
    """One image on the contract's centred grid."""

    name: str
    what: str
    params: JuliaParams

    @property
    def c(self) -> complex:
        """The constant of z² + c."""
        return complex(self.params.c_re, self.params.c_im)

    def axes(self, every: int) -> tuple[Any, Any]:
        """The coordinates of its columns, and of every so many rows; float64."""
        p = self.params
        columns, rows = numpy.arange(p.width), numpy.arange(0, p.height, every)
        xs = p.center_x + (columns - (p.width - 1) / 2) * p.dx
        ys = p.center_y + ((p.height - 1) / 2 - rows) * p.dx
        return xs, ys

    def smaller(self, factor: int) -> Image:
        """The same with a part of the columns, rows and iterations: for tests."""
        p = self.params
        size = {name: max(1, getattr(p, name) // factor) for name in ("width", "height")}
        return replace(self, params=replace(p, **size, iterations=max(100, p.iterations // factor)))


def _image(
    name: str, what: str, c: complex, size: tuple[int, int], iterations: int, half_width: float
) -> Image:
    params = JuliaParams(
        width=size[0],
        height=size[1],
        iterations=iterations,
        c_re=c.real,
        c_im=c.imag,
        half_width=half_width,
    )
    return Image(name, what, params)


IMAGES = {
    image.name: image
    for image in (
        _image("J1", "dust: all escape, soon", -0.8 + 0.156j, (3500, 2800), 1500, 1.5),
        _image("J2", "a cycle of 7, 5 % inside", -0.62772 - 0.42193j, (5000, 4000), 3000, 1.8),
        _image("J3", "the unit disc, 47 % inside", 0j, (2000, 1500), 500, 1.5),
        _image("J4", "dust: all escape, later", 0.285 + 0.01j, (3000, 2400), 1000, 1.5),
    )
}
