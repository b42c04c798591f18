"""The past of the nodes: rows in memory, thinned for the disk, and told page by page."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from hpczmq import history, limits
from hpczmq.errors import ProtocolError
from hpczmq.history import COLUMNS, ROW, TIERS, Recent, Thinner
from hpczmq.messages import AskHistory, Run
from hpczmq.model import Metrics

BEGAN_S = 1_800_000_000.0


def filled(*nodes: str, rows: int = 10) -> Recent:
    """A history of some nodes with a row a second; their load is the number of the row."""
    made = Recent()
    for number in range(rows):
        at_s = BEGAN_S + number
        for node in nodes:
            made.add(node, at_s, history.packed(at_s, Metrics(load=float(number))))
    return made


def loads(runs: tuple[Run, ...]) -> dict[str, list[float]]:
    """The load in each row, by node."""
    column = 1 + COLUMNS.index("load")
    return {run.node: [row[column] for row in history.rows_of(run.rows)] for run in runs}


def asked(recent: Recent, **wish: float | str | tuple[str, ...]) -> dict[str, list[float]]:
    """All pages of an answer together."""
    after, after_s, told, pages = "", 0.0, dict[str, list[float]](), 0
    given = {"since_s": 0.0, "until_s": 1e12, **wish}
    while True:
        answer = recent.answer(AskHistory(1, **given, after=after, after_s=after_s))  # type: ignore[arg-type]
        for node, values in loads(answer.runs).items():
            told.setdefault(node, []).extend(values)
        pages += 1
        if not answer.more:
            return told
        assert answer.runs, "a page that is not the last has something in it"
        assert pages < 1_000
        last = answer.runs[-1]
        after, after_s = last.node, list(history.rows_of(last.rows))[-1][0]


def test_rows_are_told_by_node_and_time() -> None:
    recent = filled("b", "a")
    assert asked(recent) == {"a": [*map(float, range(10))], "b": [*map(float, range(10))]}
    some = asked(recent, since_s=BEGAN_S + 3, until_s=BEGAN_S + 5, nodes=("b", "nobody"))
    assert some == {"b": [3.0, 4.0]}


@pytest.mark.parametrize("rows", [1, 3, 7, 10])
def test_pages_of_any_size_have_each_row_once(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "history_page_bytes_max", rows * ROW.size)
    every = [*map(float, range(10))]
    assert asked(filled("a", "b", "c")) == {"a": every, "b": every, "c": every}


def test_an_answer_names_so_many_nodes_and_then_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "history_runs_max", 2)
    assert len(asked(filled(*"abcde", rows=1))) == 5


def test_what_is_older_than_an_hour_is_forgotten() -> None:
    recent = filled("a")
    recent.forget(BEGAN_S + limits.history_full_s + 4)
    assert asked(recent) == {"a": [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]}
    recent.forget(BEGAN_S + 2 * limits.history_full_s)
    assert (asked(recent), recent.bytes) == ({}, 0)


def test_of_too_much_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    recent = filled("a", "b", rows=100)
    monkeypatch.setattr(limits, "history_bytes_max", 190 * ROW.size)
    recent.forget(BEGAN_S + 100)
    assert recent.bytes == 180 * ROW.size
    assert asked(recent, nodes=("a",))["a"][0] == 10.0
    assert recent.since_s == BEGAN_S + 10


def test_a_clock_that_is_set_back_makes_no_row() -> None:
    recent = filled("a", rows=2)
    recent.add("a", BEGAN_S, history.packed(BEGAN_S, Metrics(load=9.0)))
    assert asked(recent) == {"a": [0.0, 1.0]}


def test_a_gap_is_filled_in_its_place() -> None:
    recent, whole = filled("a", rows=3), filled("a", "b", rows=8)
    for number in (8, 9):
        at_s = BEGAN_S + number
        recent.add("a", at_s, history.packed(at_s, Metrics(load=float(number))))
    answer = whole.answer(AskHistory(1, BEGAN_S + 2, 1e12))
    for run in answer.runs:
        recent.fill(run.node, history.checked(run))
    assert asked(recent) == {"a": [*map(float, range(10))], "b": [*map(float, range(2, 8))]}


# --- Thinned ------------------------------------------------------------------------------------


def test_a_step_is_a_row_of_means_and_of_the_last_of_counters() -> None:
    thinner = Thinner()
    done = []
    for number in range(45):
        metrics = Metrics(load=float(number % 4), tasks_done=number)
        done += thinner.add("a", BEGAN_S + number / 4, metrics)
    seconds = [row for row in done if row.tier == 0]
    assert [row.at_s for row in seconds] == [BEGAN_S + n for n in range(11)]
    load, count = (1 + COLUMNS.index(name) for name in ("load", "tasks_done"))
    assert [ROW.unpack(row.values)[load] for row in seconds] == [1.5] * 11
    assert [ROW.unpack(row.values)[count] for row in seconds] == [4.0 * n + 3 for n in range(11)]
    (ten,) = [row for row in done if row.tier == 1]
    assert (ten.at_s, ROW.unpack(ten.values)[count]) == (BEGAN_S, 39.0)


def test_at_the_end_each_tier_has_what_was_heard() -> None:
    thinner = Thinner()
    thinner.add("a", BEGAN_S + 1, Metrics(load=2.0))
    rows = thinner.end_all()
    assert [row.tier for row in rows] == [0, 1, 2, 3]
    assert all(ROW.unpack(row.values)[1 + COLUMNS.index("load")] == 2.0 for row in rows)
    assert not thinner.end_all()


@pytest.mark.parametrize(
    ("back_s", "step_s", "tier"),
    [(60, 0, 0), (3600, 0, 0), (3601, 0, 1), (60, 10, 1), (60, 59, 1), (60, 60, 2),
     (86_400, 0, 1), (7 * 86_400, 0, 2), (300 * 86_400, 0, 3), (9_999 * 86_400, 0, 3),
     (60, 1e9, 3)],
)  # fmt: skip
def test_the_tier_reaches_back_so_far_and_is_no_coarser_than_wished(
    back_s: float, step_s: float, tier: int
) -> None:
    now_s = BEGAN_S
    assert history.tier_of(now_s - back_s, step_s, now_s) == tier


def test_each_tier_is_coarser_and_longer_than_the_one_before() -> None:
    for fine, coarse in pairwise(TIERS):
        assert coarse.step_s % fine.step_s == 0
        assert coarse.span_s > fine.span_s


# --- From elsewhere -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        b"x",
        bytes(ROW.size + 1),
        ROW.pack(1.0, *[math.nan] * len(COLUMNS)),
        ROW.pack(math.inf, *[0.0] * len(COLUMNS)),
        bytes(2 * ROW.size),
    ],
)
def test_rows_that_are_none_are_refused(rows: bytes) -> None:
    with pytest.raises(ProtocolError):
        history.checked(Run("a", rows))
