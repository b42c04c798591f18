"""A Docker engine for tests: the machine's, or one that is started; images without the internet.

A base image is pulled where a registry can be reached. Elsewhere mmdebstrap makes a stand-in of it
from Debian's packages, with the host's certificates and its pip configuration, so that the
Dockerfiles build as they are. The registry's image is made of Debian's own `docker-registry`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from tests.debian import installed
from tests.integration.harness import ROOT, until

#: What the Dockerfiles build from unless told otherwise, and the stand-in for it.
PUBLIC_BASE: Final = "python:3.11-slim-bookworm"
STAND_IN: Final = "hpczmq-tests-base"
REGISTRY: Final = "hpczmq-tests-registry"
#: How long a registry may take to answer before it counts as out of reach.
PULL_S: Final = 120.0
#: A build, or a base: half of it on two cores that others use, too.
BUILD_S: Final = 600.0
#: Any other command of the engine.
COMMAND_S: Final = 120.0
#: Where a host keeps certificates of its own, and pip's configuration.
CERTIFICATES: Final = Path("/usr/local/share/ca-certificates")
PIP: Final = Path("/etc/pip.conf")
#: Packages that come with the base system, and take 50 MB for a move that was made long ago.
NOT_IN_IMAGES: Final = ("usrmerge", "perl", "perl-modules-5.36", "libperl5.36")


def docker(*arguments: str, timeout_s: float = COMMAND_S) -> str:
    """What a command of the engine prints; fails with what it complains of."""
    return run("docker", *arguments, timeout_s=timeout_s)


def run(
    *command: str, timeout_s: float = COMMAND_S, env: dict[str, str] | None = None,
    cwd: Path = ROOT,
) -> str:  # fmt: skip
    """What a command prints; fails with all that it said."""
    done = subprocess.run(
        command, cwd=cwd, env=environment(env), check=False, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=timeout_s,
    )  # fmt: skip
    said = f"{' '.join(command)}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, said
    return done.stdout.strip()


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of commands of the engine; BuildKit would ask a public registry."""
    mine = {name: text for name, text in os.environ.items() if not name.startswith("COMPOSE_")}
    return {**mine, "DOCKER_BUILDKIT": "0", **(more or {})}


def facts(kind: str, name: str) -> Any:
    """What the engine knows of a container, image, network or volume."""
    return json.loads(docker(kind, "inspect", name))[0]


@contextmanager
def engine() -> Iterator[None]:
    """The engine that runs here, or one of our own; skips where there can be none."""
    if _answers():
        yield
        return
    installed(["dockerd", "docker"], ["docker.io", "iptables"])
    if _answers():  # the package may have started it
        yield
        return
    if os.geteuid() != 0:
        pytest.skip("no Docker engine answers, and starting one takes root")
    if any(process.name() == "dockerd" for process in psutil.process_iter()):
        pytest.skip("a Docker engine runs here and does not answer: see DOCKER_HOST, and its log")
    with tempfile.TemporaryDirectory(prefix="dockerd-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out:
            daemon = subprocess.Popen(
                ["dockerd", "--pidfile", f"{folder}/pid", "--data-root", f"{folder}/data"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        try:
            until(lambda: _answers() or daemon.poll() is not None, "dockerd answers")
            if daemon.poll() is not None:
                pytest.skip(f"dockerd does not start here: {log.read_text()[-500:]}")
            yield
        finally:
            daemon.terminate()
            daemon.wait(COMMAND_S)


def sweep(prefix: str) -> None:
    """Take away what runs that were killed have left: all with names like PREFIX-…PID…."""
    ours = re.compile(rf"{prefix}-(?:[a-z]+-)*(\d+)")
    for kind, remove in (
        ("container", ["rm", "--force", "--volumes"]), ("network", ["rm"]), ("volume", ["rm"]),
    ):  # fmt: skip
        named = "{{.Names}}" if kind == "container" else "{{.Name}}"
        every = ["--all"] if kind == "container" else []
        for name in docker(kind, "ls", *every, "--format", named).split():
            found = ours.match(name)
            if found is not None and not psutil.pid_exists(int(found[1])):
                docker(kind, *remove, name)


def _answers() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "info"], check=False, capture_output=True, timeout=COMMAND_S)
    return asked.returncode == 0


def base() -> str:
    """A Debian with Python: the public image, or a stand-in."""
    if _pulled(PUBLIC_BASE):
        return PUBLIC_BASE
    installed(["mmdebstrap"], ["mmdebstrap"])
    if os.geteuid() != 0:
        pytest.skip(f"{PUBLIC_BASE} can't be pulled, and making a stand-in takes root")
    command = [
        "mmdebstrap", "--variant=apt", "--include=usr-is-merged,python3,ca-certificates",
        *[f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale")],
        f'--customize-hook=chroot "$1" apt-get -q -y purge {" ".join(NOT_IN_IMAGES)}',
        *[f"--customize-hook=copy-in {path} {path.parent}"
          for path in (CERTIFICATES, PIP) if path.exists()],
        '--customize-hook=chroot "$1" update-ca-certificates',
        "bookworm",
    ]  # fmt: skip
    recipe = hashlib.sha256("\n".join([*command, *_contents()]).encode()).hexdigest()[:16]
    image = f"{STAND_IN}:{recipe}"
    if not _there(image):
        with tempfile.TemporaryDirectory() as folder:
            archive = f"{folder}/base.tar"
            run("nice", *command, archive, timeout_s=BUILD_S)
            docker("import", archive, image)
    return image


def registry_image(base: str) -> str:
    """A registry: the public image, or Debian's program in the base image."""
    if _pulled("registry:2"):
        return "registry:2"
    installed(["docker-registry"], ["docker-registry"])
    program = shutil.which("docker-registry")
    assert program is not None
    image = f"{REGISTRY}:{base.rpartition(':')[2]}"
    if not _there(image):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(program, f"{folder}/registry")
            Path(folder, "Dockerfile").write_text(
                f"FROM {base}\nCOPY registry /bin/registry\n"
                'ENTRYPOINT ["registry"]\nCMD ["serve", "/etc/docker/registry/config.yml"]\n'
            )
            run("docker", "build", "-q", "-t", image, folder, timeout_s=BUILD_S)
    return image


def compose() -> list[str]:
    """The command of Compose: the plugin, or the program of its own."""
    plugin = subprocess.run(["docker", "compose", "version"], check=False, capture_output=True)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    installed(["docker-compose"], ["docker-compose"])
    return ["docker-compose"]


def nets() -> Iterator[str]:
    """The network of the README, and those beside it, as far as they are free here."""
    for number in range(56, 90):
        if f"192.168.{number}." not in run("ip", "-o", "route", "show"):
            yield f"192.168.{number}"
    pytest.skip("none of 192.168.56.0/24 … 192.168.89.0/24 is free here")


def _pulled(image: str) -> bool:
    if _there(image):
        return True
    try:
        docker("pull", "-q", image, timeout_s=PULL_S)
    except (AssertionError, subprocess.TimeoutExpired):
        return False
    return True


def _there(image: str) -> bool:
    return bool(docker("images", "-q", image))


def _contents() -> list[str]:
    """What of this host goes into the base, as words; and the month: Debian's packages move on."""
    files = [*sorted(CERTIFICATES.glob("*")), *([PIP] if PIP.exists() else [])]
    return [*[path.read_text(errors="replace") for path in files], time.strftime("%Y-%m")]
