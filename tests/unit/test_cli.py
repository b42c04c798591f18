from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpczmq import cli, commands, interrupts
from hpczmq.cluster import slots_each
from hpczmq.palettes import Look

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    """`main` sets handlers, which pytest needs back."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def python(text: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    """Run a few lines of Python in the clone."""
    command = [sys.executable, "-c", text]
    return subprocess.run(command, cwd=ROOT, check=False, text=True, **streams)


def test_most_commands_do_not_load_what_draws() -> None:
    heavy = "{'cmap', 'isal', 'numpy', 'rich.progress', 'tifffile'}"
    nodes = "import hpczmq.nodes.master, hpczmq.nodes.memoria, hpczmq.nodes.slave"
    text = f"import sys, hpczmq.cli; {nodes}; print(*{heavy} & {{*sys.modules}})"
    assert python(text, capture_output=True).stdout == "\n"


def test_the_tour_asks_for_a_cluster_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(target: Any, jobs: Any, out: Path, look: Look, **sizes: Any) -> int:
        assert slots_each(**sizes) >= 1
        assert len(jobs) == 6
        return 7

    monkeypatch.setattr(commands, "run", run)
    assert cli.main(["demo"]) == 7


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no disk that is always full")
def test_a_full_disk_behind_our_output_is_one_line_and_exit_code_1() -> None:
    text = "import sys; from hpczmq.cli import main; sys.exit(main(['--help']))"
    with open("/dev/full", "w") as full:
        done = python(text, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == "hpczmq: [Errno 28] No space left on device\n"


def test_a_hang_up_that_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupts.install(lambda: None)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_the_first_signal_interrupts_and_the_second_ends_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[Any] = []
    monkeypatch.setattr(os, "_exit", done.append)
    monkeypatch.setattr(os, "isatty", lambda stream: stream == 2)
    monkeypatch.setattr(os, "write", lambda stream, text: done.append((stream, text)))
    interrupts.install(lambda: done.append("cleaned up"))
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert done == []
    signal.raise_signal(signal.SIGTERM)
    assert done == ["cleaned up", (2, b"\x1b[?1047l\x1b[?25h"), 130]


def test_an_interrupt_while_the_program_loads_is_no_traceback() -> None:
    text = """
import signal, sys
sys.argv = ["/usr/bin/hpczmq"]
import hpczmq.interrupts
signal.raise_signal(signal.SIGINT)
"""
    done = python(text, capture_output=True)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_whoever_imports_us_keeps_their_own_handlers() -> None:
    text = "import signal, hpczmq.cli; signal.raise_signal(signal.SIGINT)"
    assert "KeyboardInterrupt" in python(text, capture_output=True).stderr
