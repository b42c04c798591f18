"""Asks the cluster for what a board shows, and paints it until told to stop.

Two threads ask, the master and the memorias, for either may be away and must not keep the other
waiting. What they hear they leave to the main thread, which has the board to itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final

from rich.console import Console

from hpczmq import limits, tables
from hpczmq.client import Client
from hpczmq.clock import Clock
from hpczmq.dashboard.board import Board
from hpczmq.dashboard.frame import Frame
from hpczmq.dashboard.replay import Replay
from hpczmq.dashboard.screen import Order, Screen
from hpczmq.dashboard.terminal import Terminal
from hpczmq.errors import HpczmqError, NoCluster
from hpczmq.happened import EventInfo
from hpczmq.kernels import get
from hpczmq.metrics import AlertState
from hpczmq.model import Alert, ClusterInfo, JobInfo, SlaveInfo

#: Slaves tell how they are once a heartbeat, so more often would show nothing new; and of many
#: rows fewer answers are asked for, so that the master spends a few percent of its time on them.
_ROWS_S: Final = 1.0
_ROWS_PER_S: Final = 500.0
#: For a status the master counts its jobs: so many of them a second, and once a second at least.
_COUNTED_PER_S: Final = 4000.0
#: Events are asked for so often, up to 2,000 of them.
_EVENTS_S: Final = 2.0
#: Memorias are asked so often.
_ALERTS_S: Final = 2.0
#: Between the two looks of a single frame, for the rates; and how long its picture is waited for.
_LOOK_S: Final = 0.25
_PICTURE_S: Final = 1.0

#: Something for the board, to be done by who has it.
Told = Callable[[Board], None]


@dataclass(frozen=True, slots=True)
class View:
    """What one frame is made of, for programs."""

    cluster: ClusterInfo | None
    slaves: tuple[SlaveInfo, ...]
    jobs: tuple[JobInfo, ...]
    #: None: no memoria answered.
    alerts: tuple[Alert, ...] | None
    events: tuple[EventInfo, ...]
    #: Tasks a second, of the cluster; None: not known yet.
    tasks_per_s: float | None


def view(board: Board) -> View:
    """The board for programs."""
    alerts = None if board.alerts is None else tuple(board.alerts)
    return View(
        board.cluster, tuple(board.slaves), tuple(board.jobs), alerts, tuple(board.events),
        board.throughput.rate,
    )  # fmt: skip


class Questions:
    """What is asked of a master, when it is due.

    All of it counts for less than a client may ask for without end (`useless_messages_per_s`),
    however many jobs and slaves there are: who looks on is never muted for it.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        #: When each is due.
        self._due_s = dict.fromkeys(("status", "slaves", "jobs", "events"), float("-inf"))

    def ask(self) -> list[Told]:
        """Ask what is due; raises `HpczmqError` when the master does not answer."""
        client, told = self._client, list[Told]()
        now = self._clock.now()
        if self._is_due("status", now):
            info = client.status()
            jobs = info.jobs_queued + info.jobs_running + info.jobs_ended
            self._due_s["status"] = now + min(_ROWS_S, jobs / _COUNTED_PER_S)
            told.append(lambda board: board.saw_cluster(info, now))
        if self._is_due("slaves", now):
            slaves = client.slaves()
            self._due_s["slaves"] = now + max(_ROWS_S, len(slaves) / _ROWS_PER_S)
            told.append(lambda board: board.saw_slaves(slaves, now))
        if self._is_due("jobs", now):
            rows = client.jobs()
            self._due_s["jobs"] = now + len(rows) / _ROWS_PER_S
            told.append(lambda board: board.saw_jobs(rows, now))
        if self._is_due("events", now):
            events = client.events()
            self._due_s["events"] = now + _EVENTS_S
            told.append(lambda board: board.saw_events(events, now))
        return told

    def _is_due(self, what: str, now: float) -> bool:
        return now >= self._due_s[what]


def ask_memorias(client: Client) -> list[Told]:
    """What is wrong, and what nodes measure beside their heartbeats; or why nobody says so."""
    try:
        alerts = client.alerts()
        nodes = client.metrics()
    except HpczmqError as error:
        why = str(error)
        return [lambda board: board.no_alerts(why)]
    return [lambda board: board.saw_alerts(alerts), lambda board: board.saw_metrics(nodes)]


class Overlook:
    """Keeps the board's canvas at the job whose picture is to be shown."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stop: Callable[[], None] = lambda: None

    def follow(self, board: Board, picked: str) -> None:
        """Look on at another job, if another one is to be shown."""
        row = board.pictured(picked)
        id = picked if row is None else row.id
        if id == board.canvas_job:
            return
        self._stop()
        self._stop = lambda: None
        board.canvas, board.canvas_job, board.no_canvas = None, id, ""
        if row is None:
            board.no_canvas = f"{id} is no image" if id else ""
            return
        try:
            self._look_on(board, row)
        except HpczmqError as error:
            board.no_canvas = str(error)

    def _look_on(self, board: Board, row: JobInfo) -> None:
        from hpczmq.dashboard.canvas import Canvas  # numpy, and only for a picture

        kernel: Any = get(row.kernel)
        params = kernel.parse(tables.params_of(row))
        size = params.width * params.height * (2 if params.dtype == "uint16" else 4)
        if size > limits.overlooked_bytes_max:
            most = tables.size(limits.overlooked_bytes_max)
            board.no_canvas = f"{tables.size(size)} of counts: more than {most} are not looked at"
            return
        canvas = Canvas(kernel, params)
        self._stop = self._client.look_on(row.id, canvas)
        board.canvas = canvas


def once(client: Client) -> Board:
    """A board for a single frame: two looks, for the rates, and the picture as far as it is."""
    clock, board = Clock(), Board(client.address)
    questions, overlook = Questions(client, clock), Overlook(client)
    for told in (*questions.ask(), *ask_memorias(client)):
        told(board)
    overlook.follow(board, "")
    row = board.pictured("")
    enough, end_s = row.done if row else 0, clock.now() + _PICTURE_S
    pause = threading.Event()
    pause.wait(_LOOK_S)
    while board.canvas and board.canvas.arrived_tasks < enough and clock.now() < end_s:
        pause.wait(0.01)
    for told in Questions(client, clock).ask():
        told(board)
    return board


class Watch:
    """The dashboard while it runs."""

    def __init__(self, client: Client, interval_s: float, until: threading.Event) -> None:
        self._client, self._interval_s, self._until = client, interval_s, until
        self.board, self.screen, self.clock = Board(client.address), Screen(), Clock()
        self._overlook = Overlook(client)
        self._news: SimpleQueue[Told] = SimpleQueue()

    def run(self, console: Console) -> None:
        """Draw until told to stop: over each other on a terminal, elsewhere one after the other."""
        threads = [threading.Thread(target=poll, daemon=True) for poll in self._polls()]
        for thread in threads:
            thread.start()
        try:
            if console.is_terminal and not console.is_dumb_terminal:
                with Terminal(console) as terminal:
                    self._paint(console, terminal)
            else:
                self._print(console)
        finally:
            self._until.set()
            for thread in threads:
                thread.join(0.2)  # one that waits for an answer ends with the client

    def _polls(self) -> Sequence[Callable[[], None]]:
        return self._poll_master, self._poll_memorias

    def turn(self) -> Frame:
        """Take in what was heard; the frame of now."""
        while not self.screen.paused:
            try:
                self._news.get_nowait()(self.board)
            except Empty:
                break
        self.board.away_s = self._client.away_s
        self._overlook.follow(self.board, self.screen.picked)
        return Frame(self.board, self.screen, self.clock.now())

    def press(self, key: str) -> None:
        """What a key does."""
        match self.screen.press(key, self.board):
            case Order.QUIT:
                self._until.set()
            case Order.ACKNOWLEDGE:
                alerts = [a for a in self.board.alerts or () if a.state is AlertState.ACTIVE]
                if not alerts:
                    self.screen.told = "there is no alert to acknowledge"
                # In threads, since it waits for an answer; they end with the client.
                for alert in alerts[:1]:
                    threading.Thread(target=self._acknowledge, args=(alert,), daemon=True).start()

    def _acknowledge(self, alert: Alert) -> None:
        """Acknowledge an alert, and tell what came of it."""
        try:
            self._client.acknowledge([alert.id])
            told = f"acknowledged: {alert.id}"
        except HpczmqError as error:
            told = str(error)
        self._news.put(lambda board: setattr(self.screen, "told", told))

    def _paint(self, console: Console, terminal: Terminal) -> None:
        coloured = console.color_system is not None and not console.no_color
        while not self._until.is_set():
            began_s = self.clock.now()
            size = console.size
            terminal.painter.paint(self.turn().lines(size.width, size.height, coloured))
            for key in terminal.wait(began_s + self._interval_s - self.clock.now()):
                self.press(key)

    def _print(self, console: Console) -> None:
        self._until.wait(min(self._interval_s, _LOOK_S))  # for the first answers
        while True:
            console.print(self.turn())
            if self._until.wait(self._interval_s):
                return

    def _poll_master(self) -> None:
        questions = Questions(self._client, self.clock)
        while not self._until.is_set():
            try:
                for told in questions.ask():
                    self._news.put(told)
            except HpczmqError as error:
                if not isinstance(error, NoCluster) or not self._client.away_s:
                    why = str(error)
                    self._news.put(lambda board, why=why: board.failed(why))  # type: ignore[misc]
            self._until.wait(self._interval_s)

    def _poll_memorias(self) -> None:
        while not self._until.is_set():
            for told in ask_memorias(self._client):
                self._news.put(told)
            rows_s = len(self.board.slaves) / _ROWS_PER_S
            self._until.wait(max(_ALERTS_S, self._interval_s, rows_s))


class Playback(Watch):
    """The same of a past; nobody is asked any more."""

    def __init__(
        self, client: Client, interval_s: float, until: threading.Event, past: Replay, speed: float
    ) -> None:
        super().__init__(client, interval_s, until)
        self._past, self._speed = past, speed
        self._at_s, self._turned_s = past.begin_s, self.clock.now()

    def _polls(self) -> Sequence[Callable[[], None]]:
        return ()

    def turn(self) -> Frame:
        """Go on as much as the speed says."""
        now = self.clock.now()
        if not self.screen.paused:
            self._at_s = min(self._past.end_s, self._at_s + (now - self._turned_s) * self._speed)
        self._turned_s = now
        self._past.show(self.board, self._at_s)
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._at_s))
        over = ", the end" if self._at_s >= self._past.end_s else ""
        self.board.replay = f"{when} ×{self._speed:g}{over}"
        return Frame(self.board, self.screen, self._at_s)
