"""The memoria as a pure state machine: it hears metrics, remembers them, and raises alerts.

Rules:

1. It has no clock, no socket and no disk. `now` is seconds on any clock that only grows.
2. It learns from what the master publishes and needs nothing from anybody to answer questions.
3. An alert is published when it is raised and when it clears, and the whole list of active ones
   each heartbeat, so that a listener that missed one message is right again after a second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from hpczmq import limits
from hpczmq.alerts import RULES, Watcher
from hpczmq.membership import Due, Membership
from hpczmq.messages import (
    AlertsAnswer,
    Ask,
    Goodbye,
    Heartbeat,
    Hello,
    Message,
    MetricsAnswer,
    Ping,
    Pong,
    Reject,
    Sample,
    VitalsReport,
    Welcome,
)
from hpczmq.model import NO_VITALS, About, Alert, Metrics, NodeMetrics, Role, Vitals


@dataclass(frozen=True, slots=True)
class Received:
    """A message arrived. `peer` is None for the master, else who asked on the own ROUTER."""

    message: Message
    peer: bytes | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. Carries the newest measurements of this machine, if there are new ones, and
    what its clock says, in seconds since 1970.
    """

    metrics: Metrics | None = None
    vitals: Vitals | None = None
    clock_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """The memoria is to end now."""


Event = Received | Tick | Stop


@dataclass(frozen=True, slots=True)
class Send:
    """Send to the master, or answer `peer` on the own ROUTER; without waiting."""

    message: Message
    peer: bytes | None = None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Listen to the master's PUB, at this port of its host."""

    port: int


@dataclass(frozen=True, slots=True)
class Publish:
    """Send to whoever listens to the alerts."""

    message: Message


@dataclass(frozen=True, slots=True)
class Exit:
    """All is said; the process may end."""


Action = Send | Subscribe | Publish | Exit


@dataclass(slots=True)
class Node:
    """What is remembered of one node."""

    name: str
    #: Its newest metrics, and when they were heard.
    metrics: Metrics
    heard_s: float
    watchers: list[Watcher]
    #: What it has reported beside them last.
    vitals: Vitals = NO_VITALS


class Memory:
    """The memoria's core."""

    def __init__(
        self,
        name: str,
        instance: bytes,
        *,
        protocol: int,
        software: str = "",
        address: str = "",
        ping_s: float = limits.ping_s_default,
    ) -> None:
        self._hello = Hello(Role.MEMORIA, name, instance, protocol, software, address=address)
        self.membership = Membership(ping_s)
        #: By instance; the one heard least lately goes first when there are too many.
        self.nodes: dict[bytes, Node] = {}
        self.metrics = Metrics()
        #: Of this machine, not reported yet.
        self.vitals: Vitals | None = None
        self._actions: list[Action] = []

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event in; give back what is to be done, in order."""
        self._actions = []
        match event:
            case Received(Sample() as sample, None):
                self._sample(sample, now)
            case Received(VitalsReport(instance=instance, vitals=vitals), None):
                if instance in self.nodes:
                    self.nodes[instance].vitals = vitals
            case Received(message, None):
                self.membership.heard(message, now)
                if isinstance(message, Welcome):
                    self._actions.append(Subscribe(message.control_port))
            case Received(message, peer):
                self._actions.append(Send(self._answer(message, now), peer))
            case Tick():
                self._tick(event, now)
            case Stop():
                self._actions += [Send(Goodbye("told to stop")), Exit()]
            case _:
                assert_never(event)
        return self._actions

    def alerts(self, now: float) -> tuple[Alert, ...]:
        """What is active now. Of a node that fell silent nothing is known any more."""
        silent_s = now - limits.lost_heartbeats * self.membership.heartbeat_s
        heard = [node for node in self.nodes.values() if node.heard_s >= silent_s]
        found = [watcher.alert(now) for node in heard for watcher in node.watchers]
        return tuple(alert for alert in found if alert is not None)

    def _sample(self, sample: Sample, now: float) -> None:
        node = self.nodes.pop(sample.instance, None)
        if node is None:
            watchers = [Watcher(rule, sample.node) for rule in RULES]
            node = Node(sample.node, sample.metrics, now, watchers)
            if len(self.nodes) >= limits.nodes_max:
                del self.nodes[next(iter(self.nodes))]
        self.nodes[sample.instance] = node
        node.metrics, node.heard_s = sample.metrics, now
        changed = [watcher.sample(sample.metrics, now) for watcher in node.watchers]
        if any(changed):
            self._tell(now)

    def _forget(self, now: float) -> None:
        """Drop nodes that have not been heard for long; a process does not come back as itself."""
        for instance, node in list(self.nodes.items()):
            if now - node.heard_s > limits.lost_shown_s:
                del self.nodes[instance]

    def _tell(self, now: float) -> None:
        report = AlertsAnswer(0, self.alerts(now))
        self._actions.append(Publish(report))
        if self.membership.joined:
            self._actions.append(Send(report))

    def _answer(self, message: Message, now: float) -> Message:
        match message:
            case Ping(request):
                hello = self._hello
                return Pong(request, Role.MEMORIA, hello.name, hello.software, self.metrics)
            case Ask(request, About.METRICS, names):
                wanted = [n for n in self.nodes.values() if not names or n.name in names]
                wanted.sort(key=lambda node: node.name)
                return MetricsAnswer(request, _that_fit(wanted, now))
            case Ask(request, About.ALERTS, names):
                active = [a for a in self.alerts(now) if not names or a.node in names]
                return AlertsAnswer(request, tuple(active))
            case Ask(request):
                return Reject(request, "not here", "a memoria knows metrics and alerts only")
            case _:
                return Reject(0, "kind", f"a memoria takes no {type(message).__name__}")

    def _tick(self, tick: Tick, now: float) -> None:
        self.metrics = replace(tick.metrics or self.metrics, clock_s=tick.clock_s)
        self.vitals = tick.vitals or self.vitals
        match self.membership.due(now):
            case Due.HELLO:
                self._actions.append(Send(self._hello))
            case Due.BEAT:
                beat = self.membership
                metrics = replace(self.metrics, latency_s=beat.latency_s, jitter_s=beat.jitter_s)
                heartbeat = Heartbeat(beat.sequence, metrics, (), beat.generation)
                self._actions.append(Send(heartbeat))
                self._forget(now)
                self._tell(now)
            case Due.PING:
                self._actions.append(Send(Ping(self.membership.pings)))
            case Due.NOTHING:
                pass
        if self.vitals is not None and self.membership.joined:
            self._actions.append(
                Send(VitalsReport(self._hello.name, self._hello.instance, self.vitals))
            )
            self.vitals = None


def _that_fit(nodes: list[Node], now: float) -> tuple[NodeMetrics, ...]:
    """Rows of the first nodes, as many as one message takes."""
    room, rows = limits.body_bytes_max - limits.KIB, []
    for node in nodes:
        vitals = node.vitals
        room -= 4 * len(node.name) + 9 * (40 + len(vitals.cores_percent) + 3 * len(vitals.workers))
        if room < 0:
            break
        rows.append(NodeMetrics(node.name, now - node.heard_s, node.metrics, vitals))
    return tuple(rows)
