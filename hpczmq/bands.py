"""Arrays that may be larger than the memory, looked at in bands of rows, by all cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from hpczmq import limits
from hpczmq.cores import usable_cores

T = TypeVar("T")
R = TypeVar("R")

#: Bytes of a band: what is made of it fits a core's cache, and a thread has 0.2 ms to do.
_BAND_BYTES: Final = limits.MIB // 2


def bands(height: int, row_bytes: int) -> Iterator[slice]:
    """The rows 0..height - 1, in slices that cut an array into bands; the last may be smaller."""
    rows = max(1, _BAND_BYTES // max(1, row_bytes))
    return (slice(row, row + rows) for row in range(0, height, rows))


def in_order(work: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
    """Do some work for each item in threads, and yield what comes of it in the items' order.

    Only a few results wait at any time, however many items there are.

    Args:
        work: does its work without the GIL, mostly; numpy and deflate do.
        items: taken one at a time, by the thread that iterates.
    """
    cores = usable_cores()
    going: deque[Future[R]] = deque()
    threads = ThreadPoolExecutor(cores, "hpczmq picture")
    try:
        for item in items:
            going.append(threads.submit(work, item))
            if len(going) > 3 * cores:
                yield going.popleft().result()
        while going:
            yield going.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)
