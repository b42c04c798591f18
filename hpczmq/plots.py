"""Curves in the terminal: a value over time in braille dots, of any width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

#: Dots of one character, by column (2) and by row from the bottom (4).
_DOTS: Final = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
_BLANK: Final = 0x2800


def resampled(
    points: Sequence[tuple[float, float]],
    since_s: float,
    until_s: float,
    count: int,
    hold_s: float = 0.0,
) -> list[float | None]:
    """The mean of the points of each of so many equal spans of time; None: there is none.

    A point stands for what follows until the next one, for `hold_s` at most.
    """
    sums, counts = [0.0] * count, [0] * count
    span_s = max(until_s - since_s, 1e-9)
    for at_s, value in points:
        place = int((at_s - since_s) / span_s * count)
        if 0 <= place < count or (place == count and at_s == until_s):
            sums[min(place, count - 1)] += value
            counts[min(place, count - 1)] += 1
    means = [total / n if n else None for total, n in zip(sums, counts, strict=True)]
    held, left = None, 0.0
    for place, mean in enumerate(means):
        held, left = (mean, hold_s) if mean is not None else (held, left - span_s / count)
        if mean is None and left > 0:
            means[place] = held
    return means


def curve(values: Sequence[float | None], top: float, rows: int = 1) -> list[str]:
    """Values from 0 to `top` as lines of text, the upper one first; two values a character.

    A value is a column of dots, as in a bar chart; one that is missing is blank, and one above 0
    has a dot at least.
    """
    height = 4 * rows
    cells = [[_BLANK] * ((len(values) + 1) // 2) for _ in range(rows)]
    for place, value in enumerate(values):
        if value is None or not top > 0:
            continue
        dots = min(height, max(int(value > 0), round(height * value / top)))
        for dot in range(dots):
            cells[rows - 1 - dot // 4][place // 2] |= _DOTS[place % 2][dot % 4]
    return ["".join(map(chr, row)) for row in cells]
