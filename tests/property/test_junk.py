"""Peers that say anything, in any order: no machine raises, and its books stay right.

What they say is made of few names and numbers, so that much of it fits what is there: a report
for a lease of another slave, a hello on a client's connection, an outcome of a task twice.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hpczmq import memory, session, wire, worker
from hpczmq.items import Items
from hpczmq.messages import PROTOCOL, Assign, Chunk, Fetch, Hello, Message, Report, Submit
from hpczmq.model import Count, Metrics, Name, Outcome, Role, Status, Uid
from hpczmq.scheduler import Scheduler, actions, events, invariants
from tests.property.strategies import messages, of, record

PEERS = [b"a", b"b", b"c"]
INSTANCES = [bytes([i]) * 16 for i in range(3)]
few: dict[Any, st.SearchStrategy[Any]] = {
    Count: st.integers(0, 3) | of(Count),
    Name: st.sampled_from(["j1", "j2", "echo", "s1", "round-robin"]) | of(Name),
    Uid: st.sampled_from(INSTANCES),
}
hellos = st.builds(
    Hello,
    role=st.sampled_from([Role.SLAVE, Role.SLAVE, Role.SLAVE, *Role]),
    name=st.just("s1"),
    instance=st.sampled_from(INSTANCES),
    protocol=st.just(PROTOCOL),
    software=st.just(""),
    slots=st.integers(0, 3),
    capabilities=st.just(("echo",)),
    leases=st.lists(st.integers(1, 4), max_size=2).map(tuple),
)
#: Reports that might be true.
reports = st.builds(
    Report,
    report=st.integers(1, 3),
    lease=st.integers(1, 4),
    job=st.sampled_from(["j1", "j2"]),
    outcomes=st.lists(
        st.builds(
            Outcome, st.integers(0, 4), st.sampled_from(Status), st.just(0.01), st.just(b"x")
        ),
        max_size=3,
    ).map(tuple),
)
anything = messages(few)
submits = record(Submit, few)


@st.composite
def steps(draw: st.DrawFn) -> Any:
    """Somebody says something, placement runs, time passes, or a connection is gone.

    Drawn in two steps, since of a union of unions each of the thirty kinds of messages would be
    as likely as all that matters.
    """
    what = draw(st.sampled_from(["report", "report", "any", "hello", "submit", "turn", "rest"]))
    peer = draw(st.sampled_from(PEERS))
    if what == "turn":
        return events.Turn()
    if what == "rest":
        return draw(st.sampled_from([0.1, 1.0, 5.0, events.Unreachable(peer)]))
    said = {"report": reports, "any": anything, "hello": hellos, "submit": submits}
    return peer, draw(said[what])


def many(*of_these: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Enough things that happen to get somewhere; each of the given ones is as likely."""
    return st.lists(st.sampled_from(of_these).flatmap(lambda one: one), min_size=25, max_size=50)


def travels(action: Any) -> None:
    """Every message that a machine wants sent is one that its reader takes."""
    message = getattr(action, "message", None)
    if isinstance(action, actions.Store):
        message = Chunk(action.job, action.cursor, action.slave, tuple(action.outcomes))
    if message is not None:
        assert wire.decode(wire.encode(message))[0] == message


def pixels(message: Message) -> list[bytes]:
    """A buffer for each array of a report."""
    outcomes = message.outcomes if isinstance(message, Report) else ()
    return [b"pixels" for outcome in outcomes if outcome.status is Status.ARRAY]


def started() -> list[Any]:
    """A slave, a client, two jobs of it, and some of their tasks under way."""
    slave = Hello(Role.SLAVE, "s1", INSTANCES[0], PROTOCOL, "", 2, ("echo",))
    client = Hello(Role.CLIENT, "me", INSTANCES[1], PROTOCOL, "")
    image = Submit(1, INSTANCES[0], "echo", b"", Items(), "", 2, 0.0)
    items = Submit(2, INSTANCES[1], "echo", b"", Items.of([b"t"]), "", 1, 0.0)
    said = [(b"a", slave), (b"b", client), (b"b", image), (b"b", items)]
    return [*said, (b"b", Fetch(3, "j1", 0, 2)), events.Turn()]


@given(many(steps()), st.integers(1, 5), st.booleans())
def test_no_peer_can_make_the_master_raise(happened: list[Any], tasks: int, busy: bool) -> None:
    core, now = Scheduler(0.0), 0.0

    def handle(event: events.Event) -> None:
        for action in core.handle(event, now):
            travels(action)
            if isinstance(action, actions.Plan):
                handle(events.Planned(action.peer, action.submit, [b"t"] * tasks, "echo"))
        invariants.check(core.state)

    for step in [*started(), *happened] if busy else happened:
        if isinstance(step, float):
            now += step
            handle(events.Tick())
        elif isinstance(step, tuple):
            peer, message = step
            handle(events.Received(peer, message, pixels(message)))
        else:
            handle(step)


leases = record(Assign, few | {Count: st.integers(0, 3)})
seconds = st.floats(0.0, 5.0)
slots = st.sampled_from(["ready", "answered", "died"])


@given(many(seconds, slots, slots, leases, anything))
def test_no_master_can_make_a_slave_raise(happened: list[Any]) -> None:
    core, now = worker.Worker("s1", INSTANCES[0], 1, ("echo",), protocol=PROTOCOL), 0.0
    for step in happened:
        event: worker.Event | None
        if isinstance(step, float):
            now += step
            event = worker.Tick(Metrics())
        elif isinstance(step, str):
            event = from_slot(core.slots[0], step)
        else:
            event = worker.Received(step)
        if event is not None:
            for action in core.handle(event, now):
                travels(action)
            core.check()


def from_slot(slot: worker.Slot, what: str) -> worker.Event | None:
    """What a worker process might say, if it can be in a state to say it."""
    state = worker.SlotState
    if what == "ready" and slot.state is state.STARTING:
        return worker.SlotReady(0)
    if what == "answered" and slot.state is state.BUSY:
        return worker.SlotAnswered(0, [Outcome(slot.left[0].index, Status.VALUE, 0.1, b"")])
    if what == "died" and slot.state is not state.DOWN:
        return worker.SlotDied(0, "signal SIGKILL")
    return None


@given(many(seconds, anything), st.booleans())
def test_nobody_can_make_a_memoria_raise(happened: list[Any], asked: bool) -> None:
    core, now = memory.Memory("m", INSTANCES[0], protocol=PROTOCOL), 0.0
    for step in happened:
        if isinstance(step, float):
            now += step
            done = core.handle(memory.Tick(clock_s=1e9 + now), now)
        else:
            done = core.handle(memory.Received(step, b"asker" if asked else None), now)
            done += core.handle(memory.Told(step), now)
        for action in done:
            travels(action)


@given(many(seconds, anything))
def test_no_master_can_make_a_client_raise(happened: list[Any]) -> None:
    core, now = session.Session("me", INSTANCES[0], protocol=PROTOCOL), 0.0
    core.handle(session.Follow("j1"), now)
    for step in happened:
        if isinstance(step, float):
            now += step
            done = core.handle(session.Tick(), now)
        else:
            done = core.handle(session.Received(step), now)
        for action in done:
            travels(action)
