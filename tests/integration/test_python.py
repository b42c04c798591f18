"""The cluster as Python sees it: `LocalCluster`, `Client`, its futures, and `hpczmq.aio`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import closing
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy
import psutil
import pytest

import hpczmq
from hpczmq import aio
from hpczmq.kernels import get, registry
from hpczmq.kernels.base import CancelFlag
from hpczmq.model import JobState, Role
from tests.integration.harness import BEAT_S, MISBEHAVING, until
from tests.integration.pictures import same

SMALL: dict[str, Any] = {"width": 300, "height": 200, "iterations": 150}
ECHO = hpczmq.Job("echo", {"value": 1})
FOREVER = hpczmq.Job("sleep", {"seconds": 3600})


@pytest.fixture(scope="module")
def cluster() -> Iterator[hpczmq.LocalCluster]:
    """Two slaves with a slot each, which know the kernels that misbehave; as does this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in MISBEHAVING.items():
            patch.setenv(name, value)
        registry.refresh()
        with hpczmq.LocalCluster(slaves=2, slots=1, memorias=1, heartbeat_s=BEAT_S) as made:
            slaves = [psutil.Process(pid) for pid in made.pids["slave"]]
            until(lambda: all(slave.children() for slave in slaves), "both workers have started")
            yield made
    registry.refresh()


@pytest.fixture
def client(cluster: hpczmq.LocalCluster) -> Iterator[hpczmq.Client]:
    """A client of that cluster."""
    with hpczmq.Client(cluster.address) as made:
        yield made


class Own(NamedTuple):
    """A cluster of one slot that a test has to itself, and may end work on."""

    cluster: hpczmq.LocalCluster
    client: hpczmq.Client


@pytest.fixture
def own() -> Iterator[Own]:
    """A cluster that ends with the test."""
    with (
        hpczmq.LocalCluster(slaves=1, slots=1, heartbeat_s=BEAT_S) as cluster,
        hpczmq.Client(cluster.address) as client,
    ):
        until(lambda: client.status().slaves, "the slave has joined")
        yield Own(cluster, client)


# --- Jobs ---------------------------------------------------------------------------------------


def test_the_example_of_the_contract(client: hpczmq.Client) -> None:
    job = client.submit(hpczmq.Job("julia", {**SMALL}, priority=1, timeout_s=60))
    assert same(job.result(60), SMALL)
    futures = client.map("echo", [{"value": i} for i in range(5_000)])
    arrived = [future.result() for future in hpczmq.as_completed(futures, timeout=60)]
    assert sorted(arrived) == [*range(5_000)]
    assert [future.result() for future in futures] == [*range(5_000)]


def test_an_executor_gives_the_same_bytes(client: hpczmq.Client) -> None:
    job = hpczmq.Job("julia", {**SMALL, "algorithm": "Numpy", "c_re": -0.8, "c_im": 0.156})
    with ThreadPoolExecutor(2) as executor:
        here = hpczmq.execute(job, executor)
    there = client.submit(job).result(60)
    assert (here.tobytes(), here.dtype) == (there.tobytes(), there.dtype)
    assert same(here, dict(job.params))


def test_a_large_array_arrives_whole(client: hpczmq.Client) -> None:
    params = {"shape": [1024, 1024], "dtype": "float32", "seed": 7}
    kernel = get("payload")
    parsed = kernel.parse(params)
    wanted = kernel.run(parsed, kernel.whole(parsed), CancelFlag())
    assert wanted.nbytes == 4 * 2**20
    numpy.testing.assert_array_equal(
        client.submit(hpczmq.Job("payload", params)).result(60), wanted
    )
    # And among the tasks of a map, beside others.
    futures = client.map("payload", [{**params, "seed": seed} for seed in range(8)])
    arrays = [future.result(60) for future in futures]
    numpy.testing.assert_array_equal(arrays[7], wanted)
    assert len({array.tobytes() for array in arrays}) == 8


def test_all_futures_can_be_waited_for_together(client: hpczmq.Client) -> None:
    job = client.submit(hpczmq.Job("echo", {"value": "job"}))
    tasks = client.map("echo", [{"value": "task"}] * 3)
    other: Future[str] = Future()
    futures: list[Future[Any]] = [job, *tasks, other]
    done, not_done = wait(futures, timeout=60, return_when="FIRST_COMPLETED")
    assert done
    assert other in not_done
    done, not_done = wait(futures[:-1], timeout=60)
    assert not not_done
    done, not_done = wait(futures, timeout=0.05)
    assert (len(done), not_done) == (4, {other})


def test_a_kernels_exception_is_raised_here_with_its_traceback(client: hpczmq.Client) -> None:
    good, bad = client.map("echo", [{"value": 1}])[0], client.map("fail", [{"message": "oh no"}])[0]
    assert good.result(60) == 1
    with pytest.raises(hpczmq.TaskFailed, match="oh no") as raised:
        bad.result(60)
    assert "kernels_for_tests.py" in str(raised.value)
    assert isinstance(bad.exception(), hpczmq.TaskFailed)
    job = client.submit(hpczmq.Job("fail", {"message": "not again"}, name="again"))
    with pytest.raises(hpczmq.JobFailed, match=r"(?s)again: task 0: .*not again"):
        job.result(60)


def test_what_a_kernel_does_not_take_is_refused_before_it_is_sent(client: hpczmq.Client) -> None:
    before = len(client.jobs())
    with pytest.raises(hpczmq.ParameterError, match="width = 0: must be"):
        client.submit(hpczmq.Job("julia", {**SMALL, "width": 0}))
    with pytest.raises(hpczmq.ParameterError, match="kernel = nosuch: must be"):
        client.map("nosuch", [{}])
    assert client.map("echo", []) == []
    assert len(client.jobs()) == before


# --- Futures ------------------------------------------------------------------------------------


def test_a_result_that_is_not_there_in_time_is_a_timeout(own: Own) -> None:
    job = own.client.submit(FOREVER)
    (task,) = own.client.map("echo", [{"value": 1}])
    for future in (job, task):
        with pytest.raises(TimeoutError):
            future.result(timeout=0.05)
        with pytest.raises(TimeoutError):
            future.exception(timeout=0.05)
        assert not future.done()


def test_cancelling_a_job_ends_it_on_the_cluster_too(own: Own) -> None:
    job = own.client.submit(FOREVER)
    (task,) = own.client.map("echo", [{"value": 1}])
    until(lambda: own.client.status().tasks_running, "the job runs")
    assert job.cancel()
    assert job.cancelled()
    with pytest.raises(CancelledError):
        job.result(60)
    assert task.result(60) == 1  # the slot is free again
    assert own.client.jobs([job.id])[0].state is JobState.CANCELLED
    assert not task.cancel()


def test_threads_that_cancel_at_once_end_a_job_once(own: Own) -> None:
    with ThreadPoolExecutor(4) as executor:
        for _ in range(20):
            job = own.client.submit(FOREVER)
            (task,) = own.client.map("sleep", [{"seconds": 3600}])
            ends: list[Future[Any]] = []
            job.add_done_callback(ends.append)
            task.add_done_callback(ends.append)
            calls = [executor.submit(future.cancel) for future in (job, task) for _ in range(4)]
            own.client.cancel([job.id])  # and the master says so too
            cancelled = [call.result(60) for call in calls]
            assert cancelled[:4].count(True) <= 1
            assert cancelled[4:] == [True] * 4
            assert wait([job, task], timeout=60).not_done == set()
            assert sorted(ends, key=id) == sorted([job, task], key=id)
            own.client.clear()


def test_a_callback_runs_once_whenever_it_is_added(client: hpczmq.Client) -> None:
    seen: SimpleQueue[object] = SimpleQueue()
    for future in (client.submit(ECHO), client.map("echo", [{"value": 1}])[0]):
        future.add_done_callback(lambda done: seen.put(done.result()))
        assert seen.get(timeout=60) == 1
        future.add_done_callback(lambda done: seen.put(done))
        assert seen.get(timeout=60) is future
    assert seen.empty()


def test_a_callback_that_fails_or_asks_the_cluster_harms_nobody(
    client: hpczmq.Client, caplog: pytest.LogCaptureFixture
) -> None:
    seen: SimpleQueue[object] = SimpleQueue()

    def ask(done: Future[Any]) -> None:
        try:
            client.status()
        except hpczmq.LocalError as error:
            seen.put(str(error))
            raise

    client.submit(hpczmq.Job("sleep", {"seconds": 0.3})).add_done_callback(ask)
    assert seen.get(timeout=60) == "a callback can't wait for the cluster: ask from another thread"
    assert client.submit(ECHO).result(60) == 1
    assert "exception calling callback" in caplog.text


# --- Clients ------------------------------------------------------------------------------------


def test_one_client_serves_many_threads(client: hpczmq.Client) -> None:
    def work(number: int) -> tuple[object, list[object], int]:
        tasks = client.map("echo", [{"value": (number, i)} for i in range(50)])
        job = client.submit(hpczmq.Job("echo", {"value": number}))
        return job.result(60), [task.result(60) for task in tasks], client.status().slaves

    with ThreadPoolExecutor(8) as executor:
        for number, (job, tasks, slaves) in enumerate(executor.map(work, range(16))):
            assert (job, slaves) == (number, 2)
            assert tasks == [[number, i] for i in range(50)]


def test_two_clients_work_side_by_side_and_see_each_others_jobs(
    cluster: hpczmq.LocalCluster, client: hpczmq.Client
) -> None:
    with hpczmq.Client(cluster.address, name="other") as other:
        assert client.status().clients == 2
        ours, theirs = client.submit(hpczmq.Job("julia", SMALL)), other.submit(ECHO)
        assert theirs.result(60) == 1
        assert same(ours.result(60), SMALL)
        assert same(other.job(ours.id).result(60), SMALL)
        # The results stay: whoever asks later gets them too, and as often as they like.
        assert client.job(theirs.id).result(60) == 1
        assert client.job(theirs.id).result(60) == 1


def test_a_job_that_is_followed_twice_is_one_future(own: Own) -> None:
    job = own.client.submit(FOREVER)
    assert own.client.job(job.id) is job
    (row,) = own.client.jobs()
    own.client.cancel([row.id])
    assert wait([job], timeout=60).done == {job}


def test_a_map_can_be_followed_by_who_made_it_only(client: hpczmq.Client) -> None:
    (task,) = client.map("echo", [{"value": 1}])
    task.result(60)
    with pytest.raises(hpczmq.Refused, match="is a map: only who submitted it"):
        client.job(client.jobs()[-1].id)


def test_closing_a_client_fails_what_it_waits_for(own: Own) -> None:
    with hpczmq.Client(own.cluster.address) as second:
        job, (task,) = second.submit(FOREVER), second.map("echo", [{"value": 1}])
        with ThreadPoolExecutor(2) as executor:
            waiting = [executor.submit(future.result) for future in (job, task)]
            until(lambda: all(call.running() for call in waiting), "both wait")
            second.close()
            for call in waiting:
                with pytest.raises(hpczmq.NoCluster, match="the client was closed before"):
                    call.result(60)
    second.close()  # once more does no harm
    with pytest.raises(hpczmq.NoCluster, match="this client is closed"):
        second.status()
    with pytest.raises(hpczmq.NoCluster, match="this client is closed"):
        second.submit(ECHO)
    # The job goes on: it is the cluster's.
    assert own.client.jobs([job.id])[0].state in (JobState.QUEUED, JobState.RUNNING)


def test_a_question_fails_at_once_when_its_client_is_closed(own: Own) -> None:
    with hpczmq.Client(own.cluster.address, timeout=600) as second:
        os.kill(own.cluster.pids["master"][0], signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(1) as executor:
                asked = executor.submit(second.status)
                until(asked.running, "the question is asked")
                second.close()
                with pytest.raises(hpczmq.NoCluster, match=r"closed"):
                    asked.result(60)
        finally:
            os.kill(own.cluster.pids["master"][0], signal.SIGCONT)


def test_where_nobody_answers_there_is_no_cluster() -> None:
    with closing(socket.socket()) as deaf:
        deaf.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(hpczmq.NoCluster, match=r"no master answered in 0\.2 s"):
            hpczmq.Client(address, timeout=0.2)
    with pytest.raises(hpczmq.LocalError, match="must be HOST or HOST:PORT"):
        hpczmq.Client("not an address:")


def test_the_client_finds_its_master_where_the_command_line_does(
    cluster: hpczmq.LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPCZMQ_MASTER", cluster.address)
    with hpczmq.Client() as client:
        assert client.ping().role is Role.MASTER
        names = {node.node for node in until(client.metrics, "metrics")}
        assert names <= {"esclavo1", "esclavo2", "master", "memoria1"}
        assert client.alerts(["nobody"]) == ()


# --- asyncio ------------------------------------------------------------------------------------


def test_coroutines_have_a_client_of_their_own(cluster: hpczmq.LocalCluster) -> None:
    async def work() -> None:
        async with aio.Client(cluster.address) as client:
            image = await client.submit(hpczmq.Job("julia", SMALL))
            tasks = await client.map("echo", [{"value": i} for i in range(100)])
            arrived = [task.result() async for task in aio.as_completed(tasks)]
            assert sorted(arrived) == [*range(100)]
            assert same(await image, SMALL)
            assert (await client.status()).slaves == 2
            assert len(await client.slaves()) == 2
            assert (await client.jobs())[-1].state is JobState.DONE
            with pytest.raises(hpczmq.JobFailed, match="oh no"):
                await (await client.submit(hpczmq.Job("fail", {"message": "oh no"})))

    asyncio.run(work())


def test_a_coroutine_that_stops_waiting_has_not_cancelled_its_job(own: Own) -> None:
    async def work() -> None:
        async with aio.Client(own.cluster.address) as client:
            job = await client.submit(FOREVER)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(job, 0.1)
            assert not job.done()
            assert job.cancel()
            with pytest.raises(asyncio.CancelledError):
                await job

    asyncio.run(work())
    assert [row.state for row in own.client.jobs()] == [JobState.CANCELLED]


# --- Clusters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"slaves": 0}, r"slaves = 0: must be 1\.\.1000"),
        ({"slots": 0}, r"slots = 0: must be 1\.\.1024"),
        ({"memorias": 3}, r"memorias = 3: must be 0, 1 or 2"),
        ({"heartbeat_s": 0.001}, r"heartbeat_s = 0\.001: must be 0\.05\.\.60\.0 s"),
        ({"policy": "whim"}, r"policy = whim: must be round-robin or"),
    ],
)
def test_a_cluster_that_can_not_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(hpczmq.LocalError, match=words):
        hpczmq.LocalCluster(**options)


def test_a_cluster_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(hpczmq.NoCluster, match="the local master did not start: no word from it"):
        hpczmq.LocalCluster()


def test_clusters_live_side_by_side(own: Own, client: hpczmq.Client) -> None:
    assert own.client.submit(ECHO).result(60) == client.submit(ECHO).result(60) == 1
    assert (own.client.status().slaves, client.status().slaves) == (1, 2)
