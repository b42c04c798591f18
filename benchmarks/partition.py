"""How evenly the work of an image is shared, and what a glance at it foretells.

    python -m benchmarks.partition [--json FILE] [--smaller N] [--run]

Each tile of the four images of docs/kernels.md is computed alone, in several sizes, and its CPU
time taken. With these times list scheduling is played for 2, 16 and 128 workers: who is free takes
the next tile. The figures are makespans over the ideal, which is the least total of all sizes,
shared evenly. `--run` adds what a real cluster of two slaves makes of it, one of which has half of
its processor.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy
import psutil

import hpczmq
from benchmarks.kernels.images import IMAGES
from hpczmq import partition
from hpczmq.kernels import CancelFlag, get, glance
from hpczmq.kernels.julia import JuliaParams, TileGrid

WORKERS = (2, 16, 128)
#: The side of tiles as long as nobody chose one, and of the largest and the smallest leaf.
DEFAULT, LARGEST, SMALLEST = 128, 256, 64
#: Sides of an image are divided by so much for `Secuencial`, which is 100 times slower.
SECUENCIAL_SMALLER = 5
#: A leaf of the quadtree is cut while it takes more than this part of a worker's share.
LEAF_SHARE = 8

Times = dict[int, list[float]]


# --- True times -----------------------------------------------------------------------------------


def cases(smaller: int) -> Iterator[tuple[str, JuliaParams]]:
    """What is measured: each image by each implementation, without the trap too if it matters."""
    for image in IMAGES.values():
        for algorithm in ("juliaCython", "Numpy", "Secuencial"):
            divisor = smaller * (SECUENCIAL_SMALLER if algorithm == "Secuencial" else 1)
            params = replace(
                image.params,
                algorithm=algorithm,
                width=image.params.width // divisor,
                height=image.params.height // divisor,
            )
            yield f"{image.name} {algorithm}", params
            if algorithm == "juliaCython" and image.name in ("J2", "J3"):
                yield f"{image.name} {algorithm}, no trap", replace(params, trap=False)


def measured(params: JuliaParams, repeat: int) -> Times:
    """CPU seconds of each tile, by side; the least of some times.

    What `Secuencial` takes adds up, so that the smallest tiles are measured alone.
    """
    kernel, found = get("julia"), {}
    finest = glance.SIDES[-1]
    for side in (finest,) if params.algorithm == "Secuencial" else glance.SIDES:
        cut = replace(params, tile=side)
        tiles = list(kernel.split(cut))
        kernel.run(cut, tiles[0], CancelFlag())
        rounds = []
        for _ in range(repeat):
            took = []
            for tile in tiles:
                begun = time.thread_time()
                kernel.run(cut, tile, CancelFlag())
                took.append(time.thread_time() - begun)
            rounds.append(took)
        found[side] = numpy.min(rounds, axis=0).tolist()
    for side in set(glance.SIDES).difference(found):
        columns, many = -(-params.width // side), side // finest
        sums = [0.0] * len(TileGrid(params.width, params.rows, side))
        for index, seconds in enumerate(found[finest]):
            row, column = divmod(index, -(-params.width // finest))
            sums[row // many * columns + column // many] += seconds
        found[side] = sums
    return found


# --- On paper -------------------------------------------------------------------------------------


def makespan(times: Sequence[float], order: Sequence[int], workers: int) -> float:
    """When the last of these tasks is done, each begun by who is free first, in this order."""
    free = [0.0] * workers
    for index in order:
        heapq.heapreplace(free, free[0] + times[index])
    return max(free)


def costliest_first(costs: Sequence[float]) -> list[int]:
    """Indices by falling cost."""
    return sorted(range(len(costs)), key=lambda index: -costs[index])


def leaves(params: JuliaParams, times: Times, workers: int) -> tuple[list[float], list[float]]:
    """A quadtree's leaves, cut where the glance says it pays: what they cost, and take."""
    grids = {side: TileGrid(params.width, params.rows, side) for side in (256, 128, 64)}
    costs = {side: costs_of(params, side) for side in grids}
    columns = {side: -(-params.width // side) for side in grids}
    most = sum(costs[LARGEST]) / workers / LEAF_SHARE
    found: tuple[list[float], list[float]] = [], []

    def cut(side: int, row: int, column: int) -> None:
        index = row * columns[side] + column
        if column >= columns[side] or index >= len(grids[side]):
            return
        if side == SMALLEST or costs[side][index] <= most:
            found[0].append(costs[side][index])
            found[1].append(times[side][index])
            return
        for down in (0, 1):
            for right in (0, 1):
                cut(side // 2, 2 * row + down, 2 * column + right)

    for index in range(len(grids[LARGEST])):
        cut(LARGEST, *divmod(index, columns[LARGEST]))
    return found


def costs_of(params: JuliaParams, side: int) -> list[float]:
    """What the kernel says of the tiles, also of an image that is not worth a glance."""
    with mock.patch.object(glance, "WORTH_S", 0.0):
        costs = glance.costs(replace(params, tile=side))
    assert costs is not None
    return [float(cost) for cost in costs]


def free_side(params: JuliaParams, workers: int) -> int:
    """The side that would be chosen of any image if messages took no time."""
    glance._look.cache_clear()
    with mock.patch.multiple(glance, WORTH_S=0.0, TASK_S=0.0):
        return glance.side(params, lambda: workers)


def on_paper(name: str, params: JuliaParams, repeat: int) -> dict[str, Any]:
    """All figures of a case."""
    times = measured(params, repeat)
    glance._look.cache_clear()
    begun = time.thread_time()
    costs_of(params, DEFAULT)
    glance_s = time.thread_time() - begun
    least = min(map(sum, times.values()))
    correlation = {
        side: float(numpy.corrcoef(costs_of(params, side), times[side])[0, 1])
        for side in (64, 128, 256)
        if len(times[side]) > 2
    }
    plans = {}
    for workers in WORKERS:
        free = free_side(params, workers)
        first = {s: costliest_first(costs_of(params, s)) for s in times}
        costs, took = leaves(params, times, workers)
        glance._look.cache_clear()
        chosen = glance.side(params, partial(int, workers))
        now = times[chosen or DEFAULT]
        spans = {
            "128² as they come": makespan(times[DEFAULT], range(len(times[DEFAULT])), workers),
            "128² costliest first": makespan(times[DEFAULT], first[DEFAULT], workers),
            "now": makespan(now, first[chosen] if chosen else range(len(now)), workers),
            "now, were messages free": makespan(times[free], first[free], workers),
            "quadtree": makespan(took, costliest_first(costs), workers),
            "best side": min(
                makespan(t, costliest_first(t), workers) for t in times.values()
            ),
        }  # fmt: skip
        ratios = {variant: span * workers / least for variant, span in spans.items()}
        plans[workers] = {"side": chosen or DEFAULT, "leaves": len(costs), "ratios": ratios}
    return {
        "case": name, "total_s": least, "glance_s": glance_s, "correlation": correlation,
        "totals_s": {side: sum(took) for side, took in times.items()}, "plans": plans,
    }  # fmt: skip


# --- For real -------------------------------------------------------------------------------------


@contextmanager
def half_speed(process: psutil.Process) -> Iterator[None]:
    """Let a process and its children run half of the time, in turns of 20 ms."""
    over = threading.Event()

    def signal_all(which: signal.Signals) -> None:
        for one in [process, *process.children(recursive=True)]:
            with suppress(ProcessLookupError):
                os.kill(one.pid, which)

    def throttle() -> None:
        while not over.wait(0.02):
            signal_all(signal.SIGSTOP)
            over.wait(0.02)
            signal_all(signal.SIGCONT)

    thread = threading.Thread(target=throttle)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal_all(signal.SIGCONT)


def slave_processes() -> list[psutil.Process]:
    """The slaves that this process has started."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "slave" in child.cmdline()]


def for_real(smaller: int, repeat: int) -> list[dict[str, Any]]:
    """Seconds from submit to result on two slaves, one at half speed: before, and now."""
    rows = []
    with (
        hpczmq.LocalCluster(slaves=2, slots=1) as cluster,
        hpczmq.Client(cluster.address) as client,
    ):
        slaves = slave_processes()
        assert len(slaves) == 2, f"{len(slaves)} slaves are here"
        with half_speed(slaves[0]):
            for name, params in cases(smaller):
                if smaller == 1 and not glance.side(params, partial(int, 2)):
                    continue  # nothing is chosen: both would be the same
                plain = get("julia").plain(params)
                took: dict[str, list[float]] = {"before": [], "now": []}
                for _ in range(repeat):
                    took["before"].append(_before(client, plain))
                    took["now"].append(_seconds(client, plain))
                medians = {which: statistics.median(all_) for which, all_ in took.items()}
                rows.append({"case": name, **medians})
    return rows


def _before(client: hpczmq.Client, plain: dict[str, Any]) -> float:
    with mock.patch.object(partition, "packed", return_value=b""):
        return _seconds(client, {**plain, "tile": DEFAULT})


def _seconds(client: hpczmq.Client, plain: dict[str, Any]) -> float:
    glance._look.cache_clear()
    begun = time.perf_counter()
    client.submit(hpczmq.Job("julia", plain)).result()
    return time.perf_counter() - begun


# --- Tables ---------------------------------------------------------------------------------------


def report(run: dict[str, Any]) -> str:
    """The tables of docs/partition.md."""
    lines = [
        "| image | total, s | glance, ms | correlation 64² / 128² / 256² |",
        "|---|---|---|---|",
    ]
    for case in run["cases"]:
        told = " / ".join(f"{case['correlation'].get(s, numpy.nan):.3f}" for s in (64, 128, 256))
        lines.append(
            f"| {case['case']} | {case['total_s']:.3f} | {case['glance_s'] * 1000:.1f} | {told} |"
        )
    variants = list(next(iter(run["cases"][0]["plans"].values()))["ratios"])
    for workers in WORKERS:
        lines += ["", f"{workers} workers:", "", f"| image | {' | '.join(variants)} | side |"]
        lines.append("|---" * (len(variants) + 2) + "|")
        for case in run["cases"]:
            plan = case["plans"][workers]
            ratios = " | ".join(f"{plan['ratios'][variant]:.2f}" for variant in variants)
            lines.append(f"| {case['case']} | {ratios} | {plan['side']} |")
    if run["real"]:
        lines += ["", "| image | before, s | now, s | times as fast |", "|---|---|---|---|"]
        for row in run["real"]:
            faster = row["before"] / row["now"]
            lines.append(
                f"| {row['case']} | {row['before']:.2f} | {row['now']:.2f} | {faster:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the tables, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--smaller", type=int, default=1, help="divide the images' sides by this")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; of times the least is taken")
    parser.add_argument("--run", action="store_true", help="run a cluster too")
    given = parser.parse_args()
    found = []
    for name, params in cases(given.smaller):
        rounds = {"juliaCython": given.repeat, "Numpy": min(2, given.repeat)}
        found.append(on_paper(name, params, rounds.get(params.algorithm, 1)))
        print(name, file=sys.stderr, flush=True)
    real = for_real(given.smaller, given.repeat) if given.run else []
    run = {"cases": found, "real": real}
    print(report(run))
    if given.json:
        given.json.write_text(json.dumps(run, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
