"""A worker process: one slot of a slave. Runs leases that come through its socket pair.

It holds no zmq socket and no key, loads the kernels that are installed here and no code from
anywhere else. Finished tasks are sent as they come, but at most every `report_flush_s`, so that
short ones travel together.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from typing import Any

from hpczmq import limits, wire
from hpczmq.kernels import get
from hpczmq.kernels.base import CancelFlag
from hpczmq.messages import PROTOCOL, Assign, Hello, Report
from hpczmq.model import Outcome, Role, Status, Task
from hpczmq.nodes.channel import Channel
from hpczmq.spawn import die_with

#: Results held back for company are sent when they are this large together.
_HELD_BYTES_MAX = 4 * limits.MIB


class Runner:
    """Runs leases, and hands finished outcomes to its channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        #: Parameters of the job that ran last: (kernel, packed) and what they were parsed to.
        self._last: tuple[str, bytes] | None = None
        self._params: Any = None
        self._outcomes: list[Outcome] = []
        self._buffers: list[wire.Buffer] = []
        self._bytes = 0
        self._sent_s = 0.0

    def run(self, lease: Assign) -> None:
        """Run the tasks of a lease, in order; each gets an outcome, whatever it does."""
        self._sent_s = time.perf_counter()
        for task in lease.tasks:
            began = time.perf_counter()
            try:
                status, value, buffer = self._attempt(lease, task)
            except BaseException:
                status, value, buffer = Status.ERROR, _last_words(), None
            ended = time.perf_counter()
            self._outcomes.append(Outcome(task.index, status, ended - began, value))
            self._bytes += len(value)
            if buffer is not None:
                self._buffers.append(buffer)
                self._bytes += len(buffer)
            late = ended - self._sent_s > limits.report_flush_s
            # With a timeout the slave has to know which task it is that takes so long.
            if late or self._bytes > _HELD_BYTES_MAX or lease.timeout_s:
                self._flush(lease, ended)
        if self._outcomes:
            self._flush(lease, time.perf_counter())

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

    def _flush(self, lease: Assign, now: float) -> None:
        report = Report(0, lease.lease, lease.job, tuple(self._outcomes))
        self._channel.send(wire.encode(report, self._buffers))
        self._outcomes, self._buffers, self._bytes, self._sent_s = [], [], 0, now


def _last_words() -> bytes:
    """The traceback of the exception at hand; of a long one its end, where the cause is."""
    return traceback.format_exc().strip()[-limits.error_chars_max :].encode(errors="replace")


def main() -> None:
    """Serve the socket pair whose descriptor is the first argument, until it closes."""
    end, parent = int(sys.argv[1]), int(sys.argv[2])
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the slave decides when a worker ends
    os.dup2(2, 1)  # what kernels print is log, not output
    channel = Channel(socket.socket(fileno=end))
    channel.send(wire.encode(Hello(Role.SLAVE, "slot", bytes(16), PROTOCOL, "")))
    runner = Runner(channel)
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
