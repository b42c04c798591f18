"""What a message counts for in the quota of its sender, and who of the many gets in.

Work costs nothing here: a new job, a report of a lease that its slave holds. The rest is charged by
what it takes to handle, before it is handled.
"""

from __future__ import annotations

from hpczmq import limits
from hpczmq.messages import (
    Ask,
    Cancel,
    Enrol,
    Fetch,
    Goodbye,
    Heartbeat,
    Hello,
    Message,
    Report,
    Submit,
)
from hpczmq.model import About, Role
from hpczmq.scheduler.state import ClusterState


def is_too_much(state: ClusterState, peer: bytes, message: Message, now: float) -> bool:
    """Charge a message to its sender; whether that one is muted from now on."""
    cost = _cost(state, peer, message)
    if not cost:
        return False
    # These are what all nodes say, and many of them together are no sign of a flood.
    alone = isinstance(message, Heartbeat | Hello | Fetch | Enrol)
    return state.quota.charge(peer, cost, now, alone=alone)


def _cost(state: ClusterState, peer: bytes, message: Message) -> float:
    match message:
        case Report():
            held = state.leases.get(message.lease)
            known = held is not None and held.holder == state.peers.get(peer)
            return 0.0 if known else 1.0 + len(message.outcomes) / 50
        case Submit():  # said again by whoever waits long for the answer
            return 0.25 if message.uid in state.uids else 0.0
        case Enrol():
            return limits.token_try_messages
        case Hello():
            return limits.hello_messages
        case Heartbeat():
            return 1.0 + len(message.leases) / 100
        case Fetch():
            return _again(state, peer, message)
        case Ask():
            rows = min(_rows(state, message) / limits.rows_per_message, limits.answer_messages_max)
            return 1.0 + rows
        case Cancel():
            return _ends_nothing(state, message)
        case Goodbye():
            return 0.0
        case _:
            return 1.0


def _again(state: ClusterState, peer: bytes, fetch: Fetch) -> float:
    """A client fetches each of its jobs every few seconds; what counts is what is sent again.
    The first time is free: one that comes back fetches all that it has at once.
    """
    client = state.clients.get(peer)
    watch = client.watches.get(fetch.job) if client else None
    if fetch.job not in state.jobs:
        return 1.0
    if client is not None and watch is None:
        return 0.0
    resent = 0
    if watch is not None and watch.request != fetch.request:
        resent = min(max(0, watch.cursor - fetch.cursor), fetch.credit)
    return 0.05 + resent


def _ends_nothing(state: ClusterState, cancel: Cancel) -> float:
    """To end an open job is work: somebody submitted it."""
    if cancel.ended or cancel.queued:
        return 1.0 + len(state.jobs) / 50
    jobs = [state.jobs.get(id) for id in cancel.jobs]
    idle = sum(job is None or job.state.ended for job in jobs)
    return 1.0 + idle / 50 if idle else 0.0


def _rows(state: ClusterState, ask: Ask) -> int:
    """How much is looked at for an answer."""
    if ask.about is About.STATUS:
        return len(state.jobs) // 20
    if ask.about is About.SLAVES:
        return len(state.slaves)
    if ask.about is About.EVENTS:
        return len(state.happenings)
    if ask.about is About.TRACE:
        return sum(len(state.jobs[id].spans) for id in ask.names[:1] if id in state.jobs)
    return len(ask.names) or len(state.jobs)


def lets_in(state: ClusterState, peer: bytes, hello: Hello, now: float) -> bool:
    """Whether a node that says hello may come in just now. Who is a member already is welcome.

    One that is not let in is not answered, and says hello again: in a storm the answers would cost
    more than the newcomers.
    """
    known = hello.instance in state.slaves if hello.role is Role.SLAVE else peer in state.clients
    if not known and not state.quota.newcomer(now):
        state.quota.count("newcomers")
        return False
    return True
