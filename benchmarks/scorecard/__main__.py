"""Faults × systems, side by side: `python -m benchmarks.scorecard`, or `make scorecard`.

Installs each system in an environment of its own (`.bench/`), does the same things to each of them
while it runs the same tasks, and writes docs/scorecard.json and the page that is made from it,
docs/scorecard.md, which says what is measured and how. All on this machine, on loopback; as root
also on hosts made of network namespaces. It takes some 20 minutes.

`--only` and `--faults` run a part of it again, and replace that part of the file.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.kernels import machine
from benchmarks.scorecard import environments, report
from benchmarks.scorecard.faults import FAULTS
from benchmarks.scorecard.stage import ROOT, reap, sweep
from benchmarks.scorecard.systems import SYSTEMS
from hpczmq import spawn

DOCS = ROOT / "docs"
Process = subprocess.Popen[bytes]
#: Faults after which systems only wait, mostly, are played side by side; the others one by one.
WAITS_FROM_S, WAITING_LANES = 60.0, 5
#: What a cell may take besides its patience: start, run, end.
CELL_S = 600.0


class Card:
    """The table while it is filled."""

    def __init__(self, path: Path, fresh: bool) -> None:
        self.path = path
        self._lock = threading.Lock()
        empty: dict[str, Any] = {"facts": {}, "systems": {}, "cells": {}}
        self.data = empty if fresh or not path.exists() else json.loads(path.read_text())

    def enter(self, system: str, fault: str, found: dict[str, Any]) -> None:
        """One cell; the file is written each time, so that nothing measured is lost."""
        with self._lock:
            self.data["cells"].setdefault(fault, {})[system] = found
            self.write()

    def write(self) -> None:
        """The file, whole or not at all."""
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.data, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        part.replace(self.path)


def play(system: str, fault: str, python: Path, running: set[Process]) -> dict[str, Any]:
    """One cell, in a process of its own, which stands in `running` meanwhile."""
    with tempfile.TemporaryDirectory(prefix="sc-", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", "benchmarks.scorecard.cell", system, fault]
        errors = Path(folder, "errors")
        with errors.open("wb") as file:
            process = subprocess.Popen(
                [*command, "--python", str(python), "--folder", folder], cwd=ROOT,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
            )  # fmt: skip
        running.add(process)
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(FAULTS[fault].patience_s + CELL_S, process.terminate)
        timer.start()
        try:  # not communicate, which closes its stdin, and so ends it
            out = process.stdout.read().decode()
        finally:
            timer.cancel()
            process.stdin.close()
            process.wait()
            running.discard(process)
        with suppress(json.JSONDecodeError):
            found: dict[str, Any] = json.loads(out)
            return cleaned(found, folder)
        said = errors.read_text(errors="replace").strip().splitlines()
        return {"failed": (said or [f"exit code {process.returncode}"])[-1]}


def cleaned(found: dict[str, Any], folder: str) -> dict[str, Any]:
    """Without the paths of this machine, and with figures that can be read."""
    for key, value in found.items():
        if isinstance(value, float):
            found[key] = round(value, 2)
        elif isinstance(value, str):
            found[key] = value.replace(f"{ROOT}/", "").replace(folder, "FOLDER")
    return found


def prepared(card: Card, names: list[str]) -> dict[str, Path]:
    """The interpreters of the systems that can be measured."""
    pythons = {}
    for name in names:
        system = SYSTEMS[name]
        facts: dict[str, Any] = {"title": system.title, "note": system.note}
        try:
            pythons[name] = environments.python_of(system)
            facts["version"] = environments.version_of(system, pythons[name])
        except environments.NotInstalled as error:
            facts["not measured"] = str(error)
            print(f"{system.title} is left out: {error}", file=sys.stderr)
        card.data["systems"][name] = facts
    return pythons


def measure(card: Card, pythons: dict[str, Path], faults: list[str]) -> None:
    """Play all cells."""
    running: set[Process] = set()

    def one(system: str, fault: str) -> None:
        found = play(system, fault, pythons[system], running)
        card.enter(system, fault, found)
        title = f"{SYSTEMS[system].title}, {FAULTS[fault].title}"
        print(f"{title}: {report.cell(card.data, fault, system)}", flush=True)

    waiting, quiet = ThreadPoolExecutor(WAITING_LANES), ThreadPoolExecutor(1)
    try:
        futures: list[Future[None]] = []
        for fault in sorted(faults, key=lambda name: -FAULTS[name].patience_s):
            for system in pythons:
                lane = waiting if FAULTS[fault].patience_s >= WAITS_FROM_S else quiet
                futures.append(lane.submit(one, system, fault))
        for future in futures:
            future.result()
    finally:  # after a Ctrl-C too: what runs is told to end, the rest never begins
        for pool in (waiting, quiet):
            pool.shutdown(wait=False, cancel_futures=True)
        for process in tuple(running):
            process.terminate()
        for pool in (waiting, quiet):
            pool.shutdown()


def chosen(given: argparse.Namespace) -> list[str]:
    """The faults that can be measured; those of the network take root."""
    faults = [name for name in given.faults if given.network or not FAULTS[name].network]
    if len(faults) < len(given.faults):
        print("faults of the network are left out: they take root", file=sys.stderr)
    return faults


def main(arguments: list[str] | None = None) -> None:
    """Install, measure, write."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.scorecard", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--only", nargs="*", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument("--json", type=Path, default=DOCS / "scorecard.json")
    parser.add_argument("--page", type=Path, default=DOCS / "scorecard.md")
    parser.add_argument("--load", action="store_true", help="measure nothing, make the page again")
    network = argparse.BooleanOptionalAction
    parser.add_argument("--network", action=network, default=os.geteuid() == 0, help="as root")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    whole = given.only == list(SYSTEMS) and given.faults == list(FAULTS)
    card = Card(given.json, fresh=whole and not given.load)
    if not given.load:
        spawn.adopt_orphans()
        loads = [os.getloadavg()[0], card.data["facts"].get("load before", 0.0)]
        card.data["facts"] = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "processor": machine.cpu().get("model name", "a processor without a name"),
            "cores": os.cpu_count(),
            "load before": round(max(loads), 1),
            **report.terms(),
        }
        try:
            measure(card, prepared(card, given.only), chosen(given))
        except KeyboardInterrupt:
            sys.exit(130)
        finally:
            sweep()
            reap()
            card.write()
    given.page.write_text(report.page(card.data))


if __name__ == "__main__":
    main()
