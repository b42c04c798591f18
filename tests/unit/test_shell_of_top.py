"""How often the dashboard asks, and what it makes of answers that don't come."""

from __future__ import annotations

from typing import Any

import pytest

from hpczmq import limits
from hpczmq.dashboard.board import Board
from hpczmq.dashboard.shell import Questions, ask_memorias, view
from hpczmq.errors import NoCluster
from hpczmq.messages import Ask
from hpczmq.model import About
from hpczmq.scheduler import floods
from tests.unit.harness import World
from tests.unit.test_board import alert, cluster, job, slave


class Master:
    """A client and its clock; counts what it is asked."""

    def __init__(self, jobs: int = 1, slaves: int = 1) -> None:
        self.now_s, self.asked = 0.0, list[About]()
        self._jobs, self._slaves = jobs, slaves
        self.memorias = True

    def now(self) -> float:
        return self.now_s

    def status(self) -> Any:
        self.asked.append(About.STATUS)
        return cluster(jobs_queued=self._jobs - 1)

    def slaves(self) -> Any:
        self.asked.append(About.SLAVES)
        return self._slaves * [slave("s1")]

    def jobs(self) -> Any:
        self.asked.append(About.JOBS)
        return self._jobs * [job("j1")]

    def events(self) -> Any:
        self.asked.append(About.EVENTS)
        return ()

    def alerts(self) -> Any:
        if not self.memorias:
            raise NoCluster("none of 2 memorias answered")
        return (alert(),)

    def metrics(self) -> Any:
        return ()


def asked(master: Master, seconds: float, interval_s: float = 0.25) -> list[About]:
    """What a dashboard asks in so long."""
    questions = Questions(master, master)  # type: ignore[arg-type]  # as far as it is used
    master.asked.clear()
    while master.now_s < seconds:
        questions.ask()
        master.now_s += interval_s
    return master.asked


def test_the_cluster_is_asked_each_frame_and_what_changes_once_a_heartbeat_less_often() -> None:
    questions = asked(Master(), 10.0)
    times = {about: questions.count(about) for about in About if about in questions}
    assert times == {About.STATUS: 40, About.SLAVES: 10, About.JOBS: 40, About.EVENTS: 5}


@pytest.mark.parametrize(("jobs", "slaves"), [(1000, 1000), (100_000, 1), (5_000, 20_000)])
def test_who_looks_on_is_never_muted_for_it(world: World, jobs: int, slaves: int) -> None:
    seconds = 60
    questions = asked(Master(jobs, slaves), seconds)
    state: Any = world.state  # its jobs and slaves are counted, and not looked at
    state.jobs = dict.fromkeys(map(str, range(jobs)))
    state.slaves = dict.fromkeys(range(slaves))
    state.happenings.extend([None] * limits.events_kept_max)
    cost = sum(floods._cost(state, b"c", Ask(1, about)) for about in questions)
    assert cost / seconds < limits.useless_messages_per_s
    state.jobs, state.slaves = {}, {}


def test_answers_stand_on_the_board_for_people_and_for_programs() -> None:
    master, board = Master(), Board("tcp://a:1")
    questions = Questions(master, master)  # type: ignore[arg-type]  # as far as it is used
    for told in (*questions.ask(), *ask_memorias(master)):  # type: ignore[arg-type]  # the same
        told(board)
    seen = view(board)
    assert (seen.cluster, seen.alerts) == (cluster(), (alert(),))
    assert [len(rows) for rows in (seen.slaves, seen.jobs, seen.events)] == [1, 1, 0]
    master.memorias = False
    for told in ask_memorias(master):  # type: ignore[arg-type]  # the same
        told(board)
    assert view(board).alerts is None
    assert board.mute == "none of 2 memorias answered"
