"""Parsl with its HighThroughputExecutor, as its users call it. It runs in Parsl's own environment.

The client starts everything else: the interchange, and a block a node by the LocalProvider.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.scorecard.client import Task
from benchmarks.scorecard.work import work


def timed(book: str, task: str, action: str, seconds: float, walltime: float) -> str:
    """`work` with a parameter that Parsl knows: it raises in the task when it has run so long."""
    return work(book, task, action, seconds)


class OnParsl:
    """Python apps; blocks of one node with one worker, replaced when they end."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import parsl
        from parsl.executors import HighThroughputExecutor
        from parsl.launchers import WrappedLauncher
        from parsl.providers import LocalProvider

        self._book = settings["book"]
        nodes = settings["nodes"]
        enter = Path(__file__).with_name("enter.py")
        provider = LocalProvider(
            init_blocks=nodes, min_blocks=nodes, max_blocks=nodes,
            launcher=WrappedLauncher(f"{sys.executable} {enter} {settings['folder']}"),
        )  # fmt: skip
        self._executor = HighThroughputExecutor(
            label="htex", max_workers_per_node=1, address=settings["address"], provider=provider
        )
        self._kernel = parsl.load(
            parsl.Config(
                executors=[self._executor],
                retries=settings["retries"],
                run_dir=str(Path(settings["folder"], "runinfo")),
            )
        )
        self._app, self._timed = parsl.python_app(work), parsl.python_app(timed)
        self._futures: dict[str, Any] = {}

    def submit(self, tasks: list[Task], outlive: bool) -> dict[str, Callable[[], Any]]:
        """One app future a task. The client is the scheduler, so nothing can outlive it."""
        waits = {}
        for task in tasks:
            words = (self._book, task.name, task.action, task.seconds)
            timeout_s = task.timeout_s
            future = self._timed(*words, walltime=timeout_s) if timeout_s else self._app(*words)
            self._futures[task.name] = future
            waits[task.name] = future.result
        return waits

    def cancel(self, task: str) -> None:
        """`AppFuture.cancel`."""
        self._futures[task].cancel()

    def add_node(self) -> None:
        """One block more."""
        self._executor.scale_out_facade(1)

    def close(self) -> None:
        """End everything."""
        self._kernel.cleanup()


def connect(settings: dict[str, Any]) -> OnParsl:
    """Start it."""
    return OnParsl(settings)
