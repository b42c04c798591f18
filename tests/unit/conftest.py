"""A bench for each machine; see `harness`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.harness import MemoryBench, SessionBench, WorkerBench, World


@pytest.fixture
def world() -> Iterator[World]:
    """A master's core."""
    bench = World()
    yield bench
    bench.done()


@pytest.fixture
def slave() -> Iterator[WorkerBench]:
    """A slave's core with one slot."""
    bench = WorkerBench()
    yield bench
    bench.done()


@pytest.fixture
def memory() -> Iterator[MemoryBench]:
    """A memoria's core."""
    bench = MemoryBench()
    yield bench
    bench.done()


@pytest.fixture
def session() -> Iterator[SessionBench]:
    """A client's core."""
    bench = SessionBench()
    yield bench
    bench.done()
