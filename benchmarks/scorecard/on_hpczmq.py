"""hpczmq, as its users call it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hpczmq
from benchmarks.scorecard.client import Task


class OnHpczmq:
    """One `map` for all tasks, but for those with a timeout, or to be cancelled: jobs of their own,
    since both belong to a job.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._book = settings["book"]
        self._client = hpczmq.Client(settings["address"])
        self._jobs: dict[str, hpczmq.JobFuture] = {}

    def submit(self, tasks: list[Task], outlive: bool) -> dict[str, Callable[[], Any]]:
        """One future a task. Jobs always outlive who handed them in."""
        plain = [task for task in tasks if not (task.timeout_s or task.cancels)]
        futures = self._client.map("chore", [self._params(task) for task in plain])
        waits: dict[str, Callable[[], Any]] = {
            task.name: future.result for task, future in zip(plain, futures, strict=True)
        }
        for task in tasks:
            if task.timeout_s or task.cancels:
                job = hpczmq.Job("chore", self._params(task), timeout_s=task.timeout_s)
                self._jobs[task.name] = self._client.submit(job)
                waits[task.name] = self._jobs[task.name].result
        return waits

    def _params(self, task: Task) -> dict[str, Any]:
        return {
            "book": self._book, "name": task.name, "action": task.action, "seconds": task.seconds,
        }  # fmt: skip

    def cancel(self, task: str) -> None:
        """`JobFuture.cancel`."""
        self._jobs.pop(task).cancel()

    def add_node(self) -> None:
        """Nodes are started by hand."""

    def close(self) -> None:
        """Hang up."""
        self._client.close()


def connect(settings: dict[str, Any]) -> OnHpczmq:
    """Meet the master."""
    return OnHpczmq(settings)
