"""Seeded worlds in which everything goes wrong, and every job comes to its right end all the same.

A seed that fails is named first, with the command that runs it again and what happened last:
`python -m pytest tests/sim/test_world.py --seed N`. With `--seed FIRST-LAST` just these run, all of
them: so a long run can be done in pieces.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from hpczmq.simulation.settings import FAULTS
from hpczmq.simulation.world import REPLAY, SimulationFailed, World, run_all

ROOT = Path(__file__).parents[2]
#: Worlds that are run here, with coverage: those behind `FIRST`, which one test looks into.
FIRST, SEEDS, BATCH = 40, 60, 10
#: With those that are run without coverage, which makes them four times as slow.
DAILY_SEEDS, DAILY_BATCH = 2_000, 97
#: Worlds that are drawn, and not run.
DRAWN = 200
#: For the nights, beyond those of every day.
MORE_SEEDS, MORE_BATCH = range(10_000, 13_000), 100

#: Prints a fingerprint of all that happens in some worlds.
DIGESTS = """
from hpczmq.simulation.world import World
for seed in (2, 7, 11):
    with World(seed, trace_lines_max=None) as world:
        world.run()
    print(world.setting.trace.digest(), world.timeline.now)
"""


def batches(seeds: Sequence[int], size: int) -> list[Sequence[int]]:
    """The seeds in handfuls, so that a run's output can be read."""
    return [seeds[first : first + size] for first in range(0, len(seeds), size)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Hand out the seeds: all of them, or the one that was asked for."""
    if "seeds" not in metafunc.fixturenames:
        return
    only = metafunc.config.getoption("--seed", default=None)
    many = metafunc.definition.get_closest_marker("slow") is not None
    if only is not None:
        chosen = batches(only, MORE_BATCH)
    else:
        chosen = batches(MORE_SEEDS, MORE_BATCH) if many else batches(range(FIRST, SEEDS), BATCH)
    metafunc.parametrize("seeds", chosen, ids=[f"{seeds[0]}-{seeds[-1]}" for seeds in chosen])


def test_whatever_fails_every_job_comes_to_its_right_end(seeds: Sequence[int]) -> None:
    run_all(seeds)


@pytest.mark.parametrize("first", range(SEEDS, DAILY_SEEDS, DAILY_BATCH))
def test_so_it_is_in_all_the_worlds_of_every_day(first: int) -> None:
    """In processes of their own, on every core: coverage would make them slow."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-m", "hpczmq.simulation", f"{first}-{first + DAILY_BATCH - 1}"],
        cwd=ROOT, env=ours, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"{DAILY_BATCH} worlds, 0 failed\n"


@pytest.mark.slow
def test_so_it_is_in_many_more_worlds(seeds: Sequence[int]) -> None:
    run_all(seeds)


def test_the_same_seed_tells_the_same_story_in_every_process() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", DIGESTS],
            cwd=ROOT,
            env={"PYTHONHASHSEED": salt, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for salt in ("1", "2")
    }
    assert len(told) == 1, "the order of a set, or of something like it, is in the story"


def test_the_worlds_are_not_all_alike() -> None:
    worlds = [World(seed) for seed in range(DRAWN)]
    drawn = [fault for world in worlds for fault in world.settings.faults]
    assert {fault for fault in FAULTS if drawn.count(fault) > DRAWN // 4} == set(FAULTS)
    assert sum(world.is_calm for world in worlds) >= DRAWN // 30
    assert any(world.settings.weather.loss for world in worlds)


def test_every_fault_strikes_and_clocks_drift_apart() -> None:
    struck: Counter[str] = Counter()
    parted, paces = [0, 0], set()
    for seed in range(FIRST):
        with World(seed) as world:
            world.run()
        struck += world.chaos.struck
        parted[0] += world.setting.network.parted_up
        parted[1] += world.setting.network.parted_down
        paces |= {node.pace for node in (world.master, *world.slaves, *world.memorias)}
    assert {fault for fault in FAULTS if struck[fault] > 5} == set(FAULTS)
    assert min(parted) > 50, "a partition cuts both ways"
    assert min(paces) < 0.99
    assert max(paces) > 1.01


def test_a_failure_names_its_seed_first_and_how_to_see_it_again() -> None:
    with pytest.raises(SimulationFailed) as failed, World(17) as world:  # noqa: PT012 — the block
        world.run_for(1.0)
        raise ValueError("something is wrong")
    first, second, *trace = str(failed.value).splitlines()
    assert first == "seed 17 failed at 1.0000 s: ValueError: something is wrong"
    assert second == f"replay: {REPLAY} 17"
    assert any("Hello" in line for line in trace)


def test_a_seed_that_fails_does_not_hide_those_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run_for, ran = World.run_for, []

    def broken(world: World, seconds: float) -> None:
        ran.append(world.seed)
        run_for(world, seconds)
        raise ValueError("something is wrong")

    monkeypatch.setattr(World, "run_for", broken)
    with pytest.raises(SimulationFailed) as failed:
        run_all(range(3))
    assert ran == [0, 1, 2]
    first, *_, last = str(failed.value).splitlines()
    assert first.startswith("seed 0 failed at ")
    assert last == "3 of 3 worlds failed: seeds 0, 1, 2"
