"""The command line: arguments → one call → exit code.

Each verb has its Spanish name too, and so have the options of the system that this one replaces.
"""

from __future__ import annotations

from hpczmq import interrupts  # before all else, which takes its time to load

# isort: split

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from hpczmq import atomic, batch, commands, demo, forecasting, keycommands, launchers, observing
from hpczmq._version import __version__
from hpczmq.errors import HpczmqError, LocalError, RemoteError
from hpczmq.model import Job, Policy
from hpczmq.options import (
    Ids,
    Json,
    Mapping,
    Master,
    Memorias,
    Nodes,
    Out,
    Palette,
    Slaves,
    Slots,
    Timeout,
    pair,
)
from hpczmq.palettes import MAPPINGS, PALETTES, Look
from hpczmq.plain import block, printable

F = TypeVar("F", bound=Callable[..., Any])

app = typer.Typer(
    name="hpczmq",
    help="Batches of numeric jobs on many machines, over ZeroMQ.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command(name: str, *others: str) -> Callable[[F], F]:
    """Offer a function under a name, and under others that the help does not list."""

    def register(function: F) -> F:
        app.command(name)(function)
        for other in others:
            app.command(other, hidden=True)(function)
        return function

    return register


def question(name: str, other: str, ask: Callable[[commands.Target], int]) -> None:
    """Offer a command that needs to know nothing but the cluster; its help is `ask`'s."""

    def asks(master: Master = None, timeout: Timeout = None, json: Json = False) -> int:
        return ask(commands.Target(master, timeout, json))

    asks.__doc__ = ask.__doc__
    command(name, other)(asks)


# --- Work -------------------------------------------------------------------------------------


@command("run", "correr")
def run(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A job file; - is standard input.")],
    out: Out = Path("results"),
    slaves: Slaves = 2,
    slots: Slots = None,
    memorias: Memorias = 2,
    palette: Palette = PALETTES[0],
    mapping: Mapping = MAPPINGS[0],
    master: Master = None,
    timeout: Timeout = None,
    json: Json = False,
) -> int:
    """Run a job file and write the results; without --master on a cluster of its own."""
    target = commands.Target(master, timeout, json)
    sizes = {"slaves": slaves, "slots": slots, "memorias": memorias}
    return commands.run(target, batch.load(file), out, Look(palette, mapping), **sizes)


@command("render", "trabajo")
def render(
    width: Annotated[int, typer.Option("--width", "--ancho", help="Pixels.")] = 800,
    height: Annotated[int, typer.Option("--height", "--alto", help="Pixels.")] = 600,
    iterations: Annotated[int, typer.Option("--iterations", "--iteraciones")] = 1000,
    algorithm: Annotated[
        str, typer.Option("--algorithm", "--algoritmo", help="Secuencial, Numpy or juliaCython.")
    ] = "Numpy",
    c: Annotated[str | None, typer.Option("--c", metavar="RE,IM", help="The set's c.")] = None,
    center: Annotated[
        str | None,
        typer.Option("--center", "--centro", metavar="X,Y", help="Middle of the window."),
    ] = None,
    half_width: Annotated[
        float | None, typer.Option("--half-width", "--semiancho", help="From the middle to a side.")
    ] = None,
    priority: Annotated[
        int, typer.Option("--priority", "--prioridad", help="1 high, 2 medium, 3 low.")
    ] = 2,
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture.")] = Path(
        "julia.png"
    ),
    palette: Palette = PALETTES[0],
    mapping: Mapping = MAPPINGS[0],
    slaves: Slaves = 1,
    slots: Slots = None,
    master: Master = None,
    timeout: Timeout = None,
    json: Json = False,
) -> int:
    """Render one image; without --master on a cluster of its own."""
    params: dict[str, Any] = {
        "algorithm": algorithm,
        "width": width,
        "height": height,
        "iterations": iterations,
    }
    params.update(pair("--c", c, "c_re", "c_im"))
    params.update(pair("--center", center, "center_x", "center_y"))
    if half_width is not None:
        params["half_width"] = half_width
    name = output.stem[:100] if output.stem.isidentifier() else ""
    job = Job("julia", params, name, priority)
    target = commands.Target(master, timeout, json)
    return commands.render(target, job, output, Look(palette, mapping), slaves=slaves, slots=slots)


@command("demo")
def tour(
    out: Out = Path("demo"),
    palette: Palette = PALETTES[0],
    mapping: Mapping = MAPPINGS[0],
    json: Json = False,
) -> int:
    """A short tour: a cluster on this machine, six jobs, their pictures."""
    target = commands.Target("", None, json)
    return commands.run(target, demo.jobs(), out, Look(palette, mapping), slaves=2, memorias=2)


@command("submit", "cargar-trabajos")
def submit(
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="A job file.")] = None,
    archivo: Annotated[str | None, typer.Option("--archivo", hidden=True)] = None,
    master: Master = None,
    timeout: Timeout = None,
    json: Json = False,
) -> int:
    """Hand the jobs of a file in, print their ids, and don't wait."""
    name = file or archivo
    if name is None:
        raise LocalError("submit: no job file: name one, or - for standard input")
    return commands.submit(commands.Target(master, timeout, json), batch.load(name))


@command("wait", "esperar")
def wait(ids: Ids, master: Master = None, timeout: Timeout = None, json: Json = False) -> int:
    """Wait until jobs have ended; exit code 1 if one has no result."""
    return commands.wait_for(commands.Target(master, timeout, json), ids)


@command("fetch", "descargar")
def fetch(
    ids: Ids,
    out: Out = Path("results"),
    palette: Palette = PALETTES[0],
    mapping: Mapping = MAPPINGS[0],
    master: Master = None,
    timeout: Timeout = None,
    json: Json = False,
) -> int:
    """Wait for jobs that were handed in, and write their results."""
    return commands.fetch(commands.Target(master, timeout, json), ids, out, Look(palette, mapping))


@command("cancel", "cancelar")
def cancel(ids: Ids, master: Master = None, timeout: Timeout = None, json: Json = False) -> int:
    """End jobs, what runs of them too."""
    return commands.cancel(commands.Target(master, timeout, json), ids)


@command("clear", "limpiar-cola")
def clear(
    ended: Annotated[
        bool,
        typer.Option("--ended", "--terminados", help="Forget ended jobs, and their results."),
    ] = False,
    master: Master = None,
    timeout: Timeout = None,
    json: Json = False,
) -> int:
    """Cancel every job that has not started."""
    return commands.clear(commands.Target(master, timeout, json), ended)


# --- Looking ----------------------------------------------------------------------------------

question("status", "estado", commands.status)
question("jobs", "trabajos", commands.jobs)
question("slaves", "esclavos", commands.slaves)


@command("job")
def job(
    id: Annotated[str, typer.Argument(metavar="ID")],
    master: Master = None,
    timeout: Timeout = None,
    json: Json = False,
) -> int:
    """One job, with everything that is known of it."""
    return commands.job(commands.Target(master, timeout, json), id)


@command("explain", "explicar")
def explain(
    id: Annotated[str, typer.Argument(metavar="ID", help="A job (j1), or a task of it (j1/3).")],
    master: Master = None,
    timeout: Timeout = None,
    json: Json = False,
) -> int:
    """Why a job or a task waits, failed, or was run again."""
    return commands.explain(commands.Target(master, timeout, json), id)


@command("metrics", "metricas")
def metrics(
    nodes: Nodes = None, master: Master = None, timeout: Timeout = None, json: Json = False
) -> int:
    """The newest metrics of each node, from a memoria."""
    return commands.metrics(commands.Target(master, timeout, json), nodes or ())


@command("history", "historial")
def history(
    since: Annotated[
        str, typer.Option("--since", "--desde", metavar="T", help="2h, 3d, or 2026-11-25T10:30.")
    ] = "1h",
    until: Annotated[str | None, typer.Option("--until", "--hasta", metavar="T")] = None,
    node: Annotated[
        list[str] | None, typer.Option("--node", "--nodo", metavar="NODE", help="Only this one.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "--metrica", help="cpu_percent, load, …")
    ] = None,
    step: Annotated[
        float, typer.Option("--step", "--paso", metavar="S", help="Seconds a row; 0: finest.")
    ] = 0.0,
    csv: Annotated[bool, typer.Option("--csv", help="Rows as CSV on stdout.")] = False,
    master: Master = None,
    timeout: Timeout = None,
    json: Json = False,
) -> int:
    """The past of each node, from a memoria: curves, or rows."""
    target = commands.Target(master, timeout, json)
    return commands.history(target, since, until, node or (), metric or (), step, csv)


@command("alerts", "alertas")
def alerts(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NODE… | ack ID… | rules]", help="Of these nodes; see below."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", "--todas", help="Pending ones too, and those that are over.")
    ] = False,
    master: Master = None,
    timeout: Timeout = None,
    json: Json = False,
) -> int:
    """What is wrong now, from a memoria.

    `alerts ack ID` says that you look after one; `alerts rules` prints the built-in rules.
    """
    return commands.alerts(commands.Target(master, timeout, json), words or (), every)


command("top", "monitorear")(observing.top)
command("events", "eventos")(observing.events)
command("trace", "traza")(observing.trace)
command("report", "informe")(observing.report)


@command("ping")
def ping(
    address: Annotated[str, typer.Argument(metavar="ADDR", help="HOST or HOST:PORT of any node.")],
    timeout: Timeout = None,
    json: Json = False,
) -> int:
    """Ask a node directly: who it is, and how far."""
    return commands.ping(commands.Target(None, timeout, json), address)


@command("doctor", "diagnostico")
def doctor(master: Master = None, timeout: Timeout = None, json: Json = False) -> int:
    """Look over this machine, and the cluster if one is named; 1 if something is amiss."""
    return commands.doctor(commands.Target(master, timeout, json))


@command("policy", "politica")
def policy(
    name: Annotated[str, typer.Argument(help=" or ".join(p.value for p in Policy))],
    master: Master = None,
    timeout: Timeout = None,
    json: Json = False,
) -> int:
    """Choose slaves by another policy from now on."""
    return commands.policy(commands.Target(master, timeout, json), name)


@command("drain", "drenar")
def drain(
    slaves: Annotated[list[str], typer.Argument(metavar="SLAVE…", help="Names of slaves.")],
    undo: Annotated[bool, typer.Option("--undo", help="Give them work again.")] = False,
    master: Master = None,
    timeout: Timeout = None,
    json: Json = False,
) -> int:
    """Give slaves nothing new; what they run they end."""
    return commands.drain(commands.Target(master, timeout, json), slaves, undo)


command("simulate", "simular")(forecasting.simulate)


# --- Keys -------------------------------------------------------------------------------------

app.add_typer(keycommands.app, name="keys")
app.add_typer(keycommands.app, name="claves", hidden=True)


# --- Nodes ------------------------------------------------------------------------------------

command("master", "maestro")(launchers.master)
command("slave", "esclavo")(launchers.slave)
command("memoria")(launchers.memoria)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"hpczmq {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code (CONTRACT)."""
    interrupts.install(atomic.discard_all)
    try:
        result = typer.main.get_command(app).main(arguments, "hpczmq", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        if result == interrupts.EXIT_CODE:  # what newer typers make of a KeyboardInterrupt
            raise KeyboardInterrupt
        return int(result or 0)
    except typer.exceptions.TyperException as error:  # bad usage
        if message := error.format_message():  # none: that was the help already
            print(f"{printable(message)} (`hpczmq --help` tells more)", file=sys.stderr)
        return 2
    except HpczmqError as error:
        # Of a file's faults each is a line; what another machine says is one, however it is cut.
        told = block if isinstance(error, RemoteError) else printable
        print(told(str(error)), file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        atomic.discard_all()
        print("interrupted", file=sys.stderr)
        return interrupts.EXIT_CODE
    except OSError as error:  # of our output, mostly: its disk is full, or its reader is gone
        if sys.stdout is not None:  # Python would try to write the rest once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader has seen enough
            return 0
        print(f"hpczmq: {printable(str(error))}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
