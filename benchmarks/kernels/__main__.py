"""All Julia kernels in one run, beside what others would do: `python -m benchmarks.kernels`.

A plain loop in C, all implementations of hpczmq with all instruction sets, NumPy's usual way, and
numba if it is there. Every figure is the best of `--repeat` rounds; the variants take turns within
a round, so that a slow moment of a shared machine hits all of them. Their counts are compared with
the plain loop's, bit for bit. Then what the processor can do at most. Ratios travel, absolute
figures do not. The tables are printed as Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.kernels import machine, measuring, numba_loops, plot, report, variants
from benchmarks.kernels.images import IMAGES, Image
from hpczmq.kernels import compiled


def run(images: list[Image], only: list[str], repeat: int, limit_steps: int) -> dict[str, Any]:
    """Measure; what goes into the JSON file."""
    chosen = variants.variants(only)
    facts = machine.describe(numba_loops.version())
    clock, limits = machine.measure(compiled.available(), limit_steps, 5 * repeat)
    figures = measuring.measure(images, chosen, repeat)
    return {
        "machine": facts | {"load after": round(os.getloadavg()[0], 2), "rounds": repeat},
        "clock_ghz": clock,
        "limits": [asdict(limit) for limit in limits],
        "images": {image.name: described(image) for image in images},
        "figures": measuring.plain(figures),
    }


def described(image: Image) -> dict[str, Any]:
    """What a reader must know of an image."""
    p = image.params
    return {
        "what": image.what,
        "pixels": f"{p.width}×{p.height}",
        "iterations": p.iterations,
        "c": f"{p.c_re:g}{p.c_im:+g}i",
        "half_width": p.half_width,
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the tables, write the files."""
    parser = argparse.ArgumentParser(prog="benchmarks.kernels", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="variants with such a name")
    parser.add_argument("--images", nargs="*", default=list(IMAGES), choices=list(IMAGES))
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument("--json", type=Path, help="write everything to this file too")
    parser.add_argument("--plot", type=Path, help="draw it into this SVG file")
    parser.add_argument("--load", type=Path, help="measure nothing, show an earlier --json FILE")
    parser.add_argument("--smaller", type=int, default=1, metavar="N", help="1/N the side")
    given = parser.parse_args(arguments)
    if given.load:
        result = json.loads(given.load.read_text())
    else:
        images = [IMAGES[name].smaller(given.smaller) for name in given.images]
        if not numba_loops.version():
            print("numba is left out: it is not installed (pip install numba)", file=sys.stderr)
        result = run(images, given.only, given.repeat, max(1000, 4_000_000 // given.smaller))
    print(report.text(result))
    if given.json:
        given.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    if given.plot:
        given.plot.write_text(plot.svg(result))


if __name__ == "__main__":
    main()
