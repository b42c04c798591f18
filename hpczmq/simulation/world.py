"""One seeded world: a master, slaves, memorias and clients, in a network that fails.

A run has two phases. In the first everything goes wrong that the seed has drawn, and what the
machines do is held against the books of the oracle, at each step. Then nothing goes wrong any
more, and in a bounded time every job has to come to its right end, and nothing may be left over.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import ModuleType, SimpleNamespace, TracebackType
from typing import Self

from hpczmq import limits, memory
from hpczmq.messages import Drain
from hpczmq.model import SlaveState
from hpczmq.rules import RULES
from hpczmq.scheduler import machine
from hpczmq.simulation.client import ClientNode, Order
from hpczmq.simulation.faults import Chaos, Users
from hpczmq.simulation.master import MasterNode
from hpczmq.simulation.memoria import MemoriaNode
from hpczmq.simulation.network import Weather
from hpczmq.simulation.node import Node, Setting
from hpczmq.simulation.oracle import Oracle
from hpczmq.simulation.settings import Settings, draw
from hpczmq.simulation.slave import SlaveNode
from hpczmq.simulation.work import Fate, SimJob
from hpczmq.worker import SlotState

#: After the last fault everything has to be over in this time, in simulated seconds.
LIVENESS_S = 120.0
#: Who takes the bounds that a world has of its own.
TUNED = tuple(
    f"hpczmq.{name}"
    for name in (
        "scheduler",
        "worker",
        "membership",
        "session",
        "memory",
        "history",
        "filling",
        "simulation",
    )
)
REPLAY = "python -m pytest tests/sim/test_world.py --seed"


class SimulationFailed(AssertionError):
    """A world broke a rule; says which one, in which world, and how to see it again."""


class World:
    """A whole cluster. Use it as a context manager; an error inside is told with its story."""

    def __init__(
        self, seed: int, settings: Settings | None = None, trace_lines_max: int | None = 120
    ) -> None:
        self.seed = seed
        self.setting = Setting(seed, trace_lines_max)
        self.settings = settings if settings is not None else draw(self.setting.rng)
        self.timeline = self.setting.timeline
        self.oracle = Oracle(self.setting.jobs)
        self._open = ExitStack()
        #: When the last fault was over.
        self.calm_s = 0.0

    def __enter__(self) -> Self:
        self._open.enter_context(tuned(self.settings.tuning))
        settings, setting = self.settings, self.setting
        setting.drift = settings.drift
        setting.jobs += sorted((job for _, job in settings.orders), key=lambda job: job.number)
        self.master = MasterNode(setting, self.oracle, settings.heartbeat_s, settings.policy)
        self.slaves = [
            SlaveNode(setting, f"slave{number}", self.oracle, slots, capabilities)
            for number, (slots, capabilities) in enumerate(settings.slaves, 1)
        ]
        self.clients = [ClientNode(setting, f"client{n + 1}") for n in range(settings.clients)]
        self.memorias = [MemoriaNode(setting, f"memoria{n + 1}") for n in range(settings.memorias)]
        self.oracle.strict = self.is_calm
        self.master.start()
        nodes: list[SlaveNode | ClientNode | MemoriaNode] = [*self.slaves, *self.clients]
        for node in [*nodes, *self.memorias]:
            node.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()
        if isinstance(error, Exception):
            raise SimulationFailed(self.story(error)) from error

    def story(self, error: Exception) -> str:
        """What went wrong, in which world, how to see it again, and what happened before."""
        what = f"{type(error).__name__}: {error}"
        head = f"seed {self.seed} failed at {self.timeline.now:.4f} s: {what}"
        return "\n".join([head, f"replay: {REPLAY} {self.seed}", *self.setting.trace.lines(), head])

    # --- The two phases -----------------------------------------------------------------------

    def run(self) -> None:
        """From the first order to the last result, and all that must be true of it."""
        self.setting.faults = bool(self.settings.faults)
        self.setting.network.weather = self.settings.weather
        self.chaos = chaos = Chaos(self)
        users = Users(self)
        self.run_for(self.settings.chaos_s)
        chaos.going = users.going = False
        self.finish(users.cleared)

    def finish(self, may_be_cancelled: bool = False) -> None:
        """Let nothing go wrong any more, and see everything come to its end."""
        self.setting.faults = False
        self.setting.network.weather = Weather()
        self.setting.network.heal()
        self.setting.trace("--- from here on nothing goes wrong any more")
        for slave in self.slaves:
            slave.cpu_percent = 0.0
        self.calm_s = self.timeline.now
        self._let_back()
        self.until(lambda: not self.left(), LIVENESS_S, lambda: "\n".join(self.left()))
        for order in self.orders:
            order.check(may_be_cancelled or (order.queue, order.id) in self.setting.cancels)
        self._check_thrift()

    def _let_back(self) -> None:
        """Have every slave that somebody drained get work again, now and then, until all do."""
        asker = next((client for client in self.clients if client.alive), None)
        for slave in self.master.core.state.slaves.values():
            if slave.rest is SlaveState.DRAINING and asker is not None and self.master.alive:
                asker.ask(Drain(0, (slave.name,), undo=True))
        self.timeline.after(5.0, self._let_back)

    def run_for(self, seconds: float) -> None:
        """Let time pass."""
        self.timeline.run_until(self.timeline.now + seconds)

    def until(
        self, reached: Callable[[], bool], within_s: float, what: Callable[[], str] = lambda: ""
    ) -> None:
        """Let time pass until something is true; fail if it takes too long."""
        end_s = self.timeline.now + within_s
        while not reached():
            assert self.timeline.now < end_s, f"not in {within_s:g} s: {what()}"
            self.run_for(0.1)

    @property
    def is_calm(self) -> bool:
        """Whether nothing ever goes wrong here."""
        return self._is_quiet and self.settings.weather == Weather()

    @property
    def _is_quiet(self) -> bool:
        """Whether messages may get lost here, and nothing else."""
        settings = self.settings
        return settings.calm and not settings.faults and not settings.weather.copies

    def _check_thrift(self) -> None:
        """What is lost is said again; but nothing is run again, unless a slave was given up."""
        if not self._is_quiet or any("is lost" in note for note in self.master.notes):
            assert not self.is_calm, "a slave was given up, and nothing was wrong"
            return
        for order in self.orders:
            begun = self.oracle.begun[order.id]
            if not {Fate.KILLS, Fate.RAISES, Fate.FLAKY} & set(order.job.fates.values()):
                may = order.job.tasks + self.oracle.doubled(order.id)
                assert begun <= may, f"{order.id} ran {begun} tasks of {may}"
        if self.is_calm:
            assert not self.master.sent["Introduce"], "somebody was taken for a stranger"
            assert not any("never reached" in note for note in self.master.notes)
            self._check_deliveries()

    def _check_deliveries(self) -> None:
        """What was not lost is not sent again."""
        away = {order.id for order in self.orders if order.looked_away}
        twice = [key for key, n in self.master.delivered.items() if n > 1 and key[1] not in away]
        # A reader that has waited for long may ask again just as the next chunk comes.
        few = 1 + len(self.master.delivered) // 20
        assert len(twice) <= few, f"chunks were sent twice: {twice}"

    # --- What is there ------------------------------------------------------------------------

    @property
    def orders(self) -> list[Order]:
        """All that was ever ordered."""
        return [order for client in self.clients for order in client.orders]

    def order(self, job: SimJob, client: int = 0) -> Order:
        """Have a client order a job, beside those of the settings."""
        assert job.number == len(self.setting.jobs), "jobs are numbered as they are ordered"
        self.setting.jobs.append(job)
        return self.clients[client].order(job)

    def left(self) -> list[str]:
        """All that is not over, or not cleaned up."""
        nodes: list[Node] = [self.master, *self.slaves, *self.clients, *self.memorias]
        gone = [f"{node.name} is not up" for node in nodes if not node.alive or node.paused]
        return gone or [*self._left_at_clients(), *self._left_at_slaves(), *self._left_at_master()]

    def _left_at_clients(self) -> Iterator[str]:
        for client in self.clients:
            for order in client.orders:
                if not order.over:
                    yield f"{client.name} waits for {order.id or 'the id of'} job {order.job}"
            if client.core.pending or client.core.followed:
                yield f"{client.name} waits for {client.core.pending}, {client.core.followed}"
        for memoria in self.memorias:
            alerts = [a for a in memoria.core.alerts(memoria.now) if a.rule == "cpu-saturated"]
            if alerts or not memoria.core.membership.joined:
                yield f"{memoria.name} still has {alerts}"

    def _left_at_slaves(self) -> Iterator[str]:
        generation = self.master.core.state.control.generation
        for slave in self.slaves:
            core = slave.core
            if core.held() or core.kept or core.queue:
                yield f"{slave.name} holds {core.held()}, and reports {list(core.kept)}"
            states = [slot.state for slot in core.slots]
            if set(states) != {SlotState.IDLE}:
                yield f"{slave.name} has slots {states}"
            if not core.membership.joined or core.membership.generation != generation:
                yield f"{slave.name} is not up to date"

    def _left_at_master(self) -> Iterator[str]:
        state = self.master.core.state
        if state.leases or any(state.queues.values()):
            yield f"the master has {state.leases}, {state.queues}"
        watched = [id for id in state.watchers if not state.jobs[id].state.ended]
        if watched:
            yield f"somebody still waits for {watched}"
        ready = {s.instance for s in state.slaves.values() if s.state is SlaveState.READY}
        if ready != {slave.instance for slave in self.slaves} or len(ready) != len(state.slaves):
            yield f"the master's slaves are {[(s.name, s.state) for s in state.slaves.values()]}"
        others = [node.dealer.connection for node in self.clients]
        others += [node.dealer.connection for node in self.memorias]
        if set(state.clients) != {other.peer for other in others if other is not None}:
            yield f"the master's clients are {state.clients}"


@contextmanager
def tuned(bounds: dict[str, float]) -> Iterator[None]:
    """The machines with other bounds. The wire keeps its own: they are a part of the protocol."""
    changed = SimpleNamespace(**{**vars(limits), **bounds})
    rules = tuple(
        replace(rule, for_s=changed.cpu_saturated_s) if rule.name == "cpu-saturated" else rule
        for rule in RULES
    )
    with ExitStack() as undo:
        for module in (memory, machine):
            _put(undo, module, "RULES", rules)
        for name, module in sorted(sys.modules.items()):
            if name.startswith(TUNED) and vars(module).get("limits") is limits:
                _put(undo, module, "limits", changed)
        yield


def _put(undo: ExitStack, module: ModuleType, name: str, value: object) -> None:
    """Change a name of a module until all is undone."""
    undo.callback(setattr, module, name, getattr(module, name))
    setattr(module, name, value)


def run(seed: int) -> World:
    """Run the world of a seed to its end."""
    with World(seed) as world:
        world.run()
    return world


def run_all(seeds: Sequence[int]) -> None:
    """Run the worlds of some seeds, each to its end or its fault; tell the first fault's story."""
    faults: dict[int, SimulationFailed] = {}
    for seed in seeds:
        print(f"seed {seed}")  # if it never ends, this is what one needs to know
        try:
            run(seed)
        except SimulationFailed as fault:
            faults[seed] = fault
    if faults:
        first, numbers = next(iter(faults.values())), ", ".join(map(str, faults))
        failed = f"{len(faults)} of {len(seeds)} worlds failed: seeds {numbers}"
        raise SimulationFailed(f"{first}\n{failed}") from first


def stories(seeds: Sequence[int]) -> list[str]:
    """Of each world, why it failed and what happened before, or nothing."""
    told = []
    for seed in seeds:
        try:
            run(seed)
        except SimulationFailed as fault:
            told.append(str(fault))
        else:
            told.append("")
    return told
