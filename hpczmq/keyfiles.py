"""Keys on disk: a file for each node, which nobody but its owner may read.

A key file is JSON: whose it is, its role, its pair, and the key of the cluster that it belongs to.
It is all that a node needs. After a rotation of the cluster's key has been announced it has the
next one too, and the node tries both until it knows which one serves.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from hpczmq import atomic, limits
from hpczmq.errors import ConfigError, OutputError, ParameterError, shown
from hpczmq.guard import new_pair as new_pair
from hpczmq.identity import KEY_BYTES, KeyPair, Member, key_of, role_of
from hpczmq.transport import Keys

log = logging.getLogger(__name__)

#: Key files are this short; what is longer is something else.
_BYTES_MAX: Final = 64 * limits.KIB


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What a key file says."""

    name: str
    #: The name of a `KeyRole`.
    role: str
    pair: KeyPair
    #: The key of the cluster, and the one that it will have after the next rotation, or none.
    cluster: bytes
    next_key: bytes = b""


def read(path: Path) -> KeyFile:
    """The key of a file.

    Raises:
        ConfigError: it is not there, others may read it, or it is no key file.
    """
    table = read_private(path)
    try:
        return KeyFile(
            _text(table, "name"),
            role_of(_text(table, "role")).name.lower(),
            pair_of(table, "public", "secret"),
            key_of(_text(table, "cluster"), "cluster"),
            key_of(_text(table, "next"), "next") if table.get("next") else b"",
        )
    except ParameterError as error:
        raise ConfigError(f"{path}: {error}") from None


def write(path: Path, file: KeyFile) -> None:
    """Put a key file in its place, whole, for its owner alone.

    Raises:
        OutputError: it can't be written.
    """
    table = {"name": file.name, "role": file.role, **packed(file.pair, "public", "secret")}
    table["cluster"] = file.cluster.hex()
    if file.next_key:
        table["next"] = file.next_key.hex()
    write_private(path, table)


def read_private(path: Path, made_by: str = "add") -> dict[str, Any]:
    """The JSON object of a file that nobody else may read.

    Args:
        path: the file.
        made_by: which `hpczmq keys …` makes it, to tell who misses it.

    Raises:
        ConfigError: it is not there, others may read it, or it is something else.
    """
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise ConfigError(
                    f"{path}: its mode is {mode:04o}, so that others may read it: chmod 600 {path}"
                )
            table = json.loads(file.read(_BYTES_MAX))
    except OSError as error:
        why = error.strerror or error
        raise ConfigError(f"{path}: {why}: `hpczmq keys {made_by}` makes one") from None
    except (ValueError, RecursionError):
        table = None  # not even the parser's words are shown: they may have a part of a secret
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: this is no key file: `hpczmq keys {made_by}` makes one")
    return table


def write_private(path: Path, table: dict[str, Any]) -> None:
    """Put a JSON object into a file that nobody else may read.

    Raises:
        OutputError: it can't be written.
    """
    with atomic.replacing(path) as file:
        os.fchmod(file.fileno(), 0o600)  # before there is anything in it
        file.write(json.dumps(table, indent=1).encode() + b"\n")


def pair_of(table: dict[str, Any], public: str, secret: str) -> KeyPair:
    """A pair of a file.

    Raises:
        ParameterError: it is none; the value of a secret is not shown.
    """
    try:
        half = bytes.fromhex(_text(table, secret))
    except ValueError:
        half = b""
    if len(half) != KEY_BYTES:
        raise ParameterError(secret, "…", "must be 64 hexadecimal digits")
    return KeyPair(key_of(_text(table, public), public), half)


def packed(pair: KeyPair, public: str, secret: str) -> dict[str, Any]:
    """A pair as a file has it."""
    return {public: pair.public.hex(), secret: pair.secret.hex()}


def _text(table: dict[str, Any], field: str) -> str:
    value = table.get(field)
    if not isinstance(value, str):
        raise ParameterError(field, "…", "must be text: the file is cut off, or no key file")
    return value


class NodeKeys:
    """The keys of a running node or client, which follow the cluster's rotations.

    Args:
        file: what its key file says.
        path: where that is kept up to date; None: nowhere.
    """

    def __init__(self, file: KeyFile, path: Path | None) -> None:
        self.file = file
        self._path = path
        #: What the sockets use.
        self.keys = Keys(file.pair, file.cluster)
        self._tried_s = float("-inf")

    def member(self) -> Member:
        """The node itself, as somebody who may connect to its own port."""
        return Member(self.file.name, role_of(self.file.role), self.file.pair.public)

    def learn(self, next_key: bytes) -> None:
        """The master has told which key comes next, on a connection that proved the present one;
        so the present one is the one that it was dialled with.
        """
        settled = replace(self.file, cluster=self.keys.server, next_key=next_key)
        if settled == self.file:
            return
        self.file = settled
        if self._path is not None:
            try:
                write(self._path, settled)
            except OutputError as error:
                log.warning("the next key of the cluster is known, but not kept: %s", error)

    def tries_other(self, joined: bool, misunderstood: bool, now: float) -> bool:
        """Whether the master is to be dialled with the other of two keys: when it has not been
        there for a while, or at once when it does not understand the one that served so far.
        """
        if not self.file.next_key or (joined and not misunderstood):
            self._tried_s = now
            return False
        patience_s = limits.tick_s if misunderstood else limits.other_key_s
        if now - self._tried_s < patience_s:
            return False
        self._tried_s, server = now, self.keys.server
        self.keys.server = self.file.next_key if server == self.file.cluster else self.file.cluster
        return True


def folder_of(setting: str) -> Path:
    """Where keys are kept: the folder of the setting, or else the user's own."""
    if setting:
        return Path(setting)
    home = os.environ.get("XDG_CONFIG_HOME") or Path(os.environ.get("HOME", "/")) / ".config"
    return Path(home) / "hpczmq" / "keys"


def described(role: str, name: str) -> str:
    """Whose key it is, for people."""
    return f"{shown(name)} ({role})"
