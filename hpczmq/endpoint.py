"""One zmq socket, as its owner sees it: it never blocks, and says what became of a message.

A peer that is gone or can't take more is a fact for the caller, not an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from typing import Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from hpczmq import descriptors, limits
from hpczmq.doorman import Doorman
from hpczmq.errors import BindError
from hpczmq.identity import KeyPair
from hpczmq.wire import Buffer

#: The protocol fault of an end that expects another mechanism (CURVE or none).
_MISMATCH: Final = int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)


class Sent(Enum):
    """What became of a message."""

    YES = "handed to zmq"
    FULL = "no connection yet, or the peer does not take more"
    GONE = "that peer is not connected"


class Trouble(Enum):
    """Why a connection that was dialled did not come about."""

    KEY = "the key is none that may come in"
    MECHANISM = "one end has keys and the other has none"
    HANDSHAKE = "the other end did not understand, or has another key than was expected"


#: What libzmq's news of a try that failed come to; of any other there is nothing to say.
_TROUBLES: Final = {
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): Trouble.KEY,
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): Trouble.HANDSHAKE,
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): Trouble.HANDSHAKE,
}


class Socket:
    """One zmq socket; belongs to the thread that made it."""

    def __init__(self, raw: zmq.Socket[bytes], kind: int) -> None:
        self.raw = raw
        self.kind = kind
        self._routes = kind == zmq.ROUTER
        #: Of a bound socket: who is connected.
        self.doorman: Doorman | None = None
        #: Of a bound one: whether connections are made with keys.
        self.keyed = False
        #: Of a ROUTER: the key of who sent the message that was received last; empty: none.
        self.key = b""
        #: Of one that dials: where to, with which key, and what libzmq tells of it.
        self.dialled: tuple[str, bytes] | None = None
        self.told: zmq.Socket[bytes] | None = None
        self.topics: tuple[bytes, ...] = ()

    def receive(
        self,
        messages_max: int = limits.messages_per_turn_max,
        is_muted: Callable[[bytes], bool] | None = None,
        now: float = 0.0,
    ) -> Iterator[list[Buffer]]:
        """What has arrived, message by message, without waiting.

        On a ROUTER the first frame is the peer's routing id. Heads are copied, which is cheaper
        below a MiB; raw buffers are views of zmq's own memory. Of what a muted peer says there
        are no frames.
        """
        heads, doorman = 3 if self._routes else 2, self.doorman
        for _ in range(messages_max):
            try:
                first = self._first()
            except zmq.Again:
                return
            if is_muted is not None and is_muted(first):
                while self.raw.getsockopt(zmq.RCVMORE):
                    self.raw.recv(copy=False)
                yield []
                continue
            frames: list[Buffer] = [first]
            if doorman is not None:
                known = doorman.heard(first)
                if known is None or known.key != self.key:
                    frames.append(self._introduced(first, doorman, now))
            while self.raw.getsockopt(zmq.RCVMORE):
                if len(frames) < heads:
                    frames.append(self.raw.recv())
                else:
                    frames.append(self.raw.recv(copy=False).buffer)
            yield frames

    def _first(self) -> bytes:
        """The first frame of the next message. Its key is looked at each time: a peer may choose
        its routing id, and take that of one that has just gone.
        """
        if not self.keyed:
            return self.raw.recv(zmq.NOBLOCK)
        frame = self.raw.recv(zmq.NOBLOCK, copy=False)
        # As the guard has named it. What a peer says itself of its user does not count with keys,
        # and is anything without.
        self.key = bytes.fromhex(str(frame.get("User-Id")))
        return frame.bytes

    def _introduced(self, peer: bytes, doorman: Doorman, now: float) -> bytes:
        """The frame behind the routing id of a peer that speaks for the first time; the doorman
        is told on which descriptor it came.
        """
        frame = self.raw.recv(copy=False)
        with suppress(zmq.ZMQError):  # its engine has not told: the next message may
            fd = int(frame.get(zmq.SRCFD))
            doorman.spoke(peer, fd, descriptors.identity(fd), now, self.key)
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

    def trouble(self) -> Trouble | None:
        """Of one that dials: why its last try did not come about, if it was tried since asked."""
        found = None
        while self.told is not None and self.told.poll(0):
            event = recv_monitor_message(self.told)
            found = _TROUBLES.get(event["event"])
            if event["value"] == _MISMATCH:
                found = Trouble.MECHANISM
        return found

    def rebind(self, pair: KeyPair) -> None:
        """Have another key from now on. Who is connected is hung up on, and dials again.

        Raises:
            BindError: the old listener is still closing: try again.
        """
        address = self._endpoint()
        with suppress(zmq.ZMQError):  # it was unbound by a try before
            self.raw.unbind(address)
        self.raw.setsockopt(zmq.CURVE_PUBLICKEY, pair.public)
        self.raw.setsockopt(zmq.CURVE_SECRETKEY, pair.secret)
        try:
            self.raw.bind(address)
        except zmq.ZMQError as error:
            raise BindError(f"{address}: {error}") from None
