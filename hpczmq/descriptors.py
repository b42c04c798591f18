"""File descriptors: how many there may be, and what the system knows of a connection behind one.

The descriptors are libzmq's. It may close one at any time, and the system give its number to
another connection: so whoever is to be cut is named, and nothing here raises for what is gone.
"""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

#: Linux's names for a filter of what arrives; `socket` does not have them.
_ATTACH_FILTER, _DETACH_FILTER = 26, 27
#: A filter of one instruction (`struct sock_filter`): take nothing of a packet.
_NOTHING: Final = struct.pack("=HBBI", 6, 0, 0, 0)
#: What is thrown away of a connection at once, and how often.
_THROWN_BYTES: Final = 1 << 20
_THROWN_TIMES: Final = 64
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


def identity(fd: int) -> int:
    """A number that no other connection has had; 0 if it is gone."""
    with suppress(OSError):
        return os.fstat(fd).st_ino
    return 0


def received_bytes(fd: int) -> int:
    """What has arrived on a connection since it began; 0 if it is gone."""
    with suppress(OSError, struct.error), _borrowed(fd) as end:
        info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED + 8)
        return int(struct.unpack_from("=Q", info, _RECEIVED)[0])
    return 0


def shut(fd: int, identity_: int) -> None:
    """End a connection, if it is still this one. libzmq notices by itself, as if
    the other end had done it. What has come and was not read is thrown away: megabytes, perhaps.
    """
    with suppress(OSError), _borrowed(fd) as end:
        if identity(fd) != identity_:
            return
        end.shutdown(socket.SHUT_RDWR)
        if sys.platform == "linux":  # elsewhere the bytes would be copied
            for _ in range(_THROWN_TIMES):
                if not end.recv(_THROWN_BYTES, socket.MSG_DONTWAIT | socket.MSG_TRUNC):
                    break


def hold(listener: int, shut: bool) -> None:
    """Have the system answer nobody who dials, or do so again. Who dialled meanwhile does it again
    by itself, a second later. Where there are no such filters (Linux has them) nothing happens.
    """
    if sys.platform != "linux":
        return
    nothing = ctypes.create_string_buffer(_NOTHING, len(_NOTHING))
    program = struct.pack("HL", 1, ctypes.addressof(nothing))  # `struct sock_fprog`
    with suppress(OSError), _borrowed(listener) as end:
        if shut:
            end.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
        else:
            end.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)


def memory_bytes() -> int:
    """What this process has in memory; 0 where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return 0
