"""Kernels that look into the cluster itself: a value back, a slot held, a buffer moved.

They are also the smallest models of a kernel: one task each, and the result is the task's value.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from hpczmq import limits
from hpczmq.errors import ParameterError
from hpczmq.kernels import parameters
from hpczmq.kernels.base import CancelFlag, Cancelled, Kernel

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from numpy.typing import NDArray

    P = TypeVar("P", bound=DataclassInstance)
else:
    P = TypeVar("P")

#: Bytes of one item by dtype; what `payload` offers. A table, since the master parses parameters
#: too and has no other use for numpy.
_ITEM_BYTES = {
    f"{kind}{bits}": bits // 8
    for kind, sizes in (("uint", (8, 16, 32, 64)), ("int", (8, 16, 32, 64)), ("float", (32, 64)))
    for bits in sizes
}
#: NumPy itself stops at 64 dimensions; nobody needs more than a few.
_DIMENSIONS_MAX = 8
#: How often `sleep` looks at its flag.
_LOOK_S = 0.01


class OneTaskKernel(Kernel[P, tuple[()]]):
    """A kernel whose job is a single task, with nothing to say about it."""

    #: The class of its parameters, with a check for each field.
    params_type: type[P]

    def parse(self, params: Mapping[str, Any]) -> P:
        """See `Kernel.parse`."""
        return parameters.parse(self.params_type, self.name, params)

    def faults(self, params: Mapping[str, Any]) -> list[ParameterError]:
        """See `Kernel.faults`."""
        return parameters.faults(self.params_type, self.name, params)

    def plain(self, params: P) -> dict[str, Any]:
        """See `Kernel.plain`."""
        return parameters.plain(params)

    def whole(self, params: P) -> tuple[()]:
        """See `Kernel.whole`."""
        return ()

    def task(self, values: Sequence[Any]) -> tuple[()]:
        """See `Kernel.task`."""
        if len(values):
            raise ParameterError("task", values, f"must be empty: {self.name} has only one task")
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoParams:
    """Any plain value: a number, text, bytes, None, a list or a dict of them."""

    value: Any

    def __post_init__(self) -> None:
        parameters.check_fields(self)


class EchoKernel(OneTaskKernel[EchoParams]):
    """Gives its parameter back: what a task costs when its work costs nothing."""

    name = "echo"
    params_type = EchoParams

    def run(self, params: EchoParams, task: tuple[()], cancelled: CancelFlag) -> Any:
        """The value, as it came."""
        return params.value


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepParams:
    """How long to hold a slot, in seconds; 0 is allowed and means not at all."""

    seconds: float = field(
        metadata={"check": parameters.real_number(least=0.0, most=limits.timeout_s_max)}
    )

    def __post_init__(self) -> None:
        parameters.check_fields(self)


class SleepKernel(OneTaskKernel[SleepParams]):
    """Holds a slot for so long without using its core."""

    name = "sleep"
    params_type = SleepParams

    def run(self, params: SleepParams, task: tuple[()], cancelled: CancelFlag) -> float:
        """The seconds that were asked for, when they are over.

        Raises:
            Cancelled: the flag was set; noticed within 10 ms.
        """
        end = time.monotonic() + params.seconds
        while not cancelled.is_set():
            left = end - time.monotonic()
            if left <= 0:
                return params.seconds
            time.sleep(min(left, _LOOK_S))
        raise Cancelled


def _shape(name: str, value: object) -> tuple[int, ...]:
    """A check for the shape of an array; one number stands for one dimension, as in NumPy."""
    sizes = list(value) if isinstance(value, list | tuple) else [value]
    side = parameters.whole_number(0, limits.buffer_bytes_max)
    try:
        if not 1 <= len(sizes) <= _DIMENSIONS_MAX:
            raise ParameterError(name, value, "")
        return tuple(side(name, size) for size in sizes)
    except ParameterError:
        remedy = f"must be a list of 1..{_DIMENSIONS_MAX} whole numbers from 0 on"
        raise ParameterError(name, value, remedy) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadParams:
    """The array to make. It has to fit one buffer (`limits.buffer_bytes_max`)."""

    #: Items along each dimension, 1 to 8 of them; a single number is taken as one dimension.
    shape: tuple[int, ...] = field(metadata={"check": _shape})
    #: uint8…uint64, int8…int64, float32 or float64.
    dtype: str = field(default="uint8", metadata={"check": parameters.word(tuple(_ITEM_BYTES))})
    #: Another seed, another content.
    seed: int = field(default=0, metadata={"check": parameters.whole_number(0, 2**63 - 1)})

    def __post_init__(self) -> None:
        parameters.check_fields(self)
        size = math.prod(self.shape) * _ITEM_BYTES[self.dtype]
        if size > limits.buffer_bytes_max:
            raise ParameterError(
                "shape",
                list(self.shape),
                f"takes {size} bytes as {self.dtype}; must fit {limits.buffer_bytes_max}",
            )


class PayloadKernel(OneTaskKernel[PayloadParams]):
    """Makes an array of random numbers, the same on every machine: what moving results costs."""

    name = "payload"
    params_type = PayloadParams

    def run(self, params: PayloadParams, task: tuple[()], cancelled: CancelFlag) -> NDArray[Any]:
        """An array of the shape and dtype asked for.

        Integers are uniform over all values of their type, floats over 0 <= v <= 1.
        """
        import numpy  # here, since the master imports this module and does without

        count = math.prod(params.shape)
        dtype = numpy.dtype(params.dtype).newbyteorder("<")
        # `random_raw` is the one stream that NumPy promises never to change.
        source = numpy.random.PCG64(params.seed)
        if dtype.kind == "f":
            uniform = (source.random_raw(count) >> numpy.uint64(11)) * 2.0**-53
            return uniform.astype(dtype).reshape(params.shape)
        words = source.random_raw(-(-count * dtype.itemsize // 8)).astype("<u8", copy=False)
        return words.view(dtype)[:count].reshape(params.shape)
