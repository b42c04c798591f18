"""A host without containers: systemd as the first process of one, and hpczmq installed there."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.containers.engine import BUILD_S, COMMAND_S, docker, facts, run
from tests.integration.harness import ROOT, until

#: What makes a base image a host: systemd, and what building takes.
PACKAGES: Final = (
    *("systemd", "systemd-sysv", "dbus", "util-linux", "procps", "python3-venv", "python3-dev"),
    *("gcc", "libc6-dev"),
)
#: systemd wants its control groups writable and, for credentials, mounts that are shared: so it is
#: on a host, and not in a container.
INIT: Final = (
    "for mount in /sys/fs/cgroup /sys/fs/cgroup/*/; do"
    " mount -o remount,bind,rw $mount 2>/dev/null; done;"
    " mount --make-rshared / && exec /lib/systemd/systemd"
)
#: No more than systemd takes in a container; SYS_RESOURCE is not everybody's to give.
MAY: Final = (
    *("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--cgroupns", "private"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"),
)
#: Where it has this checkout, and hosts have kernels of their own.
SOURCES: Final = "/src"
KERNELS: Final = "/usr/local/lib/hpczmq-kernels"
LOADED: Final = "snooper:Snoop,snooper:Shy"
INSTALL: Final = f"{SOURCES}/deploy/systemd/install.sh"


def host_image(base: str) -> str:
    """The base image with systemd; what it is built from stays in the engine's cache."""
    image = "hpczmq-tests-host:latest"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_text(
            f"FROM {base}\nRUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install"
            f" -y --no-install-recommends {' '.join(PACKAGES)}\n"
        )
        run("docker", "build", "-q", "-t", image, folder, timeout_s=BUILD_S)
    return image


def installed_image(host: str) -> str:
    """The host with hpczmq, as install.sh leaves it; it is the caller's to remove."""
    image, name = f"hpczmq-tests-installed:{os.getpid()}", f"hpczmq-tests-install-{os.getpid()}"
    mounted = ("-v", f"{ROOT}:{SOURCES}:ro")
    try:
        docker("run", "--name", name, *mounted, host, INSTALL, timeout_s=BUILD_S)
        docker("commit", name, image)
    finally:
        docker("rm", "-f", name)
    return image


class Host:
    """A host that runs systemd."""

    def __init__(self, image: str, name: str) -> None:
        self.name = f"hpczmq-tests-{name}-{os.getpid()}"
        mounted = ("-v", f"{ROOT}:{SOURCES}:ro", "--env", "container=docker")
        docker(
            "run", "-d", "--name", self.name, "--hostname", name, *MAY, *mounted, image,
            "sh", "-c", INIT,
        )  # fmt: skip
        try:
            until(self._is_up, "systemd is up")
        except AssertionError:
            said = docker("logs", self.name)
            self.close()
            pytest.skip(f"systemd does not start in a container here: {said[-500:]}")

    def _is_up(self) -> bool:
        if not facts("container", self.name)["State"]["Running"]:
            raise AssertionError("it has ended")
        return self.ended("systemctl", "is-system-running")[1].strip() in ("running", "degraded")

    def ended(self, *command: str, stdin: str = "") -> tuple[int, str, str]:
        """How a command on the host ended: its exit code, what it printed, what it complained."""
        done = subprocess.run(
            ["docker", "exec", "-i", self.name, *command], check=False, input=stdin,
            capture_output=True, text=True, timeout=COMMAND_S,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def says(self, *command: str, stdin: str = "") -> str:
        """What a command on the host prints; fails with what it complains of."""
        code, out, complaint = self.ended(*command, stdin=stdin)
        assert code == 0, f"{' '.join(command)}\nexit code {code}\n{out}\n{complaint}"
        return out

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """Have a file on the host."""
        command = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
        self.says("sh", "-c", command, "sh", path, mode, stdin=text)

    def admin(self, *arguments: str, stdin: str = "") -> Any:
        """The JSON of a command of the cluster's admin, on the master's machine."""
        command = ("env", f"PYTHONPATH={KERNELS}", f"HPCZMQ_KERNELS={LOADED}")
        given = (*arguments, "--json")
        return json.loads(self.says(*command, "hpczmq-admin", *given, stdin=stdin))

    def unit(self, unit: str) -> dict[str, str]:
        """What systemd knows of a unit."""
        lines = self.says("systemctl", "show", unit).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def log(self, unit: str) -> str:
        """What a unit has said."""
        return self.says("journalctl", "--no-pager", "-o", "cat", "-u", unit)

    def logs(self) -> list[tuple[str, str]]:
        """What all of them said, for a test that failed."""
        with suppress(AssertionError):
            return [("units", self.says("journalctl", "--no-pager", "-n", "100"))]
        return []

    def close(self) -> None:
        """Leave nothing of it."""
        docker("rm", "-f", "-v", self.name)
