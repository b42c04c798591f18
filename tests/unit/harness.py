"""A bench for the machines: events in, actions out, and no action that nobody looked at.

After every event the machine's invariants are checked, and every message that it wants sent goes
through the wire and back, since a message that its reader refuses is as good as none. `done`,
which the fixtures call at the end of each test, fails when an action is left that no assertion
has taken.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hpczmq import wire
from hpczmq.items import Items
from hpczmq.memory import Memory
from hpczmq.messages import (
    PROTOCOL,
    Ack,
    Assign,
    Chunk,
    Ended,
    Fetch,
    Hello,
    Message,
    Report,
    Submit,
    Submitted,
    Welcome,
)
from hpczmq.model import ANY_SLAVE, Outcome, Requires, Role, Status
from hpczmq.scheduler import Scheduler, actions, events, invariants
from hpczmq.scheduler.jobs import JobRecord
from hpczmq.scheduler.state import ClusterState, SlaveRecord
from hpczmq.session import Session
from hpczmq.worker import Worker

K = TypeVar("K")

CLIENT = b"client"
#: The seconds on the clock when a test begins; not 0, so that a forgotten `now` shows.
START_S = 1_000.0


class Bench:
    """A machine, a clock that only the test moves, and the actions nobody has looked at yet."""

    def __init__(self, handle: Callable[[Any, float], Sequence[Any]], check: Callable[[], None]):
        self.now = START_S
        self.unseen: list[Any] = []
        self._handle = handle
        self._check = check

    def do(self, *happened: Any) -> None:
        """Give events to the machine, one after the other."""
        for event in happened:
            for action in self._handle(event, self.now):
                _travels(action)
                self.unseen.append(action)
            self._check()

    def later(self, seconds: float) -> None:
        """Let time pass; the machine hears of it with the next event."""
        self.now += seconds

    def take(self, kind: type[K], to: bytes | None = None) -> list[K]:
        """Look at all actions, or messages in actions, of one kind (to one peer), in order."""
        found, left = [], []
        for action in self.unseen:
            message = getattr(action, "message", None)
            peer = getattr(action, "peer", None)
            thing = next((t for t in (action, message) if isinstance(t, kind)), None)
            if thing is not None and to in (None, peer):
                found.append(thing)
            else:
                left.append(action)
        self.unseen = left
        return found

    def one(self, kind: type[K], to: bytes | None = None) -> K:
        """Look at the only action or message of a kind (to a peer)."""
        found = self.take(kind, to)
        assert len(found) == 1, f"{len(found)} {kind.__name__} instead of one: {found}"
        return found[0]

    def note(self, *words: str) -> None:
        """Look at the only note, which has these words."""
        notes = [action for action in self.unseen if type(action).__name__ == "Note"]
        assert len(notes) == 1, f"notes: {notes}"
        assert all(word in notes[0].text for word in words), notes[0].text
        self.unseen.remove(notes[0])

    def done(self) -> None:
        """Fail on any action that no assertion looked at."""
        assert not self.unseen, "nobody looked at:\n" + "\n".join(map(str, self.unseen))


def _travels(action: Any) -> None:
    """Fail on a message that would not arrive as it was sent."""
    message = getattr(action, "message", None)
    if isinstance(action, actions.Store):
        message = Chunk(action.job, action.cursor, action.slave, tuple(action.outcomes))
    if message is not None:
        assert wire.decode(wire.encode(message))[0] == message


# --- The master ---------------------------------------------------------------------------------


class World(Bench):
    """A scheduler, and short words for what slaves and clients say to it."""

    def __init__(self, **options: Any) -> None:
        self.core = Scheduler(START_S, **options)
        super().__init__(self.core.handle, lambda: invariants.check(self.core.state))
        self._uids = 0
        self._reports = 0

    @property
    def state(self) -> ClusterState:
        """The books."""
        return self.core.state

    def job(self, id: str) -> JobRecord:
        """The books of one job."""
        return self.state.jobs[id]

    def record(self, name: str) -> SlaveRecord:
        """The books of one slave."""
        return self.state.slaves[instance(name)]

    def say(self, peer: bytes, message: Message, *buffers: bytes) -> None:
        """A message arrives."""
        self.do(events.Received(peer, message, buffers))

    def slave(
        self,
        name: str = "s1",
        *,
        slots: int = 1,
        offers: tuple[str, ...] = ("echo",),
        memory_bytes: int = 0,
        labels: tuple[str, ...] = (),
    ) -> bytes:
        """A slave joins; gives back its connection."""
        peer = name.encode()
        hello = slave_hello(name, slots=slots, offers=offers)
        self.say(peer, replace(hello, memory_bytes=memory_bytes, labels=labels))
        self.note(name, "joined")
        assert self.one(Welcome, peer).cluster == "hpczmq"
        return peer

    def client(self, peer: bytes = CLIENT) -> bytes:
        """A client joins; gives back its connection."""
        self.say(peer, Hello(Role.CLIENT, "me", instance("me"), PROTOCOL, "test"))
        assert self.one(Welcome, peer).epoch == 1
        return peer

    def submit(self, tasks: int = 1, **values: Any) -> str:
        """A client hands in a job of so many tasks; gives back its id."""
        if CLIENT not in self.state.clients:
            self.client()
        self._uids += 1
        capability, order = values.pop("capability", "echo"), values.pop("order", ())
        costs = array("f", values.pop("costs", ()))
        wish = submission(self._uids, tasks, **values)
        self.say(CLIENT, wish)
        plan = self.one(actions.Plan)
        specs = [b"t"] * tasks
        self.do(events.Planned(plan.peer, plan.submit, specs, capability, order, costs))
        answer = self.one(Submitted, CLIENT)
        assert (answer.request, answer.tasks) == (wish.request, tasks)
        return answer.job

    def place(self) -> list[tuple[bytes, Assign]]:
        """Placement runs; gives back what it handed out to whom, in order."""
        self.do(events.Turn())
        handed = [a for a in self.unseen if isinstance(getattr(a, "message", None), Assign)]
        self.unseen = [action for action in self.unseen if action not in handed]
        return [(action.peer, action.message) for action in handed]

    def place_one(self) -> Assign:
        """Placement runs, and hands out one lease."""
        ((_, lease),) = self.place()
        return lease

    def report(
        self, peer: bytes, lease: Assign, outcomes: Sequence[Outcome], *buffers: bytes
    ) -> actions.Store | None:
        """A slave reports; the acknowledgement comes after what it acknowledges is stored."""
        self._reports += 1
        before = len(self.unseen)
        self.say(peer, Report(self._reports, lease.lease, lease.job, tuple(outcomes)), *buffers)
        kinds = [type(getattr(a, "message", a)) for a in self.unseen[before:]]
        stored = self.take(actions.Store)
        assert kinds.count(Ack) == 1
        assert len(stored) <= 1
        assert not stored or kinds.index(actions.Store) < kinds.index(Ack)
        assert self.one(Ack, peer).reports == (self._reports,)
        return stored[0] if stored else None

    def finish(self, peer: bytes, lease: Assign, seconds: float = 0.001) -> None:
        """A slave reports all tasks of a lease as done."""
        outcomes = [value(task.index, seconds) for task in lease.tasks]
        stored = self.report(peer, lease, outcomes)
        assert stored is not None
        assert list(stored.outcomes) == outcomes

    def fetch(self, job: str, cursor: int = 0, credit: int = 64, request: int = 9) -> list[int]:
        """A client asks for chunks; gives back the numbers of those that it gets at once."""
        self.say(CLIENT, Fetch(request, job, cursor, credit))
        return self.delivered(job)

    def delivered(self, job: str) -> list[int]:
        """Look at the chunks that are on their way to the client."""
        chunks = self.take(actions.Deliver)
        assert {(chunk.peer, chunk.job) for chunk in chunks} <= {(CLIENT, job)}
        return [chunk.cursor for chunk in chunks]

    def ended(self, job: str) -> Ended:
        """Look at the end of a job, as the client is told of it."""
        end = self.one(Ended, CLIENT)
        assert end.info.id == job
        return end


def instance(name: str) -> bytes:
    """The instance of the process with this name; there is one of each in a test."""
    return name.encode().ljust(16, b".")


def slave_hello(
    name: str = "s1",
    *,
    slots: int = 1,
    offers: tuple[str, ...] = ("echo",),
    leases: tuple[int, ...] = (),
    protocol: int = PROTOCOL,
) -> Hello:
    """What a slave says first."""
    return Hello(Role.SLAVE, name, instance(name), protocol, "test", slots, offers, leases)


def submission(
    number: int, tasks: int = 1, *, items: bool = False, name: str = "", priority: int = 2,
    timeout_s: float = 0.0, requires: Requires = ANY_SLAVE, retries: int = 0,
    deadline_s: float = 0.0,
) -> Submit:  # fmt: skip
    """The number-th job of a client, as it is handed in."""
    uid = number.to_bytes(16, "big")
    packed = Items.of([b"t"] * tasks) if items else Items()
    return Submit(
        number, uid, "echo", b"p", packed, name, priority, timeout_s, requires, retries, deadline_s
    )


def value(index: int, seconds: float = 0.001) -> Outcome:
    """A task that came out well."""
    return Outcome(index, Status.VALUE, seconds, b"v")


def failure(index: int, status: Status = Status.ERROR, text: str = "boom") -> Outcome:
    """A task that did not."""
    return Outcome(index, status, 0.001, text.encode())


# --- The others ---------------------------------------------------------------------------------


class WorkerBench(Bench):
    """A slave's core."""

    def __init__(self, slots: int = 1) -> None:
        self.core = Worker("s1", instance("s1"), slots, ("echo",), protocol=PROTOCOL)
        super().__init__(self.core.handle, self.core.check)


class MemoryBench(Bench):
    """A memoria's core."""

    def __init__(self) -> None:
        address = "tcp://127.0.0.1:9"
        self.core = Memory("memoria1", instance("m1"), protocol=PROTOCOL, address=address)
        super().__init__(self.core.handle, lambda: None)


class SessionBench(Bench):
    """A client's core."""

    def __init__(self) -> None:
        self.core = Session("me", instance("me"), protocol=PROTOCOL)
        super().__init__(self.core.handle, lambda: None)
