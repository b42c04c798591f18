"""How this program starts more of itself: the same interpreter, the same package.

A child is always a fresh process (never a fork of one that holds sockets or threads), and it ends
with its parent: its standard input is a pipe that closes when the parent dies, however it dies.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def command(module: str, *arguments: str) -> list[str]:
    """The command line of one of our modules. `-P` keeps the user's folder off the path."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """The environment of a child; in it, the same hpczmq can be imported, installed or not."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def adopt_orphans() -> None:
    """Have descendants of this process whose parents end become its own children, and not those
    of the machine's first process, among which nobody would find them (Linux).
    """
    if sys.platform == "linux":
        pr_set_child_subreaper = 36
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (Linux; elsewhere nothing)."""
    if sys.platform != "linux":
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before we asked
        os._exit(1)
