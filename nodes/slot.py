"""A worker process: one slot of a slave. Runs leases that come through its socket pair.

It holds no zmq socket and no key, loads the kernels that are installed here and no code from
anywhere else, and may take no more than its bounds (hpczmq/confine.py). Finished tasks are sent as
they come, but at most every `report_flush_s`, so that short ones travel together. When a long one
follows, a second thread sends what waits; a kernel that holds the GIL for long holds it up.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Any

from hpczmq import limits, wire
from hpczmq.confine import Bounds
from hpczmq.kernels import get
from hpczmq.kernels.base import CancelFlag
from hpczmq.messages import PROTOCOL, Assign, Hello, Report
from hpczmq.model import Outcome, Role, Status, Task, Usage
from hpczmq.nodes.channel import Channel
from hpczmq.spawn import adopt_orphans, die_with


class Meter:
    """What this process has used since it was last asked."""

    def __init__(self) -> None:
        self._user_s = self._system_s = 0.0

    def read(self) -> Usage:
        """The CPU time since the last look, and the most memory ever."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        user_s, system_s = used.ru_utime - self._user_s, used.ru_stime - self._system_s
        self._user_s, self._system_s = used.ru_utime, used.ru_stime
        peak_bytes = used.ru_maxrss * limits.KIB
        return Usage(os.getpid(), "", max(0.0, user_s), max(0.0, system_s), peak_bytes)


class Runner:
    """Runs leases, and hands finished outcomes to its channel."""

    def __init__(
        self, channel: Channel, meter: Meter | None = None, bounds: Bounds | None = None
    ) -> None:
        self._channel = channel
        self._meter = meter or Meter()
        self._bounds = bounds
        #: Parameters of the job that ran last: (kernel, packed) and what they were parsed to.
        self._last: tuple[str, bytes] | None = None
        self._params: Any = None
        #: Held around all that follows, and around sending.
        self._lock = threading.Lock()
        self._lease: Assign | None = None
        self._outcomes: list[Outcome] = []
        self._buffers: list[wire.Buffer] = []
        self._bytes = 0
        self._sent_s = 0.0
        #: When the first of the tasks began whose outcomes wait.
        self._began_s = 0.0
        #: Set when something waits while a task runs. It stays set until `send_overdue` finds
        #: nothing: short tasks wake that thread every `report_flush_s`, and not for every batch.
        self._waits = threading.Event()

    def run(self, lease: Assign) -> None:
        """Run the tasks of a lease, in order; each gets an outcome, whatever it does."""
        self._lease, self._sent_s = lease, time.perf_counter()
        last = lease.tasks[-1]
        for task in lease.tasks:
            began = time.perf_counter()
            if self._bounds is not None:
                self._bounds.begin_task()
            try:
                status, value, buffer = self._attempt(lease, task)
            except MemoryError as error:
                status, value, buffer = Status.ERROR, self._out_of_memory(error), None
            except BaseException:
                status, value, buffer = Status.ERROR, _last_words(), None
            ended = time.perf_counter()
            with self._lock:
                if not self._outcomes:
                    self._began_s = began
                self._outcomes.append(Outcome(task.index, status, ended - began, value))
                self._bytes += len(value)
                if buffer is not None:
                    self._buffers.append(buffer)
                    self._bytes += len(buffer)
                due = ended - self._sent_s > limits.report_flush_s or task is last
                # With a timeout the slave has to know which task it is that takes so long.
                if due or self._bytes > limits.report_held_bytes_max or lease.timeout_s:
                    self._send(ended)
                elif len(self._outcomes) == 1 and not self._waits.is_set():
                    self._waits.set()

    def keep_watch(self) -> None:
        """Send what is overdue while a task runs; for a thread of its own, and without end."""
        while True:
            self._waits.wait()
            time.sleep(self.send_overdue())

    def send_overdue(self) -> float:
        """Send what has waited long enough; in how many seconds to look again, 0: when something
        waits.
        """
        with self._lock:
            if self._outcomes:
                now = time.perf_counter()
                left_s = self._sent_s + limits.report_flush_s - now
                if left_s > 0:
                    return left_s
                self._send(now)
            self._waits.clear()
            return 0.0

    def _attempt(self, lease: Assign, task: Task) -> tuple[Status, bytes, wire.Buffer | None]:
        kernel = get(lease.kernel)
        if lease.items:
            params = kernel.parse(wire.unpack(task.spec))
            job_task = kernel.whole(params)
        else:
            if self._last != (lease.kernel, lease.params):
                self._params = kernel.parse(wire.unpack(lease.params))
                self._last = (lease.kernel, lease.params)
            params, job_task = self._params, kernel.task(wire.unpack(task.spec))
        result = kernel.run(params, job_task, CancelFlag())
        if hasattr(result, "dtype") and hasattr(result, "shape"):
            from hpczmq import arrays  # numpy is only loaded where there are arrays

            head, buffer = arrays.packed(result)
            return Status.ARRAY, head, buffer
        value = wire.pack(result)
        if len(value) > limits.value_bytes_max:
            raise ValueError(f"a result of {len(value)} bytes: return an array instead")
        return Status.VALUE, value, None

    def _out_of_memory(self, error: MemoryError) -> bytes:
        """What the task is told, in memory that was kept for it; what it had is let go."""
        bounds = self._bounds
        if bounds is None:
            return _last_words()
        bounds.relieve()
        words = _last_words()
        traceback.clear_frames(error.__traceback__)
        gc.collect()
        bounds.restore()
        return b"\n".join(filter(None, (words, bounds.told().encode())))

    def _send(self, now: float) -> None:
        assert self._lease is not None, "outcomes are of a lease"
        usage = self._meter.read()
        report = Report(
            0, self._lease.lease, self._lease.job, tuple(self._outcomes), usage,
            began_s=self._began_s, at_s=now,
        )  # fmt: skip
        self._channel.send(wire.encode(report, self._buffers))
        self._outcomes, self._buffers, self._bytes, self._sent_s = [], [], 0, now


def _last_words() -> bytes:
    """The traceback of the exception at hand; of a long one its end, where the cause is."""
    return traceback.format_exc().strip()[-limits.error_chars_max :].encode(errors="replace")


def main() -> None:
    """Serve the socket pair whose descriptor is the first argument, until it closes."""
    end, parent, memory_bytes, task_cpu_s = map(int, sys.argv[1:5])
    die_with(parent)
    os.set_inheritable(end, False)  # it is ours, and not the programs' that kernels start
    adopt_orphans()  # what a kernel starts and abandons stays below this process, to end with it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the slave decides when a worker ends
    channel = Channel(socket.socket(fileno=end))
    channel.send(wire.encode(Hello(Role.SLAVE, "slot", bytes(16), PROTOCOL, "")))
    meter = Meter()
    bounds = Bounds(memory_bytes, task_cpu_s)
    channel.send(wire.encode(Report(0, 0, "", (), meter.read())))  # of no task: it has started
    runner = Runner(channel, meter, bounds)
    threading.Thread(target=runner.keep_watch, daemon=True).start()
    while True:
        try:
            frames = channel.receive()
        except EOFError:
            return
        assert frames is not None, "a blocking channel returns whole messages"
        message, _ = wire.decode(frames)
        assert isinstance(message, Assign), f"a slave sent {type(message).__name__}"
        runner.run(message)


if __name__ == "__main__":
    main()
