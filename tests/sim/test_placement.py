"""What placement makes of worlds in which machines and jobs are not alike, with figures.

`pytest -s` shows them.
"""

from __future__ import annotations

from random import Random

from hpczmq import limits
from hpczmq.model import Requires
from hpczmq.scheduler.answers import job_info
from hpczmq.simulation.settings import Settings
from hpczmq.simulation.work import SimJob
from hpczmq.simulation.world import World

SIM = ("sim",)


def makespan(job: SimJob, slow: float, **tuning: float) -> tuple[float, World]:
    """How long a job takes on five slaves, one of which takes `slow` times as long as the others;
    and the world, after its end."""
    settings = Settings([(1, SIM)] * 5, tuning=tuning, calm=False)
    with World(3, settings) as it:
        it.slaves[0].times_slower = slow
        it.run_for(2.0)
        begun_s = it.timeline.now
        order = it.order(job)
        it.until(lambda: order.info is not None, 300.0)
        took_s = it.timeline.now - begun_s
        it.finish()
    return took_s, it


def test_a_slave_ten_times_slower_does_not_hold_up_the_job() -> None:
    without_s, _ = makespan(SimJob(0, 60, task_s=1.0, steady=True), 10.0, straggler_s=1e9)
    with_s, it = makespan(SimJob(0, 60, task_s=1.0, steady=True), 10.0)
    ideal_s = 60 / 4.1
    print(f"\nmakespan {without_s:.1f} s without second starts, {with_s:.1f} s with them,")
    print(f"{without_s / with_s:.2f} times faster; {ideal_s:.1f} s is the least there can be")
    (id,) = it.oracle.stored
    assert sorted(it.oracle.stored[id].outcomes) == list(range(60)), "each is accepted once"
    assert it.oracle.doubled(id) == 1
    assert it.master.sent["Revoke"] >= 1, "who lost the race is told to stop"
    assert with_s < ideal_s + 3.0
    assert without_s > 1.2 * with_s


def test_slaves_that_are_alike_race_for_nothing() -> None:
    _, it = makespan(SimJob(0, 60, task_s=1.0, steady=True), 1.0)
    (id,) = it.oracle.stored
    assert it.oracle.begun[id] == 60


def test_a_slave_that_hangs_does_not_hold_up_the_job_either() -> None:
    took_s, it = makespan(SimJob(0, 40, task_s=0.5, steady=True), 1e6)
    (id,) = it.oracle.stored
    assert sorted(it.oracle.stored[id].outcomes) == list(range(40))
    assert took_s < 40 * 0.5 / 4 + 2.5


def test_jobs_of_one_priority_go_on_side_by_side() -> None:
    """The second one is small, and does not wait for the end of the first, which is large."""
    settings = Settings([(1, SIM)] * 4, calm=False)
    with World(4, settings) as it:
        it.run_for(2.0)
        large = it.order(SimJob(0, 200, task_s=0.3, steady=True))
        it.run_for(1.0)
        small = it.order(SimJob(1, 8, task_s=0.3, steady=True))
        it.until(lambda: small.info is not None, 3.0)
        assert large.info is None
        it.finish()


def test_long_tasks_are_begun_before_short_ones() -> None:
    """Two jobs at once: had the short tasks all gone first, the long ones would be the tail."""
    settings = Settings([(1, SIM)] * 4, calm=False)
    with World(5, settings) as it:
        it.run_for(2.0)
        begun_s = it.timeline.now
        short = it.order(SimJob(0, 160, task_s=0.1, steady=True))
        long = it.order(SimJob(1, 8, task_s=2.0, steady=True))
        it.until(lambda: None not in (short.info, long.info), 60.0)
        took_s, ideal_s = it.timeline.now - begun_s, (160 * 0.1 + 8 * 2.0) / 4
        print(f"\nmakespan {took_s:.1f} s of {ideal_s:.1f} s at least")
        assert took_s < ideal_s + 2.0
        it.finish()


def test_a_job_that_nobody_can_run_runs_when_a_fitting_slave_joins() -> None:
    with World(6, Settings([(1, SIM), (3, SIM)], calm=False)) as it:
        able = it.slaves[1]
        able.crash()
        it.run_for(limits.lost_heartbeats + 2.0)
        order = it.order(SimJob(0, 6, task_s=0.2, requires=Requires(slots=3)))
        it.run_for(1.0)
        (job,) = it.master.core.state.jobs.values()
        info = job_info(it.master.core.state, job, it.master.now)
        assert info.cause == "waits: a task takes 3 slots, and no slave has more than 1"
        able.start()
        it.finish()
        assert {granted.instance for granted in it.oracle.granted.values()} == {able.instance}
        assert len(order.got) == 6


def test_a_wide_task_is_not_starved_by_narrow_ones() -> None:
    with World(7, Settings([(2, SIM)] * 2)) as it:
        it.run_for(2.0)
        narrow = it.order(SimJob(0, 400, task_s=0.1))
        it.run_for(1.0)
        wide = it.order(SimJob(1, 4, task_s=0.2, steady=True, requires=Requires(slots=2)))
        it.until(lambda: wide.info is not None, 5.0)
        assert narrow.info is None
        it.finish()


def test_within_a_job_the_costliest_tasks_first_make_it_end_sooner() -> None:
    """Costs as those of tiles: most are cheap, some take nine times the mean; 16 workers."""
    rng = Random(8)
    costs = tuple(min(9.0, rng.paretovariate(1.2) / 4) for _ in range(200))
    first = tuple(sorted(range(200), key=lambda index: -costs[index]))
    took_s = [_on_16_slots(SimJob(0, 200, seconds=costs, order=order)) for order in ((), first)]
    least_s = max(*costs, sum(costs) / 16)
    as_they_come, costliest_first = (seconds / least_s for seconds in took_s)
    print(f"\n{as_they_come:.2f} of the least as they come, {costliest_first:.2f} costliest first")
    assert costliest_first < min(1.1, as_they_come)


def _on_16_slots(job: SimJob) -> float:
    with World(8, Settings([(4, SIM)] * 4, tuning={"straggler_s": 1e9}, calm=False)) as it:
        it.run_for(2.0)
        begun_s = it.timeline.now
        made = it.order(job)
        it.until(lambda: made.info is not None, 300.0)
        took_s = it.timeline.now - begun_s
        it.finish()
    return took_s
