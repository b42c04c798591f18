"""Kernels that misbehave on purpose; a test loads them into the nodes that it starts.

    HPCZMQ_KERNELS=tests.kernels_for_tests:Crash,tests.kernels_for_tests:Hang

They are no part of hpczmq: no slave should offer to kill itself.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpczmq.kernels import parameters
from hpczmq.kernels.base import CancelFlag
from hpczmq.kernels.diagnostics import OneTaskKernel
from hpczmq.kernels.julia import JuliaKernel, JuliaParams, Tile

if TYPE_CHECKING:
    from hpczmq.kernels.julia import Counts

#: How long `Unhurried` rests before a tile: as long as a lease is to last, so each has one tile.
REST_S = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashParams:
    """`signal`: the number that kills, SIGKILL unless told."""

    signal: int = field(
        default=int(signal.SIGKILL), metadata={"check": parameters.whole_number(1, 64)}
    )

    def __post_init__(self) -> None:
        parameters.check_fields(self)


class Crash(OneTaskKernel[CrashParams]):
    """Kills its own process, as a segmentation fault or the kernel's memory killer would."""

    name = "crash"
    params_type = CrashParams

    def run(self, params: CrashParams, task: tuple[()], cancelled: CancelFlag) -> None:
        # Python and faulthandler catch some of them; the process is to die of this one.
        with contextlib.suppress(OSError, ValueError):
            signal.signal(params.signal, signal.SIG_DFL)
        os.kill(os.getpid(), params.signal)


@dataclass(frozen=True, slots=True, kw_only=True)
class HangParams:
    """Nothing to set."""


class Hang(OneTaskKernel[HangParams]):
    """Sleeps for ever; looks at no flag and ignores SIGTERM and SIGINT. Only SIGKILL helps."""

    name = "hang"
    params_type = HangParams

    def run(self, params: HangParams, task: tuple[()], cancelled: CancelFlag) -> None:
        with contextlib.suppress(ValueError):  # only a process's main thread may
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        while True:
            time.sleep(3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class HauntParams:
    """`crash`: whether it kills itself in the end, instead of going on for ever."""

    crash: bool = False


class Haunt(OneTaskKernel[HauntParams]):
    """Prints, starts a program, and a daemon in a session of its own that ignores SIGTERM and
    keeps all that it has inherited open; tells their numbers in its log, and never ends.
    """

    name = "haunt"
    params_type = HauntParams

    def run(self, params: HauntParams, task: tuple[()], cancelled: CancelFlag) -> None:
        for number in range(100):
            print("line", number, flush=True)
        child = subprocess.Popen(["sleep", "3600"])
        ours, theirs = os.pipe()
        if not os.fork():
            os.setsid()
            daemon = os.fork()
            if daemon:
                os.write(theirs, str(daemon).encode())
                os._exit(0)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(3600)
        print(f"haunted by {child.pid} {os.read(ours, 20).decode()}, for ever", flush=True)
        if params.crash:
            os.kill(os.getpid(), signal.SIGSEGV)
        while True:
            sum(range(100_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class FailParams:
    """`message`: what the exception says."""

    message: str = "on purpose"


class Fail(OneTaskKernel[FailParams]):
    """Raises an exception that can't be pickled, as many libraries' can't."""

    name = "fail"
    params_type = FailParams

    def run(self, params: FailParams, task: tuple[()], cancelled: CancelFlag) -> None:
        raise Unpicklable(params.message, reason=lambda: None)


class Unpicklable(Exception):
    def __init__(self, message: str, *, reason: object) -> None:
        super().__init__(message)
        self.reason = reason


class Unhurried(JuliaKernel):
    """The Julia set, with a rest before each tile: there is time to do something to the cluster
    half-way through, on a fast machine and on a busy one, and it takes next to nothing of a core.
    """

    name = "unhurried"

    def run(self, params: JuliaParams, task: Tile, cancelled: CancelFlag) -> Counts:
        time.sleep(REST_S)
        return super().run(params, task, cancelled)


# --- What tries to break out of its bounds --------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GluttonParams:
    """`most_mib`: where it has had enough after all."""

    most_mib: int = field(metadata={"check": parameters.whole_number(1, 1 << 20)})

    def __post_init__(self) -> None:
        parameters.check_fields(self)


class Glutton(OneTaskKernel[GluttonParams]):
    """Takes memory and touches it, MiB by MiB; gives back how many it got."""

    name = "glutton"
    params_type = GluttonParams

    def run(self, params: GluttonParams, task: tuple[()], cancelled: CancelFlag) -> int:
        eaten: list[bytes] = []
        while len(eaten) < params.most_mib:
            eaten.append(bytes([1]) * (1 << 20))
        return len(eaten)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpinParams:
    """`deaf`: whether it goes on after SIGXCPU; `seconds` of CPU time that it takes."""

    deaf: bool = False
    seconds: float = 1e9


class Spin(OneTaskKernel[SpinParams]):
    """Takes CPU time, and listens to nobody if so wished. Gives back how much it took."""

    name = "spin"
    params_type = SpinParams

    def run(self, params: SpinParams, task: tuple[()], cancelled: CancelFlag) -> float:
        for number in (signal.SIGXCPU, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN if params.deaf else signal.SIG_DFL)
        end_s = time.process_time() + params.seconds
        while time.process_time() < end_s:
            pass
        return params.seconds


class Opener(OneTaskKernel[HangParams]):
    """Opens files without end."""

    name = "opener"
    params_type = HangParams

    def run(self, params: HangParams, task: tuple[()], cancelled: CancelFlag) -> None:
        files = []
        while True:
            files.append(open(os.devnull, "rb"))  # noqa: SIM115 — it is not to be closed


class Snoop(OneTaskKernel[HangParams]):
    """Looks at all that it has, and for what its slave has; leaves files behind."""

    name = "snoop"
    params_type = HangParams

    def run(self, params: HangParams, task: tuple[()], cancelled: CancelFlag) -> dict[str, object]:
        with open("left behind", "w"), tempfile.NamedTemporaryFile(delete=False) as left:
            mode = os.fstat(left.fileno()).st_mode
        os.symlink("/", "a link to everything")
        umask = os.umask(0)
        os.umask(umask)
        listed = ["sh", "-c", "cd /proc/self/fd; for fd in *; do readlink $fd; done"]
        heirs = subprocess.run(listed, capture_output=True, text=True, check=False).stdout
        fds = map(int, os.listdir("/proc/self/fd"))
        with open("/proc/self/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        return {
            "environ": dict(os.environ),
            "fds": [_target(f"/proc/self/fd/{fd}") for fd in sorted(fds)],
            "heirs": heirs.split("\n"),
            "parent": [_read(f"/proc/{os.getppid()}/{name}") for name in ("environ", "mem")],
            "leader": os.getsid(0) == os.getpgid(0) == os.getpid(),
            "folder": os.getcwd(),
            "left": left.name,
            "mode": mode,
            "umask": umask,
            "no_new_privs": status["NoNewPrivs"],
            "capabilities": status["CapEff"],
            "uid": os.geteuid(),
            "core": resource.getrlimit(resource.RLIMIT_CORE),
            "files": resource.getrlimit(resource.RLIMIT_NOFILE),
            "oom_score": _read("/proc/self/oom_score_adj"),
        }


def _target(link: str) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(link)
    return "gone"


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(4096).decode(errors="replace")
    except OSError as error:
        return type(error).__name__
