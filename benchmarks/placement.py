"""What placing a task costs the master: `python -m benchmarks.placement`.

The real scheduler and no network: so many slaves join, so many jobs are handed in, and turn by
turn all free slots get something and report it. What is measured is processor time: of placement
alone, for leases of one task (run times that are worth no batch) and for batches (tasks so short
that a message carries many); and of all that a task takes, from its lease to its result.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from hpczmq.items import Items
from hpczmq.messages import PROTOCOL, Assign, Hello, Report, Submit
from hpczmq.model import Outcome, Policy, Role, Status
from hpczmq.scheduler import Scheduler
from hpczmq.scheduler.actions import Action, Send
from hpczmq.scheduler.events import Planned, Received, Turn

#: Slaves of two slots each, and jobs that share them.
CASES = ((100, 1), (2_000, 100), (10_000, 1), (10_000, 100))
SLOTS = 2
#: Run times that make a lease of one task, and one of many.
KINDS = {"one a lease": 1.0, "in batches": 0.001}


@dataclass(frozen=True)
class Figure:
    """One case. Times are of one core, in microseconds."""

    slaves: int
    jobs: int
    policy: str
    kind: str
    tasks: int
    leases: int
    placed_us_per_lease: float
    placed_us_per_task: float
    whole_us_per_task: float


class Cluster:
    """A scheduler with its slaves and jobs."""

    def __init__(self, slaves: int, jobs: int, tasks: int, policy: Policy) -> None:
        self.core = Scheduler(0.0, policy=policy)
        self.reports = 0
        for number in range(slaves):
            self.say(str(number).encode(), _hello(Role.SLAVE, f"slave{number}"))
        self.say(b"client", _hello(Role.CLIENT, "client"))
        specs = [b"x"] * (tasks // jobs)
        for number in range(jobs):
            submit = Submit(
                number + 1, uuid.uuid4().bytes, "echo", b"", Items(), f"job{number}", 2, 0.0
            )
            self.core.handle(Planned(b"client", submit, specs, "echo"), 0.0)

    def say(self, peer: bytes, message: Hello | Report) -> list[Action]:
        """A message arrives."""
        return self.core.handle(Received(peer, message), 0.0)

    def place(self) -> list[tuple[bytes, Assign]]:
        """One turn of placement; who got what."""
        return [
            (action.peer, action.message)
            for action in self.core.handle(Turn(), 0.0)
            if isinstance(action, Send) and isinstance(action.message, Assign)
        ]

    def report(self, handed: list[tuple[bytes, Assign]], seconds: float) -> None:
        """All of it is done."""
        for peer, lease in handed:
            self.reports += 1
            done = tuple(Outcome(t.index, Status.VALUE, seconds, b"\x01") for t in lease.tasks)
            self.say(peer, Report(self.reports, lease.lease, lease.job, done))


def _hello(role: Role, name: str) -> Hello:
    return Hello(role, name, uuid.uuid4().bytes, PROTOCOL, "", SLOTS, ("echo",))


def measured(slaves: int, jobs: int, policy: Policy, kind: str, rounds: int) -> Figure:
    """Some full rounds of one case; the median round counts."""
    per_round = slaves * SLOTS * 2 * (1 if kind == "one a lease" else 16)
    cluster = Cluster(slaves, jobs, per_round * (rounds + 2), policy)
    cluster.report(cluster.place(), KINDS[kind])  # now it knows how long they take
    placing, whole = [], []
    tasks = leases = 0
    for _ in range(rounds):
        began = time.process_time()
        handed = cluster.place()
        placed = time.process_time()
        cluster.report(handed, KINDS[kind])
        ended = time.process_time()
        count = sum(len(lease.tasks) for _, lease in handed)
        tasks, leases = tasks + count, leases + len(handed)
        placing.append(((placed - began) / len(handed), (placed - began) / count))
        whole.append((ended - began) / count)
    per_lease, per_task = (1e6 * statistics.median(column) for column in zip(*placing, strict=True))
    return Figure(
        slaves, jobs, policy.value, kind, tasks, leases,
        per_lease, per_task, 1e6 * statistics.median(whole),
    )  # fmt: skip


def table(figures: list[Figure]) -> str:
    """A row a case."""
    lines = [
        "| slaves | jobs | policy | tasks | placed, µs a lease | µs a task | all, µs a task |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in figures:
        lines.append(
            f"| {each.slaves:,} | {each.jobs} | {each.policy} | {each.kind} |"
            f" {each.placed_us_per_lease:.1f} | {each.placed_us_per_task:.2f} |"
            f" {each.whole_us_per_task:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure all cases, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smaller", type=int, default=1, help="divide the slaves by this")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args()
    figures = [
        measured(max(1, slaves // given.smaller), jobs, policy, kind, given.rounds)
        for slaves, jobs in CASES
        for policy in Policy
        for kind in KINDS
    ]
    print(table(figures))
    if given.json:
        facts = {"machine": platform.platform(), "python": platform.python_version()}
        rows = [asdict(each) for each in figures]
        given.json.write_text(json.dumps({**facts, "figures": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
