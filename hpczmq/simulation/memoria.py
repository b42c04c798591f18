"""A simulated memoria: the real `Memory`, and somebody who asks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from hpczmq import limits, wire
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
from hpczmq.messages import (
    PROTOCOL,
    AlertsAnswer,
    Ask,
    AskHistory,
    Cancel,
    HistoryAnswer,
    Message,
    MetricsAnswer,
    Ping,
    Pong,
    Reject,
)
from hpczmq.model import About, Alert, Metrics
from hpczmq.simulation.network import Dealer
from hpczmq.simulation.node import Node, Setting
from hpczmq.wire import Buffer

_VISITOR = b"visitor"


class MemoriaNode(Node):
    """One memoria."""

    def __init__(self, setting: Setting, name: str) -> None:
        super().__init__(setting, name)
        self.published: list[AlertsAnswer] = []
        self._answers: list[Message] = []
        #: Rows that it wanted on a disk.
        self.kept = 0
        #: What the user's command was told.
        self.alarms: list[Alert] = []

    def start(self) -> None:
        """Start as a new process."""
        self.born()
        self.core = Memory(
            self.name, self.rng.randbytes(16), protocol=PROTOCOL, address=self.address
        )
        self.setting.memorias[self.address] = self
        self.dealer = Dealer(self.setting.network, self.name, self.post, self._read)

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"tcp://{self.name}:1"

    def crash(self) -> None:
        """Be gone, with everything."""
        if self.alive:
            self.trace(self.name, "crashes")
            self.died()
            self.dealer.close()

    def stop(self) -> None:
        """End on purpose."""
        self.post(lambda: self.handle(Stop()))

    def tick(self) -> None:
        """Look at the clock."""
        self.handle(Tick(Metrics(memory_percent=50.0), clock_s=self.wall_s))

    def handle(self, event: Event) -> None:
        """Give an event to the core, and perform what it asks for."""
        for action in self.core.handle(event, self.now):
            self._perform(action)
        assert len(self.core.nodes) <= limits.nodes_max

    def ask(self, message: Message) -> Message:
        """Ask it something on its own ROUTER, over a network that never fails."""
        self._answers = []
        asked, _ = wire.decode(wire.encode(message))
        self.handle(Received(asked, _VISITOR))
        assert self._answers, f"{message} has no answer"
        answer, _ = wire.decode(wire.encode(self._answers[-1]))
        return answer

    def visit(self) -> None:
        """Ask it everything, and believe nothing."""
        if not self.alive or self.paused:
            return
        pong, metrics = self.ask(Ping(1)), self.ask(Ask(2, About.METRICS))
        assert isinstance(pong, Pong)
        assert pong.name == self.name
        assert isinstance(metrics, MetricsAnswer)
        assert metrics.request == 2
        assert isinstance(self.ask(AskHistory(6, 0.0, 1e12)), HistoryAnswer)
        alerts = self.ask(Ask(3, About.ALERTS))
        assert isinstance(alerts, AlertsAnswer)
        assert len({alert.id for alert in alerts.alerts}) == len(alerts.alerts)
        log = self.ask(Ask(7, About.ALERT_LOG))
        assert isinstance(log, AlertsAnswer)
        assert {a.id for a in alerts.alerts} <= {a.id for a in log.alerts}
        for message in (Ask(4, About.JOBS), Cancel(5, (), True)):
            assert isinstance(self.ask(message), Reject)

    def _read(self, message: Message, buffers: Sequence[Buffer]) -> None:
        self.handle(Received(message))

    def _ask_other(self, address: str, message: AskHistory) -> None:
        """Over a network that loses what it will; the answer is for this life only."""
        if self.rng.random() < self.setting.network.weather.loss:
            return
        other = self.setting.memorias.get(address.partition("#")[0])
        if other is not None and other.alive and not other.paused:
            answer = other.ask(message)
            assert isinstance(answer, HistoryAnswer)
            self.post_after(self.rng.uniform(0.001, 0.1), lambda: self.handle(Told(answer)))

    def _perform(self, action: Action) -> None:
        match action:
            case Send(message, None):
                self.dealer.send(message)
            case Send(message, _):
                self._answers.append(message)
            case Publish(message):
                assert isinstance(message, AlertsAnswer)
                wire.decode(wire.encode(message, topic=wire.TOPIC_ALERTS))
                self.published.append(message)
            case Subscribe():
                self.dealer.subscribe(wire.TOPIC_CONTROL, wire.TOPIC_METRICS)
            case AskOther(address, message):
                self._ask_other(address, message)
            case Keep(rows):
                self.kept += len(rows)
            case KeepAlerts():
                raise AssertionError("there is no disk here")
            case Alarm(alert):
                self.alarms.append(alert)
            case Look():
                raise AssertionError("there is no disk here")
            case Exit():
                self.died()
                self.dealer.close(linger_s=1.0)
            case _:
                assert_never(action)
