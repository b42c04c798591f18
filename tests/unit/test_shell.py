"""What all nodes share: when they stop, and whom they cut off."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest
import zmq

from hpczmq import descriptors, wire
from hpczmq.config import Config
from hpczmq.guard import new_pair
from hpczmq.identity import KeyRole, Member
from hpczmq.messages import Message, Ping, Reject
from hpczmq.nodes.shell import Shell, nobody
from hpczmq.transport import Keys, Sockets
from hpczmq.wire import Buffer

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the test run its own handlers back, and leave its limits alone."""
    monkeypatch.setattr(descriptors, "raise_limit", lambda: None)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes with which the process would have ended at once."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


@pytest.fixture
def shell(exits: list[int]) -> Iterator[Shell]:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    made = Shell(Config(name="node"))
    yield made
    made.sockets.close()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_node_that_is_told_to_stop_does_so_in_order(
    shell: Shell, exits: list[int], number: signal.Signals
) -> None:
    assert not shell.stopping
    signal.raise_signal(number)
    assert shell.stopping
    assert exits == []


def test_told_twice_it_ends_at_once(shell: Shell, exits: list[int]) -> None:
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGINT)
    assert exits == [128 + signal.SIGINT]


@pytest.mark.parametrize("first", SIGNALS)
def test_a_terminal_that_closes_hurries_nobody(
    shell: Shell, exits: list[int], first: signal.Signals
) -> None:
    signal.raise_signal(first)
    signal.raise_signal(signal.SIGHUP)
    assert exits == []


def test_under_nohup_a_closed_terminal_is_no_reason_to_stop() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    shell = Shell(Config(name="node"))
    signal.raise_signal(signal.SIGHUP)
    shell.sockets.close()
    assert not shell.stopping


def test_of_a_node_that_drains_the_first_sigterm_is_a_wish(exits: list[int]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    shell = Shell(Config(name="slave"), drains=True)
    signal.raise_signal(signal.SIGTERM)
    assert (shell.draining, shell.stopping) == (True, False)
    signal.raise_signal(signal.SIGTERM)
    assert shell.stopping
    assert exits == []
    signal.raise_signal(signal.SIGTERM)
    assert exits == [128 + signal.SIGTERM]
    shell.sockets.close()


def test_a_peer_that_floods_is_told_and_cut_off_and_others_are_not(shell: Shell) -> None:
    router = shell.sockets.router("tcp://127.0.0.1:*")
    with zmq.Context() as context, context.socket(zmq.DEALER) as loud:
        quiet = context.socket(zmq.DEALER)
        told = loud.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        for end in (loud, quiet):
            end.linger = 0
            end.connect(f"tcp://127.0.0.1:{router.port}")
        quiet.send_multipart([b"no", b"message"])
        codes: set[str] = set()
        while not told.poll(0):
            for _ in range(50):
                if loud.poll(0, zmq.POLLOUT):
                    loud.send_multipart([b"no", b"message"])
            assert list(shell.messages(router, heads=1)) == []
            shell.inspect(nobody, shell.clock.now())
            while loud.poll(0):
                message, _ = wire.decode(loud.recv_multipart())
                assert isinstance(message, Reject)
                codes.add(message.code)
        assert "magic" in codes  # that it floods it may not have read
        assert shell.quota.refused["flood"] >= 1
        assert quiet.poll(10_000)
        assert wire.decode(quiet.recv_multipart())[0] == Reject(
            0, "magic", "not a message of hpczmq"
        )
        loud.disable_monitor()
        told.close()
        quiet.close()


def test_a_door_that_is_held_answers_nobody_and_opens_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as early:
        descriptors.hold(listener.fileno(), True)
        early.setblocking(False)
        early.connect_ex(listener.getsockname())  # over loopback it would be there by now
        with pytest.raises(OSError, match="not connected"):
            early.getpeername()
        descriptors.hold(listener.fileno(), False)
        with socket.create_connection(listener.getsockname(), timeout=10) as late:
            assert late.getpeername() == listener.getsockname()


def test_what_has_come_on_a_connection_that_is_cut_is_thrown_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname(), timeout=10)
        near, _ = listener.accept()
        far.sendall(bytes(1_000))
        assert descriptors.received_bytes(near.fileno()) == 1_000
        other = descriptors.identity(listener.fileno())
        descriptors.shut(near.fileno(), other)
        near.setblocking(False)
        assert near.recv(1) == b"\0"  # it was another one that was meant
        descriptors.shut(near.fileno(), descriptors.identity(near.fileno()))
        assert near.recv(1_000) == b""
        near.close()
        far.close()
        assert descriptors.memory_bytes() > 0


class Spoken:
    """A ROUTER at which one message has arrived, with a key or without one."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.sent: list[Message] = []

    def receive(self, **_: object) -> Iterator[list[Buffer]]:
        yield [b"peer", *wire.encode(Ping(1))]

    def send(self, frames: list[Buffer], peer: bytes) -> None:
        self.sent.append(wire.decode(frames)[0])


@pytest.mark.parametrize("key", [b"", b"k" * 32])
def test_where_keys_are_asked_for_a_message_without_a_known_one_is_nobodys(
    exits: list[int], key: bytes
) -> None:
    pair = new_pair()
    shell = Shell(Config(name="node"), sockets=Sockets(Keys(pair, pair.public)))
    router = Spoken(key)
    assert list(shell.messages(router, heads=1)) == []  # type: ignore[arg-type]  # it has what is asked of it
    (told,) = router.sent
    assert isinstance(told, Reject)
    assert told.code == "role"
    member = Member("vera", KeyRole.VIEWER, b"v" * 32)
    shell.sockets.callers.replace([member])
    router.key = member.key
    assert len(list(shell.messages(router, heads=1))) == 1  # type: ignore[arg-type]  # the same
    assert shell.who is member
    shell.sockets.close()
