"""The figures as Markdown, as docs/kernels.md has them. Reads what a run's JSON file holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.kernels.variants import PLAIN, USUAL


@dataclass(frozen=True, slots=True)
class Target:
    """What is aimed at: how much faster `variant` is than `base` on the image, at least."""

    image: str
    variant: str
    wanted: float
    base: str = PLAIN


TARGETS = [
    *(
        Target(image, f"juliaCython {isa}", wanted)
        for isa, row in {
            "avx512": (11, 20, 20, 9.5),
            "avx2": (8, 15, 15, 7),
            "baseline": (4.5, 8, 7.5, 3.7),
        }.items()
        for image, wanted in zip(("J1", "J2", "J3", "J4"), row, strict=True)
    ),
    Target("J2", "juliaCython avx512, trap", 200),
    Target("J3", "juliaCython avx512, trap", 120),
    Target("J1", "Numpy", 12, USUAL),
    Target("J3", "Numpy", 3.5, USUAL),
]


def text(run: dict[str, Any]) -> str:
    """All tables of a run."""
    parts = (_machine(run), _figures(run), _notes(run), _threads(run), _limits(run), _targets(run))
    return "\n\n".join("\n".join(lines) for lines in map(list, parts) if lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _heading(*names: str) -> Iterator[str]:
    yield _row(names)
    yield "|---" * len(names) + "|"


def _by_name(run: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(figure["variant"], figure["image"]): figure for figure in run["figures"]}


def _machine(run: dict[str, Any]) -> Iterator[str]:
    yield from _heading("", "")
    for key, value in run["machine"].items():
        yield _row((key, str(value)))
    yield _row(("clock, measured", f"{run['clock_ghz']:.2f} GHz"))


def _figures(run: dict[str, Any]) -> Iterator[str]:
    figures, images = _by_name(run), list(run["images"])
    yield from _heading("G iterations/s (times the plain C loop)", *images)
    for variant in dict.fromkeys(variant for variant, _ in figures):
        cells = [
            f"{figures[variant, image]['rate']:.3g} ({figures[variant, image]['ratio']:.3g})"
            for image in images
        ]
        yield _row((variant, *cells))


def _notes(run: dict[str, Any]) -> Iterator[str]:
    for image, facts in run["images"].items():
        size = f"{facts['pixels']}, {facts['iterations']} iterations, c = {facts['c']}"
        yield f"- {image}: {facts['what']}; {size}, half_width = {facts['half_width']}."
    parts: dict[str, list[str]] = {}
    for figure in run["figures"]:
        if figure["every"] > 1:
            said = f"1 row of {figure['every']} of {figure['image']}"
            parts.setdefault(figure["variant"], []).append(said)
        if figure["differing"]:
            share = f"{100 * figure['differing']:.2g} %"
            yield f"- {figure['variant']} on {figure['image']}: {share} of the counts differ."
    for variant, rows in parts.items():
        yield f"- {variant} computes a part: {', '.join(rows)}."


def _threads(run: dict[str, Any]) -> Iterator[str]:
    figures = _by_name(run)
    lines = []
    for (variant, image), two in figures.items():
        one = figures.get((variant.removesuffix(", 2 threads"), image))
        if one is not None and one is not two:
            gain, cost = one["wall_s"] / two["wall_s"], two["cpu_s"] / one["cpu_s"]
            lines.append(_row((image, f"{gain:.2f}", f"{cost:.2f}")))
    if lines:
        yield from _heading("2 threads", "times as fast, wall clock", "CPU time, of 1 thread's")
        yield from lines


def _limits(run: dict[str, Any]) -> Iterator[str]:
    if not run["limits"]:
        return
    figures = _by_name(run)
    yield from _heading(
        "instruction set", "cycles a step", "computed G/s", "measured G/s", "J2, no trap", "share"
    )
    for limit in run["limits"]:
        cycles = f"{limit['cycles']:.3g}: {limit['why']}" if limit["cycles"] else "not in the table"
        computed = f"{limit['computed']:.3g}" if limit["computed"] else "–"
        figure = figures.get((f"juliaCython {limit['isa']}", "J2"))
        rate = f"{figure['rate']:.3g}" if figure else "–"
        share = f"{figure['rate'] / limit['measured']:.0%}" if figure else "–"
        yield _row((limit["isa"], cycles, computed, f"{limit['measured']:.3g}", rate, share))


def _targets(run: dict[str, Any]) -> Iterator[str]:
    figures = _by_name(run)
    lines = []
    for target in TARGETS:
        one = figures.get((target.variant, target.image))
        base = figures.get((target.base, target.image))
        if one is None or base is None:
            continue
        ratio = one["rate"] / base["rate"]
        verdict = "yes" if ratio >= target.wanted else "no"
        names = (target.image, target.variant, target.base)
        lines.append(_row((*names, f"{target.wanted:g}", f"{ratio:.3g}", verdict)))
    if lines:
        yield from _heading("image", "variant", "times", "wanted", "measured", "reached")
        yield from lines
