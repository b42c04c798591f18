"""What a node measures of its machine, and of its container."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import psutil
import pytest

from hpczmq.nodes import sampler
from hpczmq.nodes.sampler import Sampler


class Times(NamedTuple):
    """Seconds of a core."""

    user: float
    idle: float


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the sampler sees; four cores, of which three and a half are busy."""
    now = [100.0]
    monkeypatch.setattr(sampler, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(sampler, "_usable", lambda: [0, 1, 2, 3])
    shares = (1.0, 1.0, 1.0, 0.5)
    monkeypatch.setattr(
        psutil,
        "cpu_times",
        lambda percpu: [Times(now[0] * share, now[0] * (1 - share)) for share in shares],
    )
    return now


def written(root: Path, files: dict[str, str]) -> Path:
    """A made-up tree of control groups."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """CPU seconds by process, as the sampler finds them."""
    used = {1: 10.0, 2: 20.0, 3: 50.0}
    monkeypatch.setattr(Sampler, "_processor_time", lambda self: dict(used))
    return used


def test_the_own_load_is_that_of_the_node_and_its_workers(
    tmp_path: Path, clock: list[float], spent: dict[int, float]
) -> None:
    measured = Sampler(tmp_path)
    clock[0] += 2.0
    spent.update({1: 11.0, 2: 22.0, 4: 1.0})  # a new worker counts from its start
    del spent[3]
    metrics = measured.sample()
    assert (metrics.cpu_percent, metrics.own_cpu_percent) == (87.5, 50.0)
    clock[0] += 2.0
    assert measured.sample().own_cpu_percent == 0.0


def test_the_own_load_is_no_more_than_all_there_is(
    tmp_path: Path, clock: list[float], spent: dict[int, float]
) -> None:
    measured = Sampler(tmp_path)
    clock[0] += 1.0
    spent[1] = 99.0
    assert measured.sample().own_cpu_percent == 87.5


V2 = {
    "proc/self/cgroup": "0::/a/b\n",
    "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
    "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/a/cpu.stat": "usage_usec 5000000\nuser_usec 1\n",
    "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
    "sys/fs/cgroup/a/memory.max": "max\n",
    "sys/fs/cgroup/a/b/memory.max": "1000000\n",
    "sys/fs/cgroup/a/b/memory.current": "800000\n",
    "sys/fs/cgroup/a/b/memory.stat": "anon 1\ninactive_file 50000\n",
    "sys/fs/cgroup/a/b/memory.swap.max": "200\n",
    "sys/fs/cgroup/a/b/memory.swap.current": "50\n",
}
V1 = {
    "proc/self/cgroup": "3:cpu,cpuacct:/docker/x\n2:memory:/docker/x\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpuacct/cpuacct.usage": "5000000000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "800000\n",
    "sys/fs/cgroup/memory/memory.stat": "cache 1\ntotal_inactive_file 50000\n",
}


@pytest.mark.parametrize("files", [V2, V1], ids=["v2", "v1"])
def test_in_a_container_its_limits_count_and_not_the_hosts_numbers(
    tmp_path: Path, clock: list[float], spent: dict[int, float], files: dict[str, str]
) -> None:
    measured = Sampler(written(tmp_path, files))
    clock[0] += 2.0
    spent[1] += 0.6
    usage = {"sys/fs/cgroup/a/cpu.stat": "usage_usec 6500000\n"}
    if files is V1:
        usage = {"sys/fs/cgroup/cpuacct/cpuacct.usage": "6500000000\n"}
    written(tmp_path, usage)
    metrics = measured.sample()
    assert metrics.cpu_percent == pytest.approx(50.0), "1.5 s of the 3 that 1.5 cores have"
    assert metrics.own_cpu_percent == pytest.approx(20.0)
    assert metrics.memory_percent == pytest.approx(75.0)
    assert metrics.memory_free_bytes == 250_000
    vitals = measured.report()
    assert (vitals.contained, vitals.cores, vitals.memory_bytes) == (True, 1.5, 1_000_000)
    if files is V2:
        assert metrics.swap_percent == pytest.approx(25.0)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": "junk\n:::\n0::/../../x\n"},
        {**V2, "sys/fs/cgroup/a/cpu.max": "lots of\n", "sys/fs/cgroup/a/b/memory.max": "-1\n"},
        {**V1, "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
         "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"},
    ],
)  # fmt: skip
def test_without_limits_it_is_the_machine_that_counts(
    tmp_path: Path, files: dict[str, str]
) -> None:
    measured = Sampler(written(tmp_path, files))
    vitals = measured.report()
    assert not vitals.contained
    assert vitals.memory_bytes == psutil.virtual_memory().total


def test_a_report_tells_each_core(
    tmp_path: Path, clock: list[float], spent: dict[int, float]
) -> None:
    measured = Sampler(tmp_path)
    clock[0] += 2.0
    vitals = measured.report()
    assert vitals.cores_percent == pytest.approx((100.0, 100.0, 100.0, 50.0))
    assert vitals.cores == 4.0


def test_this_process_measures_something() -> None:
    measured = Sampler()
    metrics, vitals = measured.sample(), measured.report()
    assert 0.0 <= metrics.own_cpu_percent <= 100.0
    assert metrics.own_memory_bytes > 0
    assert 0.0 < metrics.descriptors_percent < 100.0
    assert 0.0 < metrics.disk_percent <= 100.0
    assert len(vitals.cores_percent) >= 1
    assert vitals.descriptors > 0
    assert 0 < vitals.disk_free_bytes <= vitals.disk_bytes
    assert metrics.received_bytes_per_s >= 0.0


def test_a_worker_that_has_ended_is_forgotten() -> None:
    measured = Sampler()
    assert measured.sample([2**22 + 1]).own_memory_bytes > 0
