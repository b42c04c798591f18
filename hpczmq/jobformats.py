"""The formats of job files: from text to what each job says, and where; nothing is judged here.

What can't be taken apart (a syntax error, a missing column, a key that is given twice) is a fault
of its entry. Whether a value is any good is decided in `jobfile`, the same way for all formats.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final, Literal, NamedTuple

from hpczmq.errors import ParameterError, shown

Format = Literal["text", "toml", "jsonl"]

#: Keys of a job that are not parameters of its kernel.
OWN: Final[tuple[str, ...]] = (
    "name", "priority", "timeout_s", "requires", "retries", "deadline_s",
)  # fmt: skip
#: What a line of the text format must be.
USAGE: Final = "must be algorithm,width,height,iterations[,priority][,key=value…]"

_COLUMNS: Final = ("algorithm", "width", "height", "iterations")
_FORMATS: Final[Mapping[str, Format]] = {
    ".toml": "toml",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
#: 40 digits are more than any parameter takes, and int() is quadratic in them.
_INT: Final = re.compile(r"[+-]?[0-9]{1,40}")
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
#: A [[job]] header, or what could hide the look of one. TOML lets two quotes stand before the
#: closing three. Used on documents that `tomllib` has accepted, where these tokens are exact.
_TOML_TOKEN: Final = re.compile(
    r"(?P<header>^[ \t]*\[\[[ \t]*job[ \t]*\]\])"
    r'|#[^\n]*|"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'',
    re.DOTALL | re.MULTILINE,
)


class Entry(NamedTuple):
    """One job as it was written."""

    #: Where it starts, from 1.
    line: int
    #: None: the place is so wrong that there is no job in it, only `faults`.
    kernel: Any
    own: Mapping[str, Any]
    params: Mapping[str, Any]
    faults: tuple[ParameterError, ...] = ()


def of_name(path: str | PurePath) -> Format:
    """The format that a file's suffix names; text when it names none."""
    return _FORMATS.get(PurePath(path).suffix.lower(), "text")


def of_text(text: str) -> Format:
    """The format of a stream without a name: JSON has braces, TOML has brackets, text neither.

    The first line that says something decides; comments look the same in TOML and text.
    """
    for line in text.split("\n"):
        start = line.strip()
        if start and not start.startswith("#"):
            return "jsonl" if start.startswith("{") else "toml" if start.startswith("[") else "text"
    return "text"


def entries(text: str, format: Format) -> Iterator[Entry]:
    """Every job of a text with ``\\n`` line ends, in its order, wrong ones too."""
    return {"text": _of_lines, "toml": _of_toml, "jsonl": _of_jsonl}[format](text)


def showable(value: Any) -> Any:
    """The value, or words for it where Python refuses to print it (an int of 5,000 digits)."""
    try:
        repr(value)
    except (ValueError, RecursionError):
        return "(too long to show)"
    return value


def _of_lines(text: str) -> Iterator[Entry]:
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.partition("#")[0].strip()
        if content:
            yield _of_columns(number, [column.strip() for column in content.split(",")])


def _of_columns(line: int, columns: list[str]) -> Entry:
    """Positions first, then the priority if there is one, then keys."""
    size = len(_COLUMNS)
    if len(columns) < size:
        return _broken(line, "columns", len(columns), USAGE)
    given: dict[str, Any] = dict(zip(_COLUMNS, map(_number, columns), strict=False))
    given["algorithm"] = columns[0]
    rest = columns[size:]
    if rest and "=" not in rest[0]:
        priority = rest.pop(0)
        if priority:  # "…,1000," leaves it out as well
            given["priority"] = _number(priority)
    faults = []
    for column in rest:
        key, equals, value = (part.strip() for part in column.partition("="))
        if not equals:
            faults.append(ParameterError("column", column, "must be key=value"))
        elif key in given:
            faults.append(ParameterError(shown(key), value, "is given twice; leave one out"))
        else:
            given[key] = value if key == "name" else _number(value)  # a name of digits is a name
    own = {key: given.pop(key) for key in OWN if key in given}
    return Entry(line, "julia", own, given, tuple(faults))


def _number(text: str) -> int | float | str:
    """An int, a float, or the text itself; the kernel knows what has to be a number."""
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _of_toml(text: str) -> Iterator[Entry]:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # A ValueError is the syntax, or an integer too long to convert. Only the first one is
        # known: what follows broken TOML can't be told from its content.
        cause, _, place = str(error).rpartition(" (at line ")
        line = int(place.partition(",")[0]) if cause else text.rstrip("\n").count("\n") + 1
        cause = "nested too deep" if isinstance(error, RecursionError) else cause or str(error)
        written = text.split("\n")[line - 1].strip()
        yield _broken(line, "text", written, f"must be TOML: {shown(cause)}")
        return
    tables = document.pop("job", [])
    for key, value in document.items():
        yield _broken(_line_of(text, key), key, value, "must stand in a [[job]] table")
    headers = [token.start() for token in _TOML_TOKEN.finditer(text) if token["header"]]
    if not isinstance(tables, list) or len(headers) != len(tables):
        yield _broken(_line_of(text, "job"), "job", tables, "must be written as [[job]] tables")
        return
    line, position = 1, 0
    for start, table in zip(headers, tables, strict=True):
        line += text.count("\n", position, start)
        position = start
        yield _of_table(line, table)


def _line_of(text: str, key: str) -> int:
    """Where a top-level key is most likely set; for people, so a near miss does no harm."""
    found = re.search(rf"^[ \t\[\"']*{re.escape(key)}\b", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _of_jsonl(text: str) -> Iterator[Entry]:
    # Not str.splitlines: U+2028 and others may stand in a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            table = json.loads(line, object_pairs_hook=_once)
        except ParameterError as fault:
            yield Entry(number, None, {}, {}, (fault,))
        except (ValueError, RecursionError) as error:
            cause = "a number is too long, or a list nested too deep"
            if isinstance(error, json.JSONDecodeError):
                cause = f"{error.msg} at column {error.colno}"
            yield _broken(number, "text", line.strip(), f"must be a JSON object: {cause}")
        else:
            if isinstance(table, dict):
                yield _of_table(number, table)
            else:
                yield _broken(number, "text", line.strip(), "must be a JSON object, one a line")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON takes the last of two equal keys without a word; a job file should not."""
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ParameterError(shown(key), showable(value), "is given twice; leave one out")
        table[key] = value
    return table


def _of_table(line: int, table: Mapping[str, Any]) -> Entry:
    """A job of TOML or JSON: its own keys, and the parameters in `params` or flat."""
    rest = dict(table)
    kernel = rest.pop("kernel", "julia")
    kernel = "" if kernel is None else kernel  # JSON's null is a fault, not "no job here"
    own = {key: rest.pop(key) for key in OWN if key in rest}
    if "params" not in rest:
        return Entry(line, kernel, own, rest)
    params = rest.pop("params")
    remedy = "must stand in params too, since this job has that table"
    faults = [ParameterError(shown(key), showable(value), remedy) for key, value in rest.items()]
    if not isinstance(params, dict):
        faults.append(ParameterError("params", showable(params), "must be a table of parameters"))
        params = {}
    return Entry(line, kernel, own, params, tuple(faults))


def _broken(line: int, field: str, value: Any, remedy: str) -> Entry:
    fault = ParameterError(shown(field), showable(value), remedy)
    return Entry(line, None, {}, {}, (fault,))
