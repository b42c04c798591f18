"""What the tests in containers share: the engine, the images, a registry, a cluster of Compose."""

from __future__ import annotations

import faulthandler
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.containers import engine
from tests.containers.cluster import PREFIX, Cluster, Site

#: A version that no release has.
NEXT = "0.0.0-next"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what every container said, when a test that has a cluster fails."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for value in item.funcargs.values():
            if isinstance(value, Cluster):
                report.sections += value.logs()
                break
    return report


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[None]:
    """Skip where there is none, and say why."""
    # The first test waits for all that is built; pytest's own limit is for tests.
    faulthandler.dump_traceback_later(3 * engine.BUILD_S, exit=True)
    with engine.engine():
        engine.sweep(PREFIX)
        yield


@pytest.fixture
def next_images(site: Site) -> str:
    """The version of images that come after those that the cluster runs."""
    faulthandler.dump_traceback_later(engine.BUILD_S, exit=True)
    site.script("registry/build-all-images.sh", HPC_VERSION=NEXT, timeout_s=engine.BUILD_S)
    return NEXT


@pytest.fixture(scope="session")
def base(docker_engine: None) -> str:
    """The image that the others are built from."""
    return engine.base()


@pytest.fixture(scope="session")
def site(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A registry with our images, which have been built, pushed, removed and pulled."""
    with closing(Site(base, tmp_path_factory.mktemp("site"))) as made:
        made.open()
        yield made


@pytest.fixture(scope="module")
def cluster(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster of compose.yaml on one host, with two slaves."""
    with closing(Cluster(site, tmp_path_factory.mktemp("cluster"))) as made:
        made.up()
        yield made


@pytest.fixture
def two_slaves(cluster: Cluster, tmp_path: Path) -> Cluster:
    """The cluster with two slaves that are ready, whatever the last test has done to it."""
    cluster.out = tmp_path
    cluster.scale(2)
    return cluster
