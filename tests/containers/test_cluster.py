"""The cluster of the README in containers: its main job, what goes wrong with machines, updates."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy
from numpy.typing import NDArray

import hpczmq
from hpczmq import jobfile
from hpczmq.futures import JobFuture
from hpczmq.model import JobInfo, JobState, SlaveState
from tests.containers.cluster import Cluster
from tests.containers.engine import docker, facts
from tests.integration.harness import ROOT, until
from tests.integration.pictures import LONG, same

#: Long enough to do something to the cluster meanwhile, and still seconds.
MINUTE = {**LONG, "width": 640, "height": 640}
JOBS = ROOT / "examples" / "trabajos.txt"


def counts_of(params: dict[str, Any]) -> NDArray[Any]:
    """What a job must give, by threads of this process."""
    with ThreadPoolExecutor() as threads:
        made: NDArray[Any] = hpczmq.execute(
            hpczmq.Job("julia", {**params, "algorithm": "juliaCython"}), threads
        )
    return made


def started(client: hpczmq.Client, job: JobFuture) -> None:
    """Wait until the job is well under way, and far from its end."""
    until(lambda: info(client, job).done > 20, "the job is under way")


def test_the_main_job_from_the_host(two_slaves: Cluster) -> None:
    out = two_slaves.out / "results"
    two_slaves.says("run", str(JOBS), "--out", str(out), timeout_s=300)
    jobs = jobfile.read(JOBS, lambda job: [])
    folders = [path.parent for path in out.glob("*/job.json")]
    reports = [json.loads((folder / "job.json").read_text()) for folder in folders]
    sizes = "algorithm", "width", "height", "iterations"
    done = [tuple(report["params"][key] for key in sizes) for report in reports]
    assert sorted(done) == sorted(tuple(job.params[key] for key in sizes) for job in jobs)
    for folder, report in zip(folders, reports, strict=True):
        counts = numpy.load(folder / "counts.npy")
        assert numpy.array_equal(counts, counts_of(report["params"])), folder.name


def test_every_container_is_healthy(two_slaves: Cluster) -> None:
    for service in ("master", "memoria1", "memoria2", "slave"):
        for container in two_slaves.containers(service):
            until_healthy(container)


def test_a_slave_that_is_killed_costs_nothing(two_slaves: Cluster) -> None:
    with two_slaves.client() as client:
        job = client.submit(hpczmq.Job("julia", MINUTE))
        started(client, job)
        docker("kill", two_slaves.containers("slave")[0])
        assert same(job.result(120), MINUTE)
        lost = [one for one in client.slaves() if one.state is SlaveState.LOST]
        assert lost, "and the master says so"


def test_a_slave_that_hangs_is_noticed_and_taken_back(two_slaves: Cluster) -> None:
    container = two_slaves.containers("slave")[0]
    is_lost_and_taken_back(two_slaves, container, ("pause",), ("unpause",))


def test_a_slave_without_a_network_is_noticed_and_taken_back(two_slaves: Cluster) -> None:
    container = two_slaves.containers("slave")[0]
    network = next(iter(facts("container", container)["NetworkSettings"]["Networks"]))
    off, on = (("network", what, network) for what in ("disconnect", "connect"))
    is_lost_and_taken_back(two_slaves, container, off, on)


def test_a_slave_that_is_stopped_drains(two_slaves: Cluster) -> None:
    container = two_slaves.containers("slave")[0]
    name = two_slaves.name_of(container)
    with two_slaves.client() as client:
        job = client.submit(hpczmq.Job("julia", MINUTE))
        started(client, job)
        docker("stop", container)
        assert facts("container", container)["State"]["ExitCode"] == 0
        assert state(client, name) is SlaveState.LEFT
        assert same(job.result(120), MINUTE)
        assert not info(client, job).failed


def test_slaves_join_while_a_job_runs(two_slaves: Cluster) -> None:
    with two_slaves.client() as client:
        job = client.submit(hpczmq.Job("julia", MINUTE))
        started(client, job)
        two_slaves.scale(4)
        assert same(job.result(120), MINUTE)
        assert client.status().slots == 4
    names = {two_slaves.name_of(one) for one in two_slaves.containers("slave")}
    assert len(names) == 4, "each with a name, and a key, of its own"


def test_an_update_goes_through_while_jobs_run(two_slaves: Cluster, next_images: str) -> None:
    site = two_slaves.site
    before = {one: facts("container", one)["Image"] for one in two_slaves.containers("slave")}
    with two_slaves.client() as client:
        jobs = [client.submit(hpczmq.Job("julia", MINUTE)) for _ in range(3)]
        started(client, jobs[0])
        said = site.script("registry/update.sh", HPC_VERSION=next_images, timeout_s=300)
        for job in jobs:
            assert same(job.result(120), MINUTE)
            assert info(client, job).state is JobState.DONE
    after = {facts("container", one)["Image"] for one in two_slaves.containers("slave")}
    assert len(two_slaves.containers("slave")) == 2, said
    assert not after & set(before.values()), said
    running = sorted(two_slaves.containers("slave"))
    again = site.script("registry/update.sh", HPC_VERSION=next_images)
    assert again.count("nothing to do") == 3, "slaves, memoria1, memoria2"
    assert sorted(two_slaves.containers("slave")) == running


def test_a_memoria_keeps_its_history_when_it_starts_again(two_slaves: Cluster) -> None:
    container, other = (two_slaves.containers(f"memoria{n}")[0] for n in (1, 2))

    def earliest_s() -> float | None:
        told: dict[str, list[dict[str, float]]] = {}
        with two_slaves.client() as client, suppress(hpczmq.HpczmqError):  # it may not be back yet
            told = client.history(time.time() - 3600)
        return min((row["at_s"] for rows in told.values() for row in rows), default=None)

    until(earliest_s, "there is a past")
    docker("stop", other)  # or it would be asked instead, and would fill the gap
    stopped_s = time.time()
    docker("restart", container)
    until(lambda: (earliest_s() or stopped_s) < stopped_s, "and still is")
    docker("start", other)


def is_lost_and_taken_back(
    cluster: Cluster, container: str, fault: Sequence[str], repair: Sequence[str]
) -> None:
    """Do something to a slave's container while a job runs, and undo it after the job."""
    name = cluster.name_of(container)
    with cluster.client() as client:
        job = client.submit(hpczmq.Job("julia", MINUTE))
        started(client, job)
        docker(*fault, container)
        until(lambda: state(client, name) is SlaveState.LOST, f"{name} is lost")
        assert same(job.result(120), MINUTE)
        docker(*repair, container)
        until(lambda: state(client, name) is SlaveState.READY, f"{name} is back")


def until_healthy(container: str) -> None:
    """Wait for the engine's health check, which looks every 30 s."""
    until(
        lambda: facts("container", container)["State"]["Health"]["Status"] == "healthy",
        f"{container} is healthy",
        90,
    )


def info(client: hpczmq.Client, job: JobFuture) -> JobInfo:
    """The job as the master sees it."""
    return client.jobs([job.id])[0]


def state(client: hpczmq.Client, name: str) -> SlaveState | None:
    """The state of the newest slave of that name."""
    return {one.name: one.state for one in client.slaves()}.get(name)
