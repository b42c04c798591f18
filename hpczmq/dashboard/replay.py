"""The past of a cluster on a board: what a memoria has kept of its nodes, played again. Pure.

What was measured comes back: load, memory, latency, busy slots, tasks; alerts, and the events
that the master still remembers. Jobs and their pictures are not in a history.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf
from statistics import median
from typing import Any, Final

from hpczmq.dashboard.board import Board
from hpczmq.happened import EventInfo
from hpczmq.model import Alert, ClusterInfo, Metrics, SlaveInfo, SlaveState

#: By node a row for each moment, oldest first: `at_s` in seconds since 1970, and each metric.
History = Mapping[str, Sequence[Mapping[str, float]]]
#: The master's name as a node.
_MASTER: Final = "master"
#: A node of which nothing was heard for so many of its usual gaps, and so long, was gone.
_GAPS: Final = 3.0
_GONE_S: Final = 5.0
#: Moments between two frames that a board sees.
_STEPS_MAX: Final = 20
_WHOLE: Final = ("memory_free_bytes", "slots_busy", "tasks_held", "tasks_done", "tasks_failed")


class Replay:
    """The rows of a history in the order of time.

    Args:
        history: of all nodes.
        events: what the master remembers, with their ages at `now_s`.
        alerts: those that are over and those that are active.
        info: the cluster as it is now, for its name.
        now_s: the moment of both, in seconds since 1970.
    """

    def __init__(
        self, history: History, events: Sequence[EventInfo], alerts: Sequence[Alert],
        info: ClusterInfo, now_s: float,
    ) -> None:  # fmt: skip
        self._rows = {name: rows for name, rows in history.items() if rows}
        self._at_s = {name: [row["at_s"] for row in rows] for name, rows in self._rows.items()}
        self._events = [(now_s - event.age_s, event) for event in events]
        self._alerts = [alert for alert in alerts if alert.raised_s]
        self._info = info
        #: From when to when there is anything, in seconds since 1970.
        self.begin_s = min((times[0] for times in self._at_s.values()), default=now_s)
        self.end_s = max((times[-1] for times in self._at_s.values()), default=now_s)
        self._slots = {
            name: max(1, round(max(row.get("slots_busy", 0.0) for row in rows)))
            for name, rows in self._rows.items()
        }
        self._gone_s = {name: _patience_s(times) for name, times in self._at_s.items()}
        self._shown_s = self.begin_s

    def __bool__(self) -> bool:
        return bool(self._rows)

    def show(self, board: Board, at_s: float) -> None:
        """Bring a board to a moment; on the way it sees others, a second apart or more, so that
        rates and sparklines are of that time."""
        way_s = at_s - self._shown_s
        steps = max(1, min(_STEPS_MAX, int(way_s)))
        for step in range(1, steps + 1):
            self._show(board, self._shown_s + way_s * step / steps)
        self._shown_s = at_s

    def _show(self, board: Board, at_s: float) -> None:
        newest = {name: self._newest(name, at_s) for name in self._rows}
        slaves = [
            self._slave(name, row, at_s)
            for name, row in newest.items()
            if row is not None and name != _MASTER
        ]
        alive = [slave for slave in slaves if not slave.state.gone]
        master = newest.get(_MASTER) or {}
        done = master.get("tasks_done", sum(slave.metrics.tasks_done for slave in slaves))
        busy = sum(slave.metrics.slots_busy for slave in alive)
        info = replace(
            self._info, up_s=at_s - self.begin_s, slaves=len(alive),
            slots=sum(slave.slots for slave in alive), tasks_running=busy, tasks_done=int(done),
            jobs_queued=0, jobs_running=0, jobs_ended=0, tasks_waiting=0,
        )  # fmt: skip
        board.saw_cluster(info, at_s)
        board.saw_slaves(slaves, at_s)
        active = [a for a in self._alerts if a.raised_s <= at_s < (a.cleared_s or inf)]
        board.saw_alerts([replace(alert, age_s=at_s - alert.raised_s) for alert in active])
        told = [replace(e, age_s=at_s - when) for when, e in self._events if when <= at_s]
        board.saw_events(told, at_s)

    def _newest(self, name: str, at_s: float) -> Mapping[str, float] | None:
        place = bisect_right(self._at_s[name], at_s)
        return self._rows[name][place - 1] if place else None

    def _slave(self, name: str, row: Mapping[str, float], at_s: float) -> SlaveInfo:
        silent_s = at_s - row["at_s"]
        state = SlaveState.LOST if silent_s > self._gone_s[name] else SlaveState.READY
        known = Metrics.__dataclass_fields__
        values: dict[str, Any] = {key: value for key, value in row.items() if key in known}
        values |= {key: int(values[key]) for key in _WHOLE if key in values}
        return SlaveInfo(
            name, name.encode(), "", state, self._slots[name], 0, 0, silent_s, 0,
            Metrics(**values), 0, (),
        )  # fmt: skip


def _patience_s(times: Sequence[float]) -> float:
    gaps = [after - before for before, after in pairwise(times)]
    return max(_GONE_S, _GAPS * median(gaps)) if gaps else _GONE_S
