"""Where settings come from: defaults, then a TOML file, then `HPCZMQ_*`, then the command line.

Each later one wins. The file is the one that `HPCZMQ_CONFIG` names, or `hpczmq/config.toml` in
the user's configuration folder, if it is there. The containers' own variables (`MAESTRO_IP`,
`ESCLAVO`, `MEMORIA_NODE`) count like their `HPCZMQ_*` counterparts, and after them.
"""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hpczmq import limits
from hpczmq.errors import ConfigError, shown
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
    cluster: str = "hpczmq"
    policy: str = Policy.LEAST_LOADED.value
    #: Seconds between heartbeats; the master tells everybody else.
    heartbeat_s: float = limits.heartbeat_s_default
    #: Listen beyond loopback without keys.
    insecure: bool = False
    log_level: str = "info"
    #: Seconds that a command waits for the cluster to answer.
    timeout_s: float = 10.0
    #: End when standard input closes: the node belongs to the process that started it.
    lifeline: bool = False

    def __post_init__(self) -> None:
        low, high = limits.heartbeat_s_min, limits.heartbeat_s_max
        _must(low <= self.heartbeat_s <= high, "heartbeat_s", self.heartbeat_s, f"{low}..{high} s")
        _must(0 <= self.slots <= limits.slots_max, "slots", self.slots, f"0..{limits.slots_max}")
        _must(1 <= self.number <= 2, "number", self.number, "1 or 2")
        _must(0 < self.timeout_s <= limits.timeout_s_max, "timeout_s", self.timeout_s, "above 0")
        policies = [policy.value for policy in Policy]
        _must(self.policy in policies, "policy", self.policy, " or ".join(policies))
        _must(self.log_level in _LOG_LEVELS, "log_level", self.log_level, ", ".join(_LOG_LEVELS))
        fits = len(self.name) <= limits.name_chars_max and self.name.isprintable()
        _must(fits, "name", self.name, f"printable, at most {limits.name_chars_max} characters")


def load(overrides: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Config:
    """The settings that hold; `overrides` are the command line's, None meaning "not given".

    Raises:
        ConfigError: the file, a variable or an override has an unknown key or a wrong value.
    """
    environ = os.environ if environ is None else environ
    values = {**_from_file(environ), **_from_environ(environ)}
    values.update({key: value for key, value in overrides.items() if value is not None})
    return Config(**values)


def _from_file(environ: Mapping[str, str]) -> dict[str, Any]:
    named = environ.get("HPCZMQ_CONFIG")
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config")
    path = Path(named) if named else home / "hpczmq" / "config.toml"
    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        if named:
            raise ConfigError(f"{path}: not there: HPCZMQ_CONFIG must name a file") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return {key: _typed(f"{path}: {key}", key, value) for key, value in table.items()}


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for field in fields(Config):
        variable = f"HPCZMQ_{field.name.upper()}"
        if variable in environ:
            values[field.name] = _typed(variable, field.name, environ[variable])
    if environ.get("MAESTRO_IP"):
        values.setdefault("master", environ["MAESTRO_IP"])
    if environ.get("ESCLAVO"):
        values.setdefault("name", environ["ESCLAVO"])
    if environ.get("MEMORIA_NODE"):
        digits = environ["MEMORIA_NODE"].removeprefix("memoria")
        values.setdefault("number", _typed("MEMORIA_NODE", "number", digits))
    return values


def _typed(place: str, key: str, value: object) -> Any:
    """A setting's value as its type, from TOML (typed already) or from text."""
    kinds: dict[str, type] = {field.name: type(field.default) for field in fields(Config)}
    if key not in kinds:
        raise ConfigError(f"{place}: not a setting: use one of {', '.join(kinds)}")
    kind = kinds[key]
    text = str(value).strip()
    try:
        if kind is bool:
            if text.lower() not in (*_TRUE, *_FALSE):
                raise ValueError
            return text.lower() in _TRUE
        return kind(text)
    except ValueError:
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise ConfigError(f"{place} = {shown(value)}: must be {wanted}") from None


def _must(fits: bool, key: str, value: object, remedy: str) -> None:
    if not fits:
        raise ConfigError(f"{key} = {shown(value)}: must be {remedy}")


def default_name(role: str) -> str:
    """A name for a node that was given none: its host's, and which process it is."""
    return f"{socket.gethostname()}-{os.getpid()}"[: limits.name_chars_max] or role
