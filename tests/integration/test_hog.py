"""A slave in a container-like group whose CPU or memory somebody else takes: its alert appears, it
gets nothing new, and both are over when the hog is."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import hpczmq
from tests.integration.harness import ROOT, Lab, Program, until

MOUNT = Path("/sys/fs/cgroup")
LIMIT_BYTES = 400 << 20
RULES = """
[[rule]]
name = "cpu-saturated"
metric = "foreign_cpu_percent"
raise_at = 70
clear_at = 40
for_s = 2
saturation = true
text = "CPU of {node} at {value:.0f} % by others: end them"
[[rule]]
name = "memory-saturated"
metric = "memory_percent"
raise_at = 85
clear_at = 70
for_s = 1
saturation = true
text = "memory of {node} at {value:.0f} %: fewer slots"
"""
CPU_HOG = "while True: pass"
MEMORY_HOG = f"""
import time
held = []
while True:
    with open("USED") as file:
        used = int(file.read())
    if used < 0.93 * {LIMIT_BYTES}:
        held.append(bytearray(b"x" * (8 << 20)))
    else:
        time.sleep(0.05)
"""


class Group:
    """A control group with one core and some memory, of version 1 or 2."""

    def __init__(self) -> None:
        name = f"hpczmq-{uuid.uuid4().hex[:12]}"
        unified = (MOUNT / "cgroup.controllers").exists()
        if unified:
            self.folders = [MOUNT / name]
            limits = {"cpu.max": "100000 100000", "memory.max": str(LIMIT_BYTES)}
            self.used = self.folders[0] / "memory.current"
        else:
            own = _own_memory_group()
            parents = [MOUNT / "cpu", MOUNT / "cpuacct", MOUNT / "memory" / own]
            self.folders = [parent / name for parent in parents]
            limits = {
                "cpu.cfs_period_us": "100000",
                "cpu.cfs_quota_us": "100000",
                "memory.limit_in_bytes": str(LIMIT_BYTES),
            }
            self.used = self.folders[-1] / "memory.usage_in_bytes"
        for folder in self.folders:
            folder.mkdir()
        for file, value in limits.items():
            (found,) = [path for f in self.folders if (path := f / file).exists()]
            found.write_text(value)

    def start(self, lab: Lab, name: str, *command: str) -> Program:
        """Start a process in it."""
        files = " ".join(str(folder / "cgroup.procs") for folder in self.folders)
        join = f'for f in {files}; do echo $$ > $f; done; exec "$@"'
        return lab.start(name, ["sh", "-c", join, "sh", *command])

    def close(self) -> None:
        """Take it away; its processes are gone."""
        for folder in self.folders:
            until(lambda folder=folder: _removed(folder), f"{folder} is empty")  # type: ignore[misc]


def _own_memory_group() -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            return path.strip("/")
    return ""


def _removed(folder: Path) -> bool:
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()


@pytest.fixture
def group(lab: Lab) -> Iterator[Group]:
    """A group for the slave and its hog."""
    try:
        made = Group()
    except (OSError, ValueError) as error:
        pytest.skip(f"control groups can't be made here (they take root): {error}")
    yield made
    lab.close()
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize(("hog", "rule"), [(CPU_HOG, "cpu"), (MEMORY_HOG, "memory")])
def test_a_hog_raises_an_alert_stops_placement_and_both_clear_when_it_ends(
    lab: Lab, group: Group, hog: str, rule: str
) -> None:
    (lab.folder / "rules.toml").write_text(RULES)
    env = {"HPCZMQ_RULES": str(lab.folder / "rules.toml"), "HPCZMQ_HISTORY": "off"}
    spares = {**env, "HPCZMQ_SPARE_SATURATED": "true"}
    master = lab.master("--heartbeat", "0.5", env=spares)
    binds = ("--bind", "127.0.0.1:0", "--control-bind", "127.0.0.1:0")
    lab.node("memoria", "--master", master.address, *binds, env=env)
    slave = (
        "slave",
        "--master",
        master.address,
        "--name",
        "boxed",
        "--slots",
        "1",
        "--bind",
        "off",
    )
    group.start(lab, "slave", sys.executable, str(ROOT / "cli.py"), *slave)
    with hpczmq.Client(master.address) as client:
        until(lambda: client.status().slaves == 1 and client.metrics(["boxed"]), "it has joined")
        (row,) = client.metrics(["boxed"])
        assert row.metrics.memory_percent > 0
        assert client.map("echo", [{"value": 1}])[0].result(60) == 1
        until(lambda: not client.alerts(["boxed"]), "it is calm")
        vitals = client.metrics(["boxed"])[0].vitals
        assert (vitals.contained, vitals.memory_bytes, vitals.cores) == (True, LIMIT_BYTES, 1.0)

        hogs = [
            group.start(lab, "hog", sys.executable, "-c", hog.replace("USED", str(group.used)))
            for _ in range(2 if rule == "cpu" else 1)
        ]
        wanted = [f"{rule}-saturated/boxed"]
        until(lambda: [a.id for a in client.alerts(["boxed"])] == wanted, "its alert is raised")
        until(lambda: "gets nothing new until" in master.said(), "the master knows")
        future = client.map("echo", [{"value": 2}])[0]
        job = client.jobs()[-1]
        until(lambda: client.jobs()[-1].cause.startswith("waits: "), "its task waits")
        assert job.running == 0
        assert not future.done()
        for one in hogs:
            one.popen.kill()
            one.wait()
        assert future.result(60) == 2
        until(lambda: not client.alerts(["boxed"]), "its alert is over")
    assert os.path.exists(group.used)
