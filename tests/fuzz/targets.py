"""What a fuzzer's bytes are given to: the decoder, and each machine with anything in any state.

A target takes bytes and returns, whatever they are. What leaves it is a fault: an exception that
is no `ProtocolError`, books that contradict themselves, a message that its reader would refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from hpczmq import arrays, memory, session, wire, worker
from hpczmq.errors import HpczmqError, ProtocolError
from hpczmq.messages import (
    PROTOCOL,
    Assign,
    Chunk,
    Fetch,
    Heartbeat,
    Hello,
    HistoryAnswer,
    Message,
    Pulse,
    Report,
    Return,
    Sample,
    Submit,
    Welcome,
)
from hpczmq.model import Metrics, Outcome, Role, Status, Task
from hpczmq.scheduler import Scheduler, actions, events, invariants
from tests.fuzz.values import UIDS, Source, message, of, record

PEERS: Final = [b"a", b"b", b"c", b"d"]
#: Things that happen in one input, at most: the books are looked at after each.
STEPS_MAX: Final = 60


def decoder(data: bytes) -> None:
    """Frames to a message or a `ProtocolError`, and what is nested in it; the first byte says
    how many frames."""
    source = Source(data)
    taken_or_refused(_frames(source, source.data[1:]))
    taken_or_refused([wire.MAGIC, data])
    try:
        value = wire.unpack(data)
    except ProtocolError:
        return
    # Whatever can be read can be sent on, and read again.
    assert repr(wire.unpack(wire.pack(value))) == repr(value)


def _frames(source: Source, rest: bytes) -> list[wire.Buffer]:
    """Some bytes cut into frames."""
    count = source.below(6)
    heads = [wire.MAGIC, *wire.TOPICS.values(), b"", rest[:8]]
    size = len(rest) // count if count else len(rest)
    return [heads[count], *[rest[i : i + size] for i in range(0, len(rest), size or 1)]]


def taken_or_refused(frames: list[wire.Buffer]) -> None:
    """Frames are refused with a `ProtocolError`, or are a message that can be sent on."""
    try:
        told, buffers = wire.decode(frames)
    except ProtocolError as error:
        reason = error.reason
    else:
        reason = ""
        _read_on(told, buffers)
    assert not reason or reason.isprintable(), "it goes into logs"
    assert len(reason) < 500


def _read_on(told: Message, buffers: Sequence[wire.Buffer]) -> None:
    again, _ = wire.decode(wire.encode(told, buffers))
    assert again == told
    for outcome in getattr(told, "outcomes", ()):
        _read(outcome, buffers)


def _read(outcome: Outcome, buffers: Sequence[wire.Buffer]) -> None:
    """Take the result of a task as its client would."""
    try:
        if outcome.status is Status.ARRAY:
            arrays.unpacked(outcome.value, buffers[0] if buffers else b"")
        elif outcome.status is Status.VALUE:
            wire.unpack(outcome.value, lists=True)
    except HpczmqError:
        pass


def travels(done: Iterable[Any]) -> None:
    """Every message that a machine wants sent is one that its reader takes."""
    for action in done:
        told = getattr(action, "message", None)
        if isinstance(action, actions.Store):
            told = Chunk(action.job, action.cursor, action.slave, tuple(action.outcomes))
        if told is not None:
            assert wire.decode(wire.encode(told))[0] == told


# --- The master ---------------------------------------------------------------------------------


class Peers:
    """Everybody whom a master hears: events out of bytes, some of which fit what is there."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.said: list[Message] = []
        self.core = Scheduler(0.0)
        self.now = 0.0

    def handle(self, event: events.Event) -> None:
        """One event, and what its actions lead to."""
        done = self.core.handle(event, self.now)
        invariants.check(self.core.state)
        travels(done)
        for action in done:
            if isinstance(action, actions.Plan):
                self.handle(self._plan(action))
            elif isinstance(action, actions.Send) and self.source.byte() > 250:
                self.handle(events.Unreachable(action.peer))

    def _plan(self, plan: actions.Plan) -> events.Event:
        if self.source.below(16) == 15:
            return events.Unplannable(plan.peer, plan.submit, "x" * 10_000)
        tasks = list(plan.submit.items) or [b"t"] * self.source.below(6)
        order = range(len(tasks))[::-1] if self.source.below(2) else ()
        return events.Planned(plan.peer, plan.submit, tasks, plan.submit.kernel, order)

    def step(self) -> None:
        """One thing happens."""
        source, peer = self.source, self.source.one(PEERS)
        what = source.below(12)
        if what == 0:
            self.handle(events.Turn())
        elif what == 1:
            self.now += source.one([0.0, 0.1, 1.0, 2.5, 5.0, 61.0, 700.0])
            self.handle(events.Tick())
        elif what == 2:
            self.handle(events.Unreachable(peer))
        elif what == 3 and self.said:  # a replay, perhaps by somebody else
            self._say(peer, source.one(self.said[-200:]))
        else:
            self._say(peer, self._message(what))
            if what >= 10:
                self.handle(events.Turn())

    def _message(self, what: int) -> Message:
        source = self.source
        number = source.whole(0, 8)
        some = tuple(source.whole(0, 8) for _ in range(source.below(4)))
        made: Message
        match what:
            case 4 | 5:
                made = record(
                    Hello, source, role=source.one([Role.SLAVE, Role.SLAVE, *Role]), leases=some,
                    protocol=PROTOCOL, capabilities=("echo", "")[: 1 + source.below(2)],
                )  # fmt: skip
            case 6 | 10:
                made = record(Report, source, lease=number, job=source.one(["j1", "j2", "j3"]))
            case 7 | 11:
                made = record(Submit, source, kernel="echo", uid=source.one(UIDS))
            case 8:
                draining = source.below(16) == 15
                made = record(Heartbeat, source, leases=some, draining=draining)
            case 9:
                made = source.one([Return(some), record(Fetch, source, job="j1", cursor=number)])
            case _:
                made = message(source)
        return made

    def _say(self, peer: bytes, told: Message) -> None:
        self.said.append(told)
        outcomes = told.outcomes if isinstance(told, Report) else ()
        count = sum(outcome.status is Status.ARRAY for outcome in outcomes)
        lies = self.source.below(32) == 31
        self.handle(events.Received(peer, told, [b"pixels"] * (count + lies)))


def scheduler(data: bytes) -> None:
    """The master, with several peers."""
    peers = Peers(Source(data))
    for _ in range(STEPS_MAX):
        if not peers.source:
            break
        peers.step()


# --- Those who have a master --------------------------------------------------------------------


def _from_master(source: Source) -> Message:
    """What a master might say, more or less."""
    made: Message
    match source.below(6):
        case 0 | 1:
            made = record(Welcome, source)
        case 2:
            tasks = tuple(Task(i, b"t") for i in range(1 + source.below(4)))
            made = record(Assign, source, tasks=tasks, lease=source.whole(0, 8))
        case 3:
            made = record(Chunk, source, job=source.one(["j1", "j2"]), cursor=source.whole(0, 4))
        case _:
            made = message(source)
    return made


def _later(source: Source) -> float:
    return source.one([0.0, 0.05, 0.6, 1.0, 5.0, 40.0])


def slave(data: bytes) -> None:
    """A slave, whose master and whose workers say anything."""
    source, now = Source(data), 0.0
    core = worker.Worker("s1", UIDS[1], 1 + source.below(3), ("echo",), protocol=PROTOCOL)
    for _ in range(STEPS_MAX):
        if not source or core.leaving:
            return
        event: worker.Event | None
        what = source.below(8)
        if what < 3:
            event = worker.Received(_from_master(source))
        elif what == 3:
            event = worker.Received(message(source), b"asker")
        elif what < 6:
            event = _from_slot(core, source)
        elif what == 6:
            now += _later(source)
            event = worker.Tick(of(Metrics, source) if source.below(2) else None)
        else:
            rare = source.below(16)
            event = worker.Drain(1.0, "why") if rare == 15 else worker.Tick(None)
        if event is not None:
            travels(core.handle(event, now))
            core.check()


def _from_slot(core: worker.Worker, source: Source) -> worker.Event | None:
    """What a worker process might say, if it can be in a state to say it."""
    number = source.below(len(core.slots))
    slot, states = core.slots[number], worker.SlotState
    what = source.below(3)
    if what == 0 and slot.state is states.STARTING:
        return worker.SlotReady(number)
    if what == 1 and slot.state is states.BUSY:
        count = 1 + source.below(len(slot.left))
        done = [Outcome(task.index, Status.VALUE, 0.1, b"") for task in slot.left[:count]]
        return worker.SlotAnswered(number, done)
    if what == 2 and slot.state is not states.DOWN:
        return worker.SlotDied(number, "signal SIGKILL")
    return None


def client(data: bytes) -> None:
    """A client, whose master says anything."""
    source, now = Source(data), 0.0
    core = session.Session("me", UIDS[1], protocol=PROTOCOL)
    for step in range(STEPS_MAX):
        if not source:
            return
        event: session.Event
        match source.below(8):
            case 0:
                event = session.Follow(source.one(["j1", "j2", ""]))
            case 1:
                event = session.Unfollow(source.one(["j1", "j2", ""]))
            case 2:
                event = session.Wish(step, record(Submit, source))
            case 3:
                event = session.GiveUp(source.below(STEPS_MAX))
            case 4:
                now += _later(source)
                event = session.Tick()
            case _:
                event = session.Received(_from_master(source), [b"pixels"])
        travels(core.handle(event, now))


def memoria(data: bytes) -> None:
    """A memoria, whose master and whose askers say anything."""
    source, now = Source(data), 0.0
    core = memory.Memory("m", UIDS[1], protocol=PROTOCOL)
    core.filler.know(("tcp://other:1",))
    for _ in range(STEPS_MAX):
        if not source:
            return
        event: memory.Event
        match source.below(8):
            case 0 | 1:
                event = memory.Received(record(Sample, source))
            case 2:
                event = memory.Received(message(source), b"asker")
            case 3:
                now += _later(source)
                metrics = of(Metrics, source) if source.below(2) else None
                event = memory.Tick(metrics, clock_s=1e9 + now)
            case 4:
                event = memory.Received(record(Pulse, source))
            case 5:
                event = memory.Told(record(HistoryAnswer, source))
            case _:
                event = memory.Received(_from_master(source))
        travels(core.handle(event, now))


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "decoder": decoder,
    "scheduler": scheduler,
    "slave": slave,
    "client": client,
    "memoria": memoria,
}


def sabotage(data: bytes) -> None:
    """Fails, once the fuzzer has found out how: it is the fuzzer that is tried with this one."""
    if len(data) > 2:
        raise AssertionError("found")
