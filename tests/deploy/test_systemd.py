"""The units of systemd and install.sh, looked at without a host."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from hpczmq import limits
from hpczmq.config import load
from hpczmq.errors import NotAllowed
from tests.debian import installed
from tests.deploy.test_dockerfiles import CONTAINERS_OWN, SETTINGS, tool
from tests.integration.harness import ROOT

FOLDER: Final = ROOT / "deploy/systemd"
PROGRAM: Final = "/opt/hpczmq/bin/hpczmq"
UNITS: Final = ("hpczmq-master.service", "hpczmq-slave.service", "hpczmq-memoria@.service")
DROP_INS: Final = sorted(path.name for path in (FOLDER / "examples").iterdir())
#: Of 10; an ordinary service without any hardening has 9.6.
EXPOSURE_MAX: Final = 2.0


def settings(name: str) -> dict[str, list[str]]:
    """The lines of a unit, by their keys."""
    found: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def environment(name: str) -> dict[str, str]:
    """The variables that a unit sets."""
    return dict(line.split("=", 1) for line in settings(name).get("Environment", []))


@pytest.fixture
def checkable(tmp_path: Path) -> Path:
    """A folder with the units, whose program is one that is there."""
    for name in UNITS:
        text = (FOLDER / name).read_text()
        assert f"ExecStart={PROGRAM} " in text
        (tmp_path / name).write_text(text.replace(f"ExecStart={PROGRAM} ", "ExecStart=/bin/true "))
    return tmp_path


def analyzed(*arguments: str, cwd: Path) -> str:
    installed(["systemd-analyze"], ["systemd"])
    done = subprocess.run(
        ["systemd-analyze", *arguments], cwd=cwd, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_systemd_finds_nothing_in_the_units(checkable: Path) -> None:
    names = [name.replace("@", "@1") for name in UNITS]
    # It exits with 0 whatever it finds.
    assert analyzed("verify", "--man=no", *names, cwd=checkable) == ""


def test_systemd_would_say_what_is_misspelt(checkable: Path) -> None:
    slave = checkable / UNITS[1]
    slave.write_text(slave.read_text().replace("OOMPolicy=", "OOMPolice="))
    assert "OOMPolice" in analyzed("verify", "--man=no", slave.name, cwd=checkable)


@pytest.mark.parametrize("name", DROP_INS)
def test_systemd_finds_nothing_in_the_examples(checkable: Path, name: str) -> None:
    folder = checkable / f"{UNITS[1]}.d"
    folder.mkdir()
    (folder / name).write_text((FOLDER / "examples" / name).read_text())
    assert analyzed("verify", "--man=no", UNITS[1], cwd=checkable) == ""


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_hardened(checkable: Path, name: str) -> None:
    said = analyzed("security", "--offline=yes", "--no-pager", f"./{name}", cwd=checkable)
    level = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert level is not None
    assert float(level[1]) <= EXPOSURE_MAX, said


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_leaves_what_its_node_needs(name: str) -> None:
    unit = settings(name)
    # Limits are raised and lowered, and the machine is measured by /proc (hpczmq/confine.py).
    assert unit["SystemCallFilter"] == ["@system-service"]
    assert "ProcSubset" not in unit
    assert "MemoryDenyWriteExecute" not in unit
    assert set(unit["RestrictAddressFamilies"][0].split()) >= {"AF_INET", "AF_INET6", "AF_UNIX"}
    if "slave" in name:
        assert "ProtectProc" not in unit, "it would not see all that its workers start"
        assert unit["OOMPolicy"] == ["continue"], "or a worker would take its slave along"


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_sets_only_what_is_a_setting(name: str) -> None:
    given = environment(name)
    assert set(given) <= SETTINGS | CONTAINERS_OWN | {"TMPDIR"}
    # And to what can be one: no specifier of systemd's is left then.
    plain = {
        key: re.sub(r"%[SdH]", "/x", value).replace("%i", "1")
        for key, value in given.items()
        if not key.endswith("_FILE")
    }
    load({}, plain)


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_its_node_and_does_not_try_again_what_can_t_go(name: str) -> None:
    unit = settings(name)
    role = re.split(r"[-@.]", name)[1]
    assert unit["ExecStart"] == [f"{PROGRAM} {role}"]
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == [f"2 {NotAllowed.exit_code}"]
    assert (unit["KillSignal"], unit["KillMode"]) == (["SIGTERM"], ["mixed"])


def test_a_slave_has_left_before_it_is_killed() -> None:
    patience_s = float(settings(UNITS[1])["TimeoutStopSec"][0])
    assert limits.grace_s_default + limits.farewell_s + limits.worker_end_s < patience_s


def test_kernels_are_another_user_than_the_keys() -> None:
    users = {name: settings(name)["User"][0] for name in UNITS}
    assert users["hpczmq-slave.service"] != users["hpczmq-master.service"]
    made = re.findall(r"^u (\S+)", (FOLDER / "sysusers.conf").read_text(), re.MULTILINE)
    assert set(users.values()) == set(made)
    for name in UNITS:
        unit = settings(name)
        assert unit["StateDirectory"] == [users[name]], "its home, in which its key is"
        assert unit["StateDirectoryMode"] == ["0700"]


@pytest.mark.parametrize("name", UNITS[1:])
def test_what_a_node_joins_by_is_a_credential_that_may_be_missing(name: str) -> None:
    unit = settings(name)
    for secret in ("token", "fingerprint"):
        assert f"HPCZMQ_{secret.upper()}_FILE=%d/{secret}" in unit["Environment"]
        assert any(line.startswith(f"{secret}:/etc/hpczmq/") for line in unit["LoadCredential"])
        assert f"{secret}:\\n" in unit["SetCredential"], "or a node with a key would not start"


def test_the_scripts_pass_shellcheck() -> None:
    tool("shellcheck", "deploy/systemd/install.sh", "deploy/systemd/hpczmq-admin")


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(FOLDER / "install.sh"), *arguments], check=False, capture_output=True, text=True
    )


def test_install_says_what_it_would_do_and_does_nothing() -> None:
    done = script("--dry-run")
    assert done.returncode == 0, done.stderr
    steps = [line for line in done.stdout.partition("next, ")[0].splitlines() if line]
    assert all(line.startswith("would: ") for line in steps)
    for name in UNITS:
        assert f"/etc/systemd/system/{name}" in done.stdout
    assert script("uninstall", "--purge", "--dry-run").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--bad"], "--bad: is no option"),
        (["--from"], "--from: must be followed by a wheel or a folder"),
        (["--purge"], "--purge: only with uninstall"),
        (["uninstall", "--from", "x.whl"], "--from: not with uninstall"),
        (["--dry-run", "--from", "/nowhere.whl"], "/nowhere.whl: is not there"),
        (["--dry-run", "--from", "/"], "/: has no pyproject.toml"),
    ],
)
def test_install_refuses_what_it_can_t_do(arguments: list[str], complaint: str) -> None:
    done = script(*arguments)
    assert done.returncode in (1, 2)
    assert complaint in done.stderr


def test_install_names_the_remedy_for_an_old_python(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        [str(FOLDER / "install.sh"), "--dry-run"],
        env={"PYTHON": str(old), "PATH": "/usr/bin:/bin"},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "must be Python 3.11 or newer: name another one with PYTHON=" in done.stderr


def test_the_help_tells_every_option() -> None:
    told = script("--help").stdout
    text = (FOLDER / "install.sh").read_text()
    options = set(re.findall(r"^ +(?:-h \| )?(--[a-z-]+)\)", text, re.MULTILINE))
    assert {"--from", "--purge", "--dry-run", "--help"} == options
    assert all(option in told for option in options)


def test_the_example_for_slurm_passes_shellcheck() -> None:
    tool("shellcheck", "examples/slurm.sbatch")
