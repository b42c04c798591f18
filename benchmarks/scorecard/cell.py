"""One cell of the table: one fault, one system. It prints what it found as JSON.

`python -m benchmarks.scorecard.cell SYSTEM FAULT --python PYTHON --folder FOLDER`
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.scorecard.faults import FAULTS, TIMEOUT_S, Fault, is_alive
from benchmarks.scorecard.stage import Failed, Line, Stage, until
from benchmarks.scorecard.systems import SETUPS, SYSTEMS, Setup

#: How long a task takes, and how many of them are done when a fault strikes.
TASK_S, STRUCK_AFTER = 0.25, 12
#: The task that does something else than the others, where there is one.
SPECIAL = 10
#: A process that a task left behind is looked at for so long, after all tasks are done.
DAEMON_S = 5.0


class Cell:
    """One run."""

    def __init__(self, setup: Setup, fault: Fault) -> None:
        self.setup = setup
        self.stage = setup.stage
        self.fault = fault
        self.extra: dict[str, Any] = {}
        self.struck_at = 0.0
        self.special = f"t{SPECIAL}" if fault.action else ""
        self.names = [f"t{number}" for number in range(fault.tasks)]

    # --- What a fault may ask -----------------------------------------------------------------

    def strike(self) -> None:
        """This is the moment."""
        self.struck_at = time.monotonic()

    def running(self) -> Line:
        """A task that runs, at the moment when it is due: the one that began last."""

        def found() -> list[Line]:
            lines = [line for line in self.stage.lines() if line.task in self.names]
            ended = {line.task for line in lines if line.word == "ended"}
            running = [line for line in lines if line.word == "started" and line.task not in ended]
            return running if len(ended) >= STRUCK_AFTER else []

        return until(found, f"{STRUCK_AFTER} tasks are done, and one runs")[-1]

    def node_of(self, line: Line) -> str:
        """The node on which a task runs."""
        node = self.stage.node_of(psutil.Process(line.pid))
        if node is None:
            raise Failed(f"the node of process {line.pid} is not known")
        return node

    def special_started(self) -> Line:
        """The special task's beginning."""

        def found() -> list[Line]:
            return [line for line in self.stage.lines() if line.task == self.special]

        return until(found, "the special task runs")[0]

    def cancel(self) -> None:
        """Have the client cancel the special task."""
        self.stage.order(self.client, do="cancel", task=self.special)

    def add_node(self, node: str) -> None:
        """Start a node, however that is done."""
        self.stage.order(self.client, do="add_node")
        self.setup.start_node(node)

    # --- The run ------------------------------------------------------------------------------

    def play(self) -> dict[str, Any]:
        """All of it, and what came of it."""
        began = time.monotonic()
        self._start()
        self._submit([[f"w{number}", "sleep", TASK_S, None, False] for number in range(4)])
        until(lambda: len(self.stage.settled()) == 4, "the first tasks are done")
        self.extra["start_s"] = time.monotonic() - began
        self._submit([self._task(name) for name in self.names])
        submitted = time.monotonic()
        self._until_due()
        self.fault.do(self)
        self._until_over()
        found = self._account(submitted)
        if self.fault.action == "daemon":
            self._look_after_daemon(found)
        return found

    def _start(self) -> None:
        setup, stage, nodes = self.setup, self.stage, self.fault.nodes
        setup.start_head()
        for number in range(1, nodes + 1):
            setup.start_node(f"node{number}")
        setup.until_joined(nodes)
        settings = json.dumps(setup.system.settings(stage, nodes, setup.address))
        command = [setup.python, "-m", "benchmarks.scorecard.client", settings]
        environment = setup.client_environment()
        self.client = stage.start("client", command, **environment)
        stage.until_said("client", "ready")

    def _task(self, name: str) -> list[Any]:
        if name != self.special:
            return [name, "sleep", TASK_S, None, False]
        timeout_s = TIMEOUT_S if self.fault.action == "hang" else None
        return [name, self.fault.action, TASK_S, timeout_s, self.fault.action == "parent"]

    def _submit(self, tasks: list[list[Any]]) -> None:
        outlive = self.fault is FAULTS["client-killed"]
        self.stage.order(self.client, do="submit", tasks=tasks, outlive=outlive)

    def _until_due(self) -> None:
        """A special task is its own moment; everything else strikes after some tasks."""
        if not self.special:
            self.running()

    def _until_over(self) -> None:
        """Until all is settled, or nothing has happened for as long as the fault's patience."""
        last, seen = time.monotonic(), -1
        while True:
            lines, settled = self.stage.lines(), self.stage.settled()
            if self.is_over():
                return
            if len(lines) + len(settled) != seen:
                last, seen = time.monotonic(), len(lines) + len(settled)
            if time.monotonic() > last + self.fault.patience_s:
                self.extra["given_up"] = True
                return
            time.sleep(0.05)

    def is_over(self) -> bool:
        """Whether the user knows of every task; or, if there is no user, whether all are done."""
        lines, settled = self.stage.lines(), self.stage.settled()
        if self.fault is FAULTS["client-killed"]:
            ended = {line.task for line in lines if line.word == "ended"}
            return ended >= set(self.names)
        return settled.keys() >= set(self.names)

    # --- What came of it ----------------------------------------------------------------------

    def _account(self, submitted: float) -> dict[str, Any]:
        lines, settled = self.stage.lines(), self.stage.settled()
        ended = {line.task: line.at for line in lines if line.word == "ended"}
        if self.fault is FAULTS["client-killed"]:  # nobody is there to be told
            settled = {name: (None, at) for name, at in ended.items()}
        innocent = [name for name in self.names if name != self.special]
        good = [name for name in innocent if name in settled and settled[name][0] is None]
        bad = [name for name in innocent if name in settled and name not in good]
        starts: dict[str, list[float]] = {name: [] for name in self.names}
        for line in lines:
            if line.word == "started" and line.task in starts:
                starts[line.task].append(line.at)
        again = [starts[name][1] - self.struck_at for name in innocent if len(starts[name]) > 1]
        before = [name for name in innocent if ended.get(name, self.struck_at) < self.struck_at]
        told = [settled[name] for name in ([self.special] if self.special else bad)
                if name in settled and settled[name][0]]  # fmt: skip
        return {
            "lost": len(innocent) - len(good),
            "of": len(innocent),
            #: Of the lost ones, those of which the user was not told within the patience.
            "silent": len(innocent) - len(good) - len(bad),
            "again": len(again),
            #: When the last of these was begun anew.
            "again_s": max(again, default=None),
            "special_runs": len(starts[self.special]) if self.special else None,
            "left": len(innocent) - len(before),
            "took_s": max((settled[name][1] for name in good), default=submitted) - submitted,
            "after_s": max((settled[name][1] for name in good), default=self.struck_at)
            - self.struck_at,
            "told": told[0][0].strip()[:2000] if told and told[0][0] else None,
            "told_s": told[0][1] - self.struck_at if told else None,
            "cancel_refused": settled.get("cancel", (None, 0.0))[0],
            **self.extra,
        }

    def _look_after_daemon(self, found: dict[str, Any]) -> None:
        child = next(line.pid for line in self.stage.lines() if line.word == "child")
        end = time.monotonic() + DAEMON_S
        while is_alive(child) and time.monotonic() < end:
            time.sleep(0.05)
        found["daemon"] = "with the task"
        if is_alive(child):
            self.stage.end_in_order()
            found["daemon"] = "stays" if is_alive(child) else "with the system"


def _end_with_stdin() -> None:
    """End with who started this, however that ends: its end of the pipe closes then."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Play one cell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("system", choices=list(SYSTEMS))
    parser.add_argument("fault", choices=list(FAULTS))
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    system, fault = SYSTEMS[given.system], FAULTS[given.fault]
    if fault.network and os.geteuid():
        raise SystemExit("networks of its own take root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and everything is taken away
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    stage = Stage(given.folder, fault.network)
    setup = SETUPS[system.adapter](system, given.python, stage)
    try:
        print(json.dumps(Cell(setup, fault).play()))
    except Failed as error:
        print(json.dumps({"failed": str(error)}))
    finally:
        stage.close()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
