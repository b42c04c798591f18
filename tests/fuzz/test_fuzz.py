"""The corpus is replayed, whole; and for some seconds the fuzzer looks for more."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORPUS = HERE / "corpus"
#: Seconds of each target in `make test`; they run one after the other.
SECONDS = 3
CORPUS_BYTES_MAX = 300_000


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m tests.fuzz …`; without coverage, since the time is short."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    return subprocess.run(command, cwd=ROOT, env=ours, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("target", TARGETS)
def test_every_input_of_the_corpus_is_taken(target: str) -> None:
    inputs = sorted((CORPUS / target).iterdir())
    assert len(inputs) > 20, "the corpus is there"
    for path in inputs:
        try:
            TARGETS[target](path.read_bytes())
        except Exception as error:
            pytest.fail(f"{error!r}: replay it with: python -m tests.fuzz {target} {path}")


def test_the_corpus_is_small() -> None:
    sizes = [path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(sizes) < CORPUS_BYTES_MAX, "make fuzz keeps the shortest inputs; merge again"


def test_every_folder_of_the_corpus_has_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheel for this Python")
@pytest.mark.parametrize("target", TARGETS)
def test_some_seconds_of_fuzzing_find_nothing(target: str, tmp_path: Path) -> None:
    done = fuzz(target, "--seconds", str(SECONDS), "--seed", "1", "--into", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    runs = re.search(r"Done (\d+) runs in", done.stderr)
    assert runs is not None
    assert int(runs[1]) > 100


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheel for this Python")
def test_an_input_that_fails_is_kept_with_the_command_that_replays_it(
    tmp_path: Path,
) -> None:
    done = fuzz("sabotage", "--seconds", "20", "--into", str(tmp_path))
    assert done.returncode != 0
    line = next(line for line in done.stdout.splitlines() if "replay it with" in line)
    command = line.split("python -m ")[1].split()
    again = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert again.returncode != 0
    assert again.stderr.splitlines()[-1] == "AssertionError: found"
    Path(command[-1]).unlink()
