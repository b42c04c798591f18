"""Puts the results of a job's tasks together, in memory or in a file larger than the memory.

The file is a memory-mapped ``.npy`` under a temporary name in the folder where it will stand; it
gets its real name in `Assembler.finish`, when nothing is missing. Results may come in any order,
and more than once: at-least-once delivery ends here.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hpczmq import limits
from hpczmq.atomic import discard, output_error, settle, temporary
from hpczmq.errors import OutputError

#: Bytes that are looked at at a time: they fit the cache, and no copy of the array is ever made.
_PIECE_BYTES: Final = limits.MIB


class Assembles(Protocol):
    """What the assembler needs of a kernel (`kernels.base.Kernel` with `assembles`)."""

    def split(self, params: Any) -> Sequence[Any]:
        """The tasks; only their number counts here."""

    def allocate(self, params: Any) -> tuple[tuple[int, ...], str]:
        """Shape and dtype of the whole."""

    def place(self, params: Any, result: Any, task: Any, array: Any) -> None:
        """Write one result into the whole."""


class Assembler:
    """The array of one job while its results come in.

    Leaving it as a context manager discards what is not finished.

    Args:
        kernel: the job's kernel; it must assemble.
        params: the job's parameters, as the kernel's `parse` gave them.
        path: where the ``.npy`` will stand, in a folder that exists; None: in memory.

    Raises:
        OutputError: there is not the memory, or not the room on the disk, for the array.
    """

    def __init__(self, kernel: Assembles, params: Any, path: Path | None = None) -> None:
        self._kernel = kernel
        self._params = params
        #: Where the file will stand; None: in memory.
        self._path = path
        #: The temporary file, until it is renamed or discarded.
        self._written: Path | None = None
        #: A byte a task: 1 once its result is in place.
        self._placed = bytearray(len(kernel.split(params)))
        #: Tasks whose result is not there yet.
        self.missing = len(self._placed)
        shape, dtype = kernel.allocate(params)
        self._array = self._allocated(shape, np.dtype(dtype))

    def add(self, index: int, task: Any, result: Any) -> bool:
        """Place one task's result, if it is the first one for this task.

        Args:
            index: the task's index in the job, 0 to its number of tasks - 1.
            task: the task, as the kernel's `split` or `task` gave it.
            result: the array that the kernel's `run` gave.

        Returns:
            Whether it was placed; a second copy is not.

        Raises:
            ParameterError: the result does not fit the task; it still counts as missing.
        """
        assert 0 <= index < len(self._placed), f"task {index} of {len(self._placed)}"
        if self._placed[index]:
            return False
        self._kernel.place(self._params, result, task, self._array)
        self._placed[index] = 1
        self.missing -= 1
        return True

    def finish(self) -> NDArray[Any]:
        """The whole array; a file stands under its real name from here on, and is safe on disk.

        Returns:
            The array, C-ordered, of the kernel's shape and dtype; from a file, a read-only map.

        Raises:
            OutputError: the file can't be completed or renamed.
        """
        assert self.missing == 0, f"{self.missing} results are missing"
        if self._written is None or self._path is None:
            return self._array
        try:
            if isinstance(self._array, np.memmap):
                self._array.flush()
            self._array = np.empty(0)  # unmapped: from here on it is only read
            with open(self._written, "rb") as file:
                os.fsync(file.fileno())
            settle(self._written, self._path)
            self._written = None
            self._array = np.load(self._path, mmap_mode="r", allow_pickle=False)
        except OSError as error:
            raise output_error(self._path, error) from error
        return self._array

    def discard(self) -> None:
        """Take the temporary file away, if there is one still; the array is not usable after."""
        if self._written is not None:
            self._array = np.empty(0)
            with suppress(OSError):  # it may be that it could not be made
                discard(self._written)
            self._written = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.discard()

    def _allocated(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        size = math.prod(shape) * dtype.itemsize
        if self._path is None:
            try:
                return np.zeros(shape, dtype)
            except (MemoryError, ValueError) as error:  # ValueError: beyond the address space
                raise OutputError(
                    f"array of {size} bytes: does not fit the memory: write it to a folder (--out)"
                ) from error
        self._written = temporary(self._path)
        try:
            if size > sys.maxsize:  # numpy would only warn, and go on with a wrong size
                raise OSError(errno.EFBIG, f"{size} bytes are too many for a file")
            array = np.lib.format.open_memmap(self._written, "w+", dtype, shape)
            _reserve(self._written)
        except OSError as error:
            self.discard()
            raise output_error(self._path, error) from error
        return array


def _reserve(path: Path) -> None:
    """Have the file system set the room aside now.

    A map of a sparse file does not fail with an error when the disk is full: the process gets a
    SIGBUS, and ends.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with open(path, "r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # some file systems can't
                raise


@dataclass(frozen=True, slots=True)
class Tally:
    """What is said of a result in a line."""

    #: SHA-256 of the bytes in C order, as 64 hex digits; shape and dtype don't count.
    digest: str
    #: Sum of the elements of an array of unsigned integers; 0 of any other array.
    total: int


def tally(array: NDArray[Any]) -> Tally:
    """Digest and sum, in one reading.

    Args:
        array: any shape, strides and dtype but object; maps of files are read in pieces.
    """
    assert not array.dtype.hasobject, "objects have no bytes of their own"
    sha, total = hashlib.sha256(), 0
    flat: Any = array.reshape(-1) if array.flags.c_contiguous else array.flat
    step = max(1, _PIECE_BYTES // max(1, array.dtype.itemsize))
    for start in range(0, len(flat), step):
        piece = flat[start : start + step]
        sha.update(piece.view(np.uint8))
        if array.dtype.kind == "u":
            total += int(piece.sum(dtype=np.uint64))
    return Tally(sha.hexdigest(), total)


def digest(array: NDArray[Any]) -> str:
    """SHA-256 of an array's bytes, as `tally` gives it."""
    return tally(array).digest
