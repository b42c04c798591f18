"""The machine: what it is, how fast its clock runs, and what it can do at most.

The physical limit of the unchecked step is ports × lanes × clock over the operations of a step. It
is known from the makers' manuals for the families below, and measured by limit.c on all machines.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.kernels import native

#: Lanes of a vector of float64.
LANES = {"baseline": 2, "avx2": 4, "avx512": 8}


@dataclass(frozen=True, slots=True)
class Bound:
    """Cycles that one step of one vector takes at least, and why."""

    cycles: float
    why: str


#: By family. A step is 3 multiplications, 1 fused multiply-add and 2 additions; without FMA 3
#: multiplications and 4 additions.
BOUNDS = {
    "Golden Cove and its like (Sapphire, Emerald and Granite Rapids)": {
        "baseline": Bound(7 / 3, "7 operations on 3 ports (p0, p1, p5)"),
        "avx2": Bound(2, "6 operations on 3 ports: 4 on p0 and p1, 2 on p5"),
        "avx512": Bound(3, "6 operations on 2 ports (p0, p5)"),
    },
    "Zen 4": {
        "baseline": Bound(2, "3 multiplications and 4 additions on 2 ports each"),
        "avx2": Bound(2, "4 multiplications or fused on 2 ports"),
        "avx512": Bound(4, "4 multiplications or fused on 2 ports, each in 2 halves"),
    },
    "Zen 3": {
        "baseline": Bound(2, "3 multiplications and 4 additions on 2 ports each"),
        "avx2": Bound(2, "4 multiplications or fused on 2 ports"),
    },
}


@dataclass(frozen=True, slots=True)
class Limit:
    """What an instruction set can do at most on this machine, in giga-iterations a second."""

    isa: str
    measured: float
    #: lanes × clock / cycles, or None for a family that is not in the table.
    computed: float | None
    cycles: float | None
    why: str


def cpu() -> dict[str, str]:
    """What the system says of its first processor."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    lines = re.findall(r"^(.*?)\t*: (.*)$", text.split("\n\n")[0], re.MULTILINE)
    return {key: value.strip() for key, value in lines}


def family(facts: dict[str, str]) -> str:
    """The row of `BOUNDS`, or nothing. By what it can do: virtual machines hide model numbers."""
    flags = set(facts.get("flags", "").split())
    if facts.get("vendor_id") == "GenuineIntel" and {"avx512_fp16", "amx_tile"} <= flags:
        return next(iter(BOUNDS))
    if facts.get("vendor_id") == "AuthenticAMD" and facts.get("cpu family") == "25":
        return "Zen 4" if "avx512f" in flags else "Zen 3"
    return ""


def describe(numba: str) -> dict[str, Any]:
    """What a table of figures must say of where it was made."""
    import numpy

    facts = cpu()
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": facts.get("model name", platform.processor() or platform.machine()),
        "family": family(facts) or "not in the table",
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "compiler": native.compiler(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "numba": numba or "left out; pip install numba gets it",
        "load before": round(os.getloadavg()[0], 2),
    }


def rate(work: Callable[[], int], repeat: int) -> float:
    """The best of so many: what `work` says it did, a second of CPU time."""
    best = 0.0
    for _ in range(repeat):
        began = time.process_time()
        done = work()
        best = max(best, done / max(time.process_time() - began, 1e-9))
    return best


def clock_ghz(limits: native.Limits, rounds: int, repeat: int) -> float:
    """Of the core that this runs on, by a chain of additions of a cycle each."""
    return rate(lambda: limits.chain(rounds), repeat) / 1e9


def measure(isas: tuple[str, ...], steps: int, repeat: int) -> tuple[float, list[Limit]]:
    """The clock in GHz, and the limit of each instruction set that has vectors."""
    native_limits = native.Limits()
    clock = clock_ghz(native_limits, steps, repeat)
    bounds = BOUNDS.get(family(cpu()), {})
    found = []
    for isa in isas:
        if isa not in LANES:
            continue
        measured = max(
            rate(lambda i=isa, n=n: native_limits.steps(i, LANES[i], n, steps), repeat)  # type: ignore[misc]
            for n in native_limits.COUNTS
        )
        clock = max(clock, clock_ghz(native_limits, steps, repeat))
        found.append((isa, measured / 1e9, bounds.get(isa)))
    return clock, [
        Limit(
            isa,
            measured,
            LANES[isa] * clock / bound.cycles if bound else None,
            bound.cycles if bound else None,
            bound.why if bound else "",
        )
        for isa, measured, bound in found
    ]
