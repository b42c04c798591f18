"""Every way to compute an image that is compared.

A variant computes whole rows of an image: all of them, or every k-th where a whole image would take
minutes. Symmetry is not used: kernels are compared here, not jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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


def variants(only: Sequence[str] = ()) -> list[Variant]:
    """Those that this machine has and that have one of the words in their name, or all.

    The plain loop is always there, and the first: all others are compared with it.
    """
    made = [Variant(PLAIN, _plain(Plain()))]
    for name, make in _makers():
        if not only or any(word in name for word in only):
            made.append(make(name))
    return made


def _makers() -> Iterator[tuple[str, Callable[[str], Variant]]]:
    """Names, and what makes each one; numba takes its time to compile."""
    yield "Secuencial", lambda name: Variant(name, _secuencial, every={"": 128, "J2": 512})
    yield USUAL, lambda name: Variant(name, _usual, every={"": 4, "J2": 40}, exact=False)
    yield "Numpy", lambda name: Variant(name, _numpy(trap=False))
    yield "Numpy, trap", lambda name: Variant(name, _numpy(trap=True))
    if numba_loops.version():
        yield "numba, scalar", lambda name: Variant(name, _numba(numba_loops.scalar))
        yield "numba, 32 lanes", lambda name: Variant(name, _numba(numba_loops.lanes))
    for isa in compiled.available():
        yield from _cythons(isa)


def _cythons(isa: str) -> Iterator[tuple[str, Callable[[str], Variant]]]:
    name = f"juliaCython {isa}"
    yield name, lambda name: Variant(name, _cython(isa, trap=False))
    yield f"{name}, trap", lambda name: Variant(name, _cython(isa, trap=True))
    if isa == compiled.available()[-1]:
        compute = _cython(isa, trap=False, threads=2)
        yield f"{name}, 2 threads", lambda name: Variant(name, compute, threads=2)


def _numba(loop: numba_loops.Loop) -> Compute:
    made = numba_loops.compiled(loop)

    def compute(image: Image, every: int, out: Any) -> None:
        made(image.c.real, image.c.imag, image.params.iterations, *image.axes(every), out)

    return compute


def _plain(loop: Plain) -> Compute:
    def compute(image: Image, every: int, out: Any) -> None:
        loop(image.c, image.params.iterations, *image.axes(every), out)

    return compute


def _numpy(*, trap: bool) -> Compute:
    def compute(image: Image, every: int, out: Any) -> None:
        params = replace(image.params, trap=trap)
        numpy_blocks.counts(params, _whole(image), out, CancelFlag())

    return compute


def _secuencial(image: Image, every: int, out: Any) -> None:
    p = image.params
    for row in range(out.shape[0]):
        secuencial.counts(p, Tile(0, row * every, p.width, 1), out[row : row + 1], CancelFlag())


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
