"""Whatever text others send, it is text on our terminal, in our log and in our tables.

Every text of every message, filled by reflection with the worst there is, goes through all that is
printed; a field or a command that is added is tried with it at once.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hpczmq import output, plain, tables, wire
from hpczmq.dashboard.board import Board
from hpczmq.dashboard.frame import Frame
from hpczmq.dashboard.screen import Screen
from hpczmq.doctor import Finding
from hpczmq.happened import EventInfo
from hpczmq.items import Items
from hpczmq.jsontext import document
from hpczmq.messages import KINDS, ExplainAnswer
from hpczmq.model import Alert, ClusterInfo, JobInfo, JobState, NodeMetrics, SlaveInfo
from hpczmq.nodes.shell import LogFormat
from hpczmq.results import _line

#: Markup, an emoji's name, CSI, OSC 8 and 52, a C1 control, backspace, CR, a line of its own, what
#: turns the writing, what has no width, a line separator, half of a pair.
HOSTILE = (
    "[red]x[/] [link=http://x]:skull: \x1b[2J\x1b]8;;http://x\x07\x1b]52;c;eA==\x07\x9b2J\x08\r"
    "\nstate     done\u202e\u2066\u200b\u2028\u3164\ufe0f\ud800\x7f"
)
#: What may not be in anything that is printed (rich ends its lines with newlines).
FORBIDDEN = {c for c in HOSTILE if not c.isprintable() or c in "\u3164\ufe0f"} - {"\n"}

anything = st.text(st.characters() | st.sampled_from(HOSTILE))


def hostile(hint: Any, values: dict[Any, Any]) -> Any:
    """A value that fits the annotation, with hostile text wherever there is text."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is tuple:
        return (hostile(get_args(hint)[0], values),) * 2
    if hint is Items:  # not any two byte strings are one
        return Items.of([values[bytes]])
    if is_dataclass(hint) or hasattr(hint, "_fields"):
        hints = get_type_hints(hint, include_extras=True)
        names = [f.name for f in fields(hint)] if is_dataclass(hint) else hint._fields
        return hint(**{name: hostile(hints[name], values) for name in names})
    if hint in values:
        return values[hint]
    return next(iter(hint))  # an enumeration


def row(kind: Any, state: int = 0) -> Any:
    params = wire.pack({HOSTILE.replace("\ud800", ""): HOSTILE.replace("\ud800", "")})
    return hostile(kind, {str: HOSTILE, bytes: params, int: 1, float: 1.0, bool: True})


def printed(*rendered: Any, terminal: bool = False) -> str:
    """What our own console makes of it, without styles, so that each ESC is somebody else's."""
    file = io.StringIO()
    made = output._Results(file=file, width=2_000, force_terminal=terminal, color_system=None)
    for shown in rendered:
        made.print(shown)
    return file.getvalue()


def views() -> Iterator[Any]:
    """All that the commands show."""
    cluster, slave, job = row(ClusterInfo), row(SlaveInfo), row(JobInfo)
    alert, metrics, answer = row(Alert), row(NodeMetrics), row(ExplainAnswer)
    yield from (tables.cluster(cluster), tables.slaves([slave]), tables.jobs([job]))
    yield from (tables.job(job), tables.alerts([alert]), tables.metrics([metrics]))
    yield from (tables.explanation(answer), tables.findings([Finding(HOSTILE, HOSTILE, HOSTILE)]))
    for state in JobState:
        board, screen = Board(HOSTILE), Screen(filter="r", told=HOSTILE)
        board.saw_cluster(cluster, 1.0)
        board.saw_slaves([slave], 1.0)
        board.saw_jobs([replace(job, state=state)], 1.0)
        board.saw_alerts([alert])
        board.saw_events([row(EventInfo)], 1.0)
        yield Frame(board, screen, 2.0, height=40)
        board.no_alerts(HOSTILE)
        board.failed(HOSTILE)
        board.no_canvas = HOSTILE
        yield Frame(board, screen, 2.0, height=40)


def test_no_table_lets_anything_through() -> None:
    for view in views():
        file = io.StringIO()  # a console that sees to nothing: the tables do it themselves
        Console(file=file, width=2_000, color_system=None).print(view)
        said = file.getvalue()
        assert not FORBIDDEN & {*said}
        assert "[red]x[/] [link=http://x]" in said, "as it was written"
        assert "\nstate     done" not in said, "no line of theirs stands where ours do"


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
def test_a_place_that_forgets_it_still_prints_nothing_but_text(kind: Any, terminal: bool) -> None:
    message = row(kind)
    texts = [getattr(message, f.name) for f in fields(message)]
    for value in (t for t in texts if isinstance(t, str)):
        said = printed(value, terminal=terminal)
        assert not FORBIDDEN & {*said}
        assert "[red]x[/] [link=http://x]:skull: " in said


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
def test_json_says_the_same_without_a_control_character(kind: Any) -> None:
    data = output.plain(row(kind))
    said = document(data)
    assert not FORBIDDEN - {"\u3164", "\ufe0f"} & {*said}
    assert json.loads(said) == data


@given(anything)
def test_what_is_printed_can_be_seen_and_printing_it_again_changes_nothing(text: str) -> None:
    line, lines, block = plain.shown(text, 1_000), plain.printable(text), plain.block(text)
    assert line.isprintable()
    assert lines.replace("\n", "").replace("\t", "").isprintable()
    assert plain.shown(line, 1_000) == line
    assert plain.printable(lines) == lines
    assert all(part.startswith("    ") for part in block.split("\n")[1:])
    line.encode(), lines.encode()


@given(anything)
def test_the_console_prints_any_text_as_it_is(text: str) -> None:
    said = printed(plain.shown(text, 1_000))
    assert said.replace("\n", "").rstrip() == plain.shown(text, 1_000).rstrip()


@given(anything)
def test_a_log_line_is_one_line(text: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "%s", (text,), None)
    first, *others = LogFormat().format(record).split("\n")
    assert first.isprintable() or "\t" in first
    assert all(line.startswith("    ") for line in others)


@given(anything)
def test_a_cell_is_never_a_formula(text: str) -> None:
    (cell,) = next(csv.reader(io.StringIO(_line([plain.cell(text)]).decode(), newline="")))
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_ordinary_text_stays_as_it_is() -> None:
    for text in ("plain", "naïve größer 漢字 עברית é", "a-b_c.d", "100 %", "\\x1b"):
        assert plain.shown(text) == plain.printable(text) == plain.cell(text) == text
    assert plain.cell("=1+1") == "'=1+1"
    assert plain.shown("\u202e\U000e0100\x9b") == r"\u202e\U000e0100\x9b"
