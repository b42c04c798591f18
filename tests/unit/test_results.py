from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hpczmq import limits
from hpczmq._version import __version__
from hpczmq.assembler import digest
from hpczmq.errors import OutputError, ParameterError
from hpczmq.model import Job, JobState
from hpczmq.palettes import Look
from hpczmq.results import COLUMNS, Record, ResultWriter, Share

COUNTS = np.arange(12, dtype=np.uint16).reshape(3, 4)
PARAMS = {"algorithm": "Numpy", "width": 4, "height": 3, "iterations": 11, "c_re": -0.5}
JULIA = Record(
    id="j1",
    job=Job("julia", {"width": 4}, name="spiral", priority=1, timeout_s=60),
    state=JobState.DONE,
    tasks=2,
    seconds=1.5,
    params=PARAMS,
    slaves={"b": Share(1, 0.5), "a": Share(1, 0.25)},
    attempts=3,
    used={"symmetry": True, "trap": 0},
)
ECHO = Record("j2", Job("echo"), JobState.DONE, 1, 0.25, {"value": 1})
FAILED = dataclasses.replace(JULIA, state=JobState.FAILED, cause="a worker was killed")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows(out: Path) -> list[dict[str, str]]:
    with open(out / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


def saved(out: Path, record: Record, result: Any = None) -> Path:
    writer = ResultWriter(out)
    folder = writer.folder(record.job.name or record.id)
    writer.write(folder, record, result)
    return folder


# --- What is written --------------------------------------------------------------------------


def test_an_image_job_gives_counts_picture_and_report(tmp_path: Path) -> None:
    folder = saved(tmp_path / "new" / "out", JULIA, COUNTS)
    assert folder == tmp_path / "new" / "out" / "spiral"
    assert names(folder) == ["counts.npy", "image.png", "job.json"]
    assert np.array_equal(np.load(folder / "counts.npy"), COUNTS)
    with Image.open(folder / "image.png") as image:
        assert image.size == (4, 3)
    assert json.loads((folder / "job.json").read_text()) == {
        "id": "j1",
        "name": "spiral",
        "kernel": "julia",
        "algorithm": "Numpy",
        "params": PARAMS,
        "used": {"symmetry": True, "trap": 0},
        "priority": 1,
        "timeout_s": 60,
        "requires": None,
        "retries": 0,
        "deadline_s": None,
        "state": "done",
        "cause": "",
        "tasks": 2,
        "attempts": 3,
        "seconds": 1.5,
        "iterations_total": 66,
        "digest": digest(COUNTS),
        "slaves": {"a": {"tasks": 1, "seconds": 0.25}, "b": {"tasks": 1, "seconds": 0.5}},
        "software": __version__,
    }


def test_an_image_too_large_for_a_png_file_has_a_tiff_file_until_a_smaller_one_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "png_pixels_max", 11)
    monkeypatch.setattr(limits, "overview_side_pixels_max", 2)
    folder = saved(tmp_path, JULIA, COUNTS)
    assert names(folder) == ["counts.npy", "image.png", "image.tif", "job.json"]
    with Image.open(folder / "image.png") as image:
        assert image.size == (2, 2)
    with Image.open(folder / "image.tif") as image:
        assert image.size == (4, 3)
    monkeypatch.setattr(limits, "png_pixels_max", 12)
    assert names(saved(tmp_path, JULIA, COUNTS)) == ["counts.npy", "image.png", "job.json"]


@pytest.mark.parametrize(
    ("look", "problem"), [(Look("plaid"), "palette"), (Look(mapping="pink"), "mapping")]
)
def test_a_look_that_there_is_not_is_refused(tmp_path: Path, look: Look, problem: str) -> None:
    writer = ResultWriter(tmp_path)
    with pytest.raises(ParameterError, match=f"^{problem} = "):
        writer.write(writer.folder("spiral"), JULIA, COUNTS, look)


def test_a_job_without_a_name_goes_by_its_id(tmp_path: Path) -> None:
    assert saved(tmp_path, ECHO, 1) == tmp_path / "j2"


@pytest.mark.parametrize(
    "array", [np.zeros((3, 4)), np.zeros(3, np.uint16), np.zeros((3, 4), np.int32)]
)
def test_an_array_that_is_no_image_has_no_picture(tmp_path: Path, array: Any) -> None:
    folder = saved(tmp_path, JULIA, array)
    assert names(folder) == ["job.json", "result.npy"]
    assert np.array_equal(np.load(folder / "result.npy"), array)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        ([1, "ñ", True, {"a": 2.5}], [1, "ñ", True, {"a": 2.5}]),
        ((float("nan"), -float("inf")), ["nan", "-inf"]),
        (b"\x00\xff", {"base64": "AP8="}),
        ({1: np.float32(0.5), b"k": np.arange(2)}, {"1": 0.5, "b'k'": [0, 1]}),
        ("\ud800", "\ud800"),
        (1j, "1j"),
    ],
)
def test_any_other_value_is_json(tmp_path: Path, value: Any, written: Any) -> None:
    folder = saved(tmp_path, ECHO, value)
    assert names(folder) == ["job.json", "result.json"]
    content = (folder / "result.json").read_bytes()
    assert json.loads(content) == written
    assert json.loads((folder / "job.json").read_text())["digest"] == (
        hashlib.sha256(content).hexdigest()
    )


def test_a_failed_job_has_a_report_with_the_cause_and_no_result(tmp_path: Path) -> None:
    folder = saved(tmp_path, FAILED)
    assert names(folder) == ["job.json"]
    report = json.loads((folder / "job.json").read_text())
    assert (report["state"], report["cause"]) == ("failed", "a worker was killed")
    assert (report["digest"], report["iterations_total"]) == (None, None)


def test_counts_that_stand_in_the_folder_already_are_not_written_again(tmp_path: Path) -> None:
    writer = ResultWriter(tmp_path)
    folder = writer.folder("spiral")
    np.save(folder / "counts.npy", COUNTS)
    inode = (folder / "counts.npy").stat().st_ino
    mapped = np.load(folder / "counts.npy", mmap_mode="r")
    writer.write(folder, JULIA, mapped)
    assert (folder / "counts.npy").stat().st_ino == inode


def test_a_part_of_a_mapped_file_is_written(tmp_path: Path) -> None:
    writer = ResultWriter(tmp_path)
    folder = writer.folder("spiral")
    np.save(folder / "counts.npy", COUNTS)
    for part in (slice(None, 2), slice(None, None, -1)):
        mapped = np.load(folder / "counts.npy", mmap_mode="r")[part]
        expected = np.array(mapped)
        writer.write(folder, JULIA, mapped)
        assert np.array_equal(np.load(folder / "counts.npy"), expected)


# --- Folders ----------------------------------------------------------------------------------


def test_jobs_of_one_name_get_folders_of_their_own_in_a_batch(tmp_path: Path) -> None:
    writer = ResultWriter(tmp_path)
    folders = [writer.folder(name).name for name in ("a", "a", "a-2", "b", "a")]
    assert folders == ["a", "a-2", "a-2-2", "b", "a-3"]


def test_names_that_are_one_folder_to_the_file_system_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "A").symlink_to(tmp_path / "a")
    writer = ResultWriter(tmp_path)
    assert [writer.folder(name).name for name in ("a", "A")] == ["a", "A-2"]


def test_a_job_may_not_take_the_tables_place(tmp_path: Path) -> None:
    assert ResultWriter(tmp_path).folder("results.csv").name == "results.csv-2"


def test_an_earlier_runs_folder_is_used_again_and_its_other_results_go(tmp_path: Path) -> None:
    folder = saved(tmp_path, JULIA, COUNTS)
    (folder / "notes.txt").touch()
    assert saved(tmp_path, FAILED) == folder
    assert names(folder) == ["job.json", "notes.txt"]
    assert [row["state"] for row in rows(tmp_path)] == ["done", "failed"]


def test_a_name_too_long_for_the_file_system_is_cut_to_one_of_its_own(tmp_path: Path) -> None:
    writer = ResultWriter(tmp_path)
    first, second = writer.folder("ñ" * 127 + "a"), writer.folder("ñ" * 127 + "b")
    assert first.is_dir()
    assert first.name[:100] == second.name[:100] == "ñ" * 100
    assert first != second


@pytest.mark.parametrize("name", ["../a", "..", "/", "a/b", "a\0"])
def test_a_name_from_elsewhere_can_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ParameterError, match="name = "):
        ResultWriter(tmp_path / "out").folder(name)


# --- What can't be written --------------------------------------------------------------------


def test_a_file_where_the_folder_should_be_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    remedy = "a file stands where a folder is needed; move it, or choose another folder"
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputError) as caught:
            ResultWriter(out)
        assert str(caught.value).startswith(f"{out}: ")
        assert str(caught.value).endswith(remedy)


def test_a_folder_where_nobody_may_write_is_found_at_once() -> None:
    with pytest.raises(OutputError, match=r"^/proc/self: .*: "):
        ResultWriter(Path("/proc/self"))


def test_a_folder_where_the_table_should_be_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "results.csv").mkdir()
    with pytest.raises(OutputError, match="a folder stands where a file is needed"):
        ResultWriter(tmp_path)


def test_trying_the_folder_leaves_nothing_in_it(tmp_path: Path) -> None:
    ResultWriter(tmp_path)
    assert names(tmp_path) == []


def test_a_file_where_a_jobs_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "spiral").touch()
    with pytest.raises(OutputError, match=r"spiral: .*: a file stands where a folder is needed"):
        ResultWriter(tmp_path).folder("spiral")


# --- The table --------------------------------------------------------------------------------


def test_the_table_has_a_header_and_a_line_a_job(tmp_path: Path) -> None:
    saved(tmp_path, JULIA, COUNTS)
    saved(tmp_path, ECHO, 1)
    content = (tmp_path / "results.csv").read_bytes()
    assert content.startswith(",".join(COLUMNS).encode() + b"\r\n")
    assert content.endswith(b"\r\n")
    first, second = rows(tmp_path)
    assert list(first.values()) == [
        *("j1", "spiral", "julia", "Numpy", "4", "3", "11", "1", "done", "2", "1.500000", "66"),
        *(digest(COUNTS), "spiral"),
    ]
    assert (second["algorithm"], second["iterations_total"], second["folder"]) == ("", "", "j2")


def test_commas_and_quotes_in_a_field_stay_in_it(tmp_path: Path) -> None:
    job = Job("julia", name="a,b")
    record = dataclasses.replace(JULIA, job=job, params={"algorithm": 'say "x"\n'})
    saved(tmp_path, record, 1)
    (row,) = rows(tmp_path)
    assert (row["name"], row["algorithm"]) == ("a,b", 'say "x"\n')


@pytest.mark.parametrize("before", [b"", b"id,name\r\n", b"id,name\r\nhalf a li"])
def test_a_table_that_is_empty_or_was_cut_off_is_carried_on(tmp_path: Path, before: bytes) -> None:
    (tmp_path / "results.csv").write_bytes(before)
    saved(tmp_path, ECHO, 1)
    lines = (tmp_path / "results.csv").read_bytes().splitlines()
    assert [line.split(b",")[0] for line in lines] == [
        b"id",
        *([b"half a li"] if b"half" in before else []),
        b"j2",
    ]


def test_writers_at_once_make_one_table_with_whole_lines(tmp_path: Path) -> None:
    def write(number: int) -> None:
        writer = ResultWriter(tmp_path)
        folder = writer.folder(f"w{number}")
        for _ in range(5):
            writer.write(folder, dataclasses.replace(ECHO, id=f"w{number}"), 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    ids = [row["id"] for row in rows(tmp_path)]
    assert sorted(ids) == sorted([f"w{number}" for number in range(4)] * 5)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda descriptor, data: len(data) - 1)
    with pytest.raises(OutputError, match=r"results.csv: No space left on device: free some"):
        saved(tmp_path, ECHO, 1)


def test_a_file_system_without_links_gets_its_table_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", unable)
    saved(tmp_path, ECHO, 1)
    assert names(tmp_path) == ["j2", "results.csv"]
    assert [row["id"] for row in rows(tmp_path)] == ["j2"]
