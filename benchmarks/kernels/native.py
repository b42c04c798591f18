"""The C of this benchmark: built by the compiler that there is, when it runs.

The flags are the kernel's own (setup.py): -O3, no fusing of the compiler's, no -march.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path
from typing import Any

COMPILER = "cc"
FLAGS = ("-O3", "-ffp-contract=off", "-fno-fast-math")
FOLDER = Path(__file__).parent

_DOUBLES = ctypes.POINTER(ctypes.c_double)


def compiler() -> str:
    """What the compiler calls itself, in a line; with the flags."""
    said = subprocess.run([COMPILER, "--version"], check=True, capture_output=True, text=True)
    return f"{said.stdout.splitlines()[0]}, {' '.join(FLAGS)}"


def build(name: str) -> ctypes.CDLL:
    """`name`.c as a library. Its file is gone again when this returns; the mapping stays."""
    with tempfile.TemporaryDirectory(prefix="hpczmq-bench-") as folder:
        library = Path(folder) / f"{name}.so"
        source = FOLDER / f"{name}.c"
        command = [COMPILER, *FLAGS, "-shared", "-fPIC", "-o", str(library), str(source)]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(library))


class Plain:
    """The plain scalar loop of plain.c."""

    def __init__(self) -> None:
        self._counts = build("plain").plain_counts
        self._counts.restype = None

    def __call__(self, c: complex, iterations: int, xs: Any, ys: Any, out: Any) -> None:
        """Write the counts of all (x, y) into `out`, shape (ys.size, xs.size), uint16."""
        assert out.shape == (ys.size, xs.size)
        assert out.dtype == "uint16"
        self._counts(
            ctypes.c_double(c.real),
            ctypes.c_double(c.imag),
            ctypes.c_uint32(iterations),
            xs.ctypes.data_as(_DOUBLES),
            ctypes.c_size_t(xs.size),
            ys.ctypes.data_as(_DOUBLES),
            ctypes.c_size_t(ys.size),
            out.ctypes.data_as(ctypes.c_void_p),
        )


class Limits:
    """The microbenchmarks of limit.c."""

    #: Vectors side by side that are tried; the best is the limit.
    COUNTS = (4, 6, 8)

    def __init__(self) -> None:
        self._library = build("limit")
        self._library.clock_chain.restype = ctypes.c_uint64

    def chain(self, rounds: int) -> int:
        """So many times 16 dependent additions; how many that makes."""
        self._library.clock_chain(ctypes.c_uint64(rounds))
        return 16 * rounds

    def steps(self, isa: str, lanes: int, count: int, steps: int) -> int:
        """`steps` steps of `count` vectors; how many iterations that makes."""
        start = ctypes.c_double(0.001)
        function = getattr(self._library, f"limit_{isa}_{count}")
        function.restype = None
        function(ctypes.c_uint64(steps), ctypes.byref(start))
        assert abs(start.value) < 100, "an orbit escaped"
        return steps * lanes * count
