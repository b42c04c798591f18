"""What the dashboard knows: fed with answers of the cluster, read by who draws it. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from math import inf
from typing import TYPE_CHECKING, Any, Final

from hpczmq import tables
from hpczmq.happened import EventInfo
from hpczmq.model import Alert, ClusterInfo, JobInfo, JobState, NodeMetrics, SlaveInfo, SlaveState

if TYPE_CHECKING:
    from hpczmq.dashboard.canvas import Canvas

#: Rates are means over so long: short enough to follow, long enough to read.
_RATE_S: Final = 5.0
#: A character of a sparkline is so long, and so many of them are kept: the last five minutes.
BUCKET_S: Final = 5.0
BUCKETS_KEPT: Final = 60
#: How bad a state is, the worst first.
_BADNESS: Final = {
    SlaveState.LOST: 0,
    SlaveState.QUARANTINED: 1,
    SlaveState.SILENT: 2,
    SlaveState.DRAINING: 4,
    SlaveState.READY: 4,
    SlaveState.LEFT: 5,
}
#: What slaves can be sorted by, the default first.
SORTS: Final = ("worst", "name", "CPU", "memory", "latency", "tasks/s")


@dataclass(slots=True)
class Pace:
    """How fast something that only grows does so."""

    #: (when, how much), over the last `_RATE_S`.
    _recent: deque[tuple[float, float]] = field(default_factory=deque)
    #: Rates of whole buckets, oldest first.
    buckets: deque[float] = field(default_factory=lambda: deque(maxlen=BUCKETS_KEPT))
    _bucket: tuple[float, float] = (-inf, 0.0)

    def add(self, count: float, now: float) -> None:
        """It is so much now. Less than before: it was started anew."""
        recent = self._recent
        if recent and count < recent[-1][1]:
            recent.clear()
            self._bucket = (now, count)
        recent.append((now, count))
        while len(recent) > 2 and recent[1][0] <= now - _RATE_S:
            recent.popleft()
        since_s, before = self._bucket
        if since_s == -inf:
            self._bucket = (now, count)
        elif now - since_s >= BUCKET_S:
            self.buckets.append((count - before) / (now - since_s))
            self._bucket = (now, count)

    @property
    def rate(self) -> float | None:
        """Per second; None until it was seen twice."""
        if len(self._recent) < 2:
            return None
        (first_s, first), (last_s, last) = self._recent[0], self._recent[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else None


@dataclass(frozen=True, slots=True)
class Sum:
    """Slaves that are not shown, in one row."""

    slaves: int
    #: Mean load, 0..100.
    cpu_percent: float
    busy: int
    slots: int
    tasks_per_s: float


class Board:
    """All of it. Each `saw_…` takes an answer in; `now` is seconds on any clock that grows."""

    def __init__(self, address: str) -> None:
        self.address = address
        #: Of a past that is played again: which moment; empty: it is the present.
        self.replay = ""
        self.cluster: ClusterInfo | None = None
        #: When the master answered last; why it does not, and for how long it is away.
        self.heard_s = -inf
        self.trouble = ""
        self.away_s = 0.0
        self.slaves: Sequence[SlaveInfo] = ()
        #: When they were told; and what was last chosen of them, for what.
        self._slaves_s = -inf
        self._chosen: tuple[tuple[Any, ...], tuple[list[SlaveInfo], Sum | None]] | None = None
        self.jobs: Sequence[JobInfo] = ()
        #: None: no memoria has answered; then `mute` says why.
        self.alerts: Sequence[Alert] | None = None
        self.mute = ""
        #: Load of each core, 0..100, by node.
        self.cores: dict[str, Sequence[float]] = {}
        self.events: Sequence[EventInfo] = ()
        #: When the events were told: their ages are of then.
        self.events_s = 0.0
        self.throughput = Pace()
        #: By instance, and by job.
        self.slave_paces: dict[bytes, Pace] = {}
        self.job_paces: dict[str, Pace] = {}
        #: The picture that grows, of which job; and why there is none.
        self.canvas: Canvas | None = None
        self.canvas_job = ""
        self.no_canvas = ""

    # --- Answers ------------------------------------------------------------------------------

    def saw_cluster(self, info: ClusterInfo, now: float) -> None:
        """The master answered."""
        if self.cluster is not None and info.up_s < self.cluster.up_s:
            self.throughput = Pace()  # it was started anew
        self.cluster, self.heard_s, self.trouble = info, now, ""
        self.throughput.add(info.tasks_done, now)

    def saw_slaves(self, rows: Sequence[SlaveInfo], now: float) -> None:
        """All slaves that the master knows."""
        self.slaves, self._slaves_s, self._chosen = rows, now, None
        paces = self.slave_paces
        self.slave_paces = {row.instance: paces.get(row.instance) or Pace() for row in rows}
        for row in rows:
            self.slave_paces[row.instance].add(row.metrics.tasks_done, now)

    def saw_jobs(self, rows: Sequence[JobInfo], now: float) -> None:
        """All jobs that the master knows."""
        self.jobs = rows
        going = {row.id: row for row in rows if row.state is JobState.RUNNING}
        paces = self.job_paces
        self.job_paces = {id: paces.get(id) or Pace() for id in going}
        for id, pace in self.job_paces.items():
            pace.add(going[id].done + going[id].failed, now)

    def saw_alerts(self, rows: Sequence[Alert]) -> None:
        """What is wrong, by a memoria."""
        self.alerts, self.mute = rows, ""

    def saw_metrics(self, rows: Sequence[NodeMetrics]) -> None:
        """What nodes measure beside their heartbeats, by a memoria."""
        self.cores = {row.node: row.vitals.cores_percent for row in rows}

    def saw_events(self, rows: Sequence[EventInfo], now: float) -> None:
        """What happened lately, oldest first."""
        self.events, self.events_s = rows, now

    def failed(self, why: str) -> None:
        """The master does not answer; what it said last stays."""
        self.trouble = why

    def no_alerts(self, why: str) -> None:
        """No memoria answers."""
        self.alerts, self.mute = None, why

    # --- What is drawn ------------------------------------------------------------------------

    @property
    def insecure(self) -> bool:
        """Whether the master says that everybody may connect."""
        return self.cluster is not None and self.cluster.insecure

    def slaves_by(self, sort: str, wanted: str, most: int) -> tuple[list[SlaveInfo], Sum | None]:
        """The first so many slaves whose name, state or labels have `wanted` in them, and all
        others of these in one row. Looked for once, and not for each frame."""
        asked = self._slaves_s, id(self.alerts), sort, wanted, most
        if self._chosen is None or self._chosen[0] != asked:
            self._chosen = asked, self._choose(sort, wanted, most)
        return self._chosen[1]

    def _choose(self, sort: str, wanted: str, most: int) -> tuple[list[SlaveInfo], Sum | None]:
        found = [row for row in self.slaves if not wanted or _matches(row, wanted)]
        if len(found) > most:
            most = max(0, most - 1)  # the last line is the sum's
        alerted = {alert.node for alert in self.alerts or ()}
        keys: dict[str, Any] = {
            "worst": lambda row: (
                _BADNESS[row.state], row.name not in alerted, -row.metrics.cpu_percent, row.name,
            ),
            "name": lambda row: row.name,
            "CPU": lambda row: (-row.metrics.cpu_percent, row.name),
            "memory": lambda row: (-row.metrics.memory_percent, row.name),
            "latency": lambda row: (-row.metrics.latency_s, row.name),
            "tasks/s": lambda row: (-(self.rate_of(row) or 0.0), row.name),
        }  # fmt: skip
        top = nsmallest(most, found, keys[sort])
        if len(top) == len(found):
            return top, None
        shown = {row.instance for row in top}
        rest = [row for row in found if row.instance not in shown]
        alive = [row for row in rest if not row.state.gone]
        cpu = sum([row.metrics.cpu_percent for row in alive]) / max(1, len(alive))
        return top, Sum(
            len(rest), cpu, sum([row.metrics.slots_busy for row in alive]),
            sum([row.slots for row in alive]), sum([self.rate_of(row) or 0.0 for row in alive]),
        )  # fmt: skip

    def rate_of(self, row: SlaveInfo) -> float | None:
        """Tasks a second of a slave."""
        pace = self.slave_paces.get(row.instance)
        return None if pace is None or row.state.gone else pace.rate

    def busy(self) -> int:
        """Slots at work."""
        return sum([row.metrics.slots_busy for row in self.slaves if not row.state.gone])

    def jobs_in_order(self) -> list[JobInfo]:
        """Those that run, then those that wait as they will be served, then the last to end."""
        going = [row for row in self.jobs if row.state is JobState.RUNNING]
        queued = [row for row in self.jobs if row.state is JobState.QUEUED]
        ended = [row for row in self.jobs if row.state.ended]
        by_priority = sorted(going, key=_priority) + sorted(queued, key=_priority)
        return by_priority + ended[::-1]

    def queue(self) -> dict[int, tuple[int, int]]:
        """By priority: jobs that are not over, and tasks of them that wait."""
        found = dict.fromkeys((1, 2, 3), (0, 0))
        for row in self.jobs:
            if not row.state.ended:
                jobs, tasks = found.get(row.priority, (0, 0))
                waiting = max(0, row.tasks - row.done - row.failed - row.running)
                found[row.priority] = jobs + 1, tasks + waiting
        return found

    def left_s(self, row: JobInfo) -> float | None:
        """How long a job will still take, as it goes now; None: nobody knows."""
        pace = self.job_paces.get(row.id)
        rate = pace.rate if pace else None
        return (row.tasks - row.done - row.failed) / rate if rate else None

    def pictured(self, picked: str) -> JobInfo | None:
        """The job whose picture is to be shown: the one that was picked, or the first that runs."""
        images = (row for row in self.jobs_in_order() if is_image(row))
        if picked:
            return next((row for row in images if row.id == picked), None)
        first = next(images, None)
        keeps = first is None or first.state is JobState.QUEUED or first.state.ended
        if keeps and self.canvas_job:  # nothing runs: the last one stays
            return next((row for row in self.jobs if row.id == self.canvas_job), first)
        return first


def is_image(row: JobInfo) -> bool:
    """Whether a job is a picture that can be shown while it grows."""
    return row.kernel == "julia" and bool(row.params) and "width" in tables.params_of(row)


def _priority(row: JobInfo) -> int:
    return row.priority


def _matches(row: SlaveInfo, wanted: str) -> bool:
    words: Iterable[str] = (row.name, row.state.name.lower(), *row.labels)
    return any(wanted.casefold() in word.casefold() for word in words)
