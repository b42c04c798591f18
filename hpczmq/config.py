"""Where settings come from: defaults, then a TOML file, then `HPCZMQ_*`, then the command line.

Each later one wins. The file is the one that `HPCZMQ_CONFIG` names, or `hpczmq/config.toml` in
the user's configuration folder, if it is there. The containers' own variables (`MAESTRO_IP`,
`ESCLAVO`, `MEMORIA_NODE`) count like their `HPCZMQ_*` counterparts, and after them. What a node
joins by may stand in a file instead, as containers and services are given secrets: that
`HPCZMQ_TOKEN_FILE` or `HPCZMQ_FINGERPRINT_FILE` names, unless the variable itself is there.
"""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hpczmq import limits, needs
from hpczmq.errors import ConfigError, ParameterError, shown
from hpczmq.model import Policy

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
_LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of a command or a node. Addresses are HOST or HOST:PORT."""

    #: Where the master is; empty: nobody said, so the default port of this machine.
    master: str = ""
    #: The node's name, for people; empty: made from the host's name, or `memoriaN`.
    name: str = ""
    #: Where the node listens; empty: its role's standard port on loopback. "off": nowhere (slave).
    bind: str = ""
    #: Where the node publishes (master, memoria); empty as above.
    control_bind: str = ""
    #: Which memoria this is, 1 or 2; chooses the standard ports.
    number: int = 1
    #: Worker processes of a slave; 0: one for each core that it may use.
    slots: int = 0
    #: Memory of a slave for all of its tasks ("8GiB"); "0": what the machine has.
    memory: str = "0"
    #: What a slave says of itself, for jobs that ask for it: "gpu=a100,room=3".
    labels: str = ""
    #: Memory of each worker of a slave, for its data; empty: what `memory` says; "off": no bound.
    worker_memory: str = ""
    #: CPU time of each task of a slave, in whole seconds; 0: no bound.
    task_cpu_s: int = 0
    #: Variables that workers get beside the usual ones: NAME,NAME.
    worker_env: str = ""
    #: What results may take on the master's disk ("200GiB"); "0": most of what is free there.
    results: str = "0"
    cluster: str = "hpczmq"
    policy: str = Policy.LEAST_LOADED.value
    #: What counts how much for the policy `resources`.
    weight_slots: float = 1.0
    weight_cpu: float = 1.0
    weight_memory: float = 0.5
    weight_latency: float = 0.5
    weight_alerts: float = 1.0
    #: A slave under a saturation alert gets nothing new until it clears.
    spare_saturated: bool = True
    #: Seconds between heartbeats; the master tells everybody else.
    heartbeat_s: float = limits.heartbeat_s_default
    #: Seconds between two measurements of the round trip to the master, and two reports of all
    #: that the node measures; heartbeats measure and report the most of it, where they are quicker.
    ping_s: float = limits.ping_s_default
    report_s: float = limits.report_s_default
    #: File of a memoria's history; empty: in the user's data folder, by its name; "off": none. And
    #: what it may take ("4GiB").
    history: str = ""
    history_size: str = f"{limits.history_file_bytes_max >> 20}MiB"
    #: File with the rules of alerts, of a memoria and of a master; empty: the built-in ones.
    rules: str = ""
    #: A memoria's command for each alert, which it gets as JSON on its standard input.
    on_alert: str = ""
    #: A memoria's file for Prometheus' node exporter; empty: none.
    prometheus_textfile: str = ""
    #: Go beyond this machine without keys.
    insecure: bool = False
    #: The folder of keys; empty: the user's own, if it is there; "off": no keys.
    keys: str = ""
    #: The file of this node's own key; empty: the one in that folder by its name or role.
    key: str = ""
    #: A slave's or a memoria's: the token with which it joins, and the cluster's fingerprint.
    token: str = field(default="", repr=False)
    fingerprint: str = ""
    log_level: str = "info"
    #: Seconds that a command waits for the cluster to answer.
    timeout_s: float = 10.0
    #: End when standard input closes: the node belongs to the process that started it.
    lifeline: bool = False
    #: Seconds that a slave which is told to end (SIGTERM) may go on with what it runs.
    grace_s: float = limits.grace_s_default
    #: Seconds after which a slave ends by itself, `grace_s` of them in order; 0: it does not.
    walltime_s: float = 0.0

    def __post_init__(self) -> None:
        _raise(_wrong({name: getattr(self, name) for name in _KINDS}, {}))


#: The settings and their types.
_KINDS: dict[str, type] = {one.name: type(one.default) for one in fields(Config)}
_SECRETS = ("token",)
#: The settings that may stand in a file of their own, named by a variable `HPCZMQ_*_FILE`.
_IN_FILES = ("token", "fingerprint")
#: What is read of such a file at most.
_FILE_CHARS = 4096
_WEIGHTS = tuple(name for name in _KINDS if name.startswith("weight_"))

#: A value with the place where it stands and the setting that it is for.
_Given = tuple[str, str, object]


def load(overrides: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Config:
    """The settings that hold; `overrides` are the command line's, None meaning "not given".

    Raises:
        ConfigError: the file, variables or overrides have unknown keys or wrong values; a line
            for each of them.
    """
    environ = os.environ if environ is None else environ
    given = [*_from_file(environ), *_from_environ(environ)]
    given += [(key, key, value) for key, value in overrides.items() if value is not None]
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    faults = []
    for place, key, value in given:
        try:
            values[key], places[key] = _typed(place, key, value), place
        except ConfigError as error:
            faults.append(str(error))
    _raise(faults + _wrong(values, places))
    return Config(**values)


def _from_file(environ: Mapping[str, str]) -> list[_Given]:
    named = environ.get("HPCZMQ_CONFIG")
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config")
    path = Path(named) if named else home / "hpczmq" / "config.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named:
            raise ConfigError(f"{path}: not there: HPCZMQ_CONFIG must name a file") from None
        return []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return [(f"{path}: {key}", key, value) for key, value in table.items()]


def _from_environ(environ: Mapping[str, str]) -> list[_Given]:
    given: list[_Given] = []
    if environ.get("MAESTRO_IP"):
        given.append(("MAESTRO_IP", "master", environ["MAESTRO_IP"]))
    if environ.get("ESCLAVO"):
        given.append(("ESCLAVO", "name", environ["ESCLAVO"]))
    if environ.get("MEMORIA_NODE"):
        digits = environ["MEMORIA_NODE"].removeprefix("memoria")
        given.append(("MEMORIA_NODE", "number", digits))
    for name in _IN_FILES:
        variable = f"HPCZMQ_{name.upper()}_FILE"
        if environ.get(variable) and variable.removesuffix("_FILE") not in environ:
            text = _text_of(variable, Path(environ[variable]))
            given.append((f"{variable} ({environ[variable]})", name, text))
    variables = {name: f"HPCZMQ_{name.upper()}" for name in _KINDS}
    given += [(it, name, environ[it]) for name, it in variables.items() if it in environ]
    return given


def _text_of(variable: str, path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_FILE_CHARS).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise ConfigError(f"{variable} = {path}: {reason}: must name a file with it") from None


def _typed(place: str, key: str, value: object) -> Any:
    """A setting's value as its type, from what is typed already or from text."""
    kind, fault = _KINDS.get(key), f"{place} = {_seen(key, value)}: "
    if kind is None:
        raise ConfigError(f"{fault}is not a setting: use one of {', '.join(_KINDS)}")
    if kind is str and not isinstance(value, str):
        raise ConfigError(f"{fault}must be text")
    text = str(value).strip()
    try:
        if kind is bool:
            if text.lower() not in (*_TRUE, *_FALSE):
                raise ValueError
            return text.lower() in _TRUE
        return kind(text)
    except ValueError:
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise ConfigError(f"{fault}must be {wanted}") from None


def _wrong(values: Mapping[str, Any], places: Mapping[str, str]) -> list[str]:
    """Every value that is out of its range, with its place (or else its key) and the remedy."""
    low, high = limits.heartbeat_s_min, limits.heartbeat_s_max
    policies, longest = [policy.value for policy in Policy], limits.name_chars_max
    least = limits.worker_memory_bytes_min
    rarest, smallest = limits.interval_s_max, limits.history_file_bytes_min
    timeout_max, heaviest = limits.timeout_s_max, limits.weights_max
    printable = (
        lambda text: len(text) <= longest and text.isprintable(),
        f"printable, at most {longest} characters",
    )
    rules: dict[str, tuple[Callable[[Any], bool], str]] = {
        "heartbeat_s": (lambda s: low <= s <= high, f"{low}..{high} s"),
        "ping_s": (lambda s: limits.ping_s_min <= s <= rarest, f"{limits.ping_s_min}..{rarest} s"),
        "report_s": (
            lambda s: limits.report_s_min <= s <= rarest,
            f"{limits.report_s_min}..{rarest} s",
        ),
        "slots": (lambda n: 0 <= n <= limits.slots_max, f"0..{limits.slots_max}"),
        "number": (lambda n: n in (1, 2), "1 or 2"),
        "timeout_s": (lambda s: 0 < s <= timeout_max, f"above 0 and at most {timeout_max:.0f}"),
        "grace_s": (lambda s: 0 <= s <= timeout_max, f"0..{timeout_max:.0f}"),
        "walltime_s": (lambda s: 0 <= s <= timeout_max, f"0..{timeout_max:.0f}"),
        "policy": (lambda text: text in policies, " or ".join(policies)),
        **dict.fromkeys(_WEIGHTS, (lambda n: 0 <= n <= heaviest, f"0..{heaviest:.0f}")),
        "memory": (lambda text: _reads(needs.memory_bytes, text), "like 512MiB or 8GiB"),
        "worker_memory": (_bounds_a_worker, f"off, or like 2GiB, at least {least >> 20}MiB"),
        "task_cpu_s": (lambda s: 0 <= s <= timeout_max, f"0..{timeout_max:.0f}"),
        "results": (lambda text: _reads(needs.memory_bytes, text), "like 512MiB or 200GiB"),
        "history_size": (_holds_a_history, f"like 4GiB, at least {smallest >> 20}MiB"),
        "labels": (lambda text: _reads(needs.labels, text), "like gpu=a100,room=3"),
        "log_level": (lambda text: text in _LOG_LEVELS, ", ".join(_LOG_LEVELS)),
        "name": printable,
        "cluster": printable,
        "token": (lambda text: text.isascii() and len(text) <= longest, "what was printed"),
        "fingerprint": (lambda text: len(text) in (0, 64), "64 hexadecimal digits"),
    }
    return [
        f"{places.get(key, key)} = {_seen(key, values[key])}: must be {remedy}"
        for key, (fits, remedy) in rules.items()
        if key in values and not fits(values[key])
    ]


def _seen(key: str, value: object) -> str:
    """A value as its user may see it, in a log too."""
    return "…" if key in _SECRETS else shown(value)


def _bounds_a_worker(text: str) -> bool:
    if text in ("", "off"):
        return True
    reads = _reads(needs.memory_bytes, text)
    return reads and needs.memory_bytes(text, "") >= limits.worker_memory_bytes_min


def _holds_a_history(text: str) -> bool:
    reads = _reads(needs.memory_bytes, text)
    return reads and needs.memory_bytes(text, "") >= limits.history_file_bytes_min


def _reads(reader: Callable[[str, str], object], text: str) -> bool:
    try:
        reader(text, "")
    except ParameterError:
        return False
    return True


def _raise(faults: list[str]) -> None:
    if faults:
        raise ConfigError("\n".join(faults))


def default_name(role: str) -> str:
    """A name for a node that was given none: its host's, and which process it is."""
    process = f"-{os.getpid()}"
    host = socket.gethostname() or role
    return host[: limits.name_chars_max - len(process)] + process
