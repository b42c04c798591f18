"""Addresses: what a user writes, what zmq takes, and what can be reached from where."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final

from hpczmq.errors import ConfigError

DISPATCH_PORT: Final = 5001
CONTROL_PORT: Final = 5011
SLAVE_PORT: Final = 5002
#: Hosts that stand for every interface of a machine; nobody can dial them.
_EVERYWHERE: Final = ("0.0.0.0", "[::]", "*")  # noqa: S104 — named to be told apart, not bound
#: A host's name or address, an IPv6 one in brackets, and perhaps a port; 0 and * are any free one.
#: And perhaps the key that is expected there.
_ADDRESS: Final = re.compile(
    r"(?:tcp://)?(\[[\w:.%-]+\]|[^\s:/\[\]]+)(?::(\*|[0-9]{1,5}))?(#[0-9a-f]{64})?", re.ASCII
)


def address_of(text: str, port: int = DISPATCH_PORT) -> str:
    """A zmq address from what a user writes: HOST, HOST:PORT, or tcp://HOST:PORT.

    Raises:
        ConfigError: it is none of these.
    """
    fits = _ADDRESS.fullmatch(text)
    host, tail, key = fits.groups("") if fits else ("", "", "")
    tail = tail or str(port)
    if not fits or (tail != "*" and int(tail) > 65_535):
        wide = text.removeprefix("tcp://").count(":") > 1
        hint = f", an IPv6 one in brackets: [::1]:{port}" if wide else ""
        raise ConfigError(f"address = {text!r}: must be HOST or HOST:PORT{hint}")
    free = tail == "*" or int(tail) == 0
    return f"tcp://{host}:{'*' if free else tail}{key}"


def host_of(address: str) -> str:
    """The host of a zmq address."""
    return address.removeprefix("tcp://").rpartition(":")[0]


def reachable_host(bind: str, peer: str) -> str:
    """The host under which `peer` can reach a socket that is bound to `bind`.

    Of a socket bound to every interface it is the address from which this machine would dial the
    peer; asking for it sends nothing.
    """
    host = host_of(bind)
    if host not in _EVERYWHERE:
        return host
    target, port = host_of(peer).strip("[]"), int(peer.rpartition(":")[2])
    try:
        family, kind, _, _, address = socket.getaddrinfo(target, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"


def is_loopback(address: str) -> bool:
    """Whether nobody outside this machine can reach an address."""
    host = host_of(address).strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
