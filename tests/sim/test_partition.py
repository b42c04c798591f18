"""What known costs are worth: jobs whose tasks are not alike, with figures (`pytest -s`)."""

from __future__ import annotations

from random import Random

from hpczmq.simulation.settings import Settings
from hpczmq.simulation.work import SimJob
from hpczmq.simulation.world import World

#: As the tiles of an image: most take little, some nine times the mean.
_RNG = Random(4)
SECONDS = tuple(min(0.9, _RNG.paretovariate(1.2) / 40) for _ in range(400))
#: What a glance makes of them: by half too much or too little, in another unit.
GUESSED = tuple(seconds * 7 * _RNG.uniform(0.67, 1.5) for seconds in SECONDS)
COSTLIEST_FIRST = tuple(sorted(range(400), key=lambda index: -GUESSED[index]))


def makespan(job: SimJob, slots: int, slow: float = 1.0) -> tuple[float, World]:
    """How long a job takes on four slaves, the first of which takes `slow` times as long as the
    others; and the world, after its end."""
    with World(8, Settings([(slots, ("sim",))] * 4, calm=False)) as it:
        it.slaves[0].times_slower = slow
        it.run_for(2.0)
        begun_s = it.timeline.now
        order = it.order(job)
        it.until(lambda: order.info is not None, 300.0)
        took_s = it.timeline.now - begun_s
        it.finish()
    return took_s, it


def test_with_costs_a_job_ends_near_the_least_time_there_can_be() -> None:
    least_s = max(*SECONDS, sum(SECONDS) / 16)
    blind_s, _ = makespan(SimJob(0, 400, seconds=SECONDS), 4)
    job = SimJob(0, 400, seconds=SECONDS, order=COSTLIEST_FIRST, costs=GUESSED)
    told_s, it = makespan(job, 4)
    print(f"\nmakespan over the least: {blind_s / least_s:.2f} blind, {told_s / least_s:.2f} told")
    (id,) = it.oracle.stored
    assert sorted(it.oracle.stored[id].outcomes) == list(range(400))
    assert told_s < min(blind_s, 1.15 * least_s)


def test_a_heavy_task_that_begins_last_is_not_run_twice_for_that() -> None:
    """Forty light tasks and one that takes forty times as long: that one is not late."""
    seconds = (0.1,) * 40 + (4.0,)
    blind, told = (SimJob(0, 41, seconds=seconds, costs=costs) for costs in ((), seconds))
    begun = []
    for job in (blind, told):
        _, it = makespan(job, 1)
        (id,) = it.oracle.stored
        begun.append(it.oracle.begun[id])
    print(f"\ntasks begun, of 41: {begun[0]} by the mean, {begun[1]} by each one's cost")
    assert begun == [42, 41]


def test_short_tasks_travel_together_from_the_first_lease_on() -> None:
    seconds = (0.001,) * 2_000
    sent = []
    for costs in ((), seconds):
        _, it = makespan(SimJob(0, 2_000, seconds=seconds, costs=costs), 2)
        sent.append(it.master.sent["Assign"])
    print(f"\nleases for 2,000 tasks of 1 ms: {sent[0]} blind, {sent[1]} told")
    assert sent[1] <= sent[0]


def test_a_slow_slave_has_no_queue_while_others_have_nothing_to_do() -> None:
    """One of four is three times slower; the others do what it can't."""
    job = SimJob(0, 400, seconds=SECONDS, order=COSTLIEST_FIRST, costs=GUESSED)
    took_s, _ = makespan(job, 1, slow=3.0)
    least_s = sum(SECONDS) / (3 + 1 / 3)
    print(f"\nmakespan over the least with one slow slave of four: {took_s / least_s:.2f}")
    assert took_s < 1.15 * least_s
