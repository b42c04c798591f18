"""What a job's tasks should take, on its way from the client, whose kernel tells, to the master.

The client looks, and not the master, whose loop serves everybody: a look costs milliseconds, and
wants numpy. It sends 4 bytes a task, binary32, little-endian; what comes is checked, and is of
consequence to the client's own job only.
"""

from __future__ import annotations

import logging
import math
import sys
from array import array
from typing import Any

from hpczmq import limits
from hpczmq.errors import shown
from hpczmq.kernels import Kernel

log = logging.getLogger(__name__)


def packed(kernel: Kernel[Any, Any], params: Any) -> bytes:
    """The costs of a job's tasks as they travel; empty if its kernel can't tell.

    What a kernel gets wrong here costs time and not the job: then its tasks go as they come.
    """
    try:
        costs = kernel.costs(params)
        if costs is None:
            return b""
        numbers = array("f", costs)
        _check(numbers, len(kernel.split(params)))
    except Exception as error:  # it may be another package's code
        why = shown(f"{type(error).__name__}: {error}")
        log.warning("%s: its tasks go in their order: %s", kernel.name, why)
        return b""
    return _swapped(numbers).tobytes() if 1 < len(numbers) <= limits.tasks_ordered_max else b""


def unpacked(travelled: bytes, count: int) -> array[float]:
    """The costs of `count` tasks; empty if nothing was said, or too much to be heeded.

    Raises:
        ValueError: they are not positive, finite, and one a task.
    """
    numbers = array("f")
    if not travelled or count > limits.tasks_ordered_max:
        return numbers
    numbers.frombytes(travelled)
    numbers = _swapped(numbers)
    _check(numbers, count)
    return numbers


def _check(numbers: array[float], count: int) -> None:
    if len(numbers) != count or not all(0 < number < math.inf for number in numbers):
        raise ValueError(f"costs are {len(numbers)} numbers: must be {count} positive finite ones")


def _swapped(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
