"""Machines that Vagrant makes, as containers with a Docker of their own, and a cluster on them."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.containers.cluster import PREFIX, Cluster, Site
from tests.containers.engine import docker, facts, nets, run
from tests.debian import installed

#: A machine or two from nothing: half a minute of packages, half a minute of images.
UP_S: Final = 600.0
#: What provisioning says where a container can't be a machine.
NO_MACHINE: Final = "docker: does not start"


class Machines(Cluster):
    """maestro and esclavo1, …, by the Vagrantfile; their registry is the site's."""

    def __init__(self, site: Site, folder: Path) -> None:
        super().__init__(site, folder)
        installed(["vagrant", "ssh", "scp"], ["vagrant", "openssh-client"])
        self.folder = folder
        self.network = f"{PREFIX}-machines-{os.getpid()}"
        self.net = next(nets())
        self.address = f"{self.net}.10"
        self.key = str(folder / "admin.key")
        self.secrets = folder / "secrets"
        #: Volumes of all machines that there were.
        self.volumes: set[str] = set()
        #: The host's registry under an address that machines reach.
        self.registry = f"{self.net}.2:5000"
        self.env = {
            "HPC_VM_BASE": site.base, "HPC_NET": self.net, "HPC_REGISTRY": self.registry,
            "HPC_WAIT_S": "300",
            "VAGRANT_HOME": str(folder / "home"), "VAGRANT_DOTFILE_PATH": str(folder / "dotfiles"),
            "VAGRANT_DEFAULT_PROVIDER": "docker", "VAGRANT_CHECKPOINT_DISABLE": "1",
        }  # fmt: skip

    def open(self) -> None:
        """The network, the registry in it, and the first two machines."""
        docker("network", "create", "--subnet", f"{self.net}.0/24", "--gateway", f"{self.net}.1",
               self.network)  # fmt: skip
        docker("network", "connect", "--ip", f"{self.net}.2", self.network, self._registry())
        try:
            self.vagrant("up")
        except AssertionError as error:
            if NO_MACHINE in str(error):
                pytest.skip(f"a container can't have a Docker of its own here: {error}")
            raise

    def _registry(self) -> str:
        label = f"label=com.docker.compose.project={self.site.registry_project}"
        return docker("ps", "--quiet", "--filter", label)

    def vagrant(self, *arguments: str, **env: str) -> str:
        """What a command of Vagrant's prints."""
        try:
            return run("vagrant", *arguments, timeout_s=UP_S, env={**self.env, **env})
        finally:
            for name in self.names():
                mounts = facts("container", self.container(name))["Mounts"]
                self.volumes |= {one["Name"] for one in mounts if one["Type"] == "volume"}

    def names(self) -> list[str]:
        """The machines that there are."""
        return sorted(path.parents[1].name for path in self._dotfiles().glob("*/docker/id"))

    def container(self, name: str) -> str:
        """The container that a machine is."""
        return (self._dotfiles() / name / "docker" / "id").read_text()

    def _dotfiles(self) -> Path:
        return self.folder / "dotfiles" / "machines"

    def on(self, name: str, command: str) -> str:
        """What a shell command of root prints on a machine."""
        return docker("exec", self.container(name), "bash", "-c", command)

    def take_key(self) -> None:
        """The admin's key, from maestro."""
        path = Path(self.key)
        path.touch(0o600)
        path.write_text(self.on("maestro", "cat /opt/hpczmq/secrets/admin.key") + "\n")

    def until_well(self, slaves: int) -> None:
        """Wait until so many slaves are ready, whichever cluster it is."""
        self.take_key()
        self.until_ready(slaves)

    def services(self, name: str) -> dict[str, str]:
        """The services that run on a machine, each with its container's id."""
        label = '{{.Label "com.docker.compose.service"}}'
        listed = self.on(name, f"docker ps --no-trunc --format '{label} {{{{.ID}}}}'")
        return dict(sorted(line.split() for line in listed.splitlines()))

    def bare(self) -> None:
        """Machines with Docker, and nothing of a cluster."""
        for name in self.names():
            self.on(
                name,
                "docker rm -fv $(docker ps -aq); docker volume rm $(docker volume ls -q);"
                " docker network rm hpczmq_cluster; rm -rf /opt/hpczmq; true",
            )

    def ssh_options(self) -> str:
        """How ssh gets into the machines."""
        known = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        keys = [f"-i {path}" for path in self._dotfiles().glob("*/docker/private_key")]
        return " ".join([known, "-o IdentitiesOnly=yes", *keys])

    def logs(self) -> list[tuple[str, str]]:
        """What the nodes said, for a test that failed."""
        said = []
        for name in self.names():
            with suppress(AssertionError, subprocess.TimeoutExpired):
                each = "for c in $(docker ps -aq); do docker logs --tail 40 $c 2>&1; done"
                said.append((name, self.on(name, each)))
        return said

    def close(self) -> None:
        """Destroy all machines, and see that nothing of them is left."""
        ids = [self.container(name) for name in self.names()]
        try:
            self.vagrant("destroy", "--force")
        finally:
            with suppress(AssertionError):
                docker("network", "disconnect", self.network, self._registry())
            with suppress(AssertionError):
                docker("network", "rm", self.network)
        assert not self.names()
        there = docker("ps", "--all", "--quiet", "--no-trunc").split()
        assert not set(ids) & set(there), "machines are left"
        assert not self.volumes & set(docker("volume", "ls", "--quiet").split()), "volumes are left"
        assert self.network not in docker("network", "ls", "--format", "{{.Name}}").split()
