"""What the integration tests share: a lab for each test, and what it said when a test fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hpczmq.cluster import LocalCluster
from tests.integration.harness import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Room for the processes of one test."""
    with closing(Lab(tmp_path)) as made:
        yield made


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Room for processes that all tests of a module use, and none of them ends."""
    with closing(Lab(tmp_path_factory.mktemp("lab"))) as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what every process said, when a test that has some fails."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for value in item.funcargs.values():
            if isinstance(value, Lab):
                report.sections += value.said()
            elif isinstance(value, LocalCluster):
                report.sections += value.logs()
    return report
