"""The format of the wire, pinned; its bounds; and what it refuses."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any

import msgpack
import pytest

from hpczmq import limits, messages, model, wire
from hpczmq.errors import ProtocolError
from hpczmq.messages import (
    KINDS,
    AlertsAnswer,
    Assign,
    Beat,
    Control,
    Fetch,
    Heartbeat,
    Hello,
    Introduce,
    Pulse,
    Report,
    Sample,
    SetPolicy,
    Submit,
    Submitted,
    VitalsReport,
)
from hpczmq.model import Metrics, Outcome, Role, Status, Task

#: The format. A change here is a change of the protocol: nodes of two versions no longer
#: understand each other, and `PROTOCOL` has to grow with it.
FORMAT = {
    1: "Hello role name instance protocol software slots capabilities leases address"
    " memory_bytes labels",
    2: "Welcome cluster queue fresh epoch heartbeat_s control_port control",
    3: "Introduce",
    4: "Reject request code reason",
    5: "Ping request",
    6: "Pong request role name software metrics",
    7: "Goodbye reason",
    8: "Control epoch generation policy closing",
    9: "Access readers next_key",
    10: "Enrol request token name",
    11: "Enrolled request name role",
    16: "Assign lease job kernel params items tasks timeout_s",
    17: "Revoke leases",
    18: "Report report lease job outcomes usage queue slot began_s at_s",
    19: "Ack reports",
    20: "Heartbeat sequence metrics leases generation draining",
    21: "Beat sequence",
    22: "Return leases",
    32: "Submit request uid kernel params items name priority timeout_s requires retries"
    " deadline_s costs",
    33: "Submitted request job tasks",
    34: "Fetch request job cursor credit queue",
    35: "Chunk job cursor slave outcomes",
    36: "Ended request chunks info",
    37: "Ask request about names",
    38: "ClusterAnswer request info",
    39: "JobsAnswer request jobs",
    40: "SlavesAnswer request slaves",
    41: "Cancel request jobs queued ended queue",
    42: "SetPolicy request policy",
    43: "Done request names",
    44: "ExplainAnswer request id state reasons attempts",
    45: "Drain request slaves undo",
    46: "Taken job whole queue",
    48: "Sample node instance metrics role",
    49: "MetricsAnswer request nodes",
    50: "AlertsAnswer request alerts",
    51: "VitalsReport node instance vitals",
    52: "Pulse findings",
    53: "AskHistory request since_s until_s step_s nodes after after_s",
    55: "Acknowledge request ids",
    54: "HistoryAnswer request step_s columns runs more",
    64: "EventsAnswer request events",
    65: "TraceAnswer request info age_s slaves spans left_out",
}
#: The end of a report that does not say when it was.
NO_TIMES = "00" + 2 * "cb0000000000000000"
#: What stands inside messages.
INSIDE = {
    "Task": "index spec",
    "Outcome": "index status seconds value",
    "Usage": "pid exit user_s system_s peak_bytes log",
    "AttemptInfo": "task tasks slave status seconds age_s text usage",
    "Metrics": "cpu_percent own_cpu_percent memory_percent memory_free_bytes load latency_s"
    " slots_busy tasks_held tasks_done tasks_failed errors crashes timeouts tasks_again"
    " result_bytes jitter_s swap_percent disk_percent received_bytes_per_s sent_bytes_per_s"
    " disk_read_bytes_per_s disk_written_bytes_per_s own_memory_bytes descriptors_percent"
    " temperature_c clock_s",
    "WorkerVitals": "pid cpu_percent memory_bytes",
    "Vitals": "cores_percent cores contained memory_bytes memory_used_bytes swap_bytes"
    " swap_used_bytes disk_bytes disk_free_bytes descriptors descriptors_max workers",
    "Finding": "metric subject value",
    "JobInfo": "id name kernel params priority state tasks done failed running waited_s ran_s"
    " attempts cause",
    "SlaveInfo": "name instance address state slots leases tasks silent_s generation metrics"
    " memory_bytes labels reason software",
    "Requires": "memory_bytes slots labels",
    "ClusterInfo": "cluster epoch software up_s policy generation slaves slots jobs_queued"
    " jobs_running jobs_ended tasks_waiting tasks_running tasks_done clients frames_dropped"
    " memorias connections refused insecure",
    "Refusal": "code times",
    "Alert": "rule node severity text value age_s id state raised_s cleared_s",
    "NodeMetrics": "node age_s metrics vitals",
}
ENUMS = {
    "Role": "CLIENT=1 SLAVE=2 MEMORIA=3 MASTER=4",
    "JobState": "QUEUED=1 RUNNING=2 DONE=3 FAILED=4 CANCELLED=5",
    "SlaveState": "READY=1 SILENT=2 LOST=3 LEFT=4 DRAINING=5 QUARANTINED=6",
    "Status": "VALUE=1 ARRAY=2 ERROR=3 CRASH=4 TIMEOUT=5",
    "AlertState": "PENDING=1 ACTIVE=2 ACKNOWLEDGED=3 CLEARED=4",
    "About": "STATUS=1 JOBS=2 SLAVES=3 METRICS=4 ALERTS=5 EXPLAIN=6 EVENTS=7 TRACE=8 ALERT_LOG=9",
}
ZERO = "cb" + 16 * "0"
BEAT = Heartbeat(7, Metrics(cpu_percent=1.5, tasks_done=3), (4, 300), 2)


def body(*values: Any) -> list[wire.Buffer]:
    return [wire.MAGIC, msgpack.packb(list(values))]


def names(cls: Any) -> str:
    return " ".join([f.name for f in fields(cls)] if is_dataclass(cls) else cls._fields)


def refused(frames: list[wire.Buffer]) -> ProtocolError:
    with pytest.raises(ProtocolError) as raised:
        wire.decode(frames)
    return raised.value


# --- The format, pinned -------------------------------------------------------------------------


def test_the_kinds_and_their_fields_are_those_of_this_protocol() -> None:
    found = {number: f"{cls.__name__} {names(cls)}".strip() for number, cls in KINDS.items()}
    assert found == FORMAT, "then PROTOCOL must grow too"
    assert messages.PROTOCOL == 6


def test_what_stands_inside_messages_is_that_of_this_protocol() -> None:
    assert {name: names(getattr(model, name)) for name in INSIDE} == INSIDE
    found = {
        name: " ".join(f"{member.name}={member.value}" for member in getattr(model, name))
        for name in ENUMS
    }
    assert found == ENUMS


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Introduce(), "9103"),
        (Beat(1), "921501"),
        (Submitted(1, "j1", 70_000), "942101a26a31ce00011170"),
        (Control(1, 2, "x", True), "95080102a178c3"),
        (
            Report(
                1,
                2,
                "j1",
                (Outcome(0, Status.VALUE, 0.5, b"v"), Outcome(9, Status.CRASH, 0.0, b"")),
            ),
            "9a120102a26a319492000992010492cb3fe0000000000000cb000000000000000092c40176c400"
            "9600a0cb0000000000000000cb00000000000000000090c410" + 16 * "00" + NO_TIMES,
        ),
        (
            Report(1, 2, "j1", ()),
            "9a120102a26a3194909090909600a0cb0000000000000000cb00000000000000000090c410"
            + 16 * "00"
            + NO_TIMES,
        ),
        (
            BEAT,
            "961407"
            "dc001a"
            + "cb3ff8000000000000"
            + 2 * ZERO
            + "00"
            + 2 * ZERO
            + "00000300"
            + 5 * "00"
            + 7 * ZERO
            + "00"
            + 3 * ZERO
            + "9204cd012c02c2",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_messages_are_these_bytes(message: messages.Message, expected: str) -> None:
    frames = wire.encode(message)
    assert bytes(frames[0]) == b"HZ1"
    assert bytes(frames[1]).hex() == expected
    assert wire.decode(frames)[0] == message


def test_topics_begin_with_the_name_of_the_protocol_and_differ() -> None:
    metrics = dict.fromkeys((Sample, VitalsReport, Pulse), b"HZ1m")
    assert {Control: b"HZ1c", **metrics, AlertsAnswer: b"HZ1a"} == wire.TOPICS


def test_buffers_follow_untouched() -> None:
    pixels = memoryview(b"pixels")
    frames = wire.encode(Introduce(), [pixels, b""])
    assert frames[2] is pixels
    assert list(wire.decode(frames)[1]) == [pixels, b""]


def test_a_hello_of_another_protocol_is_told_so_even_when_it_can_not_be_read() -> None:
    """Or the slave of an older version would be told that it has a field too few."""
    older = body(1, 2, "s1", bytes(16), 1, "hpczmq 0.1", 1, [], [], "")
    error = refused(older)
    assert error.code == "protocol"
    assert f"s1 speaks protocol 1, here {messages.PROTOCOL} is spoken: install" in error.reason
    nameless = refused(body(1, 2, b"s1", bytes(16), 1, "hpczmq 0.1", 1, [], [], ""))
    assert nameless.reason.startswith("this speaks protocol 1")
    assert refused(body(1, 2, "s1", bytes(16), "1")).code == "fields"


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([], "magic"),
        ([b"HZ1"], "magic"),
        ([b"HZ2", b"\x91\x03"], "magic"),
        ([b"HZ1x", b"\x91\x03"], "magic"),
        ([b"HZ1" + b"x" * 1000, b"\x91\x03"], "magic"),
        ([b"HZ1", b""], "msgpack"),
        ([b"HZ1", b"\x91\x03\x00"], "msgpack"),
        ([b"HZ1", b"\xc0"], "kind"),
        ([b"HZ1", b"\x90"], "kind"),
        ([b"HZ1", b"\x91\xc3"], "kind"),
        ([b"HZ1", b"\x91\x0f"], "kind"),
        ([b"HZ1", b"\x81\x00\x00"], "msgpack"),
        ([b"HZ1", b"\x92\x03\x00"], "fields"),
    ],
)
def test_frames_that_are_no_message_are_refused(frames: list[wire.Buffer], code: str) -> None:
    assert refused(frames).code == code


def hello(**changed: Any) -> list[wire.Buffer]:
    """A hello in which some fields have another value, whatever their type."""
    whole = Hello(Role.SLAVE, "s1", bytes(16), 1, "v", 2, ("echo",), (1,), "")
    values = {f.name: getattr(whole, f.name) for f in fields(Hello)} | changed
    return body(1, *values.values())


@pytest.mark.parametrize(
    "changed",
    [
        {"role": 9},
        {"role": True},
        {"role": 2.0},
        {"name": "n" * (limits.name_chars_max + 1)},
        {"name": b"s1"},
        {"name": None},
        {"instance": bytes(15)},
        {"instance": bytes(17)},
        {"instance": "x" * 16},
        {"protocol": -1},
        {"protocol": 2**63},
        {"protocol": 1.0},
        {"software": "v" * (limits.text_chars_max + 1)},
        {"slots": limits.slots_max + 1},
        {"slots": True},
        {"capabilities": "echo"},
        {"capabilities": [1]},
        {"capabilities": ["x"] * (limits.capabilities_max + 1)},
        {"leases": [1, -1]},
        {"leases": {"1": 1}},
    ],
    ids=str,
)
def test_a_field_out_of_its_bounds_is_refused(changed: dict[str, Any]) -> None:
    wire.decode(hello())
    assert refused(hello(**changed)).code in ("type", "bounds")


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "é" * limits.name_chars_max},
        {"slots": limits.slots_max},
        {"slots": 0},
        {"protocol": 2**63 - 1},
        {"capabilities": ["x"] * limits.capabilities_max},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_bounds_themselves_are_allowed(changed: dict[str, Any]) -> None:
    wire.decode(hello(**changed))


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, -0.001, 1e13, "1", None, True])
def test_seconds_that_are_no_seconds_are_refused_alone_and_in_columns(seconds: Any) -> None:
    refused(body(2, "c", 1, seconds, 5011, [1, 1, "p", False]))
    refused(body(18, 1, 1, "j1", [[0, 1], [1, 1], [0.5, seconds], [b"", b""]]))
    refused(body(18, 1, 1, "j1", [[0, 1], [1, 1], [seconds, 0.5], [b"", b""]]))


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [[], [], []],
        [[], [], [], [], []],
        [[0], [1], [0.5], []],
        [[0], [1], [0.5], b"v"],
        [[0], [9], [0.5], [b"v"]],
        [[0], [True], [0.5], [b"v"]],
        [[-1], [1], [0.5], [b"v"]],
        [[2**63], [1], [0.5], [b"v"]],
        [[0], [1], [0.5], ["v"]],
        [[0, "1"], [1, 1], [0.5, 0.5], [b"v", b"v"]],
        [[0] * 513, [1] * 513, [0.5] * 513, [b""] * 513],
        None,
        {"index": 0},
    ],
    ids=lambda columns: str(columns)[:30],
)
def test_rows_that_do_not_make_a_table_are_refused(columns: Any) -> None:
    refused(body(18, 1, 1, "j1", columns))


def test_a_lease_without_tasks_is_refused() -> None:
    whole = Assign(1, "j1", "echo", b"", False, (Task(0, b""),), 0.0)
    assert wire.decode(wire.encode(whole))[0] == whole
    assert refused(body(16, 1, "j1", "echo", b"", False, [[], []], 0.0)).code == "bounds"


@pytest.mark.parametrize("credit", [0, limits.chunk_credit + 1])
def test_credit_has_its_bounds(credit: int) -> None:
    wire.decode(wire.encode(Fetch(1, "j1", 0, limits.chunk_credit)))
    assert refused(body(34, 1, "j1", 0, credit, bytes(16))).code == "type"


@pytest.mark.parametrize("depth", [100, 1_000, 1_000_000])
def test_a_bomb_of_nested_lists_is_refused(depth: int) -> None:
    refused([wire.MAGIC, b"\x91" * depth + b"\xc0"])
    refused([wire.MAGIC, b"\x92\x0b" + b"\x91" * depth + b"\xc0"])
    refused([wire.MAGIC, b"\x81\xa1k" * depth + b"\xc0"])


@pytest.mark.parametrize(
    "bomb", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\x7f"]
)
def test_a_size_that_is_not_there_is_refused_without_making_room_for_it(bomb: bytes) -> None:
    assert refused([wire.MAGIC, b"\x92\x05" + bomb]).code == "msgpack"


@pytest.mark.parametrize("code", [0, 5, 127, 128, 254])
def test_extension_types_are_refused(code: int) -> None:
    extension = b"\xd4" + bytes([code]) + b"a"
    assert refused([wire.MAGIC, b"\x92\x05" + extension]).code == "msgpack"
    with pytest.raises(ProtocolError):
        wire.unpack(extension)


def test_a_timestamp_is_a_plain_number() -> None:
    """msgpack reads this extension by itself, and would make one of its own objects of it."""
    assert wire.unpack(b"\xd6\xff\x00\x00\x00\x02") == 2.0
    assert refused([wire.MAGIC, b"\x92\x05\xd6\xff\x00\x00\x00\x02"]).code == "type"
    with pytest.raises(ProtocolError, match=r"timestamp|Unpack failed"):
        wire.unpack(b"\xc7\x03\xffabc")


def test_too_many_or_too_large_buffers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "buffers_max", 2)
    monkeypatch.setattr(limits, "buffer_bytes_max", 3)
    wire.decode(wire.encode(Introduce(), [b"123", b""]))
    assert refused(wire.encode(Introduce(), [b"", b"", b""])).code == "bounds"
    assert refused(wire.encode(Introduce(), [b"1234"])).code == "bounds"


def test_a_body_that_is_too_large_is_refused_and_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = wire.encode(SetPolicy(1, "policy"))
    monkeypatch.setattr(limits, "body_bytes_max", 8)
    assert refused(frames).code == "bounds"
    with pytest.raises(AssertionError, match="SetPolicy is too large to send"):
        wire.encode(SetPolicy(1, "policy"))


@pytest.mark.parametrize(
    "value", [[None] * 10_000, {"k" * 99: "v" * 9_999}, "x" * 9_999, b"x" * 99]
)
def test_a_refusal_shows_what_it_refuses_in_a_few_words(value: Any) -> None:
    """And does not spell out megabytes first."""
    text = str(refused(body(5, value)))
    assert len(text) < 150
    assert "None, None" not in text
    assert "is no int" in text


# --- Plain values -------------------------------------------------------------------------------


def test_lists_come_back_as_tuples_or_as_lists() -> None:
    assert wire.unpack(wire.pack([1, [2]])) == (1, (2,))
    assert wire.unpack(wire.pack([1, (2,)]), lists=True) == [1, [2]]


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, 2**64, -(2**63) - 1, "\ud800", {1: 2}, [{"k": {None: 1}}]], ids=str
)
def test_what_can_not_travel_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        wire.pack(value)


def test_whole_numbers_are_taken_where_a_real_one_is_meant() -> None:
    frames = body(32, 1, bytes(16), "echo", b"", [b"", b""], "", 2, 3, [0, 1, []], 0, 0, b"")
    message, _ = wire.decode(frames)
    assert isinstance(message, Submit)
    assert (message.timeout_s, type(message.timeout_s)) == (3.0, float)
