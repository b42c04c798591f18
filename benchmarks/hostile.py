"""What is left of honest work while strangers attack the master: `python -m benchmarks.hostile`.

A master, a slave of one slot and a client work. Two kinds of work: tasks that do nothing, as fast
as they go, where the master is the bottleneck; and images, where the slave is. Attack and clock
begin together: the tasks are done in the first seconds of the attack, the images in those after.

The attacker is one process with many sockets. It stands for other machines, so what it takes of
this one must not count as the master's loss. Hence

* the cluster has one core to itself, all its processes together, and the attacker another one;
* each time the same attack is first aimed at a ROUTER that drops all it gets, on the attacker's
  core: the control, which makes the memory and the loopback as busy. What is left is the rate of
  work under attack over the rate of the control that went before it; the median of all pairs.

With one core there is nothing to separate, and the figures are too low.

The memory is the master's own, the most that it had during the attack, beyond what it had before.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import select
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
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
#: The first one is the cluster's, the last one the attacker's.
CORES = sorted(os.sched_getaffinity(0))
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


class Dialler:
    """Plain connections, on each of which something is said once it is there, and perhaps more
    once the other end has said something. Nothing waits.
    """

    def __init__(self, address: Address, open_max: int, dialled_max: int = 256) -> None:
        self.address, self.open_max, self.dialled_max = address, open_max, dialled_max
        #: Not there yet, by descriptor: what is still to be said, and since when. And those there.
        self.dialled: dict[int, tuple[socket.socket, list[bytes], float]] = {}
        self.ends: deque[socket.socket] = deque()
        self._ready = select.epoll()

    def dial(self, *said: bytes) -> None:
        """Begin one more, if not too many have been begun, and go on with the others."""
        if len(self.dialled) < self.dialled_max:
            end = socket.socket()
            end.setblocking(False)
            with suppress(BlockingIOError):
                end.connect(self.address)
            self.dialled[end.fileno()] = end, list(said), time.monotonic()
            self._ready.register(end, select.EPOLLOUT)
        full = len(self.dialled) >= self.dialled_max
        for fd, _ in self._ready.poll(0.01 if full else 0):
            self._go_on(fd)
        oldest = next(iter(self.dialled.values()), None)
        if oldest is not None and time.monotonic() - oldest[2] > 5.0:
            self._drop(oldest[0].fileno()).close()
        while len(self.ends) > self.open_max:
            self.ends.popleft().close()

    def _go_on(self, fd: int) -> None:
        end, said, _ = self.dialled[fd]
        try:
            if said:
                end.send(said.pop(0))
        except OSError:
            self._drop(fd).close()
            return
        if said:
            self._ready.modify(fd, select.EPOLLIN)
        else:
            self.ends.append(self._drop(fd))

    def _drop(self, fd: int) -> socket.socket:
        self._ready.unregister(fd)
        return self.dialled.pop(fd)[0]


def silent(address: Address, connections: int) -> Iterator[None]:
    """Connections that say nothing, all open at once; those that are closed are opened anew."""
    crowd = Dialler(address, connections)
    while True:
        if len(crowd.ends) >= connections:
            crowd.ends.popleft().close()
            time.sleep(0.01)
        crowd.dial()
        yield


def held(address: Address, connections: int) -> Iterator[None]:
    """As many connections that shake hands and say nothing; from when all of them are open."""
    crowd = Dialler(address, connections)
    while len(crowd.ends) < connections:
        crowd.dial(GREETING + READY)
    while True:
        time.sleep(0.01)
        yield


def halves(address: Address, connections: int) -> Iterator[None]:
    """Half greetings, and whole ones with nothing behind them."""
    crowd = Dialler(address, connections)
    for said in itertools.cycle([GREETING[:10], GREETING[:40], GREETING, GREETING + READY]):
        crowd.dial(said)
        yield


def junk(address: Address, connections: int) -> Iterator[None]:
    """What scanners say, random bytes, and frames that declare more than there is."""
    huge = GREETING + READY + b"\x02" + struct.pack(">Q", 2**62)
    mebibyte = GREETING + READY + frames([b"HZ1", os.urandom(MIB)])
    noise = [b"GET / HTTP/1.1\r\n\r\n", os.urandom(4_000), huge, mebibyte]
    crowd = Dialler(address, 16)
    for said in itertools.cycle(noise):
        crowd.dial(said)
        yield


def endless(address: Address, connections: int) -> Iterator[None]:
    """Messages of ever more frames, none of which is the last."""
    frame = b"\x03" + struct.pack(">Q", MIB) + bytes(MIB)
    crowd = Dialler(address, 16, dialled_max=4)
    left: dict[socket.socket, bytes] = {}
    while True:
        if len(crowd.ends) < 4:
            crowd.dial(GREETING + READY)
        for end in list(crowd.ends):
            try:
                rest = left.get(end) or frame
                left[end] = rest[end.send(rest) :]
            except BlockingIOError:
                pass
            except OSError:
                crowd.ends.remove(end)
                left.pop(end, None)
                end.close()
        yield


def newcomers(address: Address, connections: int) -> Iterator[None]:
    """Valid hellos, each from a new process on a new connection, which stays open for a while."""
    crowd = Dialler(address, connections)
    for role in itertools.cycle([Role.CLIENT, Role.SLAVE, Role.MEMORIA]):
        crowd.dial(GREETING + READY, frames(wire.encode(hello(role))))
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
    "held": held,
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
    _begin()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    host, port = address.split(":")
    most = min(connections, int(0.8 * hard))
    for count, _ in enumerate(ATTACKS[name]((host, int(port)), most)):
        if not count:
            print("begun", flush=True)


def sink() -> None:
    """Take everything, and drop it, until standard input closes: what the control is aimed at."""
    _begin()
    end = zmq.Context().socket(zmq.ROUTER)
    end.setsockopt(zmq.BACKLOG, 4096)
    print(end.bind_to_random_port("tcp://127.0.0.1"), flush=True)
    while True:
        end.recv(copy=False)


def _begin() -> None:
    """A process of the other side: its descriptors, its end."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()


# --- Measuring --------------------------------------------------------------------------------


@contextmanager
def started(*arguments: str) -> Iterator[str]:
    """A process of the other side, and the first line that it printed."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.hostile", "--core", str(CORES[-1]), *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
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


def images_per_s(client: hpczmq.Client, seconds: float, smaller: int) -> float:
    """One image after the other, for so long."""
    size = {"width": 3500 // smaller, "height": 2800 // smaller}
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        client.submit(hpczmq.Job("julia", IMAGE | size)).result(300)
        done += 1
    return done / (time.perf_counter() - began)


def measured(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """One attack: what is left of the work, what the master took, what it counted."""
    rounds = []
    with started("--sink") as port:
        for _ in range(given.repeat):
            rounds.append(_round(name, f"127.0.0.1:{port}", given))
            print(rounds[-1], file=sys.stderr)
    kept = {
        kind: statistics.median(one["attacked"][kind] / one["control"][kind] for one in rounds)
        for kind in ("tasks", "images")
    }
    most = {what: max(one[what] for one in rounds) for what in ("grown_bytes", "connections")}
    return {**kept, **most, "refused": rounds[-1]["refused"], "rounds": rounds}


def _round(name: str, sink: str, given: argparse.Namespace) -> dict[str, Any]:
    """A new cluster: its work beside the control, and under attack. Of what is held the
    connections come before the work does, as long as a master lets all in.
    """
    against = ["--attack", name, "--connections", str(given.connections), "--master"]
    with (
        hpczmq.LocalCluster(slaves=1, slots=1) as cluster,
        hpczmq.Client(cluster.address) as client,
    ):
        works = {
            "tasks": partial(tasks_per_s, client, given.seconds),
            "images": partial(images_per_s, client, given.seconds, given.smaller),
        }

        def rates() -> dict[str, float]:
            return {kind: work() for kind, work in works.items()}

        def attacked() -> None:
            with Peak(master) as peak, started(*against, cluster.address):
                if name == "held":
                    rates()  # warm
                found["attacked"] = rates()
                status = client.status()
            found["grown_bytes"] = peak.most - peak.before
            found["connections"] = status.connections
            found["refused"] = {refusal.code: refusal.times for refusal in status.refused}

        found: dict[str, Any] = {}
        master = psutil.Process(_listener(int(cluster.address.split(":")[1])))
        if name == "held":
            attacked()
        else:
            rates()  # warm
        if given.quiet:
            found["quiet"] = rates()
        with started(*against, sink):
            found["control"] = rates()
        if name != "held":
            attacked()
    return found


def _listener(port: int) -> int:
    """The id of our child that listens on a port."""
    return next(p.pid for p in psutil.Process().children() if _listens(p, port))


def _listens(process: psutil.Process, port: int) -> bool:
    return any(c.laddr.port == port for c in process.net_connections("tcp") if not c.raddr)


def table(results: dict[str, dict[str, Any]]) -> str:
    """A row an attack."""
    lines = [
        "| attack | tasks | images | connections | master grew by | counted (the last time) |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in results.items():
        counted = ", ".join(f"{code} {times:,}" for code, times in row["refused"].items())
        grew, ratios = (
            f"{row['grown_bytes'] / MIB:.0f} MiB",
            f"{row['tasks']:.2f} | {row['images']:.2f}",
        )
        lines.append(f"| {name} | {ratios} | {row['connections']:,} | {grew} | {counted} |")
    return "\n".join(lines)


def main() -> None:
    """Measure all attacks and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="*", default=list(ATTACKS), choices=list(ATTACKS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="of each kind of work, each time"
    )
    parser.add_argument("--smaller", type=int, default=1, help="divide the images' sides by this")
    parser.add_argument("--connections", type=int, default=10_000, help="at once, at most")
    parser.add_argument("--quiet", action="store_true", help="measure without any attack too")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--attack", choices=list(ATTACKS), help="attack --master, and no more")
    parser.add_argument("--master", help="HOST:PORT")
    parser.add_argument("--sink", action="store_true", help="drop all that comes, and no more")
    parser.add_argument("--core", type=int, default=CORES[0], help="run on this one")
    given = parser.parse_args()
    os.sched_setaffinity(0, {given.core})
    if given.sink:
        sink()
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
