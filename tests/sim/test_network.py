"""What the simulated network may do to messages, and what it never does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from hpczmq import wire
from hpczmq.messages import PROTOCOL, Beat, Hello, Message, Ping
from hpczmq.model import Role
from hpczmq.simulation.network import Dealer, Network
from hpczmq.simulation.timeline import Timeline, Trace
from hpczmq.wire import Buffer

HELLO = Hello(Role.CLIENT, "somebody", bytes(16), PROTOCOL, "")


class Bench:
    """A network, one node, and all that is heard at either end."""

    def __init__(self, seed: int = 1) -> None:
        self.timeline = Timeline()
        self.network = Network(self.timeline, Random(seed), Trace(self.timeline, 0))
        self.network.router = self._routed
        #: At the master: who says what. At the node: what it has not read, and what it has.
        self.heard: list[tuple[bytes, Message]] = []
        self.unread: list[Callable[[], None]] = []
        self.read: list[Message] = []
        self.dealer = Dealer(self.network, "node", self.unread.append, self._reads)
        self.run_for(0.1)

    def run_for(self, seconds: float) -> None:
        self.timeline.run_until(self.timeline.now + seconds)

    def say(self, message: Message) -> None:
        """The master says something to the node."""
        assert self.dealer.connection is not None
        assert self.network.send_down(self.dealer.connection.peer, message, wire.encode(message))

    def look(self) -> list[Message]:
        """The node reads what is there; gives back all that it has read."""
        while self.unread:
            self.unread.pop(0)()
        return self.read

    def _routed(self, peer: bytes, name: str, message: Message, buffers: Sequence[Buffer]) -> None:
        self.heard.append((peer, message))

    def _reads(self, message: Message, buffers: Sequence[Buffer]) -> None:
        self.read.append(message)


def test_a_copy_may_come_late_but_never_behind_a_hello_that_was_said_after_it() -> None:
    late = 0
    for seed in range(20):
        it = Bench(seed)
        it.network.weather.copies = 1.0
        for number in range(1, 9):
            it.dealer.send(Ping(number) if number % 4 else HELLO)
            it.run_for(0.2)
        it.run_for(5.0)
        said = [message for _, message in it.heard]
        first, last = said.index(HELLO), len(said) - 1 - said[::-1].index(HELLO)
        before = [m.request for m in said[:first] if isinstance(m, Ping)]
        after = [m.request for m in said[first:] if isinstance(m, Ping)]
        assert set(before) == {1, 2, 3}
        assert set(after) == {5, 6, 7}
        assert last >= first
        late += before != sorted(before) or after != sorted(after)
    assert late > 10, "copies are not what they are there for"


def test_what_was_said_to_one_master_does_not_reach_the_next() -> None:
    it = Bench()
    it.network.stall(it.dealer, 0.5)
    it.dealer.send(HELLO)
    it.dealer.close(linger_s=1.0)
    it.network.shut()
    it.network.up = True
    it.run_for(5.0)
    assert it.heard == []


def test_what_was_said_at_the_very_end_is_heard_all_the_same() -> None:
    it = Bench()
    it.network.stall(it.dealer, 0.5)
    it.dealer.send(HELLO)
    it.dealer.close(linger_s=1.0)
    it.run_for(5.0)
    assert [message for _, message in it.heard] == [HELLO]


def test_a_node_reads_nothing_of_a_connection_once_it_has_another() -> None:
    it = Bench()
    it.say(Beat(1))
    it.run_for(0.1)
    it.say(Beat(2))
    it.run_for(0.1)
    it.unread.pop(0)()
    assert it.read == [Beat(1)]
    it.network.cut(it.dealer, node_notices_s=0.0)
    it.run_for(0.5)
    it.say(Beat(3))
    it.run_for(0.1)
    assert it.look() == [Beat(1), Beat(3)]
