from __future__ import annotations

import json
import sys

import pytest
from rich.text import Text

from hpczmq import tables
from hpczmq.errors import printable
from hpczmq.jsontext import document
from hpczmq.model import JobInfo, JobState, Metrics, SlaveInfo, SlaveState
from hpczmq.output import Output, plain

#: What a kernel of somebody else's may say.
RUDE = 'Traceback:\n\tFile "x"\n\x1b[2J\x07gone'


def info(cause: str = "", id: str = "j1") -> JobInfo:
    """A job's row, of which nothing but the cause matters."""
    return JobInfo(
        id, "", "echo", b"", 2, JobState.FAILED, 1, 0, 1, 0, waited_s=0.0, ran_s=0.0, cause=cause,
        attempts=1,
    )  # fmt: skip


def test_control_characters_are_shown_and_lines_stay_lines() -> None:
    assert printable(RUDE) == 'Traceback:\n\tFile "x"\n\\x1b[2J\\x07gone'


def test_a_cause_is_told_without_its_control_characters() -> None:
    said = tables.job(info(RUDE, id="j\x1b")).plain
    assert not {"\x1b", "\x07"} & {*said}
    assert "\\x1b[2J\\x07gone" in said


def test_numbers_that_json_has_no_word_for_are_words(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).show(Text(""), {"free": float("nan"), "rates": [1.5, float("inf")]})
    assert json.loads(capsys.readouterr().out) == {"free": "nan", "rates": [1.5, "inf"]}


def test_a_document_that_can_not_be_made_leaves_no_half_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    circle: list[object] = [1]
    circle.append(circle)
    with pytest.raises(RecursionError):
        Output(as_json=True).show(Text(""), circle)
    assert capsys.readouterr().out == ""


def test_rows_are_objects_and_states_words() -> None:
    row = json.loads(document(plain(info("no such luck"))))
    assert (row["id"], row["state"], row["cause"]) == ("j1", "failed", "no such luck")


def test_a_closed_standard_output_is_an_error_of_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OSError, match="standard output is closed"):
        Output()


def test_one_of_something_is_not_several() -> None:
    assert tables.count(1, "job") == "1 job"
    assert tables.count(2, "job") == "2 jobs"


def test_the_software_of_slaves_is_shown_where_it_differs() -> None:
    def columns(*software: str) -> list[str]:
        rows = [
            SlaveInfo(
                "s", bytes(16), "", SlaveState.READY, 1, 0, 0, 0.1, 1, Metrics(), 0, (),
                software=one,
            )
            for one in software
        ]  # fmt: skip
        return [str(column.header) for column in tables.slaves(rows).columns]

    assert "software" in columns("hpczmq 1", "hpczmq 2")
    assert "software" not in columns("hpczmq 1", "hpczmq 1")
