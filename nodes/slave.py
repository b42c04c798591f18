"""The slave's shell: its sockets, its worker processes and its clock around the worker."""

from __future__ import annotations

import logging
import os
import uuid
from math import inf
from typing import assert_never

from hpczmq import addresses, confine, limits, needs, transport, wire
from hpczmq.config import Config
from hpczmq.cores import usable_cores
from hpczmq.endpoint import Socket
from hpczmq.errors import BindError
from hpczmq.kernels import capabilities
from hpczmq.keyfiles import NodeKeys
from hpczmq.line import Line
from hpczmq.messages import PROTOCOL
from hpczmq.nodes.sampler import machine_memory_bytes
from hpczmq.nodes.shell import SOFTWARE, Shell, nobody, say_ready
from hpczmq.nodes.slots import Slots
from hpczmq.worker import (
    Action,
    Drain,
    Event,
    Exit,
    KillSlot,
    Note,
    Received,
    RunLease,
    Send,
    StartSlot,
    Stop,
    Subscribe,
    Tick,
    Worker,
)

log = logging.getLogger(__name__)


class Slave:
    """A running slave."""

    def __init__(self, config: Config, keys: NodeKeys | None = None) -> None:
        confine.hide()
        self.shell = Shell(config, keys, drains=True)
        self.grace_s = config.grace_s
        #: When it ends by itself, and how long before it begins to.
        self.end_s = self.shell.clock.now() + (config.walltime_s or inf)
        self.lead_s = min(config.grace_s, config.walltime_s / 2)
        sockets = self.shell.sockets
        self.master = config.master
        self.line = Line(sockets, config.master, keys)
        self.control = sockets.subscriber(wire.TOPIC_CONTROL)
        #: Answers pings; optional.
        self.router = _own_router(sockets, config)
        self.slots = Slots(sockets, adopts=True, grant=_grant(config))
        self.done = False
        self.core = Worker(
            config.name,
            uuid.uuid4().bytes,
            config.slots or usable_cores(),
            capabilities(),
            protocol=PROTOCOL,
            software=SOFTWARE,
            address=self._address(config),
            memory_bytes=needs.memory_bytes(config.memory, "memory") or machine_memory_bytes(),
            labels=needs.labels(config.labels, "labels"),
            ping_s=config.ping_s,
        )

    def _address(self, config: Config) -> str:
        """Where others can ping this slave; empty: nowhere."""
        if self.router is None:
            return ""
        host = addresses.reachable_host(config.bind or "127.0.0.1:0", config.master)
        return f"tcp://{host}:{self.router.port}"

    def run(self) -> None:
        """Serve until told to stop."""
        port = self.router.port if self.router else None
        say_ready(role="slave", name=self.shell.name, pid=os.getpid(), port=port)
        log.info(
            "slave %s with %d slots for %s", self.shell.name, len(self.core.slots), self.master
        )
        while not self.done:
            self.turn()
        self.slots.close()
        self.shell.sockets.close()

    def turn(self) -> None:
        """Once round: the workers, the master, who asks us, the clock."""
        ready = self.shell.poll()
        for event in self.slots.events(ready):
            self.handle(event)
        for socket in (self.line.dealer, self.control):
            if socket in ready:
                for _, message, _ in self.shell.messages(socket):
                    self.handle(Received(message))
        if self.router is not None and self.router in ready:
            for (peer,), message, _ in self.shell.messages(self.router, heads=1):
                self.handle(Received(message, bytes(peer)))
        now = self.shell.clock.now()
        if self.shell.stopping:
            self.handle(Stop())
        elif self.shell.draining and not self.core.draining:
            self.handle(Drain(self.grace_s, "told to end"))
        elif now >= self.end_s - self.lead_s and not self.core.draining:
            within_s = self.lead_s - limits.farewell_s - limits.worker_end_s
            self.handle(Drain(max(0.0, within_s), "its walltime is nearly over"))
        elif self.shell.tick_due(now):
            self.slots.look()
            self.shell.follow(self.line, self.core.membership, now)
            beat_s = self.core.membership.heartbeat_s
            self.handle(Tick(*self.shell.measured(now, beat_s, self.slots.pids())))
            self.shell.inspect(nobody, now)

    def handle(self, event: Event) -> None:
        """Give an event to the core, and perform what it asks for."""
        for action in self.core.handle(event, self.shell.clock.now()):
            self.perform(action)

    def perform(self, action: Action) -> None:
        """Do one thing."""
        match action:
            case Send(message, buffers, None):
                self.line.dealer.send(wire.encode(message, buffers))
            case Send(message, _, peer):
                if self.router is not None:
                    self.router.send(wire.encode(message), peer)
            case Subscribe(port):
                host = addresses.host_of(self.master)
                self.control = self.shell.sockets.moved(self.control, f"tcp://{host}:{port}")
            case StartSlot(slot):
                self.slots.start(slot)
            case RunLease(slot, lease):
                self.slots.run(slot, lease)
            case KillSlot(slot):
                self.slots.kill(slot)
            case Note(text):
                log.info("%s", text)
            case Exit():
                self.done = True
            case _:
                assert_never(action)


def _grant(config: Config) -> confine.Grant:
    """What a worker may take: no more memory than all of the slave's tasks, if that was said."""
    given = config.worker_memory or config.memory
    memory_bytes = 0 if given == "off" else needs.memory_bytes(given, "worker_memory")
    return confine.Grant(memory_bytes, config.task_cpu_s, config.worker_env)


def _own_router(sockets: transport.Sockets, config: Config) -> Socket | None:
    """The slave's own port. Nobody depends on it: when the standard one is taken, by another
    slave on this machine, any free one will do, unless the user named it.
    """
    if config.bind == "off":
        return None
    if config.bind:
        return sockets.router(config.bind)
    try:
        return sockets.router(f"tcp://127.0.0.1:{addresses.SLAVE_PORT}")
    except BindError:
        return sockets.router("tcp://127.0.0.1:*")
