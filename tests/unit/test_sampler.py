"""What a node measures of its machine."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from hpczmq.nodes import sampler
from hpczmq.nodes.sampler import Sampler


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the sampler sees; four cores, all of them busy."""
    now = [100.0]
    monkeypatch.setattr(sampler, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
    monkeypatch.setattr(psutil, "cpu_percent", lambda: 95.0)
    return now


def test_the_own_load_is_that_of_the_node_and_its_workers(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = {1: 10.0, 2: 20.0, 3: 50.0}
    monkeypatch.setattr(Sampler, "_processor_time", lambda self: dict(used))
    measured = Sampler()
    clock[0] += 2.0
    used.update({1: 11.0, 2: 22.0, 4: 1.0})  # a new worker counts from its start
    del used[3]
    metrics = measured.sample()
    assert (metrics.cpu_percent, metrics.own_cpu_percent) == (95.0, 50.0)
    clock[0] += 2.0
    assert measured.sample().own_cpu_percent == 0.0


def test_the_own_load_is_no_more_than_all_there_is(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = {1: 0.0}
    monkeypatch.setattr(Sampler, "_processor_time", lambda self: dict(used))
    measured = Sampler()
    clock[0] += 1.0
    used[1] = 99.0
    assert measured.sample().own_cpu_percent == 95.0


def test_this_process_has_used_some_time() -> None:
    assert 0.0 <= Sampler().sample().own_cpu_percent <= 100.0
