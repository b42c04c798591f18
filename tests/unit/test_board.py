"""What the dashboard knows, and what its keys do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpczmq import wire
from hpczmq.dashboard import board as boards
from hpczmq.dashboard import lines
from hpczmq.dashboard.board import BUCKET_S, Board, Pace
from hpczmq.dashboard.screen import Order, Screen
from hpczmq.dashboard.terminal import keys_of
from hpczmq.model import Alert, ClusterInfo, JobInfo, JobState, Metrics, SlaveInfo, SlaveState

IMAGE = wire.pack({"algorithm": "Numpy", "width": 64, "height": 48, "iterations": 100})


def cluster(**values: Any) -> ClusterInfo:
    usual: dict[str, Any] = {
        "cluster": "lab", "epoch": 1, "software": "hpczmq 1", "up_s": 60.0,
        "policy": "least-loaded", "generation": 1, "slaves": 2, "slots": 4, "jobs_queued": 0,
        "jobs_running": 1, "jobs_ended": 0, "tasks_waiting": 3, "tasks_running": 2,
        "tasks_done": 10, "clients": 1, "frames_dropped": 0, "memorias": (),
    }  # fmt: skip
    return ClusterInfo(**usual | values)


def slave(name: str, state: SlaveState = SlaveState.READY, **metrics: Any) -> SlaveInfo:
    return SlaveInfo(
        name, name.encode().ljust(16, b"."), "", state, 2, 1, 1, 0.1, 1,
        Metrics(**metrics), 0, ("site=lab",),
    )  # fmt: skip


def job(id: str, state: JobState = JobState.RUNNING, **values: Any) -> JobInfo:
    usual: dict[str, Any] = {
        "id": id, "name": f"name of {id}", "kernel": "julia", "params": IMAGE, "priority": 2,
        "state": state, "tasks": 100, "done": 40, "failed": 0, "running": 2, "waited_s": 0.5,
        "ran_s": 4.0, "attempts": 42, "cause": "",
    }  # fmt: skip
    return JobInfo(**usual | values)


def alert(node: str = "s1") -> Alert:
    return Alert("cpu-saturated", node, "warning", f"CPU of {node} at 99 %", 99.0, 12.0)


# --- Rates --------------------------------------------------------------------------------------


def test_a_rate_is_the_mean_of_the_last_seconds() -> None:
    pace = Pace()
    assert pace.rate is None
    for second in range(20):
        pace.add(100.0 * second if second < 10 else 1000.0, second)
    assert pace.rate == 0.0, "nothing since ten seconds"
    pace.add(1050.0, 20)
    assert pace.rate == pytest.approx(10.0)


def test_what_was_started_anew_has_no_rate_below_zero() -> None:
    pace = Pace()
    pace.add(1000.0, 0.0)
    pace.add(5.0, 1.0)
    assert pace.rate is None
    pace.add(15.0, 2.0)
    assert pace.rate == 10.0


def test_buckets_are_the_rates_of_five_seconds_each_and_no_more_than_are_shown() -> None:
    pace = Pace()
    for second in range(2000):
        pace.add(float(second), float(second))
    assert BUCKET_S == 5.0
    assert list(pace.buckets) == [1.0] * boards.BUCKETS_KEPT


def test_a_master_that_was_started_anew_begins_with_its_own_throughput() -> None:
    board = Board("a")
    board.saw_cluster(cluster(tasks_done=1000), 0.0)
    board.saw_cluster(cluster(tasks_done=10, up_s=1.0), 1.0)
    assert board.throughput.rate is None


# --- Slaves and jobs ----------------------------------------------------------------------------


def test_the_worst_slaves_come_first_and_the_others_are_summed() -> None:
    board = Board("a")
    rows = [slave(f"s{number}", cpu_percent=number, slots_busy=1) for number in range(6)]
    rows += [slave("gone", SlaveState.LOST), slave("bad", SlaveState.QUARANTINED)]
    board.saw_slaves(rows, 0.0)
    board.saw_slaves([replace(row, metrics=Metrics(tasks_done=20)) for row in rows], 2.0)
    board.saw_slaves(rows, 2.5)
    board.saw_alerts([alert("s0")])
    shown, rest = board.slaves_by("worst", "", 5)
    assert [row.name for row in shown] == ["gone", "bad", "s0", "s5"]
    assert rest is not None
    assert (rest.slaves, rest.busy, rest.slots, rest.cpu_percent) == (4, 4, 8, 2.5)


@pytest.mark.parametrize(
    ("sort", "first"),
    [("name", "s1"), ("CPU", "s2"), ("memory", "s3"), ("latency", "s3"), ("tasks/s", "s1")],
)
def test_slaves_can_be_sorted(sort: str, first: str) -> None:
    board = Board("a")
    rows = [
        slave("s3", memory_percent=9.0, latency_s=1.0),
        slave("s2", cpu_percent=9.0),
        slave("s1"),
    ]
    board.saw_slaves(rows, 0.0)
    rows[2] = replace(rows[2], metrics=Metrics(tasks_done=5))
    board.saw_slaves(rows, 1.0)
    shown, rest = board.slaves_by(sort, "", 10)
    assert shown[0].name == first
    assert rest is None


def test_slaves_are_found_by_name_state_or_label() -> None:
    board = Board("a")
    board.saw_slaves([slave("alpha"), slave("beta", SlaveState.DRAINING)], 0.0)
    for wanted, names in (("ALP", ["alpha"]), ("drain", ["beta"]), ("site=", ["beta", "alpha"])):
        found, _ = board.slaves_by("worst", wanted, 10)
        assert sorted(row.name for row in found) == sorted(names)


def test_jobs_stand_in_the_order_in_which_they_are_served() -> None:
    board = Board("a")
    rows = [
        job("j1", JobState.DONE), job("j2", JobState.QUEUED), job("j3", priority=3),
        job("j4", JobState.FAILED), job("j5", JobState.QUEUED, priority=1), job("j6"),
    ]  # fmt: skip
    board.saw_jobs(rows, 0.0)
    assert [row.id for row in board.jobs_in_order()] == ["j6", "j3", "j5", "j2", "j4", "j1"]
    assert board.queue() == {1: (1, 58), 2: (2, 116), 3: (1, 58)}


def test_the_time_left_follows_from_the_rate() -> None:
    board = Board("a")
    board.saw_jobs([job("j1", done=40)], 0.0)
    assert board.left_s(job("j1")) is None
    board.saw_jobs([job("j1", done=50)], 1.0)
    assert board.left_s(job("j1", done=50)) == pytest.approx(5.0)


def test_the_picture_is_of_the_first_image_that_runs_or_of_the_one_that_was_picked() -> None:
    board = Board("a")
    rows = [job("j1", JobState.DONE), job("j2", kernel="echo", params=b""), job("j3"), job("j4")]
    board.saw_jobs(rows, 0.0)
    for picked, shown in (("", "j3"), ("j4", "j4"), ("j1", "j1")):
        row = board.pictured(picked)
        assert row is not None
        assert row.id == shown
    assert board.pictured("j2") is None, "it is no image"


def test_a_picture_stays_until_another_job_runs() -> None:
    board = Board("a")
    board.canvas_job = "j3"
    rows = [job("j1", JobState.DONE), job("j3", JobState.DONE), job("j4", JobState.QUEUED)]
    board.saw_jobs(rows, 0.0)
    assert board.pictured("") == rows[1]
    board.saw_jobs([*rows[:2], job("j4")], 1.0)
    assert board.pictured("") == job("j4")


# --- Keys ---------------------------------------------------------------------------------------


def test_keys_sort_filter_pause_pick_help_and_quit() -> None:
    board, screen = Board("a"), Screen()
    board.saw_jobs([job("j1"), job("j2")], 0.0)
    assert screen.press("s", board) is None
    assert screen.sort == "name"
    for key in ("/", "a", "q", "b", "backspace", "enter"):
        assert screen.press(key, board) is None
    assert (screen.filter, screen.typing) == ("aq", False)
    screen.press("p", board)
    assert screen.paused
    screen.press("?", board)
    assert screen.help
    for key, picked in (("j", "j1"), ("down", "j2"), ("j", "j2"), ("k", "j1"), ("up", "j1")):
        screen.press(key, board)
        assert screen.picked == picked
    screen.press("escape", board)
    assert (screen.filter, screen.picked, screen.help) == ("", "", False)
    assert screen.press("a", board) is Order.ACKNOWLEDGE
    assert screen.press("q", board) is Order.QUIT
    assert screen.press("ñ", board) is None


def test_a_filter_is_bounded_and_takes_no_control_characters() -> None:
    board, screen = Board("a"), Screen()
    for key in ("/", *100 * ["x"], "\u202e", "up"):
        screen.press(key, board)
    assert screen.filter == 60 * "x"
    screen.press("escape", board)
    assert (screen.filter, screen.typing) == ("", False)


def test_a_terminal_sends_keys_as_characters_and_sequences() -> None:
    assert keys_of("aé\x1b[A\x1b[B\x1bOA\r\x7f") == ["a", "é", "up", "down", "up", "enter",
                                                     "backspace"]  # fmt: skip
    assert keys_of("\x1b") == ["escape"]
    assert keys_of("\x1b[5~x\x1b[1;5Cy\x07") == ["x", "y"], "what nobody knows is left out"
    assert keys_of("\x1b[") == []


# --- Lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0, 1, 5, 9, 20])
def test_a_line_is_exactly_as_wide_as_it_must_be(width: int) -> None:
    line = lines.fitted([("日本", "bold"), ("abc", ""), ("日本", "red")], width)
    assert sum(segment.cell_length for segment in lines.segments(line)) == width


def test_bars_sparklines_and_numbers() -> None:
    assert lines.bar(50, 4) == "██··"
    assert lines.bar(130, 2) == "██"
    assert lines.sparkline([0, 1, 4], 4) == "  ▂█"[:1] + " ▂█"
    assert lines.sparkline([], 3) == "   "
    assert [lines.ago(age) for age in (-1, 59, 61, 7200, 200_000, 1e9)] == [
        "0s", "59s", "1m", "2h", "2d", "999d",
    ]  # fmt: skip
    assert [lines.count(value) for value in (0, 1.25, 12, 9999, 12345, 3.4e6, 5e10)] == [
        "0", "1.2", "12", "9,999", "12k", "3.4M", "50G",
    ]  # fmt: skip
    assert lines.cut("abcdef", 4) == "abc…"
    assert lines.cut("ab", 4, right=True) == "  ab"
