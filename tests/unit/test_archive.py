"""A memoria's file: what is written is there after a restart, whatever its disk does."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpczmq import history, limits
from hpczmq.history import COLUMNS, TIERS, Row
from hpczmq.messages import AskHistory, HistoryAnswer, Message, Reject
from hpczmq.model import Metrics
from hpczmq.nodes import archive
from hpczmq.nodes.archive import Archive

BEGAN_S = 1_800_000_000.0
PEER = b"peer"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Archive]]:
    """Opens the test's file; all are closed at the end."""
    made: list[Archive] = []

    def open_it(path: Path = tmp_path / "data" / "m.sqlite", **options: Any) -> Archive:
        made.append(Archive(path, **options))
        return made[-1]

    yield open_it
    for one in made:
        one.close()


def row(node: str, number: int, tier: int = 0) -> Row:
    at_s = BEGAN_S + number * TIERS[tier].step_s
    return Row(tier, node, at_s, history.packed(at_s, Metrics(load=float(number))))


def answered(file: Archive, ask: AskHistory, tier: int = 0) -> Message:
    """The answer to a question; the file is closed, so that all that waited was done."""
    file.look(ask, tier, PEER)
    file.close()
    ((peer, message),) = file.answers()
    assert peer == PEER
    return message


def loads(file: Archive, tier: int = 0) -> dict[str, list[float]]:
    """The load in each row of the file, by node."""
    answer = answered(file, AskHistory(1, 0.0, 1e12), tier)
    assert isinstance(answer, HistoryAnswer)
    column = 1 + COLUMNS.index("load")
    return {run.node: [r[column] for r in history.rows_of(run.rows)] for run in answer.runs}


def test_what_is_written_is_there_after_a_restart(opened: Callable[..., Archive]) -> None:
    first = opened()
    assert first.span_s == (0.0, 0.0)
    first.keep([row("b", 0), row("a", 0)])
    first.keep([row("a", 1), row("a", 0, tier=1)])
    first.close()
    second = opened()
    assert second.span_s == (BEGAN_S, BEGAN_S + 1)
    second.keep([row("a", 2)])
    assert loads(second) == {"a": [0.0, 1.0, 2.0], "b": [0.0]}
    assert loads(opened(), tier=1) == {"a": [0.0]}


def test_a_row_that_is_written_again_is_the_newer_one(opened: Callable[..., Archive]) -> None:
    file = opened()
    file.keep([row("a", 0), row("a", 0)._replace(values=row("a", 7).values)])
    assert loads(file) == {"a": [7.0]}


def test_long_answers_come_in_pages(
    opened: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "history_page_bytes_max", 3 * history.ROW.size)
    file = opened()
    file.keep([row(node, number) for number in range(4) for node in "ab"])
    after, after_s, told, more = "", 0.0, list[tuple[str, float]](), []
    for _ in range(3):
        answer = answered(file, AskHistory(1, 0.0, 1e12, 0.0, (), after, after_s))
        assert isinstance(answer, HistoryAnswer)
        told += [(run.node, r[0]) for run in answer.runs for r in history.rows_of(run.rows)]
        after, after_s = told[-1]
        more.append(answer.more)
        file = opened()
    assert more == [True, True, False]
    assert told == [(node, BEGAN_S + number) for node in "ab" for number in range(4)]


def test_what_is_older_than_its_tier_is_dropped(opened: Callable[..., Archive]) -> None:
    file = opened()
    file.keep([row("a", 0), row("a", 3_000), row("a", 0, tier=1)])
    file.keep([row("a", 4_000)])
    file.close()
    file = opened()
    file._guarded(lambda: file.tidy(BEGAN_S + 4_000))
    assert loads(file) == {"a": [3_000.0, 4_000.0]}
    assert loads(opened(), tier=1) == {"a": [0.0]}


def test_past_its_size_the_oldest_goes(opened: Callable[..., Archive]) -> None:
    file = opened(bytes_max=limits.MIB)
    file.keep([row("a", number) for number in range(3_000)])
    file.keep([row("a", number, tier=3) for number in range(3_000)])
    file.close()
    file = opened(bytes_max=limits.MIB)
    file._guarded(lambda: file.tidy(BEGAN_S + 3_000))
    assert file.used_bytes() <= limits.MIB
    seconds, tens = loads(file)["a"], loads(opened(), tier=3)["a"]
    assert seconds[-1] == tens[-1] == 2_999.0
    assert seconds[0] > 0
    assert tens[0] > 0


def test_a_damaged_file_is_put_aside_and_a_new_one_begun(
    opened: Callable[..., Archive], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m.sqlite"
    path.write_bytes(b"this is no database, and never was" * 100)
    file = opened(path)
    assert file.span_s == (0.0, 0.0)
    file.keep([row("a", 1)])
    assert loads(file) == {"a": [1.0]}
    assert (tmp_path / "m.sqlite.damaged").exists()
    assert "put aside as m.sqlite.damaged" in caplog.text


def test_where_there_can_be_no_file_the_loop_goes_on_and_is_told_once(
    opened: Callable[..., Archive], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    file = opened()
    for number in range(5):
        file.keep([row("a", number)])
    answer = answered(file, AskHistory(4, 0.0, 1e12))
    assert isinstance(answer, Reject)
    assert answer.request == 4
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "in memory only" in caplog.text


def test_a_full_disk_is_told_and_tried_again(
    opened: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    file = opened()

    def full(batches: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    caplog.set_level(logging.INFO)
    with monkeypatch.context() as patch:
        patch.setattr(file, "_write", full)
        assert not file._guarded(lambda: file._write([]))
    assert "disk is full" in file.fault
    monkeypatch.setattr(archive, "_PATIENCE_S", 0.0)
    file.keep([row("a", 1)])
    assert loads(file) == {"a": [1.0]}
    assert [r.levelno for r in caplog.records] == [logging.ERROR, logging.WARNING]


def test_two_memorias_do_not_share_a_file(opened: Callable[..., Archive]) -> None:
    first, second = opened(), opened()
    assert not first.fault
    assert "locked" in second.fault


def test_what_the_disk_does_not_take_in_time_is_dropped_oldest_first(
    opened: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "history_waiting_bytes_max", 3 * history.ROW.size)
    file = opened()
    with file._lock:  # its thread can't take any
        for number in range(9):
            file.keep([row("a", number)])
    assert loads(file)["a"][-3:] == [6.0, 7.0, 8.0]
    assert len(loads(opened())["a"]) <= 4


def test_more_questions_than_can_wait_are_refused(
    opened: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "history_questions_max", 1)
    file = opened()
    with file._lock:
        file.look(AskHistory(1, 0.0, 1e12), 0, PEER)
        file.look(AskHistory(2, 0.0, 1e12), 0, PEER)
    file.close()
    kinds = {message.request: type(message) for _, message in file.answers()}  # type: ignore[union-attr]
    assert kinds == {1: HistoryAnswer, 2: Reject}


def test_rows_of_another_version_are_dropped(
    opened: Callable[..., Archive], tmp_path: Path
) -> None:
    file = opened()
    file.keep([row("a", 1)])
    file.close()
    with sqlite3.connect(file.path) as raw:
        raw.execute("UPDATE about SET value = '[]'")
    raw.close()
    assert loads(opened()) == {}
    assert os.path.getsize(file.path)
