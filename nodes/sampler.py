"""What a node measures of its machine: by psutil, and in a container by its control groups.

A sample of the whole takes some 0.5 ms (`benchmarks/sampling.py`), and one is taken a heartbeat.
What takes longer, as finding the processes that workers have started, is done once a report.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from hpczmq import descriptors, limits
from hpczmq.cgroup import Cgroup, Memory
from hpczmq.model import Metrics, Vitals, WorkerVitals


def machine_memory_bytes() -> int:
    """The memory of this machine, or of the container that this is."""
    contained = Cgroup().memory()
    total = int(psutil.virtual_memory().total)
    return min(total, contained.limit_bytes) if contained else total


class Sampler:
    """Measures the load since the last sample.

    Args:
        root: where the file system is mounted that tells of control groups.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._process = psutil.Process()
        self._cgroup = Cgroup(root)
        self._cores = _usable()
        #: Cores' worth of time that there is, the quota of the group included.
        self._room = min(float(len(self._cores)), self._cgroup.cpu_cores() or float("inf"))
        self._disk = _scratch()
        self._temperature_c = 0.0
        #: This process and those that it has started, by id.
        self._family: dict[int, psutil.Process] = {}
        self._memory_bytes = 0
        self._find_family()
        #: Of the last sample: when, CPU time of each member, of all cores, of the group; traffic.
        self._sampled_s = time.monotonic()
        self._used_s = self._processor_time()
        self._busy_s = self._times()
        self._group_s = self._cgroup.cpu_used_s()
        self._moved = _traffic()
        #: The same of the last report: each core, each worker.
        self._reported_s, self._cores_s = self._sampled_s, self._busy_s
        self._workers_s = dict(self._used_s)

    # --- With each heartbeat ------------------------------------------------------------------

    def sample(self, workers: Iterable[int] = ()) -> Metrics:
        """The machine now; the node's core fills in what it knows of itself.

        Args:
            workers: process ids of workers, which may be newer than the last report.
        """
        self._adopt(workers)
        now = time.monotonic()
        passed_s, self._sampled_s = now - self._sampled_s, now
        cpu_percent, own_percent = self._load(passed_s)
        memory, swap = self._memory(), self._swap()
        moved, self._moved = self._moved, _traffic()
        rates = [
            max(0.0, after - before) / passed_s if passed_s > 0 else 0.0
            for before, after in zip(moved, self._moved, strict=True)
        ]
        return Metrics(
            cpu_percent=cpu_percent,
            own_cpu_percent=min(cpu_percent, own_percent),
            memory_percent=_percent(memory),
            memory_free_bytes=max(0, memory.limit_bytes - memory.used_bytes),
            load=os.getloadavg()[0],
            swap_percent=_percent(swap),
            disk_percent=self._disk_usage()[0],
            received_bytes_per_s=rates[0],
            sent_bytes_per_s=rates[1],
            disk_read_bytes_per_s=rates[2],
            disk_written_bytes_per_s=rates[3],
            own_memory_bytes=self._memory_bytes,
            descriptors_percent=100.0 * self._process.num_fds() / max(1, descriptors.most()),
            temperature_c=self._temperature_c,
        )

    def _load(self, passed_s: float) -> tuple[float, float]:
        """Load of all there is, and how much of it is this node's, 0..100 both."""
        before, self._used_s = self._used_s, self._processor_time()
        own_s = sum(spent - before.get(pid, 0.0) for pid, spent in self._used_s.items())
        was, self._busy_s = self._busy_s, self._times()
        group_was, self._group_s = self._group_s, self._cgroup.cpu_used_s()
        if passed_s <= 0:
            return 0.0, 0.0
        own = min(100.0, max(0.0, 100.0 * own_s / (passed_s * self._room)))
        if self._group_s is not None and group_was is not None:
            used = 100.0 * (self._group_s - group_was) / (passed_s * self._room)
            return min(100.0, max(0.0, used)), own
        cores = _busy_percents(was, self._busy_s)
        return sum(cores) / max(1, len(cores)), own

    def _memory(self) -> Memory:
        host = psutil.virtual_memory()
        whole = Memory(int(host.total), int(host.total - host.available))
        group = self._cgroup.memory()
        return group if group and group.limit_bytes < whole.limit_bytes else whole

    def _swap(self) -> Memory:
        group = self._cgroup.swap()
        if group is not None:
            return group
        host = psutil.swap_memory()
        return Memory(int(host.total), int(host.used))

    def _disk_usage(self) -> tuple[float, int, int]:
        """Of the disk of temporary files: in use, 0..100; its bytes; those that are free."""
        with suppress(OSError):
            disk = psutil.disk_usage(self._disk)
            return disk.percent, int(disk.total), int(disk.free)
        return 0.0, 0, 0

    # --- With each report ---------------------------------------------------------------------

    def report(self) -> Vitals:
        """What takes longer to measure, or is long to tell."""
        self._find_family()
        self._temperature_c = _hottest()
        now, memory, swap = time.monotonic(), self._memory(), self._swap()
        passed_s, self._reported_s = max(1e-9, now - self._reported_s), now
        was, self._cores_s = self._cores_s, self._times()
        spent, self._workers_s = self._workers_s, self._processor_time()
        _, disk_bytes, disk_free_bytes = self._disk_usage()
        return Vitals(
            cores_percent=tuple(_busy_percents(was, self._cores_s))[: limits.cores_max],
            cores=self._room,
            contained=self._cgroup.memory() is not None or self._cgroup.cpu_cores() is not None,
            memory_bytes=memory.limit_bytes,
            memory_used_bytes=memory.used_bytes,
            swap_bytes=swap.limit_bytes,
            swap_used_bytes=swap.used_bytes,
            disk_bytes=disk_bytes,
            disk_free_bytes=disk_free_bytes,
            descriptors=self._process.num_fds(),
            descriptors_max=min(descriptors.most(), 2**63 - 1),
            workers=tuple(self._workers(spent, passed_s))[: limits.slots_max],
        )

    def _workers(self, before: dict[int, float], passed_s: float) -> Iterable[WorkerVitals]:
        for pid, spent_s in self._workers_s.items():
            if pid != self._process.pid and (process := self._family.get(pid)):
                with suppress(psutil.Error):
                    percent = 100.0 * max(0.0, spent_s - before.get(pid, 0.0)) / passed_s
                    yield WorkerVitals(pid, percent, int(process.memory_info().rss))

    # --- Processes and cores ------------------------------------------------------------------

    def _adopt(self, workers: Iterable[int]) -> None:
        for pid in workers:
            if pid not in self._family:
                with suppress(psutil.Error):
                    self._family[pid] = psutil.Process(pid)

    def _find_family(self) -> None:
        """Look for all descendants: psutil reads every process of the machine for that."""
        found = [self._process]
        with suppress(psutil.Error):
            found += self._process.children(recursive=True)
        self._family = {process.pid: process for process in found}

    def _processor_time(self) -> dict[int, float]:
        """CPU seconds of each member so far; those that have ended are forgotten."""
        spent, self._memory_bytes = {}, 0
        for pid, process in list(self._family.items()):
            try:
                times = process.cpu_times()
                self._memory_bytes += int(process.memory_info().rss)
            except psutil.Error:
                del self._family[pid]
                continue
            spent[pid] = times.user + times.system
        return spent

    def _times(self) -> list[tuple[float, float]]:
        """Of each core that may be used: busy seconds, and all of them."""
        cores = psutil.cpu_times(percpu=True)
        return [_busy(cores[core]) for core in self._cores if core < len(cores)]


def _usable() -> list[int]:
    try:
        return sorted(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return list(range(psutil.cpu_count() or 1))


def _busy(times: Any) -> tuple[float, float]:
    # The guests' time stands in user and nice as well.
    whole = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return whole - times.idle - getattr(times, "iowait", 0.0), whole


def _busy_percents(
    before: list[tuple[float, float]], after: list[tuple[float, float]]
) -> list[float]:
    """Load of each core between two looks, 0..100."""
    pairs = zip(before, after, strict=False)
    spans = [(busy - busy_was, whole - was) for (busy_was, was), (busy, whole) in pairs]
    return [min(100.0, max(0.0, 100.0 * busy / span)) if span > 0 else 0.0 for busy, span in spans]


def _percent(memory: Memory) -> float:
    used = 100.0 * memory.used_bytes / memory.limit_bytes if memory.limit_bytes else 0.0
    return min(100.0, used)


def _traffic() -> tuple[float, float, float, float]:
    """Bytes so far: received, sent, read from disks, written to them; 0 where nobody counts."""
    received = sent = read = written = 0
    with suppress(OSError, RuntimeError, NotImplementedError):
        cards = psutil.net_io_counters(pernic=True, nowrap=False)
        outside = [card for name, card in cards.items() if name != "lo"]
        received = sum(card.bytes_recv for card in outside)
        sent = sum(card.bytes_sent for card in outside)
    with suppress(OSError, RuntimeError, NotImplementedError):
        disks = psutil.disk_io_counters(nowrap=False)
        read, written = (disks.read_bytes, disks.write_bytes) if disks else (0, 0)
    return float(received), float(sent), float(read), float(written)


def _hottest() -> float:
    """Degrees of the hottest sensor; 0 where there is none."""
    with suppress(OSError, AttributeError, ValueError):
        found = psutil.sensors_temperatures()
        return max((float(one.current) for rows in found.values() for one in rows), default=0.0)
    return 0.0


def _scratch() -> str:
    """The folder whose disk is measured: that of temporary files, or the root where nothing can be
    written.
    """
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return "/"
