"""The options that several commands share, each said once: its names, its type, its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpczmq.errors import ConfigError, ParameterError
from hpczmq.palettes import MAPPINGS, PALETTES

Master = Annotated[
    str | None,
    typer.Option("--master", "--maestro", metavar="ADDR", help="HOST or HOST:PORT of the master."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="S", help="Seconds to wait for the cluster.")
]
Ids = Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of jobs.")]
Nodes = Annotated[list[str] | None, typer.Argument(metavar="[NODE…]", help="Only these nodes.")]
Out = Annotated[Path, typer.Option("--out", "--salida", help="Folder of the results.")]
Palette = Annotated[
    str,
    typer.Option(
        "--palette", "--paleta", help=f"{', '.join(PALETTES)}, or another colour map of cmap."
    ),
]
Mapping = Annotated[
    str, typer.Option("--mapping", "--mapeo", help=f"Counts to colours: {', '.join(MAPPINGS)}.")
]
Slaves = Annotated[int, typer.Option("--slaves", "--esclavos", help="Slaves of the local cluster.")]
Slots = Annotated[
    int | None, typer.Option("--slots", help="Worker processes a slave; all cores shared out.")
]
Memorias = Annotated[int, typer.Option("--memorias", help="Memorias of the local cluster, 0..2.")]
Name = Annotated[str | None, typer.Option("--name", "--nombre", help="Of the node, for people.")]
Bind = Annotated[str | None, typer.Option("--bind", help="HOST or HOST:PORT to listen on.")]
ControlBind = Annotated[
    str | None, typer.Option("--control-bind", help="HOST or HOST:PORT to publish on.")
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Go beyond this machine without keys: for everybody.")
]
Key = Annotated[
    str | None, typer.Option("--key", "--clave", metavar="FILE", help="This node's key file.")
]
Token = Annotated[
    str | None, typer.Option("--token", "--ficha", help="Join by it; HPCZMQ_TOKEN is not seen.")
]
Fingerprint = Annotated[
    str | None, typer.Option("--fingerprint", "--huella", help="Of the cluster, with a token.")
]
LogLevel = Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error.")]

Since = Annotated[
    str | None,
    typer.Option("--since", "--desde", metavar="TIME", help="Of the last 90s, 30m, 1h, 7d."),
]
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def pair(option: str, text: str | None, first: str, second: str) -> dict[str, float]:
    """Two parameters of an option that takes two numbers; none if it was not given."""
    if text is None:
        return {}
    try:
        a, b = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option} = {text}: must be two numbers, like -0.8,0.156") from None
    return {first: a, second: b}


def seconds_of(option: str, text: str) -> float:
    """Seconds of what people call a time: 90, 90s, 30m, 1h, 7d."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        return float(number) * _UNITS[unit]
    except ValueError:
        raise ParameterError(option, text, "must be a time: 90s, 30m, 1h, 7d") from None
