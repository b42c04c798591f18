"""What happened, for `events` and `top`: the last `events_kept_max` of it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpczmq import limits
from hpczmq.happened import EventInfo
from hpczmq.messages import Ask, EventsAnswer
from hpczmq.scheduler.actions import Note

if TYPE_CHECKING:
    from hpczmq.scheduler.state import ClusterState


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened."""

    at_s: float
    kind: str
    #: Names; empty: it is about no node, or no job.
    node: str
    job: str
    text: str


def record(state: ClusterState, kind: str, text: str, *, node: str = "", job: str = "") -> None:
    """Remember something; the oldest is forgotten for it."""
    cut = text[: limits.text_chars_max]
    state.happenings.append(Happening(state.now_s, kind, node, job, cut))


def note(state: ClusterState, kind: str, text: str, *, node: str = "", job: str = "") -> None:
    """Remember something, and have it written to the log."""
    record(state, kind, text, node=node, job=job)
    state.actions.append(Note(text))


def answer(state: ClusterState, ask: Ask, jobs: Container[str], now: float) -> EventsAnswer:
    """The answer to EVENTS; `names` narrows it to some nodes. Who does not see all jobs hears of
    its own, and nothing of other clients.
    """
    sees_all = jobs is state.jobs
    rows = [
        EventInfo(max(0.0, now - one.at_s), one.kind, one.node, one.job, one.text)
        for one in state.happenings
        if not ask.names or one.node in ask.names
        if sees_all or (one.job in jobs if one.job else one.kind != "client")
    ]
    return EventsAnswer(ask.request, tuple(rows))
