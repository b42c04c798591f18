"""A past on a board, moment by moment."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from hpczmq.dashboard.board import Board
from hpczmq.dashboard.replay import Replay
from hpczmq.dashboard.shell import Playback
from hpczmq.happened import EventInfo
from hpczmq.model import SlaveState
from tests.unit.test_board import alert, cluster

NOW_S = 10_000.0


def row(at_s: float, **values: float) -> dict[str, float]:
    return {"at_s": at_s, **values}


def past() -> Replay:
    """`uno` works for a minute, `dos` is gone after ten seconds."""
    history = {
        "uno": [
            row(9000.0 + s, cpu_percent=50.0, slots_busy=2.0, tasks_done=10.0 * s, unknown=1.0)
            for s in range(60)
        ],
        "dos": [row(9000.0 + s, cpu_percent=float(s), tasks_done=0.0) for s in range(10)],
        "master": [row(9000.0 + s, tasks_done=20.0 * s) for s in range(60)],
        "never": [],
    }
    event = EventInfo(NOW_S - 9030.0, "slave", "dos", "", "slave dos is lost")
    over = replace(alert("dos"), raised_s=9012.0, cleared_s=9050.0)
    return Replay(history, [event], [over, alert("uno")], cluster(), NOW_S)


def test_a_moment_is_what_was_measured_last_and_the_rates_of_the_time_before() -> None:
    board, replay = Board("a"), past()
    assert (replay.begin_s, replay.end_s) == (9000.0, 9059.0)
    replay.show(board, 9009.0)
    assert [slave.name for slave in board.slaves] == ["uno", "dos"]
    assert board.slaves[1].metrics.cpu_percent == 9.0
    assert board.cluster is not None
    assert (board.cluster.slaves, board.cluster.slots, board.cluster.cluster) == (2, 3, "lab")
    assert board.throughput.rate == pytest.approx(20.0)
    assert board.rate_of(board.slaves[0]) == pytest.approx(10.0)
    assert not board.events


def test_a_node_that_was_not_heard_any_more_is_lost_and_events_come_when_they_were() -> None:
    board, replay = Board("a"), past()
    for second in range(41):
        replay.show(board, 9000.0 + second)
    assert [slave.state for slave in board.slaves] == [SlaveState.READY, SlaveState.LOST]
    assert [(event.text, event.age_s) for event in board.events] == [("slave dos is lost", 10.0)]
    assert [(a.node, a.age_s) for a in board.alerts or ()] == [("dos", 28.0)]
    assert board.busy() == 2
    assert len(board.slave_paces[b"uno"].buckets) == 8


def test_a_history_of_nothing_is_none() -> None:
    replay = Replay({}, (), (), cluster(), NOW_S)
    assert not replay
    replay.show(Board("a"), NOW_S)


def test_a_playback_goes_on_at_its_speed_stands_still_while_paused_and_ends() -> None:
    class Nobody:
        address = "a"

    client: Any = Nobody()
    playback = Playback(client, 0.25, threading.Event(), past(), 10.0)

    class Clock:
        now_s = 0.0

        def now(self) -> float:
            return self.now_s

    clock: Any = Clock()
    playback.clock, playback._turned_s = clock, 0.0
    for now_s, shown_s in ((0.0, 9000.0), (1.0, 9010.0), (2.0, 9020.0)):
        clock.now_s = now_s
        assert playback.turn().now == shown_s
    playback.press("p")
    clock.now_s = 3.0
    assert playback.turn().now == 9020.0
    playback.press("p")
    clock.now_s = 60.0
    assert playback.turn().now == 9059.0
    assert "×10, the end" in playback.board.replay
    text = ["".join(s.text for s in line) for line in playback.turn().lines(100, 30)]
    assert any("replay" in line for line in text)
