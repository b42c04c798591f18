"""Job files: text in, checked jobs out; or every fault that the file has, each with its line.

Three formats say the same (CONTRACT, "Job files"):

- **text**: ``algorithm,width,height,iterations[,priority][,key=value…]``, a Julia set a line. `#`
  starts a comment anywhere in a line. ``key=value`` columns set any other parameter of the kernel
  (``c_re=-0.8``), or the job's own: `name`, `priority`, `timeout_s`, `retries`, `deadline_s` and
  `requires` (``memory=2GiB;slots=2;label=gpu=a100``). A value is an int if it
  looks like one, then a float, else text. The spelling of the algorithm is the kernel's business.
- **TOML**: ``[[job]]`` tables with `kernel` ("julia" when left out), `name`, `priority`,
  `timeout_s`, `requires`, `retries`, `deadline_s`, and the kernel's parameters: either in a table
  `params`, or flat in the job. Flat is shorter; the table serves kernels with a parameter called
  `name`. Both in one job are refused, since a reader could not tell which one counts.
- **JSON lines**: an object a line, with the keys of the TOML table.

This module knows no kernel. The caller's `check` says what is wrong with a job's kernel and
parameters, so that a file is checked by the code that will run it:

    def check(job: Job) -> list[ParameterError]:
        return kernels.get(job.kernel).faults(job.params)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hpczmq import limits
from hpczmq.errors import JobFileError, LocalError, ParameterError, shown
from hpczmq.jobformats import USAGE, Entry, Format, entries, of_name, of_text, showable
from hpczmq.model import Job

Check = Callable[[Job], list[ParameterError]]

#: Lists in lists in lists: deeper ones have no use, and would overflow the stack of a peer.
_DEPTH_MAX: Final = 16


def read(path: str | Path, check: Check) -> list[Job]:
    """The jobs of a file, in its order.

    Args:
        path: the file; ``-`` is standard input. The format follows from the suffix (``.toml``,
            ``.jsonl``, anything else is text); of standard input, from its first line.
        check: gives every fault of a job's kernel and parameters; none: an empty list. It may
            raise a `LocalError` as well.

    Raises:
        JobFileError: the file can't be read, is no text, or has a fault; nothing of it counts.
    """
    is_stdin = str(path) == "-"
    name = "stdin" if is_stdin else shown(str(path), limits.text_chars_max)
    text = _decoded(_bytes(path, name), name)
    return parse(text, name, check, of_text(text) if is_stdin else of_name(path))


def parse(text: str, name: str, check: Check, format: Format = "text") -> list[Job]:
    """The jobs of a text, in its order.

    Args:
        text: the whole file. CRLF and a byte order mark are tolerated.
        name: what the faults call the file.
        check: gives every fault of a job's kernel and parameters; see `read`.
        format: "text", "toml" or "jsonl".

    Raises:
        JobFileError: with every fault of every job, as ``name:line: field = value: remedy``.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    lines = text.count("\n") + 1
    if lines > limits.jobfile_lines_max:
        raise JobFileError([f"{name}: lines = {lines}: must be at most {limits.jobfile_lines_max}"])
    jobs: list[Job] = []
    faults: list[str] = []
    for entry in entries(text, format):
        faults += (f"{name}:{entry.line}: {fault}" for fault in _take(entry, check, jobs))
    if len(jobs) > limits.jobs_open_max:
        faults.append(f"{name}: jobs = {len(jobs)}: must be at most {limits.jobs_open_max} a file")
    if not jobs and not faults:
        wanted = f"a line {USAGE}" if format == "text" else "without a job there is nothing to run"
        faults.append(f"{name}: jobs = 0: must be at least 1; {wanted}")
    if faults:
        raise JobFileError(faults)
    return jobs


def _bytes(path: str | Path, name: str) -> bytes:
    """All of it, up to the bound: the path may be a device, or a pipe that never ends."""
    most = limits.jobfile_bytes_max
    try:
        if str(path) != "-":
            with open(path, "rb") as file:
                data = file.read(most + 1)
        elif sys.stdin is not None:  # it is with the shell's `<&-`
            data = sys.stdin.buffer.read(most + 1)
        else:
            raise JobFileError([f"{name}: is closed: pipe the jobs in, or name a file"])
    except IsADirectoryError:
        raise JobFileError([f"{name}: is a folder: name a job file in it"]) from None
    except FileNotFoundError:
        raise JobFileError([f"{name}: does not exist: name a job file, or - for stdin"]) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        cause = getattr(error, "strerror", None) or str(error)
        raise JobFileError([f"{name}: {cause}: name a job file that can be read"]) from None
    if len(data) > most:
        raise JobFileError([f"{name}: bytes > {most}: must be at most that; split the file"])
    return data


def _decoded(data: bytes, name: str) -> str:
    """UTF-8 without NUL: what has one is a picture, a program, or UTF-16."""
    wrong = data.find(b"\0")
    try:
        text = data.decode("utf-8-sig")
        if wrong < 0:
            return text
    except UnicodeDecodeError as error:
        wrong = error.start if wrong < 0 else min(wrong, error.start)
    line = data.count(b"\n", 0, wrong) + 1
    byte = f"0x{data[wrong]:02x}"
    raise JobFileError([f"{name}:{line}: byte = {byte}: must be text; save the file as UTF-8"])


def _take(entry: Entry, check: Check, jobs: list[Job]) -> list[ParameterError]:
    """Every fault of one entry; its job, if there is one to speak of, is added to `jobs`."""
    found = [*entry.faults]
    kernel = entry.kernel
    if kernel is None:
        return found
    if not isinstance(kernel, str) or not kernel or len(kernel) > limits.name_chars_max:
        return [*found, ParameterError("kernel", showable(kernel), "must be a kernel's name")]
    own: dict[str, Any] = {}
    for key, value in entry.own.items():
        try:
            _require_plain(key, value)
            Job(kernel, **{key: value})  # one at a time, since `Job` stops at its first fault
            own[key] = value
        except ParameterError as fault:
            found.append(fault)
    params: dict[str, Any] = {}
    for key, value in entry.params.items():
        if not key.isidentifier() or len(key) > limits.name_chars_max:
            found.append(ParameterError("key", key, "must be the name of a parameter"))
            continue
        params[key] = showable(value)
        try:
            _require_plain(key, value)
        except ParameterError as fault:
            found.append(fault)
    job = Job(kernel, params, **own)
    jobs.append(job)
    named = {fault.field for fault in found}
    return found + [fault for fault in _checked(job, check) if fault.field not in named]


def _checked(job: Job, check: Check) -> list[ParameterError]:
    try:
        return check(job)
    except ParameterError as fault:
        return [fault]
    except LocalError as error:  # a kernel that is not installed here
        return [ParameterError("kernel", job.kernel, str(error))]


def _require_plain(key: str, value: Any) -> None:
    """Refuse a value that can't travel here, with its line, and not when it is sent."""
    remedy = _not_plain(value)
    if remedy:
        raise ParameterError(key, showable(value), remedy)


def _not_plain(value: Any, depth: int = 0) -> str:
    """What keeps a value from being packed; empty if nothing does.

    Dates of TOML, lone surrogates of JSON and integers beyond 64 bits do.
    """
    if depth > _DEPTH_MAX:
        return f"must be nested {_DEPTH_MAX} deep at most"
    if isinstance(value, bool | float | None):
        return ""
    if isinstance(value, int):
        return "" if -(2**63) <= value < 2**64 else "must fit 64 bits"
    if isinstance(value, str):
        return "must be Unicode text" if any("\ud800" <= c <= "\udfff" for c in value) else ""
    if isinstance(value, list):
        return next(filter(None, (_not_plain(item, depth + 1) for item in value)), "")
    if isinstance(value, dict):
        parts = (part for pair in value.items() for part in pair)
        return next(filter(None, (_not_plain(part, depth + 1) for part in parts)), "")
    return "must be a number, text, true, false, a list or a table"
