"""Expected costs: how they travel, and what leases, their sizes and lateness make of them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from hpczmq import limits, partition
from hpczmq.kernels.diagnostics import EchoKernel
from hpczmq.messages import Heartbeat, Revoke
from hpczmq.model import Metrics
from hpczmq.scheduler.actions import Note
from hpczmq.scheduler.ledger import take
from hpczmq.scheduler.placement import lease_cost
from tests.unit.harness import World, failure, value

LEASE_S = limits.lease_work_s


# --- On their way -------------------------------------------------------------------------------


class Telling(EchoKernel):
    """A kernel that says of its three tasks what the test wants."""

    def __init__(self, tells: Callable[[], Sequence[float] | None]) -> None:
        self.tells = tells

    def split(self, params: Any) -> Sequence[Any]:
        return [()] * 3

    def costs(self, params: Any) -> Sequence[float] | None:
        return self.tells()


def test_costs_arrive_as_they_were_sent() -> None:
    travelled = partition.packed(Telling(lambda: [0.5, 2.0, 1e-6]), None)
    assert len(travelled) == 12
    assert partition.unpacked(travelled, 3) == array("f", [0.5, 2.0, 1e-6])


def test_the_other_byte_order_is_turned_round(monkeypatch: pytest.MonkeyPatch) -> None:
    travelled = partition.packed(Telling(lambda: [1.0, 2.0, 3.0]), None)
    monkeypatch.setattr("hpczmq.partition.sys.byteorder", "big")
    assert partition.packed(Telling(lambda: [1.0, 2.0, 3.0]), None) != travelled
    turned = b"".join(travelled[i : i + 4][::-1] for i in range(0, 12, 4))
    assert list(partition.unpacked(turned, 3)) == [1.0, 2.0, 3.0]


def test_a_kernel_that_can_not_tell_sends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert partition.packed(Telling(lambda: None), None) == b""
    assert not partition.unpacked(b"", 3)
    assert not caplog.messages


def _raise() -> Sequence[float]:
    raise ZeroDivisionError("its own fault")


@pytest.mark.parametrize(
    "tells",
    [_raise, *(lambda c=c: c for c in ([1.0], [1, 2, 0], [1, 2, math.nan], [1, 2, 1e300], ["x"]))],
)
def test_what_a_kernel_gets_wrong_is_told_and_not_sent(
    tells: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert partition.packed(Telling(tells), None) == b""
    assert "echo: its tasks go in their order" in caplog.text


def test_of_very_many_tasks_no_costs_are_kept() -> None:
    assert not partition.unpacked(b"1234", limits.tasks_ordered_max + 1)


# --- How much a lease carries -------------------------------------------------------------------


def test_before_anything_is_measured_costs_are_seconds(world: World) -> None:
    world.slave("s1", slots=2)
    world.submit(200, costs=[LEASE_S / 10.5] * 200)
    assert [len(lease.tasks) for _, lease in world.place()[:2]] == [10, 10]


def test_a_lease_is_filled_by_what_its_tasks_cost(world: World) -> None:
    costs = [LEASE_S * 3] * 2 + [LEASE_S / 4] * 8 + [LEASE_S / 100] * 900
    job = world.job(world.submit(910, order=range(910), costs=costs))
    sizes = [len(take(job, lease_cost(job, 1))) for _ in range(5)]
    assert sizes[:4] == [1, 1, 4, 4], "long ones alone, short ones together"
    assert sizes[4] in (99, 100)


def test_what_tasks_took_corrects_what_they_should_cost(world: World) -> None:
    peer, id = world.slave(), world.submit(500, costs=[1.0] * 500)
    first = world.place_one()
    assert len(first.tasks) == 1, "they should take a second each"
    world.finish(peer, first, LEASE_S / 10)
    assert world.job(id).unit_s == pytest.approx(LEASE_S / 10)
    assert len(world.place()[0][1].tasks) == 10, "and take a tenth of a lease"


def test_at_the_tail_leases_shrink_by_the_work_that_is_left(world: World) -> None:
    """One costly task and many cheap ones: a share of the work, and not of the number."""
    costs = [LEASE_S / 2] * 4 + [LEASE_S / 1000] * 40
    job = world.job(world.submit(44, costs=costs))
    assert len(take(job, lease_cost(job, 4))) == 1, "a quarter of what is left is no more"


def test_a_cost_that_is_handed_back_waits_again(world: World) -> None:
    peer, id = world.slave(), world.submit(3, costs=[5.0, 2.0, 1.0])
    job = world.job(id)
    lease = world.place_one()
    assert job.waiting_cost == pytest.approx(3.0)
    world.report(peer, lease, [failure(0)])
    assert world.job(id).costs == (), "the job has failed, and needs them no more"


def test_a_lost_lease_gives_its_cost_back(world: World) -> None:
    peer, id = world.slave(), world.submit(2, costs=[5.0, 2.0])
    world.place()
    world.later(limits.resend_heartbeats * limits.heartbeat_s_default + 0.1)
    world.say(peer, Heartbeat(1, Metrics(), (), 1))
    assert world.job(id).waiting_cost == pytest.approx(7.0)
    world.unseen.clear()


def test_the_expected_time_of_a_lease_is_that_of_its_tasks(world: World) -> None:
    world.slave("s1")
    world.submit(9, order=range(9), costs=[7.0, *[1.0] * 8])
    world.place()
    (lease,) = world.state.leases.values()
    assert (lease.cost, lease.work_s) == (7.0, 7.0)


def test_jobs_take_turns_by_their_next_task(world: World) -> None:
    """Both have tasks of all kinds; who has only light ones left stands behind."""
    light = world.submit(2, costs=[1.0, 1.0])
    heavy = world.submit(2, order=(1, 0), costs=[1.0, 40.0])
    world.slave("s1")
    assert [lease.job for _, lease in world.place()] == [heavy]
    assert world.job(light).waiting == 2


# --- When one is late ---------------------------------------------------------------------------


def tail(world: World, costs: list[float]) -> None:
    """The first task is done in as many seconds as it costs; the second is on `slow`; `fast` is
    idle."""
    world.slave("fast")
    world.slave("slow")
    world.submit(2, order=range(2), costs=costs)
    (_, first), _ = world.place()
    world.later(costs[0])
    world.finish(b"fast", first, costs[0])


def test_a_heavy_task_is_not_late_before_its_own_time(world: World) -> None:
    tail(world, [1.0, 10.0])
    world.later(8.0)
    assert world.place() == []
    world.later(limits.straggler_times * 10.0 - 8.9)
    assert len(world.place()) == 1
    assert world.one(Note)


def test_a_light_task_on_a_slave_that_is_stuck_is_late_early(world: World) -> None:
    tail(world, [10.0, 0.1])
    second = world.place_one()  # not after one and a half times the mean
    assert world.one(Note)
    world.finish(b"fast", second, 0.1)
    assert world.one(Revoke, b"slow")


def test_the_measure_is_by_cost(world: World) -> None:
    peer, id = world.slave(), world.submit(3, order=range(3), costs=[4.0, 2.0, 2.0])
    world.report(peer, world.place_one(), [value(0, 8.0)])
    job = world.job(id)
    assert (job.took_s, job.took_cost, job.unit_s) == (8.0, 4.0, 2.0)
    assert job.next_s == pytest.approx(4.0)
