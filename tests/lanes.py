"""`python -m tests.lanes`: the tests of every day, in three lanes at the same time, with coverage.

The real lane starts processes and networks, the one of containers a cluster on a Docker engine;
both mostly wait. The pure one computes. So together they fill two cores, and take little longer
than one of them alone. The pure lane is nice: it takes what the others leave, whose tests go by
the clock on the wall.

While they run, each line of progress is told with its lane's name; at the end all else that each
has said, a lane that failed last. `python -m tests.lanes real` is one of them alone, and without
coverage. The exit code is 0 if all is well.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
#: Where real processes are, and containers. All else is pure, what is added later too: no test is
#: in none.
REAL: Final = ("tests/integration", "tests/network")
CONTAINERS: Final = ("tests/containers",)
LANES: Final[dict[str, tuple[str, ...]]] = {
    "pure": ("tests", *[f"--ignore={folder}" for folder in REAL + CONTAINERS]),
    "real": REAL,
    "containers": CONTAINERS,
}
#: How far the pure lane stands back (nice).
NICE: Final = ("nice", "-n", "10")
#: pytest's lines while it runs: a file, a letter for each of its tests, how far it is.
PROGRESS: Final = re.compile(r"\[ *\d+%\]$")


class Ran(NamedTuple):
    """How a lane came out."""

    name: str
    code: int
    seconds: float
    said: list[str]


def main(names: list[str]) -> int:
    """Run these lanes, or all; the exit code."""
    if unknown := set(names) - set(LANES):
        print(f"{' '.join(unknown)}: must be {' or '.join(LANES)}", file=sys.stderr)
        return 2
    together = not names
    with ThreadPoolExecutor() as threads:  # Ctrl-C reaches both lanes too, and is waited for
        ran = list(threads.map(lambda name: run(name, together), names or LANES))
    ran.sort(key=lambda lane: lane.code != 0)
    for lane in ran:
        tell(lane)
    failed = any(lane.code for lane in ran)
    return 1 if failed else report() if together else 0


def run(name: str, measured: bool) -> Ran:
    """Run one lane and tell how far it is."""
    command = [sys.executable, "-m", "pytest", "-m", "not slow", *LANES[name]]
    # None has to reach the floor by itself. Each has data of its own, or it would take what
    # the other one's processes have just written for its own.
    command += ["--cov", "--cov-report=", "--cov-fail-under=0"] if measured else []
    began_s, said = time.monotonic(), []
    with subprocess.Popen(
        [*(NICE if name == "pure" else ()), *command], cwd=ROOT, text=True, errors="replace",
        env={**os.environ, "COVERAGE_FILE": str(data(name))},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as lane:  # fmt: skip
        assert lane.stdout is not None
        for line in lane.stdout:
            if PROGRESS.search(line.rstrip()):
                print(f"{name} | {line}", end="", flush=True)
            else:
                said.append(line)
    return Ran(name, lane.returncode, time.monotonic() - began_s, said)


def tell(lane: Ran) -> None:
    """All that a lane has said but its progress."""
    verdict = "passed" if lane.code == 0 else f"FAILED, exit code {lane.code},"
    print(f"\n##### the {lane.name} lane {verdict} after {lane.seconds:.0f} s\n")
    print("".join(lane.said), end="", flush=True)


def data(name: str) -> Path:
    """Where a lane's coverage goes; its processes add to that name."""
    return ROOT / f".coverage-{name}"


def report() -> int:
    """The coverage of all lanes in one; 2 below the floor."""
    files = [str(path) for name in LANES for path in ROOT.glob(f"{data(name).name}*")]
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "combine", "--quiet", *files], cwd=ROOT, check=True)
    return subprocess.run([*coverage, "report"], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
