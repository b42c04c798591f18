"""Single accidents, each with what has to come of it. The machines and the world are the same as
in the seeded runs; only what goes wrong is chosen here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hpczmq import limits
from hpczmq.messages import (
    Ack,
    Assign,
    Cancel,
    Chunk,
    Done,
    Drain,
    Ended,
    Heartbeat,
    Message,
    Report,
    Revoke,
    SetPolicy,
    Submitted,
    Welcome,
)
from hpczmq.model import JobState, Policy, SlaveState, Status
from hpczmq.scheduler.events import Stop
from hpczmq.scheduler.state import SlaveRecord
from hpczmq.simulation.network import Censor, Weather
from hpczmq.simulation.oracle import Stored
from hpczmq.simulation.settings import Settings
from hpczmq.simulation.slave import SlotProcess
from hpczmq.simulation.work import Fate, SimJob
from hpczmq.simulation.world import World


@contextmanager
def world(
    slaves: int = 2, slots: int = 1, clients: int = 1, memorias: int = 0, **tuning: float
) -> Iterator[World]:
    """A world in which nothing goes wrong by chance, when everybody has joined."""
    tuning = {"lost_shown_s": 1.0, "client_silent_s": 5.0, **tuning}
    nodes: list[tuple[int, tuple[str, ...]]] = [(slots, ("sim",))] * slaves
    settings = Settings(nodes, clients, memorias, tuning=tuning, calm=False)
    with World(1, settings) as made:
        made.run_for(2.0)
        yield made


def lose(kind: type[Message], times: int) -> Censor:
    """Have the first messages of a kind lost."""
    left = [times]

    def censor(up: bool, name: str, message: Message) -> bool:
        lost = isinstance(message, kind) and left[0] > 0
        left[0] -= lost
        return lost

    return censor


def running(world: World) -> list[SlotProcess]:
    """The worker processes that run a task now."""
    processes = [p for slave in world.slaves for p in slave.processes.values()]
    return [process for process in processes if process.task is not None]


def noted(world: World, *words: str) -> Callable[[], bool]:
    """Whether the master has noted something with all of these words."""
    return lambda: any(all(word in note for word in words) for note in world.master.notes)


# --- Messages that get lost ---------------------------------------------------------------------


def test_a_lost_ack_is_repaired() -> None:
    with world() as it:
        it.setting.network.censor = lose(Ack, 3)
        order = it.order(SimJob(0, 5, task_s=0.01))
        it.finish()
        assert it.oracle.begun[order.id] == 5, "what was not acknowledged is said, not run, again"


def test_a_lost_report_is_said_again_and_not_run_again() -> None:
    with world(straggler_s=60.0) as it:
        it.setting.network.censor = lose(Report, 3)
        order = it.order(SimJob(0, 5, task_s=0.01))
        it.finish()
        assert it.oracle.begun[order.id] == 5


def test_a_lease_that_never_arrived_is_given_back() -> None:
    with world() as it:
        it.setting.network.censor = lose(Assign, 2)
        order = it.order(SimJob(0, 4, task_s=0.01))
        it.until(noted(it, "never reached"), limits.lost_heartbeats + 1.0)
        it.finish()
        assert it.oracle.begun[order.id] == 4
        assert len(it.oracle.granted) > 4


def test_an_answer_or_a_chunk_that_is_lost_is_asked_for_again() -> None:
    for kind in (Submitted, Chunk, Ended):
        with world() as it:
            it.setting.network.censor = lose(kind, 1)
            it.order(SimJob(0, 6, task_s=0.01))
            it.finish()
            assert len(it.master.core.state.jobs) == 1


# --- Connections that break ---------------------------------------------------------------------


def test_a_slave_that_comes_back_on_a_new_connection_keeps_its_leases() -> None:
    with world() as it:
        order = it.order(SimJob(0, 2, task_s=5.0, steady=True))
        it.until(lambda: len(running(it)) == 2, 5.0)
        slave = it.slaves[0]
        first = slave.dealer.connection
        it.setting.network.cut(slave.dealer, 0.0, node_notices_s=0.0, master_notices_s=3.0)
        it.finish()
        assert slave.dealer.connection != first
        assert it.oracle.begun[order.id] == 2, "both tasks ran once, and to their end"


def test_a_slow_slave_s_late_result_counts_once() -> None:
    with world() as it:
        order = it.order(SimJob(0, 2, task_s=1.0, steady=True))
        it.until(lambda: len(running(it)) == 2, 5.0)
        slave = it.slaves[0]
        slave.pause(limits.lost_heartbeats + 3.0)  # its worker goes on, and is done before
        it.until(lambda: len(it.oracle.stored[order.id].outcomes) == 2, 30.0)
        it.finish()
        assert it.oracle.begun[order.id] == 3, "the other slave ran it as well"


def test_a_slave_that_was_declared_lost_comes_back_and_gets_work_again() -> None:
    with world(lost_shown_s=60.0) as it:
        it.order(SimJob(0, 60, task_s=0.5, steady=True))
        it.until(lambda: len(running(it)) == 2, 5.0)
        slave = it.slaves[0]
        it.setting.network.stall(slave.dealer, limits.lost_heartbeats + 2.0)
        books = it.master.core.state.slaves[slave.instance]
        it.until(lambda: books.state is SlaveState.LOST, limits.lost_heartbeats + 1.0)
        assert not books.leases
        it.until(lambda: len(books.leases) > 0, 5.0)
        it.finish()


def test_a_client_that_reconnects_gets_every_chunk_once() -> None:
    with world() as it:
        order = it.order(SimJob(0, 100, task_s=0.05))
        client = it.clients[0]
        for share in (10, 40, 70):

            def enough(least: int = share) -> bool:
                return len(order.got) >= least

            it.until(enough, 30.0)
            it.setting.network.cut(client.dealer)
        it.finish()  # that none arrives twice is checked as they come
        assert len(order.got) == 100


def test_a_client_that_starts_anew_finds_its_job_again() -> None:
    with world() as it:
        it.setting.network.censor = lose(Submitted, 1)
        order = it.order(SimJob(0, 20, task_s=0.05))
        client = it.clients[0]
        it.run_for(1.0)
        for known in (False, True):
            assert bool(order.id) is known
            client.crash()
            client.start()
            it.run_for(1.0)
        it.finish()
        assert len(it.master.core.state.jobs) == 1, "the same uid is the same job"


# --- Slaves that are bad ------------------------------------------------------------------------


def test_a_slave_on_which_every_task_dies_spoils_no_job_and_is_quarantined() -> None:
    with world(slaves=3) as it:
        bad = it.slaves[0]
        bad.cursed = True
        order = it.order(SimJob(0, 60, is_map=True, task_s=0.2, steady=True))
        books = it.master.core.state.slaves[bad.instance]
        it.until(lambda: books.state is SlaveState.QUARANTINED, 10.0)
        it.until(lambda: order.info is not None, 30.0)
        assert all(outcome.status.good for outcome in order.got.values())
        bad.cursed = False
        it.until(lambda: books.state is SlaveState.READY, limits.probation_s + 1.0)
        it.finish()


# --- Nodes that die, stop, or stand still -------------------------------------------------------


def test_a_master_that_stood_still_loses_nobody() -> None:
    with world(slaves=4, messages_per_turn_max=1) as it:
        order = it.order(SimJob(0, 4, task_s=10.0, steady=True))
        it.until(lambda: len(running(it)) == 4, 5.0)
        it.run_for(2.0)
        it.master.pause(3 * limits.lost_heartbeats)
        it.finish()
        assert not noted(it, "is lost")(), "the silence was the master's own"
        assert it.oracle.begun[order.id] == 4


def test_a_master_that_starts_anew_takes_nothing_of_the_old_one_for_its_own() -> None:
    with world(slots=2) as it:
        old = it.order(SimJob(0, 12, is_map=True, task_s=1.0, steady=True))
        it.until(lambda: len(old.got) > 1, 5.0)
        name, queue = old.id, old.queue
        it.master.crash()
        it.run_for(0.5)
        it.master.start()
        new = it.order(SimJob(1, 12, is_map=True, task_s=0.3, steady=True))
        it.finish()  # each order checks that it has its own results, and each once
        assert name in (old.id, new.id), "the names are given again"
        assert queue not in (old.queue, new.queue), "but not in the same queue"


def test_a_report_to_a_master_that_is_not_met_yet_counts_for_nothing() -> None:
    with world(slaves=1, clients=2) as it:
        old = it.order(SimJob(0, 2, task_s=2.0, steady=True))
        it.until(lambda: len(running(it)) == 1, 5.0)
        it.clients[0].pause(6.0)
        slave, before = it.slaves[0], it.slaves[0].dealer.connection
        it.master.crash()
        it.master.start()
        # Its connection is replaced behind its back. The first that it says on the new one is the
        # report, which comes twice, the second time late.
        it.setting.network.weather = Weather(copies=1.0)
        it.setting.network.censor = lambda up, name, message: isinstance(message, Heartbeat)
        it.until(lambda: slave.dealer.connection not in (None, before), 5.0)
        assert running(it), "the report was lost with the older connection"
        new = it.order(SimJob(1, 2, task_s=1.5, steady=True), client=1)
        it.until(lambda: it.oracle.begun[new.id] > 0, 10.0)
        assert it.master.sent["Introduce"]
        it.run_for(2.0)
        it.setting.network.censor = None
        it.finish()  # that nothing is accepted from the older queue is checked as it comes
        assert (new.id, old.id) == ("j1", "j2")


def test_a_slave_that_is_not_welcome_yet_keeps_its_reports_of_the_older_queue() -> None:
    with world(slaves=1, clients=2) as it:
        old = it.order(SimJob(0, 2, task_s=5.0, steady=True))
        it.until(lambda: len(running(it)) == 1, 5.0)
        it.clients[0].pause(10.0)
        it.master.crash()
        it.master.start()
        it.setting.network.censor = lambda up, name, message: (
            name == "slave1" and isinstance(message, Welcome | Revoke)
        )
        new = it.order(SimJob(1, 2, task_s=0.1), client=1)
        it.until(lambda: bool(it.master.core.state.leases), 5.0)
        assert running(it), "the task has to end between the hello and the welcome"
        it.until(lambda: not running(it), 6.0)
        it.run_for(1.0)
        it.setting.network.censor = None
        it.finish()  # that nothing is accepted from the older queue is checked as it comes
        assert (new.id, old.id) == ("j1", "j2")


def test_a_master_that_ends_says_so() -> None:
    with world() as it:
        it.master.handle(Stop())
        it.run_for(0.1)
        heard = [slave.core.membership.control for slave in it.slaves]
        assert [control is not None and control.closing for control in heard] == [True, True]


def test_a_slave_whose_workers_never_start_holds_no_job_up() -> None:
    with world(slaves=3) as it:
        broken = it.slaves[0]
        broken.crash()
        broken.broken = True
        broken.start()
        it.run_for(1.0)
        order = it.order(SimJob(0, 20, task_s=0.1))
        it.until(lambda: order.info is not None, 60.0)
        assert order.info is not None
        assert order.info.state is JobState.DONE
        broken.crash()
        broken.broken = False
        broken.start()
        it.finish()


def test_a_slave_whose_workers_start_at_last_gets_work_again() -> None:
    with world(slaves=1) as it:
        slave = it.slaves[0]
        slave.crash()
        slave.broken = True
        slave.start()
        order = it.order(SimJob(0, 3, task_s=0.1))
        it.run_for(20.0)
        assert not it.oracle.begun[order.id]
        slave.broken = False
        it.finish()


def test_a_task_that_kills_its_worker_fails_alone() -> None:
    with world(slots=2) as it:
        order = it.order(SimJob(0, 40, is_map=True, task_s=0.002, fates={17: Fate.KILLS}))
        it.finish()
        assert it.oracle.deaths[order.id, 17] == limits.crash_limit
        assert [o.index for o in order.got.values() if not o.status.good] == [17]


def test_a_task_that_takes_its_slave_down_each_time_fails() -> None:
    with world(slaves=3) as it:
        order = it.order(SimJob(0, 1, is_map=True, task_s=60.0, steady=True))
        for _ in range(limits.crash_limit):
            it.until(lambda: len(running(it)) == 1, 20.0)
            (process,) = running(it)
            process.slave.crash()
        it.until(lambda: order.info is not None, 20.0)
        for slave in it.slaves:
            if not slave.alive:
                slave.start()
        it.finish()
        assert it.oracle.begun[order.id] == limits.crash_limit
        assert order.info is not None
        assert order.info.state is JobState.FAILED
        assert order.info.cause.count("is lost") == limits.crash_limit + 1


def test_a_slave_that_is_away_time_and_again_costs_its_task_nothing() -> None:
    with world(slaves=1, lost_shown_s=60.0) as it:
        order = it.order(SimJob(0, 1, task_s=12.0, steady=True))
        slave = it.slaves[0]
        for _ in range(limits.crash_limit + 1):
            it.until(lambda: len(running(it)) == 1, 30.0)
            it.setting.network.stall(slave.dealer, limits.lost_heartbeats + 2.0)
            books = it.master.core.state.slaves[slave.instance]

            def is_lost(books: SlaveRecord = books) -> bool:
                return books.state is SlaveState.LOST

            it.until(is_lost, limits.lost_heartbeats + 2.0)
            it.run_for(limits.resend_heartbeats)
        it.finish()
        assert order.job.fates == {}, "it came to its right end"


def test_a_task_that_raises_is_tried_again_ever_later_and_its_neighbours_go_on() -> None:
    with world() as it:
        job = SimJob(0, 10, retries=3, task_s=0.01, fates={4: Fate.FLAKY})
        order = it.order(job)
        it.until(lambda: job.raised[4] == 3, limits.retry_s_min * (1 + 2 + 4))
        assert len(it.oracle.stored[order.id].outcomes) == 9
        it.finish()
        assert it.oracle.begun[order.id] == 13


def test_a_report_of_a_try_that_got_lost_costs_no_further_try() -> None:
    with world(slaves=1) as it:
        it.setting.network.censor = lose(Report, 2)
        order = it.order(SimJob(0, 1, retries=1, task_s=0.01, fates={0: Fate.FLAKY}))
        it.finish()
        assert it.oracle.begun[order.id] == 2


def test_a_job_that_is_too_late_fails_and_leaves_nothing_running() -> None:
    with world(slots=2) as it:
        late = it.order(SimJob(0, 30, is_map=True, deadline_s=3.0, task_s=1.0, steady=True))
        waits = it.order(SimJob(1, 1, capability="nobody's", deadline_s=2.0))
        it.until(lambda: late.info is not None and waits.info is not None, 4.0)
        assert late.info is not None
        assert waits.info is not None
        assert late.info.state is waits.info.state is JobState.FAILED
        assert "deadline_s = 2 is over, and 0 of 1 tasks are done" in waits.info.cause
        it.until(lambda: not running(it), 1.0)


def test_a_task_that_is_handed_to_a_dead_worker_runs_elsewhere() -> None:
    with world(slaves=1) as it:
        slave = it.slaves[0]
        slave.pause(2.0)
        order = it.order(SimJob(0, 1, task_s=0.01))
        it.run_for(1.0)
        (worker,) = slave.processes.values()
        worker.die("signal SIGKILL (out of memory)")
        it.finish()
        assert it.oracle.begun[order.id] == 1
        assert it.oracle.deaths[order.id, 0] == 1, "nobody can know that it had not begun"


def test_a_task_that_takes_too_long_is_killed_and_its_neighbours_are_not() -> None:
    with world() as it:
        job = SimJob(0, 12, is_map=True, timeout_s=0.5, task_s=0.01, fates={5: Fate.HANGS})
        order = it.order(job)
        it.finish()
        assert [o.index for o in order.got.values() if o.status is Status.TIMEOUT] == [5]


def test_a_slave_that_drains_ends_what_it_runs() -> None:
    with world(slaves=2, prefetch_below_s=100.0) as it:
        order = it.order(SimJob(0, 8, task_s=1.0, steady=True))
        it.until(lambda: len(it.oracle.stored.get(order.id, Stored()).outcomes) >= 2, 5.0)
        leaving = it.slaves[0]
        held = set(leaving.core.queue)
        assert held
        leaving.drain(5.0)
        it.until(lambda: not leaving.alive, 3.0)
        it.until(lambda: order.info is not None, 10.0)
        assert it.oracle.begun[order.id] == 8, "what had not begun ran elsewhere"
        assert noted(it, "left (told to end)")()
        leaving.start()
        it.finish()


def test_a_slave_that_drains_hands_back_what_takes_too_long() -> None:
    with world(slaves=2) as it:
        order = it.order(SimJob(0, 2, task_s=20.0, steady=True))
        it.until(lambda: len(running(it)) == 2, 5.0)
        slave = it.slaves[0]
        slave.drain(3.0)
        it.run_for(2.5)
        assert slave.alive
        it.until(lambda: not slave.alive, 1.0)
        slave.start()
        it.finish()
        assert it.oracle.begun[order.id] == 3
        assert not it.oracle.losses, "a stop on purpose counts against nothing"


def test_what_a_draining_slave_has_done_is_not_lost_with_a_report() -> None:
    with world(slaves=1, farewell_s=10.0) as it:
        it.setting.network.censor = lose(Report, 1)
        order = it.order(SimJob(0, 1, task_s=1.0, steady=True))
        it.until(lambda: len(running(it)) == 1, 5.0)
        slave = it.slaves[0]
        slave.drain(5.0)
        it.until(lambda: not slave.alive, 10.0)
        assert it.oracle.begun[order.id] == 1
        assert len(it.oracle.stored[order.id].outcomes) == 1
        slave.start()
        it.finish()


def test_a_drained_slave_gets_nothing_until_it_is_let_back_whatever_happens_to_it() -> None:
    with world(slaves=2, lost_shown_s=60.0) as it:
        slave, client = it.slaves[0], it.clients[0]
        client.ask(Drain(0, (slave.name,)))
        it.run_for(1.0)
        it.setting.network.cut(slave.dealer, 6.0)
        it.run_for(8.0)
        books = it.master.core.state.slaves[slave.instance]
        assert books.state is SlaveState.DRAINING, "it was lost, and is back"
        order = it.order(SimJob(0, 6, task_s=1.0, steady=True))
        it.until(lambda: order.info is not None, 10.0)
        assert {lease.instance for lease in it.oracle.granted.values()} == {it.slaves[1].instance}
        client.ask(Drain(0, (slave.name,), undo=True))
        it.run_for(1.0)
        it.order(SimJob(1, 2, task_s=1.0, steady=True))
        it.until(lambda: len(running(it)) == 2, 3.0)
        it.finish()


# --- What users want ----------------------------------------------------------------------------


def test_nothing_runs_after_a_cancel_even_if_the_slaves_were_not_told() -> None:
    with world(slots=2) as it:
        order = it.order(SimJob(0, 50, task_s=20.0, steady=True))
        it.until(lambda: len(running(it)) == 4, 5.0)
        it.setting.network.censor = lose(Revoke, 4)
        it.clients[0].cancel(order)
        it.until(lambda: not running(it), 3.0)
        begun = it.oracle.begun[order.id]
        it.run_for(10.0)
        assert it.oracle.begun[order.id] == begun
        assert order.cancelled
        it.finish()


def test_a_clear_whose_answer_was_lost_is_answered_again_and_not_done_again() -> None:
    with world(slaves=1) as it:
        it.order(SimJob(0, 1, task_s=60.0, steady=True))
        it.until(lambda: len(running(it)) == 1, 5.0)
        before = it.order(SimJob(1, 1))
        it.run_for(0.5)
        it.setting.network.censor = lose(Done, 1)
        it.clients[0].ask(Cancel(0, (), queued=True))
        it.run_for(0.5)
        after = it.order(SimJob(2, 1))
        it.until(lambda: bool(it.clients[0].answers), limits.resend_heartbeats + 1.0)
        assert it.clients[0].answers == [Done(it.clients[0].answers[0].request, (before.id,))]  # type: ignore[union-attr]
        it.finish(may_be_cancelled=True)
        assert after.info is not None
        assert after.info.state is JobState.DONE


def test_a_new_process_does_not_take_another_job_of_that_name_for_its_own() -> None:
    with world(clients=2) as it:
        old = it.order(SimJob(0, 4, task_s=2.0, steady=True))
        it.until(lambda: bool(old.id), 5.0)
        it.master.crash()
        it.clients[0].crash()
        it.clients[0].start()
        it.clients[0].look_away(old)
        it.master.start()
        new = it.order(SimJob(1, 4, task_s=0.1), client=1)
        it.until(lambda: bool(new.id), 10.0)
        it.finish()
        assert {old.id, new.id} == {"j1", "j2"}


def test_results_of_long_ago_are_forgotten_and_that_is_said() -> None:
    with world(clients=2, jobs_ended_max=1) as it:
        early, late = it.clients
        first = it.order(SimJob(0, 2, task_s=0.01))
        it.until(lambda: first.info is not None, 5.0)
        early.stop()
        it.run_for(1.0)
        second = it.order(SimJob(1, 1, task_s=0.01), client=1)
        it.until(lambda: second.info is not None, 5.0)
        assert list(it.master.core.state.jobs) == [second.id]
        assert list(it.master.chunks) == [second.id]
        first.info, first.got = None, {}
        early.start()
        it.until(lambda: first.over, 5.0)
        assert "is not known here" in first.refused
        assert late.core.followed == {}


def test_what_somebody_still_reads_is_not_forgotten() -> None:
    with world(clients=2, jobs_ended_max=1, chunk_credit=1) as it:
        first = it.order(SimJob(0, 60, task_s=0.001))
        it.until(lambda: len(first.got) > 1, 5.0)
        it.clients[0].pause(6.0)
        # Its client has asked for it before it ends, or it would be forgotten at once.
        second = it.order(SimJob(1, 1, task_s=0.05), client=1)
        it.until(lambda: second.info is not None, 5.0)
        it.finish()
        assert len(first.got) == 60


def test_a_saturated_slave_gets_nothing_new_until_its_alert_clears() -> None:
    with world(cpu_saturated_s=1.0) as it:
        hot, idle = it.slaves
        hot.cpu_percent = 100.0
        books = it.master.core.state.slaves[hot.instance]
        it.until(lambda: bool(books.saturated), 5.0)
        order = it.order(SimJob(0, 20, task_s=0.2, steady=True))
        it.run_for(3.0)
        holders = {granted.instance for granted in it.oracle.granted.values()}
        assert holders == {idle.instance}
        idle.crash()  # now there is nobody else, and the job has to wait
        it.run_for(limits.lost_heartbeats + 2.0)
        assert not running(it)
        hot.cpu_percent = 0.0
        it.until(lambda: len(running(it)) == 1, 3.0)
        idle.start()
        it.finish()
        assert order.info is not None
        assert order.info.state is JobState.DONE


def test_the_policy_can_be_changed_while_jobs_run() -> None:
    with world(slaves=3, slots=2) as it:
        it.order(SimJob(0, 200, task_s=0.05))
        for policy in [*Policy, *Policy]:
            it.run_for(0.5)
            it.clients[0].ask(SetPolicy(0, policy.value))
        it.finish()


def test_an_alert_ends_with_the_slave_that_it_is_about() -> None:
    with world(memorias=1, cpu_saturated_s=1.0) as it:
        slave, memoria = it.slaves[0], it.memorias[0]
        slave.cpu_percent = 100.0
        it.until(lambda: len(memoria.core.alerts(memoria.now)) == 1, 5.0)
        slave.crash()
        it.run_for(limits.lost_heartbeats + 2.0)
        assert memoria.core.alerts(memoria.now) == ()
        assert memoria.published[-1].alerts == ()
        slave.start()
        it.finish()
