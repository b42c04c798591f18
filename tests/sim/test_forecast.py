"""What `hpczmq simulate` says: the same for the same seed, and right where one can reckon it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpczmq.errors import ParameterError
from hpczmq.kernels.julia import JuliaKernel
from hpczmq.model import Job
from hpczmq.simulation.forecast import Forecast, Plan, Simulation
from tests.sim.test_sabotage import Patch, a_second_copy_is_accepted


def image(tiles_wide: int, tiles_high: int) -> Job:
    params = {"algorithm": "Numpy", "iterations": 10, "tile": 128, "center_x": 0.1}
    return Job("julia", {**params, "width": 128 * tiles_wide, "height": 128 * tiles_high})


def forecast(*jobs: Job, **plan: object) -> Forecast:
    made = Plan(**plan)  # type: ignore[arg-type]  # each test gives what it is about
    return replace(Simulation(jobs, made).run(), took={})


def test_the_same_seed_gives_the_same_forecast_and_another_one_does_not() -> None:
    jobs = [image(5, 4), Job("echo", {"value": 1})]
    plan = {"slaves": 3, "crash_rate": 600.0, "restart_s": 3.0, "loss": 0.02}
    first, again = (forecast(*jobs, seed=5, **plan) for _ in range(2))
    assert first == again
    assert forecast(*jobs, seed=6, **plan) != first


def test_without_spread_and_delay_it_comes_near_to_the_least_there_can_be() -> None:
    said = forecast(image(16, 10), slaves=4, slots=2, spread=0.0, task_s=2.0)
    assert said.tasks == 160
    assert said.ideal_s == pytest.approx(40.0)
    assert 39.9 < said.makespan_s < 42.0
    assert 0.95 < said.utilisation <= 1.0
    assert said.run_twice == said.crashes == said.lost == 0
    assert said.waiting_peak >= 150


def test_slaves_that_crash_are_counted_and_every_task_has_its_result() -> None:
    said = forecast(image(20, 20), slaves=8, crash_rate=400.0, restart_s=5.0, seed=2)
    assert said.crashes > 5
    assert 0 < said.lost <= said.crashes
    assert said.back > 0
    assert said.run_twice > 0
    assert [job.state for job in said.jobs] == ["done"]


def test_a_thousand_slaves_take_twenty_thousand_tasks() -> None:
    said = forecast(image(200, 100), slaves=1000, slots=2, seed=1)
    assert said.tasks == 20_000
    assert said.makespan_s < 1.2 * said.ideal_s
    assert said.messages > 4 * said.tasks  # assign, report, acknowledgement, chunk


def test_costs_give_the_tasks_their_run_times(monkeypatch: Patch) -> None:

    monkeypatch.setattr(JuliaKernel, "costs", lambda self, params: [30.0, 10.0, 10.0, 10.0])
    said = forecast(image(2, 2), slaves=4, slots=1, rate=10.0, spread=0.0)
    assert said.ideal_s == pytest.approx(3.0)
    assert 3.0 <= said.makespan_s < 3.5


@pytest.mark.parametrize(
    ("field", "value"),
    [("slaves", 0), ("slots", 0), ("loss", 0.9), ("task_s", float("nan")), ("crash_rate", -1.0)],
)
def test_a_value_out_of_its_range_is_refused_with_the_range(field: str, value: float) -> None:
    with pytest.raises(ParameterError, match=rf"{field.split('_')[0]}.* = .*: must be "):
        Plan(**{"slaves": 1, field: value})  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="tells no costs: use --task-seconds"):
        Simulation([Job("echo", {"value": 1})], Plan(slaves=1, rate=5.0))


def test_a_task_that_is_accepted_twice_is_found(monkeypatch: Patch) -> None:
    a_second_copy_is_accepted(monkeypatch)

    def some_worlds() -> None:  # not each of them has a second copy
        for seed in range(10):
            forecast(image(20, 20), slaves=8, crash_rate=2000.0, restart_s=1.0, loss=0.3, seed=seed)

    with pytest.raises(AssertionError, match=r"accepted twice|booked|counted"):
        some_worlds()
