"""What a kernel is: the interface that the shipped ones and those of other packages fill in.

A kernel is a named, versioned function with typed parameters. It splits a job into tasks, runs
one task, and puts a task's result in its place. It knows nothing of slaves, sockets or files, so
that the same kernel runs in a slave's worker process, on any `concurrent.futures.Executor`, and
in a test.

Tasks and parameters travel as plain values (numbers, text, lists); `parse` and `task` turn them
back into their types and check them, on the client, on the master and again on the slave.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import hpczmq.errors as errors

P = TypeVar("P")
T = TypeVar("T", bound=tuple[Any, ...])


class CancelFlag:
    """One byte that says whether the running task is still wanted.

    Python code calls `is_set`; compiled code reads the byte itself, without the GIL. It may be
    set from another thread, and never goes back to 0.
    """

    __slots__ = ("byte",)

    def __init__(self) -> None:
        #: 0 while the task is wanted, 1 from then on. Shape (1,), uint8.
        self.byte = bytearray(1)

    def set(self) -> None:
        """Ask the task to stop; it does so at its next look."""
        self.byte[0] = 1

    def is_set(self) -> bool:
        """Whether the task should stop."""
        return self.byte[0] != 0


class Cancelled(Exception):
    """Raised by `Kernel.run` when it stopped because its flag was set."""


class Kernel(ABC, Generic[P, T]):
    """One kernel. The instances have no state: one serves every job."""

    #: The name in job files and on the wire.
    name: ClassVar[str]
    #: Grows when the same parameters give other results.
    version: ClassVar[int] = 1
    #: Whether results are put together from several tasks with `allocate` and `place`. If not,
    #: `split` gives exactly one task and the job's result is that task's result.
    assembles: ClassVar[bool] = False

    @abstractmethod
    def parse(self, params: Mapping[str, Any]) -> P:
        """Typed parameters from plain ones, defaults filled in.

        Raises:
            ParameterError: a name is unknown, missing, or has a value out of its range.
        """

    def faults(self, params: Mapping[str, Any]) -> list[errors.ParameterError]:
        """All that is wrong with plain parameters; empty if `parse` takes them.

        For readers of job files, which report every fault at once. A kernel that knows only its
        first one may leave this as it is.
        """
        try:
            self.parse(params)
        except errors.ParameterError as error:
            return [error]
        return []

    @abstractmethod
    def plain(self, params: P) -> dict[str, Any]:
        """All parameters as plain values; `parse` gives the same `P` back."""

    @abstractmethod
    def whole(self, params: P) -> T:
        """The one task that covers everything; what an item of a `map` runs."""

    @abstractmethod
    def task(self, values: Sequence[Any]) -> T:
        """A task from the plain values that travelled.

        Raises:
            ParameterError: the values are not a task of this kernel.
        """

    @abstractmethod
    def run(self, params: P, task: T, cancelled: CancelFlag) -> Any:
        """Compute one task.

        Returns:
            A C-contiguous numpy array, or a plain value (numbers, text, bytes, lists, dicts).

        Raises:
            Cancelled: the flag was set.
            KernelMissing: a compiled part is not installed here.
        """

    def split(self, params: P) -> Sequence[T]:
        """The tasks of a job. May be lazy: the master asks for one when it places it."""
        return (self.whole(params),)

    def fitted(self, params: P, slots: Callable[[], int]) -> P:
        """The same work with the same result, cut to fit a cluster of so many slots.

        The client asks before it submits; from then on everybody splits these parameters. `slots`
        asks the cluster, where it may be 0 (no slave has come yet), so call it if it matters.
        """
        return params

    def costs(self, params: P) -> Sequence[float] | None:
        """What each task of `split` will take, in seconds, as far as a glance tells; or None.

        The costliest are placed first, so that none of them is begun last, and cheap ones are sent
        together. Of the unit the beginning of a job depends, until some tasks have been measured;
        after that only the ratios count. The client asks, right before it submits: a coarse look
        at the whole, a few milliseconds of it. All must be positive and finite.
        """
        return None

    def allocate(self, params: P) -> tuple[tuple[int, ...], str]:
        """Shape and dtype (as `numpy.dtype.str`) of the array that the results make up."""
        raise NotImplementedError(f"{self.name} does not assemble")

    def place(self, params: P, result: Any, task: T, array: Any) -> None:
        """Write one task's result into the array of `allocate`.

        Raises:
            ParameterError: the result does not have the task's shape or dtype.
        """
        raise NotImplementedError(f"{self.name} does not assemble")

    def used(self, params: P) -> dict[str, Any]:
        """What of the optional there is was used, as plain values by name; for `job.json`."""
        return {}

    def describe(self, params: P) -> str:
        """The work in a few words, for people: "Numpy 640×480, 1000 iterations"."""
        return self.name

    def capability(self, params: P) -> str:
        """What a slave must offer to run these parameters."""
        return self.name

    def capabilities(self) -> tuple[str, ...]:
        """What this installation can run of the kernel."""
        return (self.name,)

    def require(self, params: P) -> None:
        """Raise `KernelMissing`, with the remedy, unless these parameters can run here."""
        if self.capability(params) not in self.capabilities():
            raise errors.KernelMissing(f"{self.capability(params)} is not installed here")
