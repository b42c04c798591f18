"""Programs that tests need and that are not Python's: from Debian's packages, where that may be."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence

import pytest

#: Half a minute on a common line; in all less than pytest's own limit for a test.
INSTALL_S = 140.0
#: Somebody else may be installing.
LOCK_S = 60
APT = (
    *("apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={LOCK_S}"),
    *("-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=15"),
)


def installed(programs: Sequence[str], packages: Sequence[str]) -> None:
    """Have programs, from these packages where they are missing; skips with the reason if not."""

    def missing() -> str:
        return ", ".join(program for program in programs if shutil.which(program) is None)

    if not missing():
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        pytest.skip(f"not found: {missing()}; as root: apt-get install {' '.join(packages)}")
    install = (*APT, "install", "--no-install-recommends", *packages)
    said, end = "", time.monotonic() + INSTALL_S
    for command in (install, (*APT, "update"), install):
        said = _run(command, end - time.monotonic())
        if not missing():
            return
    pytest.skip(f"not found: {missing()}; apt-get could not install them: {said}")


def _run(command: tuple[str, ...], timeout_s: float) -> str:
    """Run a command of apt-get; the end of what it said."""
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            timeout=max(timeout_s, 0),
        )
    except subprocess.TimeoutExpired:
        return f"{' '.join(command)}: no end after {timeout_s:.0f} s"
    return done.stdout[-1000:]
