"""The slave as a pure state machine: `handle(event, now)` gives the actions to perform.

Rules:

1. It has no clock, no socket and no process. `now` is seconds on any clock that only grows.
2. A lease runs in one slot, its tasks in their order. What is finished is reported as it comes.
3. A report is kept, and said again, until the master acknowledges it.
4. A slot is a worker process. It dies alone: by itself, for a timeout, or because its lease was
   revoked; a new one is started, and the others notice nothing.
5. The slave never decides that a task has failed; it tells how each attempt came out.
6. While `kept_bytes_max` wait to be acknowledged, no lease is begun; what runs goes on.

Theory. The master and the slave agree on leases by name: each heartbeat says which ones are held
here, until the last outcome is acknowledged. Losing the master changes nothing for what runs;
the reports wait until one is back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import assert_never

from hpczmq import limits
from hpczmq.membership import Due, Membership
from hpczmq.messages import (
    Ack,
    Assign,
    Goodbye,
    Heartbeat,
    Hello,
    Introduce,
    Message,
    Ping,
    Pong,
    Report,
    Return,
    Revoke,
    VitalsReport,
    Welcome,
)
from hpczmq.model import NO_QUEUE, Metrics, Outcome, Role, Status, Usage
from hpczmq.worker.actions import Action, Exit, KillSlot, Note, RunLease, Send, StartSlot, Subscribe
from hpczmq.worker.events import (
    Buffer,
    Drain,
    Event,
    Received,
    SlotAnswered,
    SlotDied,
    SlotReady,
    Stop,
    Tick,
)
from hpczmq.worker.figures import Figures
from hpczmq.worker.state import Kept, Slot
from hpczmq.worker.states import SLOT_MOVES, SlotState


class Worker:
    """The slave's core."""

    def __init__(
        self,
        name: str,
        instance: bytes,
        slots: int,
        capabilities: tuple[str, ...],
        *,
        protocol: int,
        software: str = "",
        address: str = "",
        memory_bytes: int = 0,
        labels: tuple[str, ...] = (),
        ping_s: float = limits.ping_s_default,
    ) -> None:
        self._hello = Hello(
            Role.SLAVE, name, instance, protocol, software, slots, capabilities, (), address,
            memory_bytes, labels,
        )  # fmt: skip
        self.membership = Membership(ping_s)
        self.slots = [Slot() for _ in range(slots)]
        #: Leases that wait for a slot, oldest first, by number.
        self.queue: dict[int, Assign] = {}
        #: Reports by number, until they are acknowledged.
        self.kept: dict[int, Kept] = {}
        #: What these take.
        self.kept_bytes = 0
        self.reports_made = 0
        self.figures = Figures()
        self.leaving = False
        #: Why it takes nothing new and ends with what runs; empty while it does not. And until
        #: when that may run.
        self.draining = ""
        self.leave_s = inf
        self._actions: list[Action] = []

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event in; give back what is to be done, in order."""
        self._actions = []
        match event:
            case Received(message, None):
                self._from_master(message, now)
            case Received(Ping(request), peer):
                who, software = self._hello.name, self._hello.software
                pong = Pong(request, Role.SLAVE, who, software, self._measured(now))
                self._do(Send(pong, peer=peer))
            case Received():
                pass  # nothing else is answered on the own ROUTER
            case SlotReady(slot):
                self._move(slot, SlotState.IDLE)
                self.slots[slot].stumbles = 0
            case SlotAnswered():
                self._answered(event, now)
            case SlotDied(slot, how, usage):
                self._died(slot, how, replace(usage, exit=how), now)
            case Tick():
                self.figures.tick(event, now)
                self._speak(now)
                self._kill_overdue(now)
            case Drain(within_s, reason):
                self._drain(reason, now + within_s, now)
            case Stop():
                self._leave("told to stop")
            case _:
                assert_never(event)
        if self.draining and not self.leaving:
            self._perhaps_leave(now)
        elif not self.leaving:
            self._fill(now)
        return self._actions

    def held(self) -> tuple[int, ...]:
        """Numbers of the leases with tasks or unacknowledged outcomes here, in order."""
        running = {slot.lease.lease for slot in self.slots if slot.lease is not None}
        return tuple(sorted({*self.queue, *running, *(k.report.lease for k in self.kept.values())}))

    def check(self) -> None:
        """Raise AssertionError if the slave contradicts itself."""
        running = [slot.lease.lease for slot in self.slots if slot.lease is not None]
        assert len(set(running)) == len(running), "a lease runs in one slot"
        assert not set(running) & set(self.queue), "a lease waits or runs"
        for slot in self.slots:
            assert (slot.lease is not None) == bool(slot.left), "a lease has tasks left"
            if slot.state is SlotState.BUSY:
                assert slot.left, "a busy slot has something to do"
            elif slot.state is not SlotState.KILLED:
                assert not slot.left, f"a slot that is {slot.state.value} has tasks"
        weights = [kept.weight_bytes for kept in self.kept.values()]
        assert self.kept_bytes == sum(weights), "what is kept is weighed"
        if self.queue and not self.leaving and not self._full:
            idle = [slot for slot in self.slots if slot.state is SlotState.IDLE]
            assert not idle, "a slot is idle while a lease waits"

    # --- From the master ----------------------------------------------------------------------

    def _from_master(self, message: Message, now: float) -> None:
        refused = self.membership.refused
        joined = self.membership.heard(message, now)
        if self.membership.refused != refused and self.membership.refused:
            self._do(Note(f"the master does not take this slave: {self.membership.refused}"))
        match message:
            case Welcome():
                self._do(Subscribe(message.control_port))
                if self.membership.another_queue:
                    self._start_over()
                if joined:
                    self._do(Note(f"joined cluster {message.cluster}, epoch {message.epoch}"))
                for kept in self.kept.values():
                    if self.membership.fresh or kept.sent_s == -inf:
                        self._say(kept, now)
            case Introduce():
                self._speak(now)
            case Assign():
                # One that is not taken is not named in the heartbeats, and goes elsewhere.
                welcome = self.membership.welcome is not None  # else: which queue is it from?
                if welcome and self.draining:
                    self._do(Send(Return((message.lease,))))
                elif welcome and message.lease not in self.held() and not self._crippled:
                    self.queue[message.lease] = message
            case Revoke(leases):
                self._revoke(set(leases))
            case Ack(reports):
                for number in reports:
                    acknowledged = self.kept.pop(number, None)
                    if acknowledged is not None:
                        self.kept_bytes -= acknowledged.weight_bytes
            case _:
                pass  # the membership has heard it, or it is nothing for a slave

    def _start_over(self) -> None:
        """Drop all that came from a master whose queue is no more."""
        self._do(Note("another queue than before: what was held of that one is dropped"))
        self._revoke(set(self.held()))
        self.kept.clear()
        self.kept_bytes = 0

    def _revoke(self, leases: set[int]) -> None:
        for lease in leases & self.queue.keys():
            del self.queue[lease]
        for number, slot in enumerate(self.slots):
            if slot.lease is not None and slot.lease.lease in leases:
                slot.lease, slot.left, slot.verdict = None, [], None
                if slot.state is SlotState.BUSY:
                    self._move(number, SlotState.KILLED)
                    self._do(KillSlot(number))

    # --- Slots --------------------------------------------------------------------------------

    def _fill(self, now: float) -> None:
        """Start what is down, and give what waits to who is idle."""
        for number, slot in enumerate(self.slots):
            if slot.state is SlotState.DOWN and now >= slot.start_s:
                self._move(number, SlotState.STARTING)
                slot.since_s = now
                self._do(StartSlot(number))
            elif slot.state is SlotState.IDLE and self.queue and not self._full:
                lease = self.queue.pop(next(iter(self.queue)))
                slot.lease, slot.left, slot.since_s = lease, list(lease.tasks), now
                self._move(number, SlotState.BUSY)
                self._do(RunLease(number, lease))

    def _answered(self, event: SlotAnswered, now: float) -> None:
        slot = self.slots[event.slot]
        if slot.state is not SlotState.BUSY or slot.lease is None:
            return  # it was killed while its answer was under way
        given = [outcome.index for outcome in event.outcomes]
        expected = [task.index for task in slot.left[: len(given)]]
        assert given == expected, f"slot {event.slot} answered {given}, not {expected}"
        began_s = now - event.age_s if event.age_s else slot.since_s
        given_back = event.slot, slot.lease, event.outcomes, event.buffers
        self._report(*given_back, began_s, now, event.usage)
        del slot.left[: len(given)]
        slot.since_s = now
        if not slot.left:
            slot.lease = None
            self._move(event.slot, SlotState.IDLE)

    def _died(self, number: int, how: str, usage: Usage, now: float) -> None:
        slot = self.slots[number]
        if slot.state is SlotState.STARTING:
            slot.stumbles += 1
            slot.start_s = now + min(30.0, 0.1 * 2 ** min(slot.stumbles, 10))
            self._do(Note(f"worker {number} died while starting ({how}); next try later"))
            if self._crippled:
                self.queue.clear()
        lease, left, verdict = slot.lease, slot.left, slot.verdict
        slot.lease, slot.left, slot.verdict = None, [], None
        self._move(number, SlotState.DOWN)
        if lease is None:
            return
        if verdict is not None:
            outcome = Outcome(left[0].index, Status.TIMEOUT, now - slot.since_s, verdict.encode())
            self._report(number, lease, [outcome], (), slot.since_s, now, usage)
            if left[1:] and self.draining:
                self._do(Send(Return((lease.lease,))))
            elif left[1:]:
                self.queue = {lease.lease: replace(lease, tasks=tuple(left[1:])), **self.queue}
        else:
            text = f"worker of {self._hello.name} died: {how}".encode()
            since_s = now - slot.since_s
            crashed = [Outcome(task.index, Status.CRASH, since_s, text) for task in left]
            self._report(number, lease, crashed, (), slot.since_s, now, usage)

    @property
    def _full(self) -> bool:
        """Whether so much waits to be acknowledged that nothing new is begun."""
        return self.kept_bytes >= limits.kept_bytes_max

    @property
    def _crippled(self) -> bool:
        """Whether no worker starts here, time and again."""
        return all(slot.stumbles >= limits.stumbles_max for slot in self.slots)

    def _move(self, number: int, new: SlotState) -> None:
        slot = self.slots[number]
        if (slot.state, new) not in SLOT_MOVES:
            told = f"slot {number} with {slot.lease and slot.lease.lease}, {len(slot.left)} left"
            raise AssertionError(f"{slot.state.name} → {new.name} can't happen: {told}")
        slot.state = new

    # --- Reports ------------------------------------------------------------------------------

    def _report(
        self, slot: int, lease: Assign, outcomes: Sequence[Outcome], buffers: Sequence[Buffer],
        began_s: float, now: float, usage: Usage,
    ) -> None:  # fmt: skip
        self.figures.count(outcomes, buffers)
        self.reports_made += 1
        queue = self.membership.welcome.queue if self.membership.welcome else NO_QUEUE
        number, told = self.reports_made, tuple(outcomes)
        when = slot + 1, began_s, now
        report = Report(number, lease.lease, lease.job, told, usage, queue, *when)
        kept = self.kept[report.report] = Kept(report, buffers, -inf)
        self.kept_bytes += kept.weight_bytes
        self._say(kept, now)

    def _say(self, kept: Kept, now: float) -> None:
        if self.membership.joined:
            kept.sent_s, kept.times = now, kept.times + 1
            self._do(Send(kept.report, kept.buffers))

    # --- Time ---------------------------------------------------------------------------------

    def _speak(self, now: float) -> None:
        if self.leaving:
            return
        was = self.membership.joined
        due = self.membership.due(now)
        if was and not self.membership.joined:
            self._do(Note("the master is silent; what runs goes on, results are kept for it"))
        match due:
            case Due.HELLO:
                self._do(Send(replace(self._hello, leases=self.held())))
            case Due.BEAT:
                beat = self.membership
                state = self._measured(now), self.held(), beat.generation, bool(self.draining)
                self._do(Send(Heartbeat(beat.sequence, *state)))
            case Due.PING:
                self._do(Send(Ping(self.membership.pings)))
            case Due.NOTHING:
                pass
        if self.membership.joined and (vitals := self.figures.take_vitals()):
            self._do(Send(VitalsReport(self._hello.name, self._hello.instance, vitals)))
        for kept in self.kept.values():
            if now - kept.sent_s >= self._patience_s(kept):
                self._say(kept, now)

    def _kill_overdue(self, now: float) -> None:
        """On a tick only: by then all that had come in is handled, and a slave that stood still
        does not hold its own absence against a task that had ended meanwhile.
        """
        if self.leaving:
            return
        for number, slot in enumerate(self.slots):
            limit_s = slot.lease.timeout_s if slot.lease else 0.0
            if slot.state is SlotState.BUSY and 0 < limit_s < now - slot.since_s:
                slot.verdict = f"killed after timeout_s = {limit_s:g}"
                self._move(number, SlotState.KILLED)
                self._do(KillSlot(number))
            elif slot.state is SlotState.STARTING and now - slot.since_s > limits.worker_start_s:
                self._do(KillSlot(number))

    def _patience_s(self, kept: Kept) -> float:
        """How long to wait for an acknowledgement: longer for what takes long to transmit, and
        each time longer, or repetitions would fill a slow link.
        """
        beats_s = limits.resend_heartbeats * self.membership.heartbeat_s
        wire_s = sum(map(len, kept.buffers)) / limits.slow_link_bytes_per_s
        return (beats_s + wire_s) * 2 ** min(kept.times - 1, 6) if kept.times else 0.0

    def _measured(self, now: float) -> Metrics:
        waiting = sum(len(lease.tasks) for lease in self.queue.values())
        return self.figures.measured(self.membership, self.slots, waiting, now)

    def _drain(self, reason: str, until_s: float, now: float) -> None:
        """Take nothing new, hand back what has not begun, and say so, in each heartbeat too."""
        self.leave_s = min(self.leave_s, until_s)
        if self.draining or self.leaving:
            return
        self.draining = reason
        self._do(Note(f"takes nothing new: {reason}"))
        if self.queue:
            self._do(Send(Return(tuple(self.queue))))
            self.queue.clear()
        self.membership.hurried = True
        self._speak(now)

    def _perhaps_leave(self, now: float) -> None:
        """Of a slave that drains: end, once nothing runs and everything is acknowledged."""
        running = {slot.lease.lease for slot in self.slots if slot.lease is not None}
        if running and now >= self.leave_s:
            self._do(Send(Return(tuple(sorted(running)))))
            self._revoke(running)
            running.clear()
        if not running and (not self.kept or now >= self.leave_s + limits.farewell_s):
            self._leave(self.draining)

    def _leave(self, reason: str) -> None:
        if self.leaving:
            return
        self.leaving = True
        for number, slot in enumerate(self.slots):
            if slot.state is SlotState.BUSY:  # an idle one ends with the slave
                self._do(KillSlot(number))
        self._do(Send(Goodbye(reason)))
        self._do(Exit())

    @property
    def _do(self) -> Callable[[Action], None]:
        return self._actions.append
