"""Clients that don't read, results that are too many, memorias that are gone: real processes."""

from __future__ import annotations

import re
import signal
import sys
import time

import psutil

import hpczmq
from hpczmq import limits
from hpczmq.model import JobState
from tests.integration.harness import MISBEHAVING, Lab, Program, until

MIB = limits.MIB
#: Asks for so many results of a MiB each, says when the first is here, and at last how many came.
ASKS = """
import sys, hpczmq
with hpczmq.Client(sys.argv[1], timeout=60) as client:
    items = [{"shape": [1 << 20], "seed": seed} for seed in range(int(sys.argv[2]))]
    futures = client.map("payload", items)
    futures[0].result()
    print("begun", flush=True)
    print(sum(future.result().nbytes == 1 << 20 for future in futures), flush=True)
"""
#: What the master may need beside what waits for clients: chunks in the making, and allocators.
SLACK_MIB = 64


def asker(lab: Lab, master: Program, results: int) -> Program:
    """A client that has begun to read so many results."""
    command = [sys.executable, "-c", ASKS, master.address, str(results)]
    program = lab.start("asker", command)
    until(lambda: "begun" in program.out.read_text() or program.is_dead(), "results come")
    return program


def resident_mib(program: Program) -> float:
    """The memory of a process."""
    return psutil.Process(program.pid).memory_info().rss / MIB


def test_clients_that_stop_reading_are_cut_off_while_the_masters_memory_stays_flat(
    lab: Lab,
) -> None:
    master = lab.master()
    lab.slave(master.address, "s1", slots=2)
    with hpczmq.Client(master.address) as other:
        other.submit(hpczmq.Job("payload", {"shape": [MIB]})).result(60)
        idle_mib, most_mib, stopped = resident_mib(master), 0.0, []
        for _ in range(3):
            client = asker(lab, master, 200)
            client.send(signal.SIGSTOP)
            stopped.append(client)

        def look() -> bool:
            nonlocal most_mib
            most_mib = max(most_mib, resident_mib(master))
            return all(job.state.ended for job in other.jobs())

        until(look, "the jobs of those who don't read go on to their end")
        assert other.submit(hpczmq.Job("echo", {"value": 7})).result(60) == 7
        until(lambda: look() and master.said().count("cut off") == 3, "all of them are cut off")
        waited = [float(found) for found in re.findall(r"([\d.]+) MiB wait", master.said())]
        most_waits = limits.client_backlog_bytes_max / MIB
        assert all(5 < each <= most_waits for each in waited), "they were stopped on the way"
        most = 3 * most_waits + SLACK_MIB
        assert most_mib - idle_mib < most, f"{most_mib:.0f} MiB, {idle_mib:.0f} before"
        print(f"idle {idle_mib:.0f} MiB, at most {most_mib:.0f} MiB, waited {waited}")
    for client in stopped:
        client.send(signal.SIGCONT)
    for client in stopped:
        ended = client.ended()
        assert ended.code == 0, ended.err
        assert ended.out.split() == ["begun", "200"], "nothing was lost"
        assert "this client was cut off" in ended.err


def test_results_past_their_room_wait_for_a_reader_and_a_submit_hears_why(lab: Lab) -> None:
    master = lab.master(env={"HPCZMQ_RESULTS": "5MiB"})
    lab.slave(master.address, "s1")
    with hpczmq.Client(master.address) as client:
        ids = [
            client.hand_in(hpczmq.Job("payload", {"shape": [2 * MIB]}, priority=n)) for n in (1, 2)
        ]
        until(lambda: all(row.state is JobState.DONE for row in client.jobs(ids)), "two are done")
        third = client.hand_in(hpczmq.Job("payload", {"shape": [2 * MIB]}))
        until(lambda: client.jobs([third])[0].state is JobState.DONE, "the third is done")
        refused = lab.run("submit", "-", "--master", master.address, stdin="Numpy,8,8,9\n")
        told = refused.refused(2)
        assert "results take 6.0 MiB of 5.0 MiB: fetch what has ended" in told
        assert client.job(ids[0]).result(60).nbytes == 2 * MIB
        until(lambda: len(client.jobs()) == 2, "what was taken is forgotten")
        assert client.submit(hpczmq.Job("echo", {"value": 7})).result(60) == 7
    cleared = lab.run("clear", "--ended", "--master", master.address, "--json").fine().json()
    assert set(cleared) >= {ids[1], third}


def test_a_memoria_that_does_not_answer_costs_no_time_while_another_one_does(lab: Lab) -> None:
    master = lab.master(env=MISBEHAVING)
    first, second = (lab.memoria(master.address, number) for number in (1, 2))
    with hpczmq.Client(master.address) as client:
        until(lambda: len(client.status().memorias) == 2, "both memorias have joined")
        for silent in (first, second):
            silent.send(signal.SIGSTOP)
            began_s = time.monotonic()
            client.metrics()
            took_s = time.monotonic() - began_s
            silent.send(signal.SIGCONT)
            assert took_s < 1.0, f"it took {took_s:.2f} s"
