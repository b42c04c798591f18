"""A cluster without containers: units of systemd, as install.sh puts them on a host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from hpczmq.model import JobState
from tests.containers.engine import docker
from tests.containers.hosts import INSTALL, KERNELS, LOADED, Host, host_image, installed_image
from tests.integration.harness import ROOT, until

pytestmark = pytest.mark.slow

NODES: Final = ("hpczmq-master", "hpczmq-slave", "hpczmq-memoria@1", "hpczmq-memoria@2")
SLAVE: Final = "hpczmq-slave"
#: A kernel that starts a program, which leaves it and lets nobody look at it, and then hangs.
SHY: Final = "sleep 4242"
SHY_KERNEL: Final = f"""
class Shy(Hang):
    name = "shy"

    def run(self, params, task, cancelled):
        hide = "import ctypes, os; ctypes.CDLL(None).prctl(4, 0); os.setsid(); import time;"
        subprocess.Popen([sys.executable, "-c", hide + "time.sleep(3600)", "{SHY}"])
        super().run(params, task, cancelled)
"""
#: Where a host has what a slave joins by, and the settings of all its nodes.
JOIN: Final = "/etc/hpczmq"
#: What differs between two slaves by its nature, and by what started them.
OF_ONE_SLAVE: Final = {"environ", "folder", "left", "fds", "heirs"}
DROP_INS: Final = f"/etc/systemd/system/{SLAVE}.service.d"


@pytest.fixture(scope="module")
def image(base: str) -> Iterator[str]:
    """A host on which hpczmq is installed."""
    made = installed_image(host_image(base))
    yield made
    docker("rmi", "-f", made)


@pytest.fixture(scope="module")
def running(image: str) -> Iterator[Host]:
    """A host with all the units of a cluster, which have joined by tokens."""
    with closing(Host(image, "maestro")) as host:
        kernels = (ROOT / "tests/kernels_for_tests.py").read_text() + "import sys\n" + SHY_KERNEL
        host.write(f"{KERNELS}/snooper.py", kernels)
        host.write(f"{JOIN}/common.env", f"PYTHONPATH={KERNELS}\nHPCZMQ_KERNELS={LOADED}\n")
        host.write(f"{JOIN}/slave.env", "HPCZMQ_SLOTS=2\nHPCZMQ_LABELS=how=systemd\n")
        key = host.admin("keys", "init")["fingerprint"]
        host.write(f"{JOIN}/fingerprint", key, "600")
        for role in ("slave", "memoria"):
            token = host.admin("keys", "token", "--role", role, "--uses", "9")["token"]
            host.write(f"{JOIN}/{role}.token", token, "600")
        host.says("systemctl", "enable", "--now", *NODES)
        yield host


@pytest.fixture
def host(running: Host) -> Host:
    """The same with a slave that is ready, whatever the last test has done to it."""
    running.ended("rm", "-rf", DROP_INS)
    running.write(f"{JOIN}/slave.env", "HPCZMQ_SLOTS=2\nHPCZMQ_LABELS=how=systemd\n")
    running.says("systemctl", "daemon-reload")
    running.ended("systemctl", "reset-failed", SLAVE)
    running.says("systemctl", "restart", SLAVE)
    until_ready(running, 1)
    return running


def ready(host: Host) -> list[dict[str, Any]]:
    """The slaves that are."""
    return [one for one in host.admin("slaves") if one["state"] == "ready"]


def until_ready(host: Host, count: int) -> None:
    until(lambda: len(ready(host)) == count, f"{count} slaves are ready")


def submit(host: Host, *jobs: dict[str, Any]) -> list[str]:
    """Hand jobs in; their ids."""
    lines = "".join(f"{json.dumps(job)}\n" for job in jobs)
    ids: list[str] = host.admin("submit", "-", stdin=lines)
    return ids


def job(host: Host, name: str) -> dict[str, Any]:
    found: dict[str, Any] = host.admin("job", name)
    return found


def done(host: Host, name: str) -> dict[str, Any]:
    """A job, when it has ended well."""
    until(lambda: job(host, name)["state"] not in ("queued", "running"), f"{name} has ended")
    ended = job(host, name)
    assert ended["state"] == JobState.DONE.name.lower(), ended
    return ended


def test_installing_again_changes_nothing(host: Host) -> None:
    said = host.says(INSTALL)
    assert "hpczmq-slave.service: is there" in said
    assert "common.env: stays as it is" in said
    assert "writes it" not in said
    assert "makes it" not in said
    assert "systemctl restart" in said, "it says what runs the older version"
    assert "hpczmq-slave.service" in said.partition("systemctl restart")[2]


def test_every_node_is_there_and_has_no_privilege(host: Host) -> None:
    status = host.admin("status")
    assert len(status["memorias"]) == 2
    for node in NODES:
        unit = host.unit(node)
        assert unit["ActiveState"] == "active", node
        process = host.says("cat", f"/proc/{unit['MainPID']}/status")
        facts = dict(line.split(":\t", 1) for line in process.splitlines() if ":\t" in line)
        assert facts["CapBnd"] == facts["CapEff"] == "0000000000000000", node
        assert facts["NoNewPrivs"] == "1", node
        assert facts["Seccomp"] == "2", node
        assert not facts["Uid"].startswith("0\t"), node


def test_the_main_algorithms_give_what_they_give_everywhere(host: Host, tmp_path: Path) -> None:
    shape = {"kernel": "julia", "width": 320, "height": 240, "iterations": 200}
    jobs = [
        {**shape, "algorithm": algorithm, "name": f"as-{algorithm}"}
        for algorithm in ("Secuencial", "Numpy", "juliaCython")
    ]
    lines = "".join(f"{json.dumps(one)}\n" for one in jobs)
    host.admin("run", "-", "--out", "/var/lib/hpczmq/results", stdin=lines)
    digests = set()
    for one in jobs:
        path = f"/var/lib/hpczmq/results/{one['name']}/job.json"
        digests.add(json.loads(host.says("cat", path))["digest"])
    assert len(digests) == 1
    there = {"HPCZMQ_KEYS": "off", "PATH": "/usr/bin:/bin", "HOME": "/srv"}
    command = [f"{name}={text}" for name, text in there.items()]
    host.write("/srv/alone.jsonl", lines)
    host.says(
        "env", "-i", *command, "/opt/hpczmq/bin/hpczmq", "run", "/srv/alone.jsonl", "--out",
        "/srv/alone",
    )  # fmt: skip
    alone = json.loads(host.says("cat", "/srv/alone/as-Secuencial/job.json"))
    assert digests == {alone["digest"]}


def test_workers_are_confined_as_without_systemd(host: Host) -> None:
    other = (
        "cd /var/lib/hpczmq-slave && exec runuser -u hpczmq-slave -- env HOME=/var/lib/hpczmq-slave"
        f" PYTHONPATH={KERNELS} HPCZMQ_KERNELS={LOADED} HPCZMQ_TOKEN_FILE=/dev/shm/token"
        f" HPCZMQ_FINGERPRINT=$(cat {JOIN}/fingerprint) HPCZMQ_KEY=/var/lib/hpczmq-slave/other.key"
        " /opt/hpczmq/bin/hpczmq slave --name other --slots 1 --label how=by-hand"
    )
    host.says("install", "-o", "hpczmq-slave", "-m", "600", f"{JOIN}/slave.token", "/dev/shm/token")
    docker("exec", "-d", host.name, "sh", "-c", other)
    until_ready(host, 2)
    found = {}
    for how in ("systemd", "by-hand"):
        asked = {"kernel": "snoop", "name": how, "requires": {"labels": {"how": how}}}
        out = f"/var/lib/hpczmq/{how}"
        host.admin("run", "-", "--out", out, stdin=json.dumps(asked) + "\n")
        found[how] = json.loads(host.says("cat", f"{out}/{how}/result.json"))
    host.says("pkill", "-TERM", "-f", "slave --name other")
    until_ready(host, 1)
    unit, by_hand = found["systemd"], found["by-hand"]
    assert unit["parent"] == ["PermissionError", "PermissionError"], "its slave's memory is not its"
    assert {key: unit[key] for key in unit.keys() - OF_ONE_SLAVE} == {
        key: by_hand[key] for key in by_hand.keys() - OF_ONE_SLAVE
    }
    assert unit["folder"].startswith("/var/tmp/hpczmq-slave-"), "it has a folder of its own"
    assert not any("TOKEN" in name or "CREDENTIAL" in name for name in unit["environ"])


def test_what_a_kernel_hides_is_killed_with_its_worker(host: Host) -> None:
    asked = {"kernel": "shy", "name": "shy", "timeout_s": 3, "retries": 0}
    (name,) = submit(host, asked)
    until(lambda: host.ended("pgrep", "-f", SHY)[0] == 0, "it has started a program")
    until(lambda: job(host, name)["state"] == "failed", "its time is over")
    until(lambda: host.ended("pgrep", "-f", SHY)[0] == 1, "the program is gone, too")


def test_a_slave_that_is_stopped_ends_what_it_runs_and_nothing_is_lost(host: Host) -> None:
    names = submit(host, *[{"kernel": "sleep", "seconds": 3, "name": f"s{n}"} for n in range(4)])
    until(lambda: [job(host, one)["running"] for one in names[:2]] == [1, 1], "two of them run")
    host.says("systemctl", "stop", SLAVE)
    unit = host.unit(SLAVE)
    assert (unit["Result"], unit["ExecMainStatus"]) == ("success", "0")
    states = [job(host, one)["state"] for one in names]
    assert states == ["done", "done", "queued", "queued"], "what ran has ended, the rest waits"
    host.says("systemctl", "start", SLAVE)
    for one in names:
        assert done(host, one)["attempts"] == 1, "none of it was run twice"


def test_a_slave_that_is_killed_is_started_again_and_nothing_is_lost(host: Host) -> None:
    (name,) = submit(host, {"kernel": "sleep", "seconds": 15, "name": "kill"})
    until(lambda: job(host, name)["running"] == 1, "it runs")
    before = host.unit(SLAVE)
    host.says("systemctl", "kill", "-s", "KILL", SLAVE)
    until(lambda: host.unit(SLAVE)["NRestarts"] != before["NRestarts"], "it is started again")
    done(host, name)
    after = host.unit(SLAVE)
    assert after["MainPID"] != before["MainPID"]
    assert after["ActiveState"] == "active"
    left = host.says("sh", "-c", "ls /var/tmp; ls /tmp")
    assert left.count(f"{SLAVE}.service-") <= 2, "one private folder each"


def test_a_wrong_setting_is_said_once_and_not_tried_again(host: Host) -> None:
    host.write(f"{JOIN}/slave.env", "HPCZMQ_SLOTS=many\n")
    host.says("systemctl", "restart", SLAVE)
    until(lambda: host.unit(SLAVE)["ActiveState"] == "failed", "it has failed")
    unit = host.unit(SLAVE)
    assert (unit["ExecMainStatus"], unit["NRestarts"]) == ("2", "0")
    assert "HPCZMQ_SLOTS = many: must be a whole number" in host.log(SLAVE)


def test_a_token_that_is_none_is_said_once_and_not_tried_again(host: Host) -> None:
    host.write(f"{JOIN}/other.token", "a" * 32, "600")
    host.write(f"{JOIN}/slave.env", "HPCZMQ_KEY=/var/lib/hpczmq-slave/not-there.key\n")
    host.write(
        f"{DROP_INS}/token.conf",
        f"[Service]\nLoadCredential=\nLoadCredential=token:{JOIN}/other.token\n"
        f"LoadCredential=fingerprint:{JOIN}/fingerprint\n",
    )
    host.says("systemctl", "daemon-reload")
    host.says("systemctl", "restart", SLAVE)
    until(lambda: host.unit(SLAVE)["ActiveState"] == "failed", "it has failed")
    unit = host.unit(SLAVE)
    assert (unit["ExecMainStatus"], unit["NRestarts"]) == ("4", "0")


def test_a_slave_needs_no_token_once_it_has_joined(host: Host) -> None:
    host.says("mv", f"{JOIN}/slave.token", f"{JOIN}/slave.token.away")
    try:
        host.says("systemctl", "restart", SLAVE)
        until_ready(host, 1)
        assert ready(host)[0]["name"] == "maestro", "and it is the same one"
    finally:
        host.says("mv", f"{JOIN}/slave.token.away", f"{JOIN}/slave.token")


def test_the_limits_of_the_example_are_the_slave_s(host: Host) -> None:
    example = (ROOT / "deploy/systemd/examples/limits.conf").read_text()
    host.write(f"{DROP_INS}/limits.conf", example)
    host.says("systemctl", "daemon-reload")
    host.says("systemctl", "restart", SLAVE)
    until_ready(host, 1)
    unit = host.unit(SLAVE)
    assert (unit["MemoryMax"], unit["TasksMax"]) == (str(4 << 30), "512")
    (slave,) = ready(host)
    assert (slave["slots"], slave["memory_bytes"]) == (2, 3 << 30)


def test_uninstalling_leaves_what_was_made_by_the_cluster_and_purging_nothing(image: str) -> None:
    with closing(Host(image, "esclavo1")) as host:
        host.admin("keys", "init")
        host.says("systemctl", "enable", "--now", "hpczmq-master")
        host.says(INSTALL, "uninstall")
        assert host.unit("hpczmq-master")["LoadState"] == "not-found"
        assert host.ended("pgrep", "-f", "hpczmq")[0] == 1, "nothing of it runs"
        gone = ("/opt/hpczmq", "/usr/local/bin/hpczmq", "/etc/sysusers.d/hpczmq.conf")
        for path in gone:
            assert host.ended("test", "-e", path)[0] == 1, path
        host.says("test", "-f", "/var/lib/hpczmq/keys/cluster.key")
        host.says(INSTALL, "uninstall", "--purge")
        found = host.says("find", "/etc", "/var", "/opt", "/usr/local", "-name", "*hpczmq*")
        assert found == ""
        assert "hpczmq" not in host.says("cat", "/etc/passwd", "/etc/group")
        host.says(INSTALL, "uninstall", "--purge")  # and once more does no harm
