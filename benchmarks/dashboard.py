"""What `hpczmq top` costs with a thousand slaves: `python -m benchmarks.dashboard`.

A board is fed as the dashboard would be, with answers that have been through the wire, and drawn
four times a second for 20 simulated seconds onto a terminal that nobody looks at. CPU time by what
it goes to, in percent of a core. What the master spends on the answers is measured too.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from rich.console import Console

from hpczmq import wire
from hpczmq.dashboard.board import Board
from hpczmq.dashboard.canvas import Canvas
from hpczmq.dashboard.frame import Frame
from hpczmq.dashboard.screen import Screen
from hpczmq.dashboard.terminal import Painter
from hpczmq.kernels import CancelFlag, get
from hpczmq.messages import ClusterAnswer, JobsAnswer, SlavesAnswer
from hpczmq.model import ClusterInfo, JobInfo, JobState, Metrics, SlaveInfo, SlaveState

SLAVES, JOBS, SECONDS, FRAMES_PER_S = 1000, 50, 20, 4
SIZES = ((80, 24), (200, 60))
T = TypeVar("T")


class Meter:
    """CPU seconds by what they went to."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, what: str, work: Callable[..., T], *given: Any) -> T:
        """Do some work, and count it."""
        began = time.process_time()
        done = work(*given)
        self.seconds[what] = self.seconds.get(what, 0.0) + time.process_time() - began
        return done


def slaves(second: int) -> SlavesAnswer:
    """A thousand of them, each with other numbers every second."""
    chance = np.random.default_rng(second)
    load, memory = chance.uniform(0, 100, SLAVES), chance.uniform(10, 90, SLAVES)
    rows = [
        SlaveInfo(
            f"node-{n:04}", n.to_bytes(16, "big"), f"tcp://10.0.{n // 250}.{n % 250}:5002",
            SlaveState.READY, 16, 16, 32, 0.5, 1,
            Metrics(float(load[n]), float(load[n]), float(memory[n]), 1 << 34, 1.0, 1e-3, 16, 32,
                    second * n, 0),
            1 << 36, ("site=lab",),
        )
        for n in range(SLAVES)
    ]  # fmt: skip
    return SlavesAnswer(1, tuple(rows))


def jobs(second: int, params: dict[str, Any], tasks: int) -> JobsAnswer:
    """One that runs, and others that wait or are done."""
    row = JobInfo(
        "j1", "rabbit", "julia", wire.pack(params), 1, JobState.RUNNING, tasks, second * 8, 0, 64,
        0.1, float(second), second * 8, "",
    )  # fmt: skip
    others = (JobState.QUEUED, JobState.DONE)
    rest = [replace(row, id=f"j{n}", state=others[n % 2]) for n in range(2, JOBS + 2)]
    return JobsAnswer(1, (row, *rest))


def status(second: float) -> ClusterAnswer:
    """The cluster in a row."""
    info = ClusterInfo(
        "lab", 1, "hpczmq", second, "least-loaded", 1, SLAVES, 16 * SLAVES, 25, 1, 25, 10_000,
        16_000, int(1000 * second), 1, 0, (),
    )  # fmt: skip
    return ClusterAnswer(1, info)


def measured(width: int, height: int) -> dict[str, float]:
    """Percent of a core by what it went to."""
    kernel: Any = get("julia")
    given = {"width": 3500, "height": 2800, "iterations": 500, "center_x": 0.1}
    params = kernel.parse(given | {"tile": 128})
    tiles = kernel.split(params)
    board, screen, meter = Board("tcp://10.0.0.1:5001"), Screen(), Meter()
    board.canvas = canvas = Canvas(kernel, params)
    console = Console(
        file=io.StringIO(), force_terminal=True, color_system="truecolor", width=width,
        height=height, highlight=False,
    )  # fmt: skip
    painter, arrived = Painter(console), 0
    for frame in range(SECONDS * FRAMES_PER_S):
        now, second = frame / FRAMES_PER_S, frame // FRAMES_PER_S
        info: Any = meter("decode", wire.decode, wire.encode(status(now)))[0]
        meter("board", board.saw_cluster, info.info, now)
        told: Any = meter("decode", wire.decode, wire.encode(jobs(second, given, len(tiles))))[0]
        meter("board", board.saw_jobs, told.jobs, now)
        if frame % (2 * FRAMES_PER_S) == 0:  # as often as so many are asked for
            frames = meter("master, encoding", wire.encode, slaves(second))
            rows: Any = meter("decode", wire.decode, frames)[0]
            meter("board", board.saw_slaves, rows.slaves, now)
        for tile in tiles[arrived : arrived + 8]:  # 32 tiles a second
            meter("tiles", canvas.place, tile, kernel.run(params, tile, CancelFlag()))
        arrived += 8
        lines = meter("draw", Frame(board, screen, now).lines, width, height)
        meter("paint", painter.paint, lines)
    return {what: 100 * spent / SECONDS for what, spent in meter.seconds.items()}


def main() -> None:
    """Print a table."""
    print(f"{SLAVES} slaves, {JOBS} jobs, {FRAMES_PER_S} frames/s; percent of a core")
    for width, height in SIZES:
        found = measured(width, height)
        own = sum(share for what, share in found.items() if not what.startswith("master"))
        parts = ", ".join(f"{what} {share:.2f}" for what, share in found.items())
        print(f"{width}x{height}: {own:.2f} in all ({parts})")


if __name__ == "__main__":
    main()
