"""The definition file for Apptainer, looked at without Apptainer."""

from __future__ import annotations

import hashlib
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

import hpczmq
from hpczmq.cli import app
from tests.deploy.deffile import SCRIPTS, Stage, read
from tests.deploy.test_dockerfiles import dockerfile, tool
from tests.integration.harness import ROOT

FILE: Final = ROOT / "deploy/apptainer/hpczmq.def"
STAGES: Final = read(FILE.read_text())


def builder() -> Stage:
    return STAGES[0]


def final() -> Stage:
    return STAGES[-1]


def test_it_has_a_stage_that_builds_and_one_that_stays() -> None:
    assert [stage.header["stage"] for stage in STAGES] == ["builder", "final"]
    for stage in STAGES:
        assert stage.header["bootstrap"] == "docker"
        assert stage.header["from"] == "{{ BASE }}"
    assert {"environment", "runscript", "startscript", "test", "help"} <= final().sections.keys()
    assert "post" not in final().sections, "what is built is built in the other one"


def test_a_file_that_apptainer_would_refuse_is_refused() -> None:
    with pytest.raises(ValueError, match="is no section"):
        read("Bootstrap: docker\nFrom: x\n%posts\n    true\n")
    with pytest.raises(ValueError, match="before the first Bootstrap"):
        read("From: x\nBootstrap: docker\n")


def test_it_starts_from_what_the_dockerfiles_start_from() -> None:
    base = re.search(r"^ARG BASE=(.*)$", dockerfile("slave"), re.MULTILINE)
    assert base is not None
    # Each stage has variables of its own.
    assert [stage.arguments() for stage in STAGES] == [{"BASE": base[1]}] * 2


def test_what_is_copied_is_there_and_enough_to_build() -> None:
    copied = [(what, where) for source, what, where in builder().files if not source]
    for what, where in copied:
        assert (ROOT / what).exists(), what
        assert where == f"/src/{what}"
    copies = re.findall(r"^COPY (?!--from)(.*)$", dockerfile("slave"), re.MULTILINE)
    needed = {source.rstrip("/") for line in copies for source in line.split()[:-1]}
    # Links are followed: with hpczmq come the folders that it links to.
    assert {what for what, _ in copied} == needed - {"kernels", "nodes"}
    assert final().files == [("builder", "/opt/hpczmq", "/opt/hpczmq")]


@pytest.mark.parametrize(
    ("stage", "section"),
    [(n, name) for n, one in enumerate(STAGES) for name in SCRIPTS if name in one.sections],
)
def test_its_scripts_pass_shellcheck(stage: int, section: str, tmp_path: Path) -> None:
    script = tmp_path / f"{section}.sh"
    script.write_text("#!/bin/sh\n" + STAGES[stage].script(section, {}))
    tool("shellcheck", "--severity=style", str(script))


def test_a_step_that_fails_ends_the_build() -> None:
    for text in (builder().sections["post"], final().sections["test"]):
        assert text.lstrip().startswith("set -eu\n")


def test_it_runs_hpczmq_with_what_it_is_given() -> None:
    for section in ("runscript", "startscript"):
        assert final().sections[section].split() == ["exec", "/opt/hpczmq/bin/hpczmq", '"$@"']
    commands = {info.name for info in app.registered_commands}
    told = re.findall(r"apptainer run hpczmq\.sif (\w+)", final().sections["help"])
    assert told
    assert set(told) <= commands


def test_its_own_test_knows_the_right_counts() -> None:
    script = final().sections["test"]
    digest = re.search(r"^ *digest=(\w+)$", script, re.MULTILINE)
    shape = re.search(r"\$name,(\d+),(\d+),(\d+),", script)
    assert digest is not None
    assert shape is not None
    width, height, iterations = map(int, shape.groups())
    params = {"width": width, "height": height, "iterations": iterations}
    with ThreadPoolExecutor(1) as one:
        job = hpczmq.Job("julia", {**params, "algorithm": "Secuencial"})
        counts = hpczmq.execute(job, one)
    assert hashlib.sha256(counts.tobytes()).hexdigest() == digest[1]


@pytest.mark.parametrize("right", [True, False])
def test_its_own_test_tells_right_counts_from_wrong_ones(right: bool, tmp_path: Path) -> None:
    digest = re.search(r"digest=(\w+)", final().sections["test"])
    assert digest is not None
    # In the place of hpczmq a program that leaves what it was told to.
    fake = tmp_path / "hpczmq"
    fake.write_text(
        '#!/bin/sh\nwhile [ "$1" != --out ]; do shift; done\n'
        "for name in Secuencial Numpy juliaCython; do\n"
        f'mkdir -p "$2/$name"; echo \'"digest": "{digest[1] if right else "0"}"\''
        ' >"$2/$name/job.json"\ndone\n'
    )
    fake.chmod(0o755)
    script = final().sections["test"].replace("/opt/hpczmq/bin/hpczmq", str(fake))
    done = subprocess.run(["sh", "-c", script], check=False, capture_output=True, text=True)
    assert (done.returncode == 0) == right, done.stderr
    assert right or "gives other counts" in done.stderr
