"""The systems under test: how each is installed, and how its head and its nodes are started.

Each is started by its own command, a head and nodes with one worker process of one slot, with its
own defaults; what differs from them is here, with the reason.
"""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.scorecard.stage import ROOT, Stage, until

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class System:
    """One system; the client's side of it is `on_<adapter>.py`."""

    #: As the table calls it.
    title: str
    adapter: str
    #: What is installed for it; the first one's version is shown. Empty: this environment.
    packages: tuple[str, ...] = ()
    #: Whether it ends a task that is late by itself; otherwise the caller cancels it then.
    own_timeout: bool = False
    #: Parsl's; the others have theirs as they come.
    retries: int = 0
    #: How it was set up, for the page.
    note: str = ""

    @property
    def distribution(self) -> str:
        """The package whose version is the system's."""
        return self.packages[0].partition("==")[0] if self.packages else "hpczmq"

    @property
    def place(self) -> str:
        """The name of its environment; systems of the same packages share one."""
        return self.adapter

    def settings(self, stage: Stage, nodes: int, address: str) -> dict[str, Any]:
        """What the client is told."""
        return {
            "adapter": self.adapter, "address": address, "nodes": nodes, "retries": self.retries,
            "book": str(stage.book), "outcomes": str(stage.outcomes), "folder": str(stage.folder),
        }  # fmt: skip


class Setup:
    """One system that is being played: where it runs, and how it is started."""

    def __init__(self, system: System, python: Path, stage: Stage) -> None:
        self.system = system
        self.python = python
        self.stage = stage
        #: Where nodes and clients dial.
        self.address = ""

    def program(self, name: str) -> Path:
        """A command of the system's environment."""
        return self.python.with_name(name)

    def start_head(self) -> None:
        """Start what the nodes dial to."""

    def start_node(self, node: str) -> None:
        """Start a node; not waited for."""

    def until_joined(self, nodes: int) -> None:
        """Wait until so many nodes are there, as far as one can see."""

    def client_environment(self) -> dict[str, str]:
        """What the client's environment has besides."""
        return {}

    def kill_head(self) -> None:
        """Everything of the head at once."""
        self.stage.kill_node("head")


class Hpczmq(Setup):
    """A master, slaves of one slot."""

    #: The nodes share one machine, whose load is no reason to spare one of them.
    _ENV = {  # noqa: RUF012 — never changed
        "HPCZMQ_KERNELS": "benchmarks.scorecard.kernel:Chore",
        "HPCZMQ_SPARE_SATURATED": "false",
    }

    def start_head(self) -> None:
        """`hpczmq master`."""
        wide = ["--insecure"] if self.stage.network else []
        bind = f"{self.stage.address('head')}:0"
        command = [self.python, ROOT / "cli.py", "master", "--bind", bind, "--control-bind", bind]
        self.stage.start("head", [*command, *wide], **self._ENV)
        facts = json.loads(self.stage.until_said("head", "\n"))
        self.address = f"{self.stage.address('head')}:{facts['port']}"

    def start_node(self, node: str) -> None:
        """`hpczmq slave`."""
        command = [self.python, ROOT / "cli.py", "slave", "--master", self.address]
        options = ["--name", node, "--slots", 1, "--bind", "off"]
        self.stage.start(node, [*command, *options], **self._ENV)
        self.stage.until_said(node, "\n")

    def client_environment(self) -> dict[str, str]:
        """The kernel."""
        return self._ENV


class Dask(Setup):
    """`dask scheduler`, and a `dask worker` a node, with its nanny."""

    def start_head(self) -> None:
        """The scheduler, without the dashboard, which would want bokeh."""
        self.address = f"tcp://{self.stage.address('head')}:{free_port()}"
        host, port = self.address.removeprefix("tcp://").split(":")
        options = ["--host", host, "--port", port, "--no-dashboard", "--no-show"]
        self.stage.start("head", [self.program("dask"), "scheduler", *options])
        until(lambda: "Scheduler at" in self._log("head"), "the scheduler is up")

    def start_node(self, node: str) -> None:
        """A worker of one thread."""
        options = ["--nthreads", 1, "--nworkers", 1, "--no-dashboard", "--name", node]
        if self.stage.network:
            options += ["--host", self.stage.address(node)]
        folder = self.stage.folder / f"{node}-space"
        command = [self.program("dask"), "worker", self.address, *options]
        self.stage.start(node, [*command, "--local-directory", folder])

    def until_joined(self, nodes: int) -> None:
        """The workers say so."""
        for number in range(1, nodes + 1):
            until(lambda n=number: "Registered to" in self._log(f"node{n}"), "a worker is there")  # type: ignore[misc]

    def _log(self, node: str) -> str:
        return (self.stage.folder / f"{node}.log").read_text(errors="replace")


class Ray(Setup):
    """`ray start`: a head without processors, and a node with one each."""

    def start_head(self) -> None:
        """The head, on whose host the driver runs too."""
        port = free_port()
        # Ray takes 127.0.0.1 for "any address of this machine".
        host = self.stage.address("head") if self.stage.network else "127.0.0.4"
        self.address = f"{host}:{port}"
        options = ["--head", "--port", port, "--num-cpus", 0, "--include-dashboard", "false"]
        # Sockets have short names, and the folder of a cell may have a long one.
        self._start("head", host, *options, "--temp-dir", self.stage.folder / "r")
        until(lambda: "Ray runtime started" in self.stage.said("head"), "the head is up")

    def start_node(self, node: str) -> None:
        """A node with one processor. One after the other: two on one machine that start at the
        same moment choose the same names for their sockets.
        """
        self._start(node, self.stage.address(node), "--address", self.address, "--num-cpus", 1)
        self.stage.until_said(node, "Ray runtime started")

    def _start(self, node: str, host: str, *options: object) -> None:
        common = ["--node-ip-address", host, "--object-store-memory", 100 * MIB, "--block"]
        common += ["--disable-usage-stats"]
        command = [self.program("ray"), "start", *options, *common]
        self.stage.start(node, command)


class Parsl(Setup):
    """The client starts everything; see `on_parsl.py`."""

    def start_head(self) -> None:
        """Where the interchange will listen."""
        self.address = self.stage.address("head")

    def kill_head(self) -> None:
        """The interchange."""
        for process in self.stage.processes("client"):
            if "interchange" in " ".join(process.cmdline()):
                process.kill()

    def client_environment(self) -> dict[str, str]:
        """Its helpers are found by their names."""
        import os

        return {"PATH": f"{self.python.parent}:{os.environ['PATH']}"}


def free_port() -> int:
    """A port of loopback that nobody has now, for those who can't choose one and tell it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


SETUPS: dict[str, type[Setup]] = {
    "hpczmq": Hpczmq, "dask": Dask, "ray": Ray, "parsl": Parsl,
}  # fmt: skip

_PARSL_NOTE = """HighThroughputExecutor, LocalProvider with blocks of one node and one worker; as
many blocks at least as there are nodes, so that Parsl replaces one that ended. The 2 s are the
app's `walltime`. """

SYSTEMS: dict[str, System] = {
    "hpczmq": System(
        "hpczmq", "hpczmq", own_timeout=True,
        note="""`hpczmq master`, `hpczmq slave --slots 1`; its tasks are a kernel that calls the
        same function. One `map`; the tasks with a timeout, or to be cancelled, are jobs of their
        own, since both belong to a job. A slave whose machine is saturated is not spared, as
        `hpczmq run` has it, since all share one machine.""",
    ),
    "dask": System(
        "Dask", "dask", ("distributed==2026.8.0",),
        note="""`dask scheduler`, `dask worker --nworkers 1 --nthreads 1` with its nanny;
        `allowed-failures` 3. A future is dropped as soon as its result is there, so that results do
        not get lost with a worker. It has no timeout for a task: the user's program cancels the
        future when the 2 s are over.""",
    ),
    "ray": System(
        "Ray", "ray", ("ray==2.60.0",),
        note="""`ray start --head --num-cpus 0`, `ray start --num-cpus 1`; tasks, not actors, with
        `max_retries` 3 as it comes. The user's program calls `ray.cancel(force=True)` when the 2 s
        are over.""",
    ),
    "parsl": System(
        "Parsl", "parsl", ("parsl==2026.10.26",), own_timeout=True,
        note=_PARSL_NOTE + "`retries` 0, as it comes.",
    ),
    "parsl-retries": System(
        "Parsl, retries=3", "parsl", ("parsl==2026.10.26",), own_timeout=True, retries=3,
        note="the same with `retries=3`, which its documentation recommends against lost workers.",
    ),
}  # fmt: skip

#: The interpreter of this environment.
HERE = Path(sys.executable)
