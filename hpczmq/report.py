"""What became of a job, on one page: an HTML file that needs nothing else, neither file nor server.

The picture, a Gantt chart, how many slots were busy, how long tasks took and where in the image
the time went, attempts that went wrong, alerts. Whatever came from elsewhere is escaped; there is
no script, and the page forbids itself to fetch anything.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpczmq import png, tables
from hpczmq.happened import Span, SpanEnd
from hpczmq.lanes import Lane, busy, end_s, lanes
from hpczmq.mapping import Drawing
from hpczmq.messages import TraceAnswer
from hpczmq.model import Alert, AttemptInfo
from hpczmq.palettes import Look
from hpczmq.plain import printable, shown

#: Of a chart, in its own units.
_WIDTH: Final = 1000
_LABEL: Final = 130
#: Rectangles of the Gantt chart: what a browser draws at once. Of more, neighbours become one.
_RECTS_MAX: Final = 6_000
_BINS: Final = 40
#: Of the tiles, so many are not the brightest in the map of the costs.
_BRIGHT: Final = 0.98
_COLOURS: Final = {
    SpanEnd.DONE: "#2a9d8f",
    SpanEnd.ERROR: "#d62828",
    SpanEnd.CRASH: "#9d0208",
    SpanEnd.TIMEOUT: "#f77f00",
    SpanEnd.LOST: "#6c757d",
    SpanEnd.REVOKED: "#adb5bd",
}
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_CSS: Final = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1100px;padding:0 1rem;
color:#222;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ddd}
table{border-collapse:collapse}td,th{text-align:left;padding:.15rem .8rem .15rem 0;
vertical-align:top}th{color:#666;font-weight:normal}pre{white-space:pre-wrap;margin:0}
svg{width:100%;height:auto;background:#fafafa}svg text{font:11px system-ui,sans-serif;fill:#444}
img{max-width:100%;height:auto}img.map{width:100%;max-width:600px;image-rendering:pixelated}
.bad{color:#9d0208}.key i{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}svg{background:#202020}
svg text{fill:#bbb}th{color:#999}h2{border-color:#444}}
"""


@dataclass(frozen=True, slots=True)
class Overview:
    """A picture of few pixels that stands for the image."""

    #: (H, W), unsigned, each 0..iterations.
    counts: NDArray[Any]
    iterations: int


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of a job."""

    trace: TraceAnswer
    attempts: Sequence[AttemptInfo]
    #: None: no memoria answered.
    alerts: Sequence[Alert] | None
    #: The picture; or why there is none.
    picture: Overview | str
    #: Tiles of the image, and its columns and rows; empty: it is none.
    tiles: Sequence[Any] = ()
    size: tuple[int, int] = (0, 0)
    mirrored: bool = False
    software: str = ""


def page(story: Story) -> str:
    """The whole file."""
    trace = story.trace
    known = lanes(trace)
    last_s = max(end_s(trace, known), 1e-6)
    name = _text(trace.info.name or trace.info.id)
    parts = [
        f"<h1>{name}</h1>",
        _facts(story, known),
        *_section("Picture", _picture(story.picture)),
        *_section("Gantt chart", _gantt(known, last_s) + _left_out(trace)),
        *_section("Slots at work", _utilisation(trace.spans, known, last_s)),
        *_section("Time of a task", _histogram(trace.spans)),
        *_section("Where the time went", _cost_map(story)),
        *_section("Attempts that went wrong", _attempts(story.attempts)),
        *_section("Alerts", _alerts(story.alerts)),
    ]
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{name} – hpczmq</title><style>{_CSS}</style></head><body>\n"
    )
    return head + "\n".join(parts) + "\n</body></html>\n"


def _text(value: object, chars_max: int = 300) -> str:
    """Text of others, harmless on a page and in a terminal that shows its source."""
    return escape(shown(value, chars_max))


def _took(seconds: float) -> str:
    """A run time; most tasks take milliseconds."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else tables.seconds(seconds)


def _section(title: str, content: str) -> Iterator[str]:
    if content:
        yield f"<section><h2>{title}</h2>\n{content}</section>"


def _rows(pairs: Iterable[tuple[str, str]]) -> str:
    return "<table>" + "".join(f"<tr><th>{a}</th><td>{b}</td></tr>" for a, b in pairs) + "</table>"


def _facts(story: Story, known: Sequence[Lane]) -> str:
    info = story.trace.info
    slots = sum(lane.slot > 0 for lane in known)
    good = [span.ended_s - span.began_s for span in story.trace.spans if span.end is SpanEnd.DONE]
    part = 100 * sum(good) / (slots * info.ran_s) if slots and info.ran_s else 0.0
    params = tables.params_of(info)
    given = ", ".join(f"{_text(str(key))} = {_text(str(value))}" for key, value in params.items())
    cause = f' <span class="bad">{_text(info.cause, 2000)}</span>' if info.cause else ""
    done = f"{info.done} done, {info.failed} failed, of {info.tasks}; {info.attempts} starts"
    slaves = tables.count(len(story.trace.slaves), "slave")
    rows = (
        ("job", _text(info.id)),
        ("what", _text(tables.what(info.kernel, params))),
        ("state", info.state.name.lower() + cause),
        ("tasks", done),
        ("time", f"waited {tables.seconds(info.waited_s)}, ran {tables.seconds(info.ran_s)}"),
        ("where", f"{slots} slots of {slaves}, {part:.0f} % of their time at work"),
        ("parameters", given or "-"),
        ("made by", _text(story.software)),
    )
    return _rows(rows)


def _left_out(trace: TraceAnswer) -> str:
    if not trace.left_out:
        return ""
    return f"<p>{trace.left_out} further starts are not drawn: the master keeps the first ones.</p>"


# --- Pictures -----------------------------------------------------------------------------------


def _image(counts: NDArray[Any], drawing: Drawing, what: str, css: str = "") -> str:
    file = io.BytesIO()
    png.write(file, counts, drawing)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{what}"{css} src="data:image/png;base64,{data}">'


def _picture(picture: Overview | str) -> str:
    if isinstance(picture, str):
        return f"<p>{_text(picture)}</p>" if picture else ""
    drawing = Drawing(picture.counts, picture.iterations, Look())
    return _image(picture.counts, drawing, "the picture")


def _cost_map(story: Story) -> str:
    """Seconds of each tile, where it is in the image."""
    if not story.tiles:
        return ""
    seconds = {s.task: s.ended_s - s.began_s for s in story.trace.spans if s.end is SpanEnd.DONE}
    side = max(1, story.tiles[0].width, story.tiles[0].height)
    wide, high = (-(-pixels // side) for pixels in story.size)
    # The few slowest ones, which loaded their libraries, would leave all others dark.
    most = float(np.quantile([*seconds.values()], _BRIGHT)) if seconds else 0.0
    if most <= 0 or wide * high > 1 << 20:
        return ""
    cells = np.full((high, wide), 65_535, np.uint16)  # black: not known
    for index, tile in enumerate(story.tiles):
        if index in seconds:
            value = 1 + round(65_000 * min(1.0, seconds[index] / most))
            row, column = tile.y // side, tile.x // side
            cells[row, column] = value
            if story.mirrored:
                cells[high - 1 - row, wide - 1 - column] = value
    drawing = Drawing(cells, 65_535, Look("inferno", "linear"))
    told = f"<p>The brightest took {_took(most)} or more; black is not known.</p>"
    return _image(cells, drawing, "seconds of each tile", ' class="map"') + told


# --- Charts -------------------------------------------------------------------------------------


def _svg(height: float, content: str, what: str) -> str:
    box = f'viewBox="0 0 {_WIDTH} {height:g}"'
    return f'<svg {box} role="img" aria-label="{what}">{content}</svg>\n'


def _axis(last_s: float, top: float, bottom: float) -> str:
    """Vertical lines at round times, with their seconds below."""
    step = 10 ** math.floor(math.log10(last_s / 4))
    step = next(step * times for times in (1, 2, 5, 10) if last_s / (step * times) <= 10)
    lines = []
    for number in range(int(last_s / step) + 1):
        x = _x(number * step, last_s)
        line = f'x1="{x:.1f}" y1="{top:g}" x2="{x:.1f}" y2="{bottom:g}"'
        label = f'x="{x:.1f}" y="{bottom + 13:g}" text-anchor="middle"'
        lines.append(f'<line {line} stroke="#8884"/>')
        lines.append(f"<text {label}>{number * step:.6g} s</text>")
    return "".join(lines)


def _x(seconds: float, last_s: float) -> float:
    return _LABEL + (_WIDTH - _LABEL - 20) * min(1.0, max(0.0, seconds / last_s))


def _gantt(known: Sequence[Lane], last_s: float) -> str:
    if not known:
        return "<p>Nothing has run yet.</p>"
    row = max(4.0, min(18.0, 900 / len(known)))
    bottom = row * len(known) + 4
    # What is closer than a part of a pixel becomes one, so that a browser draws it at once.
    close_s = last_s / (_WIDTH if sum(len(lane.spans) for lane in known) > _RECTS_MAX else 1e9)
    parts = [_axis(last_s, 0, bottom)]
    label_every = max(1, math.ceil(11 / row))
    for number, lane in enumerate(known):
        y = number * row + 2
        if number % label_every == 0:
            label = f"{_text(lane.slave, 16)} {lane.slot or '–'}"
            place = f'x="{_LABEL - 6}" y="{y + row / 2 + 4:.1f}" text-anchor="end"'
            parts.append(f"<text {place}>{label}</text>")
        for first, last, many in _merged(lane.spans, close_s):
            x, end = _x(first.began_s, last_s), _x(last.ended_s, last_s)
            told = f"task {first.task}" + (f" and {many - 1} more" if many > 1 else "")
            took = _took(last.ended_s - first.began_s)
            parts.append(
                f'<rect x="{x:.2f}" y="{y:.1f}" width="{max(0.3, end - x):.2f}"'
                f' height="{row * 0.8:.1f}" fill="{_COLOURS[first.end]}">'
                f"<title>{told}: {first.end.name.lower()}, {took}</title></rect>"
            )
    key = "".join(
        f'<i style="background:{colour}"></i>{end.name.lower()}' for end, colour in _COLOURS.items()
    )
    return _svg(bottom + 18, "".join(parts), "Gantt chart") + f'<p class="key">{key}</p>'


def _merged(spans: Sequence[Span], close_s: float) -> Iterator[tuple[Span, Span, int]]:
    """Neighbours that end alike and are closer than that: the first, the last, how many."""
    first, last, many = spans[0], spans[0], 1
    for span in spans[1:]:
        if span.end is first.end and span.ended_s - first.began_s < close_s:
            last, many = span, many + 1
        else:
            yield first, last, many
            first, last, many = span, span, 1
    yield first, last, many


def _utilisation(spans: Sequence[Span], known: Sequence[Lane], last_s: float) -> str:
    """Mean number of busy slots in each of some hundred parts of the time."""
    steps = busy(spans)
    if not steps:
        return ""
    bins = 200
    work = np.zeros(bins)
    width_s = last_s / bins
    for (begin_s, many), (until_s, _) in zip(steps, [*steps[1:], (last_s, 0)], strict=True):
        first, last = int(begin_s / width_s), min(bins - 1, int(until_s / width_s))
        for number in range(min(first, bins - 1), last + 1):
            low, high = max(begin_s, number * width_s), min(until_s, (number + 1) * width_s)
            work[number] += max(0.0, high - low) * many
    means = work / width_s
    most = max(1, sum(lane.slot > 0 for lane in known))
    return _steps(
        means, lambda place: _x(place * width_s, last_s), float(most), _axis(last_s, 0, 120)
    )


def _histogram(spans: Sequence[Span]) -> str:
    seconds = np.array([s.ended_s - s.began_s for s in spans if s.end is SpanEnd.DONE])
    if not len(seconds):
        return ""
    most = max(float(seconds.max()), 1e-9)
    numbers, _ = np.histogram(seconds, _BINS, (0.0, most))
    top = float(numbers.max())
    median, mean = float(np.median(seconds)), float(seconds.mean())
    told = (
        f"<p>{len(seconds)} tasks: median {_took(median)}, mean {_took(mean)},"
        f" longest {_took(most)}.</p>"
    )
    bars, axis = numbers.astype(float), _axis(most, 0, 120)
    chart = _steps(bars, lambda place: _x(place * most / _BINS, most), top, axis)
    return chart + told


def _steps(values: NDArray[Any], x_of: Callable[[int], float], most: float, axis: str) -> str:
    """Bars beside each other, 120 high."""
    bars = "".join(
        f'<rect x="{x_of(place):.2f}" y="{120 * (1 - value / most):.2f}"'
        f' width="{x_of(place + 1) - x_of(place):.2f}" height="{120 * value / most:.2f}"'
        ' fill="#457b9d"/>'
        for place, value in enumerate(values)
        if value > 0
    )
    labels = "".join(
        f'<text x="{_LABEL - 6}" y="{y}" text-anchor="end">{value:g}</text>'
        for y, value in ((11, most), (120, 0))
    )
    return _svg(138, axis + bars + labels, "chart")


# --- Tables -------------------------------------------------------------------------------------


def _attempts(attempts: Sequence[AttemptInfo]) -> str:
    rows = []
    for row in attempts:
        if row.status.good:
            continue
        log = printable("\n".join((row.text, *row.usage.log)))
        rows.append((f"task {row.task} on {_text(row.slave)}", f"<pre>{escape(log)}</pre>"))
    return _rows(rows) if rows else ""


def _alerts(alerts: Sequence[Alert] | None) -> str:
    if alerts is None:
        return "<p>No memoria answered.</p>"
    if not alerts:
        return "<p>None when this page was made.</p>"
    return _rows((f"{_text(a.severity)}, {_text(a.node)}", _text(a.text, 1000)) for a in alerts)
