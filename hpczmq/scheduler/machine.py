"""The master as a pure state machine: `handle(event, now)` gives the actions to perform.

Rules:

1. It has no clock, no socket, no disk and no dice. `now` is seconds on any clock that only grows.
2. An event is handled whole; the actions are performed in their order before the next event.
3. Events change the books and mark what waits. Placement runs on `Turn`, once for all of them.
4. What a peer says never raises. A peer that is not known is told to introduce itself.
5. A lost message costs time, never work: every wish is repeated by who has it (a hello, a report,
   a fetch, a submit), and every repetition is harmless.
6. A slave is its `instance`, not its connection: one that comes back on a new connection keeps
   its leases, and those that it does not hold any more wait again.
7. Each task is accepted once, by the first outcome that arrives (see `ledger`).

Theory. A job is split into tasks; tasks are handed out in leases; a lease lives until each of its
tasks is accounted for. A slave names the leases that it holds in each heartbeat. So both sides
agree in the end, whatever got lost: a lease that the slave does not name for `resend_heartbeats`
after it was sent is given back, a lease that the master does not know is revoked.

Results become numbered chunks. A client says which chunk it wants next and how many it can take;
the master sends them as they come, and the end when they are out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from hpczmq import limits
from hpczmq.alerts import Rule
from hpczmq.identity import Member
from hpczmq.messages import (
    PROTOCOL,
    Ack,
    AlertsAnswer,
    Ask,
    Beat,
    Cancel,
    Control,
    Drain,
    Enrol,
    Enrolled,
    Fetch,
    Goodbye,
    Heartbeat,
    Hello,
    Introduce,
    Message,
    Ping,
    Pong,
    Reject,
    Report,
    Return,
    SetPolicy,
    Submit,
    Submitted,
    Taken,
    VitalsReport,
)
from hpczmq.model import About, JobState, Metrics, Policy, Role, Status
from hpczmq.quota import flooded
from hpczmq.rules import RULES
from hpczmq.scheduler import (
    access,
    admission,
    alarms,
    chronicle,
    delivery,
    floods,
    ledger,
    members,
    orders,
    outcomes,
    placement,
    pulse,
    stragglers,
)
from hpczmq.scheduler.actions import Action, Plan, Send
from hpczmq.scheduler.answers import answer, unknown_job
from hpczmq.scheduler.events import (
    AccessChanged,
    Buffer,
    Choked,
    Enlisted,
    Event,
    Planned,
    Received,
    Stop,
    Tick,
    Turn,
    Unplannable,
    Unreachable,
    Unwritten,
)
from hpczmq.scheduler.explain import explain
from hpczmq.scheduler.jobs import JobRecord
from hpczmq.scheduler.state import ClusterState, SlaveRecord, Weights

#: What is said to who speaks of another queue.
_ANEW = "the master was started anew, without its jobs"


class Scheduler:
    """The master's core. Everything it knows is in `state`."""

    def __init__(
        self,
        now: float,
        *,
        cluster: str = "hpczmq",
        software: str = "",
        epoch: int = 1,
        queue: bytes = bytes(16),
        heartbeat_s: float = limits.heartbeat_s_default,
        control_port: int = 0,
        policy: Policy = Policy.LEAST_LOADED,
        weights: Weights | None = None,
        spares_saturated: bool = True,
        results_bytes_max: int = limits.results_bytes_max,
        rules: Sequence[Rule] | None = None,
    ) -> None:
        control = Control(epoch, 1, policy.value, False)
        self.state = ClusterState(
            cluster, software, epoch, queue, heartbeat_s, control_port, control, now
        )
        self.state.weights = weights or Weights()
        self.state.spares_saturated = spares_saturated
        self.state.results_bytes_max = results_bytes_max
        self.state.rules = RULES if rules is None else rules

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event in; give back what is to be done, in order."""
        self.state.actions, self.state.now_s = [], now
        match event:
            case Received():
                self._received(event, now)
            case Planned():
                self._planned(event, now)
            case Unplannable(peer, submit, reason):
                self._send(peer, Reject(submit.request, "parameters", _cut(reason)))
            case Unreachable(peer):
                members.unreachable(self.state, peer, now)
            case Choked(peer):
                if peer in self.state.clients:
                    delivery.cut_off(self.state, peer, "it does not read what it is sent")
            case Unwritten(job, kept_bytes):
                admission.unwritten(self.state, job, kept_bytes)
            case AccessChanged():
                access.change(self.state, event, now)
            case Enlisted():
                self._enlisted(event)
            case Turn():
                placement.place(self.state, now)
                stragglers.place(self.state, now)
            case Tick():
                members.tick(self.state, now)
                pulse.tick(self.state, event, now)
                alarms.ring(self.state, now)
            case Stop():
                orders.control(self.state, closing=True)
            case _:
                assert_never(event)
        return self.state.actions

    # --- Messages -----------------------------------------------------------------------------

    def _received(self, event: Received, now: float) -> None:
        state, peer, message = self.state, event.peer, event.message
        if state.quota.is_muted(peer, now):
            return
        if floods.is_too_much(state, peer, message, now):
            told = flooded()
            self._send(peer, Reject(0, told.code, told.reason))
            return
        refused = access.refusal(state, event.who, message)
        if refused is not None:
            self._send(peer, refused)
        elif isinstance(message, Enrol):
            access.enrol(state, peer, event.who, message)
        elif isinstance(message, Ping):
            self._send(
                peer, Pong(message.request, Role.MASTER, state.cluster, state.software, Metrics())
            )
        elif isinstance(message, Hello):
            self._hello(peer, event.who, message, now)
        elif peer in state.peers:
            slave = state.slaves[state.peers[peer]]
            members.heard(state, slave, now)
            self._from_slave(slave, peer, message, event.buffers, now)
        elif peer in state.clients:
            state.clients[peer].heard_s = now
            self._from_client(peer, event.who, message, now)
        else:
            self._send(peer, Introduce())

    def _hello(self, peer: bytes, who: Member, hello: Hello, now: float) -> None:
        if hello.protocol != PROTOCOL:
            self._refuse_protocol(peer, hello)
        elif hello.role is Role.MASTER:
            self._send(peer, Reject(0, "role", "a master does not join another one"))
        elif not floods.lets_in(self.state, peer, hello, now):
            pass  # it will say hello again
        elif hello.role is Role.SLAVE:
            members.join_slave(self.state, peer, who, hello, now)
        else:
            members.join_client(self.state, peer, who, hello, now)

    def _refuse_protocol(self, peer: bytes, hello: Hello) -> None:
        """Tell a node of another version what to do. It goes on trying, perhaps for days: who looks
        for it here finds it among the events, once; and strangers don't fill them.
        """
        state = self.state
        theirs, ours = (f" ({s})" if s else "" for s in (hello.software, state.software))
        reason = f"{hello.name}{theirs} speaks protocol {hello.protocol}, this master{ours} "
        reason = _cut(f"{reason}{PROTOCOL}: install the same version")
        self._send(peer, Reject(0, "protocol", reason))
        is_news = reason not in state.refusals and len(state.refusals) < limits.refusals_kept_max
        if is_news and hello.role in (Role.SLAVE, Role.MEMORIA):
            state.refusals.add(reason)
            chronicle.note(state, "refused", reason, node=hello.name)

    def _from_slave(
        self,
        slave: SlaveRecord,
        peer: bytes,
        message: Message,
        buffers: Sequence[Buffer],
        now: float,
    ) -> None:
        match message:
            case Report(queue=queue) if queue != self.state.queue:
                self._send(peer, Introduce())  # then it hears whose queue this is
            case Report():
                arrays = sum(o.status is Status.ARRAY for o in message.outcomes)
                distinct = {o.index for o in message.outcomes}
                large = sum(len(o.value) for o in message.outcomes) > limits.body_bytes_max // 2
                if arrays != len(buffers) or len(distinct) != len(message.outcomes) or large:
                    reason = "a report needs a buffer for each array, and has each task once"
                    self._reject(peer, "report", "too large" if large else reason)
                    return
                outcomes.accept(self.state, slave, message, buffers, now)
                members.judge(self.state, now)
                self._send(peer, Ack((message.report,)))
            case Heartbeat():
                members.heartbeat(self.state, slave, peer, message, now)
            case VitalsReport(vitals=vitals):
                pulse.republish(self.state, slave, vitals)
            case Return(leases):
                members.take_back(self.state, slave, leases, now)
            case Goodbye():
                members.part(self.state, slave, message.reason, now)
            case _:
                self._reject(peer, "kind", f"a slave may not send {type(message).__name__}")

    def _from_client(self, peer: bytes, who: Member, message: Message, now: float) -> None:
        match message:
            case Submit():
                self._submit(peer, who.key, message)
            case Fetch(request=request) | Cancel(request=request) if (
                message.queue != self.state.queue
            ):
                self._send(peer, Reject(request, "queue", _ANEW))
            case Fetch():
                self._fetch(peer, message, now)
            case Taken(job, whole, queue):
                if queue == self.state.queue:
                    delivery.taken(self.state, peer, job, whole, now)
                    admission.make_room(self.state)
            case Cancel() | SetPolicy() | Drain():
                self._send(peer, orders.once(self.state, peer, who, message, now))
            case Ask(about=About.EXPLAIN):
                self._send(peer, explain(self.state, message, now))
            case Ask():
                self._send(peer, answer(self.state, message, access.jobs_of(self.state, who), now))
            case Heartbeat():
                self._send(peer, Beat(message.sequence))
                pulse.sample(self.state, self.state.clients[peer], message.metrics)
            case VitalsReport(vitals=vitals):
                pulse.republish(self.state, self.state.clients[peer], vitals)
            case AlertsAnswer(alerts=alerts):
                # The master goes by the same rules itself; it keeps them for who asks.
                if self.state.clients[peer].address:
                    self.state.clients[peer].alerts = alerts
            case Goodbye():
                members.leave(self.state, peer)
            case _:
                self._reject(peer, "kind", f"a client may not send {type(message).__name__}")

    def _enlisted(self, event: Enlisted) -> None:
        told: Message = Enrolled(event.request, event.name, event.role)
        if event.refused:
            told = Reject(event.request, "token", _cut(event.refused))
        self._send(event.peer, told)

    # --- Jobs ---------------------------------------------------------------------------------

    def _submit(self, peer: bytes, owner: bytes, submit: Submit) -> None:
        state = self.state
        known = state.uids.get(submit.uid)
        if known is not None and state.jobs[known].owner != owner:
            self._send(peer, Reject(submit.request, "uid", "this uid is another job's: choose one"))
        elif known is not None:
            tasks = len(state.jobs[known].states)
            self._send(peer, Submitted(submit.request, known, tasks))
        elif full := admission.refusal(state, submit, 0, False):
            self._send(peer, Reject(submit.request, "full", full))
        else:
            state.actions.append(Plan(peer, submit, owner))

    def _planned(self, event: Planned, now: float) -> None:
        state, submit = self.state, event.submit
        if submit.uid not in state.uids:
            full = admission.refusal(state, submit, len(event.tasks), bool(event.order))
            if full:
                self._send(event.peer, Reject(submit.request, "full", full))
                return
            state.jobs_made += 1
            id = f"j{state.jobs_made}"
            # Of the costs 4 bytes a task are kept, and not those that travelled too.
            bare, number = replace(submit, costs=b""), state.jobs_made
            job = JobRecord(id, bare, event.tasks, event.capability, now, number, costs=event.costs)
            job.owner = event.owner
            job.put_in_order(event.order)
            admission.took_in(state, job)
            state.jobs[id] = job
            state.uids[submit.uid] = id
            ledger.enqueue(state, job)
            if submit.deadline_s:
                alarms.set_alarm(state, job, -1, now + submit.deadline_s)
            if not job.waiting:
                ledger.end(state, job, JobState.DONE, "", now)
        self._submit(event.peer, event.owner, submit)

    def _fetch(self, peer: bytes, fetch: Fetch, now: float) -> None:
        state = self.state
        job = state.jobs.get(fetch.job)
        if job is None:
            self._send(peer, unknown_job(fetch.request, fetch.job))
            return
        delivery.watch(state, job, peer, fetch, now)

    def _send(self, peer: bytes, message: Message) -> None:
        if isinstance(message, Reject):
            self.state.quota.count(message.code)
        self.state.actions.append(Send(peer, message))

    def _reject(self, peer: bytes, code: str, reason: str) -> None:
        self.state.frames_dropped += 1
        self._send(peer, Reject(0, code, _cut(reason)))


def _cut(text: str) -> str:
    return text[: limits.text_chars_max]
