"""One screen of the dashboard: a board, what is to be seen of it, and a size in; lines out. Pure.

cluster, queue                                  two lines
slaves                                          the worst ones, the others in a line
jobs                       | the picture        beside all of the rest on a wide terminal
alerts, events
keys                                            one line
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment

from hpczmq.dashboard import lines
from hpczmq.dashboard.board import Board
from hpczmq.dashboard.lines import Line, cut
from hpczmq.dashboard.picture import picture
from hpczmq.dashboard.rows import alert_lines, event_lines, job_lines, slave_lines
from hpczmq.dashboard.screen import KEYS, Screen
from hpczmq.plain import shown

#: Below this there is no room for anything.
WIDTH_MIN: Final = 40
HEIGHT_MIN: Final = 8
#: From here on the picture stands beside everything.
_WIDE: Final = 140
#: From here on it stands beside the jobs.
_NARROW: Final = 60
_GAP: Final = 1
_HINT: Final = "s sort  / filter  p pause  jk job  a ack  ? help  q quit"


@dataclass(frozen=True, slots=True)
class Frame:
    """What a moment looks like; rich draws it as large as it is told."""

    board: Board
    screen: Screen
    now: float
    #: Lines if nobody says how many there are.
    height: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = self.height or options.height or console.height
        coloured = console.color_system is not None and not console.no_color
        for line in self.lines(options.max_width, height, coloured):
            yield from line
            yield Segment.line()

    def lines(self, width: int, height: int, coloured: bool = True) -> list[list[Segment]]:
        """Exactly `height` lines of exactly `width` columns."""
        if width < WIDTH_MIN or height < HEIGHT_MIN:
            told: list[Line] = [
                _cluster(self.board, width),
                [(f"needs {WIDTH_MIN}×{HEIGHT_MIN}, has {width}×{height}", "yellow")],
            ]
        elif self.screen.help:
            told = [_cluster(self.board, width), *_help(width)]
        else:
            told = self._whole(width, height, coloured)
        told = told[:height] + [[]] * (height - len(told))
        return [lines.segments(lines.fitted(line, width)) for line in told]

    def _whole(self, width: int, height: int, coloured: bool) -> list[Line]:
        board, screen = self.board, self.screen
        head = [_cluster(board, width), _queue(board, width), *_trouble(board)]
        room = height - len(head) - 1
        pictured = board.canvas is not None or bool(board.no_canvas)
        if width >= _WIDE and pictured:
            beside = min(width * 9 // 20, 2 * room)
            body = self._column(width - beside - _GAP, room, beside=0, coloured=coloured)
            right = picture(board, beside, room, coloured)
            body = lines.beside(body, width - beside - _GAP, right, _GAP)
        else:
            share = 0.375 if width < 100 else 0.5
            beside = int(width * share) if pictured and width >= _NARROW else 0
            body = self._column(width, room, beside=beside, coloured=coloured)
        body = body[:room] + [[]] * (room - len(body))
        return [*head, *body, _foot(screen, width)]

    def _column(self, width: int, room: int, *, beside: int, coloured: bool) -> list[Line]:
        """Slaves, jobs (with the picture beside them), alerts, events, from top to bottom."""
        board, screen = self.board, self.screen
        alerts = alert_lines(board, width)[: max(1, room // 8)]
        events = max(2, room // 6)
        middle = room - len(alerts) - events - 1
        slaves = min(max(1, len(board.slaves)), max(2, middle // 2 - 1))
        told = slave_lines(board, screen, width, slaves)
        left = middle - len(told)
        if beside:
            own = width - beside - _GAP
            jobs = job_lines(board, screen, own, left - 1)
            right = picture(board, beside, left, coloured)
            told += lines.beside(jobs + [[]] * (left - len(jobs)), own, right, _GAP)
        else:
            jobs = job_lines(board, screen, width, left - 1)
            told += jobs + [[]] * (left - len(jobs))
        return [*told, *alerts, *event_lines(board, self.now, width, events)]


def _cluster(board: Board, width: int) -> Line:
    """Who it is, and how much is going on."""
    info = board.cluster
    if info is None:
        return [(" hpczmq ", "bold reverse"), (f" {shown(board.address)}", "")]
    rate = board.throughput.rate
    line: Line = [
        (f" {shown(info.cluster, 20)} ", "bold reverse"),
        (f" {shown(board.address.removeprefix('tcp://'), 40)}", "bold"),
        (f"  up {lines.ago(info.up_s)}", ""),
        (f"  {info.slaves} slaves", "" if info.slaves else "yellow"),
        (f"  {board.busy()}/{info.slots} slots busy", ""),
        (f"  {lines.count(rate)} tasks/s" if rate is not None else "", "cyan"),
    ]
    if board.replay:  # in the place of the address
        line[1] = (f" replay {board.replay}", "bold magenta")
    if board.insecure:
        line.append(("  insecure", "bold red"))
    if width >= 120:
        line.append((f"  {shown(info.policy, 20)}  {shown(info.software, 20)}", "dim"))
    return line


def _queue(board: Board, width: int) -> Line:
    """What waits, by priority."""
    info = board.cluster
    line: Line = [(" queue ", "bold")]
    for (priority, (jobs, tasks)), name in zip(
        board.queue().items(), ("high", "medium", "low"), strict=True
    ):
        busy = "cyan" if jobs else "dim"
        told = f" {name} {jobs}" + (f" ({lines.count(tasks)} tasks)" if tasks else "")
        line.append((told, busy if priority else ""))
    if info is not None:
        ran = f"  run {lines.count(info.tasks_running)}, done {lines.count(info.tasks_done)}"
        line.append((ran, ""))
        spark = lines.sparkline(board.throughput.buckets, 12 if width < 120 else 36)
        line.append((f"  {spark.strip()}", "cyan"))
    return line


def _trouble(board: Board) -> list[Line]:
    """Who does not answer."""
    told: list[Line] = []
    if board.away_s > 0 or board.trouble:
        away = f"the master has been away for {lines.ago(board.away_s)}: what it said last; "
        why = board.trouble if board.trouble and not board.away_s else "looking for it"
        told.append([(f" {away if board.away_s else ''}{shown(why, 200)}", "bold yellow")])
    return told


def _help(width: int) -> list[Line]:
    told: list[Line] = [[], [(" Keys", "bold")], []]
    told += [[(f"  {key:14}", "bold cyan"), (text, "")] for key, text in KEYS]
    return told


def _foot(screen: Screen, width: int) -> Line:
    if screen.typing:
        return [(" filter: ", "bold"), (shown(screen.filter), ""), ("▏", "blink")]
    told: Line = []
    if screen.paused:
        told.append((" paused ", "bold reverse yellow"))
    if screen.told:
        told.append((f" {shown(screen.told, 200)}", "bold"))
        return told
    if screen.filter:
        told.append((f" filter {shown(screen.filter, 20)} ", "bold"))
    return [*told, (f" {cut(_HINT, max(0, width - 1)).rstrip()}", "dim")]
