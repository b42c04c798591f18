"""The worker processes of a slave: started, spoken to, killed with all their descendants."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hpczmq import confine, limits, spawn, wire
from hpczmq.confine import Grant
from hpczmq.errors import ProtocolError
from hpczmq.messages import Assign, Hello, Report
from hpczmq.model import Usage
from hpczmq.nodes import processes
from hpczmq.nodes.channel import Channel
from hpczmq.nodes.processes import Tail
from hpczmq.transport import Sockets
from hpczmq.worker import SlotAnswered, SlotDied, SlotReady

log = logging.getLogger(__name__)


class _Process:
    def __init__(
        self, popen: subprocess.Popen[bytes], channel: Channel, log: int, folder: Path | None
    ) -> None:
        self.popen = popen
        #: Where it works; None: where its slave does.
        self.folder = folder
        #: CPU time that it had taken when its task began; None while it runs none.
        self.cpu_from_s: float | None = None
        #: Why it was killed, if it was for its CPU time.
        self.why = ""
        self.channel = channel
        self.writing = False
        self.tail = Tail(log)
        #: Readable once the process is dead, whoever holds the other end of the pair by then.
        self.pidfd = _pidfd(popen.pid)
        #: Sums of what it has said that it used.
        self.told = Usage()

    def fds(self) -> list[int]:
        """What the poller watches of it."""
        ends = [self.channel.socket.fileno(), self.tail.fd]
        return ends if self.pidfd is None else [*ends, self.pidfd]

    def used(self, usage: Usage) -> Usage:
        """What it says that it used, with what it printed; and remember that it said so."""
        user_s, system_s = self.told.user_s + usage.user_s, self.told.system_s + usage.system_s
        self.told = replace(self.told, user_s=user_s, system_s=system_s)
        return replace(usage, log=self.tail.take())

    def close(self) -> None:
        """Let go of it, and of what it has left."""
        confine.remove(self.folder)
        self.channel.socket.close()
        self.tail.close()
        if self.pidfd is not None:
            os.close(self.pidfd)


class Slots:
    """All worker processes of one slave, by slot number.

    Args:
        sockets: whose poller wakes us up.
        adopts: whether this process has no children but these, and buries their orphans.
        grant: what each of them may take.
    """

    def __init__(self, sockets: Sockets, adopts: bool = False, grant: Grant = Grant()) -> None:  # noqa: B008 — frozen
        self._sockets = sockets
        self._adopts = adopts
        self._grant = grant
        self._scratch = confine.Scratch()
        self._processes: dict[int, _Process] = {}
        #: Slot of each descriptor that the poller may name.
        self._by_fd: dict[int, int] = {}
        #: Workers that could not be started, until `events` has told.
        self._stillborn: list[SlotDied] = []
        if adopts:
            spawn.adopt_orphans()

    def start(self, slot: int) -> None:
        """Start a worker: a fresh interpreter in a session of its own, never a fork of ours.

        If this machine has no process or descriptor to spare, the slot dies of that.
        """
        complained, folder = bool(self._scratch.fault), self._scratch.make()
        if folder is None and not complained:
            log.warning("no folder for workers: %s: set TMPDIR to one", self._scratch.fault)
        try:
            process = _started(self._grant, folder)
        except OSError as error:
            self._stillborn.append(SlotDied(slot, f"can't be started: {error}"))
            return
        self._processes[slot] = process
        for fd in process.fds():
            self._by_fd[fd] = slot
            self._sockets.watch(fd)

    def run(self, slot: int, lease: Assign) -> None:
        """Hand a lease to a worker."""
        process = self._processes[slot]
        if self._grant.task_cpu_s:
            process.cpu_from_s = confine.cpu_s(process.popen.pid)
        process.channel.send(wire.encode(lease))
        self._want_write(process)

    def kill(self, slot: int) -> None:
        """End a worker and its descendants at once; `events` will tell when it is gone."""
        process = self._processes.get(slot)
        if process is not None:
            processes.kill_tree(process.popen.pid)

    def pids(self) -> list[int]:
        """Of the worker processes that are there."""
        return [process.popen.pid for process in self._processes.values()]

    def look(self) -> None:
        """Kill whoever has gone on beyond its CPU time, and past the signal that says so."""
        most_s = self._grant.task_cpu_s + limits.worker_cpu_grace_s
        for process in self._processes.values():
            if process.cpu_from_s is None:
                continue
            if confine.cpu_s(process.popen.pid) - process.cpu_from_s > most_s:
                process.why = f"its task took more than {self._grant.task_cpu_s} s of CPU time"
                processes.kill_tree(process.popen.pid)

    def events(self, ready: set[object]) -> Iterator[SlotReady | SlotAnswered | SlotDied]:
        """What the workers said, of those whose descriptors are ready."""
        stillborn, self._stillborn = self._stillborn, []
        yield from stillborn
        for slot in dict.fromkeys(slot for fd, slot in self._by_fd.items() if fd in ready):
            process = self._processes[slot]
            if process.tail.fd in ready and not process.tail.read():
                self._unwatch(process.tail.fd)
            process.channel.flush()
            self._want_write(process)
            try:
                while (frames := process.channel.receive()) is not None:
                    event = _event(slot, frames, process)
                    if event is not None:
                        yield event
                if process.pidfd in ready:
                    yield self._bury(slot, "")
            except (EOFError, ProtocolError) as error:
                yield self._bury(slot, str(error))

    def close(self) -> None:
        """End every worker: an idle one when its socket pair closes, the others by force.

        They have `worker_end_s` together, or a slave of many would be long in going.
        """
        for process in self._processes.values():
            for fd in process.fds():
                self._unwatch(fd)
            process.channel.socket.close()
        deadline_s = time.monotonic() + limits.worker_end_s
        for process in self._processes.values():
            _end(process.popen, max(0.0, deadline_s - time.monotonic()))
            process.close()
        self._processes.clear()
        self._scratch.close()
        self._sweep()

    def _want_write(self, process: _Process) -> None:
        if process.writing != process.channel.pending:
            process.writing = process.channel.pending
            self._sockets.watch(process.channel.socket.fileno(), write=process.writing)

    def _unwatch(self, fd: int) -> None:
        if self._by_fd.pop(fd, None) is not None:
            self._sockets.unwatch(fd)

    def _bury(self, slot: int, why: str) -> SlotDied:
        """Make sure that a worker is gone with all its descendants, and say how it went."""
        process = self._processes.pop(slot)
        for fd in process.fds():
            self._unwatch(fd)
        # It is dead, or its end of the pair is closed, and then it is about to be.
        death = _end(process.popen, limits.worker_end_s)
        self._sweep()
        usage = processes.left_of(death, process.told, process.tail.take(), process.popen.pid)
        process.close()
        how = f"{death.how}: {process.why}" if process.why else death.cause
        return SlotDied(slot, how + (f" ({why})" if death.code == 0 and why else ""), usage)

    def _sweep(self) -> None:
        if self._adopts:
            processes.sweep({process.popen.pid for process in self._processes.values()})


def _pidfd(pid: int) -> int | None:
    """A descriptor that tells of a process's death; None where the kernel has none (before 5.3)."""
    with suppress(OSError):
        return os.pidfd_open(pid)
    return None


def _started(grant: Grant, folder: Path | None) -> _Process:
    """A new worker process, with our ends of its socket pair and of its log.

    It inherits its end of the pair, the log, and no other descriptor.
    """
    environment = confine.environment(spawn.environment(), grant.variables)
    if folder is not None:  # what it leaves there is gone when it is
        environment["TMPDIR"] = str(folder)
    ours, theirs = socket.socketpair()
    try:
        log, said = os.pipe()
    except OSError:
        ours.close()
        theirs.close()
        raise
    arguments = (theirs.fileno(), os.getpid(), grant.memory_bytes, grant.task_cpu_s)
    try:
        popen = subprocess.Popen(
            spawn.command("hpczmq.nodes.slot", *map(str, arguments)),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=said,  # what kernels print is log, not output
            stderr=said,
            start_new_session=True,
            cwd=folder,
            env=environment,
        )
    except OSError:
        ours.close()
        os.close(log)
        raise
    finally:
        theirs.close()
        os.close(said)
    ours.setblocking(False)
    return _Process(popen, Channel(ours), log, folder)


def _end(popen: subprocess.Popen[bytes], patience_s: float) -> processes.Death:
    """Wait for a worker that is about to end, and then kill it with what is left below it."""
    death = processes.wait(popen, patience_s)
    if death is None:
        processes.kill_tree(popen.pid)
        death = processes.wait(popen, float("inf"))
        assert death is not None, "one waits for ever"
    return death


def _event(
    slot: int, frames: list[bytearray], process: _Process
) -> SlotReady | SlotAnswered | None:
    message, buffers = wire.decode(frames)
    if isinstance(message, Hello):
        return SlotReady(slot)
    if isinstance(message, Report):
        usage = process.used(message.usage)
        if process.cpu_from_s is not None and message.outcomes:
            process.cpu_from_s = process.told.user_s + process.told.system_s
        age_s = max(0.0, message.at_s - message.began_s)
        answered = SlotAnswered(slot, message.outcomes, buffers, usage, age_s)
        return answered if message.outcomes else None
    raise ProtocolError("kind", f"a worker sent {type(message).__name__}")
