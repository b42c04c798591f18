"""What runs on machines of Vagrant's: its scripts there, and what maestro is asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.integration.harness import ROOT

FOLDER: Final = ROOT / "deploy" / "vagrant"
TOKEN: Final = "a" * 32
FINGERPRINT: Final = "b" * 64
#: What provisioning uses of any Debian.
TOOLS: Final = ("bash", "cat", "chmod", "cp", "env", "mkdir", "mv", "rm", "sh")


class Box:
    """A machine: an empty PATH but for the tools of any Debian and stand-ins that note calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.bin.mkdir()
        self.calls.touch()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(f"/bin/{tool}")

    def has(self, name: str, does: str = "exit 0") -> None:
        """Have a program."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.calls}"\n{does}\n')
        path.chmod(0o755)

    def did(self) -> list[str]:
        """What was called since the last time."""
        lines = self.calls.read_text().splitlines()
        self.calls.write_text("")
        return lines

    def run(self, script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a script of provisioning there."""
        return subprocess.run(
            ["/bin/bash", str(FOLDER / script), *arguments], check=False, capture_output=True,
            text=True, stdin=subprocess.DEVNULL, timeout=60,
            env={"PATH": str(self.bin), "HPC_FOLDER": str(self.folder / "opt"),
                 "HPC_BROUGHT": str(self.folder / "brought"), "HPC_REGISTRY": "h:5000", **env},
        )  # fmt: skip

    def bring(self, text: str = "echo") -> None:
        """What Vagrant brings."""
        (self.folder / "brought/registry").mkdir(parents=True)
        script = f'#!/bin/bash\n{text} "machine.sh $*"\n'
        (self.folder / "brought/registry/machine.sh").write_text(script)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A machine."""
    return Box(tmp_path)


def test_docker_comes_from_the_distribution(box: Box) -> None:
    box.has("apt-get")
    box.has("systemctl")
    assert box.run("docker.sh").returncode == 0
    update, install, start = box.did()
    assert update.endswith(" update")
    assert install.endswith(
        "install --no-install-recommends docker.io docker-compose iptables python3 curl"
        " ca-certificates"
    )
    assert start == "systemctl enable --quiet --now docker"


@pytest.mark.parametrize("compose", ["docker", "docker-compose"])
def test_docker_that_is_there_stays(box: Box, compose: str) -> None:
    box.has("docker", "exit 0" if compose == "docker" else "exit 1")
    box.has("docker-compose")
    box.has("apt-get")
    box.has("systemctl")
    ran = box.run("docker.sh")
    assert (ran.returncode, ran.stdout) == (0, "docker: is there already\n")
    assert not [call for call in box.did() if call.startswith("apt-get")]


@pytest.mark.parametrize(
    ("missing", "fails", "says"),
    [
        ("apt-get", "", "apt-get: not found: HPC_BOX must be a Debian"),
        ("", "update", "apt-get update: failed: this machine must reach the packages"),
        ("", "install", "apt-get install docker.io docker-compose: failed"),
    ],
)
def test_a_machine_without_packages_says_so(box: Box, missing: str, fails: str, says: str) -> None:
    box.has("systemctl")
    if not missing:
        box.has("apt-get", f'case " $* " in *" {fails} "*) exit 100 ;; esac')
    ran = box.run("docker.sh")
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"docker.sh: {says}")
    assert not [call for call in box.did() if call.startswith("systemctl")]


def test_a_node_starts_from_what_was_brought_and_again_without(box: Box) -> None:
    box.has("curl", "echo 200")
    box.bring()
    for _ in range(2):
        ran = box.run("node.sh", "slave")
        assert (ran.returncode, ran.stdout) == (0, "machine.sh slave\n"), ran.stderr
        assert not (box.folder / "brought").exists()
    box.bring("echo new")
    assert box.run("node.sh", "slave").stdout == "new machine.sh slave\n"
    assert sorted(path.name for path in (box.folder / "opt").iterdir()) == ["deploy"]


def test_a_node_waits_for_the_registry_and_says_so(box: Box) -> None:
    box.bring()
    box.has("curl", f'[ -e "{box.folder}/up" ] && echo 200')
    box.has("sleep", f'echo >"{box.folder}/up"')
    ran = box.run("node.sh", "master", HPC_WAIT_S="30")
    assert ran.stdout.splitlines() == [
        "waits up to 30 s for the registry h:5000: on the host, registry/start.sh starts it",
        "machine.sh master",
    ]


def test_a_node_without_a_registry_fails_with_the_remedy(box: Box) -> None:
    box.bring()
    box.has("curl", "exit 7")
    box.has("sleep")
    ran = box.run("node.sh", "master", HPC_WAIT_S="0")
    assert ran.returncode == 1
    assert ran.stderr == (
        "node.sh: h:5000: no registry answers there after 0 s: on the host run registry/start.sh,"
        " or name it with HPC_REGISTRY; then vagrant provision\n"
    )


def test_a_node_that_was_brought_nothing_says_so(box: Box) -> None:
    ran = box.run("node.sh", "slave")
    assert ran.returncode == 1
    assert ran.stderr.endswith("deploy: is not here: run vagrant provision\n")


# --- What maestro is asked ----------------------------------------------------------------------


def test_a_slave_is_not_taken_for_one_whose_name_begins_the_same(box: Box) -> None:
    slaves = [
        {"name": name, "state": state, "silent_s": silent, "leases": 0}
        for name, state, silent in (
            ("esclavo1", "left", 90), ("esclavo1", "ready", 2), ("esclavo10", "left", 0.1),
            ("0a1b2c-7", "ready", 0.1),
        )
    ]  # fmt: skip
    box.has("hpczmq", f"echo '{json.dumps(slaves)}'")
    for name, found in (
        ("esclavo1", "esclavo1 ready 0"), ("esclavo10", "esclavo10 left 0"), ("esclavo", ""),
        ("0a1b2c", "0a1b2c-7 ready 0"),
    ):  # fmt: skip
        assert on_maestro(box, f"slave_like {name} || true") == found


def test_a_slave_is_forgotten_with_all_the_keys_that_it_had(box: Box) -> None:
    known = [
        {"name": name, "role": role, "revoked": revoked}
        for name, role, revoked in (
            ("esclavo1", "slave", "2026-01-01"), ("esclavo1-2", "slave", ""),
            ("esclavo1-3", "slave", ""), ("esclavo10", "slave", ""), ("esclavo1-4", "client", ""),
            ("esclavo1-gpu", "slave", ""),
        )
    ]  # fmt: skip
    box.has("hpczmq", f"echo '{json.dumps(known)}'")
    assert on_maestro(box, "forget esclavo1").splitlines() == [
        "the key esclavo1-2 is revoked", "the key esclavo1-3 is revoked",
    ]  # fmt: skip
    assert box.did()[1:] == ["hpczmq keys revoke esclavo1-2", "hpczmq keys revoke esclavo1-3"]


def on_maestro(box: Box, code: str) -> str:
    """What a function of `registry/cluster.sh` prints, where `box` is the master's container."""
    (box.bin / "python3").unlink(missing_ok=True)
    (box.bin / "python3").symlink_to(os.path.realpath(sys.executable))
    source = f'source "{ROOT}/registry/cluster.sh"'
    words = 'say() { echo "$*"; }; in_master() { "$@"; }'
    done = subprocess.run(
        ["/bin/bash", "-euc", f"{source}; {words}; {code}"], env={"PATH": str(box.bin)},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_a_machine_leaves_the_registry_its_address(box: Box) -> None:
    for tool in ("awk", "basename", "cmp", "dirname", "grep", "nproc", "sed", "seq", "tail"):
        (box.bin / tool).symlink_to(shutil.which(tool) or tool)
    (box.bin / "python3").symlink_to(os.path.realpath(sys.executable))
    box.has("docker", 'case "$*" in "compose version") exit 1 ;; esac')
    box.has("docker-compose", f'echo "net $HPC_NET, master $MAESTRO_IP" >>"{box.calls}"')
    opt = box.folder / "opt"
    done = subprocess.run(
        [str(ROOT / "registry/machine.sh"), "slave"], check=False, capture_output=True, text=True,
        input=f"{TOKEN}\n{FINGERPRINT}\n",
        env={"PATH": str(box.bin), "HPC_FOLDER": str(opt), "HPC_REGISTRY": "127.0.0.1:5000",
             "MAESTRO_IP": "192.168.56.10", "HPC_DOCKER_CONFIG": str(box.folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    nets = {line for line in box.did() if line.startswith("net ")}
    assert nets == {"net 198.18.0, master 192.168.56.10"}
    settings = (opt / ".env").read_text().splitlines()
    assert "HPC_NET=198.18.0" in settings, "for Compose by hand, too"
    assert "MAESTRO_IP=192.168.56.10" in settings
