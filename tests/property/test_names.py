"""Whatever a name from elsewhere is, it becomes a path, a line or a row and nothing more.

Where names become paths: the folders and the table of results, the master's store, the scratch
folders of a slave. Where they become lines: the log (and terminals, tables: test_plain.py).
"""

from __future__ import annotations

import csv
import json
import logging
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpczmq.errors import OutputError, ParameterError
from hpczmq.model import Job, JobState
from hpczmq.nodes.shell import LogFormat
from hpczmq.nodes.store import ResultStore
from hpczmq.results import Record, ResultWriter, Share

#: Up and out of a folder, other volumes, files of ours, control characters, no name at all.
WORST = [
    "", ".", "..", "../x", "a/../../x", "/", "/etc/passwd", "~", "\\..\\x", "C:", "a\0b", "-rf",
    "results.csv", "RESULTS.CSV", "job.json", "a\r\nb", "\x1b[2J", "\u202ea", "\ud800", "x" * 300,
    "=1+1", '"', ",", "a\u2028b", "\uff0e\uff0e\uff0fx",
]  # fmt: skip
names = st.text(max_size=40) | st.sampled_from(WORST) | st.builds(
    lambda one, two: one + two, st.sampled_from(WORST), st.text(max_size=5)
)  # fmt: skip


def everything(folder: Path) -> set[str]:
    """All that is in a folder, by its path from there."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@given(name=names)
@example(name="")
@example(name="Results.csv")
def test_a_name_is_one_folder_right_below_the_results_or_is_refused(name: str) -> None:
    with tempfile.TemporaryDirectory() as made:
        around = Path(made)
        writer = ResultWriter(around / "out")
        try:
            folder = writer.folder(name)
        except ParameterError as error:
            told = str(error)
        else:
            assert folder.parent == writer.out
            assert everything(around) == {"out", f"out/{folder.name}"}
            assert folder.name.isprintable()
            return
        assert told.isprintable()
        assert everything(around) == {"out"}


@settings(max_examples=20)  # each syncs its files
@given(text=names)
def test_hostile_text_in_a_job_is_one_row_and_one_document(text: str) -> None:
    with tempfile.TemporaryDirectory() as made:
        out = Path(made)
        writer = ResultWriter(out)
        job = Job("echo", {})
        object.__setattr__(job, "kernel", text)
        object.__setattr__(job, "name", text)
        share = {text: Share(1, 0.5)}
        record = Record(text, job, JobState.FAILED, 1, 0.5, {text: text}, share, cause=text)
        for id in ("j1", "j2"):
            writer.write(writer.folder(id), record)
        assert everything(out) == {"results.csv", "j1", "j2", "j1/job.json", "j2/job.json"}
        with (out / "results.csv").open(newline="", encoding="utf-8") as table:
            header, *rows = csv.reader(table)
        assert [row[header.index("folder")] for row in rows] == ["j1", "j2"]
        assert {len(row) for row in rows} == {len(header)}
        assert json.loads((out / "j1" / "job.json").read_text())["state"] == "failed"


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_is_no_folder_and_no_table(tmp_path: Path, target: str) -> None:
    """Whoever may write into the folder of results does not lead us out of it."""
    (tmp_path / "elsewhere").mkdir()
    writer = ResultWriter(tmp_path / "out")
    (tmp_path / "out" / "job").symlink_to(tmp_path / target)
    with pytest.raises(OutputError, match="job"):
        writer.folder("job")
    (tmp_path / "out" / "results.csv").symlink_to(tmp_path / target / "table")
    record = Record("j1", Job("echo", {}, name="j1"), JobState.FAILED, 1, 0.5, {})
    with pytest.raises(OutputError, match=r"results\.csv"):
        writer.write(writer.folder("j1"), record)
    assert everything(tmp_path / "elsewhere") == set()


@given(job=names, words=st.binary(max_size=20))
def test_the_store_makes_no_path_of_a_job_s_name(job: str, words: bytes) -> None:
    with tempfile.TemporaryDirectory() as made:
        around = Path(made)
        (around / "store").mkdir()
        store = ResultStore(str(around / "store"))
        try:
            store.append(job, 0, [words])
            store.append(job, 1, [b"last"])
            assert [bytes(frame) for frame in store.frames(job, 0)] == [words]
            assert everything(around) == {"store"}
        finally:
            store.close()


@given(job=names)
def test_what_the_store_says_of_a_job_is_one_line(job: str) -> None:
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(LogFormat().format(record))  # type: ignore[method-assign]
    log = logging.getLogger("hpczmq.nodes.store")
    log.addHandler(handler)
    try:
        store = ResultStore("/nowhere/at/all")
        store.append(job, 0, [b"x"])
        store.close()
    finally:
        log.removeHandler(handler)
    (line,) = told
    first, *others = line.split("\n")
    assert first.isprintable() or "\t" in first
    assert all(other.startswith("    ") for other in others), "none passes for a line of ours"
