"""The sockets of a process: how they are made, guarded, looked after, and waited for.

Every socket gets its options in `_socket`; `endpoint` has what is done with one.

With keys every connection is encrypted, and both ends know whose key the other has (CURVE). Without
them nothing listens beyond this machine, or dials beyond it, unless that was accepted in words.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import zmq

from hpczmq import descriptors, limits
from hpczmq.addresses import is_loopback
from hpczmq.doorman import STORM, Doorman
from hpczmq.endpoint import Socket
from hpczmq.errors import BindError, ConfigError
from hpczmq.guard import ANSWERS, PUBLISHES, Guard
from hpczmq.identity import Callers, KeyPair

#: What a monitor tells: somebody came, or was refused before a word could be said. Not that there
#: was no descriptor for somebody: libzmq says it without end, faster than it can be read.
_COMES: Final = zmq.EVENT_ACCEPTED
_FAILS: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


#: … and that it listens, or somebody has gone.
_ELSE: Final = zmq.EVENT_DISCONNECTED | zmq.EVENT_LISTENING
#: How libzmq packs it: what happened, and a descriptor or an error.
_EVENT: Final = struct.Struct("=HI")
#: What it tells who dials.
_REFUSED: Final = _FAILS | zmq.EVENT_HANDSHAKE_SUCCEEDED


@dataclass(slots=True)
class Keys:
    """What a process needs of keys: its own pair, and the key of the cluster it dials."""

    pair: KeyPair
    #: Of who is dialled without saying which key is expected there.
    server: bytes


class Sockets:
    """The sockets of one shell, and what else it waits for.

    Args:
        keys: what all of them are to be encrypted with; None: nothing is.
        insecure: whether they may go beyond this machine all the same.
    """

    def __init__(self, keys: Keys | None = None, insecure: bool = False) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        self.keys = keys
        self._insecure = insecure
        #: Who may connect to the bound ones, where there are keys.
        self.callers = Callers()
        self._guard: Guard | None = None
        self._sockets: dict[zmq.Socket[bytes], Socket] = {}
        #: What libzmq tells about the connections of each bound socket; and of all sockets.
        self._monitors: dict[zmq.Socket[bytes], Doorman] = {}
        #: The descriptor that listens for each of them.
        self._listeners: dict[Doorman, int] = {}
        #: What this process had in memory when all connections were looked at.
        self._memory_bytes = 0
        self._listening: set[zmq.Socket[bytes]] = set()
        self._names = 0

    def router(self, address: str) -> Socket:
        """A ROUTER bound to an address; its sends name the peer."""
        made = self._socket(zmq.ROUTER)
        made.raw.setsockopt(zmq.ROUTER_MANDATORY, 1)
        made.raw.setsockopt(zmq.RCVHWM, limits.received_messages_max)
        made.doorman = self._monitored(made.raw, speaks=True)
        self._bind(made, address)
        return made

    def publisher(self, address: str) -> Socket:
        """A PUB bound to an address; who is not there misses what it sends."""
        made = self._socket(zmq.PUB)
        self._monitored(made.raw, speaks=False)
        self._bind(made, address)
        return made

    def dealer(self, address: str) -> Socket:
        """A DEALER that dials an address, and drops what it can't send at once.

        Raises:
            ConfigError: zmq does not take the address, or it is beyond this machine and there are
                no keys.
        """
        made = self._socket(zmq.DEALER)
        made.raw.setsockopt(zmq.IMMEDIATE, 1)
        made.told = self._told(made.raw, _REFUSED)
        self._dial(made, address)
        return made

    def undialled(self) -> Socket:
        """A DEALER that dials nobody yet; see `moved`."""
        made = self._socket(zmq.DEALER)
        made.raw.setsockopt(zmq.IMMEDIATE, 0)  # the first question may wait for the connection
        return made

    def subscriber(self, *topics: bytes) -> Socket:
        """A SUB of some topics, to be `moved` to where they are published."""
        made = self._socket(zmq.SUB)
        made.topics = topics
        for topic in topics:
            made.raw.setsockopt(zmq.SUBSCRIBE, topic)
        return made

    def moved(self, socket: Socket, address: str) -> Socket:
        """A socket that dials this address with the keys as they are now: the same one if it does
        already, else a new one in its place. (libzmq ends the whole process when a SUB hangs up in
        the middle of a message.)
        """
        if socket.dialled == self._target(address):
            return socket
        made = self.subscriber(*socket.topics) if socket.topics else self.undialled()
        self._dial(made, address)
        self._drop(socket)
        return made

    def redialled(self, socket: Socket, address: str) -> Socket:
        """A new DEALER in the place of one, with the keys as they are now."""
        made = self.dealer(address)
        self._drop(socket)
        return made

    def _drop(self, socket: Socket) -> None:
        self._poller.unregister(socket.raw)
        del self._sockets[socket.raw]
        if socket.told is not None:
            socket.raw.disable_monitor()
            socket.told.close()
            self._listening.remove(socket.told)
        socket.raw.close()

    def _target(self, address: str) -> tuple[str, bytes]:
        """Where to dial, and the key that is expected there."""
        bare, _, key = address.partition("#")
        expected = self.keys.server if self.keys is not None else b""
        return bare, bytes.fromhex(key) if key else expected

    def _dial(self, socket: Socket, address: str) -> None:
        bare, expected = self._target(address)
        if self.keys is not None:
            socket.raw.setsockopt(zmq.CURVE_SERVERKEY, expected)
        elif not self._insecure and not is_loopback(bare):
            self._drop(socket)
            raise ConfigError(
                f"{bare}: it is beyond this machine, and there is no key here: have one made where"
                " the master is (`hpczmq keys add NAME --role …`) and name its file with"
                " HPCZMQ_KEY, or accept that anybody may read and answer with HPCZMQ_INSECURE=true"
            )
        try:
            socket.raw.connect(bare)
        except zmq.ZMQError as error:
            self._drop(socket)
            raise ConfigError(f"{bare}: {error}: must be HOST or HOST:PORT") from None
        socket.dialled = bare, expected

    def _bind(self, socket: Socket, address: str) -> None:
        if self.keys is not None:
            if self._guard is None:
                self._guard = Guard(self._context, self.callers)
                self._poller.register(self._guard.zap_socket, zmq.POLLIN)
            socket.keyed = True
            socket.raw.setsockopt(zmq.CURVE_SERVER, 1)
            domain = PUBLISHES if socket.kind == zmq.PUB else ANSWERS
            socket.raw.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
        elif not self._insecure and not is_loopback(address):
            raise BindError(
                f"{address}: everybody who reaches it could use this node: make keys (where the"
                " master is `hpczmq keys init`, and `hpczmq keys add NAME --role …` for each other"
                " node), bind 127.0.0.1, or accept that with --insecure"
            )
        try:
            socket.raw.bind(address)
        except zmq.ZMQError as error:
            raise BindError(f"{address}: {error}: choose another with --bind HOST:PORT") from None

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
        if self.keys is not None:
            raw.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.pair.public)
            raw.setsockopt(zmq.CURVE_SECRETKEY, self.keys.pair.secret)
        made = self._sockets[raw] = Socket(raw, kind)
        self._poller.register(raw, zmq.POLLIN)
        return made

    def _monitored(self, raw: zmq.Socket[bytes], speaks: bool) -> Doorman:
        """A doorman for a socket that is about to be bound."""
        told = self._told(raw, _COMES | _FAILS | _ELSE)
        doorman = self._monitors[told] = Doorman(speaks)
        return doorman

    def _told(self, raw: zmq.Socket[bytes], events: int) -> zmq.Socket[bytes]:
        """What libzmq tells of the connections of a socket."""
        self._names += 1
        name = f"inproc://told-{self._names}"
        told = self._context.socket(zmq.PAIR)
        # Without a bound, for libzmq would stand still at it; it is emptied each tick.
        told.setsockopt(zmq.RCVHWM, 0)
        told.setsockopt(zmq.LINGER, 0)
        raw.monitor(name, events)
        told.connect(name)
        self._listening.add(told)
        return told

    @property
    def connections(self) -> int:
        """How many there are at bound sockets."""
        return sum(len(doorman.connections) for doorman in self._monitors.values())

    def is_restless(self, now: float) -> bool:
        """Whether there is more to look at than usual."""
        return any(doorman.is_restless(now) for doorman in self._monitors.values())

    def hang_up(self, peer: bytes, now: float) -> None:
        """Cut a peer off."""
        for doorman in self._monitors.values():
            gone = doorman.dismiss(peer, now)
            if gone is not None:
                descriptors.shut(gone.fd, gone.identity)
                doorman.left(gone.fd)

    def inspect(
        self, is_member: Callable[[bytes], bool], now: float, busy: bool = False
    ) -> list[str]:
        """Look at who is connected, and cut who has to go; codes of what was refused."""
        refused = []
        for told, doorman in self._monitors.items():
            refused += self._news(told, doorman, now)
            was_shut = doorman.is_shut
            if doorman.shuts(now, busy) != was_shut:
                descriptors.hold(self._listeners[doorman], not was_shut)
                refused += [] if was_shut else [STORM]
        memory_bytes = descriptors.memory_bytes()
        hurry = memory_bytes > self._memory_bytes + limits.growth_looked_bytes
        if hurry or memory_bytes < self._memory_bytes:
            self._memory_bytes = memory_bytes
        room = int(descriptors.most() * limits.connections_percent / 100)
        for doorman in self._monitors.values():
            left = max(0, room - self.connections + len(doorman.connections))
            received = descriptors.received_bytes
            for gone, why in doorman.inspect(left, received, is_member, now, hurry):
                descriptors.shut(gone.fd, gone.identity)
                doorman.left(gone.fd)
                refused.append(why)
        return refused

    def cut(self, keys: frozenset[bytes], now: float) -> None:
        """End the connections made with these keys, and those that nobody knows the key of: who
        has said nothing yet, and who only listens, all of whom come back if they may.
        """
        for told, doorman in self._monitors.items():
            self._news(told, doorman, now)
            for one in doorman.made_with(keys):
                descriptors.shut(one.fd, one.identity)
                doorman.left(one.fd)

    def _news(self, told: zmq.Socket[bytes], doorman: Doorman, now: float) -> list[str]:
        """Tell a doorman who came and went; codes of what failed."""
        refused = []
        for _ in range(limits.connections_told_max):
            try:
                kind, value = _EVENT.unpack(told.recv_multipart(zmq.NOBLOCK)[0])
            except zmq.Again:
                break
            if kind == _COMES:
                doorman.came(value, descriptors.identity(value), now)
            elif kind == zmq.EVENT_DISCONNECTED:
                doorman.ended(value)
            elif kind == zmq.EVENT_LISTENING:
                self._listeners[doorman] = value
                descriptors.hold(value, doorman.is_shut)
            else:
                refused.append("key" if kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH else "handshake")
        return refused

    def watch(self, fd: int, write: bool = False) -> None:
        """Wake up for a file descriptor too; with `write`, also when it can be written."""
        self._poller.register(fd, zmq.POLLIN | (zmq.POLLOUT if write else 0))

    def unwatch(self, fd: int) -> None:
        """Don't wake up for a file descriptor any more."""
        self._poller.unregister(fd)

    def poll(self, timeout_s: float) -> set[Socket | int]:
        """Wait; give back the sockets and descriptors with something to read (or write)."""
        ready = [key for key, _ in self._poller.poll(max(0, int(timeout_s * 1000)))]
        if self._guard is not None and self._guard.zap_socket in ready:
            ready.remove(self._guard.zap_socket)
            self._guard.answer()
        return {key if isinstance(key, int) else self._sockets[key] for key in ready}

    def close(self) -> None:
        """Close everything, after what was sent last had `linger_ms` to leave."""
        for told in self._listening:
            told.close()
        for raw in self._sockets:
            raw.close()
        if self._guard is not None:
            self._guard.stop()
        self._context.term()
