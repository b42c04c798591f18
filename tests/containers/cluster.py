"""The cluster of `dockerfiles/compose.yaml`, made by the scripts that users make it with."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

import hpczmq
from hpczmq._version import __version__
from hpczmq.model import SlaveInfo, SlaveState
from tests.containers.engine import (
    BUILD_S,
    compose,
    docker,
    facts,
    nets,
    registry_image,
    run,
)
from tests.integration.harness import ROOT, until

ROLES: Final = ("master", "slave", "memoria")
#: The project of Compose: another one than a cluster that somebody has here.
PREFIX: Final = "hpczmq-tests"
PROJECT: Final = f"{PREFIX}-{os.getpid()}"
#: What the engine says of a network that another one has.
TAKEN: Final = ("Address already in use", "Pool overlaps")
#: A slave of a container that is busy starting others may take so long to be ready.
READY_S: Final = 120.0


class Site:
    """A host with a registry, and our images in it.

    Args:
        base: the image to build from.
        folder: for what the scripts leave, secrets among it.
    """

    def __init__(self, base: str, folder: Path) -> None:
        self.base = base
        self.folder = folder
        self.registry = f"127.0.0.1:{_free_port()}"
        self.registry_project = re.sub(r"[.:]", "-", f"{PROJECT}-registry-{self.registry}")
        self.compose = compose()
        self.revision = run("git", "rev-parse", "HEAD")
        #: What the scripts go by.
        self.env = {
            "HPC_BASE": base,
            "HPC_REGISTRY": self.registry,
            "HPC_REGISTRY_IMAGE": registry_image(base),
            "HPC_SECRETS": str(folder / "secrets"),
            "HPC_ENV_FILE": str(folder / ".env"),
            "HPC_SLAVES": "2",
            "COMPOSE_PROJECT_NAME": PROJECT,
        }

    def open(self) -> None:
        """Build, push, remove, pull."""
        self.script("registry/start.sh")
        self.script("registry/build-all-images.sh", timeout_s=BUILD_S)
        self.script("registry/push.sh", timeout_s=BUILD_S)
        for role in ROLES:
            docker("rmi", *self.tags(role))
        for role in ROLES:
            for name in self.tags(role):
                docker("pull", "-q", name, timeout_s=BUILD_S)
            versions = {facts("image", name)["Id"] for name in self.tags(role)}
            assert len(versions) == 1, f"{role}: latest is another image than {__version__}"

    def image(self, role: str, version: str = __version__) -> str:
        """The name of an image in the registry."""
        return f"{self.registry}/hpczmq-{role}:{version}"

    def tags(self, role: str) -> list[str]:
        """All the names of an image."""
        return [self.image(role), self.image(role, "latest")]

    def script(self, path: str, *arguments: str, timeout_s: float = 120.0, **env: str) -> str:
        """What a script of the repository prints."""
        return run(str(ROOT / path), *arguments, timeout_s=timeout_s, env={**self.env, **env})

    def close(self) -> None:
        """Leave nothing: no registry, no image of ours but what later builds are quicker by."""
        self.script("registry/start.sh", "--remove")
        ours = f"reference={self.registry}/*"
        while left := docker("images", "--filter", ours, "--format", "{{.ID}}").split():
            docker("rmi", "--force", left[0])


class Cluster:
    """Master, memorias and slaves in containers, with fixed addresses, and who uses them."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        #: Where results go.
        self.out = folder
        self.address = ""
        self.key = str(folder.parent / "none")

    # --- Compose ------------------------------------------------------------------------------

    def compose(self, *arguments: str, **env: str) -> str:
        """A command of Compose."""
        command = [*self.site.compose, "-f", str(ROOT / "dockerfiles/compose.yaml"), "-p", PROJECT]
        return run(*command, "--profile", "one-host", *arguments, env={**self.site.env, **env})

    def up(self) -> None:
        """Make the keys, start everything, wait until it is there."""
        self.site.script("dockerfiles/keys.sh")
        self.key = f"{self.site.env['HPC_SECRETS']}/admin.key"
        for net in nets():
            self.site.env["HPC_NET"], self.address = net, f"{net}.10"
            try:
                self.compose("up", "-d", "--scale", "slave=2")
                break
            except AssertionError as error:  # somebody may have taken it this moment
                if not any(words in str(error) for words in TAKEN):
                    raise
                self.close()
        self.until_ready(2)

    def scale(self, slaves: int) -> None:
        """Have so many slaves, all of them ready; what was paused or stopped is none."""
        for container in self.containers("slave", all_of_them=True):
            state = facts("container", container)["State"]
            if state["Paused"]:
                docker("unpause", container)
            if state["Status"] in ("exited", "dead"):
                docker("rm", "-v", container)
        self.compose("up", "-d", "--no-recreate", "--scale", f"slave={slaves}")
        self.until_ready(slaves)

    def containers(self, service: str, all_of_them: bool = False) -> list[str]:
        """The containers of a service, by their names in order."""
        labels = f"label=com.docker.compose.project={PROJECT}"
        more = ["--all"] if all_of_them else []
        named = docker(
            "ps", *more, "--filter", labels,
            "--filter", f"label=com.docker.compose.service={service}", "--format", "{{.Names}}",
        )  # fmt: skip
        return sorted(named.split())

    def name_of(self, container: str) -> str:
        """The name that the slave in a container goes by."""
        host = facts("container", container)["Config"]["Hostname"]
        return next(one.name for one in self.slaves() if one.name.startswith(host))

    def logs(self) -> list[tuple[str, str]]:
        """What each container said, for a test that failed."""
        with suppress(AssertionError):
            return [("containers", self.compose("logs", "--no-color", "--tail=60"))]
        return []

    # --- Commands -----------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """Of who uses the cluster from the host."""
        return {"HPCZMQ_KEY": self.key, "HPCZMQ_KEYS": "", "HPCZMQ_MASTER": self.address}

    def says(self, *arguments: str, timeout_s: float = 120.0) -> str:
        """What a command of hpczmq prints, on the host."""
        command = [sys.executable, "cli.py", *arguments]
        return run(*command, env=self.environment(), timeout_s=timeout_s)

    def client(self) -> hpczmq.Client:
        """A client on the host, with the admin's key."""
        with pytest.MonkeyPatch.context() as patch:
            for name, text in self.environment().items():
                patch.setenv(name, text)
            return hpczmq.Client(self.address, timeout=60)

    def slaves(self) -> Sequence[SlaveInfo]:
        """All slaves that the master knows."""
        with self.client() as client:
            return client.slaves()

    def until_ready(self, count: int) -> None:
        """Wait until so many slaves are ready, and no other one is."""
        said = f"{count} slaves are ready"
        until(lambda: self._ready() == count, said, READY_S)

    def _ready(self) -> int:
        try:
            return sum(one.state is SlaveState.READY for one in self.slaves())
        except hpczmq.HpczmqError:
            return -1

    def close(self) -> None:
        """Stop everything, and see that nothing of it is left."""
        self.compose("down", "--volumes", "--remove-orphans")
        label = f"label=com.docker.compose.project={PROJECT}"
        for kind, all_of_them in (("ps", ["-a"]), ("network ls", []), ("volume ls", [])):
            left = docker(*kind.split(), "-q", *all_of_them, "--filter", label)
            assert not left, f"left behind ({kind}): {left}"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
