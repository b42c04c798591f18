"""A job's tasks in Chrome's trace format, which Perfetto and `chrome://tracing` open. Pure.

    a process a slave, a thread a slot      tasks, as complete events (`X`), with how they ended
    async events beside them (`b`, `e`)     `wait`: handed out until it began;
                                            `transfer`: ended until the master was told
    instant events (`i`)                    a worker that was killed, or died
    a process for the job                   how long it waited and ran; busy slots as counter (`C`)

Times are microseconds since the submit. The format: "Trace Event Format", by the Chromium authors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from hpczmq.happened import Span, SpanEnd
from hpczmq.lanes import KILLED, busy, lanes
from hpczmq.messages import TraceAnswer
from hpczmq.plain import shown

Event = dict[str, Any]
#: The process of the job itself; those of slaves follow.
_JOB: Final = 1
#: Colours by the names that the format has for them.
_COLOURS: Final = {
    SpanEnd.DONE: "good",
    SpanEnd.ERROR: "terrible",
    SpanEnd.CRASH: "terrible",
    SpanEnd.TIMEOUT: "bad",
    SpanEnd.LOST: "black",
    SpanEnd.REVOKED: "grey",
}


def document(trace: TraceAnswer) -> dict[str, Any]:
    """The whole file, as JSON's values."""
    info = trace.info
    return {
        "traceEvents": list(_events(trace)),
        "displayTimeUnit": "ms",
        "otherData": {
            "job": shown(info.id),
            "name": shown(info.name),
            "state": info.state.name.lower(),
            "tasks": info.tasks,
            "left_out": trace.left_out,
        },
    }


def _events(trace: TraceAnswer) -> Iterator[Event]:
    info = trace.info
    name = shown(info.name or info.id)
    yield from _named(_JOB, f"job {shown(info.id)}", 0)
    yield _complete("waits", "job", _JOB, 1, 0.0, info.waited_s, {})
    told = {"state": info.state.name.lower(), "cause": shown(info.cause, 1000)}
    yield _complete(name, "job", _JOB, 1, info.waited_s, info.waited_s + info.ran_s, told)
    yield _thread(_JOB, 1, "the job")
    for when, many in busy(trace.spans):
        counter = {"ph": "C", "name": "busy slots", "pid": _JOB, "ts": _us(when)}
        yield counter | {"args": {"slots": many}}
    pids: dict[str, int] = {}
    number = 0
    for row, lane in enumerate(lanes(trace), 1):
        if lane.slave not in pids:
            pids[lane.slave] = _JOB + 1 + len(pids)
            yield from _named(pids[lane.slave], f"slave {shown(lane.slave)}", pids[lane.slave])
        pid = pids[lane.slave]
        yield _thread(pid, row, lane.label)
        for span in lane.spans:
            number += 1
            yield from _span(span, pid, row, number)


def _span(span: Span, pid: int, tid: int, number: int) -> Iterator[Event]:
    name, how = f"task {span.task}", span.end.name.lower()
    told = {"task": span.task, "end": how, "seconds": span.ended_s - span.began_s}
    done = _complete(name, "task", pid, tid, span.began_s, span.ended_s, told)
    yield done | {"cname": _COLOURS[span.end]}
    if span.end in KILLED:
        what = {"ph": "i", "s": "t", "name": f"{name}: {how}", "cat": "kill"}
        yield what | {"pid": pid, "tid": tid, "ts": _us(span.ended_s)}
    waits = ("wait", span.sent_s, span.began_s), ("transfer", span.ended_s, span.told_s)
    for kind, begin_s, end_s in waits:
        if end_s > begin_s:
            common = {"name": kind, "cat": kind, "id": number, "pid": pid, "tid": tid}
            yield {"ph": "b", "ts": _us(begin_s), "args": {"task": span.task}} | common
            yield {"ph": "e", "ts": _us(end_s)} | common


def _complete(
    name: str, category: str, pid: int, tid: int, begin_s: float, end_s: float, args: Event
) -> Event:
    begin, end = _us(begin_s), _us(end_s)
    return {
        "ph": "X", "name": name, "cat": category, "pid": pid, "tid": tid, "ts": begin,
        "dur": round(max(0.0, end - begin), 3), "args": args,
    }  # fmt: skip


def _named(pid: int, name: str, order: int) -> Iterator[Event]:
    common = {"ph": "M", "pid": pid, "tid": 0}
    yield common | {"name": "process_name", "args": {"name": name}}
    yield common | {"name": "process_sort_index", "args": {"sort_index": order}}


def _thread(pid: int, tid: int, name: str) -> Event:
    return {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 3)
