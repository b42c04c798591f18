"""A memoria as a process: what it has heard, and what it was told, is there after a restart."""

from __future__ import annotations

from pathlib import Path

import hpczmq
from tests.integration.harness import Lab, until

RULES = """
builtin = false
[[rule]]
name = "always"
metric = "own_memory_bytes"
raise_at = 1
clear_at = 0
text = "{node} has {value:.0f} bytes: that is well"
"""


def test_history_and_alerts_are_there_after_a_restart(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    (tmp_path / "bad.toml").write_text(RULES + "[[rule]]\nname = 'x'\n")
    told = tmp_path / "told"
    master = lab.master()
    options = (
        "memoria", "--bind", "127.0.0.1:0", "--control-bind", "127.0.0.1:0",
        "--master", master.address, "--history", str(tmp_path / "m.sqlite"),
        "--on-alert", f"sh -c 'cat >> {told}'", "--rules",
    )  # fmt: skip
    assert "bad.toml:9: metric: must be there" in lab.run(*options, "bad.toml").refused()
    memoria = lab.node(*options, "rules.toml")

    def heard(client: hpczmq.Client) -> list[float]:
        return [row["at_s"] for row in client.history(0.0, nodes=["master"]).get("master", [])]

    with hpczmq.Client(master.address) as client:
        until(lambda: client.status().memorias, "the memoria has joined")
        until(lambda: [a.id for a in client.alerts(["master"])] == ["always/master"], "an alert")
        raised_s = client.alerts(["master"])[0].raised_s
        ack = ("alerts", "ack", "always/master", "--master", master.address, "--json")
        (row,) = lab.run(*ack).fine().json()
        assert (row["id"], row["state"]) == ("always/master", "acknowledged")
        until(lambda: told.exists() and '"acknowledged"' in told.read_text(), "it was told")
        until(lambda: len(heard(client)) > 4, "it has heard something")
        before = heard(client)

        assert memoria.end() == 0
        until(lambda: not client.status().memorias, "the master has noticed")
        lab.node(*options, "rules.toml")
        until(lambda: client.status().memorias, "it has joined again")
        again = until(lambda: client.alerts(["master"]), "it is told again")[0]
        assert (again.state.name, again.raised_s) == ("ACKNOWLEDGED", raised_s)
        # On disk a row is a second's, and stands for what was heard in it.
        after = heard(client)
        assert after[0] <= before[0] < after[0] + 1.0
        shown = lab.run("historial", "--maestro", master.address, "--csv").fine().out
        assert shown.startswith("node,at_s,cpu_percent,")
