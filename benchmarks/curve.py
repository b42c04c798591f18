"""What keys cost, the same jobs with and without them: `python -m benchmarks.curve`.

Both clusters are there all the time (a master and a slave each, on loopback), and do each job in
turn, so that what else this machine does falls on both. A ratio is of one such pair; the median of
all pairs counts.

    tasks    5,000 tasks that do nothing: messages
    image    3500×2800 pixels of juliaCython, fetched whole: 20 MB of results, each byte twice
    bytes    16 arrays of 16 MiB, fetched whole
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import hpczmq
from benchmarks.memory import node
from hpczmq.identity import KeyRole
from hpczmq.keyring import Keyring

Job = Callable[[hpczmq.Client, int], None]


def tasks(client: hpczmq.Client, smaller: int) -> None:
    """Tasks that do nothing."""
    for future in client.map("echo", [{"value": i} for i in range(5_000 // smaller)]):
        future.result(600)


def image(client: hpczmq.Client, smaller: int) -> None:
    """An image, whole."""
    size = {"width": 3500 // smaller, "height": 2800 // smaller}
    job = hpczmq.Job("julia", {"algorithm": "juliaCython", "iterations": 200, **size})
    client.submit(job).result(600)


def arrays(client: hpczmq.Client, smaller: int) -> None:
    """Arrays of random bytes."""
    item = {"shape": [(16 << 20) // smaller], "dtype": "uint8", "seed": 1}
    for future in client.map("payload", [item] * 16):
        future.result(600)


JOBS: dict[str, Job] = {"tasks": tasks, "image": image, "bytes": arrays}


def cluster(stack: ExitStack, folder: Path, keyed: bool, slaves: int = 1) -> hpczmq.Client:
    """A master and slaves; a client of them."""
    keys = "keys=off"
    if keyed:
        ring = Keyring.init(folder / "keys", time.time())
        ring.add("slave", KeyRole.SLAVE, time.time())
        keys = f"keys={ring.folder}"
    binds = ("bind=127.0.0.1:0", "control_bind=127.0.0.1:0", "spare_saturated=false")
    master = stack.enter_context(node("master", keys, *binds))
    assert master.stdout is not None
    address = f"127.0.0.1:{json.loads(master.stdout.readline())['port']}"
    for _ in range(slaves):
        stack.enter_context(node("slave", keys, f"master={address}", "slots=1", "bind=off"))
    config = folder / f"{keyed}.toml"
    config.write_text(f'keys = "{keys.partition("=")[2]}"\n')
    os.environ["HPCZMQ_CONFIG"] = str(config)
    client = stack.enter_context(hpczmq.Client(address, timeout=120))
    while client.status().slots < slaves:
        time.sleep(0.05)
    return client


def seconds(job: Job, client: hpczmq.Client, smaller: int) -> float:
    """How long a job takes."""
    began_s = time.perf_counter()
    job(client, smaller)
    return time.perf_counter() - began_s


def main() -> None:
    """Measure all jobs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curve")
    parser.add_argument("--repeat", type=int, default=9, help="pairs of each job")
    parser.add_argument("--smaller", type=int, default=1, help="divides the sizes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        plain, keyed = (cluster(stack, Path(folder), with_keys) for with_keys in (False, True))
        print("| job | without keys, s | with keys, s | ratio | from … to |")
        compare(plain, keyed, given.repeat, given.smaller)


def compare(one: hpczmq.Client, other: hpczmq.Client, repeat: int, smaller: int) -> None:
    """Have both do each job in turn; prints rows of a table."""
    print("|---|---|---|---|---|")
    for name, job in JOBS.items():
        for client in (one, other):
            job(client, smaller)  # once for nothing: both are warm
        pairs = [(seconds(job, one, smaller), seconds(job, other, smaller)) for _ in range(repeat)]
        ratios = sorted(right / left for left, right in pairs)
        left, right = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = f"{statistics.median(ratios):.2f} | {ratios[0]:.2f} … {ratios[-1]:.2f}"
        print(f"| {name} | {left:.3f} | {right:.3f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
