"""How a batch goes, while it goes: a bar per job on a terminal, a line per job elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from rich.console import Console
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

from hpczmq import tables
from hpczmq.clock import Clock
from hpczmq.errors import HpczmqError
from hpczmq.futures import JobFuture
from hpczmq.model import JobInfo
from hpczmq.plain import block, shown

if TYPE_CHECKING:
    from hpczmq.batch import Row

#: A terminal of fewer columns shows less beside a bar, so that there is still a bar.
_WIDE_COLUMNS: Final = 100
#: After so long without any result the cluster is asked for the reason.
_QUIET_S: Final = 3.0
#: Jobs that are asked for then: one of them will have it.
_ASKED_JOBS: Final = 100


class RateColumn(ProgressColumn):
    """Tasks per second, over the last moments while it runs, over all when it has ended."""

    def render(self, task: Task) -> Text:
        """The cell."""
        rate = task.fields.get("rate") or task.speed
        text = "" if rate is None else f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
        return Text(text.rjust(9), style="progress.data.speed")


def columns(wide: bool) -> tuple[ProgressColumn, ...]:
    """A bar's columns: what, how far, how fast, how long still."""
    return (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        *((RateColumn(), TimeElapsedColumn()) if wide else ()),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
    )


class BatchProgress:
    """Shows a batch on stderr; use it as a context manager.

    Args:
        console: where to.
        ask: gives the rows of jobs, by their ids; asked when nothing comes, for the reason.
    """

    def __init__(
        self, console: Console, ask: Callable[[list[str]], Sequence[JobInfo]] = lambda ids: ()
    ) -> None:
        self._console = console
        self._ask = ask
        self._live = console.is_terminal
        self._wide = console.width >= _WIDE_COLUMNS
        self._progress = Progress(
            *columns(self._wide), console=console, expand=True, disable=not self._live
        )
        self._bars: list[tuple[JobFuture, TaskID]] = []
        self._clock = Clock()
        #: Tasks that had arrived, and when that was last seen to change.
        self._arrived, self._quiet_from_s = 0, self._clock.now()
        #: The last reason that was printed.
        self._reason = ""

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
            label = shown(self._label(future))
            bar = self._progress.add_task(label, total=future.tasks, start=False)
            self._bars.append((future, bar))
        if not self._live:
            tasks = sum(future.tasks for future in jobs)
            counts = f"{tables.count(len(jobs), 'job')}, {tables.count(tasks, 'task')}"
            self._console.print(counts, highlight=False)

    def _label(self, future: JobFuture) -> str:
        """The name and what it is; in a narrow terminal without the iterations."""
        if self._wide:
            return future.label
        return future.name + future.label.removeprefix(future.name).partition(",")[0]

    def look(self) -> None:
        """Bring the bars up to date."""
        for future, bar in self._bars:
            if future.arrived_tasks:
                self._progress.start_task(bar)
            rate: dict[str, Any] = {}
            if future.info and future.info.ran_s > 0:  # rich knows none of a bar that has ended
                rate["rate"] = future.tasks / future.info.ran_s
            self._progress.update(bar, completed=future.arrived_tasks, **rate)
        arrived = sum(future.arrived_tasks for future, _ in self._bars)
        now = self._clock.now()
        if arrived != self._arrived:
            self._arrived, self._quiet_from_s = arrived, now
        elif now - self._quiet_from_s > _QUIET_S:
            self._quiet_from_s = now
            self._explain()

    def _explain(self) -> None:
        """Say why nothing comes, once, unless it is at work."""
        waiting = [future.id for future, _ in self._bars if not future.done()][:_ASKED_JOBS]
        rows: Sequence[JobInfo] = ()
        with suppress(HpczmqError):  # the cluster is away: whoever waits for it will say so
            rows = self._ask(waiting) if waiting else ()
        if any(row.running for row in rows):
            return  # then it takes its time, and the others wait for it
        row = next((row for row in rows if row.cause), None)
        if row and row.cause != self._reason:
            self._reason = row.cause
            self._console.print(Text(f"{shown(row.name or row.id)}: {block(row.cause)}"))

    def ended(self, row: Row) -> None:
        """A job's files are written."""
        self.look()
        if not self._live or row.failed:
            name = f"{row.name} ({row.id})" if row.name else row.id
            name = shown(name, len(name))
            text = f"{name}: {row.state} in {tables.seconds(row.seconds)}"
            self._console.print(Text(f"{text}: {block(row.cause)}" if row.failed else text))


@contextmanager
def simulated(console: Console) -> Iterator[Callable[[float, int, int], None]]:
    """The bar of `simulate`: who is told the simulated time, the tasks done, and all tasks."""
    with Progress(
        TextColumn("simulated {task.fields[simulated_s]:.0f} s"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} tasks"),
        console=console,
        transient=True,
    ) as progress:
        bar = progress.add_task("", total=1, simulated_s=0.0)

        def tell(simulated_s: float, done: int, tasks: int) -> None:
            progress.update(bar, completed=done, total=tasks, simulated_s=simulated_s)

        yield tell
