"""`hpczmq history`: the past of the nodes as curves, as JSON, or as CSV."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Sequence
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.text import Text

from hpczmq import plots
from hpczmq.asking import History
from hpczmq.errors import ParameterError, shown
from hpczmq.metrics import METRICS
from hpczmq.plain import printable
from hpczmq.tables import seconds, size

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
#: What is drawn unless something else is asked for.
USUAL = ("cpu_percent", "memory_percent", "latency_s", "slots_busy")


def moment(option: str, text: str, now_s: float) -> float:
    """A moment that a user names: `90s`, `15m`, `2h`, `3d`, `1w` ago, or 2026-11-25[T10:30[:00]].

    Raises:
        ParameterError: it is none of these.
    """
    ago = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhdw])", text.strip())
    if ago:
        return max(0.0, now_s - float(ago[1]) * _UNITS[ago[2]])
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"):
        try:
            return max(0.0, time.mktime(time.strptime(text.strip().replace(" ", "T"), form)))
        except (ValueError, OverflowError):
            continue
    raise ParameterError(option, text, "must be like 90s, 15m, 2h, 3d, 1w, or 2026-11-25T10:30")


def check_metrics(names: Sequence[str]) -> None:
    """Refuse what is not measured."""
    for name in names:
        if name not in METRICS:
            raise ParameterError("metric", name, f"must be one of {', '.join(METRICS)}")


def as_csv(told: History) -> str:
    """A line for each row: node, when, and each of the metrics."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ["at_s", *METRICS]
    writer.writerow(["node", *names])
    for node, rows in told.items():
        for row in rows:
            # A cell that begins like a formula is one to spreadsheets.
            name = printable(node)
            name = f"'{name}" if name[:1] in "=+-@" else name
            writer.writerow([name, *(f"{row.get(key, 0.0):.10g}" for key in names)])
    return out.getvalue()


def drawn(
    told: History, metrics: Sequence[str], since_s: float, until_s: float, width: int
) -> RenderableType:
    """A curve for each node and metric, its least, mean and greatest value beside it."""
    if not any(told.values()):
        return Text("No history: no node was heard in that time")
    begun_s = max(since_s, min(rows[0]["at_s"] for rows in told.values() if rows))
    name_width = min(24, max(len(shown(node)) for node in told))
    metric_width = max(map(len, metrics))
    room = max(10, min(120, width - name_width - metric_width - 42))
    lines: list[RenderableType] = []
    for node, rows in told.items():
        for metric in metrics if rows else ():
            points = [(row["at_s"], row.get(metric, 0.0)) for row in rows]
            steps = sorted(b[0] - a[0] for a, b in pairwise(points))
            hold_s = 2.5 * steps[len(steps) // 2] if steps else 0.0
            values = plots.resampled(points, begun_s, until_s, 2 * room, hold_s)
            known = [value for _, value in points]
            top = 100.0 if metric.endswith("_percent") else max(known)
            told_values = (
                _value(metric, v) for v in (min(known), sum(known) / len(known), max(known))
            )
            least, mean, most = told_values
            label = f"{shown(node)[:name_width]:{name_width}} {metric:{metric_width}} "
            numbers = f" {least:>10} … {most:>10}, mean {mean}"
            lines.append(Text(label) + Text(plots.curve(values, top)[0], "cyan") + Text(numbers))
    lines.append(Text(f"{seconds(until_s - begun_s)} until {_time(until_s)}", "dim"))
    return Group(*lines)


def _value(metric: str, value: float) -> str:
    if metric.endswith("_percent"):
        return f"{value:.0f} %"
    if metric.endswith("_bytes"):
        return size(int(value))
    if metric.endswith("_bytes_per_s"):
        return f"{size(int(value))}/s"
    if metric in ("latency_s", "jitter_s"):
        return f"{value * 1e3:.1f} ms"
    return f"{value:.4g}"


def _time(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))
