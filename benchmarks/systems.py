"""hpczmq beside other systems, in one run on one machine: `python benchmarks/systems.py`.

Two workers each. Every figure is the median of `--repeat` rounds; the systems take turns within a
round, so that a slow moment of a shared machine hits all of them. Ratios travel, absolute figures
do not. Systems that are not installed are left out, and said so.

    tasks/s     20,000 tasks that return their argument, a result each
    latency     one such task at a time, the median of 200
    MB/s        results of 128 KiB and 4 MiB
    image       3500×2800, c of CONTRACT, 1,500 iterations, in tiles of 256², the same compiled loop
    start       from nothing to the first result
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy

import hpczmq
from hpczmq.kernels import CancelFlag, get

WORKERS = 2
TASKS = 20_000
IMAGE = {"algorithm": "juliaCython", "width": 3500, "height": 2800, "iterations": 1500, "tile": 256}
KIB, MIB = 1024, 1024 * 1024


# --- What runs in the workers -----------------------------------------------------------------


def echo(value: Any) -> Any:
    """The task that does nothing."""
    return value


def payload(size: int) -> Any:
    """So many bytes that nobody has seen before."""
    return get("payload").run(*_payload(size), CancelFlag())


def _payload(size: int) -> tuple[Any, Any]:
    kernel = get("payload")
    params = kernel.parse({"shape": [size], "dtype": "uint8", "seed": 1})
    return params, kernel.whole(params)


def tile(task: tuple[int, ...]) -> tuple[tuple[int, ...], Any]:
    """One tile of the image, and where it goes."""
    kernel = get("julia")
    params = kernel.parse(IMAGE)
    return task, kernel.run(params, kernel.task(task), CancelFlag())


# --- The systems ------------------------------------------------------------------------------


class System:
    """One system, up and running."""

    def tasks(self, count: int) -> None:
        """Run no-op tasks, and look at each result."""
        raise NotImplementedError

    def payloads(self, size: int, count: int) -> None:
        """Bring so many results of so many bytes back."""
        raise NotImplementedError

    def image(self) -> Any:
        """Compute the image; shape (2800, 3500), uint16."""
        raise NotImplementedError


class Ours(System):
    """hpczmq: a master and two slaves of one slot, as `LocalCluster` starts them."""

    def __init__(self, client: hpczmq.Client) -> None:
        self.client = client

    def tasks(self, count: int) -> None:
        """Through `map`, a future a task."""
        futures = self.client.map("echo", [{"value": i} for i in range(count)])
        assert sum(f.result() for f in hpczmq.as_completed(futures)) == count * (count - 1) // 2

    def payloads(self, size: int, count: int) -> None:
        """Through `map`."""
        item = {"shape": [size], "dtype": "uint8", "seed": 1}
        for future in self.client.map("payload", [item] * count):
            assert future.result().nbytes == size

    def image(self) -> Any:
        """As a job."""
        return self.client.submit(hpczmq.Job("julia", IMAGE)).result()


class OnExecutor(System):
    """Anything that is a `concurrent.futures.Executor`."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    def tasks(self, count: int) -> None:
        """A future a task."""
        futures = [self.executor.submit(echo, i) for i in range(count)]
        assert sum(f.result() for f in as_completed(futures)) == count * (count - 1) // 2

    def payloads(self, size: int, count: int) -> None:
        """A future each."""
        for future in [self.executor.submit(payload, size) for _ in range(count)]:
            assert future.result().nbytes == size

    def image(self) -> Any:
        """A future a tile."""
        tiles = get("julia").split(get("julia").parse(IMAGE))
        return assembled(
            future.result()
            for future in as_completed([self.executor.submit(tile, tuple(t)) for t in tiles])
        )


class OnPool(System):
    """multiprocessing.Pool, one task a message."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    def tasks(self, count: int) -> None:
        """imap_unordered, chunks of one."""
        assert sum(self.pool.imap_unordered(echo, range(count))) == count * (count - 1) // 2

    def payloads(self, size: int, count: int) -> None:
        """imap_unordered."""
        for array in self.pool.imap_unordered(payload, [size] * count):
            assert array.nbytes == size

    def image(self) -> Any:
        """imap_unordered."""
        tiles = get("julia").split(get("julia").parse(IMAGE))
        return assembled(self.pool.imap_unordered(tile, [tuple(t) for t in tiles]))


def assembled(results: Any) -> Any:
    """The image from its tiles."""
    kernel = get("julia")
    params = kernel.parse(IMAGE)
    array = numpy.empty(*kernel.allocate(params))
    for task, counts in results:
        kernel.place(params, counts, kernel.task(task), array)
    return array


@contextmanager
def ours() -> Iterator[System]:
    """hpczmq, with both memorias watching, as `hpczmq run` has it."""
    with (
        hpczmq.LocalCluster(slaves=WORKERS, slots=1, memorias=2) as cluster,
        hpczmq.Client(cluster.address) as client,
    ):
        yield Ours(client)


@contextmanager
def process_pool() -> Iterator[System]:
    """The standard library's executor."""
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(WORKERS, mp_context=context) as executor:
        yield OnExecutor(executor)


@contextmanager
def pool() -> Iterator[System]:
    """The standard library's pool."""
    with multiprocessing.get_context("forkserver").Pool(WORKERS) as made:
        yield OnPool(made)


@contextmanager
def dask(**settings: Any) -> Iterator[System]:
    """Dask distributed, as it comes, or with settings."""
    import dask as dask_settings
    import distributed

    with (
        dask_settings.config.set(settings),
        distributed.LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield OnExecutor(client.get_executor(pure=False))


SYSTEMS: dict[str, Callable[[], Any]] = {
    "hpczmq": ours,
    "Dask": dask,
    "Dask, tuned": lambda: dask(
        **{"distributed.scheduler.worker-saturation": float("inf")},
    ),
    "ProcessPoolExecutor": process_pool,
    "multiprocessing.Pool": pool,
}


# --- Measuring --------------------------------------------------------------------------------


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def megabytes_a_second(system: System, size: int, count: int) -> float:
    """How fast so many results of so many bytes come back."""
    return size * count / 1e6 / seconds(lambda: system.payloads(size, count))


def one_round(make: Callable[[], Any]) -> dict[str, float]:
    """Every figure of one system, once."""
    began = time.perf_counter()
    with make() as system:
        system.tasks(1)
        start_s = time.perf_counter() - began
        system.tasks(1_000)  # warm
        one = [seconds(lambda: system.tasks(1)) for _ in range(200)]
        system.image()
        return {
            "tasks/s": TASKS / seconds(lambda: system.tasks(TASKS)),
            "latency ms": statistics.median(one) * 1e3,
            "128 KiB MB/s": megabytes_a_second(system, 128 * KIB, 500),
            "4 MiB MB/s": megabytes_a_second(system, 4 * MIB, 40),
            "image s": seconds(system.image),
            "start s": start_s,
        }


def table(results: dict[str, dict[str, float]]) -> str:
    """The figures, and below each its ratio to the first system's."""
    names = list(next(iter(results.values())))
    lines = [f"{'':24}" + "".join(f"{name:>15}" for name in names)]
    first = next(iter(results.values()))
    for system, figures in results.items():
        lines.append(f"{system:24}" + "".join(f"{figures[name]:15,.4g}" for name in names))
        if figures is not first:
            ratios = [figures[name] / first[name] for name in names]
            lines.append(f"{'':24}" + "".join(f"{'×' + format(r, '.2f'):>15}" for r in ratios))
    return "\n".join(lines)


def main() -> None:
    """Measure all systems and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(SYSTEMS))
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {}
    for _ in range(arguments.repeat):
        for name in arguments.only:
            try:
                rounds.setdefault(name, []).append(one_round(SYSTEMS[name]))
            except ImportError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                rounds.pop(name, None)
    results = {
        name: {key: statistics.median(each[key] for each in taken) for key in taken[0]}
        for name, taken in rounds.items()
    }
    print(table(results))
    if arguments.json:
        facts = {"machine": platform.platform(), "python": platform.python_version()}
        arguments.json.write_text(json.dumps({**facts, "systems": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
