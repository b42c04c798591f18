"""When a measurement becomes an alert. Pure: rules, values in, an alert or none out.

A rule looks at one metric: of a node (`metrics.METRICS`, and what `Readings` makes of them), or of
the cluster (`CLUSTER`, as the master finds it, by slave or job). Its alert is *pending* while the
value is at or above `raise_at`, *active* once it has been for `for_s`, and *cleared* when it has
been below `clear_at` for `clear_for_s`; the gap between the two keeps it from flickering. An active
one that somebody has *acknowledged* stays so until it clears.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from hpczmq import limits
from hpczmq.metrics import METRICS, Alert, AlertState, Metrics

SEVERITIES: Final = ("info", "warning", "critical")
#: What the master finds, by slave, job or itself; and what a memoria finds of the master.
CLUSTER: Final = (
    "slave_lost_s", "slave_losses", "job_idle_s", "job_stragglers", "queue_percent",
    "results_percent", "insecure", "master_silent_s",
)  # fmt: skip
#: Counters of which the increase of the last minute is looked at.
_COUNTED: Final = {
    "errors_per_min": "errors", "crashes_per_min": "crashes", "timeouts_per_min": "timeouts",
}  # fmt: skip
#: What is made of the metrics of a node.
DERIVED: Final = (*_COUNTED, "foreign_cpu_percent", "memory_growth_percent", "clock_off_s")
_MINUTE_S: Final = 60.0
#: How close two marks of a counter may be; how close two of memory, and how many make a trend.
_MARK_S: Final = 5.0
_GROWTH_S: Final = 60.0
_GROWTH_MARKS: Final = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One condition on one metric."""

    name: str
    #: What is looked at.
    metric: str
    raise_at: float
    clear_at: float
    #: Seconds that the value must stay up before the alert is raised, and down before it clears.
    for_s: float = 0.0
    clear_for_s: float = 0.0
    severity: str = "warning"
    #: Sentence for people; takes `node`, `value` and `limit`.
    text: str
    #: Whether the node has no room: then the master places nothing new on it until this clears.
    saturation: bool = False


class Readings:
    """What rules may look at, of one node: its metrics, and what is made of several of them."""

    def __init__(self) -> None:
        self._metrics = Metrics()
        self._marks: deque[tuple[float, Metrics]] = deque()
        self._growth: deque[tuple[float, int]] = deque(maxlen=_GROWTH_MARKS)
        self._wall_s = 0.0

    def take(self, metrics: Metrics, now: float, wall_s: float = 0.0) -> None:
        """Take the newest metrics in.

        Args:
            metrics: as they were heard.
            now: when.
            wall_s: what the own clock says, in seconds since 1970; 0: nobody knows.
        """
        self._metrics, self._wall_s = metrics, wall_s
        while self._marks and now - self._marks[0][0] > _MINUTE_S:
            self._marks.popleft()
        if not self._marks or now - self._marks[-1][0] >= _MARK_S:
            self._marks.append((now, metrics))
        if not self._growth or now - self._growth[-1][0] >= _GROWTH_S:
            self._growth.append((now, metrics.own_memory_bytes))

    def value(self, metric: str) -> float:
        """What a metric is now."""
        metrics = self._metrics
        if metric == "foreign_cpu_percent":
            return foreign_cpu_percent(metrics)
        if metric in _COUNTED:
            counter = _COUNTED[metric]
            return float(max(0, getattr(metrics, counter) - getattr(self._marks[0][1], counter)))
        if metric == "clock_off_s":
            known = metrics.clock_s and self._wall_s
            return abs(metrics.clock_s - self._wall_s) if known else 0.0
        if metric == "memory_growth_percent":
            return self._growth_percent()
        return float(getattr(metrics, metric))

    def _growth_percent(self) -> float:
        """How much memory has grown in half an hour in which it never became less."""
        sizes = [size for _, size in self._growth]
        if len(sizes) < _GROWTH_MARKS or not sizes[0] or sizes != sorted(sizes):
            return 0.0
        return 100.0 * (sizes[-1] - sizes[0]) / sizes[0]


def foreign_cpu_percent(metrics: Metrics) -> float:
    """The load that others cause. A slave whose tasks take all of its processors does what it is
    there for; if that kept work away from it, it would idle every other moment.
    """
    return max(0.0, metrics.cpu_percent - metrics.own_cpu_percent)


def is_of_node(metric: str) -> bool:
    """Whether a rule on this metric is looked at for each node."""
    return metric in METRICS or metric in DERIVED


class Watcher:
    """One rule at one node, job, or part of the cluster."""

    def __init__(self, rule: Rule, subject: str) -> None:
        self.rule = rule
        self.subject = subject
        self.value = 0.0
        #: Since when the value has been up; None while it is not.
        self.up_s: float | None = None
        #: Since when the alert is active; None while it is not; and by the wall's clock.
        self.active_s: float | None = None
        self.raised_s = 0.0
        #: Of an active one: since when the value has been down; None while it is not.
        self.down_s: float | None = None
        self.acknowledged = False

    @property
    def id(self) -> str:
        """The alert's name: two memorias give it the same one."""
        return f"{self.rule.name}/{self.subject}"

    def sample(self, value: float, now: float) -> bool:
        """Take a value in; whether the alert was raised or cleared by it."""
        self.value, rule, was = value, self.rule, self.active_s is not None
        if value >= rule.clear_at:
            self.down_s = None
        if value >= rule.raise_at:
            self.up_s = now if self.up_s is None else self.up_s
            if not was and now - self.up_s >= rule.for_s:
                self.active_s = now
        elif value < rule.clear_at:
            self.down_s = now if self.down_s is None else self.down_s
            if not was or now - self.down_s >= rule.clear_for_s:
                self.end()
        elif not was:
            self.up_s = None
        return was != (self.active_s is not None)

    def end(self) -> None:
        """Nothing is known any more, or all is well."""
        self.up_s = self.active_s = self.down_s = None
        self.acknowledged = False

    @property
    def rising(self) -> bool:
        """Whether the value is up: the alert is active, or will be if this goes on."""
        return self.up_s is not None

    def alert(self, now: float) -> Alert | None:
        """The alert, while it is active."""
        return self.told(now) if self.active_s is not None else None

    def told(self, now: float) -> Alert:
        """The alert as it is now, pending ones too."""
        rule = self.rule
        state, since_s = AlertState.PENDING, self.up_s
        if self.active_s is not None:
            state = AlertState.ACKNOWLEDGED if self.acknowledged else AlertState.ACTIVE
            since_s = self.active_s
        text = rule.text.format(node=self.subject, value=self.value, limit=rule.raise_at)
        age_s = 0.0 if since_s is None else max(0.0, now - since_s)
        return Alert(
            rule.name, self.subject, rule.severity, text[: limits.text_chars_max], self.value,
            age_s, self.id, state, self.raised_s,
        )  # fmt: skip


def merged(lists: Iterable[tuple[Alert, ...]]) -> tuple[Alert, ...]:
    """The alerts of several memorias, or of several processes of one name, each once: the oldest
    one, acknowledged if it is so anywhere.
    """
    found: dict[str, Alert] = {}
    for alert in (alert for alerts in lists for alert in alerts):
        known = found.get(alert.id)
        if known is None:
            found[alert.id] = alert
            continue
        older = known if known.age_s >= alert.age_s else alert
        found[alert.id] = replace(older, state=max(known.state, alert.state))
    return tuple(found.values())
