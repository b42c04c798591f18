"""What so many slaves would do with some jobs: the real machines in one plain, seeded world.

Unlike `world`, which looks for faults, this one is for size: ten thousand slaves and a million
tasks. So nothing is traced, a message is made into bytes only to count them, and the books are
checked now and then instead of at each step. The scheduler, the workers and the client's session
are the real ones; what is made up is how long a message and a task take, and when a slave dies.

A link takes `latency_s` and up to `jitter_s` more, and keeps the order of its messages. A slave
that crashes is gone with all it holds: for one half the master hears of it at once, as when a
process dies, and for the other half only by their silence, as when a host does. It is back after
`restart_s`, as another process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from resource import RUSAGE_SELF, getrusage
from time import perf_counter, process_time
from typing import Any

from hpczmq import limits, wire
from hpczmq.errors import ParameterError
from hpczmq.kernels import get
from hpczmq.model import Job, JobState, Policy, Requires
from hpczmq.simulation.cluster import Client, Master, Slave
from hpczmq.simulation.timeline import Timeline

#: How often the books are checked, and somebody is told how far it is, in simulated seconds.
_CHECK_S, _TELL_S = 20.0, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is simulated. Raises `ParameterError` for a value out of its range."""

    slaves: int
    seed: int = 0
    slots: int = 2
    policy: Policy = Policy.LEAST_LOADED
    #: Crashes of each slave in an hour, and how long each is away.
    crash_rate: float = 0.0
    restart_s: float = 30.0
    latency_s: float = 0.0005
    jitter_s: float = 0.0005
    #: Share of the messages that are lost, each way.
    loss: float = 0.0
    #: Mean run time of a task, where no rate is given; and the relative spread of run times.
    task_s: float = 1.0
    spread: float = 0.1
    #: How much of `Kernel.costs` a slot does in a second; 0: unknown, costs only tell the shape.
    rate: float = 0.0
    #: When to give up, in simulated seconds.
    longest_s: float = limits.simulated_s_max

    def __post_init__(self) -> None:
        whole = limits.simulated_slaves_max
        _check("slaves", self.slaves, 1, whole)
        _check("seed", self.seed, 0, 2**63 - 1)
        _check("slots", self.slots, 1, limits.slots_max)
        _check("crash-rate", self.crash_rate, 0.0, 3600.0)
        _check("restart", self.restart_s, 0.0, 86_400.0)
        _check("latency", self.latency_s, 0.0, 10.0)
        _check("jitter", self.jitter_s, 0.0, 10.0)
        _check("loss", self.loss, 0.0, 0.5)
        _check("task-seconds", self.task_s, 1e-6, 86_400.0)
        _check("spread", self.spread, 0.0, 2.0)
        _check("rate", self.rate, 0.0, 1e18)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # not a number, too, is out of it
        raise ParameterError(name, value, f"must be {low:g}..{high:g}")


@dataclass(slots=True)
class JobForecast:
    """One job: when it ended, counted from the first submit."""

    name: str
    kernel: str
    tasks: int
    state: str
    seconds: float


@dataclass(slots=True)
class Forecast:
    """What came of it. All but `took` follows from the seed alone."""

    seed: int
    slaves: int
    slots: int
    policy: str
    tasks: int
    #: From the first submit until the last result is at the client; and the least there can be:
    #: the longest task, or all work shared out evenly.
    makespan_s: float
    ideal_s: float
    #: Share of all slots' time in which a task ran.
    utilisation: float
    #: Executions beyond the first of each task.
    run_twice: int
    crashes: int
    #: Slaves that the master has given up, and that joined again after a crash.
    lost: int
    back: int
    #: At the master's sockets, both ways.
    messages: int
    bytes: int
    #: Most messages in line at the master, and most tasks that waited for a slot.
    inbox_peak: int
    waiting_peak: int
    jobs: list[JobForecast] = field(default_factory=list)
    #: What simulating it took: seconds on the wall, of a processor, memory, tasks in a second.
    took: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Work:
    """One job as the slaves feel it."""

    job: Job
    #: Expected seconds of each task: one for all, or one each.
    each_s: float
    seconds: Sequence[float]
    tasks: int
    #: Its parameters as they travel.
    params: bytes
    #: What the result of one task weighs; None: a value.
    pixels: bytes | None
    #: 1 for each task that was accepted, to see that none is twice.
    accepted: bytearray = field(init=False)
    ended_s: float | None = None
    state: JobState = JobState.QUEUED

    def __post_init__(self) -> None:
        self.accepted = bytearray(self.tasks)

    def expected_s(self, index: int) -> float:
        """How long a task takes on average."""
        return self.seconds[index] if self.seconds else self.each_s

    @property
    def total_s(self) -> float:
        """All of it."""
        return sum(self.seconds) if self.seconds else self.each_s * self.tasks

    @property
    def longest_s(self) -> float:
        """Its longest task."""
        return max(self.seconds, default=0.0) if self.seconds else self.each_s


def work_of(job: Job, plan: Plan) -> Work:
    """Split a job with its kernel, and weigh its tasks."""
    kernel = get(job.kernel)
    params = kernel.parse(job.params)
    count = len(kernel.split(params))
    if count > limits.tasks_per_job_max:
        remedy = f"must be at most {limits.tasks_per_job_max}; use larger tiles"
        raise ParameterError("tasks", count, remedy)
    costs = kernel.costs(params) if 0 < count <= limits.tasks_ordered_max else None
    if plan.rate and costs is None:
        remedy = f"of no use for {job.kernel} with {count} tasks, which tells no costs: use "
        raise ParameterError("rate", plan.rate, f"{remedy}--task-seconds")
    seconds: list[float] = []
    if costs is not None:
        known = [max(0.0, float(cost)) for cost in costs]
        mean = sum(known) / len(known)
        times = 1.0 / plan.rate if plan.rate else plan.task_s / mean if mean else 0.0
        seconds = [cost * times for cost in known]
    return Work(job, plan.task_s, seconds, count, packed(job), _pixels(kernel, params, count))


def _pixels(kernel: Any, params: Any, count: int) -> bytes | None:
    """As many bytes as one task's result has on average; the same ones for all."""
    if not kernel.assembles or not count:
        return None
    shape, dtype = kernel.allocate(params)
    size = int(dtype.lstrip("<>|=")[1:] or 1)
    for side in shape:
        size *= side
    return bytes(min(size // count, limits.buffer_bytes_max))


class Simulation:
    """One world, from the submits to the last result."""

    def __init__(self, jobs: Sequence[Job], plan: Plan) -> None:
        self.plan = plan
        self.rng = Random(plan.seed)
        self.timeline = Timeline()
        self.works = [work_of(job, plan) for job in jobs]
        #: Every slave can run all of it.
        self.capabilities = tuple(sorted({_capability(job) for job in jobs}))
        self.labels = tuple(
            sorted({label for job in jobs for label in Requires.of(job.requires).labels})
        )
        self.messages = self.bytes = 0
        self.executions = self.crashes = self.back = 0
        self.busy_s = 0.0
        self.master = Master(self)
        self.slaves: dict[bytes, Slave] = {}
        self.nodes = [Slave(self, f"s{number}") for number in range(1, plan.slaves + 1)]
        self.client = Client(self)

    # --- Links --------------------------------------------------------------------------------

    def count(self, frames: Sequence[Any]) -> None:
        """A message passes the master's sockets."""
        self.messages += 1
        self.bytes += sum(map(len, frames))

    def carry(self, before_s: float, call: Callable[..., None], *what: object) -> float:
        """Have a message arrive, behind the one that arrives at `before_s`; gives back when."""
        plan, now = self.plan, self.timeline.now
        if plan.loss and self.rng.random() < plan.loss:
            return before_s
        arrives_s = max(before_s, now + plan.latency_s + plan.jitter_s * self.rng.random())
        self.timeline.at(arrives_s, call, *what)
        return arrives_s

    def lasts(self, work: Work, index: int) -> float:
        """How long one execution of a task takes; the mean is what was expected."""
        spread = self.plan.spread
        drawn = self.rng.lognormvariate(-spread * spread / 2, spread) if spread else 1.0
        return work.expected_s(index) * drawn

    # --- From start to end --------------------------------------------------------------------

    def run(self, tell: Callable[[float, int, int], None] | None = None) -> Forecast:
        """Let it all happen.

        `tell(simulated seconds, tasks done, tasks)` is called now and then.
        """
        began, cpu = perf_counter(), process_time()
        for slave in self.nodes:
            slave.start()
        self.client.start()
        if self.plan.crash_rate:
            self._crash_later()
        tasks = sum(work.tasks for work in self.works)
        next_check_s, told = _CHECK_S, began
        while not self.client.over:
            self.timeline.run_until(self.timeline.now + 0.05)
            if self.timeline.now >= next_check_s:
                self.check()
                next_check_s += _CHECK_S
            if self.timeline.now > self.plan.longest_s:
                remedy = f"must end within {self.plan.longest_s:g} simulated seconds: "
                raise ParameterError("jobs", "not over", f"{remedy}{self.why()}")
            if tell is not None and perf_counter() - told > _TELL_S:
                told = perf_counter()
                tell(self.timeline.now, self.master.core.state.tasks_done, tasks)
        self.check()
        result = self.result(tasks)
        wall_s = perf_counter() - began
        result.took = {
            "wall_s": wall_s,
            "cpu_s": process_time() - cpu,
            "peak_bytes": 1024 * getrusage(RUSAGE_SELF).ru_maxrss,
            "tasks_per_s": tasks / wall_s,
        }
        return result

    def why(self) -> str:
        """What is still open, and why, in the master's words."""
        state = self.master.core.state
        left = [job.id for job in state.jobs.values() if not job.state.ended]
        return f"{len(left)} of {len(self.works)} jobs are open, {left[0] if left else '-'} first"

    def check(self) -> None:
        """Whether the books of all machines agree with themselves."""
        self.master.check()
        for slave in self.slaves.values():
            slave.core.check()

    def _crash_later(self) -> None:
        every_s = 3600.0 / (self.plan.crash_rate * self.plan.slaves)
        self.timeline.after(self.rng.expovariate(1.0 / every_s), self._crash)

    def _crash(self) -> None:
        slave = self.rng.choice(self.nodes)
        if slave.alive:
            self.crashes += 1
            slave.crash(is_known=self.rng.random() < 0.5)
            self.timeline.after(self.plan.restart_s, slave.start)
        self._crash_later()

    def result(self, tasks: int) -> Forecast:
        """What came of it."""
        plan, works = self.plan, self.works
        for work in works:
            if work.state is JobState.DONE:
                assert all(work.accepted), f"{work.job.name} is done without its results"
        ends = [work.ended_s for work in works if work.ended_s is not None]
        makespan_s = max(ends, default=0.0) - self.client.begun_s
        slots = plan.slaves * plan.slots
        least_s = sum(work.total_s for work in works) / slots
        ideal_s = max([least_s, *(work.longest_s for work in works)])
        share = self.busy_s / (slots * makespan_s) if makespan_s > 0 else 0.0
        rows = [
            JobForecast(
                work.job.name or f"j{number}",
                work.job.kernel,
                work.tasks,
                work.state.name.lower(),
                (work.ended_s or 0.0) - self.client.begun_s,
            )
            for number, work in enumerate(works, 1)
        ]
        return Forecast(
            plan.seed, plan.slaves, slots, plan.policy.value, tasks, makespan_s, ideal_s, share,
            self.executions - sum(sum(work.accepted) for work in works),
            self.crashes, self.master.lost, self.back, self.messages, self.bytes,
            self.master.inbox_peak, self.master.waiting_peak, rows,
        )  # fmt: skip


def _capability(job: Job) -> str:
    kernel = get(job.kernel)
    return kernel.capability(kernel.parse(job.params))


def packed(job: Job) -> bytes:
    """A job's parameters as they travel."""
    kernel = get(job.kernel)
    return wire.pack(kernel.plain(kernel.parse(job.params)))
