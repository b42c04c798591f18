"""Memorias as processes: what they have heard is there after a restart."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import hpczmq
from tests.integration.harness import Lab, until


def test_the_history_is_there_after_a_restart_and_a_second_memoria_gets_it(
    lab: Lab, tmp_path: Path
) -> None:
    master = lab.master()
    file = tmp_path / "first.sqlite"
    binds = ("--bind", "127.0.0.1:0", "--control-bind", "127.0.0.1:0", "--master", master.address)
    first = lab.node("memoria", *binds, "--history", str(file))

    def heard(client: hpczmq.Client) -> list[float]:
        return [row["at_s"] for row in client.history(0.0, nodes=["master"]).get("master", [])]

    with hpczmq.Client(master.address) as client:
        until(lambda: client.status().memorias, "the memoria has joined")
        until(lambda: len(heard(client)) > 4, "it has heard something")
        before = heard(client)
        assert first.end() == 0
        until(lambda: not client.status().memorias, "the master has noticed")
        with sqlite3.connect(file) as written:
            count = written.execute("SELECT count(*) FROM rows WHERE tier = 0").fetchone()[0]
        written.close()
        assert count > 1
        lab.node("memoria", *binds, "--history", str(file))
        until(lambda: client.status().memorias, "it has joined again")
        # On disk a row is a second's, and stands for what was heard in it.
        after = until(lambda: heard(client), "the file is read")
        assert after[0] <= before[0] < after[0] + 1.0
        lab.node("memoria", *binds, "--number", "2", "--history", "off")
        until(lambda: len(client.status().memorias) == 2, "the second one has joined")
        told = lab.run("history", "--master", master.address, "--since", "1h", "--json").fine()
        assert "master" in told.json()
        assert (
            lab.run("historial", "--maestro", master.address, "--csv")
            .fine()
            .out.startswith("node,")
        )
