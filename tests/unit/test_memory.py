"""The memoria's core: it hears samples, remembers them, raises alerts and answers questions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpczmq import history, limits
from hpczmq.memory import (
    Alarm,
    AskOther,
    Exit,
    Keep,
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
    Beat,
    ClusterAnswer,
    Control,
    Goodbye,
    Heartbeat,
    Hello,
    HistoryAnswer,
    Introduce,
    Message,
    MetricsAnswer,
    Ping,
    Pong,
    Reject,
    Run,
    Sample,
    Welcome,
)
from hpczmq.model import About, Alert, AlertState, ClusterInfo, Metrics, Role
from tests.unit.harness import MemoryBench, instance

BEAT_S = limits.heartbeat_s_default
QUEUE = bytes(16)
WELCOME = Welcome("hpczmq", QUEUE, True, 1, BEAT_S, 5011, Control(1, 1, "least-loaded", False))
ASKER = b"asker"
INFO = ClusterInfo("c", 1, "", 1.0, "", 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ())
HOT, COOL = Metrics(cpu_percent=99.0), Metrics(cpu_percent=1.0)


def sample(memory: MemoryBench, metrics: Metrics, node: str = "s1", process: str = "") -> None:
    memory.do(Received(Sample(node, instance(process or node), metrics)))


def joined(memory: MemoryBench) -> MemoryBench:
    memory.do(Tick())
    assert memory.one(Hello).role is Role.MEMORIA
    memory.do(Received(WELCOME))
    assert memory.one(Subscribe).port == 5011
    return memory


def saturated(memory: MemoryBench, *nodes: str) -> None:
    """Nodes whose alert was raised just now; the clock has moved by what that takes."""
    for seconds in (limits.cpu_saturated_s, 0.0):
        for node in nodes:
            sample(memory, HOT, node)
        memory.later(seconds)
    assert len(memory.take(Publish)) == len(nodes)


def active(memory: MemoryBench) -> list[str]:
    """The nodes with an alert, as who asks is told."""
    memory.do(Received(Ask(1, About.ALERTS), ASKER))
    answer = memory.one(AlertsAnswer, ASKER)
    assert answer.request == 1
    return [alert.node for alert in answer.alerts]


# --- With the master ----------------------------------------------------------------------------


def test_a_memoria_says_hello_with_the_address_where_it_answers(memory: MemoryBench) -> None:
    memory.do(Tick())
    hello = memory.one(Hello)
    assert (hello.name, hello.address) == ("memoria1", "tcp://127.0.0.1:9")


def test_each_heartbeat_reports_all_alerts_and_publishes_them(memory: MemoryBench) -> None:
    joined(memory)
    memory.do(Tick(Metrics(load=2.0)))
    beat = memory.one(Heartbeat)
    assert (beat.sequence, beat.metrics.load, beat.leases) == (1, 2.0, ())
    assert memory.one(Publish).message == AlertsAnswer(0, ())
    assert memory.one(AlertsAnswer) == AlertsAnswer(0, ())
    assert memory.one(Ask) == Ask(0, About.STATUS), "where the other memoria is"


def test_a_memoria_that_is_not_known_introduces_itself_at_the_next_tick(
    memory: MemoryBench,
) -> None:
    joined(memory)
    memory.do(Received(Introduce()), Tick())
    assert memory.one(Hello)


def test_it_goes_on_watching_and_publishing_without_a_master(memory: MemoryBench) -> None:
    saturated(memory, "s1")
    assert active(memory) == ["s1"]
    assert not memory.take(Send), "there is nobody to report to"


def test_told_to_stop_it_says_goodbye(memory: MemoryBench) -> None:
    memory.do(Stop())
    assert memory.one(Goodbye).reason == "told to stop"
    assert memory.one(Exit)


# --- Alerts -------------------------------------------------------------------------------------


def test_an_alert_is_told_when_it_is_raised_and_when_it_clears(memory: MemoryBench) -> None:
    joined(memory)
    sample(memory, HOT)
    memory.later(limits.cpu_saturated_s)
    sample(memory, HOT)
    published = memory.one(Publish).message
    assert isinstance(published, AlertsAnswer)
    (alert,) = published.alerts
    assert (alert.rule, alert.node, alert.value, alert.age_s) == ("cpu-saturated", "s1", 99.0, 0.0)
    assert memory.one(AlertsAnswer) == published, "the master is told too"
    sample(memory, COOL)
    assert memory.one(Publish).message == AlertsAnswer(0, ())
    assert memory.one(AlertsAnswer) == AlertsAnswer(0, ())


def test_a_node_that_is_not_heard_any_more_has_no_alert(memory: MemoryBench) -> None:
    """It ended, or its machine did: nobody could ever clear it."""
    saturated(memory, "s1", "s2")
    assert active(memory) == ["s1", "s2"]
    memory.later(limits.lost_heartbeats * BEAT_S + 0.1)
    sample(memory, HOT, "s2")
    memory.do(Tick())
    assert memory.one(Hello)
    assert memory.take(Publish)
    assert [alarm.alert.state for alarm in memory.take(Alarm)][-1] is AlertState.CLEARED
    assert active(memory) == ["s2"]


def test_an_alert_is_asked_for_by_node(memory: MemoryBench) -> None:
    saturated(memory, "s1", "s2")
    memory.do(Received(Ask(1, About.ALERTS, ("s2", "s9")), ASKER))
    alerts = memory.one(AlertsAnswer, ASKER).alerts
    assert [alert.node for alert in alerts] == ["s2"]
    assert all(isinstance(alert, Alert) for alert in alerts)


# --- Questions ----------------------------------------------------------------------------------


def test_the_newest_metrics_of_each_node_are_told_with_their_age(memory: MemoryBench) -> None:
    sample(memory, COOL, "s2")
    memory.later(1.0)
    sample(memory, HOT, "s1")
    memory.later(2.0)
    memory.do(Received(Ask(3, About.METRICS), ASKER))
    answer = memory.one(MetricsAnswer, ASKER)
    assert [(n.node, n.age_s, n.metrics) for n in answer.nodes] == [
        ("s1", 2.0, HOT),
        ("s2", 3.0, COOL),
    ]
    memory.do(Received(Ask(4, About.METRICS, ("s2",)), ASKER))
    assert [node.node for node in memory.one(MetricsAnswer, ASKER).nodes] == ["s2"]


def test_a_ping_is_answered_with_who_it_is(memory: MemoryBench) -> None:
    memory.do(Tick(HOT))
    assert memory.one(Hello)
    memory.do(Received(Ping(8), ASKER))
    pong = memory.one(Pong, ASKER)
    assert (pong.request, pong.role, pong.name, pong.metrics) == (8, Role.MEMORIA, "memoria1", HOT)


@pytest.mark.parametrize(
    ("message", "request_number", "code"),
    [(Ask(5, About.JOBS), 5, "not here"), (Introduce(), 0, "kind"), (WELCOME, 0, "kind")],
)
def test_what_a_memoria_does_not_answer_is_refused(
    memory: MemoryBench, message: Message, request_number: int, code: str
) -> None:
    memory.do(Received(message, ASKER))
    answer = memory.one(Reject, ASKER)
    assert (answer.request, answer.code) == (request_number, code)


# --- Bounds -------------------------------------------------------------------------------------


def test_the_node_heard_least_lately_is_forgotten_when_there_are_too_many(
    memory: MemoryBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "nodes_max", 2)
    for node in ("s1", "s2", "s1", "s3"):
        sample(memory, COOL, node)
    assert [node.name for node in memory.core.nodes.values()] == ["s1", "s3"]


def test_two_processes_of_one_name_are_two_nodes(memory: MemoryBench) -> None:
    sample(memory, COOL, "s1", process="first")
    sample(memory, HOT, "s1", process="second")
    memory.do(Received(Ask(3, About.METRICS), ASKER))
    assert [node.metrics for node in memory.one(MetricsAnswer, ASKER).nodes] == [COOL, HOT]


def test_a_node_that_is_gone_for_long_is_forgotten(memory: MemoryBench) -> None:
    sample(memory, COOL)
    memory.later(limits.lost_shown_s + 1)
    memory.do(Tick(), Received(WELCOME), Tick())
    assert not memory.core.nodes
    memory.unseen.clear()


# --- The past -----------------------------------------------------------------------------------

WALL_S = 1_800_000_000.0


def ticked(memory: MemoryBench) -> None:
    """A second passes, on all clocks, and with it what a memoria does each heartbeat."""
    memory.later(1.0)
    memory.do(Tick(clock_s=WALL_S + memory.now))
    for kind in (Heartbeat, Publish, AlertsAnswer, Hello):
        memory.take(kind)


def listening(memory: MemoryBench) -> MemoryBench:
    ticked(joined(memory))
    assert memory.one(Ask)
    return memory


def past(memory: MemoryBench) -> list[float]:
    """The load of s1 in each row, as who asks is told."""
    memory.do(Received(AskHistory(7, 0.0, 1e12, 0.0, ("s1",)), ASKER))
    answer = memory.one(HistoryAnswer, ASKER)
    load = 1 + answer.columns.index("load")
    return [row[load] for run in answer.runs for row in history.rows_of(run.rows)]


def rows(*times: float) -> bytes:
    return b"".join(history.packed(at_s, Metrics(load=at_s)) for at_s in times)


def test_each_sample_is_a_row_of_the_past(memory: MemoryBench) -> None:
    listening(memory)
    for number in range(3):
        sample(memory, Metrics(load=float(number)))
        ticked(memory)
    assert past(memory) == [0.0, 1.0, 2.0]
    assert not memory.take(Keep), "there is no disk"


def test_a_memoria_that_begins_late_asks_the_other_one_for_what_it_missed(
    memory: MemoryBench,
) -> None:
    listening(memory)
    sample(memory, Metrics(load=9.0))
    began_s = memory.core.wall_s(memory.now)
    info = replace(INFO, memorias=("tcp://127.0.0.1:9", "tcp://other:1"))
    memory.do(Received(ClusterAnswer(0, info)))
    wish = memory.one(AskOther)
    assert wish.address == "tcp://other:1"
    assert wish.message.until_s == began_s
    assert began_s - limits.history_full_s <= wish.message.since_s < began_s - 3_000.0
    first = HistoryAnswer(
        wish.message.request,
        0.0,
        history.COLUMNS,
        (Run("s1", rows(began_s - 9, began_s - 8)),),
        True,
    )
    memory.do(Told(first))
    wish = memory.one(AskOther)
    assert (wish.message.after, wish.message.after_s) == ("s1", began_s - 8)
    last = replace(
        first, request=wish.message.request, runs=(Run("s1", rows(began_s - 7)),), more=False
    )
    memory.do(Told(last), Told(last))
    assert past(memory) == [began_s - 9, began_s - 8, began_s - 7, 9.0]
    assert not memory.core.filler.gaps


def test_one_that_was_cut_off_asks_for_that_time_only(memory: MemoryBench) -> None:
    listening(memory)
    memory.core.filler.know(("tcp://other:1",))
    sample(memory, COOL)
    memory.core.filler.gaps.clear()
    known_s = memory.core.wall_s(memory.now)
    for _ in range(6):
        memory.do(Received(Beat(0)))  # PUB alone is cut off
        ticked(memory)
    sample(memory, COOL)
    ticked(memory)
    wish = memory.one(AskOther).message
    assert (wish.since_s, wish.until_s) == (known_s, known_s + 6.0)


@pytest.mark.parametrize(
    "answer",
    [
        HistoryAnswer(1, 0.0, ("load",), (Run("s1", bytes(16)),), False),
        HistoryAnswer(1, 0.0, history.COLUMNS, (Run("s1", b"junk"),), True),
        HistoryAnswer(1, 0.0, history.COLUMNS, (Run("s1", rows(1.0)),), True),
        HistoryAnswer(2, 0.0, history.COLUMNS, (Run("s1", rows(WALL_S)),), False),
        Reject(1, "busy", "later"),
    ],
)
def test_what_another_memoria_says_wrong_fills_nothing(
    memory: MemoryBench, answer: Message
) -> None:
    listening(memory)
    memory.core.filler.know(("tcp://other:1",))
    sample(memory, Metrics(load=9.0))
    ticked(memory)
    assert memory.one(AskOther).message.request == 1
    memory.do(Told(answer))
    assert past(memory) == [9.0]


def test_who_does_not_answer_is_not_asked_for_ever(memory: MemoryBench) -> None:
    listening(memory)
    memory.core.filler.know(("tcp://other:1",))
    sample(memory, COOL)
    asked = 0
    for _ in range(int(limits.fill_s) * (limits.fill_tries_max + 2)):
        memory.do(Received(Beat(0)))
        ticked(memory)
        memory.take(Ask)
        asked += len(memory.take(AskOther))
    assert asked == limits.fill_tries_max
    assert not memory.core.filler.gaps


def test_with_a_disk_what_is_not_in_memory_is_looked_up_there() -> None:
    core = Memory("m", instance("m"), protocol=PROTOCOL, archived=(WALL_S, WALL_S))
    core.handle(Tick(clock_s=WALL_S + 10), 0.0)
    core.handle(Received(Sample("s1", instance("s1"), COOL)), 0.0)
    assert core.filler.gaps[0].since_s == WALL_S, "what the disk has is not asked for"
    old, new = AskHistory(1, WALL_S, 1e12), AskHistory(2, WALL_S + 10, 1e12)
    assert core.handle(Received(old, ASKER), 0.0) == [Look(old, 0, ASKER)]
    (told,) = core.handle(Received(new, ASKER), 0.0)
    assert isinstance(told, Send)
    assert isinstance(told.message, HistoryAnswer)
    kept, *_ = core.handle(Stop(), 1.0)
    assert isinstance(kept, Keep)
    assert [row.tier for row in kept.rows] == [0, 1, 2, 3]
