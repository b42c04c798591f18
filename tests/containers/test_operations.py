"""The operations page, typed as it stands, on the cluster of the tests."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.containers.cluster import PROJECT, Cluster
from tests.containers.engine import run
from tests.integration.harness import ROOT

PAGE: Final = ROOT / "docs" / "operations.md"
#: The page says of this block that it is tried here.
TRIED: Final = re.compile(r"<!-- tried by .*? -->\n```console\n(.*?)```", re.DOTALL)


def commands() -> list[str]:
    """The commands of the block, without what is said of them."""
    block = TRIED.search(PAGE.read_text())
    assert block is not None
    return [line.removeprefix("$ ").partition("  #")[0].rstrip() for line in block[1].splitlines()]


@pytest.fixture
def folder(two_slaves: Cluster, tmp_path: Path) -> Path:
    """A copy of dockerfiles/ as `full-deploy.sh` leaves it."""
    shutil.copy(ROOT / "dockerfiles" / "compose.yaml", tmp_path)
    given = {
        **two_slaves.site.env, "COMPOSE_PROJECT_NAME": PROJECT, "COMPOSE_PROFILES": "one-host",
    }  # fmt: skip
    (tmp_path / ".env").write_text("".join(f"{key}={text}\n" for key, text in given.items()))
    return tmp_path


def test_every_command_of_the_page_does_what_it_says(two_slaves: Cluster, folder: Path) -> None:
    said = {line: run("bash", "-c", here(two_slaves, line), cwd=folder) for line in commands()}
    assert len(said) > 10
    assert "INFO master on port 5001" in said["docker compose logs --tail 50 master"]
    assert "joined cluster" in (folder / "slaves.log").read_text()
    assert "2 with 2 slots" in said["docker compose exec master hpczmq status"]
    assert "memoria memoria1" in said["docker compose exec memoria1 hpczmq ping 127.0.0.1:5003"]


def here(cluster: Cluster, line: str) -> str:
    """A command of the page for this engine, this network, and nobody at the keyboard."""
    program, net = " ".join(cluster.site.compose), cluster.site.env["HPC_NET"]
    line = line.replace("docker compose exec", "docker compose exec -T")
    return line.replace("docker compose", program).replace("192.168.56", net)
