"""The work of the simulated world: jobs whose every result is known beforehand.

It stands in for the kernels. A task's spec and result name the job and the index, so that nothing
can be mixed up without somebody noticing.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from hpczmq import wire
from hpczmq.items import Items
from hpczmq.messages import Assign, Submit
from hpczmq.model import ANY_SLAVE, Outcome, Requires, Status, Task
from hpczmq.scheduler.events import Planned, Unplannable


class Fate(Enum):
    """What a task does, each time that it runs."""

    GOOD = "gives its result"
    RAISES = "raises"
    FLAKY = "raises as often as it may, and gives its result then"
    KILLS = "kills its worker"
    HANGS = "never ends"
    UNLUCKY = "does no harm, and its slave was lost time and again"


@dataclass(slots=True)
class SimJob:
    """One job, as it was made up."""

    number: int
    tasks: int
    is_map: bool = False
    #: What a slave must offer.
    capability: str = "sim"
    priority: int = 2
    #: Seconds that a task may run; 0: no bound. Needed where a task hangs.
    timeout_s: float = 0.0
    #: How often a task that raised is tried again.
    retries: int = 0
    #: Seconds from its submit after which it has failed; 0: none.
    deadline_s: float = 0.0
    #: Times that each FLAKY task has raised.
    raised: Counter[int] = field(default_factory=Counter)
    #: Mean run time of its tasks, in seconds, and whether each takes just that.
    task_s: float = 0.05
    steady: bool = False
    #: Of the tasks that are not GOOD.
    fates: dict[int, Fate] = field(default_factory=dict)
    #: What each of its tasks needs of its slave.
    requires: Requires = ANY_SLAVE
    #: The order in which the kernel wants its tasks placed; of a map there is none.
    order: tuple[int, ...] = ()
    #: What it expects of each, in seconds.
    costs: tuple[float, ...] = ()
    #: How long each takes, where that is not by chance, in seconds.
    seconds: tuple[float, ...] = ()
    #: Whether the kernel takes its parameters.
    valid: bool = True

    def submit(self, uid: bytes) -> Submit:
        """The message that hands it in."""
        items = Items.of(self.spec(index) for index in range(self.tasks) if self.is_map)
        params = b"" if items else wire.pack([self.number])
        name = f"job {self.number}"
        return Submit(
            0, uid, "sim", params, items, name, self.priority, self.timeout_s, self.requires,
            self.retries, self.deadline_s,
        )  # fmt: skip

    def spec(self, index: int) -> bytes:
        """A task as it is handed out."""
        return wire.pack([self.number, index])

    def run_s(self, rng: Random, index: int) -> float:
        """How long one attempt of a task takes; never as long as it may."""
        if self.seconds:
            return self.seconds[index]
        if self.steady:
            return self.task_s
        drawn = min(rng.expovariate(1.0) + 0.01, 8.0) * self.task_s
        return min(drawn, self.timeout_s / 2) if self.timeout_s else drawn

    def answer(self, index: int, seconds: float) -> tuple[Outcome, list[bytes]]:
        """What a task gives when it ends by itself: its outcome, and the buffers it owns."""
        fate = self.fates.get(index)
        if fate is Fate.RAISES or (fate is Fate.FLAKY and self.raised[index] < self.retries):
            self.raised[index] += 1
            text = f"ValueError: task {index} of job {self.number}"
            return Outcome(index, Status.ERROR, seconds, text.encode()), []
        pixels = self.pixels(index)
        status = Status.VALUE if pixels is None else Status.ARRAY
        return Outcome(index, status, seconds, self.spec(index)), [] if pixels is None else [pixels]

    def pixels(self, index: int) -> bytes | None:
        """The array of a task, or None: it has a value alone. Both kinds are in every job."""
        if (index % 5 != 2) if self.is_map else (index % 4 == 1):
            return None
        return hashlib.blake2b(self.spec(index)).digest() * (index % 3)

    def fits(self, outcome: Outcome, buffer: bytes | None) -> bool:
        """Whether an outcome is what this task has to give."""
        fate = self.fates.get(outcome.index, Fate.GOOD)
        if fate in (Fate.KILLS, Fate.UNLUCKY):
            return outcome.status is Status.CRASH
        if fate is Fate.HANGS:
            return outcome.status is Status.TIMEOUT
        if fate is Fate.RAISES:
            return outcome.status is Status.ERROR
        self.raised[outcome.index] = self.retries  # it has come to its result
        wanted, pixels = self.answer(outcome.index, outcome.seconds)
        return outcome == wanted and buffer == (pixels[0] if pixels else None)


def plan(jobs: list[SimJob], peer: bytes, submit: Submit, owner: bytes) -> Planned | Unplannable:
    """What the kernel says to a submit."""
    number, *_ = wire.unpack(submit.items[0] if submit.items else submit.params)
    job = jobs[number]
    if not job.valid:
        return Unplannable(peer, submit, f"job {number}: must be valid")
    if submit.items:
        return Planned(peer, submit, submit.items, job.capability, owner=owner)
    specs = [job.spec(index) for index in range(job.tasks)]
    costs = array("f", job.costs)
    return Planned(peer, submit, specs, job.capability, job.order, costs, owner)


def job_of(jobs: list[SimJob], lease: Assign, task: Task) -> SimJob:
    """The job of a task, as its slave understands it."""
    number, index = wire.unpack(task.spec)
    assert index == task.index, f"task {task.index} of {lease.job} came with the spec of {index}"
    if not lease.items:
        assert wire.unpack(lease.params) == (number,), f"{lease.job} came with other parameters"
    job: SimJob = jobs[number]
    return job


def paired(
    outcomes: tuple[Outcome, ...] | list[Outcome], buffers: list[bytes]
) -> list[tuple[Outcome, bytes | None]]:
    """Each outcome with the buffer that it owns."""
    rest = iter(buffers)
    pairs = [(o, next(rest) if o.status is Status.ARRAY else None) for o in outcomes]
    assert next(rest, None) is None, "there are more buffers than arrays"
    return pairs
