"""Machines by Vagrant, without one: what the Vagrantfile says, what slaves ask."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.debian import installed
from tests.integration.harness import ROOT

FOLDER: Final = ROOT / "deploy" / "vagrant"
STUB: Final = Path(__file__).with_name("vagrant_stub.rb")
TOKEN: Final = "a" * 32
FINGERPRINT: Final = "b" * 64


def ruby(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Ruby with the stand-in of Vagrant, in an environment that says nothing of a cluster."""
    installed(["ruby"], ["ruby"])
    mine = {name: text for name, text in os.environ.items() if not name.startswith("HPC_")}
    return subprocess.run(
        ["ruby", "-W", "-r", str(STUB), "-e", code], cwd=ROOT, check=False, capture_output=True,
        text=True, env={**mine, "VAGRANT_DOTFILE_PATH": "/nowhere", **env},
    )  # fmt: skip


def said(**env: str) -> Any:
    """What the Vagrantfile says."""
    done = ruby('load "Vagrantfile"', **env)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout)


# --- The Vagrantfile ----------------------------------------------------------------------------


def test_vagrant_takes_the_vagrantfile(tmp_path: Path) -> None:
    installed(["vagrant"], ["vagrant"])
    files = [ROOT / "Vagrantfile", *sorted(FOLDER.glob("*.rb")), STUB]
    for file in files:
        subprocess.run(["ruby", "-c", str(file)], check=True, capture_output=True)
    env = {**os.environ, "VAGRANT_HOME": str(tmp_path), "VAGRANT_DOTFILE_PATH": str(tmp_path / "d")}
    done = subprocess.run(
        ["vagrant", "validate", "-p"], cwd=ROOT, env=env, check=False, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_variables_it_is_the_cluster_that_was() -> None:
    machines = said()["machines"]
    assert list(machines) == ["maestro", "esclavo1"]
    for (name, machine), number, cpus, memory in zip(
        machines.items(), (10, 11), (2, 1), (2048, 1024), strict=True
    ):
        assert machine["hostname"] == name
        assert machine["networks"] == [{"kind": "private_network", "ip": f"192.168.56.{number}"}]
        for provider in ("virtualbox", "libvirt"):
            assert machine["providers"][provider]["cpus"] == cpus
            assert machine["providers"][provider]["memory"] == memory
        assert f"{memory}m" in machine["providers"]["docker"]["create_args"]
        assert machine["box"] == "debian/bookworm64"


def test_variables_say_how_many_how_large_and_where() -> None:
    machines = said(
        HPC_SLAVES="3", HPC_NET="10.1.2", HPC_VM_SLAVE_CPUS="4", HPC_VM_SLAVE_MEMORY="4096",
        HPC_VM_MASTER_MEMORY="8192", HPC_BOX="generic/debian12", HPC_VERSION="9.9",
    )["machines"]  # fmt: skip
    assert list(machines) == ["maestro", "esclavo1", "esclavo2", "esclavo3"]
    last = machines["esclavo3"]
    assert last["networks"][0]["ip"] == "10.1.2.13"
    assert last["box"] == "generic/debian12"
    assert last["providers"]["virtualbox"] == {
        "name": "hpczmq-esclavo3", "cpus": 4, "memory": 4096,
    }  # fmt: skip
    assert machines["maestro"]["providers"]["libvirt"]["memory"] == 8192
    node = next(one for one in last["provisioners"] if one["name"] == "node")
    assert node["env"] == {
        "HPC_REGISTRY": "10.1.2.1:5000", "HPC_VERSION": "9.9", "MAESTRO_IP": "10.1.2.10",
        "HPC_WAIT_S": "600", "ESCLAVO": "esclavo3", "HPC_SLAVE_CPUS": "4",
        "HPC_SLAVE_MEMORY": "3968m",
    }  # fmt: skip


def test_machines_that_are_there_are_not_forgotten(tmp_path: Path) -> None:
    for name, provider in (("esclavo2", "docker"), ("esclavo12", "virtualbox")):
        (tmp_path / "machines" / name / provider).mkdir(parents=True)
    (tmp_path / "machines/esclavo2/docker/id").touch()
    assert len(said(VAGRANT_DOTFILE_PATH=str(tmp_path))["machines"]) == 3
    (tmp_path / "machines/esclavo12/virtualbox/id").touch()
    assert len(said(VAGRANT_DOTFILE_PATH=str(tmp_path))["machines"]) == 13
    assert len(said(VAGRANT_DOTFILE_PATH=str(tmp_path), HPC_SLAVES="20")["machines"]) == 21


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [
        ("HPC_SLAVES", "245", "a whole number, 1..244"),
        ("HPC_SLAVES", "two", "a whole number, 1..244"),
        ("HPC_NET", "192.168.56.0", "three numbers, like 192.168.56"),
        ("HPC_NET", "192.168.256", "three numbers, like 192.168.56"),
        ("HPC_VM_MASTER_CPUS", "0", "a whole number, 1..256"),
        ("HPC_VM_MASTER_MEMORY", "2g", "megabytes, 1024..1048576"),
        ("HPC_VM_SLAVE_MEMORY", "511", "megabytes, 512..1048576"),
        ("HPC_REGISTRY", "registry", "HOST:PORT"),
        ("HPC_VERSION", "a b", "a tag: letters, digits, dots and dashes"),
        ("HPC_BOX", "https://a/b", "a box, like debian/bookworm64"),
        ("HPC_VM_BASE", "--pull", "an image with Debian"),
        ("HPC_WAIT_S", "-1", "seconds, 1..86400"),
    ],
)
def test_a_bad_value_is_named_with_what_it_must_be(name: str, value: str, must: str) -> None:
    done = ruby('load "Vagrantfile"', **{name: value})
    assert done.returncode == 1
    assert done.stderr == f"Vagrantfile: {name} = {value}: must be {must}\n"


def test_all_bad_values_are_told_at_once() -> None:
    done = ruby('load "Vagrantfile"', HPC_SLAVES="x", HPC_VM_SLAVE_CPUS="y")
    assert len(done.stderr.splitlines()) == 2


def test_machines_get_no_folder_of_the_host_and_no_key_of_the_registry() -> None:
    told = said(HPC_SLAVES="2")
    assert told["synced_folder"] == {"disabled": True}
    for name, machine in told["machines"].items():
        steps = machine["provisioners"]
        brought = [step["source"] for step in steps if step["name"] == "file"]
        assert not [path for path in brought if path.endswith(".key") or "secrets" in path]
        order = [step["name"] for step in steps if step["name"] != "file"]
        slave = name != "maestro"
        wanted = ["docker-engine", "join", "node", "ready"] if slave else ["docker-engine", "node"]
        assert order == wanted
        assert machine.get("after", []) == (["destroy"] if slave else [])


def test_what_machines_get_is_all_that_machine_sh_takes() -> None:
    steps = said()["machines"]["maestro"]["provisioners"]
    brought = {step["destination"].removeprefix("/tmp/hpczmq-deploy/") for step in steps
               if step["name"] == "file"}  # fmt: skip
    over_ssh = (ROOT / "registry/over-ssh.sh").read_text()
    for name in brought:
        assert Path(name).stem in over_ssh, "both bring the same"
    for part in ("common", "cluster", "machine", "trust"):
        assert f"registry/{part}.sh" in brought
    assert {"dockerfiles/compose.yaml", "dockerfiles/keys.sh"} <= brought


def test_machines_that_are_containers_take_processors_in_turn() -> None:
    done = ruby(
        'require "./deploy/vagrant/settings"; puts JSON.generate([[10, 2], [11, 1], [12, 1],'
        " [13, 8]].map { |n, cpus| Hpczmq::Settings.container(n, cpus, 512, 4) })"
    )
    made = [" ".join(one) for one in json.loads(done.stdout)]
    for arguments, cpus in zip(made, ("0,1", "3", "0", "0,1,2,3"), strict=True):
        assert f"--cpuset-cpus {cpus} " in arguments
        assert "--privileged" not in arguments


# --- A slave asks maestro -----------------------------------------------------------------------


def asked(code: str) -> Any:
    """Run Ruby with a site of two machines; what came of it."""
    done = ruby(f'require "./deploy/vagrant/join"; site = Site.new; {code}')
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout)


def test_a_slave_gets_its_token_and_nobody_sees_it() -> None:
    came = asked(
        f'site.maestro.answers = ["{TOKEN}\\n{FINGERPRINT}\\n"];site.report(site.step("join", 60))'
    )
    assert came["failed"] is None
    (command,) = came["slave"]
    for line in ("umask 077", "chmod 700 /opt/hpczmq/secrets", TOKEN, FINGERPRINT):
        assert line in command
    assert TOKEN not in "".join(came["told"])
    assert came["hidden"] == [TOKEN]


def test_a_slave_that_is_up_first_waits_and_says_for_what() -> None:
    came = asked(
        f'site.maestro.answers = [nil, "", "{TOKEN}\\n", "{TOKEN}\\n{FINGERPRINT}\\n"];'
        'site.report(site.step("join", 60))'
    )
    assert came["failed"] is None
    assert came["told"] == [
        "waits up to 60 s until maestro has made the token by which slaves join"
        " (vagrant up maestro)",
        "has what it joins by",
    ]


def test_a_slave_does_not_wait_for_ever() -> None:
    came = asked('site.maestro.up = false; site.report(site.step("join", 60))')
    assert came["failed"] == (
        "esclavo1: not in 60 s: maestro has made the token by which slaves join"
        " (vagrant up maestro)"
    )
    assert not came["maestro"]
    assert not came["slave"]


def test_a_slave_is_up_when_the_master_says_so() -> None:
    came = asked('site.maestro.answers = [nil, ""]; site.report(site.step("ready", 60))')
    assert came["failed"] is None
    assert len(came["maestro"]) == 2
    assert came["maestro"][0].startswith("ESCLAVO=esclavo1 bash ")
    came = asked('site.report(site.step("ready", 10))')
    assert "esclavo1: not in 10 s: the master says that esclavo1 is ready" in came["failed"]


def test_a_machine_that_is_destroyed_has_its_key_revoked() -> None:
    came = asked(
        'site.maestro.answers = ["the key esclavo1 is revoked\\n"];'
        "Hpczmq.forget(site.slave); site.report"
    )
    assert came["maestro"] == [
        "ESCLAVO=esclavo1 bash /opt/hpczmq/deploy/registry/machine.sh forget"
    ]
    assert came["told"] == ["the key esclavo1 is revoked"]
    gone = asked("site.maestro.up = false; Hpczmq.forget(site.slave); site.report")
    assert (gone["maestro"], gone["told"]) == ([], [])
