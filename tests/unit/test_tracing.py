"""A job's tasks by slot, in Chrome's trace format, and as a page of HTML."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from hpczmq.happened import Span, SpanEnd
from hpczmq.jsontext import document
from hpczmq.kernels import get
from hpczmq.lanes import busy, lanes
from hpczmq.messages import TraceAnswer
from hpczmq.model import AttemptInfo, JobState, Status, Usage
from hpczmq.report import Overview, Story, page
from hpczmq.tracing import document as traced
from tests.property.test_plain import FORBIDDEN, HOSTILE
from tests.unit.test_board import alert, job

#: Fields of each kind of event, by the document that defines the format: those that must be there,
#: and those that may.
FIELDS = {
    "M": ({"name", "pid", "tid", "args"}, set()),
    "X": ({"name", "cat", "pid", "tid", "ts", "dur"}, {"args", "cname"}),
    "b": ({"name", "cat", "pid", "tid", "ts", "id"}, {"args"}),
    "e": ({"name", "cat", "pid", "tid", "ts", "id"}, {"args"}),
    "i": ({"name", "pid", "tid", "ts", "s"}, {"cat"}),
    "C": ({"name", "pid", "ts", "args"}, {"tid"}),
}


def span(
    task: int, began_s: float, ended_s: float, *, slave: int = 0, slot: int = 1,
    end: SpanEnd = SpanEnd.DONE,
) -> Span:  # fmt: skip
    return Span(task, slave, slot, end, began_s - 0.25, began_s, ended_s, ended_s + 0.125)


SPANS = (
    span(0, 1.0, 2.0), span(1, 2.0, 3.0), span(2, 1.0, 4.0, slot=2), span(3, 1.5, 2.5, slave=1),
    span(4, 3.0, 3.5, end=SpanEnd.TIMEOUT), span(5, 1.0, 5.0, slave=1, slot=0, end=SpanEnd.LOST),
    span(6, 1.0, 5.0, slave=1, slot=0, end=SpanEnd.LOST),
    span(7, 4.0, 5.0, slot=2, end=SpanEnd.ERROR),
)  # fmt: skip


def trace(spans: Sequence[Span] = SPANS, slaves: Sequence[str] = ("uno", "dos")) -> TraceAnswer:
    info = job("j1", JobState.FAILED, waited_s=1.0, ran_s=4.0, cause="task 7: it raised")
    return TraceAnswer(1, info, 10.0, tuple(slaves), tuple(spans), 3)


# --- Lanes --------------------------------------------------------------------------------------


def test_each_slot_is_a_lane_in_which_nothing_overlaps() -> None:
    found = lanes(trace())
    assert [(lane.slave, lane.label, [s.task for s in lane.spans]) for lane in found] == [
        ("dos", "slot 1", [3]), ("dos", "given up", [5]), ("dos", "given up", [6]),
        ("uno", "slot 1", [0, 1, 4]), ("uno", "slot 2", [2, 7]),
    ]  # fmt: skip


def test_what_seems_to_overlap_in_a_slot_begins_later() -> None:
    (lane,) = lanes(trace([span(0, 1.0, 2.0), span(1, 1.9, 3.0), span(2, 1.95, 2.5)]))
    assert [(s.began_s, s.ended_s) for s in lane.spans] == [(1.0, 2.0), (2.0, 3.0), (3.0, 3.0)]


def test_a_span_of_a_slave_that_nobody_named_is_left_out() -> None:
    assert lanes(trace([span(0, 1.0, 2.0, slave=9)])) == []


def test_how_many_ran_at_once_follows_from_what_began_and_ended() -> None:
    spans = [span(0, 1.0, 2.0), span(1, 1.5, 3.0), span(2, 3.0, 4.0), span(3, 0.0, 9.0, slot=0)]
    assert busy(spans) == [(1.0, 1), (1.5, 2), (2.0, 1), (3.0, 1), (4.0, 0)]


# --- Chrome's format ----------------------------------------------------------------------------


@pytest.mark.parametrize("spans", [(), SPANS], ids=len)
def test_a_trace_has_the_fields_of_the_format_and_no_others(spans: tuple[Span, ...]) -> None:
    whole = json.loads(document(traced(trace(spans))))
    assert whole.keys() == {"traceEvents", "displayTimeUnit", "otherData"}
    assert whole["displayTimeUnit"] in ("ms", "ns")
    assert whole["otherData"]["left_out"] == 3
    for event in whole["traceEvents"]:
        must, may = FIELDS[event["ph"]]
        assert must | {"ph"} <= event.keys() <= must | may | {"ph"}, event
        assert isinstance(event["pid"], int)
        for field in ("ts", "dur"):
            assert isinstance(event.get(field, 0.0), int | float)
            assert event.get(field, 0.0) >= 0
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "process_sort_index", "thread_name")
        if event["ph"] == "C":
            assert all(isinstance(value, int) for value in event["args"].values())
        assert event.get("s", "t") in ("g", "p", "t")


def test_tasks_of_a_thread_follow_each_other_and_async_events_end() -> None:
    events = traced(trace())["traceEvents"]
    until: dict[tuple[int, int], float] = defaultdict(float)
    for event in events:
        if event["ph"] == "X" and event["cat"] == "task":
            thread = event["pid"], event["tid"]
            assert event["ts"] >= until[thread]
            until[thread] = event["ts"] + event["dur"]
    pairs: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event["ph"] in "be":
            pairs[event["pid"], event["cat"], event["id"]].append(event)
    assert len(pairs) == 2 * len(SPANS), "each waits, and each is transferred"
    for begin, end in pairs.values():
        assert (begin["ph"], end["ph"]) == ("b", "e")
        assert begin["name"] == end["name"] in ("wait", "transfer")
        assert begin["ts"] < end["ts"]


def test_a_trace_tells_tasks_waits_transfers_and_kills_in_microseconds() -> None:
    events = traced(trace())["traceEvents"]
    (task,) = [e for e in events if e["ph"] == "X" and e["name"] == "task 2"]
    assert (task["ts"], task["dur"], task["args"]["end"]) == (1e6, 3e6, "done")
    named = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert list(named.values()) == ["job j1", "slave dos", "slave uno"]
    assert named[task["pid"]] == "slave uno"
    assert {e["name"] for e in events if e["ph"] == "i"} == {
        "task 4: timeout", "task 5: lost", "task 6: lost",
    }  # fmt: skip


# --- The page -----------------------------------------------------------------------------------


class Page(HTMLParser):
    """Reads a page: what is in it, and whether each element is closed where it should be."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def story(**changed: Any) -> Story:
    kernel: Any = get("julia")
    params = kernel.parse({"algorithm": "Numpy", "width": 64, "height": 48, "tile": 16})
    counts = np.arange(64 * 48, dtype=np.uint32).reshape(48, 64) % 100
    usage = Usage(77, "signal SIGKILL", log=("it printed this",))
    attempt = AttemptInfo(4, 1, "uno", Status.TIMEOUT, 0.5, 1.0, "killed after a while", usage)
    usual: dict[str, Any] = {
        "trace": trace(), "attempts": (attempt,), "alerts": (alert(),),
        "picture": Overview(counts, 100), "tiles": kernel.split(params), "size": (64, 48),
        "mirrored": params.mirrored, "software": "hpczmq 1",
    }  # fmt: skip
    return Story(**usual | changed)


def test_a_report_is_one_page_with_all_of_it() -> None:
    read = Page(page(story()))
    for words in (
        "name of j1", "failed", "task 7: it raised", "Gantt chart", "Slots at work",
        "Time of a task", "4 tasks: median 1.00 s", "Where the time went", "it printed this",
        "CPU of s1", "3 further starts are not drawn", "of 2 slaves",
    ):  # fmt: skip
        assert words in read.text, words
    tags = [tag for tag, _ in read.elements]
    assert tags.count("svg") == 3
    assert tags.count("img") == 2
    assert tags.count("rect") > len(SPANS)
    assert "script" not in tags


def test_a_report_fetches_nothing() -> None:
    text = page(story())
    for tag, attributes in Page(text).elements:
        assert tag not in ("script", "link", "iframe", "object", "form", "base")
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "href"
            assert name != "src" or (value or "").startswith("data:image/png;base64,")
    assert "url(" not in text
    assert "://" not in text
    assert "default-src 'none'" in text


def test_charts_are_well_formed_by_themselves() -> None:
    text = page(story())
    for part in text.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + part.partition("</svg>")[0] + "</svg>")


@pytest.mark.parametrize(
    "changed",
    [
        {"trace": trace(())},
        {"picture": "the master does not know it"},
        {"picture": "", "tiles": (), "size": (0, 0)},
        {"alerts": None, "attempts": ()},
        {"alerts": ()},
        {"trace": trace([span(n, n / 1e3, n / 1e3 + 1e-3) for n in range(8000)])},
        {"trace": trace([span(0, 0.0, 0.0)])},
    ],
)
def test_a_report_of_anything_is_a_page(changed: dict[str, Any]) -> None:
    text = page(story(**changed))
    Page(text)
    assert len(text) < 2_000_000


def test_what_others_wrote_is_text_on_the_page() -> None:
    mark = '<script>alert(1)</script>"><img src=x onerror=alert(1)>&amp; '
    told = (HOSTILE + mark).replace("\ud800", "")
    info = replace(job("j1", JobState.FAILED), id=told, name=told, kernel=told, cause=told,
                   params=b"")  # fmt: skip
    usage = Usage(1, told, log=(told,))
    attempt = AttemptInfo(0, 1, told, Status.CRASH, 0.1, 0.1, told, usage)
    hostile = story(
        trace=replace(trace(), info=info, slaves=(told, told[::-1])),
        attempts=(attempt,), alerts=(replace(alert(told), text=told, severity=told),),
        picture=told, software=told,
    )  # fmt: skip
    text = page(hostile)
    read = Page(text)
    assert "script" not in [tag for tag, _ in read.elements]
    assert not any("onerror" in attributes for _, attributes in read.elements)
    assert not FORBIDDEN & {*text}
    assert "<script>alert(1)</script>" in read.text, "as it was written"
    whole = document(traced(hostile.trace))
    assert not FORBIDDEN - {"\u3164", "\ufe0f"} & {*whole}
