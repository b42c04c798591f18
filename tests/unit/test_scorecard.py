"""The scorecard's page says what its file says, and its figures are computed as it explains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scorecard import report
from benchmarks.scorecard.faults import FAULTS
from benchmarks.scorecard.stage import Stage
from benchmarks.scorecard.systems import SYSTEMS

DOCS = Path(__file__).resolve().parents[2] / "docs"
DATA: dict[str, Any] = json.loads((DOCS / "scorecard.json").read_text())


def found(**more: Any) -> dict[str, Any]:
    return {"lost": 0, "silent": 0, "again": 0, "left": 20, "after_s": 2.5, **more}


def card(**cells: dict[str, Any]) -> dict[str, Any]:
    named = {fault.replace("_", "-"): {"hpczmq": cell} for fault, cell in cells.items()}
    return {"cells": {"none": {"hpczmq": found()}, **named}}


def test_the_page_is_what_the_file_gives() -> None:
    assert (DOCS / "scorecard.md").read_text() == report.page(DATA), (
        "make it again: python -m benchmarks.scorecard --load"
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_was_done_to_every_system(fault: str) -> None:
    assert DATA["cells"][fault].keys() == SYSTEMS.keys()
    assert all("failed" not in cell for cell in DATA["cells"][fault].values())


def test_a_system_is_late_by_what_its_own_pace_does_not_explain() -> None:
    # Undisturbed 20 tasks take it 2.5 s on two slots; after the fault one slot is left.
    assert report.late_s(card(node_killed=found(after_s=7.0)), "node-killed", "hpczmq") == 2.0
    assert report.late_s(card(node_killed=found(after_s=4.9)), "node-killed", "hpczmq") == 0.0
    # A worker that is killed is replaced: both slots count.
    assert report.late_s(card(worker_killed=found(after_s=4.5)), "worker-killed", "hpczmq") == 2.0


def test_of_tasks_of_which_nobody_hears_again_the_patience_is_told() -> None:
    silent = card(node_killed=found(lost=3, silent=2, again=1))
    assert report.cell(silent, "node-killed", "hpczmq") == "**3** · 1 · > 330 s"


def test_what_was_not_measured_is_called_so() -> None:
    failed = card(node_killed={"failed": "no room"})
    assert report.cell(failed, "node-killed", "hpczmq") == "not measured"
    assert report.cell(failed, "deaf", "hpczmq") == "not measured"


def test_of_a_traceback_the_error_is_told() -> None:
    text = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: on purpose'
    assert report.last_words(text) == "ValueError: on purpose"
    assert report.last_words("KilledWorker: four times\nsee there") == "KilledWorker: four times"


def test_the_book_is_read_in_the_order_of_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    (stage.book / "t1").write_text("started 7 2.0\nended 7 3.0\n")
    (stage.book / "t2").write_text("started 8 1.0\n")
    assert [(line.task, line.word) for line in stage.lines()] == [
        ("t2", "started"), ("t1", "started"), ("t1", "ended"),
    ]  # fmt: skip
