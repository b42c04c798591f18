"""The example for Slurm, handed to a Slurm: three nodes in one container."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import pytest

from tests.containers.engine import BUILD_S, docker
from tests.containers.hosts import SOURCES, Host, host_image, installed_image
from tests.integration.harness import until

pytestmark = pytest.mark.slow

PACKAGES: Final = ("slurmctld", "slurmd", "slurm-client", "munge")
USER: Final = "ana"
HOME: Final = f"/home/{USER}"
#: Three nodes of two cores; none of what only real machines have.
CONF: Final = """
ClusterName=tests
SlurmctldHost=hpc(127.0.0.1)
SlurmUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
MpiDefault=none
ReturnToService=2
StateSaveLocation=/var/spool/slurm
SlurmdSpoolDir=/var/spool/slurmd-%n
SlurmdPidFile=/run/slurmd-%n.pid
SlurmctldPidFile=/run/slurmctld.pid
NodeName=n[1-3] NodeHostname=hpc NodeAddr=127.0.0.1 Port=[17001-17003] CPUs=2 RealMemory=1000
PartitionName=all Nodes=n[1-3] Default=YES MaxTime=INFINITE State=UP
"""
START: Final = """
set -e
systemctl stop munge slurmctld slurmd 2>/dev/null || true
mkdir -p /run/munge /var/spool/slurm
chown munge: /run/munge
runuser -u munge -- munged
slurmctld
for node in n1 n2 n3; do slurmd -N "$node"; done
useradd -m ana
"""


@pytest.fixture(scope="module")
def slurm(base: str) -> Iterator[Host]:
    """A host with hpczmq and a Slurm that runs."""
    image = installed_image(host_image(base))
    try:
        with closing(Host(image, "hpc")) as host:
            install = "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y"
            command = f"{install} --no-install-recommends {' '.join(PACKAGES)}"
            docker("exec", host.name, "sh", "-c", command, timeout_s=BUILD_S)
            host.write("/etc/slurm/slurm.conf", CONF)
            host.says("sh", "-c", START)
            until(lambda: "idle" in host.says("sinfo", "-h", "-o", "%T"), "its nodes are there")
            yield host
    finally:
        docker("rmi", "-f", image)


def submitted(slurm: Host, jobs: str, *options: str) -> str:
    """Hand the example in, with a job file; the job's number."""
    slurm.write(f"{HOME}/jobs.txt", jobs)
    script = (f"{SOURCES}/examples/slurm.sbatch", "jobs.txt")
    said = as_user(slurm, "sbatch", *options, *script)
    found = re.search(r"Submitted batch job (\d+)", said)
    assert found is not None
    return found[1]


def as_user(slurm: Host, *command: str) -> str:
    return slurm.says("runuser", "-u", USER, "--", "sh", "-c", f'cd {HOME} && "$@"', "sh", *command)


def log(slurm: Host, number: str) -> str:
    code, out, _ = slurm.ended("cat", f"{HOME}/slurm-{number}.out")
    return out if code == 0 else ""


def over(slurm: Host, number: str) -> bool:
    return not slurm.says("squeue", "-h", "-j", number, "-t", "PD,R,CG").strip()


def assert_nothing_left(slurm: Host, number: str) -> None:
    until(lambda: slurm.ended("pgrep", "-u", USER)[0] == 1, "nothing of it runs")
    assert slurm.ended("ls", f"{HOME}/hpczmq-{number}")[0] != 0, "its keys are gone"


def test_a_job_file_runs_on_a_cluster_of_its_own(slurm: Host) -> None:
    jobs = "Numpy,320,240,200,name=one\njuliaCython,320,240,200,name=two\n"
    number = submitted(slurm, jobs, "--ntasks=3", "--cpus-per-task=2", "--time=5")
    until(lambda: over(slurm, number), "the job is over")
    folder = f"{HOME}/results-{number}"
    told = [json.loads(slurm.says("cat", f"{folder}/{name}/job.json")) for name in ("one", "two")]
    assert told[0]["digest"] == told[1]["digest"]
    said = log(slurm, number)
    assert said.count("joined with 2 slots") == 3
    assert said.count("left (told to end)") == 3, "the slaves have left in order"
    assert_nothing_left(slurm, number)


def test_a_job_that_is_cancelled_leaves_nothing(slurm: Host) -> None:
    number = submitted(slurm, "Secuencial,9000,9000,5000\n", "--ntasks=2", "--time=5")
    until(lambda: "joined with" in log(slurm, number), "a slave has joined")
    slurm.says("scancel", number)
    until(lambda: over(slurm, number), "the job is over")
    assert_nothing_left(slurm, number)


def test_a_job_without_a_file_says_what_is_missing(slurm: Host) -> None:
    said = as_user(slurm, "sbatch", f"{SOURCES}/examples/slurm.sbatch")
    number = said.split()[-1]
    until(lambda: over(slurm, number), "the job is over")
    assert "names no job file: sbatch examples/slurm.sbatch FILE" in log(slurm, number)
