"""Strangers at the ports: bytes that are no protocol, and messages that are none of ours.

All of it happens while an image is computed, which comes out right.
"""

from __future__ import annotations

import contextlib
import random
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import msgpack
import psutil
import pytest
import zmq

import hpczmq
from hpczmq import wire
from hpczmq._version import __version__
from hpczmq.messages import PROTOCOL, Ack, Ask, Fetch, Hello, Message, Reject, Welcome
from hpczmq.model import About, Role
from hpczmq.wire import Buffer
from tests.integration.harness import DEADLINE_S, Lab, Program, until
from tests.integration.pictures import LONG, same

#: The same each time, so that a failure can be looked at again.
RANDOM = random.Random(1)
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
#: Sizes of frames that are never sent.
SIZES = [number.to_bytes(8, "big") for number in (2**31, 2**62, 2**63, 2**64 - 1)]
_READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
#: Somebody whom libzmq has let in.
JOINED = GREETING + b"\x04" + bytes([len(_READY)]) + _READY
#: What scanners, browsers and broken programs say.
NOISE = [
    b"",
    b"\x00",
    b"GET / HTTP/1.1\r\nHost: master\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + RANDOM.randbytes(500),
    GREETING[:10],
    GREETING,
    GREETING + b"\x04\xff" + RANDOM.randbytes(300),
    GREETING + b"\x06" + (2**62).to_bytes(8, "big"),
    GREETING + b"\x04\x1a" + _READY[:22] + b"\x7f\xff\xff\xff",
    JOINED,
    *[JOINED + flags + size for flags in (b"\x02", b"\x03", b"\x06") for size in SIZES],
    JOINED + b"\x01\x00" * 3_000,
    *[RANDOM.randbytes(size) for size in (1, 9, 64, 65, 4_000)],
]
#: Frames that arrive, and are no message.
BROKEN: list[list[Buffer]] = [
    [b""],
    [b"HZ1"],
    [b"HZ2", msgpack.packb([1])],
    [b"", b"HZ1", msgpack.packb([1])],
    [b"HZ1", b""],
    [b"HZ1", b"\xc1"],
    [b"HZ1", b"\x91" * 5_000],
    [b"HZ1", msgpack.packb({"kind": 1})],
    [b"HZ1", msgpack.packb([])],
    [b"HZ1", msgpack.packb([999, 1, 2])],
    [b"HZ1", msgpack.packb([True])],
    [b"HZ1", msgpack.packb([1, 1, "too", "few"])],
    [b"HZ1", msgpack.packb([1, 2, "x" * 1_000, bytes(16), PROTOCOL, "", 1, [], [], "", 0, []])],
    [b"HZ1", msgpack.packb([1, 2, "x", bytes(3), PROTOCOL, "", 1, [], [], "", 0, []])],
    [b"HZ1", msgpack.packb([1]) + b"more"],
    [b"HZ1", msgpack.packb(msgpack.ExtType(5, b"code"))],
    [b"HZ1", msgpack.packb([1]), *[b"x"] * 2_000],
    [RANDOM.randbytes(50), RANDOM.randbytes(5_000)],
]


def hello(role: Role = Role.CLIENT, protocol: int = PROTOCOL) -> Message:
    """First words of a stranger."""
    return Hello(role, "stranger", uuid.uuid4().bytes, protocol, "hpczmq 99", slots=1)


@contextmanager
def stranger(address: str) -> Iterator[zmq.Socket[bytes]]:
    """A zmq socket of nobody we know."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as made:
        made.setsockopt(zmq.LINGER, 1_000)
        made.setsockopt(zmq.RCVTIMEO, int(DEADLINE_S * 1_000))
        made.connect(f"tcp://{address}")
        yield made


def told(end: zmq.Socket[bytes], frames: Sequence[Buffer]) -> Message:
    """Say something, and take in the answer."""
    end.send_multipart(frames)
    message, _ = wire.decode(end.recv_multipart())
    return message


def make_noise(address: str) -> list[socket.socket]:
    """Say every kind of noise on a connection of its own, all of which stay open."""
    host, port = address.split(":")
    ends = []
    for noise in NOISE:
        end = socket.create_connection((host, int(port)), timeout=DEADLINE_S)
        end.sendall(noise)
        ends.append(end)
    return ends


@pytest.fixture(scope="module")
def nodes(shared_lab: Lab) -> list[Program]:
    """Master, slave and memoria, each with a port to talk to."""
    lab = shared_lab
    master = lab.master()
    slave = lab.slave(master.address, "only", "--bind", "127.0.0.1:0")
    memoria = lab.memoria(master.address)
    with hpczmq.Client(master.address) as client:
        until(lambda: client.status().slaves and client.status().memorias, "all have joined")
    until(slave.children, "the worker has started")
    return [master, slave, memoria]


def test_junk_at_every_port_harms_no_work(nodes: list[Program]) -> None:
    master, slave, memoria = nodes
    control = f"127.0.0.1:{master.facts['control_port']}"
    with hpczmq.Client(master.address) as client:
        job = client.submit(hpczmq.Job("julia", LONG))
        until(lambda: job.arrived_tasks, "the image has begun")
        before = client.status().frames_dropped
        for node in nodes:
            with stranger(node.address) as peer:
                for frames in BROKEN:
                    peer.send_multipart(frames)
        wanted = before + len(BROKEN)
        until(lambda: client.status().frames_dropped == wanted, "each one is counted, and once")
        # Of the noise some may pass for messages of ZMTP 1, which had no handshake.
        ends = []
        for address in (control, master.address, slave.address, memoria.address):
            ends += make_noise(address)
        assert same(job.result(60), LONG)
        for end in ends:
            end.close()
        assert client.metrics()
        assert client.submit(hpczmq.Job("echo", {"value": 1})).result(60) == 1
    for node in nodes:
        assert node.popen.poll() is None
        assert "Traceback" not in node.said()
        complaints = node.said().count("dropped a message of")
        assert 1 <= complaints < len(NOISE)  # one for each peer, not for each message


def test_who_sends_what_is_no_message_is_told(nodes: list[Program]) -> None:
    for node in nodes:
        with stranger(node.address) as end:
            for frames in BROKEN:
                answer = told(end, frames)
                assert isinstance(answer, Reject)
                assert (answer.request, bool(answer.code and answer.reason)) == (0, True)


def test_another_protocol_is_refused_by_name(nodes: list[Program]) -> None:
    for role in (Role.CLIENT, Role.SLAVE, Role.MEMORIA):
        with stranger(nodes[0].address) as end:
            answer = told(end, wire.encode(hello(role, PROTOCOL + 1)))
            assert isinstance(answer, Reject)
            assert answer.code == "protocol"
            assert answer.reason.startswith(
                f"stranger (hpczmq 99) speaks protocol {PROTOCOL + 1},"
                f" this master (hpczmq {__version__}) {PROTOCOL}: install"
            )


def test_a_message_that_is_not_for_its_sender_is_refused_and_counted(nodes: list[Program]) -> None:
    with hpczmq.Client(nodes[0].address) as client, stranger(nodes[0].address) as end:
        assert isinstance(told(end, wire.encode(hello())), Welcome)
        before = client.status().frames_dropped
        for count in (1, 2, 3):
            answer = told(end, wire.encode(Ack((1,))))
            assert isinstance(answer, Reject)
            assert answer.reason == "a client may not send Ack"
            assert client.status().frames_dropped == before + count
        # A well-formed question about nothing is no broken message.
        answer = told(end, wire.encode(Fetch(7, "j999", 0, 1)))
        assert isinstance(answer, Reject)
        assert answer.request == 7
        assert client.status().frames_dropped == before + 3


def test_something_else_where_the_master_should_be_is_told_from_nothing(lab: Lab) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")
        asked = lab.launch("status", "--master", f"127.0.0.1:{port}", "--timeout", "3")
        while asked.popen.poll() is None:
            if other.poll(100):
                peer, *_ = other.recv_multipart()
                other.send_multipart([peer, b"HZ1", msgpack.packb([2, "welcome", "you"])])
    lines = asked.ended().refused(code=3).splitlines()
    assert len(lines) == 2  # each of many answers is not told of
    assert lines[0].startswith("dropped a message of the master: ")
    assert f"127.0.0.1:{port}: what answers is no master of this version: fields" in lines[1]


def test_a_thousand_strangers_who_come_and_go_leave_nothing(nodes: list[Program]) -> None:
    master = nodes[0]

    def handles() -> int:
        return psutil.Process(master.pid).num_fds()

    host, port = master.address.split(":")
    before = handles()
    for _ in range(1_000):
        with closing(socket.create_connection((host, int(port)), timeout=DEADLINE_S)) as end:
            end.sendall(GREETING)
    until(lambda: handles() <= before + 2, "their connections are gone")
    with hpczmq.Client(master.address) as client:
        assert client.status().slaves == 1


def test_who_asks_without_end_is_told_so_and_others_go_on(nodes: list[Program]) -> None:
    master, *_ = nodes
    ask = wire.encode(Ask(1, About.STATUS))
    with stranger(master.address) as talker, hpczmq.Client(master.address) as client:
        assert isinstance(told(talker, wire.encode(hello())), Welcome)
        job = client.submit(hpczmq.Job("julia", LONG))
        heard: list[Message] = []

        def ask_and_read() -> bool:
            with contextlib.suppress(zmq.Again):
                for _ in range(2_000):
                    talker.send_multipart(ask, zmq.NOBLOCK)
            while talker.poll(0):
                heard.append(wire.decode(talker.recv_multipart())[0])
            return any(isinstance(word, Reject) and word.code == "flood" for word in heard)

        until(ask_and_read, "it is told to stop")
        assert same(job.result(60), LONG)
        refused = {refusal.code: refusal.times for refusal in client.status().refused}
    assert refused["flood"] >= 1


def test_connections_past_the_descriptors_are_cut_and_counted_and_members_stay(lab: Lab) -> None:
    master = lab.master()
    most = 200
    psutil.Process(master.pid).rlimit(psutil.RLIMIT_NOFILE, (most, most))
    lab.slave(master.address, "only")
    host, port = master.address.removeprefix("tcp://").split(":")
    with hpczmq.Client(master.address) as client, contextlib.ExitStack() as ends:
        assert client.submit(hpczmq.Job("echo", {"value": 1})).result(60) == 1
        for _ in range(2 * most):
            with contextlib.suppress(OSError):
                ends.enter_context(socket.create_connection((host, int(port)), timeout=1))

        def refusals() -> int:
            counted = {refusal.code: refusal.times for refusal in client.status().refused}
            return counted.get("no room", 0)

        until(refusals, "who says nothing is cut")
        assert client.submit(hpczmq.Job("echo", {"value": 2})).result(60) == 2
        assert [row.name for row in client.slaves()] == ["only"]
    assert master.popen.poll() is None
