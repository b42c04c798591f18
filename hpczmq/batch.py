"""The main job: a list of jobs in, results on disk, a row for each.

Everything that can be wrong with the input is found before anything is started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hpczmq import wire
from hpczmq.client import Client
from hpczmq.cluster import LocalCluster, slots_each
from hpczmq.errors import (
    HpczmqError,
    JobFailed,
    LocalError,
    NoCluster,
    OutputError,
    ParameterError,
)
from hpczmq.futures import JobFuture
from hpczmq.jobfile import read
from hpczmq.kernels import get
from hpczmq.model import Job, JobInfo, JobState
from hpczmq.palettes import Look

if TYPE_CHECKING:
    # Numpy and the drawing come with it: every command loads this module, and few write results.
    from hpczmq.results import ResultWriter

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
    look: Look,
    check: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Hand jobs in, wait for them, write each one's results as soon as it has ended.

    Args:
        jobs: what to compute; they start by their priorities.
        client: connected to the cluster.
        writer: of the output folder.
        watcher: is told how it goes.
        look: of the pictures.
        check: raises when the cluster can't go on; called every now and then.

    Returns:
        A row a job, in their order. What is not done when this raises, or is interrupted, is
        cancelled on the cluster.
    """
    work: dict[JobFuture, Job] = {}
    folders = _Folders(writer)
    try:
        for job in jobs:
            work[client.submit(job, path=_PathOf(job, folders))] = job
        return _written(work, folders, watcher, look, check)
    finally:
        for future in work:
            future.cancel()
        folders.tidy()


def collect(
    infos: Iterable[JobInfo], client: Client, writer: ResultWriter, watcher: Watcher, look: Look
) -> list[Row]:
    """Wait for jobs that were handed in before, and write their results; they are not cancelled."""
    work: dict[JobFuture, Job] = {}
    folders = _Folders(writer)
    try:
        for info in infos:
            params = wire.unpack(info.params) if info.params else {}
            job = Job(info.kernel, params, info.name, info.priority)
            work[client.job(info.id, path=_PathOf(job, folders))] = job
        return _written(work, folders, watcher, look, client.check)
    finally:
        for future in work:  # here only: it leaves no file behind, and the job goes on
            future.fail(LocalError(f"{future.name}: nobody waits for it any more"))
        folders.tidy()


def follow(
    pending: set[Future[Any]], watcher: Watcher, check: Callable[[], None]
) -> Iterator[Future[Any]]:
    """Yield each future as it ends, and look after the rest meanwhile.

    Args:
        pending: what has not been yielded; more may be added on the way.
        watcher: is told that time passes.
        check: raises when the cluster can't go on; called as long as something is expected of it.
    """
    while pending:
        ended, _ = wait(pending, _LOOK_S, return_when="FIRST_COMPLETED")
        watcher.look()
        if any(isinstance(future, JobFuture) for future in pending):
            check()
        pending -= ended
        yield from ended


def _written(
    work: Mapping[JobFuture, Job],
    folders: _Folders,
    watcher: Watcher,
    look: Look,
    check: Callable[[], None],
) -> list[Row]:
    """Wait for all of the jobs, and write what becomes of them; their rows."""
    watcher.begin(list(work))
    rows: dict[str, Row] = {}
    # A large picture takes seconds to draw: in a thread of its own, so that the display goes on.
    # In one, since they would only take each other's disk.
    threads = ThreadPoolExecutor(1, "hpczmq writer")
    pending: set[Future[Any]] = {*work}
    try:
        for future in follow(pending, watcher, check):
            if isinstance(future, JobFuture):
                job = work[future]
                folder = folders(job, future.id)
                pending.add(threads.submit(write, job, future, folders.writer, folder, look))
            else:
                row: Row = future.result()
                rows[row.id] = row
                watcher.ended(row)
    finally:
        threads.shutdown(cancel_futures=True)
    return [rows[future.id] for future in work]


class _Folders:
    """The folders of a batch, each made when it is first asked for."""

    def __init__(self, writer: ResultWriter) -> None:
        self.writer = writer
        self._paths: dict[str, Path] = {}

    def __call__(self, job: Job, id: str) -> Path:
        if id not in self._paths:
            self._paths[id] = self.writer.folder(job.name or id)
        return self._paths[id]

    def tidy(self) -> None:
        """Take those away that nothing came into."""
        for path in self._paths.values():
            with suppress(OSError):  # there is something in it
                path.rmdir()


@dataclass(frozen=True, slots=True)
class _PathOf:
    """Where a job's counts go, once it has an id."""

    job: Job
    folder: Callable[[Job, str], Path]

    def __call__(self, id: str) -> Path:
        return self.folder(self.job, id) / "counts.npy"


def write(job: Job, future: JobFuture, writer: ResultWriter, folder: Path, look: Look) -> Row:
    """Write the files of a job that has ended; its row."""
    from hpczmq.results import Record, Share  # see the top

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
    info = future.info
    seconds, attempts = (info.ran_s, info.attempts) if info else (0.0, None)
    slaves = {name: Share(tally.tasks, tally.seconds) for name, tally in future.slaves.items()}
    record = Record(
        future.id,
        job,
        state,
        future.tasks,
        seconds,
        params,
        slaves=slaves,
        attempts=attempts,
        used=kernel.used(future.params),
        cause=cause,
    )
    with after_the_work(future.name, future.id, folder):
        writer.write(folder, record, result, look)
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
def after_the_work(name: str, id: str, folder: Path) -> Iterator[None]:
    """What can't be written now was computed: that is a job that failed, and no bad usage.

    Raises:
        JobFailed: instead of OutputError, with what was kept.
    """
    try:
        yield
    except OutputError as error:
        files = sorted(str(path) for path in folder.glob("*") if path.is_file())
        kept = f"kept: {', '.join(files)}" if files else "nothing of it is on the disk"
        again = f"`hpczmq fetch {id}` writes it elsewhere, while a master has it"
        raise JobFailed(
            f"{name} was computed, and not written: {error} ({kept}; {again})"
        ) from error


@contextmanager
def engine(
    master: str | None, timeout_s: float | None, **sizes: Any
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
