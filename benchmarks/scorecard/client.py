"""The user's program, the same for all systems: `python -m benchmarks.scorecard.client SETTINGS`.

It runs in the system's own environment. Orders come on stdin, a JSON object a line: `submit`,
`cancel`, `add_node`. One thread waits for each task, as a user's `future.result()` does, and what
comes of it is a line of `outcomes`: the task, the error or null, and the time.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Task(NamedTuple):
    """What is asked for: a name, what it does, for how long, and how long it may take."""

    name: str
    action: str
    seconds: float
    timeout_s: float | None
    #: Whether it will be cancelled: some systems want to know that beforehand.
    cancels: bool


class Adapter(Protocol):
    """A system as its users see it."""

    def submit(self, tasks: list[Task], outlive: bool) -> dict[str, Callable[[], Any]]:
        """Hand tasks in; for each the call that waits for its result, or raises.

        With `outlive` they are to go on when this process is gone, if the system can do that.
        """

    def cancel(self, task: str) -> None:
        """Stop a task, also when it runs."""

    def add_node(self) -> None:
        """Have one node more, where nodes are the client's to start."""

    def close(self) -> None:
        """Hang up."""


class Outcomes:
    """The file of what came of the tasks."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)
        self._lock = threading.Lock()

    def wait(self, task: str, result: Callable[[], Any]) -> None:
        """Wait for a task and write down what came of it."""
        error = None
        try:
            result()
        except BaseException as problem:  # whatever a system tells its user
            error = f"{type(problem).__name__}: {problem}"
        self.write(task, error)

    def write(self, task: str, error: str | None) -> None:
        """One line."""
        line = json.dumps({"task": task, "error": error, "at": time.monotonic()})
        with self._lock:
            self._file.write(line + "\n")


def main() -> None:
    """Serve orders until stdin closes."""
    settings = json.loads(sys.argv[1])
    module = importlib.import_module(f"benchmarks.scorecard.on_{settings['adapter']}")
    adapter: Adapter = module.connect(settings)
    outcomes = Outcomes(Path(settings["outcomes"]))
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "submit":
            tasks = [Task(*fields) for fields in order["tasks"]]
            for name, result in adapter.submit(tasks, order["outlive"]).items():
                threading.Thread(target=outcomes.wait, args=(name, result), daemon=True).start()
        elif order["do"] == "cancel":
            try:
                adapter.cancel(order["task"])
            except Exception as problem:
                outcomes.write("cancel", f"{type(problem).__name__}: {problem}")
        elif order["do"] == "add_node":
            adapter.add_node()
    adapter.close()


if __name__ == "__main__":
    main()
