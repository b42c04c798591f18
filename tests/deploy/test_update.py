"""`registry/update.sh`, without an engine: in which order nodes are replaced, and when not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.stubs import Host, Ran


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host where a cluster of version 1 runs with two slaves, and the images of 2 are there."""
    made = Host(tmp_path)
    made.has_cluster("1", slaves=2)
    made.has_images("2")
    made.env["HPC_VERSION"] = "2"
    return made


def changes(ran: Ran) -> list[str]:
    """What was done to the cluster, in short."""
    short = []
    for line in ran.called:
        if found := re.search(r"up -d .*?--scale (slave=\d)", line):
            short.append(found[1])
        elif found := re.search(r"up -d --no-deps (\w+)", line):
            short.append(f"replace {found[1]}")
        elif found := re.match(r"(?:hpczmq|docker) (drain|keys revoke|stop|rm)\b.* (c\S+)", line):
            short.append(f"{found[1]} {found[2]}")
    return short


def of_slaves(host: Host) -> list[str]:
    """The containers of slaves, in their order."""
    return [one["id"] for one in host.state()["containers"] if one["service"] == "slave"]


def test_slaves_are_replaced_one_at_a_time_and_memorias_after_them(host: Host) -> None:
    first, second = of_slaves(host)
    ran = host.run("registry/update.sh")
    assert ran.code == 0, ran
    assert changes(ran) == [
        "slave=3", f"drain {first}-7", f"stop {first}", f"rm {first}", f"keys revoke {first}-7",
        "slave=3", f"drain {second}-7", f"stop {second}", f"rm {second}", f"keys revoke {second}-7",
        "replace memoria1", "replace memoria2",
    ]  # fmt: skip
    assert host.running("slave") == ["slave 2"] * 2
    assert host.running("memoria1") + host.running("memoria2") == ["memoria 2"] * 2
    assert host.running("master") == ["master 1"], "its jobs would end with it"
    assert "update.sh --master replaces it" in ran.out


def test_there_are_never_fewer_slaves_than_there_were(host: Host) -> None:
    ran = host.run("registry/update.sh")
    counts = {int(number) for number in re.findall(r"\[(\d) slaves\]", "\n".join(ran.called))}
    assert counts == {2, 3}


def test_a_second_update_changes_nothing(host: Host) -> None:
    assert host.run("registry/update.sh", "--master").code == 0
    before = host.state()
    ran = host.run("registry/update.sh", "--master")
    assert (ran.code, changes(ran)) == (0, [])
    assert ran.out.count("nothing to do") == 4
    assert host.state() == before


def test_it_is_said_what_runs_and_what_comes_before_anything_is_replaced(host: Host) -> None:
    ran = host.run("registry/update.sh")
    told, _, _ = ran.out.partition("[2/4]")
    assert told.count(": runs slave 1 (…), gets slave 2 (…)") == 2
    for name in ("master", "memoria"):
        assert f": runs {name} 1 (…), gets {name} 2 (…)" in told
    again = host.run("registry/update.sh")
    assert again.out.count(": runs slave 2 (…), stays") == 2


def test_a_slave_is_stopped_when_it_has_ended_what_it_runs(host: Host) -> None:
    state = host.state()
    for slave in state["slaves"].values():
        slave["leases"] = 3
    host.write(state)
    ran = host.run("registry/update.sh")
    assert ran.code == 0, ran
    calls = "\n".join(line.split()[0] + " " + line.split()[1] for line in ran.called)
    drained = re.findall(r"hpczmq drain\n(.*?)docker stop", calls, re.DOTALL)
    assert len(drained) == 2
    assert all(part.count("hpczmq slaves") >= 4 for part in drained), (
        "it is asked until it has none"
    )
    assert "run again elsewhere" not in ran.out


def test_a_slave_that_takes_too_long_is_stopped_all_the_same_and_that_is_said(host: Host) -> None:
    state = host.state()
    for slave in state["slaves"].values():
        slave["leases"] = 1000
    host.write(state)
    ran = host.run("registry/update.sh", HPC_DRAIN_S="0")
    assert ran.code == 0, ran
    assert ran.out.count("is not done after 0 s: what it runs is run again elsewhere") == 2


def test_a_new_slave_that_does_not_become_ready_is_taken_away_and_nothing_else(host: Host) -> None:
    host.has_images("2", "broken")
    slaves = of_slaves(host)
    ran = host.run("registry/update.sh")
    assert ran.code == 1
    assert "the new slave was not ready after 0 s, and is taken away" in ran.err
    assert of_slaves(host) == slaves
    assert changes(ran)[0] == "slave=3"
    assert len(changes(ran)) == 2, "and the new one is removed"
    assert not (host.root / "dockerfiles/.env").exists(), "it is not the cluster's version"


def test_the_master_is_replaced_last_and_only_if_it_is_wished(host: Host) -> None:
    ran = host.run("registry/update.sh", "--master")
    assert ran.code == 0, ran
    assert changes(ran)[-2:] == ["replace memoria2", "replace master"]
    assert host.running("master") == ["master 2"]


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_master_with_jobs_stays_and_the_jobs_are_named(host: Host, state: str) -> None:
    known = host.state()
    known["jobs"] = [{"id": "j1", "state": "done"}, {"id": "j2", "state": state}]
    host.write(known)
    ran = host.run("registry/update.sh", "--master")
    assert ran.code == 1
    assert "would be gone with this master (j2): wait for them (hpczmq jobs), or cancel" in ran.err
    assert host.running("master") == ["master 1"]
    assert host.running("slave") == ["slave 2"] * 2, "the others are replaced while jobs run"


def test_nodes_that_the_master_would_refuse_are_not_started(host: Host) -> None:
    host.write({**host.state(), "protocol": 7})
    ran = host.run("registry/update.sh")
    assert (ran.code, changes(ran)) == (1, [])
    assert "the new images speak protocol 7, the master that runs 6" in ran.err
    assert "update.sh --master replaces the master first" in ran.err


def test_a_master_that_would_refuse_the_others_comes_first_if_no_job_is_there(host: Host) -> None:
    host.write({**host.state(), "protocol": 7})
    ran = host.run("registry/update.sh", "--master")
    assert ran.code == 0, ran
    assert changes(ran)[0] == "replace master"
    known = host.state()
    host.write({**known, "protocol": 8, "jobs": [{"id": "j1", "state": "running"}]})
    host.has_images("3")
    ran = host.run("registry/update.sh", "--master", HPC_VERSION="3")
    assert (ran.code, changes(ran)) == (1, [])
    assert "(j1)" in ran.err


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("docker push", "is not pushed"),
        ("pull --quiet", "the images can't be pulled"),
        ("up -d .*--scale", "one more slave does not start"),
        ("up -d --no-deps memoria1", "memoria1: does not start"),
        ("ping", "memoria1 answers: not in 0 s"),
        ("^hpczmq jobs", "the master does not tell its jobs"),
    ],
)
def test_an_update_that_fails_says_where(host: Host, pattern: str, told: str) -> None:
    host.fails(pattern)
    ran = host.run("registry/update.sh", "--master")
    assert ran.code == 1
    assert told in ran.err
    assert len(of_slaves(host)) == 2


def test_without_a_cluster_there_is_nothing_to_update(host: Host) -> None:
    host.write({**host.state(), "containers": []})
    ran = host.run("registry/update.sh")
    assert ran.code == 1
    assert (
        "no cluster runs here: start it (registry/full-deploy.sh), or say --distributed" in ran.err
    )


# --- Machines -----------------------------------------------------------------------------------


def there(ran: Ran) -> list[str]:
    """What machine.sh is to do, where."""
    return [
        re.sub(r".*@192.168.56.(\d+).* ESCLAVO=(\S*) bash \S+ (.*)", r"\1 \2 \3", line)
        for line in ran.called
        if "machine.sh" in line and line.startswith("ssh")
    ]


def test_machines_are_drained_replaced_and_ready_one_after_the_other(host: Host) -> None:
    host.fails("current")
    ran = host.run("registry/update.sh", "--distributed", "--master", HPC_SLAVES="2")
    assert ran.code == 0, ran
    done = [line for line in there(ran) if "versions" not in line and "mixes" not in line]
    assert done == [
        "11 esclavo1 current slave", "10 esclavo1 drain", "11 esclavo1 slave", "10 esclavo1 ready",
        "12 esclavo2 current slave", "10 esclavo2 drain", "12 esclavo2 slave", "10 esclavo2 ready",
        "10 maestro current memorias", "10 maestro memorias",
        "10 maestro current master", "10 maestro no-jobs", "10 maestro master",
    ]  # fmt: skip
    assert all(" HPC_DRAIN_S=300 " in line for line in ran.did if line.endswith(" drain"))


def test_machines_that_run_the_images_are_left_alone(host: Host) -> None:
    ran = host.run("registry/update.sh", "--distributed", "--master", HPC_SLAVES="2")
    assert ran.code == 0, ran
    assert {line.split(" ")[2] for line in there(ran)} <= {"versions", "mixes", "current"}
    assert ran.out.count("nothing to do") == 4


def test_machines_whose_master_would_refuse_the_others_wait_for_it(host: Host) -> None:
    host.fails("mixes", "current")
    ran = host.run("registry/update.sh", "--distributed")
    assert ran.code == 1
    assert {line.split(" ")[2] for line in there(ran)} == {"versions", "mixes"}
    ran = host.run("registry/update.sh", "--distributed", "--master")
    assert ran.code == 0
    orders = [line for line in there(ran) if line.split(" ")[2] in ("master", "slave", "no-jobs")]
    assert orders[:3] == ["10 maestro no-jobs", "10 maestro master", "11 esclavo1 slave"]


def test_a_master_on_a_machine_stays_while_it_has_jobs(host: Host) -> None:
    host.fails("current", "no-jobs")
    ran = host.run("registry/update.sh", "--distributed", "--master")
    assert ran.code == 1
    assert there(ran)[-1] == "10 maestro no-jobs"
