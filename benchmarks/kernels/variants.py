"""Every way to compute an image that is compared.

A variant computes whole rows of an image: all of them, or every k-th where a whole image would take
minutes. Symmetry is not used: kernels are compared here, not jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy

from benchmarks.kernels import numba_loops
from benchmarks.kernels.images import Image
from benchmarks.kernels.native import Plain
from hpczmq.kernels import CancelFlag, compiled, numpy_blocks, secuencial
from hpczmq.kernels.julia import Tile

#: Of a whole image or of every k-th row: image, k, and shape (rows, width) of uint16 to fill.
Compute = Callable[[Image, int, Any], None]

PLAIN = "plain C loop"
USUAL = "NumPy's usual way"


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to compute."""

    name: str
    compute: Compute
    #: Wall clock counts if more than 1; if not, the process's CPU time, which a machine that is
    #: shared with others disturbs less.
    threads: int = 1
    #: Every how manieth row is computed, by image; 1 where it is not named, or that of "".
    every: dict[str, int] | None = None
    #: Whether its counts must be those of the plain loop.
    exact: bool = True

    def every_of(self, image: Image) -> int:
        """Every how manieth row of the image."""
        every = self.every or {}
        return every.get(image.name, every.get("", 1))


def variants() -> Iterator[Variant]:
    """All of them that this machine has, the plain loop first."""
    plain = Plain()
    yield Variant(PLAIN, lambda image, every, out: _axes(plain, image, every, out))
    yield Variant("Secuencial", _secuencial, every={"": 128, "J2": 512})
    yield Variant(USUAL, _usual, every={"": 4, "J2": 40}, exact=False)
    yield Variant("Numpy", lambda image, every, out: _numpy(image, out, trap=False))
    yield Variant("Numpy, trap", lambda image, every, out: _numpy(image, out, trap=True))
    yield from _numba()
    for isa in compiled.available():
        yield Variant(f"juliaCython {isa}", _cython(isa, trap=False))
        yield Variant(f"juliaCython {isa}, trap", _cython(isa, trap=True))
    if best := compiled.available()[-1:]:
        compute = _cython(best[0], trap=False, threads=2)
        yield Variant(f"juliaCython {best[0]}, 2 threads", compute, threads=2)


def _numba() -> Iterator[Variant]:
    try:
        for name, loop in (("scalar", numba_loops.scalar), ("32 lanes", numba_loops.lanes)):
            yield Variant(f"numba, {name}", _numba_compute(numba_loops.compiled(loop)))
    except ImportError:
        return


def _numba_compute(loop: numba_loops.Loop) -> Compute:
    def compute(image: Image, every: int, out: Any) -> None:
        loop(image.c.real, image.c.imag, image.params.iterations, *image.axes(every), out)

    return compute


def _axes(plain: Plain, image: Image, every: int, out: Any) -> None:
    plain(image.c, image.params.iterations, *image.axes(every), out)


def _secuencial(image: Image, every: int, out: Any) -> None:
    p = image.params
    for row in range(out.shape[0]):
        secuencial.counts(p, Tile(0, row * every, p.width, 1), out[row : row + 1], CancelFlag())


def _numpy(image: Image, out: Any, *, trap: bool) -> None:
    params = replace(image.params, trap=trap)
    numpy_blocks.counts(params, _whole(image), out, CancelFlag())


def _cython(isa: str, *, trap: bool, threads: int = 1) -> Compute:
    from hpczmq.kernels import _julia

    def compute(image: Image, every: int, out: Any) -> None:
        params = replace(image.params, trap=trap, threads=threads)
        # One call, also for more than the 4096² pixels that a task may have at most.
        _julia.counts(params, _whole(image), out, CancelFlag(), isa)

    return compute


def _whole(image: Image) -> Tile:
    return Tile(0, 0, image.params.width, image.params.height)


def _usual(image: Image, every: int, out: Any) -> None:
    """As most tutorials have it: a complex array, a mask, `abs`; its rounding is not ours."""
    xs, ys = image.axes(every)
    z = xs + 1j * ys[:, numpy.newaxis]
    out[:] = 0
    for _ in range(image.params.iterations):
        mask = numpy.abs(z) <= 2
        if not mask.any():
            break
        z[mask] = z[mask] ** 2 + image.c
        out[mask] += 1
