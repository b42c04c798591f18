"""What the tests of the compiled part are built with, another processor's tools included."""

from __future__ import annotations

import platform
import shutil

import pytest

from tests.debian import installed

#: A compiler for AArch64, its C library, and what runs its programs here; by Debian's names.
PACKAGES = ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user-static")
TOOLS = ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-objdump", "qemu-aarch64-static")


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
    installed(TOOLS, PACKAGES)
