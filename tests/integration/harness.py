"""Real processes for tests: started through the command line, watched, and taken down by their ids.

A `Lab` is one test's room. Every process that it starts, and all that these start, carry the lab's
mark in their environment, so that none can hide from `Lab.close`, whoever its parent is by then.
What a process says goes to a file in the test's folder, and is shown when the test fails.

Nothing here waits for time to pass: `until` waits for a condition and fails, with words, when it
has not come true after a minute, which is long even on a machine that is busy with other things.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
#: How long anything may take before the test gives up on it.
DEADLINE_S = 60.0
#: How often a condition is looked at.
LOOK_S = 0.01
#: Heartbeats of test clusters: four of them are soon over, and a busy machine still keeps up.
BEAT_S = 0.25
#: Kernels that misbehave, for the nodes and the commands that are to know them.
MISBEHAVING = {
    "HPCZMQ_KERNELS": ",".join(
        f"tests.kernels_for_tests:{k}" for k in ("Crash", "Hang", "Haunt", "Fail")
    )
}
_MARK = "LAB_OF_A_TEST"
#: Should pytest itself be killed, then the kernel kills what it had started (where it can).
_WITH_US = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def until(condition: Callable[[], T], what: str, deadline_s: float = DEADLINE_S) -> T:
    """Wait until a condition gives something true, and give that back."""
    end = time.monotonic() + deadline_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not in {deadline_s:g} s: {what}; last seen: {found!r}")
        time.sleep(LOOK_S)


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    def fine(self) -> Ended:
        """Itself, after a look that all went well."""
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.err
        return self

    def refused(self, code: int = 2) -> str:
        """What it complained of, in words for people, when it was to do nothing."""
        assert self.code == code, f"exit code {self.code}\n{self.out}\n{self.err}"
        assert self.out == ""
        assert self.err.strip()
        assert "Traceback" not in self.err
        return self.err


class Program:
    """One process that a test started, and its log."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path, out: Path) -> None:
        self.name = name
        self.popen = popen
        self.log = log
        self.out = out
        #: What a node said when it was ready.
        self.facts: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """The process id."""
        return self.popen.pid

    @property
    def address(self) -> str:
        """Where a node answers."""
        return f"127.0.0.1:{self.facts['port']}"

    def said(self) -> str:
        """The log so far."""
        return self.log.read_text(errors="replace")

    def until_said(self, words: str) -> None:
        """Wait until these words are in the log."""
        until(lambda: words in self.said() or self.is_dead(), f"{self.name} says {words!r}")

    def is_dead(self) -> bool:
        """False; or a failure, when there is nothing to wait for any more."""
        code = self.popen.poll()
        assert code is None, f"{self.name} has ended with exit code {code}"
        return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self.popen.send_signal(number)

    def wait(self) -> int:
        """Wait for the end; the exit code."""
        return self.popen.wait(DEADLINE_S)

    def ended(self) -> Ended:
        """Wait for the end; everything about it."""
        code = self.wait()
        return Ended(code, self.out.read_text(errors="replace"), self.said())

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.send(number)
        return self.wait()

    def children(self) -> list[psutil.Process]:
        """The processes that it started itself and that are there now."""
        return psutil.Process(self.pid).children()


class Lab:
    """All processes of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs: list[Program] = []
        self._mark = uuid.uuid4().hex
        self._logs = folder / "logs"
        self._logs.mkdir()

    # --- Start --------------------------------------------------------------------------------

    def start(
        self, name: str, command: list[str], env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> Program:
        """Start a process in the test's folder; stdin is a text, or nothing."""
        stem = self._logs / f"{len(self.programs):02}-{name}"
        given, out, log = (stem.with_suffix(f".{end}") for end in ("in", "out", "log"))
        given.write_text(stdin)
        with given.open("rb") as source, out.open("wb") as results, log.open("wb") as words:
            popen = subprocess.Popen(
                [*_WITH_US, *command], cwd=self.folder, env=self.environment(env),
                stdin=source, stdout=results, stderr=words,
            )  # fmt: skip
        program = Program(name, popen, log, out)
        self.programs.append(program)
        return program

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Ours, without any settings of a cluster, with this lab's mark."""
        ours = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("HPCZMQ_")
            and key not in ("MAESTRO_IP", "ESCLAVO", "MEMORIA_NODE", "NO_COLOR", "FORCE_COLOR")
        }
        home = str(self.folder / "home")  # no configuration file of the user's
        marked = {_MARK: self._mark, "PYTHONPATH": str(ROOT), "HOME": home}
        # Workers get what they need and no more; the mark is for us.
        marked["HPCZMQ_WORKER_ENV"] = _MARK
        # Whoever else uses this machine must not keep the work away from our slaves.
        marked["HPCZMQ_SPARE_SATURATED"] = "false"
        return {**ours, "XDG_CONFIG_HOME": home, **marked, **(more or {})}

    def launch(
        self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> Program:
        """Start `hpczmq …`, and don't wait for it."""
        command = [sys.executable, str(ROOT / "cli.py"), *arguments]
        return self.start(arguments[0] if arguments else "hpczmq", command, env, stdin)

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Ended:
        """Run `hpczmq …` to its end."""
        return self.launch(*arguments, env=env, stdin=stdin).ended()

    def node(self, *arguments: str, env: Mapping[str, str] | None = None) -> Program:
        """Start a node by its command, and wait until it says that it is ready."""
        program = self.launch(*arguments, env=env)
        until(
            lambda: b"\n" in program.out.read_bytes() or program.is_dead(),
            f"{program.name} is ready",
        )
        program.facts = json.loads(program.out.read_text())
        return program

    def master(self, *arguments: str, env: Mapping[str, str] | None = None) -> Program:
        """Start a master with quick heartbeats, on free ports unless told otherwise."""
        binds = [] if "--bind" in arguments else ["--bind", "127.0.0.1:0"]
        beat = [] if "--heartbeat" in arguments else ["--heartbeat", str(BEAT_S)]
        control = ["--control-bind", "127.0.0.1:0"]
        return self.node("master", *control, *binds, *beat, *arguments, env=env)

    def slave(
        self, master: str, name: str, *arguments: str, slots: int = 1,
        env: Mapping[str, str] | None = None,
    ) -> Program:  # fmt: skip
        """Start a slave without a port of its own unless told otherwise."""
        bind = [] if "--bind" in arguments else ["--bind", "off"]
        bind += [] if "--grace" in arguments else ["--grace", "0"]  # tests have no time
        common = ["--master", master, "--name", name, "--slots", str(slots)]
        return self.node("slave", *common, *bind, *arguments, env=env)

    def memoria(
        self, master: str, number: int = 1, env: Mapping[str, str] | None = None
    ) -> Program:
        """Start a memoria on free ports."""
        binds = ["--bind", "127.0.0.1:0", "--control-bind", "127.0.0.1:0"]
        return self.node("memoria", "--master", master, "--number", str(number), *binds, env=env)

    # --- Look ---------------------------------------------------------------------------------

    def alive(self) -> list[psutil.Process]:
        """Every process that carries the mark: ours, and what these have started."""
        return [process for process in psutil.process_iter() if self._is_marked(process)]

    def _is_marked(self, process: psutil.Process) -> bool:
        try:
            ours = process.environ().get(_MARK) == self._mark
            return ours and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def until_empty(self, what: str) -> None:
        """Wait until no process of this lab is left."""
        until(lambda: not self.alive(), f"no process is left {what}")

    def parts(self) -> list[Path]:
        """Temporary files in the test's folder."""
        return sorted(self.folder.rglob("*.part"))

    def said(self) -> Iterator[tuple[str, str]]:
        """Name and words of each process that said something."""
        for program in self.programs:
            words = program.said()
            if words.strip():
                yield f"{program.name} ({program.pid})", words[-20_000:]

    # --- End ----------------------------------------------------------------------------------

    def close(self) -> None:
        """End what is left: in order first, then for good; and say so if that was needed."""
        for program in reversed(self.programs):
            if program.popen.poll() is None:
                program.send(signal.SIGCONT)
                program.send(signal.SIGTERM)
        stubborn = []
        for program in self.programs:
            try:
                program.wait()
            except subprocess.TimeoutExpired:
                stubborn.append(program.name)
                program.end(signal.SIGKILL)
        # Workers end with their slave, but their end is not ours to wait for.
        _, left = psutil.wait_procs(self.alive(), timeout=10)
        named = [f"{process.pid} {_line(process)}" for process in left]
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        assert not stubborn, f"did not end when told to: {stubborn}"
        assert not named, "left running:\n" + "\n".join(named)


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return "(ended)"
