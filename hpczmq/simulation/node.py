"""What all simulated nodes have in common: a clock of their own, a life, a pause, a tick."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from hpczmq import limits
from hpczmq.simulation.network import Network
from hpczmq.simulation.timeline import Timeline, Trace
from hpczmq.simulation.work import SimJob

#: When the world begins, in seconds since 1970.
_BEGAN_S = 1.8e9


class Setting:
    """What every node of one world shares."""

    def __init__(self, seed: int, trace_lines_max: int | None) -> None:
        self.rng = Random(seed)
        self.timeline = Timeline()
        self.trace = Trace(self.timeline, trace_lines_max)
        self.network = Network(self.timeline, self.rng, self.trace)
        #: All that will ever be submitted, by number.
        self.jobs: list[SimJob] = []
        #: Jobs that somebody wanted ended: queue and id.
        self.cancels: set[tuple[bytes, str]] = set()
        #: Whether things go wrong by chance: workers that don't start, and so on.
        self.faults = False
        #: How much faster or slower than true time a clock may run at most, as a share.
        self.drift = 0.0
        #: Memorias by the addresses where they answer.
        self.memorias: dict[str, Any] = {}
        #: What the master's clock says, in seconds.
        self.master_now: Callable[[], float] = lambda: 0.0


class Node:
    """A process: it lives, stands still, dies, and comes back as another one."""

    def __init__(self, setting: Setting, name: str) -> None:
        self.setting = setting
        self.rng, self.timeline, self.trace = setting.rng, setting.timeline, setting.trace
        self.name = name
        #: Which of its lives this is; 0 before the first. What belongs to an older one is void.
        self.life = 0
        self.alive = False
        self.paused_until_s = 0.0
        #: What happened while it stood still.
        self._backlog: deque[Callable[[], None]] = deque()
        #: No two clocks agree, neither on the time nor on how fast it passes.
        self._skew_s = self.rng.uniform(0.0, 1e5)
        self.pace = 1.0 + setting.drift * self.rng.uniform(-1.0, 1.0) if setting.drift else 1.0

    @property
    def now(self) -> float:
        """What this node's clock says, in seconds."""
        return self.timeline.now * self.pace + self._skew_s

    @property
    def wall_s(self) -> float:
        """What the clock on its wall says: these are set by the network, and agree."""
        return _BEGAN_S + self.timeline.now

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return self.paused_until_s > self.timeline.now

    def born(self) -> None:
        """Begin a new life."""
        self.life += 1
        self.alive = True
        self._backlog.clear()
        self.trace(self.name, "starts, life", self.life)
        self._tick_later(self.life)

    def died(self) -> None:
        """End this life. Whoever comes next has not stood still yet."""
        self.alive = False
        self.paused_until_s = 0.0

    def pause(self, for_s: float) -> None:
        """Stand still for a while: what happens is seen afterwards."""
        if self.alive and not self.paused:
            self.trace(self.name, "stands still for", f"{for_s:.2f} s")
            self.paused_until_s = self.timeline.now + for_s
            self.timeline.at(self.paused_until_s, self.mine(self._catch_up))

    def mine(self, call: Callable[[], None]) -> Callable[[], None]:
        """The same, but only as long as this life lasts."""
        life = self.life

        def called() -> None:
            if self.alive and self.life == life:
                call()

        return called

    def post(self, call: Callable[[], None]) -> None:
        """Something comes in from outside: now, or when the node looks again."""
        if not self.alive:
            return
        if self.paused:
            self._backlog.append(call)
        else:
            call()

    def post_after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Something will come in from outside, to this life."""
        self.timeline.after(delay_s, self.mine(lambda: self.post(call)))

    def tick(self) -> None:
        """Look at the clock."""
        raise NotImplementedError

    def _catch_up(self) -> None:
        while self._backlog and self.alive:
            self._backlog.popleft()()
        if self.alive:
            self.tick()

    def _tick_later(self, life: int) -> None:
        def ticked() -> None:
            if not self.paused:
                self.tick()
            self._tick_later(life)

        self.timeline.after(limits.tick_s * self.rng.uniform(1.0, 1.2), self.mine(ticked))
