"""Bounds in a whole cluster: readers that don't read, results that are too many, older queues."""

from __future__ import annotations

from hpczmq import limits
from hpczmq.messages import Cancel, Chunk, Ended, Message, Taken
from hpczmq.model import JobState
from hpczmq.simulation.work import SimJob
from hpczmq.simulation.world import World
from tests.sim.test_scenarios import lose, world

#: Results of a task in these worlds take at most so much: its spec, and three digests.
RESULT_BYTES = 200


def done(it: World, jobs: int) -> None:
    """Every job has come to its result."""
    it.finish()
    assert [order.info.state for order in it.orders if order.info] == [JobState.DONE] * jobs


def test_a_client_that_stands_still_is_cut_off_and_goes_on_later_while_others_do() -> None:
    still_s = 6.0
    with world(
        clients=2, client_backlog_bytes_max=500, client_still_s=still_s, client_silent_s=60.0
    ) as it:
        slow, quick = it.clients
        it.order(SimJob(0, 60, task_s=0.05))
        it.run_for(0.3)
        slow.pause(9.0)
        other = it.order(SimJob(1, 40, task_s=0.05), client=1)
        most = 0
        for _ in range(80):
            it.run_for(0.1)
            waits = [client.backlog_bytes for client in it.master.core.state.clients.values()]
            most = max(most, *waits, 0)
        assert most <= 500
        assert other.info is not None, "it was served meanwhile"
        assert not quick.warnings
        done(it, 2)
        assert slow.warnings, "it hears why"


def test_full_results_make_jobs_wait_until_those_before_are_taken_and_none_is_lost() -> None:
    with world(slaves=2, slots=2) as it:
        state = it.master.core.state
        state.results_bytes_max = 40 * RESULT_BYTES
        most = 0
        for number in range(12):
            it.order(SimJob(number, 20, task_s=0.02))
            it.run_for(0.5)
            most = max(most, state.results_bytes)
        done(it, 12)
        assert len(state.jobs) < 12, "what was taken made room"
        assert most < 2 * state.results_bytes_max


def test_full_results_that_nobody_takes_are_kept_and_nothing_hangs_once_they_are_cleared() -> None:
    with world() as it:
        state = it.master.core.state
        state.results_bytes_max = 1
        first = it.order(SimJob(0, 1, task_s=0.01))
        it.setting.network.censor = lose(Taken, 1)
        it.until(lambda: first.info is not None, 5.0)
        it.run_for(1.0)
        second = it.order(SimJob(1, 2, task_s=0.01))
        it.run_for(1.0)
        assert "results take" in second.refused
        it.clients[0].ask(Cancel(0, (), ended=True))
        it.until(lambda: not state.full, 2.0)
        third = it.order(SimJob(2, 1, task_s=0.01))
        it.until(lambda: third.info is not None, 5.0)


def test_chunks_that_get_lost_do_not_use_up_the_credit_for_ever() -> None:
    with world(client_backlog_bytes_max=300) as it:
        left = [25]

        def censor(up: bool, name: str, message: Message) -> bool:
            lost = isinstance(message, Chunk | Ended | Taken) and left[0] > 0
            left[0] -= lost
            return lost

        it.setting.network.censor = censor
        it.order(SimJob(0, 40, task_s=0.02))
        done(it, 1)
        assert left == [0]


def test_a_silent_client_holds_no_bytes_for_ever() -> None:
    with world(clients=2, client_backlog_bytes_max=300) as it:
        it.order(SimJob(0, 30, task_s=0.02))
        it.run_for(0.3)
        it.clients[0].pause(limits.client_still_s + 5.0)
        it.run_for(limits.client_still_s + 2.0)
        assert it.master.core.state.backlog_bytes == 0
        done(it, 1)
