"""The compiled part of the Julia kernel: whether it is here, and in which of its ways it computes.

It has one for each instruction set that it knows, all of which give the same counts. The fastest
that the processor has is used, or the one that the variable ``HPCZMQ_ISA`` names, which is how they
are tested and compared: `scalar`, `baseline` (SSE2 or NEON), `avx2`, `avx512`.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from hpczmq.errors import KernelMissing

if TYPE_CHECKING:
    from hpczmq.kernels.base import CancelFlag
    from hpczmq.kernels.julia import Counts, JuliaParams, Tile

#: The environment variable that names an instruction set.
VARIABLE = "HPCZMQ_ISA"

_REMEDY = (
    "install a C compiler (Debian: apt-get install gcc python3-dev), then pip install "
    "--force-reinstall --no-binary hpczmq hpczmq, or from a clone: make. Until then use algorithm "
    "= Numpy"
)


def counts(params: JuliaParams, tile: Tile, out: Counts, cancelled: CancelFlag) -> None:
    """Write the counts of `tile` into `out`; see `julia.CountsFunction`.

    Raises:
        KernelMissing: see `isa`.
    """
    chosen = isa()
    from hpczmq.kernels import _julia

    _julia.counts(params, tile, out, cancelled, chosen)


def available() -> tuple[str, ...]:
    """The instruction sets that can be used here, the slowest first; none without a compiler."""
    return _imported()[0]


def isa() -> str:
    """The instruction set that is used.

    Raises:
        KernelMissing: nothing is compiled here, or ``HPCZMQ_ISA`` names what this machine lacks.
    """
    names, cause = _imported()
    if cause:
        raise KernelMissing(
            f"julia:juliaCython: its compiled part is missing here ({cause}); {_REMEDY}"
        )
    wanted = os.environ.get(VARIABLE, "").strip().lower()
    if wanted and wanted not in names:
        raise KernelMissing(
            f"{VARIABLE} = {wanted}: must be one of {', '.join(names)} on this machine; without "
            f"it the fastest is used, {names[-1]}"
        )
    return wanted or names[-1]


@functools.cache
def _imported() -> tuple[tuple[str, ...], str]:
    """What the compiled module offers, and why it can't be used if it can't.

    It is imported for it: a file that was built for another machine is there and of no use.
    """
    try:
        from hpczmq.kernels import _julia

        return _julia.available(), ""
    except (ImportError, AttributeError) as error:  # the latter of one that an older version built
        return (), str(error)
