"""The memoria's shell: its sockets and its clock around the memory."""

from __future__ import annotations

import logging
import uuid
from typing import assert_never

from hpczmq import addresses, wire
from hpczmq.config import Config
from hpczmq.keyfiles import NodeKeys
from hpczmq.line import Line
from hpczmq.memory import (
    Action,
    Event,
    Exit,
    Memory,
    Publish,
    Received,
    Send,
    Stop,
    Subscribe,
    Tick,
)
from hpczmq.messages import PROTOCOL
from hpczmq.nodes.shell import SOFTWARE, Shell, nobody, say_ready

log = logging.getLogger(__name__)


class Memoria:
    """A running memoria."""

    def __init__(self, config: Config, keys: NodeKeys | None = None) -> None:
        self.shell = Shell(config, keys)
        sockets = self.shell.sockets
        self.master = config.master
        self.line = Line(sockets, config.master, keys)
        self.samples = sockets.subscriber(wire.TOPIC_CONTROL, wire.TOPIC_METRICS)
        self.router = sockets.router(config.bind)
        self.publisher = sockets.publisher(config.control_bind)
        host = addresses.reachable_host(config.bind, config.master)
        self.core = Memory(
            config.name,
            uuid.uuid4().bytes,
            protocol=PROTOCOL,
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
        now = self.shell.clock.now()
        if self.shell.stopping:
            self.handle(Stop())
        elif self.shell.tick_due(now):
            self.handle(Tick(self.shell.sample(now, self.core.membership.heartbeat_s)))
            self.shell.follow(self.line, self.core.membership, now)
            self.shell.inspect(nobody, now)

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
            case Exit():
                self.done = True
            case _:
                assert_never(action)
