"""Where the master keeps accepted outcomes: chunks, ready to be sent, in one file per job.

The files have no name: nothing is left behind, however the master ends. A chunk that the disk
does not take stays in memory, with a warning, because it is acknowledged to its slave; the
scheduler is told, and places nothing new when that gets too much.

A chunk stands in its file as the number of its frames, their sizes, and the frames: so a million
of them cost the master 8 bytes each.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import struct
import tempfile
from array import array
from collections.abc import Sequence
from typing import IO

from hpczmq import limits
from hpczmq.wire import Buffer

log = logging.getLogger(__name__)

#: Of a number in a file.
_SIZE_BYTES = 4
#: What to do about an error of the disk, where there is something better than to look at it.
_REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room on the disk",
    errno.EMFILE: "let the master open more files (ulimit -n)",
    errno.ENFILE: "let the machine open more files (fs.file-max)",
    errno.EFBIG: "let the master write larger files (ulimit -f)",
    errno.ENOENT: "set TMPDIR to a folder that can be written",
    errno.EACCES: "set TMPDIR to a folder that can be written",
    errno.EROFS: "set TMPDIR to a folder that can be written",
}


def _unnamed_file(folder: str | None) -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="hpczmq-", dir=folder, buffering=0)


class _Spool:
    def __init__(self) -> None:
        self.file: IO[bytes] | None = None
        self.end = 0
        #: Where each chunk starts; one in memory takes no bytes of the file.
        self.starts = array("Q")
        #: Frames of the chunks that the disk did not take, by number.
        self.kept: dict[int, list[bytes]] = {}
        #: Whether the disk did not take the last chunk. It is said once, not for each chunk: the
        #: log may be on the same disk.
        self.refused = False


class ResultStore:
    """Chunks of all jobs, by job and number."""

    def __init__(self, folder: str | None = None) -> None:
        #: Where the files are made; None: the system's folder for temporary ones.
        self._folder = folder
        self._spools: dict[str, _Spool] = {}
        #: The chunk stored last, which is nearly always the one asked for next.
        self._last: tuple[str, int, Sequence[Buffer]] | None = None

    def room(self) -> int:
        """How many bytes there is room for now: most of the disk, since others write there too,
        and as much memory as results may take when the disk takes no more."""
        folder = self._folder or tempfile.gettempdir()
        try:
            free = shutil.disk_usage(folder).free
        except OSError:
            return limits.results_bytes_max
        return free * limits.results_disk_percent // 100 + limits.unwritten_bytes_max

    def append(self, job: str, cursor: int, frames: Sequence[Buffer]) -> int:
        """Keep the frames of a job's next chunk; how many bytes of it the disk did not take."""
        spool = self._spools.setdefault(job, _Spool())
        assert cursor == len(spool.starts), f"chunk {cursor} of {job}, after {len(spool.starts)}"
        spool.starts.append(spool.end)
        self._last = (job, cursor, frames)
        sizes = [len(frame) for frame in frames]
        try:
            if spool.file is None:
                spool.file = _unnamed_file(self._folder)
            head = struct.pack(f"<{1 + len(sizes)}I", len(sizes), *sizes)
            spool.file.seek(spool.end)
            for part in (head, *frames):
                view = memoryview(part)
                while len(view):
                    view = view[spool.file.write(view) :]
            spool.end += len(head) + sum(sizes)
            spool.refused = False
            return 0
        except OSError as error:
            if not spool.refused:
                spool.refused = True
                remedy = _REMEDIES.get(error.errno or 0, "check the disk of temporary files")
                log.warning("%s: results are kept in memory: %s: %s", job, error, remedy)
            spool.kept[cursor] = [bytes(frame) for frame in frames]
            return sum(sizes)

    def frames(self, job: str, cursor: int) -> Sequence[Buffer]:
        """The frames of a chunk.

        Raises:
            OSError: the disk does not give back what was written.
        """
        if self._last is not None and self._last[:2] == (job, cursor):
            return self._last[2]
        spool = self._spools[job]
        if cursor in spool.kept:
            return spool.kept[cursor]
        assert spool.file is not None
        start = spool.starts[cursor]
        after = spool.starts[cursor + 1] if cursor + 1 < len(spool.starts) else spool.end
        data = _read(spool.file, start, after - start)
        (count,) = struct.unpack_from("<I", data)
        sizes = struct.unpack_from(f"<{count}I", data, _SIZE_BYTES)
        data = data[_SIZE_BYTES * (1 + count) :]
        frames: list[Buffer] = []
        for size in sizes:
            frames.append(data[:size])
            data = data[size:]
        return frames

    def forget(self, job: str) -> None:
        """Give the space of a job back."""
        spool = self._spools.pop(job, None)
        if spool is not None and spool.file is not None:
            spool.file.close()
        if self._last is not None and self._last[0] == job:
            self._last = None

    def close(self) -> None:
        """Give all space back."""
        for job in list(self._spools):
            self.forget(job)


def _read(file: IO[bytes], offset: int, size: int) -> memoryview:
    """So many bytes of a file, however few come at a time."""
    whole = left = memoryview(bytearray(size))
    while len(left):
        got = os.preadv(file.fileno(), [left], offset + size - len(left))
        if got == 0:
            raise OSError(errno.EIO, f"{len(left)} of {size} bytes are missing")
        left = left[got:]
    return whole
