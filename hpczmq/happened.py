"""What the master tells of the past: starts of tasks with their times, and things that happened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from hpczmq.model import Count, Name, Seconds, Text


class SpanEnd(IntEnum):
    """How one start of a task ended."""

    DONE = 1  # with a result
    ERROR = 2  # the kernel raised
    CRASH = 3  # its worker died
    TIMEOUT = 4  # its worker was killed after `timeout_s`
    LOST = 5  # its slave was lost, or has handed it back
    REVOKED = 6  # nobody wanted it any more: it was killed


class Span(NamedTuple):
    """One start of a task: where, and when. Times are seconds since the submit of its job, on the
    master's clock."""

    task: Count
    #: Number of the slave in the list of names beside it.
    slave: Count
    #: From 1 on; 0: nobody knows which.
    slot: Count
    end: SpanEnd
    #: When it was handed out, when it ran, and when the master was told.
    sent_s: Seconds
    began_s: Seconds
    ended_s: Seconds
    told_s: Seconds


@dataclass(frozen=True, slots=True)
class EventInfo:
    """Something that happened, as `events` shows it."""

    age_s: Seconds
    #: One word: "slave", "job", "task", …
    kind: Name
    #: Whom it is about; empty: no node, or no job.
    node: Name
    job: Name
    text: Text
