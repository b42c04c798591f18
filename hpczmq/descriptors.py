"""File descriptors: how many there may be, and what the system knows of a connection behind one.

The descriptors are libzmq's. It may close one at any time, and the system give its number to
another connection: so whoever is to be cut is named, and nothing here raises for what is gone.
"""

from __future__ import annotations

import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

#: Where the received bytes stand in the kernel's `struct tcp_info`, of 64 bits.
_RECEIVED: Final = 128


def most() -> int:
    """How many this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raise_limit() -> None:
    """At the soft limit an accept loop spins without a word; the hard one is ours to use."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    """A descriptor as a socket, which is not closed with it."""
    end = socket.socket(fileno=fd)
    try:
        yield end
    finally:
        end.detach()


def peer_name(fd: int) -> str:
    """Who is at the other end: address and port; empty if nobody is any more."""
    with suppress(OSError), _borrowed(fd) as end:
        return str(end.getpeername())
    return ""


def received_bytes(fd: int) -> int:
    """What has arrived on a connection since it began; 0 if it is gone."""
    with suppress(OSError, struct.error), _borrowed(fd) as end:
        info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED + 8)
        return int(struct.unpack_from("=Q", info, _RECEIVED)[0])
    return 0


def shut(fd: int, name: str) -> None:
    """End the connection with somebody, if it is still this one. libzmq notices by itself, as if
    the other end had done it.
    """
    with suppress(OSError), _borrowed(fd) as end:
        if str(end.getpeername()) == name:
            end.shutdown(socket.SHUT_RDWR)
