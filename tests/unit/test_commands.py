from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest

from hpczmq import batch, commands, limits, observing
from hpczmq.commands import Target
from hpczmq.dashboard import shell
from hpczmq.errors import OutputError, Refused
from hpczmq.model import Job, JobInfo, JobState
from hpczmq.palettes import Look
from tests.unit.test_output import info


class Cluster:
    """A client whose master takes two jobs at most, and knows of none but those it is told."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.cancelled: list[str] = []
        #: What it answers, one after the other.
        self.answers: list[Sequence[JobInfo]] = []
        self.error: type[BaseException] = AssertionError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def hand_in(self, job: Job) -> str:
        """See `Client.hand_in`."""
        if len(self.taken) == 2:
            raise self.error("full", "two are enough")
        self.taken.append(f"j{len(self.taken) + 1}")
        return self.taken[-1]

    def cancel(self, ids: Iterable[str]) -> tuple[str, ...]:
        """See `Client.cancel`."""
        self.cancelled += ids
        return tuple(ids)

    def jobs(self, ids: Iterable[str] = ()) -> Sequence[JobInfo]:
        """See `Client.jobs`."""
        return self.answers.pop(0)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """What every target's client is."""
    fake = Cluster()
    monkeypatch.setattr(Target, "client", lambda self: fake)
    monkeypatch.setattr(commands, "_ASK_S", 0.0)
    return fake


def target() -> Target:
    """A cluster that nobody looks for, which answers in JSON."""
    return Target("127.0.0.1:1", None, True)


def ended(id: str, state: JobState = JobState.DONE) -> JobInfo:
    """A job's row."""
    return replace(info(), id=id, state=state)


JOBS = [Job("echo", {"value": number}) for number in range(3)]


@pytest.mark.parametrize("error", [Refused, KeyboardInterrupt])
def test_jobs_are_handed_in_all_or_none(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], error: type[BaseException]
) -> None:
    cluster.error = error
    with pytest.raises(error):
        commands.submit(target(), JOBS)
    assert cluster.cancelled == ["j1", "j2"]
    assert capsys.readouterr().out == ""


def test_the_ids_of_jobs_that_were_handed_in_are_printed(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.submit(target(), JOBS[:2]) == 0
    assert json.loads(capsys.readouterr().out) == ["j1", "j2"]
    assert not cluster.cancelled


def test_wait_asks_until_all_have_ended(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = ended("a"), ended("b", JobState.FAILED)
    cluster.answers = [[a, replace(b, state=JobState.RUNNING)], [b, a]]
    assert commands.wait_for(target(), ["a", "b", "a"]) == 1
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == ["a", "b"]


def test_a_job_that_the_answer_leaves_out_is_not_waited_for(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.answers = [[ended("a")]] * 3
    words = "the master says nothing of b: see `hpczmq jobs`"
    with pytest.raises(Refused, match=words):
        commands.wait_for(target(), ["a", "b"])
    with pytest.raises(Refused, match=words):
        commands.fetch(target(), ["a", "b"], tmp_path, Look())
    with pytest.raises(Refused, match=words):
        commands.job(target(), "b")
    assert not [*tmp_path.iterdir()]


def long_name(folder: Path) -> Path:
    return folder / f"{'a' * 300}.png"


def no_folder(folder: Path) -> Path:
    return folder / "nosuch" / "picture.png"


def a_folder(folder: Path) -> Path:
    return folder


def not_ours(folder: Path) -> Path:
    return Path("/proc/picture.png")


@pytest.mark.parametrize("place", [long_name, no_folder, a_folder, not_ours])
def test_a_picture_that_can_not_be_written_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any
) -> None:
    monkeypatch.setattr(batch, "engine", lambda *_, **__: pytest.fail("it was started"))
    job = Job("julia", {"width": 8, "height": 8, "iterations": 9})
    with pytest.raises(OutputError, match=str(place(tmp_path))) as caught:
        commands.render(target(), job, place(tmp_path), Look(), slaves=1)
    assert caught.value.exit_code == 2
    assert not [*tmp_path.iterdir()]


def test_counts_that_make_a_large_picture_are_put_together_in_a_file_that_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "png_pixels_max", 8 * 8 - 1)
    monkeypatch.setattr(limits, "overview_side_pixels_max", 4)
    asked = []

    def counts(target: Target, job: Job, path: Any, sizes: Any) -> Any:
        asked.append(path("j1"))
        np.save(asked[0], np.arange(64, dtype=np.uint16).reshape(8, 8))
        asked[0].with_name(asked[0].name + ".npy").rename(asked[0])
        return np.load(asked[0], mmap_mode="r")

    monkeypatch.setattr(commands, "_counts", counts)
    job = Job("julia", {"width": 8, "height": 8, "iterations": 99, "algorithm": "Numpy"})
    assert commands.render(target(), job, tmp_path / "a.png", Look(), slaves=1) == 0
    assert [path.parent for path in asked] == [tmp_path]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.tif"]


def test_counts_of_a_usual_picture_are_put_together_in_memory(tmp_path: Path) -> None:
    with commands._place_of_counts(tmp_path / "a.png", limits.png_pixels_max) as path:
        assert path is None


def test_ctrl_c_is_how_one_leaves_the_dashboard(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def watch(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(shell, "Watch", watch)
    looking = target()
    looking.output.as_json = False
    assert observing.show_top(looking, 1.0, once=False, svg=None) == 0
    assert capsys.readouterr() == ("", "")
