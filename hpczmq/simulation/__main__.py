"""Seeded worlds on every core: `python -m hpczmq.simulation 200-1999`, or `--minutes 60`.

Each that fails is told with its last events and the command that replays it; then the exit code is
1, and the others are run all the same.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count, islice
from multiprocessing import get_context

from hpczmq.simulation.world import stories

#: Worlds that one process runs at a stretch.
_BATCH = 20


def main() -> int:
    """Run the worlds that were asked for; how they came out."""
    parser = argparse.ArgumentParser(prog="python -m hpczmq.simulation")
    parser.add_argument("seeds", nargs="?", type=_seeds, help="N, FIRST-LAST; FIRST- goes on")
    parser.add_argument("--minutes", type=float, default=0.0, help="begin no more after so long")
    given = parser.parse_args()
    if given.seeds is None and not given.minutes:
        parser.error("seeds or --minutes: how many worlds?")
    seeds = given.seeds or count(time.time_ns() // 1_000_000_000 * 1_000)
    until_s = time.monotonic() + 60.0 * given.minutes if given.minutes else float("inf")
    done = failed = 0
    for batch in _in_all_cores(iter(seeds), until_s):
        done, failed = done + len(batch), failed + sum(map(bool, batch))
        for story in filter(None, batch):
            print(story, flush=True)
    print(f"{done} worlds, {failed} failed")
    return 1 if failed else 0


def _seeds(text: str) -> Iterator[int]:
    first, dash, last = text.partition("-")
    if dash and not last:
        return count(int(first))
    return iter(range(int(first), int(last or first) + 1))


def _in_all_cores(seeds: Iterator[int], until_s: float) -> Iterator[list[str]]:
    """What became of the worlds, some at a time, in the order in which they are through."""
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        open_batches: set[Future[list[str]]] = set()
        while True:
            while len(open_batches) < 2 * cores and time.monotonic() < until_s:
                batch = list(islice(seeds, _BATCH))
                if not batch:
                    break
                open_batches.add(pool.submit(stories, batch))
            if not open_batches:
                return
            through, open_batches = wait(open_batches, return_when=FIRST_COMPLETED)
            for future in through:
                yield future.result()


if __name__ == "__main__":
    sys.exit(main())
