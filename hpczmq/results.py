"""Results on disk: a folder a job, and one table for all of them.

    OUT/<name>/counts.npy    counts of an image           OUT/results.csv    a line a job
    OUT/<name>/image.png     its picture
    OUT/<name>/image.tif     all of it, if it is too large for a PNG file
    OUT/<name>/result.npy    any other array
    OUT/<name>/result.json   any other value
    OUT/<name>/job.json      what was run, where, for how long; written last

`<name>` is the job's name, or its id. In one batch a second job of the same name gets `<name>-2`,
so nothing that a batch made is lost in it. A folder of an earlier run is used again: each file is
replaced whole, and those that the new result does not have are removed. `job.json` holds the
digest of the result beside it. The table is only ever added to, by several processes at once if
need be, so it is the history of the folder.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpczmq._version import __version__
from hpczmq.assembler import Tally, tally
from hpczmq.atomic import discard, output_error, replacing, temporary
from hpczmq.errors import ParameterError
from hpczmq.imagefile import write_picture
from hpczmq.jsontext import document
from hpczmq.model import Job, JobState, check_name
from hpczmq.palettes import Look
from hpczmq.plain import cell

#: Columns of results.csv. New ones go to the end: scripts count on the order.
COLUMNS: Final = (
    "id",
    "name",
    "kernel",
    "algorithm",
    "width",
    "height",
    "iterations",
    "priority",
    "state",
    "tasks",
    "seconds",
    "iterations_total",
    "digest",
    "folder",
)

_TABLE: Final = "results.csv"
#: How it is opened. A link would have us write into whatever file somebody chose.
_APPEND: Final = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW
_FILES: Final = ("counts.npy", "image.png", "image.tif", "result.npy", "result.json")
_USUAL: Final = Look()
#: File systems take names of 255 bytes; a `-2` and a digest have to fit as well.
_NAME_BYTES_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Share:
    """What one slave did of a job."""

    #: Tasks whose result came from it.
    tasks: int
    #: Run time of the kernel in them, added up, wall clock.
    seconds: float


@dataclass(frozen=True, slots=True)
class Record:
    """How a job went: all that `job.json` says beside the result's digest."""

    id: str
    job: Job
    state: JobState
    tasks: int
    #: From the first task's start to the job's end, wall clock.
    seconds: float
    #: Every parameter of the kernel, defaults filled in (`Kernel.plain`).
    params: Mapping[str, Any]
    slaves: Mapping[str, Share] = field(default_factory=dict)
    #: Executions that were started, repeated ones too; None: not known.
    attempts: int | None = None
    #: What of the kernel's options was used (`Kernel.used`).
    used: Mapping[str, Any] = field(default_factory=dict)
    #: Why there is no result; empty if there is.
    cause: str = ""
    #: The version that ran it.
    software: str = __version__


class ResultWriter:
    """Writes the results of one batch: one thread makes the folders, one at a time writes.

    Args:
        out: the folder for all of them; made if it is not there.

    Raises:
        OutputError: it can't be made or written, found out now and not after the work.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        #: Folders of this batch by device and inode: names that differ only in case, or in how
        #: an accent is composed, are one folder on some file systems.
        self._taken: set[tuple[int, int]] = set()
        probe = temporary(out / "probe")
        table = out / _TABLE
        path = out
        try:
            out.mkdir(parents=True, exist_ok=True)
            probe.touch(exist_ok=False)
            discard(probe)
            path = table
            if table.exists():
                os.close(os.open(table, _APPEND))
        except OSError as error:
            raise output_error(path, error) from error

    def folder(self, name: str) -> Path:
        """Make the folder of one job; called once a job, in the order of the batch.

        Args:
            name: the job's name, or its id when it has none.

        Raises:
            ParameterError: it can't be the name of a folder.
            OutputError: it can't be made.
        """
        check_name(name)
        if not name:  # the id is what a master says
            raise ParameterError("name", name, "must not be empty: a job goes by its id then")
        name = _fitting(name)
        number = 1
        while True:
            path = self.out / (name if number == 1 else f"{name}-{number}")
            number += 1
            if path.name.casefold() == _TABLE:
                continue
            try:
                path.mkdir(exist_ok=True)
                status = path.stat()
            except OSError as error:
                raise output_error(path, error) from error
            if (status.st_dev, status.st_ino) not in self._taken:
                if path.is_symlink():  # it would lead us out of the folder
                    raise output_error(path, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))
                self._taken.add((status.st_dev, status.st_ino))
                return path

    def write(self, folder: Path, record: Record, result: Any = None, look: Look = _USUAL) -> None:
        """Write all files of one job, and its line in the table.

        Args:
            folder: what `folder` gave for this job.
            record: how it went. Only a job that is DONE has a result to write.
            result: a (H, W) array of unsigned counts, if the parameters have `iterations`; any
                other array; or any plain value. Counts that are mapped from the folder's own
                counts.npy (`Assembler`) are not written a second time.
            look: of the picture.

        Raises:
            ParameterError: there is no such look.
            OutputError: a file can't be written.
        """
        written: set[str] = set()
        total: int | str = ""
        summed = ""
        if record.state is JobState.DONE:
            if isinstance(result, np.ndarray):
                written, summary = _write_array(folder, record, result, look)
                summed = summary.digest
                if "counts.npy" in written:
                    total = summary.total
            else:
                content = _json(result)
                summed = hashlib.sha256(content).hexdigest()
                written = {"result.json"}
                _write_bytes(folder / "result.json", content)
        for name in set(_FILES) - written:
            try:
                (folder / name).unlink(missing_ok=True)
            except OSError as error:
                raise output_error(folder / name, error) from error
        _write_bytes(folder / "job.json", _json(_report(record, summed, total)))
        self._append(_row(record, summed, total, folder))

    def _append(self, row: Mapping[str, Any]) -> None:
        """Add a line with one write, which the system puts at the end undivided."""
        path = self.out / _TABLE
        try:
            if not path.exists():
                _start_table(path)
            table = os.open(path, _APPEND)
            try:
                size = os.fstat(table).st_size
                # A line that was cut off (a full disk) must not take this one with it.
                torn = size > 0 and os.pread(table, 1, size - 1) != b"\n"
                data = _header() if size == 0 else b"\r\n" if torn else b""
                data += _line([row[column] for column in COLUMNS])
                if os.write(table, data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(table)
            finally:
                os.close(table)
        except OSError as error:
            raise output_error(path, error) from error


def _fitting(name: str) -> str:
    """The name, or one as good that no file system finds too long."""
    encoded = name.encode()
    if len(encoded) <= _NAME_BYTES_MAX:
        return name
    mark = hashlib.sha256(encoded).hexdigest()[:8]
    return f"{encoded[:_NAME_BYTES_MAX].decode(errors='ignore')}-{mark}"


def _write_array(
    folder: Path, record: Record, array: NDArray[Any], look: Look
) -> tuple[set[str], Tally]:
    """Write an array, and its picture if it has one; the names of the files."""
    # Beside the writing: an array that is larger than the memory is then read once, nearly.
    with ThreadPoolExecutor(1, "hpczmq tally") as thread:
        summary = thread.submit(tally, array)
        iterations = record.params.get("iterations")
        if not isinstance(iterations, int) or array.ndim != 2 or array.dtype.kind != "u":
            _write_npy(folder / "result.npy", array)
            return {"result.npy"}, summary.result()
        path = folder / "counts.npy"
        if not _is_map_of(path, array):
            _write_npy(path, array)
        pictures = write_picture(folder / "image.png", array, iterations, look)
        return {path.name, *(picture.name for picture in pictures)}, summary.result()


def _write_npy(path: Path, array: NDArray[Any]) -> None:
    with replacing(path) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def _write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def _is_map_of(path: Path, array: NDArray[Any]) -> bool:
    """Whether the array is the whole of that file, as `numpy.load` maps it."""
    if not isinstance(array, np.memmap) or array.filename is None or not path.is_file():
        return False
    if not os.path.samefile(array.filename, path) or not array.flags.c_contiguous:
        return False
    return bool(array.offset + array.nbytes == path.stat().st_size)


def _start_table(path: Path) -> None:
    """Make the table, so that whoever sees it sees its header, and only one process makes it."""
    written = temporary(path)
    try:
        with open(written, "xb") as file:
            file.write(_header())
            file.flush()
            os.fsync(file.fileno())
        os.link(written, path)
    except FileExistsError:
        pass  # somebody else was first
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        os.replace(written, path)  # a file system without links
    finally:
        discard(written)


def _header() -> bytes:
    return _line(COLUMNS)


def _line(values: Any) -> bytes:
    """One line of RFC 4180."""
    text = io.StringIO(newline="")
    csv.writer(text).writerow(values)
    return text.getvalue().encode(errors="backslashreplace")


def _row(record: Record, summed: str, total: int | str, folder: Path) -> dict[str, Any]:
    params = ("algorithm", "width", "height", "iterations")
    row = {
        **{name: record.params.get(name, "") for name in params},
        "id": record.id,
        "name": record.job.name,
        "kernel": record.job.kernel,
        "priority": record.job.priority,
        "state": record.state.name.lower(),
        "tasks": record.tasks,
        "seconds": f"{record.seconds:.6f}",
        "iterations_total": total,
        "digest": summed,
        "folder": folder.name,
    }
    # A name may begin like a formula, and tables get opened in spreadsheets.
    return {key: cell(value) if isinstance(value, str) else value for key, value in row.items()}


def _report(record: Record, summed: str, total: int | str) -> dict[str, Any]:
    shares = sorted(record.slaves.items())
    return {
        "id": record.id,
        "name": record.job.name,
        "kernel": record.job.kernel,
        "algorithm": record.params.get("algorithm"),
        "params": dict(sorted(record.params.items())),
        "used": dict(sorted(record.used.items())),
        "priority": record.job.priority,
        "timeout_s": record.job.timeout_s,
        "requires": record.job.requires or None,
        "retries": record.job.retries,
        "deadline_s": record.job.deadline_s,
        "state": record.state.name.lower(),
        "cause": record.cause,
        "tasks": record.tasks,
        "attempts": record.attempts,
        "seconds": record.seconds,
        "iterations_total": None if total == "" else total,
        "digest": summed or None,
        "slaves": {name: {"tasks": s.tasks, "seconds": s.seconds} for name, s in shares},
        "software": record.software,
    }


def _json(value: Any) -> bytes:
    return document(value).encode(errors="backslashreplace")
