"""The dashboard on a terminal, as a person sees it: a screen of tmux, read and typed on."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

import hpczmq
from tests.debian import installed
from tests.integration.harness import ROOT, Lab, until

#: A Julia set that one slot is busy with for longer than the test takes.
LONG = hpczmq.Job(
    "julia",
    {"algorithm": "Secuencial", "width": 4000, "height": 3000, "iterations": 300, "tile": 64,
     "center_x": 0.3},
    name="rabbit", priority=1,
)  # fmt: skip


class Terminal:
    """A terminal of its own: what stands on it, and keys that are pressed."""

    def __init__(self, lab: Lab, command: str, columns: int = 80, lines: int = 24) -> None:
        self._lab = lab
        self._socket = str(lab.folder / "t")
        env = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "SHELL": "/bin/sh"}
        size = ("-x", str(columns), "-y", str(lines))
        # In the foreground, so that it is a child of ours like any other.
        config = lab.folder / "tmux.conf"
        config.write_text("set -g exit-empty off\nset -g status off\nset -g escape-time 10\n")
        self._server = lab.start(
            "tmux", ["tmux", "-u", "-S", self._socket, "-f", str(config), "-D"], env
        )
        until(lambda: os.path.exists(self._socket) or self._server.is_dead(), "tmux is there")
        self._tmux("new-session", "-d", *size, "sh", "-c", command)

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-u", "-S", self._socket, *arguments]
        return self._lab.start("ask", command, {"LC_ALL": "C.UTF-8"}).ended().fine().out

    def screen(self) -> str:
        """What stands on it."""
        return self._tmux("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        """Press keys: characters, or tmux's names of others."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Make it larger or smaller."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def until(self, *words: str, without: str = "") -> str:
        """Wait until all of these words stand on it, and those don't."""

        def found() -> str:
            screen = self.screen()
            fits = all(word in screen for word in words) and not (without and without in screen)
            return screen if fits else ""

        try:
            return until(found, f"{words} on the screen")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.screen()}") from None

    def close(self) -> None:
        """End it with all that runs on it."""
        self._tmux("kill-server")
        assert self._server.wait() == 0


@pytest.fixture
def tmux() -> None:
    """Tmux, installed if it is missing and may be."""
    installed(["tmux"], ["tmux"])


def test_a_person_sees_the_cluster_and_its_keys_work(lab: Lab, tmux: None) -> None:
    master = lab.master()
    port = master.address
    lab.slave(port, "uno")
    slave = lab.slave(port, "dos")
    with hpczmq.Client(port) as client:
        until(lambda: client.status().slaves == 2, "both are here")
        id = client.hand_in(LONG)
    before, after = lab.folder / "before", lab.folder / "after"
    program = f"{sys.executable} {ROOT / 'cli.py'} top --master {port} --interval 0.1"
    told = f"stty -g > {before}; {program}; echo CODE $?; stty -g > {after}; cat"
    terminal = Terminal(lab, told)
    screen = terminal.until("2 slaves", "2/2 slots busy", "● uno", "● dos", f"picture {id}",
                            "rabbit", "▀▀", "tasks/s", "slave dos joined", "q quit")  # fmt: skip
    assert len(screen.splitlines()) == 24
    for keys, words, gone in (
        ("?", "acknowledge the first alert", ""),
        ("?", "● uno", "acknowledge the first alert"),
        ("s", "by name", ""),
        ("/", "filter:", ""),
        ("u", "filter: u", ""),
        ("Enter", "● uno", "● dos"),
        ("Escape", "● dos", ""),
        ("j", f"▸{id}", ""),
        ("p", "paused", ""),
        ("p", "q quit", "paused"),
        ("a", "no alert to acknowledge", ""),
    ):
        terminal.press(keys)
        terminal.until(words, without=gone)
    terminal.resize(130, 40)
    assert len(terminal.until("least-loaded").splitlines()) == 40
    slave.end(signal.SIGKILL)
    terminal.until("lost, heard", "1 slaves")
    # The master goes, and another one comes where it was.
    master.end(signal.SIGKILL)
    terminal.until("the master has been away for", "● uno")
    again = lab.master("--bind", port)
    terminal.until("● uno", "jobs 0", without="away for")
    terminal.press("q")
    terminal.until("CODE 0", without="slots busy")
    until(after.exists, "the command has ended")
    assert after.read_text() == before.read_text(), "the terminal is as it was"
    terminal.close()
    assert again.end() == 0


def test_what_happened_is_told_traced_and_reported(lab: Lab) -> None:
    master = lab.master()
    lab.slave(master.address, "uno")
    small = hpczmq.Job("julia", {"algorithm": "Numpy", "width": 96, "height": 64, "iterations": 50,
                                 "tile": 32}, name="small")  # fmt: skip
    with hpczmq.Client(master.address) as client:
        late = client.submit(hpczmq.Job("sleep", {"seconds": 60}, timeout_s=0.2))
        assert client.submit(small).result(60).shape == (64, 96)
        assert isinstance(late.exception(60), hpczmq.JobFailed)
    to = ("--master", master.address)
    asked = [
        lab.launch("top", *to, "--svg", "frame.svg"),
        lab.launch("top", *to, "--json"),
        lab.launch("traza", "j1", *to, "-o", "late.json"),
        lab.launch("informe", "j2", *to, "--json"),
        lab.launch("eventos", *to, "--desde", "1h", "--nodo", "uno", "--csv"),
        lab.launch("events", *to, "--since", "soon"),
        lab.launch("trace", "j9", *to),
    ]
    svg, frame, traced, reported, told, soon, unknown = [a.ended() for a in asked]
    assert svg.fine().out.strip() == "frame.svg"
    picture = (lab.folder / "frame.svg").read_text()
    assert "uno" in picture
    assert "http" not in picture.replace("http://www.w3.org", "")
    row = frame.fine().json()
    assert [slave["name"] for slave in row["slaves"]] == ["uno"]
    assert "slave uno joined with 1 slots" in [event["text"] for event in row["events"]]
    traced.fine()
    events = json.loads((lab.folder / "late.json").read_text())["traceEvents"]
    killed = next(event for event in events if event["name"] == "task 0: timeout")
    assert killed["ts"] > 0.2e6
    assert reported.fine().json() == {"file": "j2.html"}
    page = (lab.folder / "j2.html").read_text()
    assert page.count("data:image/png") == 2
    assert page.count("<rect") > 3
    header, first = told.fine().out.splitlines()[:2]
    assert header == "age_s,kind,node,job,text"
    assert first.endswith("slave,uno,,slave uno joined with 1 slots")
    assert "since = soon: must be like" in soon.refused()
    assert "job j9 is not known" in unknown.refused()
