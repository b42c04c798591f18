"""What the master tells memorias of itself and of its cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpczmq import limits
from hpczmq.messages import (
    PROTOCOL,
    AlertsAnswer,
    Ask,
    Beat,
    Control,
    Heartbeat,
    Hello,
    Pulse,
    Reject,
    Sample,
    VitalsReport,
    Welcome,
)
from hpczmq.model import About, Alert, Metrics, Role, Status, Vitals
from hpczmq.scheduler.events import Tick
from tests.unit.harness import CLIENT, World, failure, instance, slave_hello, value

VITALS = Vitals((12.5, 50.0), 2.0)


def told(world: World) -> tuple[Metrics, dict[tuple[str, str], float]]:
    """What the master says of itself, and its findings."""
    world.do(Tick(Metrics(cpu_percent=20.0), None, 1_700_000_000.0))
    world.take(Control)
    sample, pulse = world.one(Sample), world.one(Pulse)
    assert sample.node == "master"
    assert sample.metrics.clock_s == 1_700_000_000.0
    return sample.metrics, {(f.metric, f.subject): f.value for f in pulse.findings}


def test_it_is_a_node_with_metrics_of_its_own(world: World) -> None:
    peer = world.slave()
    world.submit(3)
    lease = world.place_one()
    metrics, _ = told(world)
    assert (metrics.cpu_percent, metrics.slots_busy, metrics.tasks_done) == (20.0, 1, 0)
    assert metrics.tasks_held == 3 - len(lease.tasks)
    world.finish(peer, lease)
    assert told(world)[0].tasks_done == len(lease.tasks)


def test_tasks_that_come_to_nothing_and_run_again_are_counted(world: World) -> None:
    peer = world.slave()
    world.submit(1)
    crashed = [failure(0, Status.CRASH)]
    world.report(peer, world.place_one(), crashed)
    world.note("run again")
    metrics, _ = told(world)
    assert (metrics.crashes, metrics.tasks_again, metrics.tasks_failed) == (1, 1, 0)
    assert world.report(peer, world.place_one(), [failure(0)]) is not None
    metrics, _ = told(world)
    assert (metrics.errors, metrics.tasks_failed) == (1, 1)


def test_vitals_are_passed_on_under_the_name_that_the_master_knows(world: World) -> None:
    peer = world.slave("s1")
    world.say(peer, VitalsReport("somebody else", instance("x"), VITALS))
    assert world.one(VitalsReport) == VitalsReport("s1", instance("s1"), VITALS)
    world.do(Tick(None, VITALS))
    world.take(Control)
    assert world.one(VitalsReport).node == "master"


def test_memorias_are_nodes_and_clients_are_not(world: World) -> None:
    hello = Hello(Role.MEMORIA, "memoria1", instance("m1"), PROTOCOL, "", address="tcp://m")
    world.say(b"m1", hello)
    assert world.one(Welcome, b"m1")
    world.say(b"m1", Heartbeat(1, Metrics(load=2.0), (), 1))
    assert world.one(Beat, b"m1")
    assert world.one(Sample) == Sample("memoria1", instance("m1"), Metrics(load=2.0), Role.MEMORIA)
    world.client()
    world.say(b"client", Heartbeat(1, Metrics(), (), 1))
    assert world.one(Beat, b"client")
    world.say(b"client", VitalsReport("me", instance("me"), VITALS))


def test_a_lost_slave_is_found_until_it_is_back_and_counts_as_one_that_flaps(world: World) -> None:
    world.slave("s1")
    world.slave("s2")
    for _ in range(2):
        world.do(*_silence(world))
    world.unseen = [a for a in world.unseen if type(a).__name__ != "Note"]
    world.take(Beat)
    world.take(Control)
    _, found = told(world)
    assert found["slave_lost_s", "s1"] > limits.lost_heartbeats
    assert found["slave_losses", "s1"] == 1.0
    world.say(b"s1", slave_hello("s1"))
    assert world.one(Welcome, b"s1")
    _, found = told(world)
    assert ("slave_lost_s", "s1") not in found
    assert ("slave_lost_s", "s2") in found
    assert found["slave_losses", "s1"] == 1.0
    world.later(limits.losses_window_s + 0.1)
    assert ("slave_losses", "s1") not in told_quietly(world)
    assert not world.state.losses


def told_quietly(world: World) -> list[tuple[str, str]]:
    """The findings, whatever else happens to be said."""
    world.do(Tick(Metrics()))
    found = [(f.metric, f.subject) for f in world.one(Pulse).findings]
    world.unseen.clear()
    return found


def _silence(world: World) -> list[Tick]:
    world.later(limits.lost_heartbeats * limits.heartbeat_s_default + 0.1)
    return [Tick()]


def test_a_job_of_which_nothing_ends_is_found_with_how_long(world: World) -> None:
    peer = world.slave()
    job = world.submit(2)
    lease = world.place_one()
    world.later(2.0)
    assert told(world)[1]["job_idle_s", job] == pytest.approx(2.0)
    world.report(peer, lease, [value(task.index) for task in lease.tasks])
    assert told(world)[1].get(("job_idle_s", job), 0.0) == 0.0
    world.unseen.clear()


def test_a_job_that_waits_counts_while_somebody_has_a_slot_to_spare(world: World) -> None:
    job = world.submit(1, capability="other")
    world.later(60.0)
    assert ("job_idle_s", job) not in told(world)[1], "no slave is here to serve it"
    world.slave()
    assert told(world)[1]["job_idle_s", job] == pytest.approx(60.0)


def test_queues_and_room_are_told_in_percent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "jobs_open_max", 4)
    world.submit(1)
    found = told(world)[1]
    assert found["queue_percent", "master"] == 25.0
    assert found["results_percent", "master"] == 0.0
    assert ("insecure", "master") not in found
    world.state.insecure = True
    assert told(world)[1]["insecure", "master"] == 1.0


def test_alerts_that_memorias_report_are_told_once_and_those_of_others_not(world: World) -> None:
    alert = Alert("hot", "s1", "warning", "t", 9.0, 1.0, "hot/s1")
    for name in ("m1", "m2"):
        hello = Hello(Role.MEMORIA, name, instance(name), PROTOCOL, "", address=f"tcp://{name}")
        world.say(name.encode(), hello)
        assert world.one(Welcome)
    world.client()
    world.say(CLIENT, AlertsAnswer(0, (replace(alert, id="mine"),)))
    world.say(b"m1", AlertsAnswer(0, (alert,)))
    older = replace(alert, age_s=3.0)
    world.say(b"m2", AlertsAnswer(0, (older, replace(alert, node="s2", id="hot/s2"))))
    world.say(CLIENT, Ask(5, About.ALERTS, ("s1",)))
    assert world.one(AlertsAnswer, CLIENT) == AlertsAnswer(5, (older,))
    world.say(CLIENT, Ask(6, About.METRICS))
    assert world.one(Reject, CLIENT).code == "not here"
