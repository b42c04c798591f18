"""A network that behaves like ZeroMQ's, only worse.

Like it: messages of one connection arrive in their order or not at all, each way; a connection
that breaks takes what is under way with it, and the next one has another routing id; a DEALER
without a connection drops what it is told to send (IMMEDIATE); a ROUTER says when a peer is gone
(MANDATORY), but for a while it may not know; what is published may be lost.

Worse: single messages are lost, come twice, or stand still for seconds, on a connection that
stays up.

Three things it never does, because TCP and ZeroMQ never do them and the machines build on that
(docs/protocol.md, "What counts as said to whom"): what was said to one master does not reach the
next one; what was said before a hello does not come behind it, not even a second time; and a node
reads nothing of a connection once it has another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from random import Random

from hpczmq import wire
from hpczmq.messages import Hello, Message
from hpczmq.simulation.timeline import Timeline, Trace
from hpczmq.wire import Buffer

#: Takes what a node reads.
Read = Callable[[Message, Sequence[Buffer]], None]
#: Has a node do something: now, or when it looks again.
Post = Callable[[Callable[[], None]], None]
#: Whether a message is to be lost: (to the master?, name of the node, message).
Censor = Callable[[bool, str, Message], bool]


@dataclass(slots=True)
class Weather:
    """What the network does to the messages of the day."""

    #: Longest time that a message travels, most of the time.
    delay_s: float = 0.004
    #: Share of the messages that are lost, and that come twice, on a connection that stays up.
    loss: float = 0.0
    copies: float = 0.0
    #: Share of the published messages that are lost.
    published_loss: float = 0.0
    #: How fast pixels travel, each way; what is sent after them waits.
    bytes_per_s: float = inf


@dataclass(slots=True)
class Connection:
    """One connection between a node and the master, from its start to its end."""

    peer: bytes
    #: Which master is at its other end.
    reign: int
    #: How often the node has said hello on it, and the number of the last one that was heard.
    hellos: int = 0
    heard: int = 0
    #: When the last message arrives, to the master and from it.
    up_s: float = 0.0
    down_s: float = 0.0
    #: What would arrive later than this is lost.
    up_until_s: float = inf
    down_until_s: float = inf
    #: Until then nothing comes through, and neither end knows.
    up_parted_s: float = -inf
    down_parted_s: float = -inf


class Dealer:
    """A node's socket. It makes a new connection by itself when it has lost one."""

    def __init__(self, network: Network, name: str, post: Post, read: Read) -> None:
        self.name = name
        self.connection: Connection | None = None
        self.topics: tuple[bytes, ...] = ()
        self.closed = False
        self._network, self._post, self._read = network, post, read
        network.dial(self)

    def send(self, message: Message, buffers: Sequence[Buffer] = ()) -> None:
        """Send to the master, or drop it if there is no connection."""
        self._network.send_up(self, message, buffers)

    def arrive(
        self, connection: Connection | None, message: Message, buffers: Sequence[Buffer]
    ) -> None:
        """Something is here to be read; None: it was published. What a connection has brought
        can be read for as long as there is no other one.
        """

        def read() -> None:
            if not self.closed and (connection is None or connection is self.connection):
                self._read(message, buffers)

        self._post(read)

    def subscribe(self, *topics: bytes) -> None:
        """Listen to what the master publishes."""
        self.topics = topics

    def close(self, linger_s: float = 0.0) -> None:
        """The process is gone; with time to linger, what it has said still leaves."""
        self.closed = True
        connection = self.connection
        self._network.cut(self)
        if connection is not None and linger_s:
            connection.up_until_s += linger_s


class Network:
    """All connections to one master."""

    def __init__(self, timeline: Timeline, rng: Random, trace: Trace) -> None:
        self.weather = Weather()
        #: What is lost on purpose, in a directed test.
        self.censor: Censor | None = None
        #: Takes what arrives at the master, and from which node.
        self.router: Callable[[bytes, str, Message, Sequence[Buffer]], None] = _nobody
        #: Nodes whose key is none of the cluster's just now.
        self.barred: set[str] = set()
        #: Whether there is a master to connect to.
        self.up = True
        #: Sockets in use, in the order of their making.
        self.dealers: list[Dealer] = []
        #: Which master this is.
        self._reign = 0
        #: What the master's ROUTER believes to be connected.
        self._peers: dict[bytes, Dealer] = {}
        self._timeline = timeline
        self._rng = rng
        self._trace = trace
        #: What was lost in partitions: messages to the master, and from it.
        self.parted_up = self.parted_down = 0

    # --- Connections --------------------------------------------------------------------------

    def dial(self, dealer: Dealer, delay_s: float = 0.0) -> None:
        """Give a socket a connection, under a routing id that nobody has had before."""
        if dealer not in self.dealers:
            self.dealers.append(dealer)

        def connect() -> None:
            if (not self.up or dealer.name in self.barred) and not dealer.closed:
                self.dial(dealer, 0.2)
            elif dealer.connection is None and not dealer.closed:
                dealer.connection = Connection(self._rng.randbytes(5), self._reign)
                self._peers[dealer.connection.peer] = dealer
                self._trace(dealer.name, "connected as", dealer.connection.peer.hex())

        self._timeline.after(delay_s + self._rng.uniform(0.001, 0.05), connect)

    def cut(
        self,
        dealer: Dealer,
        again_s: float = 0.0,
        node_notices_s: float | None = None,
        master_notices_s: float | None = None,
    ) -> None:
        """Break the connection of a socket; it dials again after a while, unless it is closed.

        Each end may take a while to notice, and talks to nobody until then; None: by chance.
        """
        if dealer.closed and dealer in self.dealers:
            self.dealers.remove(dealer)
        connection, now = dealer.connection, self._timeline.now
        if connection is None:
            return
        self._trace(dealer.name, "lost connection", connection.peer.hex())
        # What the master's end has received already may still be read.
        connection.up_until_s = now + self._rng.choice((0.0, 0.0, 0.1))
        connection.down_until_s = now
        if node_notices_s is None:
            node_notices_s = self._rng.choice((0.0, 0.0, 0.0, 1.5))
        if master_notices_s is None:
            master_notices_s = self._rng.choice((0.0, 0.0, 3.0))
        self._timeline.after(master_notices_s, lambda: self._forget(connection))
        if dealer.closed:
            dealer.connection = None
        else:
            self._timeline.after(
                node_notices_s, lambda: self._dial_again(dealer, connection, again_s)
            )

    def shut(self) -> None:
        """The master is gone, and with it every connection."""
        self.up = False
        self._reign += 1
        self._peers.clear()
        for dealer in list(self.dealers):
            self.cut(dealer)

    def bar(self, name: str, for_s: float) -> None:
        """Let a node in no more, for a while."""
        self.barred.add(name)
        for dealer in [dealer for dealer in self.dealers if dealer.name == name]:
            self.cut(dealer)
        self._timeline.after(for_s, lambda: self.barred.discard(name))

    def stall(self, dealer: Dealer, for_s: float) -> None:
        """Hold up what is sent from now on; nothing is lost."""
        connection = dealer.connection
        if connection is not None:
            self._trace(dealer.name, "stands still for", f"{for_s:.2f} s")
            connection.up_s = connection.down_s = self._timeline.now + for_s

    def part(self, dealer: Dealer, up: bool, down: bool, for_s: float) -> None:
        """Let nothing through one way or both ways, on a connection that both ends take for
        whole: a half-open link, a partition."""
        connection, until_s = dealer.connection, self._timeline.now + for_s
        if connection is not None:
            self._trace(dealer.name, "is parted: up", up, "down", down, f"for {for_s:.2f} s")
            connection.up_parted_s = until_s if up else connection.up_parted_s
            connection.down_parted_s = until_s if down else connection.down_parted_s

    def heal(self) -> None:
        """End every partition."""
        for dealer in self.dealers:
            if dealer.connection is not None:
                dealer.connection.up_parted_s = dealer.connection.down_parted_s = -inf

    def _forget(self, connection: Connection) -> None:
        self._peers.pop(connection.peer, None)

    def _dial_again(self, dealer: Dealer, lost: Connection, after_s: float) -> None:
        if dealer.connection is lost:
            dealer.connection = None
            self.dial(dealer, after_s)

    # --- Messages -----------------------------------------------------------------------------

    def send_up(self, dealer: Dealer, message: Message, buffers: Sequence[Buffer]) -> None:
        """From a node to the master."""
        connection = dealer.connection
        if connection is None:
            self._trace(dealer.name, "⇒ dropped", message)
            return
        self._trace(dealer.name, "→", message)
        frames = _sealed(wire.encode(message, buffers))

        introduces = isinstance(message, Hello)
        connection.hellos += introduces
        hellos = connection.hellos

        def arrive() -> None:
            if connection.reign != self._reign or self._timeline.now > connection.up_until_s:
                return
            if introduces:
                connection.heard = max(connection.heard, hellos)
            if hellos >= connection.heard:
                self.router(connection.peer, dealer.name, *_opened(frames, message))

        for extra_s in self._copies(True, dealer, message):
            connection.up_s = self._arrival_s(connection.up_s, frames)
            self._timeline.at(connection.up_s + extra_s, arrive)

    def send_down(self, peer: bytes, message: Message, frames: Sequence[Buffer]) -> bool:
        """From the master to a node; False: the ROUTER knows that this peer is gone."""
        dealer = self._peers.get(peer)
        if dealer is None:
            self._trace(peer.hex(), "is gone, not sent:", message)
            return False
        self._trace(dealer.name, "←", message)
        connection = dealer.connection
        if connection is None or connection.peer != peer:
            return True  # lost without a word: the node is on another connection by now
        sealed = _sealed(frames)

        def arrive() -> None:
            if not dealer.closed and self._timeline.now <= connection.down_until_s:
                dealer.arrive(connection, *_opened(sealed, message))

        for extra_s in self._copies(False, dealer, message):
            connection.down_s = self._arrival_s(connection.down_s, sealed)
            self._timeline.at(connection.down_s + extra_s, arrive)
        return True

    def _publication(
        self, dealer: Dealer, frames: Sequence[bytes], message: Message
    ) -> Callable[[], None]:
        reign = self._reign

        def arrive() -> None:
            if not dealer.closed and reign == self._reign:
                dealer.arrive(None, *_opened(frames, message))

        return arrive

    def publish(self, message: Message) -> None:
        """From the master's PUB to whoever listens; order is not kept."""
        topic = wire.TOPICS[type(message)]
        frames = _sealed(wire.encode(message, topic=topic))
        for dealer in self.dealers:
            lost = self._rng.random() < self.weather.published_loss
            if dealer.connection is None or topic not in dealer.topics or lost:
                continue
            if not self._is_parted(dealer.connection, up=False):
                self._timeline.after(self._delay(), self._publication(dealer, frames, message))

    def _arrival_s(self, before_s: float, frames: Sequence[bytes]) -> float:
        """When a message arrives that is sent behind those that arrive before."""
        wire_s = sum(map(len, frames[2:])) / self.weather.bytes_per_s
        return max(before_s + wire_s, self._timeline.now + self._delay() + wire_s)

    def _delay(self) -> float:
        return self._rng.uniform(0.0001, self.weather.delay_s)

    def _is_parted(self, connection: Connection, up: bool) -> bool:
        """Whether a message gets lost in a partition now; counts it."""
        parted_s = connection.up_parted_s if up else connection.down_parted_s
        if self._timeline.now >= parted_s:
            return False
        self.parted_up += up
        self.parted_down += not up
        return True

    def _copies(self, up: bool, dealer: Dealer, message: Message) -> Sequence[float]:
        """How often a message arrives: for each time, how much later than it should."""
        if self.censor is not None and self.censor(up, dealer.name, message):
            self._trace(dealer.name, "lost by the test:", type(message).__name__)
            return ()
        connection = dealer.connection
        if connection is not None and self._is_parted(connection, up):
            return ()
        dice = self._rng.random()
        if dice < self.weather.loss:
            self._trace(dealer.name, "lost:", type(message).__name__)
            return ()
        if dice > 1.0 - self.weather.copies:
            return (0.0, self._rng.uniform(0.0, 2.0))
        return (0.0,)


def _sealed(frames: Sequence[Buffer]) -> list[bytes]:
    """The frames as they travel: nobody can change them any more."""
    return [bytes(frame) for frame in frames]


def _opened(frames: Sequence[bytes], sent: Message) -> tuple[Message, Sequence[Buffer]]:
    """The message as it arrives, made from its bytes."""
    message, buffers = wire.decode(frames)
    assert message == sent, f"{sent} became {message} on the wire"
    return message, buffers


def _nobody(peer: bytes, name: str, message: Message, buffers: Sequence[Buffer]) -> None:
    raise AssertionError("there is no master yet")
