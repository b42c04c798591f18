"""Networks that are cut, lose, delay, and hosts that change behind a connection's back."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import hpczmq
from hpczmq import limits
from tests.integration.harness import BEAT_S, until
from tests.network.lab import (
    CLIENT,
    DOS,
    LOSS,
    MASTER,
    SMALL_TILE,
    TINY_TILE,
    UNO,
    NetworkLab,
    address,
)

RELAY = str(Path(__file__).with_name("relay.py"))
#: Longer than a connection lives on which nothing is acknowledged.
CUT_S = 1.5 * limits.connection_silent_s
NAMES = {CLIENT: "the client", MASTER: "the master", DOS: "a slave"}

# --- Cables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", NAMES, ids=NAMES.get)
def test_a_link_that_is_down_for_a_second_is_only_a_pause(lab: NetworkLab, host: int) -> None:
    lab.cluster(UNO, DOS)
    client = lab.run_at(tile=SMALL_TILE)
    lab.network.pull(host)
    lab.network.lasts(1)
    lab.network.plug(host)
    with lab.recovery(f"link of {NAMES[host]} down for 1 s", "tiles come through again"):
        lab.until_at_work(DOS)
        lab.until_fed()
    lab.finished(client)


def test_what_is_cut_off_for_thirty_seconds_comes_back(lab: NetworkLab, other: NetworkLab) -> None:
    # Two clusters side by side, for it takes its time; with heartbeats of a second, as by default.
    lab.cluster(UNO, DOS, beat_s=1)
    other.cluster(UNO, DOS, beat_s=1)
    client, others = lab.run_at(tile=TINY_TILE), other.run_at(tile=TINY_TILE)
    other.network.pull(MASTER)
    lab.network.pull(UNO)
    lab.network.pull(CLIENT)
    lab.network.cut(DOS)
    lab.network.lasts(30)
    other.network.plug(MASTER)
    lab.network.plug(UNO)
    lab.network.plug(CLIENT)
    lab.network.no_rules(DOS)
    back_s = time.monotonic()
    with ThreadPoolExecutor() as threads:

        def measure(
            at: NetworkLab, fault: str, what: str, wait: Callable[..., None], *args: int
        ) -> Future[None]:
            def measured() -> None:
                with at.recovery(f"{fault} for 30 s", what, since_s=back_s):
                    wait(*args)

            return threads.submit(measured)

        works, both = "it computes again", "both slaves compute again"
        waiting = [
            measure(lab, "link of a slave down", works, lab.until_at_work, UNO),
            measure(lab, "all packets of a slave lost", works, lab.until_at_work, DOS),
            measure(lab, "link of the client down", "tiles come through again", lab.until_fed),
            measure(other, "link of the master down", both, other.until_at_work, UNO, DOS),
        ]
    for measured in waiting:
        measured.result()
    lab.finished(client)
    other.finished(others)


def test_a_memoria_whose_link_was_down_hears_the_metrics_again(lab: NetworkLab) -> None:
    lab.cluster(UNO, DOS)
    lab.memoria_at(UNO, 1)
    client = lab.run_at()

    def fresh() -> bool:
        try:
            nodes = lab.network.inside(MASTER, lab.observer.metrics)
        except hpczmq.NoCluster:
            return False
        return any(row.node == "dos" and row.age_s < 2 * BEAT_S for row in nodes)

    until(fresh, "it hears the metrics")
    lab.network.pull(UNO)
    # By then the master has hung up on it, which it can't be told.
    lab.network.lasts(CUT_S)
    lab.network.plug(UNO)
    with lab.recovery(f"link of a memoria down for {CUT_S:g} s", "it has new metrics"):
        until(fresh, "it hears the metrics again")
    lab.finished(client)


def test_a_slave_whose_link_is_down_for_ever_is_done_without(lab: NetworkLab) -> None:
    _, _, dos = lab.cluster(UNO, DOS)
    client = lab.run_at()
    with lab.recovery("link of a slave down for ever", "its tiles are the other's"):
        lab.network.pull(DOS)
        lab.until_lost(DOS)
    lab.finished(client)
    assert dos.end() == 0  # it goes in order, with nobody to say goodbye to


@pytest.mark.parametrize("host", [CLIENT, MASTER], ids=NAMES.get)
def test_a_client_whose_master_is_away_for_ever_says_so(lab: NetworkLab, host: int) -> None:
    lab.cluster(UNO, DOS)
    client = lab.run_at(timeout_s=2)
    with lab.recovery(f"link of {NAMES[host]} down for ever", "the client has given up"):
        lab.network.pull(host)
        ended = client.ended()
    assert ended.code == 3
    assert f"tcp://{address(MASTER)}:5001: the master has been away for " in ended.err
    assert "Traceback" not in ended.err
    assert not lab.parts()


# --- Packets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chain", "way"), [("OUTPUT", "not heard"), ("INPUT", "does not hear")])
def test_a_slave_that_is_cut_off_one_way_is_replaced_and_comes_back(
    lab: NetworkLab, chain: str, way: str
) -> None:
    lab.cluster(UNO, DOS)
    client = lab.run_at(tile=SMALL_TILE)
    with lab.recovery(f"a slave {way}", "its tiles are the other's"):
        lab.network.rule(DOS, chain)
        lab.until_lost(DOS)
    with lab.recovery("… is reached again", "it computes again"):
        lab.network.no_rules(DOS)
        lab.until_at_work(DOS)
    lab.finished(client)


def test_one_packet_of_five_is_lost_and_no_tile(lab: NetworkLab) -> None:
    lab.cluster(UNO, DOS)
    client = lab.run_at()
    for chain in ("INPUT", "OUTPUT"):
        lab.network.rule(MASTER, chain, *LOSS)
    with lab.recovery(
        "20 % of the master's packets lost, both ways", "the image is whole", within_s=30
    ):
        lab.finished(client)


def test_a_slow_network_that_trembles_is_only_slow(lab: NetworkLab) -> None:
    lab.cluster()
    # Between each host and the master: 200 ms ± 100 ms there, and back.
    for host in (CLIENT, UNO, DOS):
        line = [sys.executable, RELAY, address(MASTER), "5001", "5011"]
        lab.start_ready(f"relay-at-{host}", [*lab.network.at(host), *line])
    for host in (UNO, DOS):
        lab.slave_at(host, master="127.0.0.1")
        lab.until_ready(host)
    with lab.recovery("200 ms ± 100 ms each way", "the whole job, from the submit on", within_s=30):
        lab.finished(lab.run_at(tile=64, master="127.0.0.1"))
    for host in (UNO, DOS):
        row = lab.slave_row(host)
        assert row is not None
        assert 0.2 < row.metrics.latency_s < 1.0


# --- Hosts ----------------------------------------------------------------------------------------


def test_a_slave_whose_address_changes_is_the_same_slave(lab: NetworkLab) -> None:
    lab.cluster(UNO, DOS)
    client = lab.run_at(tile=TINY_TILE)
    before = lab.until_ready(DOS).instance
    with lab.recovery("a slave's address changes", "it computes again"):
        lab.network.renumber(DOS, 22)
        lab.until_lost(DOS)
        lab.until_at_work(DOS)
    assert lab.until_ready(DOS).instance == before
    lab.finished(client)


def test_a_host_that_loses_its_power_leaves_nothing_in_the_way_of_its_next_start(
    lab: NetworkLab,
) -> None:
    _, _, dos = lab.cluster(UNO, DOS)
    client = lab.run_at(tile=TINY_TILE)
    # No packet tells of the end: to the master the connection is open.
    lab.network.pull(DOS)
    dos.end(signal.SIGKILL)
    until(lambda: not [p for p in lab.alive() if p.pid == dos.pid], "its processes are gone")
    lab.network.power_off(DOS)
    with lab.recovery("power cut of a slave's host, started anew", "the next slave computes"):
        lab.network.add(DOS)
        lab.slave_at(DOS)
        lab.until_at_work(DOS)
    lab.finished(client)
    lost, ready = [row.state.name for row in lab.observer.slaves() if row.name == "dos"]
    assert (lost, ready) == ("LOST", "READY")
