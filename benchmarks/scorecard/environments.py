"""An environment of its own for each system, made once: `.bench/NAME`.

pip's configuration is the user's own. A system that can't be installed is left out of the table,
with the reason.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.scorecard.stage import ROOT
from benchmarks.scorecard.systems import HERE, System

FOLDER = ROOT / ".bench"
INSTALL_S = 900


class NotInstalled(Exception):
    """The system is not to be had here."""


def python_of(system: System) -> Path:
    """The interpreter of a system's environment, which is made if it is not there.

    Raises:
        NotInstalled: with the last line of what pip said.
    """
    if not system.packages:
        return HERE
    place = FOLDER / system.place
    stamp = place / "installed"
    wanted = " ".join(system.packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(place)])
        pip = [str(place / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        _run([*pip, "install", "-q", *system.packages])
        stamp.write_text(wanted)
    return place / "bin" / "python"


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=INSTALL_S
        )
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"not in {INSTALL_S} s: {' '.join(command[-2:])}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        raise NotInstalled(lines[-1])


def version_of(system: System, python: Path) -> str:
    """The version that will be measured."""
    code = f"import importlib.metadata as m; print(m.version({system.distribution!r}))"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()
