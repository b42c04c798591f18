"""The memoria's shell: its sockets and its clock around the memory."""

from __future__ import annotations

import logging
import os
import uuid
from pathlib import Path
from typing import assert_never

from hpczmq import addresses, limits, needs, wire
from hpczmq.config import Config
from hpczmq.keyfiles import NodeKeys
from hpczmq.line import Line
from hpczmq.memory import (
    Action,
    Alarm,
    AskOther,
    Event,
    Exit,
    Keep,
    KeepAlerts,
    Look,
    Memory,
    Publish,
    Received,
    Send,
    Stop,
    Subscribe,
    Tick,
    Told,
)
from hpczmq.messages import PROTOCOL
from hpczmq.nodes.archive import Archive
from hpczmq.nodes.hook import Hook
from hpczmq.nodes.rulefile import rules_of
from hpczmq.nodes.shell import SOFTWARE, Shell, nobody, say_ready
from hpczmq.nodes.textfile import Textfile

log = logging.getLogger(__name__)


def archive_of(config: Config) -> Archive | None:
    """The file of a memoria's history, if it is to have one."""
    if config.history == "off":
        return None
    folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "hpczmq"
    path = Path(config.history) if config.history else folder / f"{config.name}.sqlite"
    return Archive(path, needs.memory_bytes(config.history_size, "history_size"))


class Memoria:
    """A running memoria."""

    def __init__(self, config: Config, keys: NodeKeys | None = None) -> None:
        rules = rules_of(config)
        self.hook = Hook(config.on_alert) if config.on_alert else None
        prometheus = config.prometheus_textfile
        self.textfile = Textfile(Path(prometheus)) if prometheus else None
        self.written_s = float("-inf")
        self.shell = Shell(config, keys)
        sockets = self.shell.sockets
        self.master = config.master
        self.line = Line(sockets, config.master, keys)
        self.samples = sockets.subscriber(wire.TOPIC_CONTROL, wire.TOPIC_METRICS)
        self.router = sockets.router(config.bind)
        self.publisher = sockets.publisher(config.control_bind)
        host = addresses.reachable_host(config.bind, config.master)
        #: To the other memoria, when there is a gap to fill.
        self.other = sockets.undialled()
        self.archive = archive_of(config)
        self.core = Memory(
            config.name,
            uuid.uuid4().bytes,
            protocol=PROTOCOL,
            ping_s=config.ping_s,
            rules=rules,
            past=self.archive.alerts if self.archive is not None else (),
            archived=self.archive.span_s if self.archive is not None else None,
            software=SOFTWARE,
            address=f"tcp://{host}:{self.router.port}",
        )
        self.done = False

    def run(self) -> None:
        """Serve until told to stop."""
        say_ready(role="memoria", name=self.shell.name, port=self.router.port)
        log.info("memoria %s on port %d for %s", self.shell.name, self.router.port, self.master)
        while not self.done:
            self.turn()
        if self.archive is not None:
            self.archive.close()
        if self.hook is not None:
            self.hook.close()
        if self.textfile is not None:
            self.textfile.close()
        self.shell.sockets.close()

    def turn(self) -> None:
        """Once round: the master, who asks us, the clock."""
        ready = self.shell.poll()
        for socket in (self.line.dealer, self.samples):
            if socket in ready:
                for _, message, _ in self.shell.messages(socket):
                    self.handle(Received(message))
        if self.router in ready:
            for (peer,), message, _ in self.shell.messages(self.router, heads=1):
                self.handle(Received(message, bytes(peer)))
        if self.other in ready:
            for _, message, _ in self.shell.messages(self.other):
                self.handle(Told(message))
        if self.archive is not None:
            for peer, message in self.archive.answers():
                self.router.send(wire.encode(message), peer)
        now = self.shell.clock.now()
        if self.shell.stopping:
            self.handle(Stop())
        elif self.shell.tick_due(now):
            self.handle(Tick(*self.shell.measured(now, self.core.membership.heartbeat_s)))
            self.shell.follow(self.line, self.core.membership, now)
            self.shell.inspect(nobody, now)
            self._write_textfile(now)

    def _write_textfile(self, now: float) -> None:
        if self.textfile is not None and now - self.written_s >= limits.textfile_s:
            self.written_s = now
            wall_s = self.shell.clock.wall()
            self.textfile.write(self.core.rows(now), self.core.alerts(now), wall_s)

    def handle(self, event: Event) -> None:
        """Give an event to the core, and perform what it asks for."""
        for action in self.core.handle(event, self.shell.clock.now()):
            self.perform(action)

    def perform(self, action: Action) -> None:
        """Do one thing."""
        match action:
            case Send(message, None):
                self.line.dealer.send(wire.encode(message))
            case Send(message, peer):
                self.router.send(wire.encode(message), peer)
            case Publish(message):
                self.publisher.send(wire.encode(message, topic=wire.TOPIC_ALERTS))
            case Subscribe(port):
                host = addresses.host_of(self.master)
                self.samples = self.shell.sockets.moved(self.samples, f"tcp://{host}:{port}")
            case AskOther(address, message):
                self.other = self.shell.sockets.moved(self.other, address)
                self.other.send(wire.encode(message))
            case Keep(rows):
                if self.archive is not None:
                    self.archive.keep(rows)
            case KeepAlerts(alerts):
                if self.archive is not None:
                    self.archive.keep_alerts(alerts)
            case Alarm(alert):
                log.warning("alert %s is %s: %s", alert.id, alert.state.name.lower(), alert.text)
                if self.hook is not None:
                    self.hook.tell(alert)
            case Look(ask, tier, peer):
                assert self.archive is not None, "the core was told that there is none"
                self.archive.look(ask, tier, peer)
            case Exit():
                self.done = True
            case _:
                assert_never(action)
