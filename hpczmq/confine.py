"""What a worker process may do: as little as running a kernel takes.

A kernel is code that somebody installed, fed with parameters that anybody may have sent. Its
process has no key, no socket but its own channel, none of its slave's variables, and no way to
become more than it is. What it takes too much of ends its task or itself, and not the slave.
docs/least-power.md has all of it, with the test that shows it.
"""

from __future__ import annotations

import ctypes
import fcntl
import math
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from hpczmq import limits

#: Variables that a worker gets of its slave's. Whatever is not listed may be a secret.
_VARIABLES: Final = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM"),
    *("VIRTUAL_ENV", "CONDA_PREFIX", "HPCZMQ_KERNELS", "HPCZMQ_ISA"),
)
#: The same by how they begin: where libraries are, how many threads they take, which devices they
#: see; COVERAGE_ measures the tests of a kernel.
_BEGINNINGS: Final = (
    *("LC_", "PYTHON", "LD_", "COVERAGE_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "VECLIB_", "NUMEXPR_", "TBB_"),
    *("NUMBA_", "JULIA_", "XLA_", "CUDA_", "NVIDIA_", "ROCR_", "HIP_", "GPU_", "ZE_", "SYCL_"),
)
#: What no variable is called that a worker gets, however it begins.
_SECRETS: Final = ("TOKEN", "SECRET", "PASSW", "CREDENTIAL", "_KEY")

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
#: How the folders of slaves begin.
_PREFIX: Final = "hpczmq-slave-"
_LINUX: Final = sys.platform == "linux"


def environment(given: Mapping[str, str], more: str = "") -> dict[str, str]:
    """The variables that a worker gets.

    Args:
        given: the slave's own, as `spawn.environment` gives them.
        more: names of further ones that its kernels need, with commas between them.
    """
    named = {name.strip() for name in more.split(",")}
    kept = {name: value for name, value in given.items() if name in named or _is_harmless(name)}
    if "PYTHONPATH" in kept:  # it works in a folder of its own
        paths = kept["PYTHONPATH"].split(os.pathsep)
        kept["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in paths)
    return kept


def _is_harmless(name: str) -> bool:
    if name in _VARIABLES:
        return True
    return name.startswith(_BEGINNINGS) and not any(word in name for word in _SECRETS)


# --- In the worker ------------------------------------------------------------------------------


class Bounds:
    """What this process may take; made once, before it loads any kernel.

    Args:
        memory_bytes: for its data, beside what it has by now; 0: as much as there is.
        task_cpu_s: CPU time of each task; 0: as much as it likes.
    """

    def __init__(self, memory_bytes: int = 0, task_cpu_s: int = 0) -> None:
        self._task_cpu_s = task_cpu_s
        self._memory_bytes = 0
        os.umask(0o077)
        _lower(resource.RLIMIT_CORE, 0, 0)  # a dump holds whatever the process has seen
        _lower(resource.RLIMIT_NOFILE, limits.worker_files_usual, limits.worker_files_max)
        if _LINUX:
            ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            with suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
                # Rather a worker than its slave, or anybody else on this machine.
                file.write(str(limits.worker_oom_points))
        if memory_bytes and memory_is_bounded():
            self._memory_bytes = memory_bytes + _data_bytes()
            hard_bytes = self._memory_bytes + limits.worker_reserve_bytes
            _lower(resource.RLIMIT_DATA, self._memory_bytes, hard_bytes)

    def begin_task(self) -> None:
        """Let the task that begins now have its CPU time."""
        if self._task_cpu_s:
            used = resource.getrusage(resource.RUSAGE_SELF)
            at_s = math.ceil(used.ru_utime + used.ru_stime) + self._task_cpu_s
            _lower(resource.RLIMIT_CPU, at_s, resource.RLIM_INFINITY)

    def relieve(self) -> None:
        """Let this process have its reserve, so that it can say what it died of."""
        self._set_memory(self._memory_bytes + limits.worker_reserve_bytes)

    def restore(self) -> None:
        """Take the reserve away again."""
        self._set_memory(self._memory_bytes)

    def _set_memory(self, soft_bytes: int) -> None:
        if self._memory_bytes:
            _lower(resource.RLIMIT_DATA, soft_bytes, resource.RLIM_INFINITY)

    def told(self) -> str:
        """What a task that ran out of memory is told; empty: there was no bound of ours."""
        if not self._memory_bytes:
            return ""
        size = f"{self._memory_bytes / limits.MIB:.0f} MiB"
        return f"this worker may have {size} of data: see --memory and --worker-memory of its slave"


def _lower(kind: int, soft: int, hard: int) -> None:
    """Set a limit, of which the hard one only ever goes down; the soft one stays below it."""
    _, now = resource.getrlimit(kind)
    if now != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or hard > now):
        hard = now
    if hard != resource.RLIM_INFINITY and soft > hard:
        soft = hard
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (soft, hard))


def _data_bytes() -> int:
    """Data of this process by now, as RLIMIT_DATA counts it."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("VmData:"):
                return int(line.split()[1]) * limits.KIB
    return 0


# --- In the slave -------------------------------------------------------------------------------


def hide() -> None:
    """Keep this process's memory and variables from others of the same user, its workers among
    them; root sees everything (Linux).
    """
    if _LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


class Grant(NamedTuple):
    """What each worker of a slave gets."""

    #: Memory for its data; 0: as much as there is.
    memory_bytes: int = 0
    #: CPU time of each task, whole seconds; 0: as much as it likes.
    task_cpu_s: int = 0
    #: Variables beside the usual ones, with commas between their names.
    variables: str = ""


class Scratch:
    """Folders for workers to work in, each gone when its worker is.

    They are in one of the slave's, which it holds a lock on: what a slave that was killed has left
    behind can be told by that, and the next one takes it away.
    """

    def __init__(self) -> None:
        self._root: Path | None = None
        self._lock = -1
        #: Why there are none; empty: there are.
        self.fault = ""

    def make(self) -> Path | None:
        """A new, empty folder that is this user's alone; None where none can be made."""
        try:
            if self._root is None:
                _take_away_what_is_left()
                self._root = Path(tempfile.mkdtemp(prefix=_PREFIX))
                self._lock = os.open(self._root, os.O_RDONLY)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return Path(tempfile.mkdtemp(prefix="worker-", dir=self._root))
        except OSError as error:  # a read-only file system without a place for temporary files
            self.fault = error.strerror or str(error)
            return None

    def close(self) -> None:
        """Take all of them away."""
        if self._root is not None:
            remove(self._root)
            self._root = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def remove(folder: Path | None) -> None:
    """Take a folder away, with all that was left in it; links in it are not followed."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _take_away_what_is_left() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                status = os.fstat(lock)
                # A young one may be about to be locked.
                old = time.time() - status.st_mtime > limits.scratch_young_s
                if old and status.st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(folder)
            finally:
                os.close(lock)


def cpu_s(pid: int) -> float:
    """CPU time of a process so far; 0 once it is gone, or where nobody can tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- What a platform has ------------------------------------------------------------------------


def memory_is_bounded() -> bool:
    """Whether RLIMIT_DATA means all of a process's own memory: Linux, since 4.7."""
    return _LINUX and os.path.exists("/proc/self/status")


def platform_limits() -> Iterator[tuple[str, bool]]:
    """Each limit for workers, and whether this platform has it."""
    yield "memory", memory_is_bounded()
    yield "CPU time", hasattr(resource, "RLIMIT_CPU")
    yield "open files", hasattr(resource, "RLIMIT_NOFILE")
    yield "no core dumps", hasattr(resource, "RLIMIT_CORE")
    yield "no new privileges", _LINUX
    yield "killed with its slave", _LINUX
    yield "killed before its slave when memory runs out", os.path.exists("/proc/self/oom_score_adj")
