from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hpczmq import jobfile, limits
from hpczmq.errors import JobFileError, ParameterError
from hpczmq.jobformats import Format
from hpczmq.model import Job

FORMATS: tuple[Format, ...] = ("text", "toml", "jsonl")

#: Pieces of which wrong job files are made, beside what comes by chance.
PIECES = st.sampled_from(
    [
        *("[[job]]", "[job.params]", "{", "}", '{"width": 3}', "width = 3", "kernel", "params"),
        *("Numpy,3,2,9", "name=", ",", "=", "#", "\\", '"', '"""', "'''", "1e999"),
        *("\n", "\r\n", "\u2028"),
    ]
)
JUNK = st.lists(PIECES | st.text(max_size=8)).map("".join)

KEYS = st.sampled_from(["c_re", "c_im", "center_x", "tile", "shade"])
WORDS = st.from_regex(r"[a-z][a-z_-]{0,9}", fullmatch=True).filter(
    lambda w: w not in ("inf", "nan")
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.integers(-(2**63), 2**63 - 1) | FLOATS | WORDS
NAMES = st.just("") | st.from_regex(r"[A-Za-zÁÉñüß0-9_-]{1,20}", fullmatch=True)
SIDES = st.integers(1, 1 << 20)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    params: dict[str, Any] = {"algorithm": draw(WORDS)}
    params |= {key: draw(SIDES) for key in ("width", "height", "iterations")}
    params |= draw(st.dictionaries(KEYS, VALUES))
    seconds = st.none() | st.floats(0.001, limits.timeout_s_max)
    return Job("julia", params, draw(NAMES), draw(st.integers(1, 3)), draw(seconds))


def anything(job: Job) -> list[ParameterError]:
    return []


def picky(job: Job) -> list[ParameterError]:
    """Finds something wrong with whatever is odd, as a kernel would."""
    return [ParameterError(k, v, "must be 3") for k, v in job.params.items() if str(v) != "3"]


def own(job: Job) -> Mapping[str, Any]:
    keys = {"name": job.name, "priority": job.priority, "timeout_s": job.timeout_s}
    return {key: value for key, value in keys.items() if value not in ("", None)}


def as_line(job: Job) -> str:
    params = dict(job.params)
    columns = [str(params.pop(key)) for key in ("algorithm", "width", "height", "iterations")]
    columns.append(str(job.priority))
    keys = params | {k: v for k, v in own(job).items() if k != "priority"}
    return ",".join(columns + [f"{key}={value}" for key, value in keys.items()])


def as_table(job: Job, nested: bool) -> str:
    def lines(values: Mapping[str, Any]) -> list[str]:
        return [f"{key} = {json.dumps(value)}" for key, value in values.items()]

    middle = ["[job.params]"] if nested else []
    return "\n".join(["[[job]]", *lines(own(job)), *middle, *lines(job.params), ""])


def as_json(job: Job, nested: bool) -> str:
    return json.dumps({**own(job), **({"params": job.params} if nested else job.params)})


def faults(text: str, format: Format, check: jobfile.Check) -> tuple[str, ...]:
    """What is wrong with a text; nothing is if it gives jobs."""
    try:
        assert jobfile.parse(text, "jobs", check, format), "a text without jobs is wrong"
    except JobFileError as error:
        return error.faults
    return ()


@given(JUNK, st.sampled_from(FORMATS), st.sampled_from([anything, picky]))
def test_no_text_raises_anything_but_a_job_file_error(
    text: str, format: Format, check: jobfile.Check
) -> None:
    for fault in faults(text, format, check):
        assert fault.startswith("jobs:")
        assert fault.isprintable()


@given(st.lists(jobs(), min_size=1, max_size=4))
def test_a_text_file_gives_the_jobs_that_were_written(written: list[Job]) -> None:
    text = "\n".join(map(as_line, written))
    assert jobfile.parse(text, "jobs", anything) == written


@given(st.lists(st.tuples(jobs(), st.booleans()), min_size=1, max_size=4))
def test_toml_and_json_give_the_jobs_that_were_written(written: list[tuple[Job, bool]]) -> None:
    expected = [job for job, _ in written]
    toml = "\n".join(as_table(job, nested) for job, nested in written)
    jsonl = "\n".join(as_json(job, nested) for job, nested in written)
    assert jobfile.parse(toml, "jobs", anything, "toml") == expected
    assert jobfile.parse(jsonl, "jobs", anything, "jsonl") == expected


BAD_LINES = st.sampled_from(["Numpy", "Numpy,3", "3,3,3,3,9", "3,3,3,3,2,x", "3,4,3,3"]).map(
    lambda line: (line, False)
)
GOOD_LINES = st.sampled_from(["3,3,3,3,1,name=a", "", "# Numpy", "  3, 3,3,3 # good"]).map(
    lambda line: (line, True)
)


@given(st.lists(GOOD_LINES | BAD_LINES))
def test_every_bad_line_is_named_and_no_other(lines: list[tuple[str, bool]]) -> None:
    text = "\n".join(line for line, _ in [("3,3,3,3", True), *lines])
    named = {int(fault.split(":")[1]) for fault in faults(text, "text", picky)}
    assert named == {number for number, (_, good) in enumerate(lines, start=2) if not good}


@given(st.lists(st.tuples(st.sampled_from(["", "# x\n", "\n\n"]), st.booleans()), min_size=1))
def test_every_bad_table_is_named_by_its_line(tables: list[tuple[str, bool]]) -> None:
    text, bad = "", set()
    for before, good in tables:
        text += before
        if not good:
            bad.add(text.count("\n") + 1)
        text += f"[[job]]\nkernel = '''\n[[job]]'''\nwidth = {3 if good else 4}\n"
    assert {int(fault.split(":")[1]) for fault in faults(text, "toml", picky)} == bad
