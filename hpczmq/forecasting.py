"""`hpczmq simulate`: what so many slaves would do with a job file, told to people and programs."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hpczmq import batch, tables
from hpczmq.errors import ParameterError, shown
from hpczmq.model import Policy
from hpczmq.options import Json
from hpczmq.output import Output

if TYPE_CHECKING:
    from hpczmq.simulation.forecast import Forecast

#: Rows of the table at most; JSON has them all.
_JOBS_SHOWN = 20


def simulate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A job file; - is standard input.")],
    slaves: Annotated[int, typer.Option("--slaves", "--esclavos", help="Simulated slaves.")],
    seed: Annotated[
        int, typer.Option("--seed", "--semilla", help="The same seed, the same run.")
    ] = 0,
    slots: Annotated[int, typer.Option("--slots", help="Slots of each slave.")] = 2,
    policy: Annotated[
        str, typer.Option("--policy", "--politica", help=" or ".join(p.value for p in Policy))
    ] = Policy.LEAST_LOADED.value,
    task_seconds: Annotated[
        float, typer.Option("--task-seconds", metavar="S", help="Mean run time of a task.")
    ] = 1.0,
    rate: Annotated[
        float | None,
        typer.Option("--rate", help="Or: what a slot does in a second of what a kernel costs."),
    ] = None,
    spread: Annotated[
        float, typer.Option("--spread", help="Relative spread of run times by chance.")
    ] = 0.1,
    crash_rate: Annotated[
        float, typer.Option("--crash-rate", metavar="PER_HOUR", help="Crashes of each slave.")
    ] = 0.0,
    restart: Annotated[
        float, typer.Option("--restart", metavar="S", help="Seconds that a crashed one is away.")
    ] = 30.0,
    latency: Annotated[
        float, typer.Option("--latency", metavar="S", help="Of each message, at least.")
    ] = 0.0005,
    jitter: Annotated[
        float, typer.Option("--jitter", metavar="S", help="What it may take longer.")
    ] = 0.0005,
    loss: Annotated[
        float, typer.Option("--loss", metavar="P", help="Share of the messages that are lost.")
    ] = 0.0,
    json: Json = False,
) -> int:
    """What so many slaves would do with a job file: the real scheduler, simulated machines."""
    from hpczmq.progress import simulated
    from hpczmq.simulation.forecast import Plan, Simulation

    output = Output(json)
    known = [choice.value for choice in Policy]
    if policy not in known:
        raise ParameterError("policy", policy, f"must be one of {', '.join(known)}")
    if rate is not None and rate == 0:
        raise ParameterError("rate", rate, "must be more than 0")
    plan = Plan(
        slaves=slaves, seed=seed, slots=slots, policy=Policy(policy), task_s=task_seconds,
        rate=rate or 0.0, spread=spread, crash_rate=crash_rate, restart_s=restart,
        latency_s=latency, jitter_s=jitter, loss=loss,
    )  # fmt: skip
    jobs = batch.load(file)
    output.err.print(f"seed {seed}")
    gc.set_threshold(100_000)  # the world is large, and little of it is garbage that has cycles
    with simulated(output.err) as tell:
        forecast = Simulation(jobs, plan).run(tell)
    output.show(report(forecast), forecast)
    return int(any(job.state != "done" for job in forecast.jobs))


def report(forecast: Forecast) -> Table:
    """All of it, for people."""
    made = tables.table(f"simulated, seed {forecast.seed}", "what", "how much")
    for what, value in _rows(forecast):
        made.add_row(what, value)
    return made


def _rows(forecast: Forecast) -> list[tuple[str, str]]:
    took: dict[str, Any] = forecast.took
    ratio = forecast.makespan_s / forecast.ideal_s if forecast.ideal_s else 1.0
    rows = [
        ("slaves", f"{forecast.slaves:,} with {forecast.slots:,} slots, {forecast.policy}"),
        ("tasks", f"{forecast.tasks:,}"),
        ("makespan", f"{_s(forecast.makespan_s)}, {ratio:.2f} of the least there can be"),
        ("the least there can be", _s(forecast.ideal_s)),
        ("slots busy", f"{100 * forecast.utilisation:.1f} %"),
        ("executions beyond the first", f"{forecast.run_twice:,}"),
        ("crashes", f"{forecast.crashes:,}, {forecast.lost:,} noticed, {forecast.back:,} back"),
        ("messages at the master", f"{forecast.messages:,}, {tables.size(forecast.bytes)}"),
        ("longest line at the master", f"{forecast.inbox_peak:,} messages"),
        ("most tasks that waited", f"{forecast.waiting_peak:,}"),
    ]
    for job in forecast.jobs[:_JOBS_SHOWN]:
        rows.append((f"job {shown(job.name)}", f"{job.state} after {_s(job.seconds)}"))
    if len(forecast.jobs) > _JOBS_SHOWN:
        rows.append(("more jobs", f"{len(forecast.jobs) - _JOBS_SHOWN:,}; --json has them all"))
    wall = f"{_s(took['wall_s'])}, {took['tasks_per_s']:,.0f} tasks/s"
    memory = tables.size(int(took["peak_bytes"]))
    return [*rows, ("simulating took", f"{wall}; {_s(took['cpu_s'])} of a core, {memory}")]


def _s(value: float) -> str:
    return tables.seconds(value)
