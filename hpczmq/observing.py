"""The commands that look at a cluster for longer: `top`, `events`, `trace`, `report`."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from hpczmq import limits, looking_back, tables
from hpczmq._version import __version__
from hpczmq.atomic import replacing
from hpczmq.client import Client
from hpczmq.clock import Clock
from hpczmq.commands import Target
from hpczmq.errors import HpczmqError, ParameterError
from hpczmq.jsontext import document
from hpczmq.kernels import get
from hpczmq.messages import TraceAnswer
from hpczmq.model import JobInfo
from hpczmq.options import Json, Master, Timeout
from hpczmq.plain import cell, shown

# The dashboard and the report are imported where they are used: most commands need neither.
if TYPE_CHECKING:
    from hpczmq.dashboard.frame import Frame
    from hpczmq.report import Overview, Story

#: A frame that is drawn into a file, unless the environment says another size.
_SVG_COLUMNS: Final = 120
_SVG_LINES: Final = 40
#: The longer side of the picture in a report, in pixels.
_PICTURE_PIXELS: Final = 1024

JobId = Annotated[str, typer.Argument(metavar="ID", help="Of a job.")]
File = Annotated[Path | None, typer.Option("-o", "--output", help="The file to be written.")]
Csv = Annotated[bool, typer.Option("--csv", help="A table for spreadsheets.")]


def top(
    interval: Annotated[
        float, typer.Option("--interval", "--intervalo", metavar="S", help="Seconds a frame.")
    ] = 0.25,
    once: Annotated[
        bool, typer.Option("--once", "--una-vez", help="Print one frame, and end.")
    ] = False,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Draw one frame, and end.")
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", "--repetir", help="Play the past, from a memoria.")
    ] = False,
    since: Annotated[
        str, typer.Option("--since", "--desde", metavar="T", help="From when on: 15m, 2h, …")
    ] = "15m",
    speed: Annotated[
        float, typer.Option("--speed", "--velocidad", metavar="N", help="So many times as fast.")
    ] = 10.0,
    master: Master = None,
    timeout: Timeout = None,
    json: Json = False,
) -> int:
    """The live dashboard: ? shows its keys, q ends it."""
    target = Target(master, timeout, json)
    if replay:
        return play(target, interval, since, speed)
    return show_top(target, interval, once, svg)


def events(
    since: Annotated[
        str | None,
        typer.Option("--since", "--desde", metavar="T", help="2h, 3d, or 2026-11-25T10:30."),
    ] = None,
    nodes: Annotated[
        list[str] | None,
        typer.Option("--node", "--nodo", metavar="NODE", help="Only of this one; may be repeated."),
    ] = None,
    as_csv: Csv = False,
    master: Master = None,
    timeout: Timeout = None,
    json: Json = False,
) -> int:
    """What happened lately, oldest first, as far as the master remembers it."""
    target = Target(master, timeout, json)
    now_s = Clock().wall()
    within_s = now_s if since is None else now_s - looking_back.moment("since", since, now_s)
    with target.client() as client:
        found = client.events(nodes or ())
    rows = [row for row in found if row.age_s <= within_s]
    if as_csv and not json:
        import csv

        table = io.StringIO(newline="")
        writer = csv.writer(table)
        writer.writerow(("age_s", "kind", "node", "job", "text"))
        for row in rows:
            texts = (row.kind, row.node, row.job, row.text)
            writer.writerow((f"{row.age_s:.3f}", *(cell(shown(text, len(text))) for text in texts)))
        target.output.out.print(Text(table.getvalue().rstrip()), soft_wrap=True)
        return 0
    target.output.show(tables.events(rows) if rows else Text("nothing happened"), rows)
    return 0


def trace(
    id: JobId, output: File = None, master: Master = None, timeout: Timeout = None,
    json: Json = False,
) -> int:  # fmt: skip
    """A job's tasks in Chrome's trace format, which Perfetto opens."""
    from hpczmq import tracing

    target = Target(master, timeout, json)
    file = output or Path(f"{_name(id)}.trace.json")
    with target.client() as client:
        found = client.trace(id)
    return _written(target, file, document(tracing.document(found)).encode())


def report(
    id: JobId, output: File = None, master: Master = None, timeout: Timeout = None,
    json: Json = False,
) -> int:  # fmt: skip
    """What became of a job, on one page of HTML that needs nothing else."""
    from hpczmq.report import page

    target = Target(master, timeout, json)
    file = output or Path(f"{_name(id)}.html")
    with target.client() as client:
        made = page(_story(client, id))
    return _written(target, file, made.encode(errors="replace"))


def _name(id: str) -> str:
    """An id as the name of a file."""
    return re.sub(r"[^\w.-]", "-", id).strip(".") or "job"


def _written(target: Target, file: Path, content: bytes) -> int:
    with replacing(file) as out:
        out.write(content)
    target.output.show(Text(shown(str(file), 1000)), {"file": str(file)})
    return 0


# --- The dashboard --------------------------------------------------------------------------------


def show_top(target: Target, interval_s: float, once: bool, svg: Path | None) -> int:
    """The live dashboard; or a single frame, as text, JSON or SVG."""
    from hpczmq.dashboard import shell
    from hpczmq.dashboard.frame import Frame
    from hpczmq.dashboard.screen import Screen

    if not 0.05 <= interval_s <= 3600:
        raise ParameterError("interval", interval_s, "must be 0.05..3600 seconds")
    with target.client() as client:
        if svg is not None:
            return _drawn(target, client, svg)
        if once or target.output.as_json:
            board = shell.once(client)
            lines = target.output.out.height if target.output.out.is_terminal else _SVG_LINES
            frame = Frame(board, Screen(), board.events_s, height=lines - 1)
            target.output.show(frame, shell.view(board))
            return 0
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
        with suppress(KeyboardInterrupt):  # which is how one leaves it
            shell.Watch(client, interval_s, stop).run(target.output.out)
    return 0


def play(target: Target, interval_s: float, since: str, speed: float) -> int:
    """The dashboard of a past, as a memoria has kept it."""
    from hpczmq.dashboard import shell
    from hpczmq.dashboard.board import Board
    from hpczmq.dashboard.replay import Replay

    if not 0.05 <= interval_s <= 3600:
        raise ParameterError("interval", interval_s, "must be 0.05..3600 seconds")
    if not 0.01 <= speed <= 100_000:
        raise ParameterError("speed", speed, "must be 0.01..100000")
    now_s = Clock().wall()
    since_s = looking_back.moment("since", since, now_s)
    with target.client() as client:
        told = client.history(since_s), client.events(), client.alert_log()
        past = Replay(*told, client.status(), now_s)
        if not past:
            raise ParameterError("since", since, "must be earlier: no node was heard since then")
        if target.output.as_json:
            board = Board(client.address)
            past.show(board, past.end_s)
            target.output.show(Text(""), shell.view(board))
            return 0
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
        with suppress(KeyboardInterrupt):
            shell.Playback(client, interval_s, stop, past, speed).run(target.output.out)
    return 0


def _drawn(target: Target, client: Client, file: Path) -> int:
    """One frame as a picture."""
    from hpczmq.dashboard import shell
    from hpczmq.dashboard.frame import WIDTH_MIN, Frame
    from hpczmq.dashboard.screen import Screen

    width, height = _size("COLUMNS", _SVG_COLUMNS), _size("LINES", _SVG_LINES)
    board = shell.once(client)
    frame = Frame(board, Screen(), board.events_s, height=height)
    drawn = as_svg(frame, max(width, WIDTH_MIN), f"hpczmq top  {client.address}", file.stem)
    return _written(target, file, drawn.encode())


def as_svg(frame: Frame, columns: int, title: str, name: str) -> str:
    """A frame as an SVG document that fetches nothing."""
    console = Console(
        file=io.StringIO(), record=True, width=columns, height=frame.height or _SVG_LINES,
        force_terminal=True, color_system="truecolor", no_color=False, highlight=False,
        legacy_windows=False,
    )  # fmt: skip
    console.print(frame, end="")
    svg = console.export_svg(title=title, unique_id=re.sub(r"\W", "-", name) or "top")
    # Rich names a font by URL; whoever has none takes another one.
    svg = re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->", "", svg, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def _size(name: str, usual: int) -> int:
    text = os.environ.get(name, "")
    return min(1000, max(8, int(text))) if text.isdecimal() else usual


# --- The report -----------------------------------------------------------------------------------


def _story(client: Client, id: str) -> Story:
    """All that the cluster knows of a job."""
    from hpczmq.report import Story

    found = client.trace(id)
    attempts = client.explain(id).attempts
    try:
        alerts = client.alerts()
    except HpczmqError:
        alerts = None
    made = Story(found, attempts, alerts, "", software=f"hpczmq {__version__}")
    kernel: Any = get(found.info.kernel) if found.info.params else None
    if kernel is None or kernel.name != "julia":
        return made
    params = kernel.parse(tables.params_of(found.info))
    picture = _picture(client, found, kernel, params)
    size = params.width, params.height
    return Story(
        found, attempts, alerts, picture, kernel.split(params), size, params.mirrored,
        made.software,
    )  # fmt: skip


def _picture(client: Client, found: TraceAnswer, kernel: Any, params: Any) -> Overview | str:
    """The image as far as it is there, in fewer pixels; or why there is none."""
    from hpczmq.dashboard.canvas import Canvas
    from hpczmq.report import Overview

    info: JobInfo = found.info
    size = params.width * params.height * (2 if params.dtype == "uint16" else 4)
    if size > limits.overlooked_bytes_max:
        most = tables.size(limits.overlooked_bytes_max)
        return f"{tables.size(size)} of counts: more than {most} are not looked at"
    canvas = Canvas(kernel, params, _PICTURE_PIXELS)
    stop = client.look_on(info.id, canvas)
    try:
        pause = threading.Event()
        while not canvas.ended and canvas.arrived_tasks < info.done:
            client.check()
            pause.wait(0.02)
    finally:
        with suppress(HpczmqError):
            stop()
    if canvas.cause:
        return canvas.cause
    if not info.done:
        return "nothing of it is there yet"
    return Overview(canvas.counts(), params.iterations)
