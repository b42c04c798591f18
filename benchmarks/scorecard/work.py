"""The task that all systems run, and the book that it keeps. Nothing but the standard library.

Each task appends to a file of its own, whoever runs it: `started PID SECONDS`, `child PID
SECONDS`, `ended PID SECONDS`; the seconds are the machine's monotonic clock, which all processes
share. What was lost, and what was run twice, is read from there, and from no system's own account.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

#: A process that nobody waits for ends by itself after so long, should all else fail.
FOREVER_S = 600


def work(book: str, task: str, action: str, seconds: float) -> str:
    """Do one task; gives its name back."""
    _note(book, task, "started", os.getpid())
    if action == "sleep":
        time.sleep(seconds)
    elif action == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "hang":  # in C, and with the interpreter's lock held
        ctypes.PyDLL(None).sleep(FOREVER_S)
    elif action == "raise":
        raise ValueError(f"task {task} raises on purpose")
    elif action in ("daemon", "parent"):
        child = subprocess.Popen(["sleep", str(FOREVER_S)], start_new_session=True)
        _note(book, task, "child", child.pid)
        time.sleep(seconds if action == "daemon" else FOREVER_S)
    else:
        raise AssertionError(f"no such action: {action}")
    _note(book, task, "ended", os.getpid())
    return task


def _note(book: str, task: str, word: str, pid: int) -> None:
    line = f"{word} {pid} {time.monotonic()}\n".encode()
    file = os.open(Path(book, task), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line)  # one write: lines of two processes don't mix
    finally:
        os.close(file)
