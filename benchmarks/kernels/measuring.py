"""Rounds in which all variants take turns, and what comes of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy

from benchmarks.kernels.images import Image
from benchmarks.kernels.variants import PLAIN, Variant

#: In its turn a variant computes the image again until so much time is spent, but at most so
#: often, so that the fast ones are not measured by one lucky or unlucky moment. Several threads get
#: longer: they need a moment in which nobody else is on any of their cores.
TURN_S, TURN_THREADS_S, TURN_MAX = 0.3, 3.0, 20


@dataclass(slots=True)
class Figure:
    """One variant on one image."""

    image: str
    variant: str
    #: Every so manieth row was computed.
    every: int
    #: Which clock counts: "cpu" or "wall".
    clock: str
    #: Sum of the counts that were computed.
    iterations: int = 0
    #: The best times of all rounds, in seconds.
    cpu_s: float = float("inf")
    wall_s: float = float("inf")
    #: Share of the pixels whose count is not that of the plain loop.
    differing: float = 0.0
    #: Giga-iterations a second, and that of the plain loop on the same image over it.
    rate: float = 0.0
    ratio: float = 0.0


class WrongCounts(Exception):
    """A variant that is said to be exact is not."""


def measure(images: Iterable[Image], variants: Sequence[Variant], repeat: int) -> list[Figure]:
    """All variants on all images; the plain loop must be the first of them.

    Raises:
        WrongCounts: see `_compare`.
    """
    assert variants[0].name == PLAIN
    found: list[Figure] = []
    for image in images:
        figures = [
            Figure(image.name, v.name, v.every_of(image), "cpu" if v.threads == 1 else "wall")
            for v in variants
        ]
        shape = (image.params.height, image.params.width)
        reference = numpy.zeros(shape, numpy.uint16)
        for turn in range(repeat):
            for variant, figure in zip(variants, figures, strict=True):
                _say(f"{image.name} {turn + 1}/{repeat} {variant.name}")
                out = reference if variant.name == PLAIN else numpy.zeros(shape, numpy.uint16)
                part = out[: -(-shape[0] // figure.every)]
                _turn(image, variant, figure, part)
                if turn == 0:
                    _compare(reference[:: figure.every], part, variant, figure)
        _say("")
        for figure in figures:
            spent = figure.cpu_s if figure.clock == "cpu" else figure.wall_s
            figure.rate = figure.iterations / spent / 1e9
            figure.ratio = figure.rate / figures[0].rate
        found += figures
    return found


def _say(what: str) -> None:
    """Where it is, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{what:60}\r", end="", file=sys.stderr, flush=True)


def _turn(image: Image, variant: Variant, figure: Figure, out: Any) -> None:
    began = time.perf_counter()
    turn_s = TURN_S if variant.threads == 1 else TURN_THREADS_S
    for _ in range(TURN_MAX):
        wall, cpu = time.perf_counter(), time.process_time()
        variant.compute(image, figure.every, out)
        figure.cpu_s = min(figure.cpu_s, time.process_time() - cpu)
        figure.wall_s = min(figure.wall_s, time.perf_counter() - wall)
        if time.perf_counter() - began > turn_s:
            return


def _compare(reference: Any, out: Any, variant: Variant, figure: Figure) -> None:
    figure.iterations = int(out.sum(dtype=numpy.int64))
    figure.differing = float((out != reference).mean())
    if variant.exact and figure.differing:
        raise WrongCounts(
            f"{variant.name} on {image_name(figure)}: {figure.differing:.2%} of the counts differ "
            "from the plain loop's"
        )


def image_name(figure: Figure) -> str:
    """Which image, and how much of it."""
    return figure.image + (f" (1 row of {figure.every})" if figure.every > 1 else "")


def plain(figures: Iterable[Figure]) -> list[dict[str, Any]]:
    """As they go into a JSON file."""
    return [asdict(figure) for figure in figures]
