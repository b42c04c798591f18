"""What all tests share: how hard hypothesis looks, and that nothing is left behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

#: A process that was told to stop may take so long to be gone.
GONE_S = 5.0
#: Python keeps these two for itself until it ends; they belong to no test.
PYTHONS_OWN = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")

#: Folders whose tests may start processes, and must end them; each is its tests' marker too.
LEAVE_NOTHING = ("integration", "network", "containers")

# The same examples in every run, so that CI is red for what was changed and for nothing else.
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=100)
# New examples each night; a failure prints what it takes to replay it.
settings.register_profile("nightly", deadline=None, max_examples=5_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in the folders of real processes as what it is."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in LEAVE_NOTHING:
            item.add_marker(getattr(pytest.mark, folder))


@pytest.fixture(scope="session", autouse=True)
def temp_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A temp folder for us and our processes alone: what is found there is ours."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("t")
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("HPCZMQ_KEYS", "off")  # who runs the tests may have a cluster of their own
        patch.setattr(tempfile, "tempdir", None)  # asks for TMPDIR anew
        yield folder


@pytest.fixture(scope="session", autouse=True)
def nothing_left_by_fixtures(temp_folder: Path) -> Iterator[None]:
    """Fail when a fixture of a module or of the session leaves something behind."""
    yield from _nothing_left(temp_folder)


@pytest.fixture(autouse=True)
def nothing_left_by_test(request: pytest.FixtureRequest, temp_folder: Path) -> Iterator[None]:
    """Fail when a test that may start processes leaves one or a file behind."""
    if any(map(request.node.get_closest_marker, LEAVE_NOTHING)):
        yield from _nothing_left(temp_folder)
    else:
        yield


def _nothing_left(folder: Path) -> Iterator[None]:
    """Compare what there is before and after; kill the processes that are left."""
    processes, files = _children(), _files(folder)
    yield
    _, alive = psutil.wait_procs(_children() - processes, timeout=GONE_S)
    left = [_described(process) for process in alive]
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=GONE_S)
    left += [str(path) for path in sorted(_files(folder) - files)]
    assert not left, "left behind:\n" + "\n".join(left)


def _files(folder: Path) -> set[Path]:
    """What of ours is in the temp folder.

    Without the folders of slaves: one that is killed leaves its own behind, for the next one to
    take away (tests/integration/test_least_power.py).
    """
    return set(folder.glob("hpczmq-*")) - set(folder.glob("hpczmq-slave-*"))


def _children() -> set[psutil.Process]:
    """The processes below this one, without those that are Python's own."""
    return {
        process
        for process in psutil.Process().children(recursive=True)
        if not any(name in _described(process) for name in PYTHONS_OWN)
    }


def _described(process: psutil.Process) -> str:
    """The process in a line, even when it has just ended."""
    try:
        return f"process {process.pid}: {' '.join(process.cmdline())} ({process.status()})"
    except psutil.NoSuchProcess:
        return f"process {process.pid}: ended"
