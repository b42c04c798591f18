"""One screen of the dashboard, on terminals of all sizes; and the picture in it."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.segment import Segment

from hpczmq import limits, wire
from hpczmq.dashboard.board import Board
from hpczmq.dashboard.canvas import Canvas
from hpczmq.dashboard.frame import Frame
from hpczmq.dashboard.screen import Screen
from hpczmq.dashboard.shell import Overlook
from hpczmq.dashboard.terminal import Painter
from hpczmq.happened import EventInfo
from hpczmq.kernels import get
from hpczmq.kernels.base import CancelFlag
from hpczmq.mapping import Drawing
from hpczmq.metrics import AlertState, Vitals
from hpczmq.model import JobState, Metrics, NodeMetrics, SlaveState
from hpczmq.observing import as_svg
from hpczmq.palettes import Look
from tests.unit.test_board import alert, cluster, job, slave

SIZES = [(80, 24), (200, 60), (40, 8), (39, 8), (60, 10), (100, 30), (140, 12), (1, 1), (300, 90)]


def canvas(width: int = 64, height: int = 48, upto: int | None = None) -> Canvas:
    """An image of which some of the tiles have arrived."""
    kernel: Any = get("julia")
    params = kernel.parse({"algorithm": "Numpy", "width": width, "height": height, "tile": 16,
                           "iterations": 60})  # fmt: skip
    made = Canvas(kernel, params)
    for tile in list(kernel.split(params))[:upto]:
        made.place(tile, kernel.run(params, tile, CancelFlag()))
        made.arrived_tasks += 1
    return made


def board(slaves: int = 3, picture: bool = True) -> Board:
    """A cluster at work."""
    made = Board("tcp://192.168.56.10:5001")
    for second in (0.0, 1.0):
        made.saw_cluster(cluster(tasks_done=10 + 500 * int(second)), second)
        rows = [
            slave(f"s{n}", cpu_percent=n % 100, slots_busy=1, tasks_done=int(second) * n)
            for n in range(slaves)
        ]
        made.saw_slaves([*rows, slave("lost one", SlaveState.LOST)], second)
        made.saw_jobs(
            [job("j1", JobState.DONE), job("j2", done=40 + int(second) * 10),
             job("j3", JobState.QUEUED, priority=1, cause="waits: every slot is taken")], second,
        )  # fmt: skip
    made.saw_alerts([alert()])
    made.saw_events([EventInfo(3.0, "slave", "s1", "", "slave s1 joined with 2 slots")], 1.0)
    if picture:
        made.canvas, made.canvas_job = canvas(upto=6), "j2"
    return made


def drawn(made: Board, width: int, height: int, coloured: bool = True, **screen: Any) -> list[str]:
    """A frame as text, which is exactly as large as the terminal."""
    told = Frame(made, Screen(**screen), 2.0).lines(width, height, coloured)
    assert len(told) == height
    assert {sum(s.cell_length for s in line) for line in told} == {width}
    assert all("\n" not in s.text for line in told for s in line)
    return ["".join(segment.text for segment in line) for line in told]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("slaves", [0, 3, 200])
def test_a_frame_is_exactly_as_large_as_the_terminal(size: tuple[int, int], slaves: int) -> None:
    for picture in (True, False):
        made = board(slaves, picture)
        drawn(made, *size)
        drawn(made, *size, coloured=False, help=True)
        drawn(made, *size, filter="s1", paused=True, picked="j3", told="acknowledged")
        drawn(made, *size, typing=True, filter="x" * 50)
        made.no_alerts("none of 2 memorias answered")
        made.failed("the master has not answered in 10 s")
        made.away_s = 7.0
        drawn(made, *size)
    drawn(Board("tcp://a:1"), *size)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=str)
def test_a_usual_terminal_shows_all_there_is(size: tuple[int, int]) -> None:
    text = "\n".join(drawn(board(), *size))
    for words in (
        "lab", "192.168.56.10:5001", "2 slaves", "3/4 slots busy", "500 tasks/s", "queue",
        "high 1", "medium 1", "s2", "lost, heard", "j2", "name of j2", "10/s", "5s left",
        "waits: every", "picture j2", "▀", "CPU of s1 at 99 %", "slave s1 joined", "q quit",
    ):  # fmt: skip
        assert words in text, words


def test_a_large_terminal_shows_a_larger_picture_and_more_slaves() -> None:
    small, large = drawn(board(200), 80, 24), drawn(board(200), 200, 60)
    assert "".join(large).count("▀") > 4 * "".join(small).count("▀") > 100
    assert any(re.search(r"195 more +49% CPU on average, 195/390 slots busy", s) for s in small)
    assert sum("●" in line for line in large) > 15


def test_an_insecure_cluster_says_so_in_red() -> None:
    made = board()
    assert "insecure" not in "\n".join(drawn(made, 80, 24))
    made.saw_cluster(cluster(insecure=True), 1.5)
    told = Frame(made, Screen(), 2.0).lines(100, 24)
    said = [segment for segment in told[0] if "insecure" in segment.text]
    assert [str(segment.style) for segment in said] == ["bold red"]


def test_a_master_that_is_away_is_told_with_what_it_said_last() -> None:
    made = board()
    made.away_s = 12.0
    text = "\n".join(drawn(made, 80, 24))
    assert "the master has been away for 12s" in text
    assert "s2" in text


def test_cores_have_a_bar_each_where_they_are_told_apart_and_few() -> None:
    made = board(picture=False)
    made.cores = {"s1": (0.0, 50.0, 100.0), "s2": 9 * (50.0,)}
    one, two = (next(s for s in drawn(made, 80, 24) if f"● {name}" in s) for name in ("s1", "s2"))
    assert "▁▄█" in one
    assert "▄" not in two, "eight is what there is room for"
    made.saw_metrics([NodeMetrics("s1", 0.0, Metrics(), Vitals(cores_percent=(1.0, 2.0)))])
    assert made.cores == {"s1": (1.0, 2.0)}


def test_an_alert_that_somebody_looks_after_is_dimmed() -> None:
    made = board(picture=False)
    made.saw_alerts([replace(alert(), state=AlertState.ACKNOWLEDGED)])
    assert any("✓ warning" in line for line in drawn(made, 80, 24))


def test_without_colours_the_picture_is_made_of_letters() -> None:
    text = "\n".join(drawn(board(), 80, 24, coloured=False))
    assert "▀" not in text
    assert len({*text} & {*".:-=+*#%@"}) > 3


def test_the_picture_has_the_colours_of_the_image_and_none_where_nothing_has_arrived() -> None:
    half, whole = canvas(upto=6), canvas()
    pixels = half.pixels(32, 24)
    assert pixels.shape == (24, 32)
    assert (pixels[:4, 16:] >= 0).all()
    assert half.pixels(32, 24) is pixels, "nothing new, nothing drawn"
    full = whole.pixels(64, 48)
    assert full.shape == (48, 64)
    assert full.min() >= 0
    assert len(whole.colours) == 768
    kernel: Any = get("julia")
    params = kernel.parse({"algorithm": "Numpy", "width": 64, "height": 48, "tile": 4096,
                           "iterations": 60})  # fmt: skip
    array = np.zeros((48, 64), np.uint16)
    for tile in kernel.split(params):
        kernel.place(params, kernel.run(params, tile, CancelFlag()), tile, array)
    assert (full == Drawing(array, 60, Look()).indices(array)).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1000, 7), (5, 900), (64, 48)], ids=str)
def test_a_picture_of_any_shape_fits_any_place(size: tuple[int, int]) -> None:
    made = canvas(*size)
    for columns, rows in ((1, 1), (10, 40), (500, 3), (400, 400)):
        pixels = made.pixels(columns, rows)
        assert pixels.shape[0] <= rows
        assert pixels.shape[1] <= columns
        assert pixels.min() >= 0


def test_a_tile_that_does_not_fit_is_left_out() -> None:
    made = canvas(upto=0)
    tile = made._tiles[0]
    for counts in (np.zeros((1, 1), np.uint16), np.zeros((16, 16), float), None):
        made.place(tile, counts)
    assert made.version == 0
    assert (made.pixels(8, 8) == -1).all()


class OneJob:
    """A client whose job can be looked at; tells what was."""

    def __init__(self) -> None:
        self.followed: list[str] = []

    def look_on(self, id: str, sink: Any) -> Any:
        self.followed.append(id)
        return lambda: self.followed.remove(id)


def test_an_image_that_is_too_large_is_not_looked_at() -> None:
    side = 20_000
    assert 2 * side**2 > limits.overlooked_bytes_max
    client, made = OneJob(), Board("a")
    overlook = Overlook(client)  # type: ignore[arg-type]
    params = wire.pack({"algorithm": "Numpy", "width": side, "height": side, "iterations": 100})
    made.saw_jobs([job("j1", params=params)], 0.0)
    overlook.follow(made, "")
    assert (made.canvas, client.followed) == (None, [])
    assert "are not looked at" in made.no_canvas


def test_one_job_is_looked_at_at_a_time() -> None:
    client, made = OneJob(), Board("a")
    overlook = Overlook(client)  # type: ignore[arg-type]
    made.saw_jobs([job("j1"), job("j2"), job("j3", kernel="echo", params=b"")], 0.0)
    for picked, followed in (("", ["j1"]), ("j2", ["j2"]), ("j3", []), ("", ["j1"])):
        overlook.follow(made, picked)
        assert client.followed == followed
    assert isinstance(made.canvas, Canvas)


def test_an_svg_of_a_frame_fetches_nothing() -> None:
    svg = as_svg(Frame(board(), Screen(), 2.0, height=24), 80, "hpczmq top", "a b")
    assert "<svg" in svg
    assert "@font-face" not in svg
    assert "url(http" not in svg
    assert "lab" in svg


def test_only_lines_that_changed_are_painted() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=10, height=2, color_system=None)
    painter = Painter(console)
    one, two, three = [Segment("one       ")], [Segment("two       ")], [Segment("three     ")]
    painter.paint([one, two])
    assert "one" in file.getvalue()
    file.truncate(0)
    painter.paint([one, three])
    assert "three" in file.getvalue()
    assert "one" not in file.getvalue()
    file.truncate(0)
    painter.paint([one, three])
    assert file.getvalue().strip("\0") == ""
