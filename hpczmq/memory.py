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
from hpczmq.alerts import CLUSTER, Rule
from hpczmq.errors import ProtocolError
from hpczmq.filling import Filler
from hpczmq.history import ROW, TIERS, Recent, Row, Thinner, packed, rows_of, tier_of
from hpczmq.membership import Due, Membership

# Given on: whoever has to do with a memoria needs these too.
from hpczmq.memory_events import Action as Action
from hpczmq.memory_events import Alarm as Alarm
from hpczmq.memory_events import AskOther as AskOther
from hpczmq.memory_events import Event as Event
from hpczmq.memory_events import Exit as Exit
from hpczmq.memory_events import Keep as Keep
from hpczmq.memory_events import KeepAlerts as KeepAlerts
from hpczmq.memory_events import Look as Look
from hpczmq.memory_events import Publish as Publish
from hpczmq.memory_events import Received as Received
from hpczmq.memory_events import Send as Send
from hpczmq.memory_events import Stop as Stop
from hpczmq.memory_events import Subscribe as Subscribe
from hpczmq.memory_events import Tick as Tick
from hpczmq.memory_events import Told as Told
from hpczmq.messages import (
    Acknowledge,
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
    Pulse,
    Reject,
    Sample,
    VitalsReport,
    Welcome,
)
from hpczmq.model import (
    NO_VITALS,
    About,
    Alert,
    Finding,
    Metrics,
    NodeMetrics,
    Role,
    Vitals,
)
from hpczmq.rules import RULES
from hpczmq.watching import AlertBook

#: What the master says of its cluster; the rest of `CLUSTER` is seen from here.
_MASTERS = frozenset(CLUSTER) - {"master_silent_s"}


@dataclass(slots=True)
class Node:
    """What is remembered of one node."""

    name: str
    #: Its newest metrics, and when they were heard.
    metrics: Metrics
    heard_s: float
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
        rules: Sequence[Rule] | None = None,
        past: Sequence[Alert] = (),
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
        self.book = AlertBook(RULES if rules is None else rules, past)
        #: When the first tick came.
        self._began_s: float | None = None
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
        #: When it was last looked who is silent.
        self._seen_s = -inf

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event in; give back what is to be done, in order."""
        self._actions = []
        match event:
            case Received(Sample() as sample, None):
                self._sample(sample, now)
            case Received(VitalsReport(instance=instance, vitals=vitals), None):
                if instance in self.nodes:
                    self.nodes[instance].vitals = vitals
            case Received(Pulse(findings), None):
                if self.book.findings(_MASTERS, findings, now, self.wall_s(now)):
                    self._tell(now)
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

    def rows(self, now: float) -> tuple[NodeMetrics, ...]:
        """The newest of each node, those heard last first."""
        return _that_fit([*reversed(self.nodes.values())], now)

    def alerts(self, now: float) -> tuple[Alert, ...]:
        """What is active now."""
        return self.book.active(now)

    def _sample(self, sample: Sample, now: float) -> None:
        node = self.nodes.pop(sample.instance, None)
        if node is None:
            node = Node(sample.node, sample.metrics, now)
            if len(self.nodes) >= limits.nodes_max:
                oldest = next(iter(self.nodes))
                del self.nodes[oldest]
                self.book.forget(oldest, now, self.wall_s(now))
        self.nodes[sample.instance] = node
        node.metrics, node.heard_s = sample.metrics, now
        self._record(sample, now)
        welcome = self.membership.welcome
        own = welcome is None or welcome.queue != sample.instance  # the master's counts are sums
        wall_s = self.wall_s(now)
        if self.book.sample(sample.instance, sample.node, sample.metrics, now, wall_s, own):
            self._tell(now)

    def _look_around(self, now: float) -> None:
        """Who fell silent has no alerts: nothing is known of it any more. But the master has."""
        beat_s, wall_s = self.membership.heartbeat_s, self.wall_s(now)
        late_s = now - limits.lost_heartbeats * beat_s
        changed = False
        for instance, node in self.nodes.items():
            if node.heard_s < late_s:
                changed |= self.book.forget(instance, now, wall_s)
        silent_s = now - self.membership.heard_s
        found = [Finding("master_silent_s", "master", silent_s)]
        lost = self.membership.welcome is not None and self.membership.heard_s < late_s
        changed |= self.book.findings(("master_silent_s",), found if lost else (), now, wall_s)
        if self._began_s is None:
            self._began_s = now
        if now - self._began_s > limits.alert_restored_s:
            self.book.give_up_restored(wall_s)
        if changed:
            self._tell(now)
        self._pass_on()

    def _pass_on(self) -> None:
        """Have what became of alerts kept, and told to the user's command by one of us."""
        changes = self.book.take_changes()
        if changes and self._archives:
            self._actions.append(KeepAlerts(changes))
        if changes and self.filler.leads:
            self._actions += [Alarm(alert) for alert in changes]

    def _forget(self, now: float) -> None:
        """Drop nodes that have not been heard for long; a process does not come back as itself."""
        for instance, node in list(self.nodes.items()):
            if now - node.heard_s > limits.lost_shown_s:
                del self.nodes[instance]
                self.book.forget(instance, now, self.wall_s(now))
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
        report = AlertsAnswer(0, self.alerts(now)[: limits.alerts_told_max])
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
                return _chosen(request, names, self.alerts(now))
            case Ask(request, About.ALERT_LOG, names):
                return _chosen(request, names, self.book.log(now))
            case Acknowledge(request, ids):
                return _chosen(request, (), self.book.acknowledge(ids, now))
            case Ask(request):
                return Reject(request, "not here", "a memoria knows metrics and alerts only")
            case _:
                return Reject(0, "kind", f"a memoria takes no {type(message).__name__}")

    def _tick(self, tick: Tick, now: float) -> None:
        self.metrics = replace(tick.metrics or self.metrics, clock_s=tick.clock_s)
        self._clock_s, self._ticked_s = tick.clock_s, now
        self.vitals = tick.vitals or self.vitals
        if now - self._seen_s >= self.membership.heartbeat_s:
            self._seen_s = now
            self._look_around(now)
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


def _chosen(request: int, names: Sequence[str], alerts: Sequence[Alert]) -> AlertsAnswer:
    """The newest alerts, of some nodes or all, as many as one message takes."""
    found = [alert for alert in alerts if not names or alert.node in names]
    return AlertsAnswer(request, tuple(found[-limits.alerts_told_max :]))


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
