"""The fuzzer by hand: replay an input, or look for new ones.

    python -m tests.fuzz TARGET FILE…                   replays inputs; the last line is an error's
    python -m tests.fuzz TARGET --seconds 60            looks for inputs that reach what is new
    python -m tests.fuzz TARGET --seconds 60 --grow     and puts the shortest in the corpus

Looking takes atheris (libFuzzer for Python), which has wheels for some platforms only. Of each new
line that an input reaches it keeps the input, and goes on from there. An input that fails is
written to a file, with the command that replays it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORPUS = HERE / "corpus"
#: Where inputs gather between runs; and where those that fail are put. Neither is committed.
FOUND, FAULTS = ROOT / ".cache" / "fuzz", ROOT / ".cache" / "fuzz-faults"
INPUT_BYTES_MAX = 1_024
#: Names the program that libFuzzer is to start in its place, if it has to.
_ITSELF = "FUZZ_ITSELF"


def main() -> None:
    """Replay, or fuzz."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--runs", type=int, default=-1, help="end after so many inputs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--into", type=Path, help="where inputs gather, if not for the next run")
    parser.add_argument("--grow", action="store_true", help="keep what is new in the corpus")
    # What --grow does at its end: flags as libFuzzer has them.
    parser.add_argument("--flags", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.files:
        from tests.fuzz import targets

        for path in given.files:
            getattr(targets, given.target)(path.read_bytes())
        print(f"{len(given.files)} inputs: nothing is wrong")
    elif given.flags:
        _fuzz(given.target, given.flags)
    elif given.grow:
        _grow(given.target, given.seconds, given.seed)
    else:
        flags = [f"-seed={given.seed}", f"-max_total_time={given.seconds}", f"-runs={given.runs}"]
        into, kept = given.into or FOUND / given.target, CORPUS / given.target
        into.mkdir(parents=True, exist_ok=True)
        _fuzz(given.target, [*flags, str(into), *([str(kept)] if kept.exists() else [])])


def _grow(target: str, seconds: int, seed: int) -> None:
    """Look for new inputs, and put the least that reaches the same lines in the corpus."""
    command = [sys.executable, "-m", "tests.fuzz", target]
    found, kept = FOUND / target, CORPUS / target
    subprocess.run([*command, "--seconds", str(seconds), "--seed", str(seed)], check=True)
    kept.mkdir(parents=True, exist_ok=True)
    for path in kept.iterdir():
        path.replace(found / path.name)
    with tempfile.TemporaryDirectory() as folder:
        # libFuzzer merges in processes of its own, each of which starts what it was called as.
        itself = Path(folder) / "fuzz"
        itself.write_text(f'#!/bin/sh\nexec {shlex.join(command)} --flags "$@"\n')
        itself.chmod(0o700)
        environment = {**os.environ, _ITSELF: str(itself)}
        flags = ["-set_cover_merge=1", str(kept), str(found)]
        subprocess.run([itself, *flags], check=True, env=environment)


def _fuzz(target: str, flags: list[str]) -> None:
    import atheris  # only here: most machines replay

    with atheris.instrument_imports(include=["hpczmq"]):
        from tests.fuzz import targets

    run = getattr(targets, target)

    def once(data: bytes) -> None:
        try:
            run(data)
        except Exception:
            path = FAULTS / f"{target}-{hashlib.sha256(data).hexdigest()[:12]}"
            path.write_bytes(data)
            print(f"\n{path}: replay it with: python -m tests.fuzz {target} {path}", flush=True)
            raise

    FAULTS.mkdir(parents=True, exist_ok=True)
    length = [f"-max_len={INPUT_BYTES_MAX}", "-len_control=0"]
    itself = os.environ.get(_ITSELF, "fuzz")
    atheris.Setup([itself, f"-artifact_prefix={FAULTS}/", *length, "-timeout=30", *flags], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
