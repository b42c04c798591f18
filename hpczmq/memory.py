"""The memoria as a pure state machine: it hears metrics, remembers them, and raises alerts.

Rules:

1. It has no clock, no socket and no disk. `now` is seconds on any clock that only grows.
2. It learns from what the master publishes and needs nothing from anybody to answer questions.
3. An alert is published when it is raised and when it clears, and the whole list of active ones
   each heartbeat, so that a listener that missed one message is right again after a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import assert_never

from hpczmq import limits
from hpczmq.alerts import RULES, Watcher
from hpczmq.errors import ProtocolError
from hpczmq.filling import Filler
from hpczmq.history import ROW, TIERS, Recent, Row, Thinner, packed, rows_of, tier_of
from hpczmq.membership import Due, Membership
from hpczmq.messages import (
    AlertsAnswer,
    Ask,
    AskHistory,
    ClusterAnswer,
    Goodbye,
    Heartbeat,
    Hello,
    HistoryAnswer,
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
class Told:
    """Another memoria has answered what `AskOther` asked."""

    message: Message


@dataclass(frozen=True, slots=True)
class Stop:
    """The memoria is to end now."""


Event = Received | Told | Tick | Stop


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
class AskOther:
    """Ask another memoria, whose ROUTER is at this address."""

    address: str
    message: AskHistory


@dataclass(frozen=True, slots=True)
class Keep:
    """Write these rows to the disk, some time soon."""

    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Look:
    """Look up on the disk what `peer` asks for, in this resolution, and answer it."""

    ask: AskHistory
    tier: int
    peer: bytes


@dataclass(frozen=True, slots=True)
class Exit:
    """All is said; the process may end."""


Action = Send | Subscribe | Publish | AskOther | Keep | Look | Exit


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
        archived: tuple[float, float] | None = None,
    ) -> None:
        """`archived`: from when to when the disk has the past, (0, 0) if none; None: no disk."""
        self._hello = Hello(Role.MEMORIA, name, instance, protocol, software, address=address)
        self.membership = Membership(ping_s)
        #: By instance; the one heard least lately goes first when there are too many.
        self.nodes: dict[bytes, Node] = {}
        self.metrics = Metrics()
        #: Of this machine, not reported yet.
        self.vitals: Vitals | None = None
        self._actions: list[Action] = []
        self.recent = Recent()
        self._thinner = Thinner()
        self._archives = archived is not None
        #: Of the oldest row that is here; 0: there is none.
        self._begun_s = archived[0] if archived else 0.0
        self.filler = Filler(address, len(TIERS) if self._archives else 1)
        #: Rows for the disk since the last `Keep`.
        self._rows: list[Row] = []
        #: What this machine's clock said at the last tick, 0 before, and when that was.
        self._clock_s = self._ticked_s = 0.0
        #: Until when the past is here: the last sample, on this machine's clock.
        self._known_s = archived[1] if archived else 0.0
        #: When it was last asked where the others are, and what is too old was last dropped.
        self._looked_s = self._forgot_s = -inf

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event in; give back what is to be done, in order."""
        self._actions = []
        match event:
            case Received(Sample() as sample, None):
                self._sample(sample, now)
            case Received(VitalsReport(instance=instance, vitals=vitals), None):
                if instance in self.nodes:
                    self.nodes[instance].vitals = vitals
            case Received(ClusterAnswer(info=info), None):
                self.filler.know(info.memorias)
                self._fill(now)
            case Told(HistoryAnswer() as answer):
                self._filled(answer)
                self._fill(now)
            case Told():
                pass  # it does not know; it, or another one, is asked later
            case Received(message, None):
                self.membership.heard(message, now)
                if isinstance(message, Welcome):
                    self._actions.append(Subscribe(message.control_port))
            case Received(AskHistory() as ask, bytes() as peer):
                self._history(ask, peer, now)
            case Received(message, peer):
                self._actions.append(Send(self._answer(message, now), peer))
            case Tick():
                self._tick(event, now)
            case Stop():
                self._rows += self._thinner.end_all()
                self._keep()
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
        self._record(sample, now)
        changed = [watcher.sample(sample.metrics, now) for watcher in node.watchers]
        if any(changed):
            self._tell(now)

    def _forget(self, now: float) -> None:
        """Drop nodes that have not been heard for long; a process does not come back as itself."""
        for instance, node in list(self.nodes.items()):
            if now - node.heard_s > limits.lost_shown_s:
                del self.nodes[instance]
                self._rows += self._thinner.end(node.name)

    # --- The past -----------------------------------------------------------------------------

    def wall_s(self, now: float) -> float:
        """What this machine's clock says, in seconds since 1970; 0: nobody has said yet."""
        return self._clock_s and self._clock_s + now - self._ticked_s

    def _record(self, sample: Sample, now: float) -> None:
        at_s = self.wall_s(now)
        if not at_s:
            return
        silent_s = limits.lost_heartbeats * self.membership.heartbeat_s
        if at_s - self._known_s > silent_s:  # it was started late, or cut off
            self.filler.want(self._known_s, at_s)
        self._known_s = max(self._known_s, at_s)
        self._begun_s = self._begun_s or at_s
        self.recent.add(sample.node, at_s, packed(at_s, sample.metrics))
        if self._archives:
            self._rows += self._thinner.add(sample.node, at_s, sample.metrics)

    def _history(self, ask: AskHistory, peer: bytes, now: float) -> None:
        # Of a young history nobody needs a coarse row because of what was before it.
        tier = tier_of(max(ask.since_s, self._begun_s), ask.step_s, self.wall_s(now))
        if not self._archives or (tier == 0 and ask.since_s >= self.recent.since_s):
            self._actions.append(Send(self.recent.answer(ask), peer))
        else:
            self._actions.append(Look(ask, tier, peer))

    def _filled(self, answer: HistoryAnswer) -> None:
        try:
            found = self.filler.told(answer)
        except ProtocolError:
            return  # the gap is asked for again, or left
        for tier, node, rows in found:
            self._begun_s = min(self._begun_s, next(rows_of(rows))[0]) if rows else self._begun_s
            if tier == 0:
                self.recent.fill(node, rows)
            if self._archives:
                self._rows += [Row(tier, node, row[0], ROW.pack(*row)) for row in rows_of(rows)]

    def _fill(self, now: float) -> None:
        wish = self.filler.due(now)
        if wish is not None:
            self._actions.append(AskOther(*wish))

    def _keep(self) -> None:
        if self._rows:
            self._actions.append(Keep(self._rows))
            self._rows = []

    def _tend(self, now: float) -> None:
        """What is to be done now and then."""
        self._keep()
        if now - self._looked_s >= limits.fill_s:
            self._looked_s = now
            self._actions.append(Send(Ask(0, About.STATUS)))
        if now - self._forgot_s >= limits.fill_s:
            self._forgot_s = now
            self.recent.forget(self.wall_s(now))
        self._fill(now)

    # --- Alerts and answers -------------------------------------------------------------------

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
        self._clock_s, self._ticked_s = tick.clock_s, now
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
                self._tend(now)
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
