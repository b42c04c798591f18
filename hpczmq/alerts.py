"""When a measurement becomes an alert. Pure: a rule, samples in, an alert or none out.

A rule fires when its value has been at or above `raise_at` for `for_s`, and clears when it falls
below `clear_at`; the gap between the two keeps an alert from flickering.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from hpczmq import limits
from hpczmq.model import Alert, Metrics


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition on the metrics of one node."""

    name: str
    severity: str
    #: What is looked at.
    value: Callable[[Metrics], float]
    raise_at: float
    clear_at: float
    #: Seconds that the value must stay up before the alert is raised.
    for_s: float
    #: Sentence for people; takes `node`, `value` and `limit`.
    text: str
    #: Whether the node has no room: then the master places nothing new on it until this clears.
    saturation: bool = False


RULES: Final = (
    Rule(
        name="cpu-saturated",
        severity="warning",
        value=lambda metrics: metrics.cpu_percent,
        raise_at=limits.cpu_saturated_percent,
        clear_at=limits.cpu_clear_percent,
        for_s=limits.cpu_saturated_s,
        text="CPU of {node} at {value:.0f} % (limit {limit:.0f} %): fewer slots, or more slaves",
        saturation=True,
    ),
)


def without_own(metrics: Metrics) -> Metrics:
    """The metrics as far as others cause them. A slave whose tasks take all of its processors
    does what it is there for; if that kept work away from it, it would idle every other moment.
    """
    return replace(metrics, cpu_percent=max(0.0, metrics.cpu_percent - metrics.own_cpu_percent))


class Watcher:
    """One rule at one node."""

    def __init__(self, rule: Rule, node: str) -> None:
        self.rule = rule
        self.node = node
        self.value = 0.0
        #: Since when the value has been up; None while it is not.
        self.up_s: float | None = None
        #: Since when the alert is active; None while it is not.
        self.active_s: float | None = None

    def sample(self, metrics: Metrics, now: float) -> bool:
        """Take a sample in; whether the alert was raised or cleared by it."""
        self.value = self.rule.value(metrics)
        was = self.active_s is not None
        if self.value >= self.rule.raise_at:
            self.up_s = now if self.up_s is None else self.up_s
            if not was and now - self.up_s >= self.rule.for_s:
                self.active_s = now
        elif self.value < self.rule.clear_at:
            self.up_s = self.active_s = None
        elif not was:
            self.up_s = None
        return was != (self.active_s is not None)

    @property
    def rising(self) -> bool:
        """Whether the value is up: the alert is active, or will be if this goes on."""
        return self.up_s is not None

    def alert(self, now: float) -> Alert | None:
        """The alert, while it is active."""
        if self.active_s is None:
            return None
        rule = self.rule
        text = rule.text.format(node=self.node, value=self.value, limit=rule.raise_at)
        text = text[: limits.text_chars_max]
        return Alert(rule.name, self.node, rule.severity, text, self.value, now - self.active_s)
