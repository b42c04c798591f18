"""What differs from world to world, and how a seed draws it.

Each seed gets some of the faults and not others, since a world in which everything fails at once
hides what a single fault would show.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from random import Random

from hpczmq import limits
from hpczmq.model import Policy, Requires
from hpczmq.simulation.network import Weather
from hpczmq.simulation.slave import SLOT_BYTES
from hpczmq.simulation.work import Fate, SimJob

#: All that can go wrong; a method of `faults.Chaos` each.
FAULTS = (
    "break_connection",
    "stall_connection",
    "part_connection",
    "crash_slave",
    "stop_slave",
    "kill_worker",
    "pause_node",
    "pause_master",
    "crash_master",
    "crash_client",
    "crash_memoria",
    "heat_slave",
    "stranger",
    "revoke_slave",
)


@dataclass(slots=True)
class Settings:
    """One world's constants."""

    #: Slots and capabilities of each slave.
    slaves: list[tuple[int, tuple[str, ...]]] = field(default_factory=lambda: [(2, ("sim",))] * 2)
    clients: int = 1
    memorias: int = 0
    heartbeat_s: float = 1.0
    policy: Policy = Policy.LEAST_LOADED
    weather: Weather = field(default_factory=Weather)
    #: How much clocks may run too fast or too slow, as a share of time.
    drift: float = 0.0
    #: Whether a test keeps its hands off this world, so that nothing may be done twice in it.
    calm: bool = True
    #: How long things go wrong, in seconds, which things, and how often.
    chaos_s: float = 0.0
    faults: tuple[str, ...] = ()
    fault_every_s: float = 1.0
    #: Bounds of `limits` that are other ones in this world.
    tuning: dict[str, float] = field(default_factory=dict)
    #: What is ordered, and when, in seconds.
    orders: list[tuple[float, SimJob]] = field(default_factory=list)
    #: Share of the orders that are cancelled, and how often somebody asks something.
    cancels: float = 0.0
    questions_every_s: float = 1e9


def draw(rng: Random) -> Settings:
    """One world out of all that there are."""
    settings = Settings(
        slaves=[(rng.randint(1, 3), ("sim",)) for _ in range(rng.randint(2, 5))],
        clients=rng.randint(1, 3),
        memorias=rng.choice((0, 0, 1, 2)),
        heartbeat_s=rng.choice((0.2, 0.5, 1.0)),
        policy=rng.choice(list(Policy)),
        chaos_s=rng.uniform(3.0, 10.0),
        fault_every_s=rng.choice((0.2, 0.5, 1.0)),
        cancels=rng.choice((0.0, 0.3)),
        questions_every_s=rng.choice((0.5, 2.0, 1e9)),
    )
    settings.slaves[0] = (settings.slaves[0][0], ("sim", "rare"))
    settings.tuning = _tuning(rng)
    tasks = rng.randint(20, 200)
    while tasks > 0:
        slots = settings.slaves[0][0]
        job = _job(
            rng, len(settings.orders), slots, min(tasks, rng.randint(1, rng.choice((30, 200))))
        )
        settings.orders.append((rng.uniform(0.0, settings.chaos_s), job))
        tasks -= max(1, job.tasks)
    kind = rng.random()
    if kind < 0.1:  # messages get lost, and nothing else goes wrong
        settings.weather = Weather(loss=rng.choice((0.02, 0.1)), published_loss=0.5)
    elif kind > 0.2:  # between the two nothing goes wrong at all
        settings.faults = tuple(fault for fault in FAULTS if rng.random() < 0.45)
        settings.weather = Weather(
            delay_s=rng.choice((0.004, 0.05, 0.4)),
            loss=rng.choice((0.0, 0.0, 0.02, 0.15)),
            copies=rng.choice((0.0, 0.0, 0.05, 0.2)),
            published_loss=rng.choice((0.0, 0.3, 1.0)),
            bytes_per_s=rng.choice((inf, inf, 1000.0)),
        )
        settings.drift = rng.choice((0.0, 1e-4, 0.02))
    return settings


def _tuning(rng: Random) -> dict[str, float]:
    """Bounds that are chosen for clusters of thousands and for days, made small enough to reach."""
    tuning = {
        "client_silent_s": rng.choice((4.0, 10.0)),
        "lost_shown_s": rng.choice((1.0, 10.0)),
        "worker_start_s": 2.0,
        "retry_s_min": rng.choice((0.0625, 0.5)),
        "retry_s_max": 2.0,
        "quarantine_limit": 1,
        "probation_s": 3.0,
        "avoid_s": 2.0,
        "chunk_credit": rng.choice((1, 2, 7, limits.chunk_credit)),
        "tasks_per_lease_max": rng.choice((1, 3, 20, limits.tasks_per_lease_max)),
        "prefetch_below_s": rng.choice((0.0, limits.prefetch_below_s, 5.0)),
        "lease_work_s": rng.choice((limits.lease_work_s, 1.0, 5.0)),
        "report_flush_s": rng.choice((limits.report_flush_s, 0.4, 2.0)),
        "messages_per_turn_max": rng.choice((1, 5, limits.messages_per_turn_max)),
        "cpu_saturated_s": 1.0,
    }
    if tuning["chunk_credit"] == 7:
        tuning["client_backlog_bytes_max"] = 300
    return tuning


def _job(rng: Random, number: int, slots: int, tasks: int) -> SimJob:
    job = SimJob(
        number,
        tasks,
        is_map=rng.random() < 0.4,
        capability=rng.choice(("sim", "sim", "sim", "rare")),
        priority=rng.randint(limits.priority_min, limits.priority_max),
        timeout_s=rng.choice((0.0, 0.0, rng.uniform(0.3, 2.0))),
        task_s=rng.choice((0.002, 0.02, 0.05, 0.1, 0.2)),
        valid=rng.random() > 0.05,
    )
    if rng.random() < 0.2:  # the first slave has all of it
        memory_bytes = rng.choice((0, 1, SLOT_BYTES, slots * SLOT_BYTES))
        labels = rng.choice(((), (), ("name=slave1",)))
        job.requires = Requires(memory_bytes, rng.randint(1, slots), labels)
    if not job.is_map and rng.random() < 0.3:
        job.order = tuple(rng.sample(range(job.tasks), job.tasks))
    if not job.order and not job.is_map and rng.random() < 0.05:
        job.tasks = 0
    if job.tasks and rng.random() < 0.3:
        fates = (
            (Fate.RAISES, Fate.KILLS, Fate.HANGS) if job.timeout_s else (Fate.RAISES, Fate.KILLS)
        )
        job.retries = rng.choice((0, 1, 3))
        if job.retries:
            fates = (*fates, Fate.FLAKY, Fate.FLAKY)
        for index in rng.sample(range(job.tasks), min(job.tasks, rng.randint(1, 2))):
            job.fates[index] = rng.choice(fates)
    return job
