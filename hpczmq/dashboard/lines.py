"""Lines of text in colours, as wide as they must be: what the dashboard is drawn with. Pure.

Rich's tables measure every cell; a screen whose columns are known is drawn twenty times as fast
without them, and it is drawn four times a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import zip_longest
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

#: Pieces of text, each with the name of its style.
Line = list[tuple[str, str]]

_HEIGHTS: Final = " ▁▂▃▄▅▆▇█"
_WIDTHS: Final = " ▏▎▍▌▋▊▉█"


@cache
def style(name: str) -> Style:
    """A style by what it is called: "bold red"."""
    return Style.parse(name)


def fitted(line: Line, width: int) -> Line:
    """The line in exactly so many columns: cut, or filled up with blanks."""
    made, left = [], width
    for text, name in line:
        cells = len(text) if text.isascii() else cell_len(text)
        if cells > left:
            text, cells = set_cell_size(text, left), left
        if text:
            made.append((text, name))
        left -= cells
        if not left:
            break
    if left > 0:
        made.append((" " * left, ""))
    return made


def segments(line: Line) -> list[Segment]:
    """The line as rich takes it."""
    return [Segment(text, style(name)) for text, name in line]


def cut(text: str, width: int, *, right: bool = False) -> str:
    """A text in exactly so many columns, with "…" where some of it is missing."""
    cells = cell_len(text)
    if cells > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    blanks = " " * (width - cells)
    return blanks + text if right else text + blanks


def beside(left: Sequence[Line], left_width: int, right: Sequence[Line], gap: int) -> list[Line]:
    """Two blocks side by side."""
    none: Line = []
    pairs = zip_longest(left, right, fillvalue=none)
    return [fitted(one, left_width + gap) + other for one, other in pairs]


def title(text: str, width: int, told: str = "") -> Line:
    """A rule with a title, and something to the right of it."""
    told = f" {told}" if told else ""
    rule = "─" * max(0, width - cell_len(text) - cell_len(told) - 4)
    return [("─ ", "dim"), (text, "bold"), (f" {rule}─", "dim"), (told, "dim")]


def level(percent: float) -> str:
    """The colour of a load."""
    return "red" if percent >= 90 else "yellow" if percent >= 70 else "green"


def bar(percent: float, width: int) -> str:
    """A bar to the right, in eighths of a character."""
    eighths = round(max(0.0, min(100.0, percent)) / 100 * width * 8)
    whole, rest = divmod(eighths, 8)
    text = "█" * whole + (_WIDTHS[rest] if rest else "")
    return text.ljust(width, "·")


def columns(percents: Iterable[float]) -> Line:
    """A character for each, as high as it is loaded."""
    return [
        (_HEIGHTS[max(1, min(8, round(percent * 8 / 100)))], level(percent)) for percent in percents
    ]


def sparkline(values: Sequence[float], width: int) -> str:
    """The last of some values, each as high as it is beside the largest of them."""
    last = list(values)[-width:] if width > 0 else []
    most = max(last, default=0.0)
    heights = [_HEIGHTS[round(value * 8 / most)] if most > 0 else " " for value in last]
    return "".join(heights).rjust(width)


def ago(seconds: float) -> str:
    """An age in at most four characters: 3s, 12m, 5h, 2d."""
    for unit, many in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= many:
            return f"{min(999, int(seconds // many))}{unit}"
    return f"{max(0, int(seconds))}s"


def count(value: float) -> str:
    """A number in at most five characters: 12, 9,999, 120k, 3.4M."""
    for unit, many in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if value >= many:
            scaled = value / (1e3 if unit == "k" else many)
            return f"{scaled:.1f}{unit}" if scaled < 10 else f"{scaled:.0f}{unit}"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
