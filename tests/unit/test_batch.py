from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpczmq import batch
from hpczmq.errors import JobFailed, NoCluster, OutputError
from hpczmq.futures import JobFuture
from hpczmq.kernels import get
from hpczmq.model import Job, JobState, Outcome, Status
from hpczmq.palettes import Look
from hpczmq.results import ResultWriter
from hpczmq.wire import pack
from tests.unit.test_output import info

JOBS = [Job("echo", {"value": number}, f"job{number}") for number in range(3)]


class Cluster:
    """A client whose jobs end when they are told to."""

    def __init__(self) -> None:
        self.futures: list[JobFuture] = []
        self.cancelled: list[str] = []

    def submit(self, job: Job, *, path: Any) -> JobFuture:
        """See `Client.submit`."""
        kernel, id = get(job.kernel), f"j{len(self.futures) + 1}"
        params = kernel.parse(job.params)
        path(id)
        future = JobFuture(id, job.name, 1, kernel, params, None, self.cancelled.append)
        self.futures.append(future)
        return future

    def job(self, id: str, *, path: Any) -> JobFuture:
        """See `Client.job`."""
        return self.submit(JOBS[len(self.futures)], path=path)

    def check(self) -> None:
        """See `Client.check`."""
        if any(future.done() for future in self.futures):
            raise NoCluster("gone")


def end(future: JobFuture) -> None:
    """The job's one task is done."""
    future.take("slave", [Outcome(0, Status.VALUE, 0.5, pack("hola"))], [])
    future.over(replace(info(), state=JobState.DONE, attempts=3))


class Watcher:
    """Ends the next job each time it looks, and keeps what it is told."""

    def __init__(self, cluster: Cluster, most: int = 100) -> None:
        self.cluster, self.most = cluster, most
        self.rows: list[batch.Row] = []
        self.threads: set[int] = set()

    def begin(self, jobs: Any) -> None:
        """See `batch.Watcher`."""
        self.look()

    def look(self) -> None:
        """See `batch.Watcher`."""
        self.threads.add(threading.get_ident())
        for future in self.cluster.futures[: self.most]:
            if not future.done():
                end(future)
                return

    def ended(self, row: batch.Row) -> None:
        """See `batch.Watcher`."""
        self.rows.append(row)


def test_results_are_written_by_a_thread_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers = set()
    original = ResultWriter.write

    def write(self: ResultWriter, *arguments: Any) -> None:
        writers.add(threading.get_ident())
        original(self, *arguments)

    monkeypatch.setattr(ResultWriter, "write", write)
    cluster: Any = Cluster()
    watcher = Watcher(cluster)
    rows = batch.run(JOBS, cluster, ResultWriter(tmp_path), watcher, Look())
    assert [(row.id, row.name, row.state) for row in rows] == [
        ("j1", "job0", "done"), ("j2", "job1", "done"), ("j3", "job2", "done"),
    ]  # fmt: skip
    assert sorted(watcher.rows, key=lambda row: row.id) == rows
    assert len(writers) == 1
    assert not writers & watcher.threads
    assert json.loads((tmp_path / "job1" / "job.json").read_text())["attempts"] == 3


def test_a_run_that_ends_early_leaves_no_empty_folder(tmp_path: Path) -> None:
    cluster: Any = Cluster()
    watcher = Watcher(cluster, most=1)

    def check() -> None:
        if watcher.rows:
            raise NoCluster("gone")

    with pytest.raises(NoCluster, match="gone"):
        batch.run(JOBS, cluster, ResultWriter(tmp_path), watcher, Look(), check)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job0", "results.csv"]
    assert cluster.cancelled == ["j2", "j3"]


def test_jobs_that_are_fetched_go_on_when_the_fetching_ends_early(tmp_path: Path) -> None:
    cluster: Any = Cluster()
    infos = [replace(info(), id=f"j{n}", name=f"job{n}", params=pack({"value": n})) for n in (1, 2)]
    with pytest.raises(NoCluster, match="gone"):
        batch.collect(infos, cluster, ResultWriter(tmp_path), Watcher(cluster, 1), Look())
    assert all(future.done() for future in cluster.futures)
    assert not cluster.cancelled
    assert not [*tmp_path.iterdir()]


def test_the_report_of_an_image_says_which_short_cuts_it_took(tmp_path: Path) -> None:
    cluster: Any = Cluster()
    job = Job("julia", {"width": 4, "height": 4, "c_re": -1.0, "c_im": 0.0, "center_y": 0.5})
    future = cluster.submit(job, path=lambda id: tmp_path / id)
    future.over(replace(info(), state=JobState.FAILED, cause="no slave", attempts=1))
    batch.write(job, future, ResultWriter(tmp_path), tmp_path, Look())
    report = json.loads((tmp_path / "job.json").read_text())
    assert report["used"] == {"tile": 128, "symmetry": False, "trap": 2}


def test_what_can_not_be_written_after_the_work_is_a_job_that_failed_and_says_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(self: ResultWriter, folder: Path, *arguments: Any) -> None:
        (folder / "counts.npy").touch()
        raise OutputError(f"{folder / 'image.png'}: No space left on device: free some space there")

    monkeypatch.setattr(ResultWriter, "write", write)
    cluster: Any = Cluster()
    with pytest.raises(JobFailed, match=r"job0 was computed, and not written: .*image.png") as told:
        batch.run(JOBS[:1], cluster, ResultWriter(tmp_path), Watcher(cluster), Look())
    assert told.value.exit_code == 1
    assert f"kept: {tmp_path / 'job0' / 'counts.npy'}" in str(told.value)
    assert "`hpczmq fetch j1` writes it elsewhere" in str(told.value)
