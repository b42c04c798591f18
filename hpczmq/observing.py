"""What the commands do that look at a cluster for longer: `top`, `events`, `trace`, `report`."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from hpczmq.atomic import output_error, replacing
from hpczmq.client import Client
from hpczmq.commands import Target
from hpczmq.dashboard import shell
from hpczmq.dashboard.frame import HEIGHT_MIN, WIDTH_MIN, Frame
from hpczmq.dashboard.screen import Screen
from hpczmq.errors import ParameterError

#: A frame that is drawn into a file, unless the environment says another size.
_SVG_COLUMNS: Final = 120
_SVG_LINES: Final = 40


def top(target: Target, interval_s: float, once: bool, svg: Path | None) -> int:
    """The live dashboard; or a single frame, as text, JSON or SVG."""
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


def _drawn(target: Target, client: Client, file: Path) -> int:
    """One frame as a picture."""
    width, height = _size("COLUMNS", _SVG_COLUMNS), _size("LINES", _SVG_LINES)
    board = shell.once(client)
    frame = Frame(board, Screen(), board.events_s, height=height)
    drawn = as_svg(frame, max(width, WIDTH_MIN), f"hpczmq top  {client.address}", file.stem)
    try:
        with replacing(file) as out:
            out.write(drawn.encode())
    except OSError as error:
        raise output_error(file, error) from error
    target.output.show(Text(str(file)), {"picture": str(file)})
    return 0


def as_svg(frame: Frame, columns: int, title: str, name: str) -> str:
    """A frame as an SVG document that fetches nothing."""
    console = Console(
        file=io.StringIO(), record=True, width=columns, height=frame.height or HEIGHT_MIN,
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
    return min(1000, max(HEIGHT_MIN, int(text))) if text.isdecimal() else usual
