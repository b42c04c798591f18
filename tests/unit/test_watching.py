"""All alerts of a memoria: of nodes, jobs and the cluster, and what became of them."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.alerts import Rule
from hpczmq.model import AlertState, Finding, Metrics
from hpczmq.watching import AlertBook
from tests.unit.harness import instance

WALL_S = 1_800_000_000.0
TEXT = "{node}: {value:.0f}"
HOT = Rule(name="hot", metric="load", raise_at=5.0, clear_at=3.0, text=TEXT)
ERRORS = Rule(name="errors", metric="errors_per_min", raise_at=5.0, clear_at=3.0, text=TEXT)
IDLE = Rule(name="idle", metric="job_idle_s", raise_at=9.0, clear_at=1.0, for_s=2.0, text=TEXT)
METRICS = ("job_idle_s",)


@pytest.fixture
def book() -> AlertBook:
    return AlertBook((HOT, ERRORS, IDLE))


def load(book: AlertBook, value: float, now: float, node: str = "s1", process: str = "") -> bool:
    who = instance(process or node)
    return book.sample(who, node, Metrics(load=value), now, WALL_S + now)


def idle(book: AlertBook, now: float, **jobs: float) -> bool:
    found = [Finding("job_idle_s", job, value) for job, value in jobs.items()]
    found.append(Finding("nobody_knows", "x", 1e9))
    return book.findings(METRICS, found, now, WALL_S + now)


def ids(book: AlertBook, now: float = 0.0) -> list[str]:
    return [alert.id for alert in book.active(now)]


def test_an_alert_is_raised_once_and_over_with_when_both_were(book: AlertBook) -> None:
    assert [load(book, v, float(n)) for n, v in enumerate((0, 6, 7, 0))] == [
        False,
        True,
        False,
        True,
    ]
    raised, over = book.take_changes()
    assert (raised.state, raised.raised_s, raised.cleared_s) == (AlertState.ACTIVE, WALL_S + 1, 0)
    assert (over.state, over.raised_s, over.cleared_s) == (
        AlertState.CLEARED,
        WALL_S + 1,
        WALL_S + 3,
    )
    assert (over.id, over.text) == ("hot/s1", "s1: 7")
    assert book.log(4.0) == (over,)
    assert not book.take_changes()


def test_two_processes_of_one_name_are_one_alert(book: AlertBook) -> None:
    load(book, 6, 0.0, process="first")
    load(book, 7, 1.0, process="second")
    (alert,) = book.active(2.0)
    assert (alert.id, alert.age_s) == ("hot/s1", 2.0)


def test_a_job_is_watched_while_the_master_speaks_of_it(book: AlertBook) -> None:
    assert not idle(book, 0.0, j1=10.0, j2=5.0)
    assert [alert.state for alert in book.log(1.0)] == [AlertState.PENDING]
    assert idle(book, 2.0, j1=12.0, j2=7.0)
    assert ids(book) == ["idle/j1"]
    assert idle(book, 3.0, j2=8.0), "of j1 nothing is said any more"
    assert ids(book) == []
    idle(book, 4.0)
    assert not book._cluster, "nothing is kept of jobs that are gone"


def test_what_others_find_ends_nothing(book: AlertBook) -> None:
    idle(book, 0.0, j1=10.0)
    idle(book, 2.0, j1=12.0)
    assert not book.findings(("master_silent_s",), (), 3.0, WALL_S)
    assert ids(book) == ["idle/j1"]


def test_a_node_that_is_not_heard_any_more_has_no_alert(book: AlertBook) -> None:
    load(book, 6, 0.0)
    assert book.forget(instance("s1"), 5.0, WALL_S + 5)
    assert not book.forget(instance("s1"), 5.0, WALL_S + 5)
    assert ids(book) == []
    assert book.take_changes()[-1].state is AlertState.CLEARED


def test_counters_of_the_master_are_sums_and_raise_nothing(book: AlertBook) -> None:
    for second, errors in ((0, 0), (10, 100)):
        for node, counts in (("s1", True), ("master", False)):
            metrics = Metrics(errors=errors)
            book.sample(instance(node), node, metrics, float(second), WALL_S, counts)
    assert ids(book) == ["errors/s1"]


def test_who_acknowledges_names_what_is_active(book: AlertBook) -> None:
    load(book, 6, 0.0)
    load(book, 6, 0.0, "s2")
    book.take_changes()
    (told,) = book.acknowledge(["hot/s1", "hot/s9"], 1.0)
    assert (told.id, told.state) == ("hot/s1", AlertState.ACKNOWLEDGED)
    assert book.acknowledge(["hot/s1"], 2.0)
    assert [alert.id for alert in book.take_changes()] == ["hot/s1"], "said once"
    assert [a.state for a in book.active(3.0)] == [AlertState.ACKNOWLEDGED, AlertState.ACTIVE]


def test_after_a_restart_an_alert_is_the_one_that_it_was(book: AlertBook) -> None:
    load(book, 6, 0.0)
    load(book, 6, 0.0, "s2")
    load(book, 6, 0.0, "s3")
    load(book, 0, 1.0, "s3")
    book.acknowledge(["hot/s1"], 1.0)
    past = sorted(book.take_changes(), key=lambda alert: alert.id)
    past = list({alert.id: alert for alert in past}.values())
    again = AlertBook((HOT,), past)
    assert ids(again) == []
    load(again, 6, 100.0)
    (alert,) = again.active(100.0)
    assert (alert.state, alert.raised_s, alert.age_s) == (AlertState.ACKNOWLEDGED, WALL_S, 100.0)
    assert not again.take_changes(), "nothing has happened"
    again.give_up_restored(WALL_S + 200)
    assert [(a.id, a.state.name) for a in again.take_changes()] == [("hot/s2", "CLEARED")]
    assert [a.id for a in again.log(100.0)] == ["hot/s3", "hot/s2", "hot/s1"]


def test_of_very_many_alerts_that_are_over_the_last_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "alerts_kept_max", 2)
    book = AlertBook((HOT,))
    for second in range(10):
        load(book, 6.0 * (second % 2), float(second))
    assert [alert.cleared_s for alert in book.log(10.0)][:2] == [WALL_S + 6, WALL_S + 8]
