"""What the tests of the compiled part are built with, another processor's tools included."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence

import pytest

#: A compiler for AArch64, its C library, and what runs its programs here; by Debian's names.
PACKAGES = ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user-static")
TOOLS = ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-objdump", "qemu-aarch64-static")
#: Half a minute on a common line; in all less than pytest's own limit for a test.
INSTALL_S = 140.0
#: Somebody else may be installing.
LOCK_S = 60

APT = (
    *("apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={LOCK_S}"),
    *("-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=15"),
)
INSTALL = (*APT, "install", "--no-install-recommends", *PACKAGES)


@pytest.fixture(scope="session")
def compiler() -> str:
    """The C compiler of this machine."""
    found = shutil.which("gcc")
    if found is None:
        pytest.skip("there is no gcc")
    return found


@pytest.fixture(scope="session")
def aarch64() -> None:
    """`TOOLS`, installed if they are missing and may be; skips with the reason if they stay so."""
    if platform.machine() == "aarch64":
        pytest.skip("this machine is an AArch64 itself, and the other tests have tried it")
    if not missing():
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        pytest.skip(f"not found: {missing()}; as root: apt-get install {' '.join(PACKAGES)}")
    said, end = "", time.monotonic() + INSTALL_S
    for command in (INSTALL, (*APT, "update"), INSTALL):
        said = run(command, end - time.monotonic())
        if not missing():
            return
    pytest.skip(f"not found: {missing()}; apt-get could not install them: {said}")


def missing() -> str:
    """The tools that are not here."""
    return ", ".join(tool for tool in TOOLS if shutil.which(tool) is None)


def run(command: Sequence[str], timeout_s: float) -> str:
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
