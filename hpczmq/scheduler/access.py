"""Who may do what with the cluster: the table of `roles`, and whose job is whose.

Everything here goes by the key with which a connection was made, as the shell has it from the
handshake. Somebody else's job is, to a client, one that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping

from hpczmq import limits, roles
from hpczmq.identity import Member
from hpczmq.messages import Ask, Cancel, Enrol, Fetch, Hello, Message, Reject, Taken
from hpczmq.model import About, Role
from hpczmq.scheduler import members
from hpczmq.scheduler.actions import Enlist, Note
from hpczmq.scheduler.answers import unknown_job
from hpczmq.scheduler.events import AccessChanged
from hpczmq.scheduler.jobs import JobRecord
from hpczmq.scheduler.state import ClusterState


def refusal(state: ClusterState, who: Member, message: Message) -> Reject | None:
    """The answer to a message that the holder of this key may not send; None: it may."""
    request = getattr(message, "request", 0)
    why = roles.refusal(who, message)
    if why:
        return Reject(request, "role", why[: limits.text_chars_max])
    match message:
        case Hello(role=Role.SLAVE):
            known = state.slaves.get(message.instance)
            if known is not None and known.who.key != who.key:
                return Reject(0, "role", "this slave's instance is known by another key")
        case Cancel(jobs=jobs):
            return _hidden(state, who, request, jobs)
        case Fetch(job=job):
            return _hidden(state, who, request, (job,))
        case Taken(job=job) if _hidden(state, who, 0, (job,)):
            return Reject(0, "unknown job", f"job {job} is not known here")
        case Ask(about=About.JOBS | About.EXPLAIN, names=names):
            return _hidden(state, who, request, tuple(name.partition("/")[0] for name in names))
        case _:
            pass
    return None


def _hidden(state: ClusterState, who: Member, request: int, jobs: tuple[str, ...]) -> Reject | None:
    """The answer to who names a job that is not there for it."""
    for id in jobs:
        job = state.jobs.get(id)
        if job is not None and not roles.owns(who, job.owner):
            return unknown_job(request, id)
    return None


def jobs_of(state: ClusterState, who: Member) -> Mapping[str, JobRecord]:
    """The jobs that are there for somebody, oldest first."""
    if roles.owns(who, b""):
        return state.jobs
    return {id: job for id, job in state.jobs.items() if job.owner == who.key}


def enrol(state: ClusterState, peer: bytes, who: Member, message: Enrol) -> None:
    """Somebody wants to join by a token; the shell has the tokens."""
    state.actions.append(Enlist(peer, message.request, message.token, message.name, who.key))


def change(state: ClusterState, event: AccessChanged, now: float) -> None:
    """Take the keys as they are now: who lost its key is forgotten, who is here hears the rest."""
    state.access = event.access
    for slave in [s for s in state.slaves.values() if s.peer is not None]:
        if slave.who.key in event.revoked:
            members.cut_off(state, slave, "its key was revoked", now)
        elif slave.peer is not None:
            members.tell_access(state, slave.peer, slave.who)
    for peer, client in list(state.clients.items()):
        if client.who.key in event.revoked:
            state.actions.append(Note(f"client {client.name} is cut off: its key was revoked"))
            members.leave(state, peer)
        else:
            members.tell_access(state, peer, client.who)
