"""What a million queued tasks cost the master: `python benchmarks/memory.py`.

A master of its own process, and nobody else, gets a job; when it waits whole, a slave joins and
runs it. Another process pings the master all the time: the longest answer is the longest time in
which the master heard nobody.

    split    one job that its kernel splits: `julia`, one pixel a tile
    map      as many values for `echo`, each with a future here

Memory is the resident set of the master's process (Linux), above what it had when it was idle:
while the job waits, at most while it was taken in, and at most while it ran.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import hpczmq
from hpczmq import limits, spawn

#: Milliseconds between two pings.
PING_S = 0.005
ROUTE = "hpczmq.nodes"


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one job."""

    job: str
    tasks: int
    idle_mib: float
    #: Above idle, in MiB.
    queued_mib: float
    admitting_mib: float
    running_mib: float
    #: From the call to the last answer of it, in seconds.
    admit_s: float
    run_s: float
    #: The longest time in which the master answered no ping, in milliseconds.
    admit_stall_ms: float
    run_stall_ms: float


# --- The processes ------------------------------------------------------------------------------


@contextmanager
def node(role: str, *settings: str) -> Iterator[subprocess.Popen[str]]:
    """A node that ends with the block; its first line of output is read by the caller."""
    process = subprocess.Popen(
        spawn.command(ROUTE, role, "lifeline=true", "log_level=warning", *settings),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=spawn.environment(),
    )  # fmt: skip
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def memory_mib(pid: int, what: str) -> float:
    """A process's resident set in MiB: VmRSS is what it has now, VmHWM the most it had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == what:
            return int(value.split()[0]) / 1024
    raise LookupError(what)


def forget_peak(pid: int) -> None:
    """Have VmHWM begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextmanager
def pings(address: str) -> Iterator[Callable[[], float]]:
    """Pings from a process of its own; gives a function: the longest answer so far, in ms."""
    command = [sys.executable, __file__, "--ping", address]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=spawn.environment()
    )
    assert process.stdin is not None
    assert process.stdout is not None
    ask, answers = process.stdin, process.stdout

    def longest_ms() -> float:
        ask.write("\n")
        ask.flush()
        return float(answers.readline())

    try:
        longest_ms()
        yield longest_ms
    finally:
        ask.close()
        process.wait()


def ping_for_ever(address: str) -> None:
    """Ping; for each line on standard input print the longest answer since the line before."""
    import threading

    longest_s, lock = 0.0, threading.Lock()

    def answer() -> None:
        nonlocal longest_s
        for _ in sys.stdin:
            with lock:
                print(1000 * longest_s, flush=True)
                longest_s = 0.0

    asked = threading.Thread(target=answer, daemon=True)
    asked.start()
    with hpczmq.Client(address, timeout=120) as client:
        while asked.is_alive():
            sent_s = time.perf_counter()
            client.ping()
            with lock:
                longest_s = max(longest_s, time.perf_counter() - sent_s)
            time.sleep(PING_S)


# --- What is measured ---------------------------------------------------------------------------


def split(client: hpczmq.Client, tasks: int) -> Callable[[], None]:
    """One job of so many tasks; gives a function that waits for its end."""
    image = {"width": tasks, "height": 1, "iterations": 1, "tile": 1, "symmetry": False}
    job = hpczmq.Job("julia", {"algorithm": "Secuencial", **image})
    if tasks > limits.side_pixels_max:
        raise SystemExit(f"--tasks {tasks}: must be at most {limits.side_pixels_max}")
    id = client.hand_in(job)

    def wait() -> None:
        while not client.jobs([id])[0].state.ended:
            time.sleep(0.2)
        (info,) = client.jobs([id])
        assert (info.done, info.state) == (tasks, hpczmq.JobState.DONE), info

    return wait


def values(client: hpczmq.Client, tasks: int) -> Callable[[], None]:
    """One map of so many tasks; gives a function that looks at each result."""
    futures = client.map("echo", [{"value": i} for i in range(tasks)])

    def wait() -> None:
        for number, future in enumerate(futures):
            assert future.result() == number

    return wait


def measure(name: str, hand_in: Callable[..., Callable[[], None]], tasks: int) -> Figures:
    """One job through a master of its own."""
    binds = ["bind=127.0.0.1:0", "control_bind=127.0.0.1:0", "spare_saturated=false"]
    with node("master", *binds) as master:
        assert master.stdout is not None
        address = f"127.0.0.1:{json.loads(master.stdout.readline())['port']}"
        pid = master.pid
        with hpczmq.Client(address, timeout=600) as client, pings(address) as longest_ms:
            hand_in(client, 1)
            idle = memory_mib(pid, "VmRSS")
            forget_peak(pid)
            longest_ms()
            began_s = time.perf_counter()
            wait = hand_in(client, tasks)
            admit_s = time.perf_counter() - began_s
            admit_stall_ms = longest_ms()
            queued = memory_mib(pid, "VmRSS")
            admitting = memory_mib(pid, "VmHWM")
            forget_peak(pid)
            began_s = time.perf_counter()
            with node("slave", f"master={address}", "bind=off", "slots=2", "name=s"):
                wait()
            run_s = time.perf_counter() - began_s
            running, run_stall_ms = memory_mib(pid, "VmHWM"), longest_ms()
    return Figures(
        name, tasks, idle, queued - idle, admitting - idle, running - idle, admit_s, run_s,
        admit_stall_ms, run_stall_ms,
    )  # fmt: skip


def table(figures: list[Figures]) -> str:
    """The figures as a table in Markdown."""
    lines = [
        "| job | tasks | idle | queued | admitting | running | admitted | stall | run in | stall |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for f in figures:
        lines.append(
            f"| {f.job} | {f.tasks:,} | {f.idle_mib:.0f} MiB | +{f.queued_mib:.1f} MiB"
            f" | +{f.admitting_mib:.1f} MiB | +{f.running_mib:.1f} MiB | {f.admit_s:.2f} s"
            f" | {f.admit_stall_ms:.0f} ms | {f.run_s:.1f} s | {f.run_stall_ms:.0f} ms |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["split", "map"])
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--ping", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ping:
        ping_for_ever(options.ping)
        return
    kinds = {"split": split, "map": values}
    chosen = [options.only] if options.only else list(kinds)
    figures = [measure(name, kinds[name], options.tasks) for name in chosen]
    if options.json:
        options.json.write_text(json.dumps([asdict(f) for f in figures], indent=1) + "\n")
    print(table(figures))


if __name__ == "__main__":
    main()
