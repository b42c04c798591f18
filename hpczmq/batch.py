"""The main job: a list of jobs in, results on disk, a row for each.

Everything that can be wrong with the input is found before anything is started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hpczmq.client import Client
from hpczmq.cluster import LocalCluster, slots_each
from hpczmq.errors import HpczmqError, NoCluster, ParameterError
from hpczmq.futures import JobFuture
from hpczmq.jobfile import read
from hpczmq.kernels import get
from hpczmq.model import Job, JobState
from hpczmq.results import Record, ResultWriter, Share

#: How often the display looks at what has arrived, in seconds.
_LOOK_S = 0.1


class Watcher(Protocol):
    """Who shows how the batch goes."""

    def begin(self, jobs: Sequence[JobFuture]) -> None:
        """The jobs were handed in."""

    def look(self) -> None:
        """Some time has passed."""

    def ended(self, row: Row) -> None:
        """A job's files are written."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one job of a batch."""

    id: str
    name: str
    kernel: str
    #: The work in a few words.
    what: str
    #: The kernel's parameters, defaults filled in.
    params: dict[str, Any]
    priority: int
    state: str
    tasks: int
    #: From the first task's start to the job's end.
    seconds: float
    #: The folder of its files, and the picture in it if there is one.
    folder: str
    picture: str
    #: Why there is no result; empty if there is.
    cause: str

    @property
    def failed(self) -> bool:
        """Whether there is no result."""
        return self.state != JobState.DONE.name.lower()


def load(path: str) -> list[Job]:
    """The jobs of a file, each accepted by its kernel; JobFileError has every fault."""
    return read(path, faults)


def faults(job: Job) -> list[ParameterError]:
    """Everything that a job's kernel has against it."""
    try:
        return get(job.kernel).faults(job.params)
    except ParameterError as error:
        return [error]


def require(jobs: Sequence[Job], **sizes: Any) -> None:
    """Raise unless this machine itself can run all of the jobs, on a cluster of these sizes.

    Raises:
        ParameterError: there is no such cluster.
        KernelMissing: a job's kernel is not installed here.
    """
    slots_each(**sizes)
    for job in jobs:
        kernel = get(job.kernel)
        kernel.require(kernel.parse(job.params))


def run(
    jobs: Sequence[Job],
    client: Client,
    writer: ResultWriter,
    watcher: Watcher,
    palette: str,
    check: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Hand jobs in, wait for them, write each one's results as soon as it has ended.

    Args:
        jobs: what to compute; they start by their priorities.
        client: connected to the cluster.
        writer: of the output folder.
        watcher: is told how it goes.
        palette: of the pictures.
        check: raises when the cluster can't go on; called every now and then.

    Returns:
        A row a job, in their order. What is not done when this raises, or is interrupted, is
        cancelled on the cluster.
    """
    folders: dict[str, Path] = {}

    def folder(job: Job, id: str) -> Path:
        if id not in folders:
            folders[id] = writer.folder(job.name or id)
        return folders[id]

    futures: list[JobFuture] = []
    rows: dict[str, Row] = {}
    try:
        for job in jobs:
            path = _PathOf(job, folder)
            futures.append(client.submit(job, path=path))
        watcher.begin(futures)
        while len(rows) < len(futures):
            pending = [future for future in futures if future.id not in rows]
            wait(pending, _LOOK_S, return_when="FIRST_COMPLETED")
            watcher.look()
            check()
            for job, future in zip(jobs, futures, strict=True):
                if future.id not in rows and future.done():
                    target = folder(job, future.id)
                    rows[future.id] = row = write(job, future, writer, target, palette)
                    watcher.ended(row)
    finally:
        for future in futures:
            future.cancel()
    return [rows[future.id] for future in futures]


@dataclass(frozen=True, slots=True)
class _PathOf:
    """Where a job's counts go, once it has an id."""

    job: Job
    folder: Callable[[Job, str], Path]

    def __call__(self, id: str) -> Path:
        return self.folder(self.job, id) / "counts.npy"


def write(job: Job, future: JobFuture, writer: ResultWriter, folder: Path, palette: str) -> Row:
    """Write the files of a job that has ended; its row."""
    kernel = get(job.kernel)
    parsed = kernel.parse(job.params)
    params = kernel.plain(parsed)
    result, cause, state = None, "", JobState.DONE
    try:
        result = future.result(0)
    except CancelledError:
        state, cause = JobState.CANCELLED, "cancelled"
    except NoCluster:
        raise
    except HpczmqError as error:
        state, cause = JobState.FAILED, str(error)
    seconds = future.info.ran_s if future.info else 0.0
    slaves = {name: Share(tally.tasks, tally.seconds) for name, tally in future.slaves.items()}
    record = Record(future.id, job, state, future.tasks, seconds, params, slaves, cause=cause)
    writer.write(folder, record, result, palette)
    picture = folder / "image.png"
    return Row(
        future.id,
        job.name,
        job.kernel,
        kernel.describe(parsed),
        params,
        job.priority,
        state.name.lower(),
        future.tasks,
        seconds,
        str(folder),
        str(picture) if picture.exists() else "",
        cause,
    )


@contextmanager
def engine(
    jobs: Sequence[Job], master: str | None, timeout_s: float | None, **sizes: Any
) -> Iterator[tuple[Client, Callable[[], None]]]:
    """A client of the named master, or of an embedded cluster that lives as long as the block.

    Yields:
        The client, and a function that raises once the cluster can't go on.
    """
    if master:
        with Client(master, timeout=timeout_s) as client:
            yield client, client.check
        return
    with LocalCluster(**sizes) as cluster, Client(cluster.address, timeout=timeout_s) as client:
        yield client, cluster.check
