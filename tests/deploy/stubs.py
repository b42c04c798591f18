"""A host for the scripts of `registry/` without an engine: programs that stand in for Docker,
Compose, ssh and hpczmq, write down what they are called with, and behave as the real ones do as far
as the scripts can tell. What they know is a file, which each call reads and writes.
"""

from __future__ import annotations

import marshal
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.integration.harness import ROOT

REGISTRY: Final = "127.0.0.1:5000"
#: What the scripts use of any Debian; nothing else of this machine is in their path.
TOOLS: Final = (
    "awk", "basename", "bash", "cat", "chmod", "cmp", "cp", "cut", "date", "dirname", "env", "find",
    "grep", "head", "id", "ln", "ls", "mkdir", "mktemp", "mv", "nproc", "rm", "sed", "seq", "sh",
    "sha256sum", "sort", "tail", "tr", "wc",
)  # fmt: skip
STUBS: Final = ("docker", "docker-compose", "ssh", "scp", "curl", "hpczmq", "sleep")
#: Calls that only ask.
QUESTIONS: Final = re.compile(
    r"docker (info|inspect|ps|image inspect|compose version|logs|exec)\b|hpczmq (slaves|jobs|status"
    r"|ping)\b|curl|sleep|keys.sh --dry-run|docker-compose .* exec\b"
)


@dataclass(frozen=True)
class Ran:
    """What a script did."""

    code: int
    out: str
    err: str
    #: What it called, in order; without what only asks.
    did: list[str]
    #: All of it.
    called: list[str]

    @property
    def said(self) -> list[str]:
        """The commands that it said it would run."""
        return [line[2:] for line in self.out.splitlines() if line.startswith("+ ")]


class Host:
    """A checkout with the scripts, and the stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        #: Where scripts are called from.
        self.cwd = folder
        self.bin = folder / "bin"
        self.file = folder / "state"
        self.log = folder / "calls"
        for name in ("registry", "dockerfiles"):
            ignored = shutil.ignore_patterns("secrets", ".env", "certs", "auth")
            shutil.copytree(ROOT / name, self.root / name, ignore=ignored)
        self.script("dockerfiles/keys.sh", 'echo "keys.sh $*" >>"$STUB_LOG"')
        (self.root / "hpczmq").mkdir()
        shutil.copy(ROOT / "hpczmq/_version.py", self.root / "hpczmq")
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
        (self.bin / "python3").symlink_to(os.path.realpath(sys.executable))
        for stub in STUBS:
            self.stub(stub)
        self.env = {
            "PATH": str(self.bin), "HOME": str(folder), "STUB_STATE": str(self.file),
            "STUB_LOG": str(self.log), "HPC_READY_S": "0", "HPC_REGISTRY": REGISTRY,
        }  # fmt: skip
        self.write(
            {"images": {}, "containers": [], "slaves": {}, "jobs": [], "made": 0, "fails": {}}
        )

    def stub(self, name: str) -> None:
        """Have a stand-in."""
        program = Path(__file__).with_name("stub.py")
        self.script(self.bin / name, f'exec {sys.executable} -S -E {program} {name} "$@"')

    def script(self, name: str | Path, text: str) -> None:
        """Put a shell script somewhere."""
        path = self.root / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    # --- What the stand-ins know --------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All of it."""
        known: dict[str, Any] = marshal.loads(self.file.read_bytes())
        return known

    def write(self, state: dict[str, Any]) -> None:
        """Change it."""
        self.file.write_bytes(marshal.dumps(state))

    def fails(self, *patterns: str, **texts: str) -> None:
        """Let calls that match fail (or, with `says`, succeed and print that)."""
        state = self.state()
        for pattern in patterns:
            state["fails"][pattern] = texts.get("says")
        self.write(state)

    def has_images(self, version: str, name: str = "") -> None:
        """The three images are here, under a version and as the latest."""
        state = self.state()
        for role in ("master", "slave", "memoria"):
            for tag in (version, "latest"):
                state["images"][f"{REGISTRY}/hpczmq-{role}:{tag}"] = f"{role} {name or version}"
        self.write(state)

    def has_cluster(self, version: str = "1", slaves: int = 2, leases: int = 0) -> None:
        """A cluster runs, of a version's images."""
        self.has_images(version)
        compose = ["docker-compose", "-f", "compose.yaml", "-p", "hpczmq"]
        self._call([*compose, "up", "-d", "--scale", f"slave={slaves}"], HPC_VERSION=version)
        state = self.state()
        for slave in state["slaves"].values():
            slave["leases"] = leases
        self.write(state)

    def running(self, service: str) -> list[str]:
        """The images of a service's containers."""
        known = self.state()["containers"]
        return [one["image"] for one in known if one["service"] == service]

    # --- What is run --------------------------------------------------------------------------

    def run(self, script: str, *arguments: str, **env: str) -> Ran:
        """Run a script of the checkout."""
        self.log.write_text("")
        done = self._call([str(self.root / script), *arguments], **env)
        called = self.log.read_text().splitlines()
        did = [line for line in called if not QUESTIONS.match(line)]
        return Ran(done.returncode, done.stdout, done.stderr, did, called)

    def _call(self, command: list[str], **env: str) -> subprocess.CompletedProcess[str]:
        path = shutil.which(command[0], path=str(self.bin)) or command[0]
        return subprocess.run(
            [path, *command[1:]], cwd=self.cwd, env={**self.env, **env}, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
