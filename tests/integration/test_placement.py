"""Which slave gets what, on real nodes: what tasks need, and machines that others keep busy."""

from __future__ import annotations

import hpczmq
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
