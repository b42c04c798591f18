"""The figures as a picture: an SVG file that needs nothing but what is in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from typing import Any

#: Pixels.
LABELS, BARS, RIGHT, ROW, TOP, GAP = 216, 320, 114, 21, 56, 26
WIDTH = 2 * (LABELS + BARS + RIGHT)
#: Giga-iterations a second at the left edge of the bars; they grow with the logarithm.
LEAST = 0.003
FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"
#: By the beginning of a variant's name; with the trap one of its own.
COLOURS = {"plain": "#6b7280", "NumPy": "#7fb0e6", "Numpy": "#2f74c0", "numba": "#3a9d6e"}
COLOURS |= {"Secuencial": "#a8adb7", "juliaCython": "#d9822b"}
TRAP = "#a8321f"


def svg(run: dict[str, Any]) -> str:
    """A panel for each image, two side by side; what one core does, and so no threads."""
    run = run | {"figures": [f for f in run["figures"] if not f["variant"].endswith("threads")]}
    images = list(run["images"])
    rows = max((sum(f["image"] == name for f in run["figures"]) for name in images), default=0)
    panel = TOP + rows * ROW + GAP
    height = 84 + panel * math.ceil(len(images) / 2)
    machine = run["machine"]
    title = "Julia kernels: giga-iterations a second, one core"
    where = f"{machine['processor']}, {machine['family']}, {run['clock_ghz']:.1f} GHz"
    how = "Logarithmic; in brackets times the plain C loop."
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' {FONT}>",
        f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
        _text(24, 34, title, 19, "#111827", bold=True),
        _text(24, 58, f"{where}; {machine['date']}. {how}", 13, "#4b5563"),
    ]
    for i, name in enumerate(images):
        x, y = i % 2 * WIDTH // 2, 72 + i // 2 * panel
        lines += _panel(run, name, x, y)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(run: dict[str, Any], name: str, x: int, y: int) -> Iterator[str]:
    figures = [figure for figure in run["figures"] if figure["image"] == name]
    most = max(figure["rate"] for figure in run["figures"])
    scale = BARS / math.log10(max(most, 10 * LEAST) / LEAST)
    left, bottom = x + LABELS, y + TOP + len(figures) * ROW

    def along(rate: float) -> float:
        return left + max(1.0, scale * math.log10(max(rate, LEAST) / LEAST))

    facts = run["images"][name]
    yield _text(x + 24, y + 26, f"{name}: {facts['what']}", 14, "#111827", bold=True)
    for power in range(math.ceil(math.log10(LEAST)), math.floor(math.log10(most)) + 1):
        at = along(10.0**power)
        yield _line(at, y + TOP - 6, bottom, "#e5e7eb", "")
        yield _text(at, y + TOP - 10, f"{10.0**power:g}", 11, "#6b7280", anchor="middle")
    if run["limits"]:
        at = along(run["limits"][-1]["measured"])
        yield _line(at, y + TOP - 6, bottom, "#111827", " stroke-dasharray='4 3'")
        said = f"limit of a step, {run['limits'][-1]['isa']}"
        yield _text(at, bottom + 13, said, 11, "#111827", anchor="middle")
    for number, figure in enumerate(figures):
        yield from _bar(figure, left, y + TOP + number * ROW, along(figure["rate"]))


def _bar(figure: dict[str, Any], left: int, y: int, to: float) -> Iterator[str]:
    name = figure["variant"]
    colour = next((c for start, c in COLOURS.items() if name.startswith(start)), "#6b7280")
    if name.endswith(", trap"):
        colour = TRAP if name.startswith("juliaCython") else "#173f73"
    yield _text(left - 8, y + 14, name, 12, "#1f2937", anchor="end")
    size = f"width='{to - left:.1f}' height='{ROW - 5}'"
    yield f"<rect x='{left}' y='{y + 2}' {size} rx='2' fill='{colour}'/>"
    said = f"{figure['rate']:.3g} ({figure['ratio']:.3g})"
    halo = " stroke='#ffffff' stroke-width='3' stroke-linejoin='round'"
    for more in (halo, ""):
        yield _text(to + 6, y + 14, said, 12, "#1f2937", more=more)


def _line(x: float, top: float, bottom: float, colour: str, more: str) -> str:
    return f"<path d='M{x:.1f} {top}V{bottom}' stroke='{colour}' fill='none'{more}/>"


def _text(
    x: float,
    y: float,
    said: str,
    size: int,
    colour: str,
    *,
    anchor: str = "start",
    bold: bool = False,
    more: str = "",
) -> str:
    weight = " font-weight='bold'" if bold else ""
    place = f"x='{x:.1f}' y='{y}' font-size='{size}' text-anchor='{anchor}' fill='{colour}'"
    return f"<text {place}{weight}{more}>{escape(said)}</text>"
