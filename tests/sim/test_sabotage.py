"""The simulator finds what it is there to find: with one rule taken out of a machine, it fails.

Each of these was, or could have been, a fault of the real machines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from hpczmq import limits
from hpczmq.membership import Membership
from hpczmq.messages import Assign, Beat, Chunk, Message, Report
from hpczmq.scheduler import Scheduler, attempts, delivery, ledger, members, outcomes, placement
from hpczmq.scheduler.actions import Send, Store
from hpczmq.scheduler.jobs import JobRecord
from hpczmq.scheduler.states import TASK_MOVES, TaskState
from hpczmq.session import Session
from hpczmq.simulation.world import SimulationFailed, run
from hpczmq.worker import Kept, Worker
from hpczmq.worker import Send as Say
from tests.sim import test_scenarios as scenarios

Patch = pytest.MonkeyPatch
#: In so many worlds each of them has to be found.
WORLDS = 150


def a_second_copy_is_accepted(patch: Patch) -> None:
    patch.setattr(outcomes, "_may_count", lambda job, index: job.was_placed(index))
    patch.setattr(outcomes, "_was_given", lambda *args: True)
    patch.setitem(TASK_MOVES, (TaskState.DONE, TaskState.DONE), "sabotage")


def acks_are_sent_for_nothing(patch: Patch) -> None:
    accept, calls = outcomes.accept, [0]

    def seldom(*args: Any) -> None:
        calls[0] += 1
        if calls[0] % 10:
            accept(*args)

    patch.setattr(outcomes, "accept", seldom)


def leases_that_got_lost_are_never_given_back(patch: Patch) -> None:
    patch.setattr(members, "reconcile", lambda *args: None)


def a_slave_forgets_what_it_has_said_once(patch: Patch) -> None:
    say = Worker._say

    def once(self: Worker, kept: Kept, now: float) -> None:
        say(self, kept, now)
        self.kept.pop(kept.report.report)

    patch.setattr(Worker, "_say", once)


def revokes_are_not_heeded(patch: Patch) -> None:
    patch.setattr(Worker, "_revoke", lambda self, leases: None)


def a_reader_takes_whatever_chunk_comes(patch: Patch) -> None:
    take = Session._chunk

    def any_chunk(self: Session, chunk: Chunk, buffers: Sequence[bytes], now: float) -> None:
        if chunk.job in self.followed:
            self.followed[chunk.job].cursor = chunk.cursor
        take(self, chunk, buffers, now)

    patch.setattr(Session, "_chunk", any_chunk)


def pixels_are_paired_with_the_wrong_tasks(patch: Patch) -> None:
    def turned_round(job: str, cursor: int, slave: str, outcomes: Any, buffers: Any) -> Store:
        return Store(job, cursor, slave, outcomes, buffers[::-1])

    patch.setattr(outcomes, "Store", turned_round)


def a_task_is_blamed_for_the_first_crash(patch: Patch) -> None:
    patch.setattr(outcomes, "limits", replace_in(limits, crash_limit=1))


def losers_of_a_race_run_on(patch: Patch) -> None:
    release = ledger.release

    def first_only(state: Any, job: JobRecord, index: int, *args: Any) -> None:
        job.second.pop(index, None)
        release(state, job, index, *args)

    patch.setattr(ledger, "release", first_only)


def a_straggler_is_started_again_and_again(patch: Patch) -> None:
    grant = ledger.grant_second

    def forgetful(state: Any, job: JobRecord, *args: Any) -> Any:
        lease = grant(state, job, *args)
        job.doubled.clear()
        return lease

    patch.setattr(ledger, "grant_second", forgetful)


def no_task_is_ever_killed_for_its_timeout(patch: Patch) -> None:
    assign = placement.assign

    def endless(*args: Any) -> Send:
        send = assign(*args)
        assert isinstance(send.message, Assign)
        return replace(send, message=replace(send.message, timeout_s=0.0))

    patch.setattr(placement, "assign", endless)


def a_slave_gets_more_than_it_may_hold(patch: Patch) -> None:
    patch.setattr(placement, "has_credit", lambda slave, job: True)
    patch.setattr(ledger, "mark_free", lambda state, slave: None)


def clients_are_sent_more_than_they_have_room_for(patch: Patch) -> None:
    patch.setattr(delivery, "_has_room", lambda state, client, chunk_bytes: True)


def now_and_then_nothing_is_placed(patch: Patch) -> None:
    place, turns = placement.place, count()
    patch.setattr(placement, "place", lambda *args: place(*args) if next(turns) % 20 else None)


def tasks_are_handed_out_in_their_order_even_those_that_are(patch: Patch) -> None:
    def take(job: JobRecord, count: int, avoided: Any = ()) -> list[int]:
        return list(range(min(count, len(job.states))))

    patch.setattr(ledger, "take", take)


def a_probe_is_taken_for_an_echo(patch: Patch) -> None:
    heard = Membership.heard

    def fooled(self: Membership, message: Message, now: float) -> bool:
        if isinstance(message, Beat) and message.sequence == self.sequence:
            self.latency_s = now - self.beat_s
        return heard(self, message, now)

    patch.setattr(Membership, "heard", fooled)


def a_lost_slave_counts_against_nothing(patch: Patch) -> None:
    patch.setattr(attempts, "suspects", lambda slave: [])


def bad_slaves_are_not_noticed(patch: Patch) -> None:
    patch.setattr(members, "judge", lambda state, now: state.struck.clear())


def tasks_go_back_to_where_they_failed(patch: Patch) -> None:
    patch.setattr(attempts, "avoided", lambda *args: set())


def a_draining_slave_drops_what_it_runs(patch: Patch) -> None:
    patch.setattr(Worker, "_perhaps_leave", lambda self, now: self._leave("told to end"))


def slaves_keep_what_they_had_of_an_older_master(patch: Patch) -> None:
    patch.setattr(Worker, "_start_over", lambda self: None)


def slaves_report_to_whoever_is_there(patch: Patch) -> None:
    def say(self: Worker, kept: Kept, now: float) -> None:
        kept.sent_s, kept.times = now, kept.times + 1
        self._do(Say(kept.report, kept.buffers))

    patch.setattr(Worker, "_say", say)
    # Alone it does no harm any more: a report names its queue.
    take = Scheduler._from_slave

    def whatever(
        self: Scheduler, slave: Any, peer: bytes, message: Message, buffers: Any, now: float
    ) -> None:
        if isinstance(message, Report):
            message = replace(message, queue=self.state.queue)
        take(self, slave, peer, message, buffers, now)

    patch.setattr(Scheduler, "_from_slave", whatever)


def readers_go_on_with_the_jobs_of_an_older_master(patch: Patch) -> None:
    patch.setattr(Session, "_start_over", lambda self: None)


def everything_is_fetched_twice(patch: Patch) -> None:
    fetch = Session._fetch
    patch.setattr(
        Session, "_fetch", lambda self, job, how, now, **_: fetch(self, job, how, now, again=True)
    )


def replace_in(module: Any, **values: Any) -> Any:
    """A module with other values in it."""
    changed = type(module)(module.__name__)
    vars(changed).update({**vars(module), **values})
    return changed


def worlds(found_in: int) -> Callable[[], None]:
    """Many worlds; first the one in which it was found last: there it is, until worlds change."""

    def look() -> None:
        for seed in (found_in, *range(WORLDS)):
            run(seed)

    return look


#: What is broken, and where that shows.
many_worlds = worlds(0)
lost_report = scenarios.test_a_lost_report_is_said_again_and_not_run_again
untold_cancel = scenarios.test_nothing_runs_after_a_cancel_even_if_the_slaves_were_not_told
unwelcome = scenarios.test_a_slave_that_is_not_welcome_yet_keeps_its_reports_of_the_older_queue
lost_slave = scenarios.test_a_task_that_takes_its_slave_down_each_time_fails
drained = scenarios.test_a_slave_that_drains_ends_what_it_runs
bad_slave = scenarios.test_a_slave_on_which_every_task_dies_spoils_no_job_and_is_quarantined
SABOTAGES: dict[Callable[[Patch], None], Callable[[], None]] = {
    a_second_copy_is_accepted: worlds(1),
    acks_are_sent_for_nothing: many_worlds,
    leases_that_got_lost_are_never_given_back: worlds(36),
    a_slave_forgets_what_it_has_said_once: lost_report,
    revokes_are_not_heeded: untold_cancel,
    a_reader_takes_whatever_chunk_comes: worlds(2),
    pixels_are_paired_with_the_wrong_tasks: many_worlds,
    a_task_is_blamed_for_the_first_crash: worlds(6),
    losers_of_a_race_run_on: many_worlds,
    a_straggler_is_started_again_and_again: many_worlds,
    no_task_is_ever_killed_for_its_timeout: worlds(15),
    a_slave_gets_more_than_it_may_hold: many_worlds,
    tasks_are_handed_out_in_their_order_even_those_that_are: many_worlds,
    a_probe_is_taken_for_an_echo: worlds(25),
    a_lost_slave_counts_against_nothing: lost_slave,
    bad_slaves_are_not_noticed: bad_slave,
    tasks_go_back_to_where_they_failed: bad_slave,
    a_draining_slave_drops_what_it_runs: drained,
    slaves_keep_what_they_had_of_an_older_master: many_worlds,
    slaves_report_to_whoever_is_there: unwelcome,
    readers_go_on_with_the_jobs_of_an_older_master: worlds(51),
    everything_is_fetched_twice: worlds(16),
    clients_are_sent_more_than_they_have_room_for: many_worlds,
    now_and_then_nothing_is_placed: many_worlds,
}


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.__name__)
def test_a_rule_that_is_broken_is_found(
    sabotage: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    sabotage(monkeypatch)
    with pytest.raises(SimulationFailed, match=r"^seed \d+ failed at .*") as failed:
        SABOTAGES[sabotage]()
    print(str(failed.value).splitlines()[0])
