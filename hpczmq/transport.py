"""The one module that speaks to zmq: sockets that never block, and a poller.

Every socket gets its options in `_socket`. Sends are non-blocking and say what became of them:
a peer that is gone or can't take more is a fact for the caller, not an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from typing import Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from hpczmq import descriptors, limits
from hpczmq.addresses import is_loopback
from hpczmq.doorman import Doorman
from hpczmq.errors import BindError, ConfigError
from hpczmq.wire import Buffer

#: What a monitor tells: somebody came, or was refused before a word could be said. Not that there
#: was no descriptor for somebody: libzmq says it without end, faster than it can be read.
_COMES: Final = zmq.EVENT_ACCEPTED
_FAILS: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class Sent(Enum):
    """What became of a message."""

    YES = "handed to zmq"
    FULL = "no connection yet, or the peer does not take more"
    GONE = "that peer is not connected"


class Socket:
    """One zmq socket; belongs to the thread that made it."""

    def __init__(self, raw: zmq.Socket[bytes], routes: bool) -> None:
        self.raw = raw
        self._routes = routes
        #: Of a bound socket: who is connected.
        self.doorman: Doorman | None = None

    def receive(self, messages_max: int = limits.messages_per_turn_max) -> Iterator[list[Buffer]]:
        """What has arrived, message by message, without waiting.

        On a ROUTER the first frame is the peer's routing id. Heads are copied, which is cheaper
        below a MiB; raw buffers are views of zmq's own memory.
        """
        heads, doorman = 3 if self._routes else 2, self.doorman
        for _ in range(messages_max):
            try:
                frames: list[Buffer] = [self.raw.recv(zmq.NOBLOCK)]
            except zmq.Again:
                return
            if doorman is not None and not doorman.knows(bytes(frames[0])):
                frames.append(self._introduced(bytes(frames[0]), doorman))
            while self.raw.getsockopt(zmq.RCVMORE):
                if len(frames) < heads:
                    frames.append(self.raw.recv())
                else:
                    frames.append(self.raw.recv(copy=False).buffer)
            yield frames

    def _introduced(self, peer: bytes, doorman: Doorman) -> bytes:
        """The frame behind the routing id of a peer that speaks for the first time; the doorman
        is told on which descriptor it came.
        """
        frame = self.raw.recv(copy=False)
        with suppress(zmq.ZMQError):  # its engine has not told: the next message may
            doorman.spoke(peer, int(frame.get(zmq.SRCFD)))
        return frame.bytes

    def send(self, frames: Sequence[Buffer], peer: bytes | None = None) -> Sent:
        """Hand a message to zmq, without waiting."""
        whole = frames if peer is None else [peer, *frames]
        large = any(len(frame) >= limits.zero_copy_bytes for frame in frames[2:])
        try:
            self.raw.send_multipart(whole, zmq.NOBLOCK, copy=not large)
        except zmq.Again:
            return Sent.FULL
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return Sent.GONE
            raise
        return Sent.YES

    @property
    def port(self) -> int:
        """The port that a bound socket got."""
        return int(self._endpoint().rpartition(":")[2])

    def _endpoint(self) -> str:
        """The address that was bound or dialled last; empty before."""
        raw = self.raw.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(raw, bytes), "libzmq gives bytes for this option"
        return raw.rstrip(b"\0").decode()

    def connect(self, address: str) -> None:
        """Dial an address; zmq goes on trying by itself."""
        try:
            self.raw.connect(address)
        except zmq.ZMQError as error:
            raise ConfigError(f"{address}: {error}: must be HOST or HOST:PORT") from None

    def connect_only(self, address: str) -> None:
        """Dial an address and hang up on the one before it, if that was another."""
        old = self._endpoint()
        if old != address:
            if old:
                self.raw.disconnect(old)
            self.connect(address)


class Sockets:
    """The sockets of one shell, and what else it waits for."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        self._sockets: dict[zmq.Socket[bytes], Socket] = {}
        #: What libzmq tells about the connections of each bound socket.
        self._monitors: dict[zmq.Socket[bytes], Doorman] = {}

    def router(self, address: str, insecure: bool = False) -> Socket:
        """A ROUTER bound to an address; its sends name the peer."""
        made = self._socket(zmq.ROUTER)
        made.raw.setsockopt(zmq.ROUTER_MANDATORY, 1)
        made.doorman = self._monitored(made.raw, speaks=True)
        _bind(made, address, insecure)
        return made

    def publisher(self, address: str, insecure: bool = False) -> Socket:
        """A PUB bound to an address; who is not there misses what it sends."""
        made = self._socket(zmq.PUB)
        self._monitored(made.raw, speaks=False)
        _bind(made, address, insecure)
        return made

    def dealer(self, address: str) -> Socket:
        """A DEALER that dials an address, and drops what it can't send at once."""
        made = self._socket(zmq.DEALER)
        made.raw.setsockopt(zmq.IMMEDIATE, 1)
        made.connect(address)
        return made

    def subscriber(self, *topics: bytes) -> Socket:
        """A SUB of some topics, to be connected later."""
        made = self._socket(zmq.SUB)
        for topic in topics:
            made.raw.setsockopt(zmq.SUBSCRIBE, topic)
        return made

    def _socket(self, kind: int) -> Socket:
        """A socket with all its options: the one place where they are set."""
        raw = self._context.socket(kind)
        raw.setsockopt(zmq.LINGER, limits.linger_ms)
        raw.setsockopt(zmq.SNDHWM, limits.socket_messages_max)
        raw.setsockopt(zmq.RCVHWM, limits.socket_messages_max)
        raw.setsockopt(zmq.MAXMSGSIZE, max(limits.body_bytes_max, limits.buffer_bytes_max))
        raw.setsockopt(zmq.BACKLOG, limits.listen_backlog)
        raw.setsockopt(zmq.RECONNECT_IVL, 50)
        raw.setsockopt(zmq.RECONNECT_IVL_MAX, 2_000)
        raw.setsockopt(zmq.IPV6, 1)
        raw.setsockopt(zmq.CONNECT_TIMEOUT, limits.dial_ms)
        raw.setsockopt(zmq.HANDSHAKE_IVL, limits.handshake_ms)
        # A silent cut of the network ends a connection: for who has something to say by the
        # first of these, for who only listens (SUB) by the others, and nobody listens for ever
        # to a peer that has hung up. The kernel does it. ZMTP's own heartbeats would do the
        # same, but cost a core at some thousand connections.
        raw.setsockopt(zmq.TCP_MAXRT, 1_000 * limits.connection_silent_s)
        raw.setsockopt(zmq.TCP_KEEPALIVE, 1)
        raw.setsockopt(zmq.TCP_KEEPALIVE_IDLE, limits.connection_silent_s)
        raw.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 1)
        raw.setsockopt(zmq.TCP_KEEPALIVE_CNT, limits.connection_silent_s)
        made = self._sockets[raw] = Socket(raw, kind == zmq.ROUTER)
        self._poller.register(raw, zmq.POLLIN)
        return made

    def _monitored(self, raw: zmq.Socket[bytes], speaks: bool) -> Doorman:
        """A doorman for a socket that is about to be bound."""
        name = f"inproc://doorman-{len(self._monitors)}"
        told = self._context.socket(zmq.PAIR)
        # Without a bound, for libzmq would stand still at it; `inspect` empties it each tick.
        told.setsockopt(zmq.RCVHWM, 0)
        told.setsockopt(zmq.LINGER, 0)
        raw.monitor(name, _COMES | _FAILS | zmq.EVENT_DISCONNECTED)
        told.connect(name)
        doorman = self._monitors[told] = Doorman(speaks)
        return doorman

    @property
    def connections(self) -> int:
        """How many there are at bound sockets."""
        return sum(len(doorman.connections) for doorman in self._monitors.values())

    def inspect(self, is_member: Callable[[bytes], bool], now: float) -> list[str]:
        """Look at who is connected, and cut who has to go; codes of what was refused."""
        refused = []
        for told, doorman in self._monitors.items():
            refused += _news(told, doorman, now)
        room = int(descriptors.most() * limits.connections_percent / 100)
        for doorman in self._monitors.values():
            left = max(0, room - self.connections + len(doorman.connections))
            for gone, why in doorman.inspect(left, descriptors.received_bytes, is_member, now):
                descriptors.shut(gone.fd, gone.name)
                doorman.left(gone.fd)
                refused.append(why)
        return refused

    def watch(self, fd: int, write: bool = False) -> None:
        """Wake up for a file descriptor too; with `write`, also when it can be written."""
        self._poller.register(fd, zmq.POLLIN | (zmq.POLLOUT if write else 0))

    def unwatch(self, fd: int) -> None:
        """Don't wake up for a file descriptor any more."""
        self._poller.unregister(fd)

    def poll(self, timeout_s: float) -> set[Socket | int]:
        """Wait; give back the sockets and descriptors with something to read (or write)."""
        ready = self._poller.poll(max(0, int(timeout_s * 1000)))
        return {key if isinstance(key, int) else self._sockets[key] for key, _ in ready}

    def close(self) -> None:
        """Close everything, after what was sent last had `linger_ms` to leave."""
        for told in self._monitors:
            told.close()
        for raw in self._sockets:
            raw.close()
        self._context.term()


def _bind(bound: Socket, address: str, insecure: bool) -> None:
    if not insecure and not is_loopback(address):
        raise BindError(
            f"{address}: everybody who reaches it could use this node: bind 127.0.0.1,"
            " or accept that with --insecure"
        )
    try:
        bound.raw.bind(address)
    except zmq.ZMQError as error:
        raise BindError(f"{address}: {error}: choose another with --bind HOST:PORT") from None


def _news(told: zmq.Socket[bytes], doorman: Doorman, now: float) -> list[str]:
    """Tell a doorman who came and went; codes of what failed."""
    refused = []
    for _ in range(limits.connections_told_max):
        if not told.poll(0):
            break
        event = recv_monitor_message(told)
        kind, fd = event["event"], int(event["value"])
        if kind == _COMES:
            doorman.came(fd, descriptors.peer_name(fd), now)
        elif kind == zmq.EVENT_DISCONNECTED:
            doorman.left(fd)
        else:
            refused.append("handshake")
    return refused
