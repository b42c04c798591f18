"""Slaves, jobs, alerts and events as lines of a screen. Pure.

Whatever came from elsewhere goes through `plain.shown`.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from hpczmq import tables
from hpczmq.dashboard import lines
from hpczmq.dashboard.board import SORTS, Board, Sum
from hpczmq.dashboard.lines import Line, cut
from hpczmq.dashboard.screen import Screen
from hpczmq.metrics import AlertState
from hpczmq.model import Alert, JobInfo, JobState, SlaveInfo, SlaveState
from hpczmq.plain import shown

_STATES: Final = {
    SlaveState.READY: "green",
    SlaveState.SILENT: "yellow",
    SlaveState.LOST: "bold red",
    SlaveState.LEFT: "dim",
    SlaveState.DRAINING: "yellow",
    SlaveState.QUARANTINED: "bold red",
}
_JOBS: Final = {
    JobState.QUEUED: "dim",
    JobState.RUNNING: "cyan",
    JobState.DONE: "green",
    JobState.FAILED: "bold red",
    JobState.CANCELLED: "yellow",
}
#: Cores that get a bar each; of more there is one bar.
_CORES_SHOWN: Final = 16


# --- Slaves -------------------------------------------------------------------------------------


def slave_lines(board: Board, screen: Screen, width: int, most: int) -> list[Line]:
    """A title, and a line for each of so many slaves."""
    found, rest = board.slaves_by(screen.sort, screen.filter, most)
    by = "the worst first" if screen.sort == SORTS[0] else f"by {screen.sort}"
    told = [lines.title(f"slaves {len(board.slaves)}", width, by)]
    name_width = min(24, max(10, width // 6))
    told += [_slave(board, row, width, name_width) for row in found]
    if rest is not None:
        told.append(_rest(rest, name_width))
    if not board.slaves:
        told.append([(" none: start one with `hpczmq slave`", "yellow")])
    elif screen.filter and not found:
        told.append([(f" none has {shown(screen.filter)} in it", "yellow")])
    return told


def _slave(board: Board, row: SlaveInfo, width: int, name_width: int) -> Line:
    metrics, rate = row.metrics, board.rate_of(row)
    name: Line = [
        ("●", _STATES[row.state]),
        (cut(f" {shown(row.name, name_width)}", name_width + 1), "bold"),
    ]
    if row.state.gone:
        gone = f" {row.state.name.lower()}, heard {lines.ago(row.silent_s)} ago"
        return [*name, (gone, _STATES[row.state])]
    memory = metrics.memory_percent
    line = [
        *name, *_cpu(board, row, 8 if width < 100 else _CORES_SHOWN),
        (f" {metrics.cpu_percent:3.0f}%", lines.level(metrics.cpu_percent)),
        (" mem", "dim"), (f"{memory:3.0f}%", lines.level(memory)),
        (cut(f"{metrics.latency_s * 1e3:.1f}ms", 8, right=True), ""),
        (cut(f"{metrics.slots_busy}/{row.slots}", 8, right=True), ""),
        (cut("" if rate is None else f"{lines.count(rate)}/s", 9, right=True), "cyan"),
    ]  # fmt: skip
    pace = board.slave_paces.get(row.instance)
    room = width - sum(len(text) for text, _ in line) - 1
    told = row.reason or ("silent" if row.state is SlaveState.SILENT else "")
    if told:
        line.append((f" {shown(told, 200)}", _STATES[row.state]))
    elif pace is not None and room >= 4:
        line.append((f" {lines.sparkline(pace.buckets, min(room, 60))}", "cyan"))
    return line


def _cpu(board: Board, row: SlaveInfo, width: int) -> Line:
    """A bar for each core; one for all where they are many, or not told apart."""
    cores = board.cores.get(row.name, ())
    if 0 < len(cores) <= width:
        return [*lines.columns(cores), (" " * (width - len(cores)), "")]
    percent = row.metrics.cpu_percent
    return [(lines.bar(percent, width), lines.level(percent))]


def _rest(rest: Sum, name_width: int) -> Line:
    told = (
        f" {rest.cpu_percent:.0f}% CPU on average, {lines.count(rest.busy)}/"
        f"{lines.count(rest.slots)} slots busy, {lines.count(rest.tasks_per_s)} tasks/s"
    )
    return [(cut(f"  {rest.slaves} more", name_width + 2), "dim"), (told, "dim")]


# --- Jobs ---------------------------------------------------------------------------------------


def job_lines(board: Board, screen: Screen, width: int, most: int) -> list[Line]:
    """A title, and a line for each of so many jobs."""
    rows = board.jobs_in_order()
    going = sum(row.state is JobState.RUNNING for row in rows)
    told = [lines.title(f"jobs {len(rows)}", width, f"{going} run")]
    first = 0
    ids = [row.id for row in rows]
    if screen.picked in ids:  # keep it in sight
        first = max(0, ids.index(screen.picked) - max(0, most - 1))
    for row in islice(rows, first, first + max(0, most)):
        told.append(_job(board, row, width, row.id == screen.picked))
    if not rows:
        none = "not in a history" if board.replay else "none: `hpczmq submit FILE` hands some in"
        told.append([(f" {none}", "dim")])
    return told


def _job(board: Board, row: JobInfo, width: int, picked: bool) -> Line:
    part = 100.0 * (row.done + row.failed) / row.tasks if row.tasks else 100.0
    name = shown(row.name or tables.what(row.kernel, tables.params_of(row)), 60)
    bar_width = 10 if width >= 64 else 5
    name_width = max(6, min(40, width - bar_width - 33))
    line: Line = [
        ("▸" if picked else " ", "bold cyan"),
        (cut(shown(row.id, 8), 6), "bold" if picked else ""),
        (cut(name, name_width), "bold" if picked else ""),
        (f" {row.priority} ", "dim"),
    ]
    if row.state is JobState.RUNNING:
        pace, left_s = board.job_paces.get(row.id), board.left_s(row)
        rate = pace.rate if pace else None
        line += [
            (lines.bar(part, bar_width), "cyan"), (f"{part:4.0f}%", ""),
            (cut("" if rate is None else f"{lines.count(rate)}/s", 9, right=True), "cyan"),
            (f" {lines.ago(left_s)} left" if left_s is not None else "", ""),
        ]  # fmt: skip
        return line
    line.append((cut(row.state.name.lower(), 10), _JOBS[row.state]))
    if row.state.ended:
        line.append((f"{row.done} of {row.tasks} in {tables.seconds(row.ran_s)} ", "dim"))
    line.append((shown(row.cause, 200), _JOBS[row.state]))
    return line


# --- Alerts and events --------------------------------------------------------------------------


def alert_lines(board: Board, width: int) -> list[Line]:
    """A line for each alert, or one that says that there is none."""
    if board.alerts is None:
        return [[(f" alerts: {shown(board.mute or 'no memoria has answered yet', 200)}", "yellow")]]
    if not board.alerts:
        return [[(" no alerts", "green")]]
    return [
        [
            _severity(alert),
            (cut(shown(alert.node, 16), 17), "bold"),
            (f"{shown(alert.text, 200)} ({lines.ago(alert.age_s)})", ""),
        ]
        for alert in board.alerts
    ]


def _severity(alert: Alert) -> tuple[str, str]:
    """How bad it is; dimmed once somebody looks after it."""
    done = alert.state is AlertState.ACKNOWLEDGED
    text = cut(f" {'✓' if done else '!'} {shown(alert.severity, 9)}", 12)
    return text, "dim" if done else "bold red"


def event_lines(board: Board, now: float, width: int, most: int) -> list[Line]:
    """A title, and the last things that happened, the newest at the bottom."""
    told = [lines.title("events", width)]
    later_s = max(0.0, now - board.events_s)
    for event in board.events[-most:] if most > 0 else ():
        age = cut(lines.ago(event.age_s + later_s), 5, right=True)
        told.append([(f"{age} ", "dim"), (shown(event.text, 300), "")])
    return told
