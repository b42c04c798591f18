"""A cluster with keys, as its users have it: roles, tokens, revocation, rotation."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any

import pytest

import hpczmq
from hpczmq import keyfiles
from hpczmq.identity import KeyRole
from hpczmq.keyring import Keyring
from hpczmq.model import SlaveState
from tests.integration.harness import Ended, Lab, until


class Cluster:
    """A master with keys, and what its admin does."""

    def __init__(self, lab: Lab, *roles: KeyRole) -> None:
        self.lab = lab
        self.ring = Keyring.init(lab.folder / "keys", time.time())
        for role in roles:
            self.ring.add(f"{role.name.lower()}1", role, time.time())
        self.env = {"HPCZMQ_KEYS": str(self.ring.folder)}
        self.master = lab.master(env=self.env)

    def keys(self, *arguments: str) -> Any:
        return self.lab.run("keys", *arguments, "--json", env=self.env).fine().json()

    def says(self, who: str, *arguments: str) -> Ended:
        """A command with somebody's key."""
        key = {"HPCZMQ_KEY": str(self.ring.folder / f"{who}.key")}
        return self.lab.run(*arguments, "--master", self.master.address, env=key)

    def client(self, who: str) -> hpczmq.Client:
        """A client with somebody's key."""
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("HPCZMQ_KEYS")
            patch.setenv("HPCZMQ_KEY", str(self.ring.folder / f"{who}.key"))
            return hpczmq.Client(self.master.address, timeout=60)


def state_of(admin: hpczmq.Client, name: str) -> SlaveState | None:
    return {row.name: row.state for row in admin.slaves()}.get(name)


def test_each_role_does_what_is_its_own(lab: Lab) -> None:
    cluster = Cluster(lab, KeyRole.SLAVE, KeyRole.CLIENT, KeyRole.VIEWER)
    cluster.ring.add("client2", KeyRole.CLIENT, time.time())
    lab.slave(cluster.master.address, "slave1", env=cluster.env)
    picture = {"algorithm": "Numpy", "width": 64, "height": 48, "iterations": 50}
    with (
        cluster.client("client1") as one,
        cluster.client("client2") as other,
        cluster.client("viewer1") as viewer,
    ):
        job = one.submit(hpczmq.Job("julia", picture))
        counts = job.result(60)
        for forbidden in (lambda: other.jobs([job.id]), lambda: other.cancel([job.id])):
            with pytest.raises(hpczmq.Refused, match="is not known here"):
                forbidden()
        assert (viewer.job(job.id).result(60) == counts).all()
        with pytest.raises(hpczmq.NotAllowed, match="has the role viewer"):
            viewer.hand_in(hpczmq.Job("julia", picture))
        with pytest.raises(hpczmq.NotAllowed, match="admin may"):
            one.policy("round-robin")
    assert "may not be a client" in cluster.says("slave1", "status").refused(4)
    # Without a key, and with one that others may read.
    bare = lab.run("status", "--master", cluster.master.address)
    assert "asks for a key" in bare.refused(3)
    (cluster.ring.folder / "viewer1.key").chmod(0o640)
    assert "chmod 600" in cluster.says("viewer1", "status").refused(2)


def test_a_slave_joins_by_a_token_and_is_out_when_its_key_is_revoked(lab: Lab) -> None:
    cluster = Cluster(lab)
    made = cluster.keys("token", "--role", "slave", "--uses", "1")
    own = lab.folder / "elsewhere"
    given = {
        "HPCZMQ_KEYS": str(own),
        "HPCZMQ_TOKEN": made["token"],
        "HPCZMQ_FINGERPRINT": made["fingerprint"],
    }
    with cluster.client("admin") as admin:
        bind = "--bind", "127.0.0.1:0"
        first = lab.slave(cluster.master.address, "uno", *bind, env=given)
        until(lambda: state_of(admin, "uno") is SlaveState.READY, "uno is ready")
        # Its own key is good for asking how it is, which is how containers look after themselves.
        asked = lab.run("ping", first.address, env={"HPCZMQ_KEY": str(own / "slave.key")})
        assert "slave uno" in asked.fine().out
        assert os.stat(own / "slave.key").st_mode & 0o777 == 0o600
        first.end()
        # It has its key now, and the token is used up.
        again = lab.slave(cluster.master.address, "uno", env={"HPCZMQ_KEYS": str(own)})
        until(lambda: state_of(admin, "uno") is SlaveState.READY, "uno is back")
        other = {**given, "HPCZMQ_KEYS": str(lab.folder / "third")}
        late = lab.launch("slave", "--master", cluster.master.address, "--bind", "off", env=other)
        assert "hpczmq keys token" in late.ended().refused(4)
        began_s = time.monotonic()
        cluster.ring.revoke("uno", time.time())
        cluster.master.until_said("slave uno is lost (its key was revoked)")
        again.until_said("the key is none that may come in")
        print(f"revoked and kept out in {time.monotonic() - began_s:.2f} s")
    again.end()
    keys = [json.loads(path.read_text()) for path in lab.folder.glob("*/*.key")]
    for name, words in lab.said():
        assert made["token"] not in words, f"{name} tells the token"
        assert not any(key["secret"] in words for key in keys), f"{name} tells a secret"


def test_a_node_answers_its_own_key_while_its_master_is_away(lab: Lab) -> None:
    cluster = Cluster(lab, KeyRole.SLAVE, KeyRole.MEMORIA)
    cluster.master.end()
    address, env = cluster.master.address, cluster.env
    slave = lab.slave(address, "slave1", "--bind", "127.0.0.1:0", env=env)
    for node, name in ((slave, "slave1"), (lab.memoria(address, env=env), "memoria1")):
        own = {"HPCZMQ_KEY": str(cluster.ring.folder / f"{name}.key")}
        assert f" {name} " in lab.run("ping", node.address, env=own).fine().out


def test_a_slave_without_a_name_keeps_the_one_that_it_joined_with(lab: Lab) -> None:
    cluster = Cluster(lab)
    made = cluster.keys("token", "--role", "slave")
    given = {
        "HPCZMQ_KEY": str(lab.folder / "own" / "node.key"),
        "HPCZMQ_TOKEN": made["token"],
        "HPCZMQ_FINGERPRINT": made["fingerprint"],
    }
    launch = "slave", "--master", cluster.master.address, "--bind", "off"
    first = lab.node(*launch, env=given)
    first.end()
    again = lab.node(*launch, env=given)
    assert again.facts["name"] == first.facts["name"] == f"{socket.gethostname()}-{first.pid}"
    again.end()


def test_the_clusters_key_changes_while_a_job_runs(lab: Lab) -> None:
    cluster = Cluster(lab, KeyRole.SLAVE, KeyRole.MEMORIA)
    lab.slave(cluster.master.address, "slave1", env=cluster.env)
    memoria = {**cluster.env, "HPCZMQ_NAME": "memoria1"}
    lab.memoria(cluster.master.address, env=memoria)
    with cluster.client("admin") as client:
        until(lambda: client.status().slots, "the slave is there")
        futures = client.map("sleep", [{"seconds": 0.05}] * 60)
        coming = cluster.keys("rotate", "--after", "1s")["fingerprint"]
        cluster.master.until_said(f"the cluster's key is {coming} from now on")
        assert [future.result(60) for future in futures] == [0.05] * 60
        until(lambda: client.status().slaves == 1, "the slave is back")
        until(lambda: client.metrics(), "the memoria answers")
    file = keyfiles.read(cluster.ring.folder / "slave1.key")
    assert (file.cluster.hex(), file.next_key) == (coming, b"")
    with cluster.client("admin") as client:
        assert client.status().memorias


def test_who_goes_beyond_this_machine_is_told_how_to_do_it_with_keys(lab: Lab) -> None:
    words = lab.run("master", "--bind", "0.0.0.0:0").refused()
    assert "`hpczmq keys init`" in words
    assert "`hpczmq keys add NAME --role …`" in words
    assert (
        "`hpczmq keys add NAME --role …`"
        in lab.run("slave", "--master", "10.1.2.3", "--bind", "off").refused()
    )
    master = lab.master("--bind", "0.0.0.0:0", "--insecure")
    seen = lab.run("status", "--master", master.address).fine()
    assert "insecure  everybody who reaches the master may use it" in seen.out
