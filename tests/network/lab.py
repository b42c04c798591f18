"""Hosts on a switch, as network namespaces, and the real command line on them.

    192.168.56.1  client ─┐
    192.168.56.10 master ─┤ br0, a bridge in a namespace of its own
    192.168.56.11 uno    ─┤
    192.168.56.12 dos    ─┘

Each host is a namespace with a veth pair to the bridge. Nothing of the machine's own network is
touched, so several of them stand side by side with the same addresses. What goes wrong is done to
the network by its tools: a cable is pulled (`pull`), packets are thrown away (`rule`), an address
changes (`renumber`), a host loses its power (`power_off`).

A namespace's name has the process id of its test in it: one that was left by a test run that was
killed is taken away by the next.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy
import pytest

import hpczmq
from hpczmq.identity import KeyRole
from hpczmq.keyring import Keyring
from hpczmq.model import JobInfo, SlaveInfo, SlaveState
from tests.integration.harness import BEAT_S, ROOT, Ended, Lab, Program, until
from tests.integration.pictures import same

T = TypeVar("T")

#: Hosts by the last number of their address.
CLIENT, MASTER, UNO, DOS = 1, 10, 11, 12
SLAVES = {UNO: "uno", DOS: "dos"}
MEMORIAS = ("memoria1", "memoria2")
KERNELS = {"HPCZMQ_KERNELS": "tests.kernels_for_tests:Unhurried"}
#: The image of all tests; how many tiles it has, and so how long it takes, is up to each test.
IMAGE: dict[str, Any] = {
    "algorithm": "Numpy", "width": 384, "height": 384, "iterations": 300,
    "c_re": -0.8, "c_im": 0.156, "half_width": 1.5,
}  # fmt: skip
#: Sides of tiles. Two slaves take 2, 4 and 7 seconds for 144, 256 and 484 tiles.
TILE, SMALL_TILE, TINY_TILE = 32, 24, 18
#: What is only cut off, or can be replaced, is at work again after so long at most.
RECOVERED_S = 10.0
#: A rule for one packet of five, by chance.
LOSS = ("-m", "statistic", "--mode", "random", "--probability", "0.2")
_CLONE_NEWNET = 0x40000000
_NAMES = Path("/run/netns")


def address(host: int) -> str:
    """The address of a host."""
    return f"192.168.56.{host}"


def tool(*command: str) -> str:
    """Run a command of the system; what it prints."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
    return done.stdout


class Network:
    """A switch, and the hosts that are plugged into it."""

    def __init__(self) -> None:
        self._prefix = f"hpczmq-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._made: list[str] = []
        _sweep()
        try:
            self._add("switch")
            self._switch("link", "add", "br0", "type", "bridge")
            self._switch("link", "set", "br0", "up")
        except BaseException:
            self.close()
            raise

    def name(self, host: int | str) -> str:
        """The namespace of a host."""
        return f"{self._prefix}-{host}"

    def add(self, host: int) -> None:
        """Plug a host in, and switch it on."""
        port = f"port{host}"
        self._add(host)
        mac = f"02:00:c0:a8:38:{host:02x}"  # the same after a power cut
        wire = ("type", "veth", "peer", "name", "eth0", "address", mac, "netns", self.name(host))
        self._switch("link", "add", port, *wire)
        self._switch("link", "set", port, "master", "br0", "up")
        self.ip(host, "link", "set", "lo", "up")
        self.ip(host, "addr", "add", f"{address(host)}/24", "dev", "eth0")
        self.ip(host, "link", "set", "eth0", "up")

    def at(self, host: int) -> list[str]:
        """What stands before a command that is to run on a host."""
        return ["ip", "netns", "exec", self.name(host)]

    def inside(self, host: int, call: Callable[[], T]) -> T:
        """Call a function on a host. The sockets and threads that it makes are there for good."""
        libc = ctypes.CDLL(None, use_errno=True)

        def entered() -> T:
            with open(_NAMES / self.name(host)) as namespace:
                if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            return call()

        with ThreadPoolExecutor(1) as thread:  # which ends with its namespace
            return thread.submit(entered).result()

    # --- What can go wrong --------------------------------------------------------------------

    def pull(self, host: int) -> None:
        """Pull the cable out of a host."""
        self._switch("link", "set", f"port{host}", "down")

    def plug(self, host: int) -> None:
        """Put the cable back."""
        self._switch("link", "set", f"port{host}", "up")

    def lasts(self, seconds: float) -> None:
        """Let a fault last so long. It is the one time that is waited for: it is the fault."""
        time.sleep(seconds)

    def cut(self, *hosts: int) -> None:
        """Let no packet through to some hosts, and have them keep their link: a firewall, or a
        cable that is pulled farther away.
        """
        for host in hosts:
            self.rule(host, "INPUT")
            self.rule(host, "OUTPUT")

    def rule(self, host: int, chain: str, *words: str) -> None:
        """Throw packets away that come to a host (INPUT) or leave it (OUTPUT)."""
        where = {"INPUT": "-i", "OUTPUT": "-o"}[chain]
        tool(*self.at(host), "iptables", "-w", "-A", chain, where, "eth0", *words, "-j", "DROP")

    def no_rules(self, host: int) -> None:
        """Let all packets through again."""
        tool(*self.at(host), "iptables", "-w", "-F")

    def renumber(self, host: int, new: int) -> None:
        """Give a host another address, as DHCP may."""
        self.ip(host, "addr", "del", f"{address(host)}/24", "dev", "eth0")
        self.ip(host, "addr", "add", f"{address(new)}/24", "dev", "eth0")

    def power_off(self, host: int) -> None:
        """Take a host away, and all that its system knew. Its last words never leave it."""
        tool("ip", "netns", "del", self.name(host))
        self._made.remove(self.name(host))
        # The other end goes with the namespace, but a little later.
        with suppress(AssertionError):
            self._switch("link", "del", f"port{host}")

    def ip(self, host: int | str, *words: str) -> None:
        """Run `ip` on a host."""
        tool("ip", "-n", self.name(host), *words)

    # --- The end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Take everything away."""
        for name in reversed(self._made):
            with suppress(AssertionError):  # first all of them, then a look
                tool("ip", "netns", "del", name)
        left = [path.name for path in _NAMES.glob(f"{self._prefix}-*")]
        assert not left, f"left behind: {left}"

    def _add(self, host: int | str) -> None:
        self._made.append(self.name(host))  # first: a Ctrl-C may come any time
        tool("ip", "netns", "add", self.name(host))

    def _switch(self, *words: str) -> None:
        self.ip("switch", *words)


def _sweep() -> None:
    """Take away what test runs have left that were killed."""
    for path in _NAMES.glob("hpczmq-*"):
        owner = re.match(r"hpczmq-(\d+)-", path.name)
        if owner and not Path("/proc", owner[1]).exists():
            with suppress(AssertionError):  # another run may be at it too
                tool("ip", "netns", "del", path.name)


class Recovery(NamedTuple):
    """How long it took until all was well again."""

    fault: str
    until: str
    seconds: float


class NetworkLab(Lab):
    """All processes of one test, on hosts of their own."""

    def __init__(self, folder: Path, recoveries: list[Recovery]) -> None:
        super().__init__(folder)
        self.network = Network()
        self.recoveries = recoveries
        keys = Keyring.init(folder / "keys", time.time())
        for who in SLAVES.values():
            keys.add(who, KeyRole.SLAVE, time.time())
        for who in MEMORIAS:
            keys.add(who, KeyRole.MEMORIA, time.time())
        #: What all processes are given: their key is there under their name.
        self.settings = {**KERNELS, "HPCZMQ_KEYS": str(keys.folder)}
        self._observer: hpczmq.Client | None = None

    # --- Start --------------------------------------------------------------------------------

    def launch_at(self, host: int, *arguments: str, before: tuple[str, ...] = ()) -> Program:
        """Start `hpczmq …` on a host, and don't wait for it."""
        program = [sys.executable, str(ROOT / "cli.py"), *arguments]
        name = f"{arguments[0]}-at-{host}"
        return self.start(name, [*self.network.at(host), *before, *program], self.settings)

    def start_ready(self, name: str, command: list[str]) -> Program:
        """Start a process, and wait for its first word on stdout."""
        program = self.start(name, command, self.settings)
        until(lambda: program.out.read_bytes() or program.is_dead(), f"{name} is ready")
        return program

    def cluster(
        self, *slaves: int, beat_s: float = BEAT_S, before: tuple[str, ...] = ()
    ) -> list[Program]:
        """A master, and slaves on these hosts, and somebody who looks; the nodes."""
        for host in (CLIENT, MASTER, UNO, DOS):
            self.network.add(host)
        binds = ("--bind", "0.0.0.0", "--control-bind", "0.0.0.0")
        beat = ("--heartbeat", str(beat_s))
        master = self.launch_at(MASTER, "master", *binds, *beat, before=before)
        until(lambda: master.out.read_bytes() or master.is_dead(), "the master is ready")
        # On the master's own host: what is done to the network does not keep it from looking.
        self._observer = self.network.inside(MASTER, self._observing)
        nodes = [master, *(self.slave_at(host) for host in slaves)]
        for host in slaves:
            self.until_ready(host)
        return nodes

    def _observing(self) -> hpczmq.Client:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HPCZMQ_KEYS", self.settings["HPCZMQ_KEYS"])
            return hpczmq.Client("127.0.0.1", timeout=60, name="observer")

    def slave_at(self, host: int, master: str = address(MASTER)) -> Program:
        """A slave with one slot on a host."""
        name = ("--name", SLAVES[host], "--slots", "1")
        return self.launch_at(host, "slave", "--master", master, *name, "--bind", "off")

    def memoria_at(self, host: int, number: int) -> Program:
        """A memoria on a host, for everybody."""
        binds = ("--bind", "0.0.0.0", "--control-bind", "0.0.0.0")
        which = ("--number", str(number), "--master", address(MASTER))
        return self.launch_at(host, "memoria", *which, *binds)

    def run_at(
        self, host: int = CLIENT, tile: int = TILE, master: str = address(MASTER),
        timeout_s: float = 60, before: tuple[str, ...] = (),
    ) -> Program:  # fmt: skip
        """A client that runs the image; it is waited for until the first part of it is done."""
        facts = {"kernel": "unhurried", "name": "image", **IMAGE, "tile": tile}
        lines = [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}"
                 for key, value in facts.items()]  # fmt: skip
        (self.folder / "jobs.toml").write_text("\n".join(["[[job]]", *lines, ""]))
        where = ("--master", master, "--out", "out", "--timeout", str(timeout_s))
        client = self.launch_at(host, "run", "jobs.toml", *where, before=before)
        until(lambda: self.is_running(client), "some tiles are done")
        return client

    def is_running(self, client: Program) -> bool:
        """Whether the job is well on its way, and far from its end."""
        jobs = self.observer.jobs()
        return client.is_dead() or (len(jobs) == 1 and 10 * jobs[0].done > jobs[0].tasks)

    # --- Look ---------------------------------------------------------------------------------

    @property
    def observer(self) -> hpczmq.Client:
        """A client on the master's host."""
        assert self._observer is not None, "there is no cluster yet"
        return self._observer

    def job(self) -> JobInfo:
        """The one job, as the master sees it."""
        (row,) = self.observer.jobs()
        return row

    def slave_row(self, host: int) -> SlaveInfo | None:
        """The newest slave of a host, as the master sees it."""
        rows = [row for row in self.observer.slaves() if row.name == SLAVES[host]]
        return rows[-1] if rows else None

    def until_ready(self, host: int) -> SlaveInfo:
        """Wait until a host's slave is there, and was heard just now."""

        def ready() -> SlaveInfo | None:
            row = self.slave_row(host)
            fresh = row and row.state is SlaveState.READY and row.silent_s < 2 * BEAT_S
            return row if fresh else None

        row = until(ready, f"{SLAVES[host]} is ready")
        assert row is not None, "until gives what is true"
        return row

    def until_lost(self, host: int) -> None:
        """Wait until the master has given a slave up: its tiles are somebody else's then."""

        def lost() -> bool:
            row = self.slave_row(host)
            return row is not None and row.state is SlaveState.LOST

        until(lost, f"{SLAVES[host]} is lost")

    def until_at_work(self, *hosts: int) -> None:
        """Wait until the slaves of these hosts compute tiles that they have been given since."""
        done = {host: self.until_ready(host).metrics.tasks_done for host in hosts}

        def more(host: int) -> bool:
            row = self.slave_row(host)
            assert not self.job().state.ended, "the job was too short to see it at work again"
            return row is not None and row.metrics.tasks_done > done[host] + 1

        for host in hosts:
            until(partial(more, host), f"{SLAVES[host]} is at work")

    def arrived(self) -> int:
        """How many pixels of the image have a count, in the client's unfinished file."""
        (part,) = self.parts()
        return int(numpy.count_nonzero(numpy.load(part, mmap_mode="r")))

    def until_fed(self) -> None:
        """Wait until the client has been sent more of the image than it has now."""
        pixels = self.arrived()
        until(lambda: self.arrived() > pixels, "the client is sent results")

    @contextmanager
    def recovery(
        self, fault: str, until_what: str, *, since_s: float | None = None,
        within_s: float = RECOVERED_S,
    ) -> Iterator[None]:  # fmt: skip
        """Measure how long it takes until all is well again; too long is a failure.

        `since_s` is when that began, by time.monotonic(), if it was before.
        """
        began_s = time.monotonic() if since_s is None else since_s
        yield
        seconds = time.monotonic() - began_s
        self.recoveries.append(Recovery(fault, until_what, seconds))
        print(f"{fault}: recovered in {seconds:.2f} s ({until_what})")
        assert seconds <= within_s, f"{fault}: not within {within_s} s: {until_what}"

    def finished(self, client: Program, out: str = "out") -> Ended:
        """Wait for a client's end; its image has to be right, bit for bit."""
        ended = client.ended().fine()
        self.check_image(out)
        return ended

    def check_image(self, out: str = "out") -> None:
        """Fail unless the image is the reference's."""
        assert same(numpy.load(self.folder / out / "image" / "counts.npy"), IMAGE)

    # --- End ----------------------------------------------------------------------------------

    def close(self) -> None:
        """End all processes, then take the network away."""
        try:
            if self._observer is not None:
                self._observer.close()
            others = [program for program in self.programs[1:] if program.popen.poll() is None]
            for program in others:
                program.send(signal.SIGCONT)
                program.send(signal.SIGTERM)
            for program in others:  # before the master, to whom they say goodbye
                with suppress(subprocess.TimeoutExpired):
                    program.wait()
            super().close()
        finally:
            self.network.close()
