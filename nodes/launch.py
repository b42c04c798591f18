"""From settings to a running node; the `hpczmq master`, `slave` and `memoria` commands."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from hpczmq import addresses
from hpczmq.config import Config, default_name
from hpczmq.errors import ConfigError
from hpczmq.keyfiles import NodeKeys
from hpczmq.nodes import enrol
from hpczmq.nodes.shell import set_up_logging

log = logging.getLogger(__name__)

MEMORIA_PORT: Final = 5002  # plus its number: 5003, 5004
MEMORIA_ALERTS_PORT: Final = 5012  # plus its number: 5013, 5014


def master(config: Config) -> None:
    """Be a master until told to stop."""
    from hpczmq.nodes.master import Master  # each role loads what it needs, and starts sooner

    config = replace(
        config,
        name=config.name or "master",
        bind=_bind(config.bind, addresses.DISPATCH_PORT),
        control_bind=_bind(config.control_bind, addresses.CONTROL_PORT),
    )
    _log(config, config.bind, config.control_bind)
    Master(config).run()


def slave(config: Config) -> None:
    """Be a slave until told to stop."""
    from hpczmq.nodes.slave import Slave

    bind = config.bind if config.bind in ("", "off") else _bind(config.bind, addresses.SLAVE_PORT)
    config = replace(config, master=_master(config), bind=bind)
    _log(config, *([] if bind in ("", "off") else [bind]))
    keys = enrol.keys_of(config, "slave")
    name = config.name or _joined_as(config, keys) or default_name("slave")
    Slave(replace(config, name=name), keys).run()


def memoria(config: Config) -> None:
    """Be a memoria until told to stop."""
    from hpczmq.nodes.memoria import Memoria

    config = replace(
        config,
        master=_master(config),
        name=config.name or f"memoria{config.number}",
        bind=_bind(config.bind, MEMORIA_PORT + config.number),
        control_bind=_bind(config.control_bind, MEMORIA_ALERTS_PORT + config.number),
    )
    _log(config, config.bind, config.control_bind)
    Memoria(config, enrol.keys_of(config, "memoria")).run()


ROLES: Final[dict[str, Callable[[Config], None]]] = {
    "master": master,
    "slave": slave,
    "memoria": memoria,
}


def _master(config: Config) -> str:
    address = addresses.address_of(config.master or "127.0.0.1")
    if address.endswith("*"):
        raise ConfigError(f"master = {config.master}: must name a port above 0")
    return address


def _joined_as(config: Config, keys: NodeKeys | None) -> str:
    """The name that a node without one got with its token; empty: it did not join like that.

    So a container is the same node when it starts again. Only with a key file of its own: slaves
    that share one must be told apart.
    """
    return keys.file.name if keys is not None and config.token and config.key else ""


def _bind(given: str, port: int) -> str:
    return addresses.address_of(given or "127.0.0.1", port)


def _log(config: Config, *binds: str) -> None:
    """Set logging up; its first lines are what an operator should know of the sockets."""
    set_up_logging(sys.stderr, config.log_level)
    for address in binds:
        if config.insecure and not addresses.is_loopback(address):
            log.warning(
                "%s listens beyond loopback without keys: everybody who reaches it can use this"
                " node",
                address,
            )
