"""What the tests on real networks share: whether there can be any, a lab for each, the table."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hpczmq.kernels import registry
from tests.integration.conftest import pytest_runtest_makereport  # noqa: F401 (a hook: logs)
from tests.network.lab import CLIENT, KERNELS, LOSS, Network, NetworkLab, Recovery

#: What is needed of the system, and Debian's packages that have it.
TOOLS = {"ip": "iproute2", "iptables": "iptables"}
_RECOVERIES = pytest.StashKey[list[Recovery]]()


def _missing() -> list[str]:
    return [package for tool, package in TOOLS.items() if shutil.which(tool) is None]


def _install(packages: list[str]) -> str:
    """Install packages as Debian does; what was wrong, if they are missing still."""
    said = "there is no apt-get here"
    if packages and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            # The other lane may just be installing, too.
            line = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", *command]
            done = subprocess.run(line, env=quiet, check=False, capture_output=True, text=True)
            said = done.stderr.strip()[-300:]
    return f"{' '.join(packages)} could not be installed: {said}" if _missing() else ""


def _why_not() -> str:
    """Why there can be no networks here; empty if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if said := _install(_missing()):
        return said
    try:  # whether this kernel, and the container that we may be in, let us
        with closing(Network()) as network:
            network.add(CLIENT)
            network.inside(CLIENT, lambda: None)
            network.rule(CLIENT, "INPUT", *LOSS)
    except (AssertionError, OSError) as error:
        return f"this system does not let us make networks: {error}"
    return ""


@pytest.fixture(scope="session")
def networks() -> Iterator[None]:
    """Skip where there can be none, and say why."""
    with pytest.MonkeyPatch.context() as patch:
        # Not in the PATH of everybody who is root.
        patch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")
        why = _why_not()
        if why:
            pytest.skip(why)
        yield


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process knows the kernel of the tests, as a client has to."""
    for name, value in KERNELS.items():
        monkeypatch.setenv(name, value)
    registry.refresh()
    yield
    monkeypatch.undo()
    registry.refresh()


@pytest.fixture
def lab(networks: None, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NetworkLab]:
    """Hosts on a network of their own, and room for their processes."""
    recoveries = request.config.stash.setdefault(_RECOVERIES, [])
    (folder := tmp_path / "lab").mkdir()
    with closing(NetworkLab(folder, recoveries)) as made:
        yield made


@pytest.fixture
def other(networks: None, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NetworkLab]:
    """A second one, side by side with the first."""
    recoveries = request.config.stash.setdefault(_RECOVERIES, [])
    (folder := tmp_path / "other").mkdir()
    with closing(NetworkLab(folder, recoveries)) as made:
        yield made


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The table of all that was repaired, and how long it took."""
    recoveries = config.stash.get(_RECOVERIES, [])
    if recoveries:
        terminalreporter.section("how long it took until all was well again")
        width = max(len(row.fault) for row in recoveries)
        for row in recoveries:
            terminalreporter.line(f"{row.fault:{width}}  {row.seconds:6.2f} s  {row.until}")
