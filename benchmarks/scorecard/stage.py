"""Where a cell of the table is played: its processes, its network, its book.

Every process of a stage descends from this one, which adopts those whose parents end: nothing can
stay behind. The processes of a node carry its name in their environment, and those that have
painted that over (as titles of processes do) have an ancestor that is known. So a node can be
killed or stopped as a whole, as a power cut would, whatever it consists of.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import psutil

from hpczmq import spawn

if TYPE_CHECKING:
    from tests.network.lab import Network

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
NODE = "SCORECARD_NODE"
#: How often a condition is looked at.
LOOK_S = 0.02
#: Hosts by the last number of their address, where the stage has a network of its own.
HOSTS = {"head": 10, "node1": 11, "node2": 12}
#: A system may take so long to come up, on a busy machine.
START_S = 180.0
#: Nodes that are told to end may take so long.
END_S = 5.0


class Failed(Exception):
    """The cell could not be played; that is no result."""


class Line(NamedTuple):
    """A line of the book."""

    task: str
    word: str
    pid: int
    at: float


def until(condition: Callable[[], T], what: str, deadline_s: float = START_S) -> T:
    """Wait until a condition gives something true, and give that back."""
    end = time.monotonic() + deadline_s
    while not (found := condition()):
        if time.monotonic() > end:
            raise Failed(f"not in {deadline_s:g} s: {what}")
        time.sleep(LOOK_S)
    return found


class Stage:
    """The processes of one cell."""

    def __init__(self, folder: Path, networked: bool = False) -> None:
        spawn.adopt_orphans()
        self.folder = folder
        self.book = folder / "book"
        self.book.mkdir()
        self.outcomes = folder / "outcomes"
        self.network: Network | None = None
        self._started: list[tuple[str, subprocess.Popen[bytes]]] = []
        hosts: dict[str, list[str]] = {}
        if networked:
            from tests.network.lab import Network

            self.network = Network()
            for name, number in HOSTS.items():
                self.network.add(number)
                hosts[name] = self.network.at(number)
        self._hosts = hosts
        (folder / "hosts.json").write_text(json.dumps(hosts))

    # --- Processes ----------------------------------------------------------------------------

    def address(self, node: str) -> str:
        """The address of a node: a host's, or one of loopback."""
        if self.network:
            return f"192.168.56.{HOSTS[node]}"
        return {"head": "127.0.0.1", "node1": "127.0.0.2", "node2": "127.0.0.3"}[node]

    def start(
        self, node: str, command: Iterable[object], *, name: str = "", **env: str
    ) -> subprocess.Popen[bytes]:
        """Start a process of a node; what it says goes to `NAME.log`, stdout to `NAME.out`."""
        name = name or node
        host = self._hosts.get("head" if node == "client" else node, [])
        with (
            (self.folder / f"{name}.log").open("ab") as log,
            (self.folder / f"{name}.out").open("ab") as out,
        ):
            process = subprocess.Popen(
                [*host, *map(str, command)], cwd=self.folder, start_new_session=True,
                stdin=subprocess.PIPE, stdout=out, stderr=log, env=self._environment(node, env),
            )  # fmt: skip
        self._started.append((name, process))
        return process

    def _environment(self, node: str, more: dict[str, str]) -> dict[str, str]:
        foreign = ("HPCZMQ_", "DASK_", "RAY_", "PARSL_", "COV_", "COVERAGE_")
        ours = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        home = str(self.folder)  # no settings of the user's
        marked = {NODE: node, "PYTHONPATH": str(ROOT), "HOME": home}
        return {**ours, "XDG_CONFIG_HOME": home, **marked, **more}

    def said(self, name: str) -> str:
        """What a process printed on stdout so far."""
        return (self.folder / f"{name}.out").read_text(errors="replace")

    def until_said(self, name: str, words: str) -> str:
        """Wait until a process has printed these words; all that it printed."""
        process = dict(self._started)[name]

        def said() -> str:
            text = self.said(name)
            if process.poll() is not None and words not in text:
                log = (self.folder / f"{name}.log").read_text(errors="replace")
                raise Failed(f"{name} has ended: {(log or text)[-2000:]}")
            return text if words in text else ""

        return until(said, f"{name} says {words!r}")

    def processes(self, node: str | None = None) -> list[psutil.Process]:
        """Those of a node, or all."""
        everyone = descendants()
        return [each for each in everyone if node in (None, self.node_of(each))]

    def node_of(self, process: psutil.Process) -> str | None:
        """The node that a process belongs to."""
        roots = {started.pid: name for name, started in self._started}
        for path in self.folder.glob("entered-*"):
            with suppress(ValueError):  # it is just being written
                roots[int(path.read_text())] = path.name.replace("entered-", "node")
        with suppress(psutil.Error):
            named = process.environ().get(NODE)
            if named:
                return named
            for each in (process, *process.parents()):
                if each.pid in roots:
                    return roots[each.pid]
        return None

    def send(self, number: signal.Signals, processes: Iterable[psutil.Process]) -> None:
        """Send a signal to each that is still there."""
        for process in processes:
            with suppress(psutil.Error):
                process.send_signal(number)

    def kill_node(self, node: str) -> None:
        """Everything of a node at once; stopped first, so that nothing reacts in between."""
        processes = self.processes(node)
        self.send(signal.SIGSTOP, processes)
        self.send(signal.SIGKILL, [*processes, *self.processes(node)])

    # --- The book -----------------------------------------------------------------------------

    def lines(self) -> list[Line]:
        """The whole book, in the order of time."""
        found = []
        for path in self.book.iterdir():
            for line in path.read_text().splitlines():
                word, pid, at = line.split()
                found.append(Line(path.name, word, int(pid), float(at)))
        return sorted(found, key=lambda line: line.at)

    def settled(self) -> dict[str, tuple[str | None, float]]:
        """What the client was told so far: by task the error, if any, and when."""
        found: dict[str, tuple[str | None, float]] = {}
        if self.outcomes.exists():
            for text in self.outcomes.read_text().splitlines():
                row = json.loads(text)
                found.setdefault(row["task"], (row["error"], row["at"]))
        return found

    def order(self, client: subprocess.Popen[bytes], **words: Any) -> None:
        """Tell the client to do something."""
        assert client.stdin is not None
        client.stdin.write(json.dumps(words).encode() + b"\n")
        client.stdin.flush()

    # --- The end ------------------------------------------------------------------------------

    def end_in_order(self) -> None:
        """As a user does it: the client hangs up, then nodes and head are told to end."""
        for _, process in reversed(self._started):
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()
            if process is self._started[-1][1]:  # the client, which says goodbye first
                with suppress(subprocess.TimeoutExpired):
                    process.wait(END_S)
            if process.poll() is None:
                process.terminate()
        for _, process in reversed(self._started):
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_S)

    def close(self) -> None:
        """Kill what is left, and take the network away."""
        sweep()
        reap()
        if self.network:
            self.network.close()


def descendants() -> list[psutil.Process]:
    """Every living process that this one, or one of them, has started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def sweep() -> None:
    """Kill all of them, until there is none."""
    left = descendants()
    for _ in range(200):
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(LOOK_S)
        left = descendants()
        if not left:
            return
    raise Failed(f"processes that can't be killed: {left}")


def reap() -> None:
    """Bury all that has died here: whoever adopts them next may never do so."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
