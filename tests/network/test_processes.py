"""Processes that die, stop and come anew, each on a host of its own."""

from __future__ import annotations

import json
import signal
from contextlib import suppress

import psutil
import pytest

from tests.integration.harness import Program, until
from tests.network.lab import CLIENT, DOS, MASTER, SMALL_TILE, UNO, NetworkLab, address

MASTER_IS_AT = ("--master", address(MASTER))

# --- Slaves and their workers ---------------------------------------------------------------------


def test_a_slave_that_is_killed_loses_nothing(lab: NetworkLab) -> None:
    _, _, dos = lab.cluster(UNO, DOS)
    client = lab.run_at()
    with lab.recovery("SIGKILL of a slave", "its tiles are the other's"):
        dos.end(signal.SIGKILL)
        lab.until_lost(DOS)
    lab.finished(client)


def test_a_slave_that_stops_is_replaced_and_comes_back(lab: NetworkLab) -> None:
    _, _, dos = lab.cluster(UNO, DOS)
    client = lab.run_at(tile=SMALL_TILE)
    with lab.recovery("SIGSTOP of a slave", "its tiles are the other's"):
        dos.send(signal.SIGSTOP)
        lab.until_lost(DOS)
    with lab.recovery("… SIGCONT", "it computes again"):
        dos.send(signal.SIGCONT)
        lab.until_at_work(DOS)
    lab.finished(client)


def test_a_slave_that_joins_in_the_middle_is_given_work(lab: NetworkLab) -> None:
    lab.cluster(UNO)
    client = lab.run_at(tile=SMALL_TILE)
    with lab.recovery("a slave joins in the middle", "from its start until it computes"):
        lab.slave_at(DOS)
        lab.until_at_work(DOS)
    lab.finished(client)


def worker_of(slave: Program) -> psutil.Process:
    """The one worker of a slave."""
    (worker,) = slave.children()
    return worker


def test_a_worker_that_is_killed_is_replaced(lab: NetworkLab) -> None:
    master, _, dos = lab.cluster(UNO, DOS)
    client = lab.run_at()
    killed = worker_of(dos)
    with lab.recovery("SIGKILL of a worker", "its slave computes again"):
        killed.kill()
        until(lambda: "is run again: worker of dos died" in master.said(), "the slave reports it")
        lab.until_at_work(DOS)
    assert worker_of(dos) != killed
    lab.finished(client)


def test_a_worker_that_stops_for_a_while_holds_only_its_own_tile_up(lab: NetworkLab) -> None:
    _, _, dos = lab.cluster(UNO, DOS)
    client = lab.run_at()
    stopped = worker_of(dos)
    stopped.suspend()
    try:
        rest = "all is done but what the stopped one holds"
        until(lambda: 0 < lab.job().tasks - lab.job().done <= 2, rest)
    finally:
        with lab.recovery("SIGSTOP of a worker, SIGCONT", "the image is whole"):
            stopped.resume()
            lab.finished(client)


def test_a_worker_that_stops_for_ever_does_not_hold_its_job_up(lab: NetworkLab) -> None:
    _, _, dos = lab.cluster(UNO, DOS)
    client = lab.run_at()
    stopped = worker_of(dos)
    stopped.suspend()
    try:
        with lab.recovery("SIGSTOP of a worker, for ever", "the image is whole"):
            until(lambda: client.popen.poll() is not None, "the image is whole", deadline_s=6)
        lab.finished(client)
        until(lambda: not stopped.is_running(), "the slave kills what lost the race")
    finally:
        with suppress(psutil.NoSuchProcess):
            stopped.resume()


# --- Memorias -------------------------------------------------------------------------------------


def with_memorias(lab: NetworkLab) -> tuple[Program, Program]:
    """A cluster with two memorias on the slaves' hosts, at work; the one that is asked first, and
    the client.
    """
    lab.cluster(UNO, DOS)
    memorias = {address(host): lab.memoria_at(host, n) for host, n in ((UNO, 1), (DOS, 2))}
    until(lambda: len(lab.observer.status().memorias) == 2, "both memorias are there")
    found = lab.observer.status().memorias
    client = lab.run_at()
    first = found[0].removeprefix("tcp://").rpartition(":")[0]
    return memorias[first], client


def nodes_known(lab: NetworkLab) -> set[str]:
    """The nodes of which a memoria knows the metrics, as the command shows them at the client's."""
    asked = lab.launch_at(CLIENT, "metrics", *MASTER_IS_AT, "--json").ended().fine()
    return {row["node"] for row in json.loads(asked.out)}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_when_a_memoria_is_gone_the_other_one_answers(
    lab: NetworkLab, number: signal.Signals
) -> None:
    first, client = with_memorias(lab)
    with lab.recovery(f"{number.name} of a memoria", "`metrics` is answered by the other one"):
        first.send(number)
        assert nodes_known(lab) >= {"uno", "dos"}
    if number is signal.SIGSTOP:
        first.send(signal.SIGCONT)
        until(lambda: len(lab.observer.status().memorias) == 2, "it is back")
    lab.finished(client)


# --- Clients --------------------------------------------------------------------------------------


def test_a_client_that_is_killed_leaves_a_job_that_another_one_fetches(lab: NetworkLab) -> None:
    lab.cluster(UNO, DOS)
    client = lab.run_at()
    client.end(signal.SIGKILL)
    with lab.recovery("SIGKILL of a client", "another one has the whole image (`fetch`)"):
        again = lab.launch_at(CLIENT, "fetch", lab.job().id, "--out", "again", *MASTER_IS_AT)
        lab.finished(again, "again")


def test_a_client_that_stops_takes_up_where_it_was(lab: NetworkLab) -> None:
    lab.cluster(UNO, DOS)
    # For longer than it would wait for its master (Ctrl-Z, a pause, fg).
    client = lab.run_at(tile=SMALL_TILE, timeout_s=2)
    client.send(signal.SIGSTOP)
    until(lambda: lab.job().state.ended, "the job does not wait for it")
    with lab.recovery("SIGSTOP of a client, SIGCONT after the end", "it has the whole image"):
        client.send(signal.SIGCONT)
        lab.finished(client)
