"""How a batch goes, while it goes: a bar per job on a terminal, a line per job elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from hpczmq.batch import Row
from hpczmq.futures import JobFuture


class RateColumn(ProgressColumn):
    """Tasks per second, over the last moments while it runs, over all when it has ended."""

    def render(self, task: Task) -> Text:
        """The cell."""
        rate = task.finished_speed if task.finished else task.speed
        text = "" if rate is None else f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
        return Text(text.rjust(9), style="progress.data.speed")


def columns() -> tuple[ProgressColumn, ...]:
    """A bar's columns: what, how far, how fast, how long still."""
    return (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
    )


class BatchProgress:
    """Shows a batch on stderr; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal
        self._progress = Progress(*columns(), console=console, expand=True, disable=not self._live)
        self._bars: list[tuple[JobFuture, TaskID]] = []

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, jobs: Sequence[JobFuture]) -> None:
        """The jobs were handed in: a bar for each; they start when their first task is done."""
        for future in jobs:
            bar = self._progress.add_task(escape(future.label), total=future.tasks, start=False)
            self._bars.append((future, bar))
        if not self._live:
            tasks = sum(future.tasks for future in jobs)
            self._console.print(f"{len(jobs)} jobs, {tasks} tasks", highlight=False)

    def look(self) -> None:
        """Bring the bars up to date."""
        for future, bar in self._bars:
            if future.arrived_tasks:
                self._progress.start_task(bar)
            self._progress.update(bar, completed=future.arrived_tasks)

    def ended(self, row: Row) -> None:
        """A job's files are written."""
        self.look()
        if not self._live or row.failed:
            text = f"{row.id}: {row.state} in {row.seconds:.2f} s"
            self._console.print(Text(f"{text}: {row.cause}" if row.failed else text))
