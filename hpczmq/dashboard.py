"""`hpczmq top`: the cluster on one screen, drawn again every so often."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from hpczmq import tables
from hpczmq.client import Client
from hpczmq.errors import HpczmqError, NoCluster
from hpczmq.model import Alert, ClusterInfo, JobInfo, SlaveInfo
from hpczmq.plain import block

#: Newest jobs that fit beside the rest.
_JOBS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class View:
    """What one frame is made of."""

    cluster: ClusterInfo
    slaves: tuple[SlaveInfo, ...]
    jobs: tuple[JobInfo, ...]
    #: None: no memoria answered.
    alerts: tuple[Alert, ...] | None


def look(client: Client) -> View:
    """Ask the cluster for all that a frame shows."""
    try:
        alerts = client.alerts() if client.status().memorias else None
    except NoCluster:
        alerts = None
    return View(client.status(), client.slaves(), client.jobs(), alerts)


def frame(view: View) -> RenderableType:
    """One screen."""
    parts: list[RenderableType] = [
        Panel(tables.cluster(view.cluster), title="hpczmq", title_align="left"),
        tables.slaves(view.slaves),
        tables.jobs(view.jobs[-_JOBS_SHOWN:]),
    ]
    if view.alerts is None:
        parts.append(Text("Alerts: no memoria answers", "dim"))
    elif view.alerts:
        parts.append(tables.alerts(view.alerts))
    else:
        parts.append(Text("No alerts", "green"))
    return Group(*parts)


def watch(client: Client, console: Console, interval_s: float, until: threading.Event) -> None:
    """Draw a frame every `interval_s` until told to stop; a cluster that is away is waited for.

    On a terminal each frame takes the place of the one before it, elsewhere it follows it.
    """
    with ExitStack() as stack:
        draw: Callable[[RenderableType], None] = console.print
        if console.is_terminal:
            live = stack.enter_context(Live(console=console, screen=True, auto_refresh=False))
            draw = functools.partial(live.update, refresh=True)
        while True:
            draw(_seen(client))
            if until.wait(interval_s):
                return


def _seen(client: Client) -> RenderableType:
    try:
        return frame(look(client))
    except HpczmqError as error:
        return Text(f"waiting for the cluster: {block(str(error))}", "yellow")
