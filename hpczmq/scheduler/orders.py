"""What clients order: to end or forget jobs, to keep work from slaves, to choose another policy."""

from __future__ import annotations

from typing import assert_never

from hpczmq import limits
from hpczmq.identity import Member
from hpczmq.messages import Cancel, Control, Done, Drain, Message, Reject, SetPolicy
from hpczmq.model import JobState, Policy, SlaveState
from hpczmq.scheduler import access, admission, chronicle, ledger, members
from hpczmq.scheduler.actions import Publish
from hpczmq.scheduler.answers import unknown_job
from hpczmq.scheduler.state import ClusterState


def once(
    state: ClusterState,
    peer: bytes,
    who: Member,
    order: Cancel | SetPolicy | Drain,
    now: float,
) -> Message:
    """Carry an order out. Said again, since its answer was lost, it is only answered again:
    a second `clear` would end what was submitted since."""
    orders, instance = state.orders, state.clients[peer].instance
    key = who.key, instance, order.request
    known = orders.get(key) if order.request else None
    if known is not None:
        return known
    match order:
        case Cancel():
            done = _cancel(state, order, who, now)
        case SetPolicy():
            done = _set_policy(state, order)
        case Drain():
            done = _drain(state, order, now)
        case _:
            assert_never(order)
    orders[key] = done
    if len(orders) > limits.orders_known_max:
        del orders[next(iter(orders))]
    return done


def _cancel(state: ClusterState, cancel: Cancel, who: Member, now: float) -> Message:
    jobs = access.jobs_of(state, who)
    unknown = [id for id in cancel.jobs if id not in jobs]
    if unknown:
        return unknown_job(cancel.request, unknown[0])
    if cancel.ended:
        over = [id for id in cancel.jobs or state.ended if id in jobs and jobs[id].state.ended]
        for id in dict.fromkeys(over):
            admission.forget(state, id)
        return Done(cancel.request, tuple(dict.fromkeys(over)))
    if cancel.queued:
        chosen = [job for job in jobs.values() if job.state is JobState.QUEUED]
    else:
        chosen = [jobs[id] for id in dict.fromkeys(cancel.jobs)]
    done = [job for job in chosen if not job.state.ended]
    for job in done:
        ledger.end(state, job, JobState.CANCELLED, "cancelled by a client", now)
    return Done(cancel.request, tuple(job.id for job in done))


def _drain(state: ClusterState, drain: Drain, now: float) -> Message:
    here = [slave for slave in state.slaves.values() if not slave.state.gone]
    chosen = [slave for slave in here if slave.name in drain.slaves]
    unknown = [name for name in drain.slaves if name not in {slave.name for slave in chosen}]
    if unknown:
        reason = f"no slave {unknown[0]} is here: `hpczmq slaves` lists those that are"
        return Reject(drain.request, "unknown slave", _cut(reason))
    for slave in chosen:
        if drain.undo:
            members.open_again(state, slave)
        else:
            members.close(state, slave, SlaveState.DRAINING, "drained by a client", now)
    return Done(drain.request, tuple(dict.fromkeys(slave.name for slave in chosen)))


def _set_policy(state: ClusterState, wish: SetPolicy) -> Message:
    known = [policy.value for policy in Policy]
    if wish.policy not in known:
        reason = f"policy {wish.policy} is not known: use one of {', '.join(known)}"
        return Reject(wish.request, "policy", _cut(reason))
    control(state, policy=wish.policy)
    chronicle.record(state, "policy", f"the policy is {wish.policy}")
    return Done(wish.request, (wish.policy,))


def control(state: ClusterState, policy: str | None = None, closing: bool = False) -> None:
    """Publish another control state."""
    old = state.control
    state.control = Control(old.epoch, old.generation + 1, policy or old.policy, closing)
    state.actions.append(Publish(state.control))


def _cut(text: str) -> str:
    return text[: limits.text_chars_max]
