"""A cluster that is started node by node, and every command that talks to one.

Most tests look at one town that none of them changes: two slaves that were there before their
master, the master, two memorias. What ends nodes or running work happens in a lab of its own.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy
import psutil
import pytest

import hpczmq
from hpczmq.model import JobState, SlaveState
from tests.integration.harness import MISBEHAVING, ROOT, Ended, Lab, Program, until
from tests.integration.pictures import LONG, same

SMALL: dict[str, Any] = {"width": 64, "height": 48, "iterations": 60}
LINE = "Numpy,64,48,60,1,name=small"


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Town:
    """A cluster that is there for several tests."""

    lab: Lab
    master: Program
    slaves: list[Program]
    memorias: list[Program]

    def launch(self, *arguments: str, **options: Any) -> Program:
        """Start a command that talks to this cluster."""
        env = {"HPCZMQ_MASTER": self.master.address, **MISBEHAVING}
        return self.lab.launch(*arguments, env=env, **options)

    def run(self, *arguments: str, **options: Any) -> Ended:
        """Run a command that talks to this cluster."""
        return self.launch(*arguments, **options).ended()

    def run_all(self, *commands: list[str], **options: Any) -> list[Ended]:
        """Run several commands at once."""
        return [started.ended() for started in [self.launch(*c, **options) for c in commands]]

    def submit(self, text: str) -> list[str]:
        """Hand jobs in; their ids."""
        return self.run("submit", "-", stdin=text).fine().out.split()


#: Nodes that measure themselves, beside slaves.
OTHERS = ("master", "memoria1", "memoria2")


@pytest.fixture(scope="module")
def town(shared_lab: Lab) -> Town:
    """Two slaves that say hello to nobody, then a master who comes to be where they call."""
    lab, port = shared_lab, free_port()
    slaves = [
        lab.slave(f"127.0.0.1:{port}", f"esclavo{n}", "--bind", "127.0.0.1:0", env=MISBEHAVING)
        for n in (1, 2)
    ]
    master = lab.master("--bind", f"127.0.0.1:{port}", env=MISBEHAVING)
    memorias = [lab.memoria(master.address, number) for number in (1, 2)]
    with hpczmq.Client(master.address) as client:
        until(lambda: client.status().slaves == 2, "both slaves have joined")
        until(lambda: len(client.status().memorias) == 2, "both memorias have joined")
        names = {"esclavo1", "esclavo2"}
        until(
            lambda: names <= {row.node for row in client.metrics()},
            "the memorias have heard of both slaves",
        )
    until(lambda: all(slave.children() for slave in slaves), "both workers have started")
    return Town(lab, master, slaves, memorias)


# --- Looking ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "other", "words"),
    [
        ("status", "estado", "2 with 2 slots"),
        ("jobs", "trabajos", "Jobs"),
        ("slaves", "esclavos", "esclavo2"),
        ("metrics", "metricas", "esclavo1"),
        ("alerts", "alertas", "lerts"),
        ("top --once", "monitorear --once --intervalo 2", "esclavo1"),
    ],
)
def test_a_question_is_answered_in_words_and_in_json(
    town: Town, verb: str, other: str, words: str
) -> None:
    done, asked = town.run_all(verb.split(), [*other.split(), "--json"])
    assert words in done.fine().out
    assert done.err == ""
    assert "\x1b" not in done.out
    answer = asked.fine().json()
    assert answer is not None
    if verb in ("slaves", "metrics"):
        key = "name" if verb == "slaves" else "node"
        names = {row[key] for row in answer}
        assert {"esclavo1", "esclavo2"} <= names <= {"esclavo1", "esclavo2", *OTHERS}


def test_a_question_names_the_nodes_that_it_is_about(town: Town) -> None:
    one, none = town.run_all(["metrics", "esclavo2", "--json"], ["alertas", "nobody", "--json"])
    assert [row["node"] for row in one.fine().json()] == ["esclavo2"]
    assert none.fine().json() == []


@pytest.mark.parametrize("role", ["master", "slave", "memoria"])
def test_every_node_answers_a_ping(town: Town, role: str) -> None:
    nodes = {"master": town.master, "slave": town.slaves[0], "memoria": town.memorias[1]}
    address = nodes[role].address
    done, asked = town.run_all(["ping", address], ["ping", address, "--json"])
    assert done.fine().out.startswith(f"{role} ")
    facts = asked.fine().json()
    assert facts["role"] == role
    assert 0 < facts["round_trip_s"] < 60
    assert facts["address"] == f"tcp://{address}"


def test_the_slaves_of_the_table_can_be_pinged_where_it_says(town: Town) -> None:
    for row in town.run("slaves", "--json").fine().json():
        assert town.run("ping", row["address"], "--json").fine().json()["name"] == row["name"]


def test_the_policy_can_be_changed_while_it_runs(town: Town) -> None:
    assert town.run("policy", "round-robin").fine().out == "policy round-robin\n"
    assert "policy round-robin" in town.run("status").out
    town.run("policy", "resources").fine()
    assert town.run("status", "--json").json()["policy"] == "resources"
    town.run("politica", "least-loaded", "--json").fine()
    assert town.run("status", "--json").json()["policy"] == "least-loaded"
    assert town.run("policy", "whim").refused().startswith("policy whim is not known: use one of")


def test_colours_are_for_terminals_and_not_for_those_who_want_none(town: Town) -> None:
    colour = re.compile(rb"\x1b\[[0-9;]*(3[0-7]|38;|9[0-7])[0-9;]*m")
    assert colour.search(on_a_terminal(town, "slaves", {"TERM": "xterm"}))
    assert not colour.search(on_a_terminal(town, "slaves", {"TERM": "xterm", "NO_COLOR": "1"}))


def on_a_terminal(town: Town, verb: str, env: dict[str, str]) -> bytes:
    """What a command prints on a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, str(ROOT / "cli.py"), verb, "--master", town.master.address]
    process = psutil.Popen(command, env=town.lab.environment(env), stdout=theirs)
    os.close(theirs)
    printed = b""
    try:
        while more := os.read(ours, 65536):
            printed += more
    except OSError:  # Linux's end of a terminal
        pass
    assert process.wait(60) == 0
    os.close(ours)
    return printed


# --- Jobs ---------------------------------------------------------------------------------------


def test_jobs_are_handed_in_waited_for_and_fetched(town: Town) -> None:
    (town.lab.folder / "two.txt").write_text(f"{LINE}\nnumpy,64,48,60\n")
    named, unnamed = town.run("cargar-trabajos", "--archivo", "two.txt").fine().out.split()
    assert "done" in town.run("wait", named, unnamed).fine().out
    row = town.run("job", named, "--json").fine().json()
    assert (row["state"], row["name"], row["priority"]) == ("done", "small", 1)
    assert row["params"]["algorithm"] == "Numpy"
    assert "kernel    julia: algorithm=Numpy" in town.run("job", named).fine().out
    listed = town.run("jobs", "--json").fine().json()
    assert [r["id"] for r in listed if r["id"] in (named, unnamed)] == [named, unnamed]
    done = town.run("fetch", named, unnamed, "--out", "fetched").fine()
    for folder in ("small", unnamed):
        assert f"fetched/{folder}/image.png" in done.out
        assert same(numpy.load(town.lab.folder / "fetched" / folder / "counts.npy"), SMALL)
    rows = town.run("descargar", named, "--salida", "again", "--json").fine().json()
    assert rows[0]["picture"] == "again/small/image.png"


def test_run_on_the_cluster_gives_the_same_files(town: Town) -> None:
    rows = town.run("run", "-", "--out", "ours", "--json", stdin=LINE).fine().json()
    assert rows[0]["state"] == "done"
    assert same(numpy.load(town.lab.folder / "ours" / "small" / "counts.npy"), SMALL)
    report = json.loads((town.lab.folder / "ours" / "small" / "job.json").read_text())
    assert report["slaves"].keys() <= {"esclavo1", "esclavo2"}


def test_render_on_the_cluster_draws_its_picture(town: Town) -> None:
    size = ["--width", "64", "--height", "48", "--iterations", "60"]
    town.run("render", *size, "-o", "there.png", "--maestro", town.master.address).fine()
    assert (town.lab.folder / "there.png").read_bytes().startswith(b"\x89PNG")


def test_a_job_that_failed_gives_exit_code_1_and_its_cause(town: Town) -> None:
    (id,) = town.submit('[[job]]\nkernel = "fail"\nmessage = "no such luck"\n')
    assert town.run("wait", id).code == 1
    row = town.run("job", id, "--json").fine().json()
    assert (row["state"], row["failed"]) == ("failed", 1)
    assert "no such luck" in row["cause"]
    assert "no such luck" in town.run("job", id).fine().out
    done = town.run("fetch", id, "--out", "none", "--json")
    assert (done.code, done.json()[0]["state"]) == (1, "failed")


def test_what_the_master_does_not_know_is_refused(town: Town) -> None:
    words = "job j999 is not known here: `hpczmq jobs` lists those that are\n"
    for done in town.run_all(*([verb, "j999"] for verb in ("job", "wait", "fetch", "cancel"))):
        assert done.refused() == words
    words = "kernel = nosuch: must be a kernel installed here"
    assert words in town.run("submit", "-", stdin='[[job]]\nkernel="nosuch"\n').refused()


def test_without_a_cluster_every_command_says_so_with_exit_code_3(town: Town) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    away = ["--master", nobody, "--timeout", "0.3"]
    commands = ["status"], ["submit", "-"], ["run", "-"], ["top"], ["cancel", "j1"]
    for done in town.run_all(*([*command, *away] for command in commands), stdin=LINE):
        words = done.refused(code=3)
        assert words.startswith(f"tcp://{nobody}: no master answered in 0.3 s: start one with")
    assert "nothing answered" in town.run("ping", nobody, "--timeout", "0.3").refused(code=3)


def test_an_address_that_is_none_is_bad_usage(town: Town) -> None:
    words = "address = 'no where:x': must be HOST or HOST:PORT\n"
    for done in town.run_all(["status", "--master", "no where:x"], ["ping", "no where:x"]):
        assert done.refused() == words


def test_readers_who_have_seen_enough_harm_no_run(town: Town) -> None:
    (town.lab.folder / "jobs.txt").write_text(LINE)
    for json_too in ([], ["--json"]):
        ours, theirs = os.pipe()
        os.close(ours)
        arguments = ["run", "jobs.txt", "--out", f"unread{len(json_too)}", *json_too]
        command = [sys.executable, str(ROOT / "cli.py"), *arguments]
        env = town.lab.environment({"HPCZMQ_MASTER": town.master.address})
        folder = town.lab.folder
        # Nobody reads its results, nor how it goes.
        done = subprocess.run(
            command, cwd=folder, env=env, stdout=theirs, stderr=theirs, check=False
        )
        os.close(theirs)
        assert done.returncode == 0
        assert same(numpy.load(folder / arguments[3] / "small" / "counts.npy"), SMALL)


# --- Nodes that come and go ---------------------------------------------------------------------


def test_a_slave_leaves_and_another_joins_half_way(lab: Lab) -> None:
    master = lab.master()
    first = lab.slave(master.address, "first")
    with hpczmq.Client(master.address) as client:
        job = client.submit(hpczmq.Job("julia", LONG))
        until(lambda: job.arrived_tasks > job.tasks / 4, "a quarter of the image is there")
        assert first.end(signal.SIGTERM) == 0
        (gone,) = client.slaves()
        assert gone.state is SlaveState.LEFT
        assert not job.done()
        lab.slave(master.address, "second", slots=2)
        assert same(job.result(60), LONG)
        assert job.slaves.keys() == {"first", "second"}
        assert sum(tally.tasks for tally in job.slaves.values()) == job.tasks


def test_cancelling_a_running_job_frees_its_slot(lab: Lab) -> None:
    master = lab.master(env=MISBEHAVING)
    slave = lab.slave(master.address, "only", env=MISBEHAVING)
    to = ("--master", master.address)
    text = '[[job]]\nkernel = "hang"\n[[job]]\nkernel = "echo"\nvalue = 1\n'
    hanging, waiting = lab.run("submit", "-", *to, env=MISBEHAVING, stdin=text).fine().out.split()
    with hpczmq.Client(master.address) as client:
        until(lambda: client.slaves()[0].metrics.slots_busy == 1, "the slot hangs")
        (worker,) = slave.children()
        assert client.jobs([waiting])[0].state is JobState.QUEUED
        assert lab.run("cancelar", hanging, *to).fine().out == f"cancelled: {hanging}\n"
        lab.run("wait", waiting, *to).fine()
        assert client.jobs([hanging])[0].state is JobState.CANCELLED
    assert not worker.is_running()
    assert lab.run("cancel", hanging, *to).fine().out == "cancelled: nothing\n"
    assert lab.run("wait", hanging, *to).code == 1


def test_clearing_the_queue_spares_what_runs(lab: Lab) -> None:
    master = lab.master()
    lab.slave(master.address, "only")
    to = ("--master", master.address)
    text = '{"kernel": "sleep", "seconds": 3600}\n' + '{"kernel": "echo", "value": 1}\n' * 2
    first, *others = lab.run("submit", "-", *to, stdin=text).fine().out.split()
    with hpczmq.Client(master.address) as client:
        until(lambda: client.jobs([first])[0].state is JobState.RUNNING, "the first one runs")
        assert lab.run("limpiar-cola", *to, "--json").fine().json() == others
        assert [row.state.name for row in client.jobs()] == ["RUNNING", "CANCELLED", "CANCELLED"]


def test_ctrl_c_takes_a_run_off_the_cluster(lab: Lab) -> None:
    master = lab.master()
    lab.slave(master.address, "only")
    (lab.folder / "jobs.toml").write_text('[[job]]\nkernel = "sleep"\nseconds = 3600\n' * 2)
    run = lab.launch("run", "jobs.toml", "--master", master.address)
    with hpczmq.Client(master.address) as client:
        until(lambda: client.status().jobs_running, "a job runs")
        run.until_said("2 jobs, 2 tasks")
        assert run.end(signal.SIGINT) == 130
        until(lambda: client.status().jobs_ended == 2, "both jobs are cancelled")
        assert {row.state for row in client.jobs()} == {JobState.CANCELLED}
    assert run.said() == "2 jobs, 2 tasks\ninterrupted\n"


def test_a_render_that_somebody_cancels_is_a_job_that_failed(lab: Lab) -> None:
    master = lab.master()
    render = lab.launch("render", "--master", master.address)
    with hpczmq.Client(master.address) as client:
        (job,) = until(client.jobs, "the image is handed in")
        render.until_said("1 job")
        client.cancel([job.id])
    done = render.ended()
    assert (done.code, done.err.splitlines()[-1]) == (1, "julia: cancelled")
    assert not (lab.folder / "julia.png").exists()


def test_nodes_take_their_settings_from_the_containers_variables(lab: Lab) -> None:
    master = lab.master()
    env = {"MAESTRO_IP": master.address, "ESCLAVO": "obrero"}
    lab.node("esclavo", "--slots", "1", "--bind", "off", env=env)
    ports = {"HPCZMQ_BIND": "127.0.0.1:0", "HPCZMQ_CONTROL_BIND": "127.0.0.1:0"}
    lab.node("memoria", env={**env, **ports, "MEMORIA_NODE": "memoria2", "ESCLAVO": ""})
    (lab.folder / "hpczmq.toml").write_text(f'master = "{master.address}"\n')
    env = {"HPCZMQ_CONFIG": "hpczmq.toml"}
    until(lambda: "obrero" in lab.run("slaves", env=env).fine().out, "the slave has joined")
    until(lambda: "tcp" in lab.run("status", env=env).fine().out, "the memoria has joined")


def test_top_goes_on_until_ctrl_c(town: Town) -> None:
    top = town.lab.launch("monitorear", "--master", town.master.address, "--intervalo", "0.1")
    until(lambda: b"esclavo2" in top.out.read_bytes() or top.is_dead(), "a frame is drawn")
    assert top.end(signal.SIGINT) == 0
    assert top.said() == ""


def test_a_node_that_is_told_to_stop_ends_well(lab: Lab) -> None:
    master = lab.master()
    nodes = [lab.slave(master.address, "only"), lab.memoria(master.address), master]
    with hpczmq.Client(master.address) as client:
        until(lambda: client.status().slaves and client.status().memorias, "all have joined")
    for node, number in zip(nodes, (signal.SIGINT, signal.SIGTERM, signal.SIGINT), strict=True):
        assert node.end(number) == 0
        assert "Traceback" not in node.said()
    lab.until_empty("after all nodes have ended")


def test_a_node_that_cannot_listen_says_why(lab: Lab) -> None:
    master = lab.master()
    taken = master.address
    assert f"tcp://{taken}: Address already in use" in lab.run("master", "--bind", taken).refused()
    words = lab.run("master", "--bind", "0.0.0.0:0").refused()
    assert "--insecure" in words
    assert "must be HOST or HOST:PORT" in lab.run("slave", "--master", "a:b:c:").refused()
