"""What goes wrong on real machines, done on purpose: killed, frozen, crashing and restarted nodes.

An image that comes out must be the reference bit for bit, whatever happened on the way.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator

import numpy
import psutil
import pytest

import hpczmq
from hpczmq import limits
from hpczmq.asking import ask_node
from hpczmq.kernels import capabilities, registry
from hpczmq.messages import Ping, Pong
from hpczmq.model import JobState, Metrics, SlaveInfo, SlaveState
from tests.integration.embedded import HANG, start_run, started, until_at_work
from tests.integration.harness import MISBEHAVING, Lab, Program, until
from tests.integration.pictures import LONG, LONG_JOB, same

IMAGE = hpczmq.Job("julia", LONG)


@pytest.fixture(autouse=True)
def misbehaving(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process knows the kernels that misbehave, as a client has to."""
    for name, value in MISBEHAVING.items():
        monkeypatch.setenv(name, value)
    registry.refresh()
    yield
    monkeypatch.undo()
    registry.refresh()


def cluster(lab: Lab, *slaves: str, slots: int = 1) -> tuple[hpczmq.Client, list[Program]]:
    """A client of a new cluster, and its nodes, the master first."""
    master = lab.master(env=MISBEHAVING)
    nodes = [lab.slave(master.address, name, slots=slots, env=MISBEHAVING) for name in slaves]
    client = hpczmq.Client(master.address)
    until(lambda: client.status().slaves == len(slaves), "all slaves have joined")
    return client, [master, *nodes]


def slave(client: hpczmq.Client, name: str) -> SlaveInfo:
    """What the master says of a slave."""
    return next(row for row in client.slaves() if row.name == name)


def until_busy(client: hpczmq.Client, slots: int = 1) -> None:
    """Wait until so many slots run something."""

    def busy() -> bool:
        return sum(row.metrics.slots_busy for row in client.slaves()) == slots

    until(busy, f"{slots} slots are busy")


def until_half(job: hpczmq.JobFuture) -> None:
    """Wait until half of an image is there, and the rest is not."""
    until(lambda: job.arrived_tasks >= job.tasks / 2, "half of the image is there")
    assert not job.done()


# --- Slaves ---------------------------------------------------------------------------------------


def test_a_slave_that_is_killed_half_way_costs_nothing_but_time(lab: Lab) -> None:
    client, (_, first, _) = cluster(lab, "first", "second")
    with client:
        job = client.submit(IMAGE)
        until_half(job)
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        assert same(job.result(60), LONG)
        assert slave(client, "first").state is SlaveState.LOST
        assert sum(tally.tasks for tally in job.slaves.values()) == job.tasks
    # Its workers went with it, though it could not tell them.
    until(lambda: len(lab.alive()) == 3, "only the master, a slave and its worker are left")


def test_a_slave_that_freezes_is_replaced_and_comes_back(lab: Lab) -> None:
    client, (_, first, second) = cluster(lab, "first", "second")
    with client:
        job = client.submit(IMAGE)
        until_half(job)
        first.send(signal.SIGSTOP)
        until(lambda: slave(client, "first").state is SlaveState.LOST, "it is given up")
        assert same(job.result(60), LONG)
        first.send(signal.SIGCONT)
        until(lambda: slave(client, "first").state is SlaveState.READY, "it is taken in again")
        # And it works: nobody else is there to.
        assert second.end() == 0
        assert same(client.submit(IMAGE).result(60), LONG)


def test_a_task_that_hangs_on_one_slave_is_started_on_the_other(lab: Lab) -> None:
    client, (master, first, _) = cluster(lab, "first", "second")
    with client:
        until(lambda: len(first.children()) == 1, "the worker has started")
        (frozen,) = first.children()
        frozen.suspend()  # the slave itself lives, and beats
        futures = client.map("sleep", [{"seconds": 0.2}] * 6)
        assert [future.result(60) for future in futures] == [0.2] * 6
        assert "straggler: 1 tasks of j1, out on first" in master.said()
        until(lambda: [c.pid for c in first.children()] != [frozen.pid], "its worker is replaced")


def test_a_worker_that_is_killed_is_replaced_and_its_task_runs_again(lab: Lab) -> None:
    client, (master, only) = cluster(lab, "only")
    with client:
        job = client.submit(hpczmq.Job("sleep", {"seconds": 1.0}))
        until_busy(client)
        (worker,) = only.children()
        worker.kill()
        assert job.result(60) == 1.0
        assert master.said().count("is run again") == 1
        assert [child.pid for child in only.children()] != [worker.pid]


def test_a_task_that_kills_every_worker_fails_with_the_cause_and_harms_no_other(lab: Lab) -> None:
    client, (master, only) = cluster(lab, "only")
    with client:
        poison = client.submit(hpczmq.Job("crash", name="poison"))
        map_of_both = client.map("echo", [{"value": i} for i in range(50)])
        with pytest.raises(hpczmq.JobFailed, match=r"poison: .*signal SIGKILL"):
            poison.result(60)
        assert [future.result(60) for future in map_of_both] == [*range(50)]
        (row,) = client.jobs([poison.id])
        assert (row.state, row.failed) == (JobState.FAILED, 1)
        assert "worker of only died" in row.cause
        assert master.said().count("is run again") == limits.crash_limit - 1
        assert only.popen.poll() is None


def test_a_task_beyond_its_timeout_is_killed_whatever_it_does(lab: Lab) -> None:
    client, (_, only) = cluster(lab, "only")
    with client:
        job = client.submit(hpczmq.Job("hang", timeout_s=0.5))
        until_busy(client)
        (worker,) = only.children()
        with pytest.raises(hpczmq.JobFailed, match=r"killed after timeout_s = 0\.5"):
            job.result(60)
        assert not worker.is_running()
        assert client.submit(hpczmq.Job("echo", {"value": "next"})).result(60) == "next"


def ghosts(program: Program) -> list[int]:
    """The child and the daemon that the last task has started, as its log tells."""
    told = re.compile(r"haunted by (\d+) (\d+), for ever")  # the whole line, which comes in parts
    until(lambda: told.search(program.said()) or program.is_dead(), "the ghosts are named")
    return [int(number) for number in told.findall(program.said())[-1]]


@pytest.mark.parametrize("how", ["timeout", "deadline", "cancel", "crash"])
def test_nothing_that_a_task_has_started_outlives_it(lab: Lab, how: str) -> None:
    client, (_, only) = cluster(lab, "only", slots=2)
    with client:
        neighbour = client.submit(hpczmq.Job("sleep", {"seconds": 6.0}))
        until_busy(client)
        timeout_s, deadline_s = ({"timeout": 2.0}.get(how), {"deadline": 2.0}.get(how))
        params = {"crash": how == "crash"}
        job = client.submit(hpczmq.Job("haunt", params, timeout_s=timeout_s, deadline_s=deadline_s))
        found = ghosts(only)
        if how == "cancel":
            job.cancel()
        began = time.monotonic()
        until(lambda: not any(map(psutil.pid_exists, found)), "all of them are gone")
        print(f"all were gone after {time.monotonic() - began:.2f} s")
        if how == "cancel":  # and then the slot is back with a new worker
            began = time.monotonic()
            assert client.submit(hpczmq.Job("echo", {"value": "next"})).result(60) == "next"
            print(f"the slot was back after {time.monotonic() - began:.2f} s")
        else:
            with pytest.raises(hpczmq.JobFailed):
                job.result(60)
        assert neighbour.result(60) == 6.0
        assert client.jobs([neighbour.id])[0].attempts == 1, "the other slot noticed nothing"


#: Never ends: at the parabolic point no orbit of the inside escapes, and no disc traps one.
ENDLESS = {"algorithm": "juliaCython", "width": 64, "height": 64, "tile": 64,
           "iterations": limits.iterations_max, "c_re": 0.25, "c_im": 0.0}  # fmt: skip


@pytest.mark.skipif("julia:juliaCython" not in capabilities(), reason="the kernel is not compiled")
@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_a_compiled_kernel_is_killed_in_its_loop_and_the_slot_is_back(lab: Lab, how: str) -> None:
    client, (_, only) = cluster(lab, "only")
    with client:
        timeout_s = 3.0 if how == "timeout" else None
        job = client.submit(hpczmq.Job("julia", ENDLESS, timeout_s=timeout_s))
        until_busy(client)
        (worker,) = only.children()
        until(lambda: worker.cpu_times().user > 0.5, "it computes")
        if how == "cancel":
            job.cancel()
        began = time.monotonic()
        until(lambda: not worker.is_running(), "the worker is gone")
        print(f"the worker was gone after {time.monotonic() - began:.2f} s")
        began = time.monotonic()
        assert client.submit(hpczmq.Job("echo", {"value": "next"})).result(60) == "next"
        print(f"the slot was back after {time.monotonic() - began:.2f} s")


def test_an_attempt_is_told_with_what_its_worker_printed_and_used(lab: Lab) -> None:
    client, (master, only) = cluster(lab, "only")
    with client:
        poison = client.submit(hpczmq.Job("haunt", {"crash": True}))
        with pytest.raises(hpczmq.JobFailed, match="signal SIGSEGV"):
            poison.result(60)
        told = client.explain(f"{poison.id}/0")
        assert len(told.attempts) == limits.crash_limit
        assert len({attempt.usage.pid for attempt in told.attempts}) == limits.crash_limit
        for attempt in told.attempts:
            assert attempt.usage.exit == "signal SIGSEGV"
            assert len(attempt.usage.log) == limits.log_lines_max
            assert attempt.usage.log[-1].startswith("haunted by ")
            assert 10 * limits.MIB < attempt.usage.peak_bytes < 500 * limits.MIB
            assert 0.0 <= attempt.usage.user_s < 5.0
        assert "    | line 99" in client.jobs([poison.id])[0].cause
    shown = lab.run("explain", poison.id, "--master", master.address).fine().out
    assert "task 0 was run again: it lost its worker or slave 3 times (at 3 it fails)" in shown
    assert shown.count("on only") >= limits.crash_limit
    data = lab.run("explain", poison.id, "--json", "--master", master.address).fine().json()
    assert (data["id"], data["state"], len(data["attempts"])) == (poison.id, "failed", 3)
    assert only.popen.poll() is None


# --- Slaves that are told to go -------------------------------------------------------------------


def slept(lab: Lab, *arguments: str, slots: int = 1) -> tuple[hpczmq.Client, Program]:
    """A cluster with one slave, which has time to end what it runs."""
    master = lab.master()
    leaving = lab.slave(master.address, "leaving", *arguments, slots=slots)
    return hpczmq.Client(master.address), leaving


def test_a_slave_that_gets_sigterm_ends_what_it_runs_and_nothing_is_run_twice(lab: Lab) -> None:
    client, leaving = slept(lab, "--grace", "30")
    with client:
        tasks = client.map("sleep", [{"seconds": 1.0}] * 3)
        until_busy(client)
        leaving.send(signal.SIGTERM)
        until(lambda: slave(client, "leaving").state is SlaveState.DRAINING, "it drains")
        assert leaving.wait() == 0
        assert [task.done() for task in tasks].count(True) == 1
        assert slave(client, "leaving").state is SlaveState.LEFT
        lab.slave(client.address.removeprefix("tcp://"), "staying")
        assert [task.result(60) for task in tasks] == [1.0] * 3
        (row,) = client.jobs()
        # One that waited there may have been handed back, and was never begun.
        assert (row.done, row.failed) == (3, 0)
        assert not client.explain(row.id).attempts


@pytest.mark.parametrize("how", ["grace", "walltime"])
def test_a_slave_is_gone_in_time_and_what_it_ran_runs_elsewhere(lab: Lab, how: str) -> None:
    began = time.monotonic()
    arguments = {"grace": ["--grace", "1"], "walltime": ["--grace", "2", "--walltime", "0:05"]}
    client, leaving = slept(lab, *arguments[how])
    with client:
        job = client.submit(hpczmq.Job("sleep", {"seconds": 3_600.0}))
        until_busy(client)
        if how == "grace":
            began = time.monotonic()
            leaving.send(signal.SIGTERM)
        assert leaving.wait() == 0, "it did not wait for the task to end"
        assert time.monotonic() - began > 0.9, "but as long as it was told to"
        lab.slave(client.address.removeprefix("tcp://"), "staying")
        until(
            lambda: any(r.metrics.slots_busy for r in client.slaves() if r.name == "staying"),
            "what it ran runs elsewhere",
        )
        assert not client.explain(f"{job.id}/0").attempts, "it counts against nothing"
        job.cancel()


def test_a_drained_slave_gets_nothing_until_it_is_let_back(lab: Lab) -> None:
    client, (master, *_) = cluster(lab, "first", "second")
    with client:
        lab.run("drain", "first", "--master", master.address).fine()
        assert slave(client, "first").state is SlaveState.DRAINING
        shown = lab.run("slaves", "--master", master.address).fine().out
        assert "draining" in shown
        tasks = client.map("sleep", [{"seconds": 0.2}] * 5)
        assert [task.result(60) for task in tasks] == [0.2] * 5
        assert slave(client, "first").metrics.tasks_done == 0
        undone = lab.run("drenar", "first", "--undo", "--json", "--master", master.address)
        assert undone.fine().json() == {"slaves": ["first"], "draining": False}
        assert slave(client, "first").state is SlaveState.READY
        refused = lab.run("drain", "nobody", "--master", master.address)
        assert refused.code != 0
        assert "no slave nobody is here" in refused.err


# --- The master -----------------------------------------------------------------------------------


def test_a_master_that_is_restarted_gets_its_slaves_back_and_its_clients_are_told(lab: Lab) -> None:
    client, (master, only) = cluster(lab, "only")
    with client:
        lost = client.submit(hpczmq.Job("sleep", {"seconds": 3600}))
        tasks = client.map("sleep", [{"seconds": 3600}] * 3)
        until_busy(client)
        (worker,) = only.children()
        master.end(signal.SIGKILL)
        lab.master("--bind", master.address)
        # What it does not know is an error for who waits for it, and no work for its slaves.
        with pytest.raises(hpczmq.NoCluster, match=f"{lost.id} is gone: "):
            lost.result(60)
        for task in tasks:
            with pytest.raises(hpczmq.NoCluster, match=" is gone: "):
                task.result(60)
        assert same(client.submit(IMAGE).result(60), LONG)
        assert not worker.is_running()
        assert [row.name for row in client.slaves()] == ["only"]
        assert len(only.children()) == 1


def test_results_for_a_dead_master_do_not_end_up_in_the_jobs_of_the_next(lab: Lab) -> None:
    master = lab.master()
    first = lab.slave(master.address, "first", "--bind", "127.0.0.1:0")
    with hpczmq.Client(master.address) as client:
        client.submit(hpczmq.Job("sleep", {"seconds": 1.0}))
        until_busy(client)
        master.send(signal.SIGSTOP)  # from now on nothing that the slave reports is acknowledged
        until(lambda: not metrics_of(first).tasks_held, "the slave has done all that it was given")
        first.send(signal.SIGSTOP)
        master.end(signal.SIGKILL)
        lab.master("--bind", master.address)
    with hpczmq.Client(master.address) as client:
        lab.slave(master.address, "second")
        new = client.submit(hpczmq.Job("sleep", {"seconds": 3.0}))
        until_busy(client)
        first.send(signal.SIGCONT)
        assert new.result(60) == 3.0


def test_a_run_does_not_take_the_jobs_of_the_next_master_for_its_own(lab: Lab) -> None:
    master = lab.master()
    lab.slave(master.address, "only")
    (lab.folder / "jobs.toml").write_text('[[job]]\nkernel = "sleep"\nseconds = 3600\n')
    run = lab.launch("run", "jobs.toml", "--master", master.address)
    run.until_said("1 job, 1 task")
    run.send(signal.SIGSTOP)
    master.end(signal.SIGKILL)
    lab.master("--bind", master.address)
    with hpczmq.Client(master.address) as client:
        other = client.submit(hpczmq.Job("echo", {"value": "of somebody else"}))
        assert other.result(60) == "of somebody else"
        run.send(signal.SIGCONT)
        assert " is gone: the master was started anew" in run.ended().refused(code=3)


def metrics_of(node: Program) -> Metrics:
    """What a node says of itself."""
    pong, _ = ask_node(f"tcp://{node.address}", Ping(0), Pong, 60)
    return pong.metrics


def test_a_run_whose_master_stays_away_ends_with_exit_code_3(lab: Lab) -> None:
    client, (master, _) = cluster(lab, "only")
    client.close()
    (lab.folder / "jobs.toml").write_text('[[job]]\nkernel = "sleep"\nseconds = 3600\n')
    run = lab.launch("run", "jobs.toml", "--master", master.address, "--timeout", "2")
    run.until_said("1 job, 1 task")
    master.end(signal.SIGKILL)
    done = run.ended()
    assert done.code == 3
    assert f"tcp://{master.address}: the master has been away for " in done.err
    assert "Traceback" not in done.err


def test_a_run_that_stood_still_for_longer_than_its_timeout_goes_on(lab: Lab) -> None:
    client, (master, _) = cluster(lab, "only")
    (lab.folder / "jobs.toml").write_text('[[job]]\nkernel = "sleep"\nseconds = 3\n')
    run = lab.launch("run", "jobs.toml", "--master", master.address, "--timeout", "2")
    run.until_said("1 job, 1 task")
    run.send(signal.SIGSTOP)  # Ctrl-Z
    with client:
        until(lambda: client.jobs()[0].state.ended, "the job does not wait for it")
    run.send(signal.SIGCONT)  # fg
    run.ended().fine()


# --- The cluster of a command ---------------------------------------------------------------------


def test_a_command_that_is_killed_takes_its_whole_cluster_with_it(lab: Lab) -> None:
    run = start_run(lab, HANG)
    run.until_said("2 jobs, 2 tasks")
    until_at_work(lab)
    run.end(signal.SIGKILL)
    lab.until_empty("after their command was killed")


@pytest.mark.parametrize("role", ["master", "slave"])
def test_a_run_whose_nodes_have_died_says_so_and_ends(lab: Lab, role: str) -> None:
    run = start_run(lab, HANG)
    run.until_said("2 jobs, 2 tasks")
    for process in started(lab, "hpczmq.nodes", role):
        process.kill()
    done = run.ended()
    assert done.code == 1
    assert f"every {role} of the local cluster has died" in done.err
    assert "Traceback" not in done.err
    lab.until_empty("after a run without a cluster")


def test_a_run_goes_on_when_one_of_its_slaves_dies(lab: Lab) -> None:
    run = start_run(lab, LONG_JOB, "--out", "out")
    run.until_said("1 job, 256 tasks")
    started(lab, "hpczmq.nodes", "slave")[0].kill()
    run.ended().fine()
    assert same(numpy.load(lab.folder / "out" / "j1" / "counts.npy"), LONG)
