"""The picture of a job in a terminal: two pixels a character, one above the other. Pure."""

from __future__ import annotations

from functools import cache
from typing import Final

from hpczmq.dashboard import lines
from hpczmq.dashboard.board import Board
from hpczmq.dashboard.lines import Line
from hpczmq.plain import shown

#: What is not there yet; and from dark to light where there are no colours.
_EMPTY: Final = "#262626"
_GREYS: Final = " .:-=+*#%@"


def picture(board: Board, width: int, height: int, coloured: bool) -> list[Line]:
    """A title, and the picture as large as it fits below."""
    job = shown(board.canvas_job, 12)
    if board.canvas is None or height < 2:
        return [lines.title(f"picture {job}", width), [(f" {shown(board.no_canvas, 200)}", "dim")]]
    canvas = board.canvas
    part = 100 * canvas.arrived_tasks // max(1, canvas.tasks)
    told = [lines.title(f"picture {job}", width, f"{part}%")]
    pixels = canvas.pixels(width, 2 * (height - 1))
    rows = pixels.tolist()
    if len(rows) % 2:
        rows.append([-2] * len(rows[0]))
    margin = " " * ((width - len(rows[0])) // 2)
    for above, below in zip(rows[::2], rows[1::2], strict=True):
        line: Line = [(margin, "")]
        line += _row(above, below, canvas.colours) if coloured else [(_plain(above, below), "")]
        told.append(line)
    return told


def _row(above: list[int], below: list[int], colours: bytes) -> Line:
    """Upper half blocks; neighbours that are alike are one piece."""
    line: Line = []
    start, many = 0, len(above)
    while start < many:
        pair, end = (above[start], below[start]), start + 1
        while end < many and (above[end], below[end]) == pair:
            end += 1
        line.append(("▀" * (end - start), _style(*pair, colours)))
        start = end
    return line


@cache
def _style(above: int, below: int, colours: bytes) -> str:
    name = _colour(above, colours)
    return name if below == -2 else f"{name} on {_colour(below, colours)}"


def _colour(number: int, colours: bytes) -> str:
    return f"#{colours[3 * number : 3 * number + 3].hex()}" if number >= 0 else _EMPTY


def _plain(above: list[int], below: list[int]) -> str:
    most = len(_GREYS) - 1
    means = ((max(0, one) + max(0, two)) // 2 for one, two in zip(above, below, strict=True))
    return "".join(_GREYS[mean * most // 255] for mean in means)
