"""Replays and forgeries while a job is under way: its result is what its own slaves computed.

The forger is a member with a connection of its own. It hears all that is said and says it again,
guesses leases, and names other queues; the network doubles what the others say. What it may not do
here is to pass for another node (its key tells), or to lie about a task that it was given.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hpczmq.messages import PROTOCOL, Ack, Assign, Fetch, Heartbeat, Hello, Message, Report, Return
from hpczmq.model import Metrics, Outcome, Role, Status
from hpczmq.scheduler import Scheduler, actions, events, invariants
from tests.unit.harness import instance, slave_hello, submission

QUEUE, OLDER, JOB, TASKS = b"q" * 16, b"o" * 16, "j1", 12
HONEST, FORGER, CLIENT = (b"s1", b"s2"), b"forger", b"client"
NOTHING = Metrics()


def truth(index: int) -> Outcome:
    """What the task's result is."""
    return Outcome(index, Status.VALUE, 0.1, b"true %d" % index)


lies = st.builds(
    Report,
    report=st.integers(1, 9),
    lease=st.integers(0, 12),
    job=st.sampled_from([JOB, JOB, "j2", ""]),
    outcomes=st.lists(
        st.builds(
            Outcome,
            st.integers(0, TASKS),
            st.sampled_from([one for one in Status if one is not Status.ARRAY]),
            st.just(0.1),
            st.just(b"forged"),
        ),
        max_size=3,
        unique_by=lambda outcome: outcome.index,
    ).map(tuple),
    queue=st.sampled_from([QUEUE, QUEUE, OLDER, bytes(16)]),
)
leases = st.lists(st.integers(0, 12), max_size=3).map(tuple)
others = st.one_of(
    st.builds(Heartbeat, st.integers(0, 9), st.just(NOTHING), leases, st.integers(0, 9)),
    st.builds(Return, leases),
    st.builds(Fetch, st.integers(0, 9), st.just(JOB), st.integers(0, 9), st.just(8)),
    st.just(slave_hello("forger", offers=("other",), leases=(1, 2, 3))),
)
#: What happens: a turn, a lease reported, something said once more by its sender, or by the forger.
steps = st.one_of(
    st.just(("place", 0)),
    st.tuples(st.sampled_from(["report", "double", "replay"]), st.integers(0, 99)),
    st.tuples(st.just("forge"), lies | others),
)


class Cluster:
    """A master, two honest slaves, a client, and one who forges; what was stored, by task."""

    def __init__(self) -> None:
        self.core = Scheduler(0.0, queue=QUEUE)
        self.said: list[tuple[bytes, Message]] = []
        self.held: list[tuple[bytes, Assign]] = []
        self.stored: dict[int, bytes] = {}
        self.say(CLIENT, Hello(Role.CLIENT, "me", instance("me"), PROTOCOL, ""))
        for name in HONEST:
            self.say(name, slave_hello(name.decode()))
        # It has another kernel: it is given nothing that it might lie about.
        self.say(FORGER, slave_hello("forger", offers=("other",)))
        self.say(CLIENT, submission(1))
        self.say(CLIENT, Fetch(3, JOB, 0, 8, QUEUE))

    def say(self, peer: bytes, message: Message) -> None:
        """Somebody says something, and it is written down."""
        self.said.append((peer, message))
        self.handle(events.Received(peer, message, []))

    def handle(self, event: events.Event) -> None:
        """One event, and what comes of it."""
        for action in self.core.handle(event, 0.0):
            match action:
                case actions.Plan(peer, submit):
                    self.handle(events.Planned(peer, submit, [b"t"] * TASKS, "echo"))
                case actions.Store(outcomes=outcomes):
                    for outcome in outcomes:
                        assert outcome.index not in self.stored, "a task is taken once"
                        self.stored[outcome.index] = outcome.value
                case actions.Send(peer, Assign() as lease):
                    assert peer != FORGER
                    self.held.append((peer, lease))
        invariants.check(self.core.state)

    def step(self, what: str, how: Any) -> None:
        """One of `steps`."""
        if what == "place":
            self.handle(events.Turn())
        elif what == "forge":
            self.say(FORGER, how)
        elif what == "report":
            self.report(how)
        else:
            peer, message = self.said[how % len(self.said)]
            if what == "double":
                self.say(peer, message)
            elif not isinstance(message, Hello):
                self.say(FORGER, message)

    def report(self, place: int) -> None:
        """An honest slave reports a lease that it holds, whole."""
        if self.held:
            peer, lease = self.held.pop(place % len(self.held))
            done = tuple(truth(task.index) for task in lease.tasks)
            self.say(peer, Report(lease.lease, lease.lease, lease.job, done, queue=QUEUE))


@given(st.lists(steps, min_size=10, max_size=60))
def test_no_replay_and_no_forgery_changes_a_result(happened: list[tuple[str, Any]]) -> None:
    cluster = Cluster()
    for what, how in happened:
        cluster.step(what, how)
    for _ in range(TASKS + 1):  # left in peace, it comes to its end
        cluster.handle(events.Turn())
        while cluster.held:
            cluster.report(0)
    assert cluster.core.state.jobs[JOB].state.ended
    assert cluster.stored == {index: truth(index).value for index in range(TASKS)}


@given(lies)
def test_a_report_of_another_queue_is_neither_taken_nor_acknowledged(lie: Report) -> None:
    cluster = Cluster()
    cluster.handle(events.Turn())
    (peer, lease), *_ = cluster.held
    done = (truth(lease.tasks[0].index),)
    report = Report(1, lease.lease, JOB, done, queue=lie.queue)
    sent = cluster.core.handle(events.Received(peer, report, []), 0.0)
    taken = any(isinstance(action, actions.Store) for action in sent)
    told = {type(action.message) for action in sent if isinstance(action, actions.Send)}
    assert (taken, Ack in told) == ((lie.queue == QUEUE),) * 2
