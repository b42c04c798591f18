"""Every message kind of the protocol: typed, frozen, without behaviour.

A message travels as three parts: the protocol's name, one msgpack array ``[kind, fields…]``, and
raw buffers for the pixels. `KINDS` numbers the kinds; a number is never used again for another
kind. Bounds stand in the annotations (`model.Bounds`) and are checked by `wire` when it decodes,
so that no machine ever sees a value out of its range.
A `request` is a number that the asker chooses and the answer repeats; 0 means "no request".
"""

from __future__ import annotations

from typing import Final

from hpczmq.messages.client import (
    Ask,
    Cancel,
    Chunk,
    ClusterAnswer,
    Done,
    Drain,
    Ended,
    EventsAnswer,
    ExplainAnswer,
    Fetch,
    JobsAnswer,
    SetPolicy,
    SlavesAnswer,
    Submit,
    Submitted,
    Taken,
    TraceAnswer,
)
from hpczmq.messages.everyone import (
    Control,
    Goodbye,
    Hello,
    Introduce,
    Ping,
    Pong,
    Reject,
    Welcome,
)
from hpczmq.messages.keys import Access, Enrol, Enrolled
from hpczmq.messages.memoria import (
    Acknowledge,
    AlertsAnswer,
    AskHistory,
    HistoryAnswer,
    MetricsAnswer,
    Pulse,
    Run,
    Sample,
    VitalsReport,
)
from hpczmq.messages.slave import (
    Ack,
    Assign,
    Beat,
    Heartbeat,
    Report,
    Return,
    Revoke,
)

#: Grows when a peer of the older number can't be understood any more.
PROTOCOL: Final = 6

Message = (
    Hello | Welcome | Introduce | Reject | Ping | Pong | Goodbye | Control
    | Access | Enrol | Enrolled
    | Assign | Revoke | Report | Ack | Heartbeat | Beat | Return
    | Submit | Submitted | Fetch | Chunk | Ended | Ask | ClusterAnswer | JobsAnswer | SlavesAnswer
    | Cancel | SetPolicy | Done | ExplainAnswer | Drain | Taken | EventsAnswer | TraceAnswer
    | Sample | MetricsAnswer | AlertsAnswer | VitalsReport | Pulse
    | AskHistory | HistoryAnswer | Acknowledge
)  # fmt: skip

#: Number of each kind on the wire.
KINDS: Final[dict[int, type[Message]]] = {
    1: Hello, 2: Welcome, 3: Introduce, 4: Reject, 5: Ping, 6: Pong, 7: Goodbye, 8: Control,
    9: Access, 10: Enrol, 11: Enrolled,
    16: Assign, 17: Revoke, 18: Report, 19: Ack, 20: Heartbeat, 21: Beat, 22: Return,
    32: Submit, 33: Submitted, 34: Fetch, 35: Chunk, 36: Ended, 37: Ask, 38: ClusterAnswer,
    39: JobsAnswer, 40: SlavesAnswer, 41: Cancel, 42: SetPolicy, 43: Done, 44: ExplainAnswer,
    45: Drain, 46: Taken, 64: EventsAnswer, 65: TraceAnswer,
    48: Sample, 49: MetricsAnswer, 50: AlertsAnswer, 51: VitalsReport, 52: Pulse,
    53: AskHistory, 54: HistoryAnswer, 55: Acknowledge,
}  # fmt: skip

__all__ = [
    "KINDS",
    "PROTOCOL",
    "Access",
    "Ack",
    "Acknowledge",
    "AlertsAnswer",
    "Ask",
    "AskHistory",
    "Assign",
    "Beat",
    "Cancel",
    "Chunk",
    "ClusterAnswer",
    "Control",
    "Done",
    "Drain",
    "Ended",
    "Enrol",
    "Enrolled",
    "EventsAnswer",
    "ExplainAnswer",
    "Fetch",
    "Goodbye",
    "Heartbeat",
    "Hello",
    "HistoryAnswer",
    "Introduce",
    "JobsAnswer",
    "Message",
    "MetricsAnswer",
    "Ping",
    "Pong",
    "Pulse",
    "Reject",
    "Report",
    "Return",
    "Revoke",
    "Run",
    "Sample",
    "SetPolicy",
    "SlavesAnswer",
    "Submit",
    "Submitted",
    "Taken",
    "TraceAnswer",
    "VitalsReport",
    "Welcome",
]
