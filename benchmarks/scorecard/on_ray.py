"""Ray, as its users call it. It runs in Ray's own environment."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.scorecard.client import Task
from benchmarks.scorecard.work import work


class OnRay:
    """Tasks of one CPU, `max_retries` as it comes (3)."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import ray

        self._ray = ray
        self._book = settings["book"]
        ray.init(address=settings["address"], log_to_driver=False, logging_level="error")
        self._work = ray.remote(work)
        self._refs: dict[str, Any] = {}

    def submit(self, tasks: list[Task], outlive: bool) -> dict[str, Callable[[], Any]]:
        """One object reference a task. A driver's tasks always end with it."""
        waits: dict[str, Callable[[], Any]] = {}
        for task in tasks:
            ref = self._work.remote(self._book, task.name, task.action, task.seconds)
            if task.cancels or task.timeout_s:
                self._refs[task.name] = ref
            waits[task.name] = partial(self._ray.get, ref)
        return waits

    def cancel(self, task: str) -> None:
        """`ray.cancel` with `force`, which may kill the worker process."""
        self._ray.cancel(self._refs.pop(task), force=True)

    def add_node(self) -> None:
        """Nodes are started by hand."""

    def close(self) -> None:
        """Hang up."""
        self._ray.shutdown()


def connect(settings: dict[str, Any]) -> OnRay:
    """Meet the head."""
    return OnRay(settings)
