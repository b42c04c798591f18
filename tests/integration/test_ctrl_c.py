"""Ctrl-C, at the moments when it hurts: once ends a run in order, twice at once.

Either way the exit code is 130, and no process, temporary file or half-written result is left.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import psutil
import pytest

from tests.integration.embedded import HANG, start_run, started, until_at_work
from tests.integration.harness import Lab, Program, until
from tests.integration.pictures import LONG_JOB

#: Its tiles arrive while the rest hangs.
IMAGE = LONG_JOB + HANG
#: Thirty results to write, with something that keeps the run from its end.
MANY = '[[job]]\nkernel = "echo"\nvalue = 1\n' * 30 + '[[job]]\nkernel = "hang"\n'


def loading(lab: Lab, run: Program) -> None:
    """The moment when the program is still being loaded, or just was."""
    process = psutil.Process(run.pid)
    until(lambda: any("zmq" in part.path for part in process.memory_maps()), "zmq is loaded")


def starting(role: str) -> Callable[[Lab, Program], None]:
    """The moment when the first node of a role has been started."""

    def moment(lab: Lab, run: Program) -> None:
        until(lambda: started(lab, "hpczmq.nodes", role) or run.is_dead(), f"a {role} starts")

    return moment


def working(lab: Lab, run: Program) -> None:
    """The moment when everybody is there and both slots hang."""
    run.until_said("2 jobs, 2 tasks")
    until_at_work(lab)


def assembling(lab: Lab, run: Program) -> None:
    """The moment when an image is being put together on the disk."""
    until(lambda: lab.parts() or run.is_dead(), "a temporary file is there")


def writing(lab: Lab, run: Program) -> None:
    """The moment when the first of many results is written."""
    until(lambda: [*lab.folder.rglob("job.json")] or run.is_dead(), "a result is there")


MOMENTS = [
    pytest.param(HANG, loading, id="loading"),
    pytest.param(HANG, starting("master"), id="master-starts"),
    pytest.param(HANG, starting("slave"), id="slave-starts"),
    pytest.param(HANG, starting("memoria"), id="memoria-starts"),
    pytest.param(HANG, working, id="working"),
    pytest.param(IMAGE, assembling, id="assembling"),
    pytest.param(MANY, writing, id="writing"),
]


@pytest.mark.parametrize(("jobs", "moment"), MOMENTS)
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_leaves_nothing_behind(
    lab: Lab, jobs: str, moment: Callable[[Lab, Program], None], times: int
) -> None:
    run = start_run(lab, jobs)
    moment(lab, run)
    for _ in range(times):
        run.send(signal.SIGINT)
    done = run.ended()
    assert done.code == 130
    assert done.out == ""
    assert "Traceback" not in done.err
    # The second one may come before the first was taken note of, or after all is over.
    assert times == 2 or done.err.endswith("interrupted\n")
    lab.until_empty("after Ctrl-C")
    assert not lab.parts()


def test_the_second_ctrl_c_does_not_wait_for_a_node_that_does_not_answer(lab: Lab) -> None:
    run = start_run(lab, IMAGE)
    assembling(lab, run)
    until_at_work(lab)
    (master,) = started(lab, "hpczmq.nodes", "master")
    master.suspend()
    run.send(signal.SIGINT)
    until(lambda: not started(lab, "hpczmq.nodes", "slave"), "the others are told to end")
    assert run.end(signal.SIGINT) == 130
    assert not lab.parts()
    assert "Traceback" not in run.said()
    master.resume()
    lab.until_empty("after the frozen one goes on")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_wishes_to_end_are_like_ctrl_c(lab: Lab, number: signal.Signals) -> None:
    run = start_run(lab, HANG)
    working(lab, run)
    assert run.end(number) == 130
    assert run.said().endswith("interrupted\n")
    lab.until_empty("after it was told to end")
