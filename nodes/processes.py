"""A worker process with all that it has started: found, frozen, killed, waited for, listened to.

A kernel may start programs, and these may leave their session and their parents (a daemon does
both). Each worker adopts such orphans (`spawn.adopt_orphans`), so that all of them stay below it,
and the slave adopts what a dead worker leaves behind.
"""

from __future__ import annotations

import codecs
import io
import os
import signal
import subprocess
import time
from collections import deque
from contextlib import suppress
from resource import struct_rusage
from typing import NamedTuple

from hpczmq import limits
from hpczmq.model import Usage
from hpczmq.plain import printable

#: How often a process that is about to end is looked at, in seconds.
_LOOK_S = 0.005
#: Bytes that are read at once of what a worker prints.
_READ_BYTES = 64 * limits.KIB

#: Before each line that a worker printed.
_MARK = "    | "


class Death(NamedTuple):
    """How a process ended, and what it had used by then, over all of its life."""

    code: int
    user_s: float = 0.0
    system_s: float = 0.0
    peak_bytes: int = 0

    @property
    def cause(self) -> str:
        """The same, with what such a signal means mostly."""
        if self.code == -signal.SIGXCPU:
            return f"{self.how}: its task took more than its CPU time (--task-cpu of its slave)"
        if self.code == -signal.SIGKILL and self.peak_bytes:
            peak = f"{self.peak_bytes / limits.MIB:.0f} MiB"
            return f"{self.how}: by hand, or for want of memory (it had {peak} at most)"
        return self.how

    @property
    def how(self) -> str:
        """In words: by a signal, or with an exit code."""
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            return f"signal {signal.Signals(-self.code).name}"
        except ValueError:  # most real-time ones have no name
            return f"signal {-self.code}"


def wait(popen: subprocess.Popen[bytes], patience_s: float) -> Death | None:
    """Wait for the end of a child; None if it does not come in that time."""
    deadline_s = time.monotonic() + patience_s
    while True:
        pid, status, used = os.wait4(popen.pid, os.WNOHANG)
        if pid:
            popen.returncode = os.waitstatus_to_exitcode(status)
            return _death(popen.returncode, used)
        if time.monotonic() >= deadline_s:
            return None
        time.sleep(_LOOK_S)


def _death(code: int, used: struct_rusage) -> Death:
    return Death(code, used.ru_utime, used.ru_stime, used.ru_maxrss * limits.KIB)


def kill_tree(root: int) -> None:
    """Kill a child and all of its descendants, in whatever sessions they are.

    They are frozen first, from the root downwards, until no new one is found: none of them can
    start another one behind our back, or see that its time has come.
    """
    _send(root, signal.SIGSTOP)
    found = [root]
    while new := descendants(root) - set(found):
        for pid in new:
            _send(pid, signal.SIGSTOP)
        found += sorted(new)
    for pid in found:
        _send(pid, signal.SIGKILL)


def descendants(root: int) -> set[int]:
    """The living children of a process, theirs, and so on."""
    children = _children(dead=False)
    found: set[int] = set()
    left = [root]
    while left:
        new = children.get(left.pop(), [])
        found.update(new)
        left += new
    return found


def _children(dead: bool) -> dict[int, list[int]]:
    """The children of each process; also those that are dead and not buried, if so wished."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except OSError:  # it is gone
            continue
        if dead or state not in (b"Z", b"X"):
            children.setdefault(int(parent), []).append(int(name))
    return children


def sweep(kept: set[int]) -> None:
    """Kill and bury what dead workers have left to us: our children, but for those to be kept."""
    while strays := set(_children(dead=True).get(os.getpid(), ())) - kept:
        for pid in strays:
            kill_tree(pid)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


class Tail:
    """What a process prints: passed on to our own stderr, and its last lines kept.

    It stands in our log behind a mark, so that no line of it passes for one of ours, and without
    control characters.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._lines: deque[str] = deque(maxlen=limits.log_lines_max)
        self._rest = ""
        utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
        #: Whether what comes next stands at the beginning of a line.
        self._fresh = True
        os.set_blocking(fd, False)

    def read(self) -> bool:
        """Take in what is there, up to a bound; False once nobody can print any more."""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        text = self._decoder.decode(data)
        with suppress(OSError):  # whoever reads our log has gone
            os.write(2, self._marked(text).encode())
        *lines, rest = (self._rest + text).split("\n")
        self._lines.extend(map(_shown, lines[-limits.log_lines_max :]))
        self._rest = rest[-limits.log_line_chars_max - 1 :]
        return True

    def _marked(self, text: str) -> str:
        lines = printable(text).splitlines(keepends=True)
        fresh = [self._fresh, *[True] * (len(lines) - 1)]
        if lines:
            self._fresh = lines[-1].endswith("\n")
        return "".join(_MARK * new + line for new, line in zip(fresh, lines, strict=False))

    def take(self) -> tuple[str, ...]:
        """The last lines since this was last asked for."""
        self.read()
        lines = (*self._lines, *([_shown(self._rest)] if self._rest else []))
        self._lines.clear()
        self._rest = ""
        return lines[-limits.log_lines_max :]

    def close(self) -> None:
        """Listen no more."""
        os.close(self.fd)


def _shown(text: str) -> str:
    if len(text) <= limits.log_line_chars_max:
        return text
    return text[: limits.log_line_chars_max - 1] + "…"


def left_of(death: Death, told: Usage, log: tuple[str, ...], pid: int) -> Usage:
    """What a dead process used since it last said so; `told` sums up what it did say."""
    user_s = max(0.0, death.user_s - told.user_s)
    system_s = max(0.0, death.system_s - told.system_s)
    return Usage(pid, "", user_s, system_s, death.peak_bytes, log)
