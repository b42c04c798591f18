"""Kernels that misbehave on purpose; a test loads them into the nodes that it starts.

    HPCZMQ_KERNELS=tests.kernels_for_tests:Crash,tests.kernels_for_tests:Hang

They are no part of hpczmq: no slave should offer to kill itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
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
