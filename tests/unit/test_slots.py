"""Worker processes come and go as they may; the slave that owns them stays."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from hpczmq import limits
from hpczmq.nodes import slots as module
from hpczmq.nodes.slots import Slots
from hpczmq.worker import SlotDied


class Poller:
    """Remembers which descriptors are watched."""

    def __init__(self) -> None:
        self.watched: set[int] = set()

    def watch(self, fd: int, write: bool = False) -> None:
        self.watched.add(fd)

    def unwatch(self, fd: int) -> None:
        self.watched.remove(fd)


class Time:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Process:
    """A process as `Popen` gives it; ends by itself when it has an exit code."""

    def __init__(self, pid: int, time: Time, code: int | None) -> None:
        self.pid, self.time, self.code = pid, time, code

    def wait(self, timeout: float | None = None) -> int:
        if self.code is None:
            assert timeout is not None, "waits for ever for what nobody killed"
            self.time.now += timeout
            raise subprocess.TimeoutExpired("worker", timeout)
        return self.code


class Bench:
    """Slots over processes that are not there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.poller, self.time = Poller(), Time()
        self.slots = Slots(self.poller)  # type: ignore[arg-type]  # all of it that they use
        self.processes: list[Process] = []
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        self.ends_with: int | None = 0
        self.fails_with = 0
        self._socketpair = socket.socketpair
        monkeypatch.setattr(module, "time", self.time)
        monkeypatch.setattr(socket, "socketpair", self.socketpair)
        monkeypatch.setattr(subprocess, "Popen", self.popen)
        monkeypatch.setattr(os, "killpg", self.killpg)

    def socketpair(self) -> tuple[socket.socket, socket.socket]:
        self.pairs.append(self._socketpair())
        return self.pairs[-1]

    def popen(self, command: list[str], **options: Any) -> Process:
        if self.fails_with:
            raise OSError(self.fails_with, os.strerror(self.fails_with))
        self.processes.append(Process(1_000 + len(self.processes), self.time, self.ends_with))
        return self.processes[-1]

    def killpg(self, pid: int, number: int) -> None:
        process = self.processes[pid - 1_000]
        if process.code is None:
            process.code = -number

    def died(self) -> list[SlotDied]:
        events = list(self.slots.events(set(self.poller.watched)))
        assert all(isinstance(event, SlotDied) for event in events)
        return events  # type: ignore[return-value]  # as was just asserted


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(monkeypatch)
    yield made
    for pair in made.pairs:
        for end in pair:
            end.close()


@pytest.mark.parametrize(
    ("code", "how"),
    [
        (0, "exit code 0 (the other end is gone)"),
        (3, "exit code 3"),
        (-signal.SIGKILL, "signal SIGKILL"),
        (-40, "signal 40"),
    ],
)
def test_a_worker_s_death_is_told_with_its_cause(bench: Bench, code: int, how: str) -> None:
    bench.ends_with = code
    bench.slots.start(5)  # whose end of the pair is closed, for there is no process
    assert bench.died() == [SlotDied(5, how)]
    assert bench.died() == []
    assert not bench.poller.watched


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_a_worker_that_can_not_be_started_is_one_that_died(bench: Bench, number: int) -> None:
    bench.fails_with = number
    bench.slots.start(2)
    (event,) = bench.died()
    assert event == SlotDied(2, f"can't be started: [Errno {number}] {os.strerror(number)}")
    assert bench.died() == []
    assert [end.fileno() for end in bench.pairs[0]] == [-1, -1]
    assert not bench.poller.watched


def test_without_a_descriptor_to_spare_no_worker_is_started(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socketpair", full)
    bench.slots.start(0)
    (event,) = bench.died()
    assert event.how.startswith("can't be started: ")
    bench.slots.kill(0)
    bench.slots.close()


def test_a_slot_that_could_not_be_started_can_be_later(bench: Bench) -> None:
    bench.fails_with = errno.EAGAIN
    bench.slots.start(0)
    assert len(bench.died()) == 1
    bench.fails_with = 0
    bench.slots.start(0)
    assert len(bench.poller.watched) == 1


def test_all_workers_together_have_so_long_to_end(bench: Bench) -> None:
    bench.ends_with = None
    for slot in range(64):
        bench.slots.start(slot)
    bench.slots.close()
    assert bench.time.now == pytest.approx(limits.worker_end_s)
    assert {process.code for process in bench.processes} == {-signal.SIGKILL}
    assert not bench.poller.watched
