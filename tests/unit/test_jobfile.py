from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from hpczmq import jobfile, limits
from hpczmq.errors import JobFileError, KernelMissing, ParameterError
from hpczmq.jobformats import Format
from hpczmq.model import Job

EXAMPLES = Path(__file__).parents[2] / "examples"


def anything(job: Job) -> list[ParameterError]:
    return []


def wide(job: Job) -> list[ParameterError]:
    """A kernel that wants a width, and knows nothing else."""
    width = job.params.get("width")
    if isinstance(width, int) and width >= 1:
        return []
    return [ParameterError("width", width, "must be 1 or more")]


def faults(text: str, format: Format = "text", check: jobfile.Check = anything) -> tuple[str, ...]:
    with pytest.raises(JobFileError) as caught:
        jobfile.parse(text, "jobs", check, format)
    return caught.value.faults


def only(text: str, format: Format = "text") -> Job:
    (job,) = jobfile.parse(text, "jobs", anything, format)
    return job


class Stdin:
    """Standard input as far as it is used: its bytes."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


# --- Text -------------------------------------------------------------------------------------


def test_a_line_is_a_julia_job() -> None:
    params = {"algorithm": "Numpy", "width": 320, "height": 200, "iterations": 100}
    assert only("Numpy,320,200,100,1") == Job("julia", params, priority=1)


@pytest.mark.parametrize("line", ["Numpy,3,2,9", "Numpy,3,2,9,", "Numpy,3,2,9,,tile=1"])
def test_priority_is_medium_when_left_out(line: str) -> None:
    assert only(line).priority == 2


def test_comments_blank_lines_and_blanks_are_skipped() -> None:
    jobs = jobfile.parse("# all\n\n  Numpy , 3, 2 ,9 # one\n\t\n#", "jobs", anything)
    assert [dict(job.params) for job in jobs] == [
        {"algorithm": "Numpy", "width": 3, "height": 2, "iterations": 9}
    ]


@pytest.mark.parametrize(
    "text", ["Numpy,3,2,9\r\nNumpy,3,2,9\r\n", "\ufeffNumpy,3,2,9\nNumpy,3,2,9"]
)
def test_windows_line_ends_and_byte_order_marks_are_tolerated(text: str) -> None:
    assert [job.params["algorithm"] for job in jobfile.parse(text, "jobs", anything)] == [
        "Numpy",
        "Numpy",
    ]


def test_key_columns_set_parameters_and_what_is_the_jobs_own() -> None:
    job = only("Numpy,3,2,9,c_re=-.5,c_im=1e-3,tile=64,shade=soft,name=007,timeout_s=2,priority=3")
    assert (job.name, job.timeout_s, job.priority) == ("007", 2, 3)
    extra = {k: v for k, v in job.params.items() if k not in ("algorithm", "width", "height")}
    assert extra == {"iterations": 9, "c_re": -0.5, "c_im": 1e-3, "tile": 64, "shade": "soft"}


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ("-7", -7), ("7.", 7.0), ("1e3", 1000.0), ("nan", "nan"), ("1_0", "1_0"), ("", "")],
)
def test_values_are_ints_then_floats_then_text(text: str, value: Any) -> None:
    found = only(f"Numpy,3,2,9,key={text}").params["key"]
    assert (found, type(found)) == (value, type(value))


def test_every_fault_of_every_line_is_reported_with_its_place() -> None:
    text = "Numpy,0,2,9,7,name=a/b\nNumpy,3,2,9\nNumpy,3\nNumpy,x,2,9,timeout_s=-1"
    name_remedy = (
        "must be letters, digits and -_.,+=@ only, with no dot or space at its ends"  # of model
    )
    assert faults(text, check=wide) == (
        f"jobs:1: name = a/b: {name_remedy}",
        "jobs:1: priority = 7: must be 1 (high), 2 or 3 (low)",
        "jobs:1: width = 0: must be 1 or more",
        "jobs:3: columns = 2: must be algorithm,width,height,iterations[,priority][,key=value…]",
        "jobs:4: timeout_s = -1: must be above 0 and at most 2678400",
        "jobs:4: width = x: must be 1 or more",
    )


def test_a_column_without_a_key_and_one_that_comes_twice_are_faults() -> None:
    assert faults("Numpy,3,2,9,1,fast,width=4,=5") == (
        "jobs:1: column = fast: must be key=value",
        "jobs:1: width = 4: is given twice; leave one out",
        "jobs:1: key = : must be the name of a parameter",
    )


def test_what_a_kernel_raises_is_a_fault_of_the_line() -> None:
    def missing(job: Job) -> list[ParameterError]:
        raise KernelMissing("julia is not compiled here")

    def refused(job: Job) -> list[ParameterError]:
        raise ParameterError("kernel", job.kernel, "must be installed")

    assert faults("a,1,1,1", check=missing) == (
        "jobs:1: kernel = julia: julia is not compiled here",
    )
    assert faults("a,1,1,1", check=refused) == ("jobs:1: kernel = julia: must be installed",)


# --- TOML -------------------------------------------------------------------------------------

TOML = """\
# two jobs
[[job]]
kernel = "echo"
name = "first"
priority = 1
timeout_s = 2.5
value = '''
[[job]]
'''                # "[[job]]"

  [[ job ]]  # the second
params.width = 0
"""


def test_toml_says_the_same_with_flat_parameters_or_a_table() -> None:
    first, second = jobfile.parse(TOML, "jobs", anything, "toml")
    assert first == Job("echo", {"value": "[[job]]\n"}, "first", 1, 2.5)
    assert second == Job("julia", {"width": 0})


def test_a_fault_in_toml_has_the_line_of_its_table() -> None:
    def check(job: Job) -> list[ParameterError]:
        return wide(job) if job.kernel == "julia" else []

    assert faults(TOML, "toml", check) == ("jobs:11: width = 0: must be 1 or more",)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[job]]\na=\n", "jobs:2: text = a=: must be TOML: Invalid value"),
        ("[[job]]\na=[1\n", "jobs:2: text = a=[1: must be TOML: "),
        ("[job]\na=1\n", "jobs:1: job = {'a': 1}: must be written as [[job]] tables"),
        ("\njob=[{a=1}]\n", "jobs:2: job = [{'a': 1}]: must be written as [[job]] tables"),
        ("x=1\n[[job]]\n", "jobs:1: x = 1: must stand in a [[job]] table"),
        ("[[job]]\nkernel=3\n", "jobs:1: kernel = 3: must be a kernel's name"),
        ("[[job]]\nparams=3\n", "jobs:1: params = 3: must be a table of parameters"),
        ("[[job]]\na=1\nparams={}", "jobs:1: a = 1: must stand in params too, since this job has"),
        (
            "[[job]]\na=2026-01-01\n",
            "jobs:1: a = datetime.date(2026, 1, 1): must be a number, text",
        ),
        ("[[job]]\n'a b'=1\n", "jobs:1: key = a b: must be the name of a parameter"),
        (f"[[job]]\na=0x{'f' * 5000}", "jobs:1: a = (too long to show): must fit 64 bits"),
        (f"[[job]]\na={'9' * 5000}", "jobs:2: text = a=999"),
        (f"[[job]]\na={'[' * 5000}{']' * 5000}", "jobs:"),
        ("", "jobs: jobs = 0: must be at least 1; without a job there is nothing to run"),
    ],
)
def test_toml_that_is_wrong_is_refused(text: str, fault: str) -> None:
    (found,) = faults(text, "toml")
    assert found.startswith(fault)


# --- JSON lines -------------------------------------------------------------------------------


def test_json_lines_say_the_same() -> None:
    text = '{"kernel": "echo", "value": [1, "\u2028"]}\n\n{"name": "b", "params": {"width": 3}}\n'
    assert jobfile.parse(text, "jobs", anything, "jsonl") == [
        Job("echo", {"value": [1, "\u2028"]}),
        Job("julia", {"width": 3}, "b"),
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("[1]", "text = [1]: must be a JSON object, one a line"),
        ('{"a": }', 'text = {"a": }: must be a JSON object: Expecting value at column 7'),
        ('{"a": 1, "a": 2}', "a = 2: is given twice; leave one out"),
        ('{"kernel": null}', "kernel = : must be a kernel's name"),
        ('{"a": "\\ud800"}', "a = \\ud800: must be Unicode text"),
        ('{"a": {"b": [18446744073709551616]}}', "a = {'b': [18446744073709551616]}: must fit"),
        (f'{{"timeout_s": 1{"0" * 400}}}', "timeout_s = 1000"),
        (f'{{"a": {"9" * 5000}}}', 'text = {"a": 999'),
        (
            f'{{"a": {"[" * 20}{"]" * 20}}}',
            "a = [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]: must be nes",
        ),
        (f'{{"a": {"[" * 99_999}{"]" * 99_999}}}', "text = "),
    ],
)
def test_a_json_line_that_is_wrong_is_refused(line: str, fault: str) -> None:
    (found,) = faults(f'{{"a": 1}}\n{line}\n{{"a": 1}}', "jsonl")
    assert found.startswith(f"jobs:2: {fault}")


# --- Files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["trabajos.txt", "demo.txt", "trabajos.toml", "trabajos.jsonl"])
def test_the_examples_are_read(name: str) -> None:
    jobs = jobfile.read(EXAMPLES / name, anything)
    assert len(jobs) == (6 if name.endswith(".txt") else 3)


def test_the_toml_and_json_examples_are_the_same_jobs() -> None:
    toml, jsonl = (jobfile.read(EXAMPLES / f"trabajos.{s}", anything) for s in ("toml", "jsonl"))
    assert toml == jsonl


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"Numpy,3,2,9\n\x89PNG\r\n", "byte = 0x89: must be text; save the file as UTF-8"),
        (b"Numpy,3,2,9\nNum\0py", "byte = 0x00: must be text; save the file as UTF-8"),
    ],
)
def test_binary_junk_is_refused_with_its_line(tmp_path: Path, data: bytes, fault: str) -> None:
    path = tmp_path / "jobs.txt"
    path.write_bytes(data)
    with pytest.raises(JobFileError) as caught:
        jobfile.read(path, anything)
    assert caught.value.faults == (f"{path}:2: {fault}",)


def test_a_file_that_is_not_there_a_folder_and_an_unreadable_path_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    paths: list[tuple[Path | str, str]] = [
        (tmp_path / "none.txt", "does not exist: name a job file, or - for stdin"),
        (tmp_path, "is a folder: name a job file in it"),
        (tmp_path / "file" / "jobs.txt", "Not a directory: name a job file that can be read"),
        ("a\0b", "embedded null byte: name a job file that can be read"),
    ]
    for path, cause in paths:
        with pytest.raises(JobFileError, match=cause) as caught:
            jobfile.read(path, anything)
        assert str(caught.value).startswith(str(path).replace("\0", "\\x00"))


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n"])
def test_a_file_without_jobs_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "jobs.txt"
    path.write_text(text)
    with pytest.raises(
        JobFileError, match="jobs = 0: must be at least 1; a line must be algorithm"
    ):
        jobfile.read(path, anything)


def test_a_file_may_not_be_larger_than_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "jobfile_bytes_max", 23)
    path = tmp_path / "jobs.txt"
    path.write_text("Numpy,3,2,9\nNumpy,3,2,9")
    assert len(jobfile.read(path, anything)) == 2
    path.write_text("Numpy,3,2,9\nNumpy,3,2,99")
    with pytest.raises(JobFileError, match="bytes > 23: must be at most that; split the file"):
        jobfile.read(path, anything)


def test_lines_and_jobs_of_a_file_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "jobs_open_max", 1)
    text = "Numpy,3,2,9\nNumpy,3,2,9"
    assert faults(text) == ("jobs: jobs = 2: must be at most 1 a file",)
    monkeypatch.setattr(limits, "jobfile_lines_max", 1)
    assert faults(text) == ("jobs: lines = 2: must be at most 1",)


@pytest.mark.parametrize(
    "data",
    [
        b"# jobs\n\nNumpy,3,2,9\n",
        b"# jobs\n [[job]]\nalgorithm='Numpy'\nwidth=3\nheight=2\niterations=9\n",
        b'\n {"algorithm": "Numpy", "width": 3, "height": 2, "iterations": 9}\n',
    ],
)
def test_standard_input_may_have_any_format(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(b"\xef\xbb\xbf" + data))
    (job,) = jobfile.read("-", anything)
    assert job.params == {"algorithm": "Numpy", "width": 3, "height": 2, "iterations": 9}


def test_a_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(JobFileError, match="stdin: is closed: pipe the jobs in, or name a file"):
        jobfile.read("-", anything)
