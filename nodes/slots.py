"""The worker processes of a slave: started, spoken to, killed with all their children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress

from hpczmq import limits, spawn, wire
from hpczmq.errors import ProtocolError
from hpczmq.messages import Assign, Hello, Report
from hpczmq.nodes.channel import Channel
from hpczmq.transport import Sockets
from hpczmq.worker import SlotAnswered, SlotDied, SlotReady


class _Process:
    def __init__(self, popen: subprocess.Popen[bytes], channel: Channel) -> None:
        self.popen = popen
        self.channel = channel
        self.writing = False


class Slots:
    """All worker processes of one slave, by slot number."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        self._processes: dict[int, _Process] = {}
        #: Slot of each descriptor that the poller may name.
        self._by_fd: dict[int, int] = {}
        #: Workers that could not be started, until `events` has told.
        self._stillborn: list[SlotDied] = []

    def start(self, slot: int) -> None:
        """Start a worker: a fresh interpreter in a session of its own, never a fork of ours.

        If this machine has no process or descriptor to spare, the slot dies of that.
        """
        try:
            popen, ours = _started()
        except OSError as error:
            self._stillborn.append(SlotDied(slot, f"can't be started: {error}"))
            return
        self._processes[slot] = _Process(popen, Channel(ours))
        self._by_fd[ours.fileno()] = slot
        self._sockets.watch(ours.fileno())

    def run(self, slot: int, lease: Assign) -> None:
        """Hand a lease to a worker."""
        process = self._processes[slot]
        process.channel.send(wire.encode(lease))
        self._want_write(process)

    def kill(self, slot: int) -> None:
        """End a worker and its children at once; `events` will tell when it is gone."""
        process = self._processes.get(slot)
        if process is not None:
            _kill_group(process.popen.pid)

    def events(self, ready: set[object]) -> Iterator[SlotReady | SlotAnswered | SlotDied]:
        """What the workers said, of those whose descriptors are ready."""
        stillborn, self._stillborn = self._stillborn, []
        yield from stillborn
        for fd in [fd for fd in self._by_fd if fd in ready]:
            slot = self._by_fd[fd]
            process = self._processes[slot]
            process.channel.flush()
            self._want_write(process)
            try:
                while (frames := process.channel.receive()) is not None:
                    yield _event(slot, frames)
            except (EOFError, ProtocolError) as error:
                yield SlotDied(slot, self._bury(slot, str(error)))

    def close(self) -> None:
        """End every worker: an idle one when its socket pair closes, the others by force.

        They have `worker_end_s` together, or a slave of many would be long in going.
        """
        for process in self._processes.values():
            self._sockets.unwatch(process.channel.socket.fileno())
            process.channel.socket.close()
        deadline_s = time.monotonic() + limits.worker_end_s
        for process in self._processes.values():
            _end(process.popen, max(0.0, deadline_s - time.monotonic()))

    def _want_write(self, process: _Process) -> None:
        if process.writing != process.channel.pending:
            process.writing = process.channel.pending
            self._sockets.watch(process.channel.socket.fileno(), write=process.writing)

    def _bury(self, slot: int, why: str) -> str:
        """Make sure that a worker is gone, and say how it went."""
        process = self._processes.pop(slot)
        fd = process.channel.socket.fileno()
        self._sockets.unwatch(fd)
        del self._by_fd[fd]
        # Its end of the pair is closed: it is dead, or about to be. A child that inherited
        # nothing of the pair may outlive it; the group is killed in any case.
        code = _end(process.popen, limits.worker_end_s)
        process.channel.socket.close()
        if code < 0:
            return f"signal {_signal_name(-code)}"
        return f"exit code {code}" + (f" ({why})" if code == 0 and why else "")


def _started() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A new worker process, and our end of its socket pair."""
    ours, theirs = socket.socketpair()
    with theirs:
        fd = theirs.fileno()
        try:
            popen = subprocess.Popen(
                spawn.command("hpczmq.nodes.slot", str(fd), str(os.getpid())),
                pass_fds=[fd],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=spawn.environment(),
            )
        except OSError:
            ours.close()
            raise
    ours.setblocking(False)
    return popen, ours


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time ones have no name
        return str(number)


def _end(popen: subprocess.Popen[bytes], patience_s: float) -> int:
    """Wait for a worker that is about to end, kill what is left of its group; its exit code."""
    with suppress(subprocess.TimeoutExpired):
        popen.wait(patience_s)
    _kill_group(popen.pid)
    return popen.wait()


def _event(slot: int, frames: list[bytearray]) -> SlotReady | SlotAnswered:
    message, buffers = wire.decode(frames)
    if isinstance(message, Hello):
        return SlotReady(slot)
    if isinstance(message, Report):
        return SlotAnswered(slot, message.outcomes, buffers)
    raise ProtocolError("kind", f"a worker sent {type(message).__name__}")


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
