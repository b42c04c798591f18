"""Who may connect: ZeroMQ's own question and answer (ZAP), by pyzmq's authenticator.

libzmq asks about each connection, while it is made, over a socket inside the process, and waits for
the answer; so the loop that owns the sockets answers whenever it looks at them. What it answers
goes with each message of the connection from then on, as the key that was checked.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

import zmq
from zmq.auth.base import Authenticator
from zmq.utils import z85

from hpczmq.identity import Callers, KeyPair

#: What our sockets name when they ask: those that answer, and those that publish. Without a name a
#: connection with any key would be taken.
ANSWERS: Final = "hpczmq"
PUBLISHES: Final = "hpczmq-publishes"
#: How many questions are answered before the loop goes on.
_ANSWERS_MAX: Final = 1_000


def new_pair() -> KeyPair:
    """A new key, with its secret half, by libsodium's random numbers."""
    public, secret = zmq.curve_keypair()
    return KeyPair(z85.decode(public), z85.decode(secret))


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """pyzmq logs each connection, with its key, at a level that people turn on."""

    def isEnabledFor(self, level: int) -> bool:
        """Faults only."""
        return level >= logging.ERROR and super().isEnabledFor(level)


class Guard(Authenticator):
    """Answers for all bound sockets of one context."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], callers: Callers) -> None:
        super().__init__(context, log=_Quiet(logging.getLogger(__name__)))
        self._callers = callers
        for domain in (ANSWERS, PUBLISHES):
            self.configure_curve_callback(domain, self)
        self.start()

    def callback(self, domain: str, key: bytes) -> bool:
        """What the authenticator asks of who knows the keys."""
        return self._callers.admits(z85.decode(key), listens=domain == PUBLISHES)

    def curve_user_id(self, client_public_key: bytes) -> str:
        """How a key is named in the messages of its connection."""
        return client_public_key.hex()

    def answer(self) -> None:
        """Answer all that was asked."""
        for _ in range(_ANSWERS_MAX):
            try:
                question = self.zap_socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            # It is a coroutine, and has nothing to wait for.
            with suppress(StopIteration):
                self.handle_zap_message(question).send(None)
