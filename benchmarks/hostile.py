"""What is left of honest work while strangers attack the master: `python -m benchmarks.hostile`.

A master, a slave of one slot and a client work; for each attack the same work is done without it,
and then with it, in turns, and the ratio is what counts: a shared machine is slow for both. Two
kinds of work: tasks that do nothing, as fast as they go, where the master is the bottleneck; and
an image, where the slave is.

The attacker is one process with many sockets and the lowest priority: it stands for other
machines, and should take no processor from those that it attacks. What it costs them shows.

The memory is the master's own, the most that it had during the attack, beyond what it had before.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import zmq

import hpczmq
from hpczmq import wire
from hpczmq.messages import PROTOCOL, Ask, Heartbeat, Hello, Message, Report
from hpczmq.model import About, Metrics, Outcome, Role, Status

ROOT = Path(__file__).resolve().parents[1]
MIB = 1024 * 1024
IMAGE = {"algorithm": "juliaCython", "width": 3500, "height": 2800, "iterations": 1500}
#: The beginning of ZMTP 3, and the command that ends the handshake of a DEALER.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
_READY = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
READY = bytes([4, len(_READY)]) + _READY

Address = tuple[str, int]


# --- The attacks ------------------------------------------------------------------------------


def frames(parts: list[Any]) -> bytes:
    """A message as it goes over TCP."""
    out = b""
    for number, part in enumerate(parts):
        more = number < len(parts) - 1
        long = len(part) > 255
        head = bytes([more + 2 * long]) + struct.pack(">Q" if long else ">B", len(part))
        out += head + bytes(part)
    return out


def hello(role: Role = Role.CLIENT) -> Message:
    """First words of a process that nobody knows."""
    return Hello(role, "stranger", uuid.uuid4().bytes, PROTOCOL, "", slots=1)


def dial(address: Address, said: bytes = b"") -> socket.socket:
    """A plain connection, on which something was said."""
    end = socket.create_connection(address, timeout=5)
    end.settimeout(5)
    end.sendall(said)
    return end


def silent(address: Address, connections: int) -> Iterator[None]:
    """Connections that say nothing, all open at once; those that are closed are opened anew."""
    ends: list[socket.socket] = []
    while True:
        if len(ends) >= connections:
            ends.pop(0).close()
            time.sleep(0.01)
        with suppress(OSError):
            ends.append(dial(address))
        yield


def halves(address: Address, connections: int) -> Iterator[None]:
    """Half greetings, and whole ones with nothing behind them."""
    ends: list[socket.socket] = []
    for said in itertools.cycle([GREETING[:10], GREETING[:40], GREETING, GREETING + READY]):
        if len(ends) >= connections:
            ends.pop(0).close()
            time.sleep(0.01)
        with suppress(OSError):
            ends.append(dial(address, said))
        yield


def junk(address: Address, connections: int) -> Iterator[None]:
    """What scanners say, random bytes, and frames that declare more than there is."""
    huge = GREETING + READY + b"\x02" + struct.pack(">Q", 2**62)
    mebibyte = GREETING + READY + frames([b"HZ1", os.urandom(MIB)])
    noise = [b"GET / HTTP/1.1\r\n\r\n", os.urandom(4_000), huge, mebibyte]
    for said in itertools.cycle(noise):
        with suppress(OSError):
            dial(address, said).close()
        yield


def endless(address: Address, connections: int) -> Iterator[None]:
    """Messages of ever more frames, none of which is the last."""
    frame = b"\x03" + struct.pack(">Q", MIB) + bytes(MIB)
    ends = [dial(address, GREETING + READY) for _ in range(4)]
    while True:
        for number, end in enumerate(ends):
            try:
                end.sendall(frame)
            except OSError:
                with suppress(OSError):
                    ends[number] = dial(address, GREETING + READY)
            yield


def newcomers(address: Address, connections: int) -> Iterator[None]:
    """Valid hellos, each from a new process on a new connection, which stays open for a while."""
    ends: list[socket.socket] = []
    for role in itertools.cycle([Role.CLIENT, Role.SLAVE, Role.MEMORIA]):
        if len(ends) >= connections:
            ends.pop(0).close()
        with suppress(OSError):
            ends.append(dial(address, GREETING + READY + frames(wire.encode(hello(role)))))
        yield


def repeated(
    message: Callable[[int], list[Any]], sockets: int = 8
) -> Callable[..., Iterator[None]]:
    """An attack that says something over and over, on a few connections."""

    def attack(address: Address, connections: int) -> Iterator[None]:
        context = zmq.Context()
        ends = [context.socket(zmq.DEALER) for _ in range(sockets)]
        for number, end in enumerate(ends):
            end.linger = 0
            end.connect(f"tcp://{address[0]}:{address[1]}")
            role = Role.SLAVE if number % 2 else Role.CLIENT
            end.send_multipart(wire.encode(hello(role)))
        for count in itertools.count():
            for end in ends:
                with suppress(zmq.Again):
                    end.send_multipart(message(count), zmq.NOBLOCK)
                while count % 100 == 0 and end.poll(0):
                    end.recv_multipart()
            yield

    return attack


_ASK = wire.encode(Ask(1, About.STATUS))
_BEAT = wire.encode(Heartbeat(1, Metrics(), tuple(range(100)), 0))
_FORGED = wire.encode(Report(1, 1, "j1", (Outcome(0, Status.VALUE, 0.0, b"\x01"),)))
_BROKEN = [wire.MAGIC, os.urandom(200)]

ATTACKS: dict[str, Callable[[Address, int], Iterator[None]]] = {
    "silent": silent,
    "halves": halves,
    "junk": junk,
    "endless": endless,
    "newcomers": newcomers,
    "hellos": repeated(lambda count: wire.encode(hello()), sockets=1),
    "queries": repeated(lambda count: _ASK),
    "heartbeats": repeated(lambda count: _BEAT),
    "forged": repeated(lambda count: _FORGED),
    "broken": repeated(lambda count: _BROKEN),
}


def attack(name: str, address: str, connections: int) -> None:
    """Attack until standard input closes."""
    os.nice(19)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    host, port = address.split(":")
    most = min(connections, int(0.8 * hard))
    for count, _ in enumerate(ATTACKS[name]((host, int(port)), most)):
        if count == most:
            print("in full swing", flush=True)


# --- Measuring --------------------------------------------------------------------------------


@contextmanager
def attacked(name: str, address: str, connections: int) -> Iterator[None]:
    """Somebody attacks meanwhile."""
    command = [sys.executable, "-m", "benchmarks.hostile", "--attack", name, "--master", address]
    with subprocess.Popen(
        [*command, "--connections", str(connections)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # it has begun in earnest
        try:
            yield
        finally:
            process.stdin.close()


class Peak:
    """The most memory that a process had, looked at 20 times a second."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.before = self.most = process.memory_info().rss
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self.most = max(self.most, self.process.memory_info().rss)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def tasks_per_s(client: hpczmq.Client, seconds: float) -> float:
    """Tasks that do nothing, through `map`, for so long."""
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        futures = client.map("echo", [{"value": i} for i in range(2_000)])
        done += sum(1 for future in futures if future.result(120) is not None)
    return done / (time.perf_counter() - began)


def images_per_s(client: hpczmq.Client, smaller: int) -> float:
    """One image."""
    size = {"width": 3500 // smaller, "height": 2800 // smaller}
    began = time.perf_counter()
    client.submit(hpczmq.Job("julia", IMAGE | size)).result(300)
    return 1 / (time.perf_counter() - began)


def measured(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """One attack: what is left of the work, what the master took, what it counted."""
    ratios: dict[str, list[float]] = {"tasks": [], "images": []}
    with (
        hpczmq.LocalCluster(slaves=1, slots=1) as cluster,
        hpczmq.Client(cluster.address) as client,
    ):
        port = int(cluster.address.split(":")[1])
        master = next(p for p in psutil.Process().children() if _listens(p, port))
        works = {
            "tasks": lambda: tasks_per_s(client, given.seconds),
            "images": lambda: images_per_s(client, given.smaller),
        }
        for work in works.values():
            work()  # warm
        grown = 0
        for _ in range(given.repeat):
            honest = {kind: work() for kind, work in works.items()}
            with Peak(master) as peak, attacked(name, cluster.address, given.connections):
                for kind, work in works.items():
                    ratios[kind].append(work() / honest[kind])
            grown = max(grown, peak.most - peak.before)
        status = client.status()
    refused = {refusal.code: refusal.times for refusal in status.refused}
    kept = {kind: statistics.median(values) for kind, values in ratios.items()}
    return {**kept, "grown_bytes": grown, "refused": refused}


def _listens(process: psutil.Process, port: int) -> bool:
    return any(c.laddr.port == port for c in process.net_connections("tcp") if not c.raddr)


def table(results: dict[str, dict[str, Any]]) -> str:
    """A row an attack."""
    lines = [
        "| attack | tasks, × without | images, × without | master grew by | counted |",
        "|---|---|---|---|---|",
    ]
    for name, row in results.items():
        counted = ", ".join(f"{code} {times:,}" for code, times in row["refused"].items())
        grew = f"{row['grown_bytes'] / MIB:.0f} MiB"
        lines.append(f"| {name} | {row['tasks']:.2f} | {row['images']:.2f} | {grew} | {counted} |")
    return "\n".join(lines)


def main() -> None:
    """Measure all attacks and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="*", default=list(ATTACKS), choices=list(ATTACKS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of no-op tasks, each time")
    parser.add_argument("--smaller", type=int, default=1, help="divide the image's sides by this")
    parser.add_argument("--connections", type=int, default=10_000, help="at once, at most")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--attack", choices=list(ATTACKS), help="attack --master, and no more")
    parser.add_argument("--master", help="HOST:PORT")
    given = parser.parse_args()
    if given.attack:
        attack(given.attack, given.master, given.connections)
        return
    results = {}
    for name in given.only:
        print(f"{name} …", file=sys.stderr)
        results[name] = measured(name, given)
    print(table(results))
    if given.json:
        facts = {"machine": platform.platform(), "python": platform.python_version()}
        given.json.write_text(json.dumps({**facts, "attacks": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
