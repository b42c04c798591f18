"""What goes wrong in a world, and what its users want besides jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hpczmq import limits
from hpczmq.messages import (
    PROTOCOL,
    AlertsAnswer,
    Ask,
    Beat,
    Cancel,
    Drain,
    Fetch,
    Goodbye,
    Heartbeat,
    Hello,
    Message,
    Ping,
    Report,
    SetPolicy,
    Submitted,
)
from hpczmq.model import About, Metrics, Outcome, Policy, Role, Status
from hpczmq.simulation.client import ClientNode
from hpczmq.simulation.master import MasterNode
from hpczmq.simulation.memoria import MemoriaNode
from hpczmq.simulation.network import Dealer
from hpczmq.simulation.slave import SlaveNode

if TYPE_CHECKING:
    from hpczmq.simulation.world import World

Startable = MasterNode | SlaveNode | ClientNode | MemoriaNode
#: A message, and its buffers.
Letter = tuple[Message, Sequence[bytes]]


class Chaos:
    """Makes one thing after the other go wrong, until it is told to stop."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.setting.rng
        self.going = True
        #: How often each fault has struck.
        self.struck: Counter[str] = Counter()
        if world.settings.faults:
            self._next()

    def _next(self) -> None:
        every_s = self.world.settings.fault_every_s

        def strike() -> None:
            if self.going:
                name = self.rng.choice(self.world.settings.faults)
                fault: Callable[[], None] = getattr(self, name)
                fault()
                self.struck[name] += 1
                self._next()

        self.world.timeline.after(self.rng.expovariate(1.0 / every_s), strike)

    def break_connection(self) -> None:
        """Somebody's connection to the master breaks, for a moment or longer."""
        network = self.world.setting.network
        if network.dealers:
            network.cut(self.rng.choice(network.dealers), self.rng.choice((0.0, 0.0, 0.5, 6.0)))

    def stall_connection(self) -> None:
        """Somebody's messages are held up."""
        network = self.world.setting.network
        if network.dealers:
            network.stall(self.rng.choice(network.dealers), self.rng.uniform(0.1, 4.0))

    def part_connection(self) -> None:
        """Nothing comes through one way, or both ways, and nobody is told."""
        network = self.world.setting.network
        if network.dealers:
            up, down = self.rng.choice(((True, False), (False, True), (True, True)))
            network.part(self.rng.choice(network.dealers), up, down, self.rng.uniform(0.1, 6.0))

    def crash_slave(self) -> None:
        """A slave is gone, with all that it knew."""
        slave = self.rng.choice(self.world.slaves)
        slave.crash()
        self._come_back(slave)

    def stop_slave(self) -> None:
        """A slave is told to stop."""
        slave = self.rng.choice(self.world.slaves)
        if self.rng.random() < 0.5:
            slave.drain(self.rng.uniform(0.0, 3.0))
        else:
            slave.stop()
        self._come_back(slave)

    def kill_worker(self) -> None:
        """A worker process dies, and it is nobody's fault. No task has such bad luck for ever."""
        world = self.world
        process = self.rng.choice([p for s in world.slaves for p in s.processes.values()] or [None])
        if process is None:
            return
        deaths = world.oracle.deaths
        if process.lease is not None and process.task is not None:
            if deaths[process.lease.job, process.task.index] >= limits.crash_limit - 1:
                return
        elif limits.crash_limit - 1 in deaths.values():
            return  # that task may be handed to this worker before its death is noticed
        process.die("signal SIGKILL (out of memory)")

    def pause_node(self) -> None:
        """A node stands still for a while."""
        world = self.world
        node = self.rng.choice([*world.slaves, *world.clients, *world.memorias])
        node.pause(self.rng.uniform(0.1, 6.0) * world.settings.heartbeat_s)

    def pause_master(self) -> None:
        """The master stands still for a while."""
        self.world.master.pause(self.rng.uniform(0.1, 5.0) * self.world.settings.heartbeat_s)

    def crash_master(self) -> None:
        """The master is gone, and another one starts with an empty queue; which is not often."""
        if self.rng.random() < 0.2:
            self.world.master.crash()
            self._come_back(self.world.master)

    def crash_client(self) -> None:
        """A client is gone, or closes."""
        client = self.rng.choice(self.world.clients)
        self.rng.choice((client.crash, client.stop))()
        self._come_back(client)

    def crash_memoria(self) -> None:
        """A memoria is gone, or told to stop."""
        if self.world.memorias:
            memoria = self.rng.choice(self.world.memorias)
            self.rng.choice((memoria.crash, memoria.stop))()
            self._come_back(memoria)

    def heat_slave(self) -> None:
        """Somebody else's work takes a slave's processors, or leaves them alone again."""
        self.rng.choice(self.world.slaves).cpu_percent = self.rng.choice((0.0, 90.0, 100.0, 100.0))

    def revoke_slave(self) -> None:
        """A slave's key is revoked by mistake, and is added again."""
        slave, master = self.rng.choice(self.world.slaves), self.world.master
        if master.alive and not master.paused:
            master.revoke(slave.name, self.rng.uniform(0.5, 6.0))

    def stranger(self) -> None:
        """Somebody comes along who does not keep to the protocol."""
        world, rng = self.world, self.rng
        dealer = Dealer(world.setting.network, "stranger", _at_once, lambda message, buffers: None)
        instance = rng.randbytes(16)
        world.oracle.strangers |= {instance, instance[::-1]}
        letters = rng.choice((_bad_client, _bad_slave, _bad_node))(instance)
        for number, (message, buffers) in enumerate(letters):
            world.timeline.after(0.1 + 0.05 * number, _posted(dealer, message, buffers))
        world.timeline.after(5.0, dealer.close)

    def _come_back(self, node: Startable) -> None:
        def back() -> None:
            if node.alive:
                self._come_back(node)  # it was told to stop, and has not heard it yet
            else:
                node.start()

        self.world.timeline.after(self.rng.uniform(0.05, 4.0), back)


def _at_once(call: Callable[[], None]) -> None:
    call()


def _posted(dealer: Dealer, message: Message, buffers: Sequence[bytes]) -> Callable[[], None]:
    return lambda: dealer.send(message, buffers)


def _bad_client(instance: bytes) -> list[Letter]:
    """A client that asks for what there is not, and says what only others may."""
    hello = Hello(Role.CLIENT, "stranger", instance, PROTOCOL, "")
    heartbeat = Heartbeat(7, Metrics(), (1, 2), 99)
    messages: list[Message] = [
        hello,
        hello,
        Fetch(1, "nothing", 0, 1),
        Cancel(2, ("j1", "nothing")),
    ]
    messages += [Ask(3, About.JOBS, ("nothing",)), Ask(4, About.METRICS), SetPolicy(5, "best")]
    messages += [Submitted(6, "j1", 1), heartbeat, Beat(0), Goodbye("enough"), Ping(8)]
    return [(message, ()) for message in messages]


def _bad_slave(instance: bytes) -> list[Letter]:
    """A slave that can do nothing, and reports what it was never asked for."""
    value, array = (Outcome(10**6, status, 0.0, b"?") for status in (Status.VALUE, Status.ARRAY))
    hello = Hello(Role.SLAVE, "stranger", instance, PROTOCOL, "", slots=4)
    return [
        (hello, ()),
        (Report(1, 1, "nothing", (value,)), ()),
        (Report(2, 1, "j1", (value,)), ()),
        (Report(3, 1, "j1", (array,)), ()),
        (Report(4, 1, "j1", (array, array)), (b"1", b"2")),
        (Heartbeat(1, Metrics(), (10**9,), 0), ()),
        (Fetch(1, "j1", 0, 1), ()),
        (Hello(Role.CLIENT, "stranger", instance, PROTOCOL, ""), ()),
        (hello, ()),
        (Hello(Role.SLAVE, "stranger", instance[::-1], PROTOCOL, "", slots=1), ()),
    ]


def _bad_node(instance: bytes) -> list[Letter]:
    """Somebody of another version, who then claims to be a master."""
    messages: list[Message] = [
        Goodbye("I was never here"),
        Hello(Role.SLAVE, "stranger", instance, PROTOCOL + 1, ""),
        Hello(Role.MASTER, "stranger", instance, PROTOCOL, ""),
        Hello(Role.MEMORIA, "stranger", instance, PROTOCOL, "", address="tcp://nowhere:1"),
        AlertsAnswer(0, ()),
    ]
    return [(message, ()) for message in messages]


class Users:
    """What people want while jobs run: ends, answers, another policy."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.setting.rng
        self.going = True
        #: Whether somebody has cleared the queue: then jobs may be cancelled that nobody named.
        self.cleared = False
        for at_s, job in world.settings.orders:
            world.timeline.after(at_s, self._ordering(job))
        self._ask_later()

    def _ordering(self, job: object) -> Callable[[], None]:
        world, rng = self.world, self.rng

        def order() -> None:
            client = rng.choice(world.clients)
            made = client.order(job)  # type: ignore[arg-type]
            if rng.random() < world.settings.cancels:
                world.timeline.after(rng.uniform(0.0, 4.0), lambda: client.cancel(made))
            if rng.random() < 0.1:
                reader = rng.choice(world.clients)
                world.timeline.after(rng.uniform(0.5, 4.0), lambda: reader.attach(made))
            if rng.random() < 0.05:
                world.timeline.after(rng.uniform(0.0, 1.0), lambda: client.give_up(made))
            if rng.random() < 0.1:
                world.timeline.after(rng.uniform(0.0, 4.0), lambda: client.look_away(made))

        return order

    def _ask_later(self) -> None:
        def ask() -> None:
            if self.going:
                self._ask()
                self._ask_later()

        every_s = self.world.settings.questions_every_s
        if every_s < 1e9:
            self.world.timeline.after(self.rng.expovariate(1.0 / every_s), ask)

    def _ask(self) -> None:
        world, rng = self.world, self.rng
        client, dice = rng.choice(world.clients), rng.random()
        if dice < 0.06:
            client.ask(Ask(0, About.EXPLAIN, ("j1" if dice < 0.03 else "j2/3",)))
        elif dice < 0.12:  # `World.finish` lets them back
            slave = world.slaves[int(1e6 * dice) % len(world.slaves)]
            client.ask(Drain(0, (slave.name,), undo=dice > 0.1))
        elif dice < 0.5:
            client.ask(Ask(0, rng.choice((About.STATUS, About.JOBS, About.SLAVES, About.ALERTS))))
        elif dice < 0.6:
            client.ask(Ask(0, About.SLAVES, (rng.choice(world.slaves).name,)))
        elif dice < 0.7:
            client.ask(Ping(0))
        elif dice < 0.8:
            client.ask(SetPolicy(0, rng.choice(list(Policy)).value))
        elif dice < 0.82:
            self.cleared = True
            client.ask(Cancel(0, (), queued=True))
        elif world.memorias:
            rng.choice(world.memorias).visit()
