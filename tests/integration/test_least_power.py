"""What a kernel that tries everything gets at: nothing but its own task (docs/least-power.md)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import hpczmq
from hpczmq import limits, wire
from hpczmq.items import Items
from hpczmq.kernels import registry
from hpczmq.messages import Submitted
from tests.integration.harness import ROOT, Lab, Program, until

KERNELS = {
    "HPCZMQ_KERNELS": ",".join(
        f"tests.kernels_for_tests:{kernel}"
        for kernel in ("Glutton", "Spin", "Opener", "Snoop", "Haunt")
    )
}
#: What an attacker would like to read.
SECRETS = {
    "HPCZMQ_TOKEN": "do-not-tell",
    "HPCZMQ_KEYS": "off",
    "AWS_SECRET_ACCESS_KEY": "do-not-tell",
    "SSH_AUTH_SOCK": "/do-not-tell",
    "PYTHON_TOKEN": "do-not-tell",
}


@pytest.fixture(autouse=True)
def hostile_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process knows them, as a client has to."""
    monkeypatch.setenv("HPCZMQ_KERNELS", KERNELS["HPCZMQ_KERNELS"])
    registry.refresh()
    yield
    monkeypatch.undo()
    registry.refresh()


@contextmanager
def cluster(
    lab: Lab, *options: str, env: dict[str, str] | None = None
) -> Iterator[tuple[hpczmq.Client, Program]]:
    """A client of a cluster of one slave with one slot, and that slave."""
    master = lab.master(env=KERNELS)
    slave = lab.slave(master.address, "only", *options, env={**KERNELS, **(env or {})})
    with hpczmq.Client(master.address) as client:
        until(lambda: client.status().slaves == 1, "the slave has joined")
        assert client.submit(hpczmq.Job("echo", {"value": 1})).result(60) == 1  # its worker is up
        yield client, slave


def test_a_task_that_takes_all_memory_fails_with_the_cause_and_its_worker_goes_on(
    lab: Lab,
) -> None:
    with cluster(lab, "--worker-memory", "256MiB") as (client, slave):
        assert client.submit(hpczmq.Job("glutton", {"most_mib": 200})).result(60) == 200
        (worker,) = slave.children()
        job = client.submit(hpczmq.Job("glutton", {"most_mib": 100_000}))
        with pytest.raises(hpczmq.JobFailed, match="MemoryError") as error:
            job.result(60)
        assert "this worker may have" in str(error.value)
        assert "--worker-memory" in str(error.value)
        # It has let go of all of it, and has neither died nor taken its slave along.
        assert client.submit(hpczmq.Job("glutton", {"most_mib": 200})).result(60) == 200
        assert [child.pid for child in slave.children()] == [worker.pid]
        assert "MemoryError" in lab.run("explain", job.id, "--master", client.address).fine().out


def test_what_a_slave_has_for_all_tasks_no_worker_takes_more_of(lab: Lab) -> None:
    with cluster(lab, "--memory", "200MiB") as (client, _):
        job = client.submit(hpczmq.Job("glutton", {"most_mib": 300}))
        with pytest.raises(hpczmq.JobFailed, match="MemoryError"):
            job.result(60)
    with cluster(lab, "--memory", "200MiB", "--worker-memory", "off") as (client, _):
        assert client.submit(hpczmq.Job("glutton", {"most_mib": 300})).result(60) == 300


def test_a_task_that_takes_too_much_cpu_time_is_ended_and_the_next_has_its_own(lab: Lab) -> None:
    with cluster(lab, "--task-cpu", "1") as (client, slave):
        (worker,) = slave.children()
        params = [{"seconds": 0.6} for _ in range(4)]
        assert [f.result(60) for f in client.map("spin", params)] == [0.6] * 4
        assert [child.pid for child in slave.children()] == [worker.pid], "it had 2.4 s in all"
        job = client.submit(hpczmq.Job("spin"))
        with pytest.raises(hpczmq.JobFailed, match="signal SIGXCPU: its task took more than"):
            job.result(60)
        told = lab.run("explain", job.id, "--master", client.address).fine().out
        assert "signal SIGXCPU: its task took more than its CPU time (--task-cpu" in told
        assert client.submit(hpczmq.Job("echo", {"value": 1})).result(60) == 1


def test_a_task_that_is_deaf_to_it_is_killed_with_the_cause(lab: Lab) -> None:
    with cluster(lab, "--task-cpu", "1") as (client, _):
        job = client.submit(hpczmq.Job("spin", {"deaf": True}))
        first, *_ = until(lambda: client.explain(job.id).attempts, "it is killed")
        assert "its task took more than 1 s of CPU time" in first.text
        job.cancel()  # and not tried twice more, as in the test above
        assert client.submit(hpczmq.Job("echo", {"value": 1})).result(60) == 1


def test_a_task_that_opens_files_without_end_fails_and_its_worker_goes_on(lab: Lab) -> None:
    with cluster(lab) as (client, slave):
        (worker,) = slave.children()
        job = client.submit(hpczmq.Job("opener"))
        with pytest.raises(hpczmq.JobFailed, match="Too many open files"):
            job.result(60)
        assert client.submit(hpczmq.Job("echo", {"value": 1})).result(60) == 1
        assert [child.pid for child in slave.children()] == [worker.pid]


def test_a_kernel_finds_no_secret_no_socket_and_no_privilege(lab: Lab) -> None:
    own = {"MY_DATA": "/data", "HPCZMQ_WORKER_ENV": "MY_DATA,LAB_OF_A_TEST"}
    with cluster(lab, env={**SECRETS, **own}) as (client, slave):
        seen: dict[str, Any] = client.submit(hpczmq.Job("snoop")).result(60)
        assert not {*SECRETS} & {*seen["environ"]}
        assert "do-not-tell" not in str(seen["environ"])
        assert seen["environ"]["MY_DATA"] == "/data", "which it was allowed"
        # Standard input is nothing, what it prints is log, and then its channel; the folder that
        # was listed was open at that time.
        null, out, err, *others = seen["fds"]
        assert null == os.devnull
        assert out == err
        assert out.startswith("pipe:")
        (channel,) = [name for name in others if name.startswith("socket:")]
        assert {name for name in others if name != channel} <= {"gone"}
        assert channel not in seen["heirs"], "programs that a kernel starts don't have it"
        assert seen["leader"], "of a session of its own"
        assert seen["umask"] == 0o077
        assert stat.S_IMODE(seen["mode"]) == 0o600
        assert seen["no_new_privs"] == "1"
        assert list(seen["core"]) == [0, 0]
        assert list(seen["files"]) == [limits.worker_files_usual, limits.worker_files_max]
        assert seen["oom_score"].strip() == str(limits.worker_oom_points)
        if os.geteuid():
            assert seen["parent"] == ["PermissionError"] * 2
        folder = Path(seen["folder"])
        assert folder != lab.folder
        assert Path(seen["left"]).parent == folder
        slave.end()
        assert not folder.exists(), "what it left there went with it"
        assert not folder.parent.exists()
        assert Path("/").exists(), "and the link to everything was not followed"


def test_what_a_killed_slave_has_left_the_next_one_takes_away(lab: Lab) -> None:
    with cluster(lab) as (client, first):
        folder = Path(client.submit(hpczmq.Job("snoop")).result(60)["folder"]).parent
        other = lab.slave(client.address, "other", env=KERNELS)
        until(lambda: client.status().slaves == 2, "the other one has joined")
        first.end(signal.SIGKILL)
        assert folder.exists(), "nobody was there to take it away"
        os.utime(folder, (0, 0))  # it is no young one
        living = Path(client.submit(hpczmq.Job("snoop")).result(60)["folder"]).parent
        os.utime(living, (0, 0))
        lab.slave(client.address, "third", env=KERNELS)
        until(lambda: not folder.exists(), "the third one has taken it away")
        assert living.exists(), "but nothing of one that lives"
        assert other.popen.poll() is None


def test_what_a_kernel_prints_is_no_line_of_the_log(lab: Lab) -> None:
    with cluster(lab) as (client, slave):
        job = client.submit(hpczmq.Job("haunt"))
        slave.until_said("line 99")
        job.cancel()
        assert "\n    | line 1\n" in slave.said()


# --- Three who check ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "params", "words"),
    [
        ("glutton", {"most_mib": "all"}, "most_mib = all: must be a whole number"),
        ("glutton", {"most_mib": 1 << 40}, "must be a whole number, 1..1048576"),
        ("glutton", {"most_mib": 1, "eval": "x"}, "eval"),
        ("sleep", {"seconds": float("nan")}, "seconds = nan: must be a finite number"),
        ("os.system", {"command": "true"}, "os.system"),
    ],
)
def test_a_client_that_checks_nothing_is_refused_by_the_master(
    lab: Lab, kernel: str, params: dict[str, Any], words: str
) -> None:
    with cluster(lab) as (client, _):
        with pytest.raises(hpczmq.LocalError):
            client.submit(hpczmq.Job(kernel, params))  # an honest one refuses it itself
        submit = client._message(hpczmq.Job(kernel, params), wire.pack(params), Items())
        with pytest.raises(hpczmq.RemoteError, match=re.escape(words)):
            client._ask(submit, Submitted)
        assert len(client.jobs()) == 1, "which is the one of the beginning"


# --- Little to stand on ---------------------------------------------------------------------------

#: Everything read-only but a temporary folder of its own; nobody, without any capability.
_BARE = """
mount --make-rprivate / && mount --bind "$ROOT" /srv && mount --bind "$BASE" /media &&
mount -t tmpfs -o mode=1777 tmpfs /mnt && mount -o remount,bind,ro /srv &&
mount -o remount,bind,ro /media && mount -o remount,bind,ro / && cd / &&
exec setpriv --pdeathsig KILL --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \\
  --bounding-set=-all --no-new-privs -- sh -c 'exec "$0" "$@"' "$@"
"""


def bare(*command: str) -> list[str]:
    """A command that is run in so little."""
    return ["unshare", "--mount", "sh", "-c", _BARE, "sh", *command]


@pytest.mark.parametrize("temporary", ["/mnt", "/srv"])
def test_a_slave_needs_no_root_no_capability_and_no_file_system_to_write_to(
    lab: Lab, temporary: str
) -> None:
    # Not by way of our own environment: nobody may look into it everywhere.
    python = f"/media/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = Path(sysconfig.get_path("purelib"))
    if packages.is_relative_to(ROOT):
        packages = Path("/srv", packages.relative_to(ROOT))
    env = {
        **KERNELS, "ROOT": str(ROOT), "BASE": sys.base_prefix,
        "PYTHONPATH": f"/srv:{packages}", "TMPDIR": temporary, "HOME": "/",
        "XDG_CONFIG_HOME": "/", "PYTHONDONTWRITEBYTECODE": "1", "COVERAGE_PROCESS_CONFIG": "",
    }  # fmt: skip
    if os.geteuid() or not shutil.which("unshare") or not shutil.which("setpriv"):
        pytest.skip("only root, with unshare and setpriv, can take so much away")
    tried = [*bare(python, "-c", "import hpczmq.nodes.slave")]
    done = subprocess.run(
        tried, env=lab.environment(env), capture_output=True, text=True, check=False
    )
    if any(word in done.stderr for word in ("unshare", "mount:", "setpriv", "ermission denied")):
        pytest.skip(f"this machine has no such place: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    master = lab.master(env=KERNELS)
    options = ["--master", master.address, "--name", "bare", "--slots", "1", "--bind", "off"]
    slave = lab.start("bare", bare(python, "/srv/cli.py", "slave", *options), env)
    with hpczmq.Client(master.address) as client:
        until(lambda: client.status().slaves == 1 or slave.is_dead(), "the slave has joined")
        assert client.submit(hpczmq.Job("julia", {"width": 64, "height": 64})).result(60).any()
        if temporary == "/srv":  # nothing at all can be written
            assert "no folder for workers" in slave.said()
            return
        seen = client.submit(hpczmq.Job("snoop")).result(60)
        assert seen["uid"] == 65534
        assert int(seen["capabilities"], 16) == 0
        assert seen["folder"].startswith("/mnt/hpczmq-slave-")
        assert seen["parent"] == ["PermissionError"] * 2, "its slave's memory is its own"
