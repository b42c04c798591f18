"""The definition file for Apptainer: by Apptainer, and step by step where that is not to be had."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.containers.engine import BUILD_S, docker, run
from tests.deploy.deffile import Stage, read
from tests.integration.harness import ROOT

pytestmark = pytest.mark.slow

FILE: Final = ROOT / "deploy/apptainer/hpczmq.def"
PREFIX: Final = f"hpczmq-tests-apptainer-{os.getpid()}"


@pytest.fixture
def containers() -> Iterator[list[str]]:
    """Names of containers, which are removed in the end."""
    names: list[str] = []
    yield names
    for name in names:
        docker("rm", "-f", "-v", name)


def started(stage: Stage, base: str, containers: list[str]) -> str:
    """A container that is what a stage starts from."""
    assert stage.header["from"] == "{{ BASE }}"
    name = f"{PREFIX}-{stage.header['stage']}"
    containers.append(name)
    docker("run", "-d", "--init", "--name", name, base, "sleep", "3600")
    return name


def shell(name: str, script: str) -> str:
    """What a section prints, run as Apptainer does."""
    return docker("exec", name, "/bin/sh", "-c", script, timeout_s=BUILD_S)


def test_each_step_of_the_definition_does_what_it_should(
    base: str, containers: list[str], tmp_path: Path
) -> None:
    builder, final = read(FILE.read_text())
    here = started(builder, base, containers)
    for _, what, where in builder.files:
        # Apptainer follows links, and so do we.
        copy = tmp_path / what
        if (ROOT / what).is_dir():
            shutil.copytree(ROOT / what, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / what, copy)
        docker("exec", here, "mkdir", "-p", str(Path(where).parent))
        docker("cp", str(copy), f"{here}:{where}")
    shell(here, builder.script("post", {"BASE": base}))
    there = started(final, base, containers)
    ((_, what, where),) = final.files
    pipe = f"docker exec {here} tar -C / -c {what[1:]} | docker exec -i {there} tar -C / -x"
    assert what == where
    run("sh", "-c", pipe, timeout_s=BUILD_S)
    environment = final.script("environment", {})
    said = shell(there, environment + final.script("test", {}))
    assert "juliaCython" in said
    as_run = final.script("runscript", {})
    command = ["sh", "-c", f"{environment}\n{as_run}", "sh", "--version"]
    assert docker("exec", there, *command).startswith("hpczmq ")
    compiler = "command -v gcc || test -e /opt/hpczmq/bin/pip"
    assert docker("exec", there, "sh", "-c", f"{compiler} || echo neither") == "neither"


def test_apptainer_builds_and_tests_it(base: str, tmp_path: Path) -> None:
    if shutil.which("apptainer") is None:
        pytest.skip("not found: apptainer, which neither Debian 12 nor PyPI has")
    image, archive = str(tmp_path / "hpczmq.sif"), str(tmp_path / "base.tar")
    docker("save", "-o", archive, base)
    definition = tmp_path / "hpczmq.def"
    text = FILE.read_text().replace("Bootstrap: docker", "Bootstrap: docker-archive")
    definition.write_text(text)
    build = ("apptainer", "build", "--build-arg", f"BASE={archive}", image, str(definition))
    run(*build, timeout_s=BUILD_S)  # which runs its %test, too
    run("apptainer", "test", image)
    assert run("apptainer", "run", image, "--version").startswith("hpczmq ")
