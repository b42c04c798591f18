"""Runs on clusters of their own, and a look at the processes below them."""

from __future__ import annotations

import psutil

from tests.integration.harness import MISBEHAVING, Lab, Program, until

#: Two jobs that never end.
HANG = '[[job]]\nkernel = "hang"\n' * 2


def start_run(lab: Lab, text: str, *arguments: str) -> Program:
    """Start a run on a cluster of its own."""
    (lab.folder / "jobs.toml").write_text(text)
    sizes = ("--slaves", "2", "--slots", "1", "--memorias", "1")
    return lab.launch("run", "jobs.toml", *sizes, *arguments, env=MISBEHAVING)


def started(lab: Lab, *words: str) -> list[psutil.Process]:
    """Processes of the lab with such words in their command lines."""
    found = []
    for process in lab.alive():
        try:
            if set(words) <= set(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def until_at_work(lab: Lab) -> None:
    """Wait until all seven processes of a run are there."""
    until(lambda: len(lab.alive()) == 7, "command, master, two slaves with a worker each, memoria")
