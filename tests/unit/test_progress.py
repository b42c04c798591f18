from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from hpczmq.batch import Row
from hpczmq.futures import JobFuture
from hpczmq.kernels import get
from hpczmq.model import JobInfo
from hpczmq.progress import BatchProgress
from tests.unit.test_output import RUDE, info


class HandClock:
    """A clock that is set by hand."""

    now_s = 0.0

    def now(self) -> float:
        """The time that it was set to."""
        return self.now_s


def console(terminal: bool, width: int = 80) -> Console:
    """A screen that remembers."""
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)


def said(screen: Console) -> str:
    """All that was printed on it."""
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def future(name: str = "", id: str = "j1") -> JobFuture:
    """A job of nobody's."""
    kernel = get("julia")
    params = kernel.parse({"width": 640, "height": 480, "iterations": 1000})
    return JobFuture(id, name, 40, kernel, params, None, lambda id: None)


def row(state: str, cause: str = "") -> Row:
    """What became of a job."""
    params: dict[str, Any] = {}
    return Row("j1", "first", "julia", "", params, 2, state, 40, 1.25, "out/first", "", cause)


def test_one_job_is_not_1_jobs_and_is_called_by_its_name() -> None:
    screen = console(False)
    with BatchProgress(screen) as progress:
        progress.begin([future()])
        progress.ended(row("done"))
    # Older versions of rich end with an empty line.
    lines = said(screen).rstrip("\n").split("\n")
    assert lines == ["1 job, 40 tasks", "first (j1): done in 1.25 s"]


def test_what_a_kernel_says_does_not_reach_the_terminal_raw() -> None:
    screen = console(False)
    with BatchProgress(screen) as progress:
        progress.ended(row("failed", RUDE))
    assert "\x1b" not in said(screen)
    assert "\\x1b[2J\\x07gone" in said(screen)


@pytest.mark.parametrize(("width", "label", "rate"), [(80, "480", False), (120, "tions", True)])
def test_a_bar_that_has_ended_keeps_its_rate_if_there_is_room(
    width: int, label: str, rate: bool
) -> None:
    screen = console(True, width)
    job = future("first")
    with BatchProgress(screen) as progress:
        progress.begin([job])
        job.arrived_tasks = 40
        job.info = replace(info(), ran_s=2.0)
        progress.look()
    last = [line for line in said(screen).splitlines() if "40/40" in line][-1]
    assert f"{job.label.partition(label)[0]}{label} " in last
    assert "━━━━━━━━━━" in last
    assert ("20/s" in last) is rate


@pytest.mark.parametrize("running", [0, 1])
def test_when_nothing_comes_the_reason_is_told_once_unless_it_is_the_work_itself(
    monkeypatch: pytest.MonkeyPatch, running: int
) -> None:
    clock, asked = HandClock(), []
    monkeypatch.setattr("hpczmq.progress.Clock", lambda: clock)

    def ask(ids: list[str]) -> Sequence[JobInfo]:
        asked.append(ids)
        return [replace(info(id="j0"), running=running), info("no slave offers julia:Numpy")]

    screen = console(False)
    with BatchProgress(screen, ask) as progress:
        progress.begin([future()])
        for _ in range(10):
            progress.look()
            clock.now_s += 1.0
    assert asked == [["j1"], ["j1"]]
    assert said(screen).count("j1: no slave offers julia:Numpy") == 1 - running
