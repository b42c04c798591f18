"""Dask distributed, as its users call it. It runs in Dask's own environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.scorecard.client import Task
from benchmarks.scorecard.work import work


class OnDask:
    """Futures of `Client.submit`; each is dropped as soon as its result is there."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import distributed

        self._book = settings["book"]
        self._distributed = distributed
        self._client = distributed.Client(settings["address"])
        #: Only of those that may be cancelled: who holds a future, holds its result on a worker.
        self._futures: dict[str, Any] = {}

    def submit(self, tasks: list[Task], outlive: bool) -> dict[str, Callable[[], Any]]:
        """One future a task."""
        waits: dict[str, Callable[[], Any]] = {}
        for task in tasks:
            future = self._client.submit(
                work, self._book, task.name, task.action, task.seconds, key=task.name, pure=False
            )
            if outlive:
                self._distributed.fire_and_forget(future)
            if task.cancels or task.timeout_s:
                self._futures[task.name] = future
            waits[task.name] = future.result
        return waits

    def cancel(self, task: str) -> None:
        """`Future.cancel`."""
        self._futures.pop(task).cancel()

    def add_node(self) -> None:
        """Nodes are started by hand."""

    def close(self) -> None:
        """Hang up."""
        self._client.close(timeout=2)


def connect(settings: dict[str, Any]) -> OnDask:
    """Meet the scheduler."""
    return OnDask(settings)
