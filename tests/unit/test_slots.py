"""Worker processes come and go as they may; the slave that owns them stays."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from resource import RUSAGE_SELF, getrusage
from typing import Any

import pytest

from hpczmq import confine, limits
from hpczmq.confine import Grant
from hpczmq.model import Usage
from hpczmq.nodes import processes
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

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Process:
    """A process as `Popen` gives it; ends by itself when it has an exit code."""

    def __init__(self, pid: int, code: int | None) -> None:
        self.pid, self.code, self.returncode = pid, code, None


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
        monkeypatch.setattr(processes, "time", self.time)
        monkeypatch.setattr(socket, "socketpair", self.socketpair)
        monkeypatch.setattr(subprocess, "Popen", self.popen)
        monkeypatch.setattr(module, "_pidfd", lambda pid: None)
        monkeypatch.setattr(os, "wait4", self.wait4)
        monkeypatch.setattr(processes, "kill_tree", self.kill_tree)

    def socketpair(self) -> tuple[socket.socket, socket.socket]:
        self.pairs.append(self._socketpair())
        return self.pairs[-1]

    def popen(self, command: list[str], **options: Any) -> Process:
        if self.fails_with:
            raise OSError(self.fails_with, os.strerror(self.fails_with))
        self.processes.append(Process(1_000_000 + len(self.processes), self.ends_with))
        return self.processes[-1]

    def wait4(self, pid: int, options: int) -> tuple[int, int, Any]:
        code, used = self.processes[pid - 1_000_000].code, getrusage(RUSAGE_SELF)
        if code is None:
            assert self.time.now < 100.0, "waits for ever for what nobody killed"
            return 0, 0, used
        return pid, code << 8 if code >= 0 else -code, used

    def kill_tree(self, pid: int) -> None:
        process = self.processes[pid - 1_000_000]
        if process.code is None:
            process.code = -signal.SIGKILL

    def died(self) -> list[tuple[int, str]]:
        events = list(self.slots.events(set(self.poller.watched)))
        return [(event.slot, event.how) for event in events if isinstance(event, SlotDied)]


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
        (-signal.SIGTERM, "signal SIGTERM"),
        (-40, "signal 40"),
    ],
)
def test_a_worker_s_death_is_told_with_its_cause(bench: Bench, code: int, how: str) -> None:
    bench.ends_with = code
    bench.slots.start(5)  # whose end of the pair is closed, for there is no process
    assert bench.died() == [(5, how)]
    assert bench.died() == []
    assert not bench.poller.watched


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_a_worker_that_can_not_be_started_is_one_that_died(bench: Bench, number: int) -> None:
    bench.fails_with = number
    bench.slots.start(2)
    (event,) = bench.died()
    assert event == (2, f"can't be started: [Errno {number}] {os.strerror(number)}")
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
    assert event[1].startswith("can't be started: ")
    bench.slots.kill(0)
    bench.slots.close()


def test_a_slot_that_could_not_be_started_can_be_later(bench: Bench) -> None:
    bench.fails_with = errno.EAGAIN
    bench.slots.start(0)
    assert len(bench.died()) == 1
    bench.fails_with = 0
    bench.slots.start(0)
    assert len(bench.poller.watched) == 2, "its end of the pair, and of its log"


def test_all_workers_together_have_so_long_to_end(bench: Bench) -> None:
    bench.ends_with = None
    for slot in range(64):
        bench.slots.start(slot)
    bench.slots.close()
    assert bench.time.now == pytest.approx(limits.worker_end_s, abs=0.01)
    assert {process.code for process in bench.processes} == {-signal.SIGKILL}
    assert not bench.poller.watched


def test_who_goes_on_beyond_its_cpu_time_is_killed_and_the_cause_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    used_s = 8.0
    monkeypatch.setattr(confine, "cpu_s", lambda pid: used_s)
    bench.slots = Slots(bench.poller, grant=Grant(task_cpu_s=1))  # type: ignore[arg-type]  # as above
    bench.ends_with = None
    bench.slots.start(0)
    bench.slots.look()
    assert bench.processes[0].code is None, "it runs no task"
    bench.slots._processes[0].cpu_from_s = 5.0
    bench.slots.look()
    assert bench.processes[0].code is None, "it may be just about to hear of it"
    used_s += 0.1
    bench.slots.look()
    assert bench.died() == [(0, "signal SIGKILL: its task took more than 1 s of CPU time")]


# --- What a worker leaves behind ------------------------------------------------------------------


def tail_of(*pieces: bytes) -> tuple[str, ...]:
    """The last lines, as they are kept, of what came in such pieces."""
    ours, theirs = os.pipe()
    tail = processes.Tail(ours)
    for piece in pieces:
        os.write(theirs, piece)
        assert tail.read()
    os.close(theirs)
    assert not tail.read(), "nobody can print any more"
    lines = tail.take()
    assert tail.take() == (), "each line is told once"
    tail.close()
    return lines


def test_the_last_lines_of_a_log_are_kept_whatever_is_printed(capfd: Any) -> None:
    assert tail_of(b"one\ntw", b"o\r\nthr", b"ee") == ("one", "two", "three")
    told = "    | one\n    | two\n    | three"
    assert capfd.readouterr().err == told, "and all of it goes on to our own log"
    many = b"".join(b"%d\n" % number for number in range(1_000))
    assert tail_of(many) == tuple(map(str, range(1_000 - limits.log_lines_max, 1_000)))
    (line,) = tail_of(b"\xff" * 3_000)
    assert len(line) == limits.log_line_chars_max


def test_what_a_worker_used_before_it_told_is_not_told_twice() -> None:
    death = processes.Death(-9, user_s=2.0, system_s=0.5, peak_bytes=7)
    told = Usage(1, user_s=1.5, system_s=0.75)
    left = processes.left_of(death, told, ("last",), 4711)
    assert (left.pid, left.user_s, left.system_s, left.peak_bytes) == (4711, 0.5, 0.0, 7)
    assert left.log == ("last",)


#: Starts a child in a session of its own, which starts another one and ends.
_DAEMON = """
import os, time
from hpczmq.spawn import adopt_orphans
adopt_orphans()
if not os.fork():
    os.setsid()
    if os.fork():
        os._exit(0)
    time.sleep(3600)
os.wait()
print("up", flush=True)
time.sleep(3600)
"""


def test_a_tree_is_killed_with_those_who_have_left_it() -> None:
    root = subprocess.Popen([sys.executable, "-c", _DAEMON], stdout=subprocess.PIPE)
    with root:
        assert root.stdout is not None
        assert root.stdout.readline() == b"up\n"
        (daemon,) = processes.descendants(root.pid)
        assert os.getsid(daemon) not in (os.getsid(0), root.pid)
        its_end = os.pidfd_open(daemon)
        processes.kill_tree(root.pid)
        death = processes.wait(root, 10.0)
        assert death is not None
        assert death.how == "signal SIGKILL"
        assert death.peak_bytes > 0
    readable, _, _ = select.select([its_end], [], [], 10.0)
    os.close(its_end)
    assert readable, "it is gone, too"
