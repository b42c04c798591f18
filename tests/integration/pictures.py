"""Julia sets for tests, and the counts that they must have, by the plain loop in one piece."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy
from numpy.typing import NDArray

from hpczmq.kernels.base import CancelFlag
from hpczmq.kernels.julia import JuliaKernel

KERNEL = JuliaKernel()

#: 256 tiles with much interior, and no short cuts: some seconds of pure Python, so that there is
#: time to do something to the cluster half-way through.
LONG: dict[str, Any] = {
    "algorithm": "Secuencial", "width": 256, "height": 256, "iterations": 800, "tile": 16,
    "c_re": -0.123, "c_im": 0.745, "half_width": 1.3, "symmetry": False, "trap": False,
}  # fmt: skip
#: The same as a file says it.
LONG_JOB = "[[job]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in LONG.items())


def reference(params: dict[str, Any]) -> NDArray[Any]:
    """Counts of an image, from the plain loop."""
    return _reference(tuple(sorted({**params, "algorithm": "Secuencial", "tile": 0}.items())))


@functools.cache
def _reference(items: tuple[tuple[str, Any], ...]) -> NDArray[Any]:
    params = KERNEL.parse(dict(items))
    counts: NDArray[Any] = numpy.asarray(KERNEL.run(params, KERNEL.whole(params), CancelFlag()))
    counts.flags.writeable = False
    return counts


def same(counts: Any, params: dict[str, Any]) -> bool:
    """Whether counts are the reference's, bit for bit, in the same type and order."""
    wanted = reference(params)
    assert (counts.shape, counts.dtype.str) == (wanted.shape, wanted.dtype.str)
    assert counts.flags.c_contiguous
    return bool((counts == wanted).all())
