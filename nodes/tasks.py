"""A job's tasks as the scheduler wants them: packed, and only when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from hpczmq import wire


class PackedTasks(Sequence[bytes]):
    """The packed form of a sequence of tasks, without keeping any of it."""

    def __init__(self, tasks: Sequence[tuple[Any, ...]]) -> None:
        self._tasks = tasks

    def __len__(self) -> int:
        return len(self._tasks)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return PackedTasks(self._tasks[index])
        return wire.pack(self._tasks[index])
