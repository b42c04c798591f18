"""Which keys a process has, by its settings: the one place that decides between keys and none.

`insecure`, or `keys = "off"`, is none. Else the file that `key` names; else one in the folder of
keys that is the node's by its name or role. Where there is no file there are no keys, and then
nothing leaves this machine.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hpczmq import keyfiles
from hpczmq.config import Config
from hpczmq.keyfiles import NodeKeys
from hpczmq.keyring import Keyring

OFF: Final = "off"
#: Whose key a command takes, the first that is there.
_ASKERS: Final = ("admin", "client", "viewer")
#: Where clusters of this process listen, which have no keys.
_own: set[str] = set()


def of_master(config: Config) -> Keyring | None:
    """The keys of the cluster; None: there are none here.

    Raises:
        ConfigError: they are there, and can't be used.
    """
    if config.insecure or config.keys == OFF:
        return None
    folder = keyfiles.folder_of(config.keys)
    named = bool(config.keys) or os.path.lexists(folder / "cluster.key")
    return Keyring(folder) if named else None


def of_node(config: Config, role: str) -> NodeKeys | None:
    """The keys of a slave or a memoria; None: there are none here.

    Raises:
        ConfigError: they are there, and can't be used.
    """
    return _of(config, (config.name, role) if config.name else (role,))


def of_client(config: Config, address: str) -> NodeKeys | None:
    """The keys of who talks to the master at an address; None: there are none here, or the
    address is a cluster's that this process has made for itself.

    Raises:
        ConfigError: they are there, and can't be used.
    """
    return None if address in _own else _of(config, _ASKERS)


def own_cluster(address: str) -> None:
    """A cluster of this process listens here, for this machine alone, and has no keys."""
    _own.add(address)


def file_of(config: Config, role: str) -> Path:
    """Where the key of a node that joins by a token is kept."""
    if config.key:
        return Path(config.key)
    return keyfiles.folder_of("" if config.keys == OFF else config.keys) / f"{role}.key"


def _of(config: Config, names: Sequence[str]) -> NodeKeys | None:
    if config.insecure or config.keys == OFF:
        return None
    folder = keyfiles.folder_of(config.keys)
    paths = [Path(config.key)] if config.key else [folder / f"{name}.key" for name in names]
    for path in paths:
        if config.key or os.path.lexists(path):
            return NodeKeys(keyfiles.read(path), path)
    return None
