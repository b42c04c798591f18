"""The cluster on machines of Vagrant's, each of them a container with a Docker of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import pytest

import hpczmq
from hpczmq.model import SlaveState
from tests.containers.cluster import Site
from tests.containers.machines import UP_S, Machines
from tests.containers.test_cluster import MINUTE, info
from tests.integration.harness import until
from tests.integration.pictures import same

pytestmark = pytest.mark.slow

MASTER_VM = ["vm-master", "vm-memoria1", "vm-memoria2"]


@pytest.fixture(scope="module")
def machines(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """maestro and esclavo1."""
    with closing(Machines(site, tmp_path_factory.mktemp("machines"))) as made:
        made.open()
        yield made


@pytest.fixture
def two(machines: Machines) -> Machines:
    """The same, whatever the last test has done: one slave, ready."""
    for name in machines.names():
        if name not in ("maestro", "esclavo1"):
            machines.vagrant("destroy", "--force", name)
    if machines.names() != ["esclavo1", "maestro"] or not machines.services("maestro"):
        machines.vagrant("up", "--provision")
    machines.until_well(1)
    return machines


def compute(machines: Machines) -> None:
    """Have an image computed, and compare it."""
    with machines.client() as client:
        job = client.submit(hpczmq.Job("julia", MINUTE))
        assert same(job.result(UP_S), MINUTE)
        assert not info(client, job).failed


def keys(machines: Machines) -> dict[str, bool]:
    """The keys of slaves that the master knows, and whether each is good."""
    said = machines.on("maestro", "docker exec hpczmq_vm-master_1 hpczmq keys list --json"
                       " || docker exec hpczmq-vm-master-1 hpczmq keys list --json")  # fmt: skip
    return {key["name"]: not key["revoked"] for key in json.loads(said) if key["role"] == "slave"}


def test_machines_come_up_with_their_part_of_the_cluster_and_compute(two: Machines) -> None:
    assert list(two.services("maestro")) == MASTER_VM
    assert list(two.services("esclavo1")) == ["vm-slave"]
    assert two.on("esclavo1", "nproc") == "1"
    assert two.on("esclavo1", "hostname") == "esclavo1"
    (slave,) = [one for one in two.slaves() if one.state is SlaveState.READY]
    assert (slave.name, slave.slots) == ("esclavo1", 1)
    compute(two)
    # What an update needs: the network that Compose makes there is not the machines' own.
    code = "curl -s -o /dev/null -w '%{http_code}' http://" + two.registry + "/v2/"
    assert two.on("esclavo1", code) == "200"
    assert f"{two.net}.1/" not in two.on("esclavo1", "ip -o -4 address show")


def test_nobody_on_a_machine_but_root_reads_what_slaves_join_by(two: Machines) -> None:
    as_user = "su vagrant -c 'cat /opt/hpczmq/secrets/slave.token 2>/dev/null || echo no'"
    assert two.on("esclavo1", as_user) == "no"
    assert two.on("esclavo1", "ls /opt/hpczmq/secrets").split() == ["fingerprint", "slave.token"]
    token = two.on("esclavo1", "cat /opt/hpczmq/secrets/slave.token")
    left = two.on("esclavo1", f"grep -rls {token} /tmp /var/tmp /home /root /var/log || true")
    assert not left, "the token is only where it belongs"


def test_provisioning_again_changes_nothing(two: Machines) -> None:
    before = {name: two.services(name) for name in two.names()}
    two.vagrant("provision")
    assert {name: two.services(name) for name in two.names()} == before


def test_a_machine_that_was_off_is_in_the_cluster_again(two: Machines) -> None:
    two.vagrant("halt", "esclavo1")
    until(lambda: all(one.state is not SlaveState.READY for one in two.slaves()), "it has left")
    two.vagrant("up", "esclavo1")
    two.until_ready(1)
    assert list(keys(two)) == ["esclavo1"], "with the key that it had"


def test_one_more_machine_joins_goes_and_joins_again(two: Machines) -> None:
    two.vagrant("up", "esclavo2", HPC_SLAVES="2")
    two.until_ready(2)
    with two.client() as client:
        assert client.status().slots == 2
    assert "esclavo2" in two.vagrant("status"), "without the variable, too"
    known = keys(two)
    two.vagrant("destroy", "--force", "esclavo2")
    two.until_ready(1)
    mine = [name for name in known if name.startswith("esclavo2") and known[name]]
    assert len(mine) == 1
    assert not keys(two)[mine[0]], "the key of a machine that is gone is good for nothing"
    assert "esclavo2" not in two.vagrant("status")
    two.vagrant("up", "esclavo2", HPC_SLAVES="2")
    two.until_ready(2)
    assert sum(keys(two).values()) == 2
    compute(two)


def test_machines_that_have_docker_become_a_cluster_over_ssh(two: Machines) -> None:
    two.bare()
    env = {
        **two.env, "HPC_SLAVES": "1", "HPC_SECRETS": str(two.secrets),
        "HPC_ENV_FILE": str(two.folder / "env"), "HPC_SSH_OPTIONS": two.ssh_options(),
    }  # fmt: skip
    two.site.script("registry/deploy-distributed.sh", timeout_s=UP_S, **env)
    assert list(two.services("maestro")) == MASTER_VM
    two.key = str(two.secrets / f"admin-{two.address}.key")
    two.until_ready(1)
    compute(two)
    before = {name: two.services(name) for name in two.names()}
    two.site.script("registry/deploy-distributed.sh", timeout_s=UP_S, **env)
    assert {name: two.services(name) for name in two.names()} == before
