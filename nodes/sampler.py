"""What a node measures of its machine, by psutil."""

from __future__ import annotations

import os
import time

import psutil

from hpczmq.model import Metrics


def machine_memory_bytes() -> int:
    """The physical memory of this machine."""
    return int(psutil.virtual_memory().total)


class Sampler:
    """Measures the load since the last sample."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._cores = psutil.cpu_count() or 1
        psutil.cpu_percent()  # the first call has nothing to compare with
        #: Processor time of this process and its children so far, by process id, and when.
        self._used_s, self._sampled_s = self._processor_time(), time.monotonic()

    def sample(self) -> Metrics:
        """The machine now. The node's core fills in what it knows of itself."""
        memory = psutil.virtual_memory()
        cpu_percent = psutil.cpu_percent()
        return Metrics(
            cpu_percent=cpu_percent,
            own_cpu_percent=min(cpu_percent, self._own_percent()),
            memory_percent=memory.percent,
            memory_free_bytes=memory.available,
            load=os.getloadavg()[0],
        )

    def _own_percent(self) -> float:
        """Load of all cores by this process and its children, 0..100."""
        before, since_s = self._used_s, self._sampled_s
        self._used_s, self._sampled_s = self._processor_time(), time.monotonic()
        used_s = sum(spent - before.get(pid, 0.0) for pid, spent in self._used_s.items())
        passed_s = (self._sampled_s - since_s) * self._cores
        return min(100.0, 100.0 * used_s / passed_s) if passed_s > 0 else 0.0

    def _processor_time(self) -> dict[int, float]:
        found = {}
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue  # it has ended meanwhile
            found[process.pid] = times.user + times.system
        return found
