"""Which slave gets what, on real nodes: what tasks need, and machines that others keep busy."""

from __future__ import annotations

import os
import sys

import pytest

import hpczmq
from hpczmq import limits
from tests.integration.harness import Lab, until

ASKS = "Secuencial,8,8,9,name=picky,requires=memory=1GiB;slots=2;label=gpu=a100\n"


def test_a_job_that_no_slave_can_run_says_so_and_runs_when_one_joins_that_can(lab: Lab) -> None:
    master = lab.master()
    lab.slave(master.address, "plain", slots=2)
    (lab.folder / "jobs.txt").write_text(ASKS)
    lab.run("submit", "jobs.txt", "--master", master.address).fine()
    (row,) = lab.run("jobs", "--json", "--master", master.address).fine().json()
    assert row["cause"] == "waits: no slave has the labels gpu=a100"
    lab.slave(master.address, "small", "--label", "gpu=a100", "--memory", "512MiB", slots=2)
    with hpczmq.Client(master.address) as client:
        until(lambda: len(client.slaves()) == 2, "the small one has joined")
        (job,) = client.jobs()
        small = "waits: a task takes 1.0 GiB of memory, and no slave has more than 512 MiB"
        assert job.cause == small
        labels = ["--label", "gpu=a100", "--label", "room=3"]
        lab.slave(master.address, "able", *labels, "--memory", "2GiB", slots=2)
        assert client.job("j1").result(60).shape == (8, 8)
        able = next(slave for slave in client.slaves() if slave.name == "able")
    assert (able.labels, able.memory_bytes) == (("gpu=a100", "room=3"), 2 << 30)
    assert "gpu=a100 room=3" in lab.run("slaves", "--master", master.address).fine().out


def test_a_label_that_is_none_is_bad_usage(lab: Lab) -> None:
    said = lab.run("slave", "--label", "gpu").refused()
    assert "labels = gpu: must be like gpu=a100,room=3" in said


def test_wide_and_narrow_tasks_share_a_slave(lab: Lab) -> None:
    master = lab.master()
    lab.slave(master.address, "only", slots=2)
    with hpczmq.Client(master.address) as client:
        narrow = client.map("sleep", [{"seconds": 0.05}] * 40)
        wide = client.map("sleep", [{"seconds": 0.1}] * 4, requires={"slots": 2})
        assert [future.result(60) for future in wide] == [0.1] * 4
        assert [future.result(60) for future in narrow] == [0.05] * 40


@pytest.mark.slow  # an alert is raised after ten seconds, and others may keep this machine busy too
def test_a_machine_that_others_keep_busy_gets_nothing_until_they_end(lab: Lab) -> None:
    master = lab.master(env={"HPCZMQ_SPARE_SATURATED": "true"})
    lab.slave(master.address, "only")
    burn = [sys.executable, "-c", "while True: pass"]
    burners = [lab.start("burner", burn) for _ in range(os.cpu_count() or 1)]
    with hpczmq.Client(master.address) as client:
        patience_s = 6 * limits.cpu_saturated_s
        master.until_said("slave only gets nothing new until this clears: ")
        job = client.submit(hpczmq.Job("echo", {"value": "at last"}))
        shown = lab.run("explain", job.id, "--master", master.address).fine().out
        assert "gets nothing new: " in shown
        assert not job.done()
        for burner in burners:
            burner.end()
        assert job.result(patience_s) == "at last"
    assert "slave only gets work again" in master.said()
