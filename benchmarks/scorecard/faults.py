"""The faults: what is done to a system while tasks run, the same for all.

A fault is a function of the cell that it is done to (`cell.Cell`). It strikes once some tasks are
done, notes the moment with `cell.strike()`, and may measure more in `cell.extra`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from benchmarks.scorecard.stage import HOSTS, until

if TYPE_CHECKING:
    from benchmarks.scorecard.cell import Cell

#: A fault that passes lasts so long.
PASSES_S = 5.0
#: A task that hangs may take so long.
TIMEOUT_S = 2.0
#: A task that is cancelled has run so long.
RAN_S = 1.0
#: What was to be stopped is looked at for so long.
STOPPED_S = 20.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the table."""

    title: str
    do: Callable[[Cell], None]
    #: What one of the tasks does instead of sleeping, if any.
    action: str = ""
    #: Workers that are left when it has struck, of two.
    left: int = 2
    #: A cell is given up when nothing has happened for so long.
    patience_s: float = 30.0
    #: Nodes at the beginning.
    nodes: int = 2
    tasks: int = 40
    #: Whether it takes a network of its own, and root.
    network: bool = False


def nothing(cell: Cell) -> None:
    """The undisturbed run, against which the others are held."""
    cell.strike()


def worker_killed(cell: Cell) -> None:
    """SIGKILL to the process that runs a task."""
    victim = psutil.Process(cell.running().pid)
    cell.strike()
    victim.kill()


def poison(cell: Cell) -> None:
    """A task kills the process that runs it, each time."""
    cell.special_started()
    cell.strike()


def _stopped(cell: Cell, passes: bool) -> None:
    victim = psutil.Process(cell.running().pid)
    cell.strike()
    victim.suspend()
    if passes:
        time.sleep(PASSES_S)
        victim.resume()


def worker_stopped_5s(cell: Cell) -> None:
    """SIGSTOP to the process that runs a task, SIGCONT 5 s later."""
    _stopped(cell, passes=True)


def worker_stopped(cell: Cell) -> None:
    """SIGSTOP to the process that runs a task, for ever."""
    _stopped(cell, passes=False)


def node_killed(cell: Cell) -> None:
    """SIGKILL to every process of a node."""
    node = cell.node_of(cell.running())
    cell.strike()
    cell.stage.kill_node(node)


def node_stopped(cell: Cell) -> None:
    """SIGSTOP to every process of a node, for ever: its connections stay open."""
    node = cell.node_of(cell.running())
    cell.strike()
    cell.stage.send(signal.SIGSTOP, cell.stage.processes(node))


def node_added(cell: Cell) -> None:
    """A second node is started while one is at work; measured until it runs its first task."""
    known = {line.pid for line in cell.stage.lines()}
    cell.strike()
    cell.add_node("node2")

    def joined() -> list[float]:
        return [line.at for line in cell.stage.lines() if line.pid not in known]

    until(lambda: joined() or cell.is_over(), "work for the new node, or none left")
    found = joined()
    cell.extra["joined_s"] = found[0] - cell.struck_at if found else None


def hang(cell: Cell) -> None:
    """A task hangs in C; it was given 2 s. Where no task has a timeout, the caller cancels it."""
    line = cell.special_started()
    while time.monotonic() < line.at + TIMEOUT_S:
        time.sleep(0.01)
    cell.strike()
    if not cell.setup.system.own_timeout:
        cell.cancel()
    _until_gone(cell, [line.pid])


def cancel(cell: Cell) -> None:
    """A task that runs, and that has started a process, is cancelled."""
    line = cell.special_started()
    child = until(lambda: [x for x in cell.stage.lines() if x.word == "child"], "its child")[0]
    time.sleep(RAN_S)
    cell.strike()
    cell.cancel()
    _until_gone(cell, [line.pid, child.pid])


def _until_gone(cell: Cell, pids: list[int]) -> None:
    """Measure until the processes of a task are gone, or do other tasks."""
    name = cell.special

    def busy() -> list[int]:
        others = {x.pid for x in cell.stage.lines() if x.word == "started" and x.task != name
                  and x.at > cell.struck_at}  # fmt: skip
        return [pid for pid in pids if is_alive(pid) and pid not in others]

    end = time.monotonic() + STOPPED_S
    while busy():
        if time.monotonic() > end:
            cell.extra["stopped_s"] = None
            return
        time.sleep(0.02)
    cell.extra["stopped_s"] = time.monotonic() - cell.struck_at


def raises(cell: Cell) -> None:
    """A task raises an exception."""
    cell.special_started()
    cell.strike()


def daemon(cell: Cell) -> None:
    """A task starts a process in a session of its own, and ends without it."""
    cell.special_started()
    until(lambda: [x for x in cell.stage.lines() if x.word == "child"], "its child")
    cell.strike()


def client_killed(cell: Cell) -> None:
    """SIGKILL to the user's program."""
    cell.strike()
    cell.client.kill()


def head_killed(cell: Cell) -> None:
    """SIGKILL to every process of the scheduler (master, head, interchange); nobody restarts it."""
    cell.strike()
    cell.setup.kill_head()


def _cut(cell: Cell, chains: tuple[str, ...], passes: bool) -> None:
    network, host = cell.stage.network, HOSTS[cell.node_of(cell.running())]
    assert network is not None
    cell.strike()
    for chain in chains:
        network.rule(host, chain)
    if passes:
        time.sleep(PASSES_S)
        network.no_rules(host)


def cut_5s(cell: Cell) -> None:
    """No packet between a node and all others, for 5 s."""
    _cut(cell, ("INPUT", "OUTPUT"), passes=True)


def cut(cell: Cell) -> None:
    """No packet between a node and all others, for ever."""
    _cut(cell, ("INPUT", "OUTPUT"), passes=False)


def deaf(cell: Cell) -> None:
    """A node hears nothing any more; what it says still arrives."""
    _cut(cell, ("INPUT",), passes=False)


#: Long enough for all that wait five minutes before they give a worker up (Dask does).
LONG_S = 330.0

FAULTS: dict[str, Fault] = {
    "none": Fault("nothing", nothing),
    "worker-killed": Fault("a worker is killed", worker_killed, patience_s=LONG_S),
    "poison": Fault("a task kills its worker each time", poison, "die", patience_s=LONG_S),
    "worker-stopped-5s": Fault("a worker stands still for 5 s", worker_stopped_5s),
    "worker-stopped": Fault(
        "a worker stands still for ever", worker_stopped, left=1, patience_s=LONG_S
    ),
    "node-killed": Fault("a node is killed", node_killed, left=1, patience_s=LONG_S),
    "node-stopped": Fault("a node stands still for ever", node_stopped, left=1, patience_s=LONG_S),
    "node-added": Fault("a node is added", node_added, nodes=1, tasks=160),
    "hang": Fault("a task hangs in C, timeout 2 s", hang, "hang", patience_s=LONG_S),
    "cancel": Fault("a running task is cancelled", cancel, "parent"),
    "raises": Fault("a task raises", raises, "raise"),
    "daemon": Fault("a task leaves a process behind", daemon, "daemon"),
    "client-killed": Fault("the client is killed", client_killed),
    "head-killed": Fault("the scheduler is killed", head_killed, patience_s=LONG_S),
    "cut-5s": Fault("a node is cut off for 5 s", cut_5s, network=True),
    "cut": Fault("a node is cut off for ever", cut, left=1, patience_s=LONG_S, network=True),
    "deaf": Fault("a node hears nothing, for ever", deaf, left=1, patience_s=LONG_S, network=True),
}


def is_alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
