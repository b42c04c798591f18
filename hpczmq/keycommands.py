"""`hpczmq keys …`: who may come into the cluster. Works on a folder, beside the master or alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.text import Text

from hpczmq import config, keyfiles
from hpczmq.clock import Clock
from hpczmq.errors import ConfigError, ParameterError, shown
from hpczmq.identity import GIVEN, fingerprint, role_of
from hpczmq.keyring import Keyring, Row
from hpczmq.limits import rotation_s_max
from hpczmq.options import Json, seconds_of
from hpczmq.output import Output
from hpczmq.tables import table

F = TypeVar("F", bound=Callable[..., Any])

app = typer.Typer(no_args_is_help=True, help="Keys of the cluster, their roles, join tokens.")

Keys = Annotated[
    str | None,
    typer.Option("--keys", "--claves", metavar="DIR", help="The folder of the cluster's keys."),
]
KeyName = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")]
Role = Annotated[str, typer.Option("--role", "--rol", help=", ".join(GIVEN))]


def command(name: str, other: str) -> Callable[[F], F]:
    """Offer a function under a name, and under another that the help does not list."""

    def register(function: F) -> F:
        app.command(name)(function)
        app.command(other, hidden=True)(function)
        return function

    return register


@command("init", "iniciar")
def init(keys: Keys = None, json: Json = False) -> int:
    """Make the cluster's key, and the first admin's."""
    folder = _folder(keys)
    ring = Keyring.init(folder, Clock().wall())
    key = fingerprint(ring.cluster.pair.public)
    text = (
        f"{shown(str(folder))}: the cluster's key is made, and admin.key for who runs commands\n"
        f"fingerprint  {key}\n"
        "next: `hpczmq keys add NAME --role slave` for each node, and its file NAME.key to it"
    )
    Output(json).show(Text(text), {"folder": str(folder), "fingerprint": key})
    return 0


@command("add", "agregar")
def add(name: KeyName, role: Role, keys: Keys = None, json: Json = False) -> int:
    """Make a key for a node or a person; its file is to be carried there."""
    path = Keyring(_folder(keys)).add(name, role_of(role), Clock().wall())
    text = f"{shown(str(path))}: carry it to {shown(name)}, and name it there with HPCZMQ_KEY"
    Output(json).show(Text(text), {"name": name, "role": role, "file": str(path)})
    return 0


@command("list", "listar")
def list_(keys: Keys = None, json: Json = False) -> int:
    """All keys, those that were revoked too."""
    rows = Keyring(_folder(keys)).rows
    shown_rows = table("Keys", "name", "role", "since", "revoked", "fingerprint")
    for row in rows:
        one = row.member
        revoked = Text(_day(row.revoked_s), "bold red") if row.revoked_s else Text("")
        told = fingerprint(one.key)[:16] + "…"
        shown_rows.add_row(shown(one.name), one.role.name.lower(), _day(row.added_s), revoked, told)
    Output(json).show(shown_rows, [_facts(row) for row in rows])
    return 0


@command("show", "mostrar")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name, or cluster.")] = "cluster",
    keys: Keys = None,
    json: Json = False,
) -> int:
    """One key in full: the public half of it, which is its fingerprint."""
    ring, now = Keyring(_folder(keys)), Clock().wall()
    if name == "cluster":
        facts: dict[str, Any] = {
            "name": name,
            "fingerprint": fingerprint(ring.cluster.at(now).public),
            "next": fingerprint(ring.cluster.next_key(now)),
            "next_in_s": max(0.0, ring.cluster.next_s - now),
        }
    else:
        found = [row for row in ring.rows if row.member.name == name]
        if not found:
            raise ParameterError("name", name, "has no key: see `hpczmq keys list`")
        facts = _facts(found[-1])
    lines = [f"{key:12} {shown(str(value))}" for key, value in facts.items() if value]
    Output(json).show(Text("\n".join(lines)), facts)
    return 0


@command("revoke", "revocar")
def revoke(name: KeyName, keys: Keys = None, json: Json = False) -> int:
    """Let a key in no more; a running master cuts its connections at once."""
    gone = Keyring(_folder(keys)).revoke(name, Clock().wall())
    told = ", ".join(shown(one.name) for one in gone)
    facts = [{"name": one.name, "fingerprint": fingerprint(one.key)} for one in gone]
    Output(json).show(Text(f"revoked: {told}"), facts)
    return 0


@command("rotate", "rotar")
def rotate(
    after: Annotated[
        str, typer.Option("--after", "--tras", metavar="TIME", help="When it serves: 90s, 2h, 7d.")
    ] = "24h",
    keys: Keys = None,
    json: Json = False,
) -> int:
    """Give the cluster another key. Until it serves, all who are there learn of it, and who joins
    knows both.
    """
    after_s = seconds_of("after", after)
    if not 0 <= after_s <= rotation_s_max:
        raise ParameterError("after", after, "must be up to a year: 90s, 2h, 7d")
    cluster = Keyring(_folder(keys)).rotate(after_s, Clock().wall())
    assert cluster.next_pair is not None, "that is what a rotation is"
    key = fingerprint(cluster.next_pair.public)
    text = f"from {_day(cluster.next_s)} on the cluster's key is\n{key}"
    Output(json).show(Text(text), {"fingerprint": key, "after_s": after_s})
    return 0


@command("token", "ficha")
def token(
    role: Role = "slave",
    expires: Annotated[
        str, typer.Option("--expires", "--vence", metavar="TIME", help="30m, 1h, 7d.")
    ] = "1h",
    uses: Annotated[int, typer.Option("--uses", "--usos", help="How many may join by it.")] = 1,
    keys: Keys = None,
    json: Json = False,
) -> int:
    """Make a token by which nodes join, and get a key of their own."""
    ring, now = Keyring(_folder(keys)), Clock().wall()
    made = ring.token(role_of(role), seconds_of("expires", expires), uses, now)
    key = fingerprint(ring.cluster.at(now).public)
    text = (
        f"{made}\nthere: HPCZMQ_TOKEN={made} HPCZMQ_FINGERPRINT={key} hpczmq {role} --master ADDR"
    )
    facts = {"token": made, "fingerprint": key, "role": role, "uses": uses}
    Output(json).show(Text(text), facts)
    return 0


def _folder(given: str | None) -> Path:
    setting = config.load({"keys": given}).keys
    if setting == "off":
        raise ConfigError("keys = off: must name a folder here: --keys DIR")
    return keyfiles.folder_of(setting)


def _facts(row: Row) -> dict[str, Any]:
    return {
        "name": row.member.name,
        "role": row.member.role.name.lower(),
        "fingerprint": fingerprint(row.member.key),
        "added": _day(row.added_s),
        "revoked": _day(row.revoked_s) if row.revoked_s else "",
    }


def _day(wall: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))
