"""Who may say what: the table of roles and message kinds. Pure.

The role is that of the key with which a connection was made; what a message says of its sender
counts for nothing. `docs/security.md` has the table for people.
"""

from __future__ import annotations

from typing import Final

from hpczmq.identity import KeyRole, Member
from hpczmq.messages import (
    Acknowledge,
    AlertsAnswer,
    Ask,
    AskHistory,
    Cancel,
    Drain,
    Enrol,
    Fetch,
    Goodbye,
    Heartbeat,
    Hello,
    Message,
    Ping,
    Report,
    Return,
    SetPolicy,
    Submit,
    Taken,
    VitalsReport,
)
from hpczmq.model import Role

_R = KeyRole
_MEMBERS: Final = frozenset(_R) - {_R.NEWCOMER}
_READERS: Final = frozenset({_R.ADMIN, _R.CLIENT, _R.VIEWER})

#: Which roles may send each kind to a node; a kind that is not here nobody may.
MAY_SAY: Final[dict[type[Message], frozenset[KeyRole]]] = {
    Hello: _MEMBERS,
    Heartbeat: _MEMBERS,
    Goodbye: _MEMBERS,
    Ping: _MEMBERS,
    Ask: _MEMBERS - {_R.SLAVE},
    AskHistory: _READERS | {_R.MEMORIA, _R.STANDBY},
    Acknowledge: frozenset({_R.ADMIN, _R.CLIENT}),
    Fetch: _READERS,
    Taken: _READERS,
    Submit: frozenset({_R.ADMIN, _R.CLIENT}),
    Cancel: frozenset({_R.ADMIN, _R.CLIENT}),
    SetPolicy: frozenset({_R.ADMIN}),
    Drain: frozenset({_R.ADMIN}),
    Report: frozenset({_R.SLAVE}),
    Return: frozenset({_R.SLAVE}),
    AlertsAnswer: frozenset({_R.MEMORIA}),
    VitalsReport: frozenset({_R.SLAVE, _R.MEMORIA}),
    Enrol: frozenset({_R.NEWCOMER}),
}

#: What a node may say that it is, by the role of its key.
MAY_BE: Final[dict[Role, frozenset[KeyRole]]] = {
    Role.CLIENT: _READERS | {_R.STANDBY, _R.RELAY},
    Role.SLAVE: frozenset({_R.SLAVE}),
    Role.MEMORIA: frozenset({_R.MEMORIA}),
    Role.MASTER: frozenset(),
}

#: Who sees and ends everybody's jobs; a client sees its own.
SEES_ALL: Final = frozenset(_R) - {_R.CLIENT, _R.SLAVE, _R.NEWCOMER}
#: Who may ask a memoria or a slave directly.
MAY_ASK_NODES: Final = _READERS | {_R.MEMORIA, _R.STANDBY}


def refusal(who: Member, message: Message) -> str:
    """Why the holder of a key may not send a message; empty: it may.

    Where keys are not asked for everybody is `ANYBODY`, whose key is empty: nothing is refused.
    """
    if not who.key:
        return ""
    if who.role is KeyRole.NEWCOMER and not isinstance(message, Enrol):
        return "this key is none of the cluster's: an admin adds it with `hpczmq keys add`"
    may, what = MAY_SAY.get(type(message), frozenset()), f"send {type(message).__name__}"
    if isinstance(message, Hello):
        may, what = MAY_BE[message.role], f"be a {message.role.name.lower()}"
    if who.role in may:
        return ""
    able = ", ".join(role.name.lower() for role in sorted(may)) or "nobody"
    role = who.role.name.lower()
    return f"the key of {who.name} has the role {role} and may not {what}: {able} may"


def owns(who: Member, owner: bytes) -> bool:
    """Whether somebody may see, take and (if its role may end any) end the job of this key."""
    return not who.key or who.role in SEES_ALL or who.key == owner
