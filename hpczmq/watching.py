"""All alerts of a memoria: rules at nodes, jobs and the cluster, and what became of each. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from hpczmq import limits
from hpczmq.alerts import Readings, Rule, Watcher, is_of_node, merged
from hpczmq.metrics import Alert, AlertState, Finding, Metrics


@dataclass(slots=True)
class NodeWatch:
    """One node process, and the rules at it."""

    name: str
    watchers: list[Watcher]
    readings: Readings = field(default_factory=Readings)


class AlertBook:
    """Watchers of everything, and the log of alerts.

    Args:
        rules: which there are.
        past: alerts of an earlier life, oldest first. Those that were not over are taken up again
            if they are raised again soon, and are over if not.
    """

    def __init__(self, rules: Sequence[Rule], past: Sequence[Alert] = ()) -> None:
        self._of_nodes = [rule for rule in rules if is_of_node(rule.metric)]
        self._of_cluster: dict[str, list[Rule]] = {}
        for rule in rules:
            if not is_of_node(rule.metric):
                self._of_cluster.setdefault(rule.metric, []).append(rule)
        self._nodes: dict[bytes, NodeWatch] = {}
        #: By metric and subject, each rule that looks there.
        self._cluster: dict[tuple[str, str], list[Watcher]] = {}
        over = [alert for alert in past if alert.state is AlertState.CLEARED]
        self._over: deque[Alert] = deque(over, maxlen=limits.alerts_kept_max)
        self._restored = {a.id: a for a in past if a.state is not AlertState.CLEARED}
        #: What was raised, acknowledged or cleared since it was last taken.
        self.changes: list[Alert] = []

    # --- What is measured ---------------------------------------------------------------------

    def sample(
        self, instance: bytes, name: str, metrics: Metrics, now: float, wall_s: float,
        counts: bool = True,
    ) -> bool:  # fmt: skip
        """Take a node's metrics in; whether an alert was raised or cleared.

        `counts`: whether its counters are its own; the master's are sums of all slaves'.
        """
        node = self._nodes.get(instance)
        if node is None:
            rules = [rule for rule in self._of_nodes if counts or "_per_min" not in rule.metric]
            node = NodeWatch(name, [Watcher(rule, name) for rule in rules])
            self._nodes[instance] = node
        node.readings.take(metrics, now, wall_s)
        changed = False
        for watcher in node.watchers:
            changed |= self._look(watcher, node.readings.value(watcher.rule.metric), now, wall_s)
        return changed

    def findings(
        self, metrics: Collection[str], found: Sequence[Finding], now: float, wall_s: float
    ) -> bool:
        """Take in what was found of the cluster, by these metrics; what is not said is 0."""
        values = {(f.metric, f.subject): f.value for f in found if f.metric in self._of_cluster}
        for key in values:
            if key not in self._cluster:
                self._cluster[key] = [Watcher(rule, key[1]) for rule in self._of_cluster[key[0]]]
        changed = False
        for key, watchers in list(self._cluster.items()):
            if key[0] in metrics:
                value = values.get(key, 0.0)
                for watcher in watchers:
                    changed |= self._look(watcher, value, now, wall_s)
                if key not in values and not any(w.rising for w in watchers):
                    del self._cluster[key]
        return changed

    def forget(self, instance: bytes, now: float, wall_s: float) -> bool:
        """A node is not heard any more: nobody could ever clear its alerts."""
        node = self._nodes.pop(instance, None)
        return node is not None and self._end(node.watchers, now, wall_s)

    def _end(self, watchers: Sequence[Watcher], now: float, wall_s: float) -> bool:
        active = [watcher for watcher in watchers if watcher.active_s is not None]
        for watcher in active:
            told = watcher.told(now)
            watcher.end()
            self._clear(told, wall_s)
        return bool(active)

    def _look(self, watcher: Watcher, value: float, now: float, wall_s: float) -> bool:
        before = watcher.told(now) if watcher.active_s is not None else None
        if not watcher.sample(value, now):
            return False
        if before is not None:
            self._clear(replace(before, value=value), wall_s)
            return True
        watcher.raised_s = wall_s
        restored = self._restored.pop(watcher.id, None)
        if restored is not None:
            watcher.raised_s = restored.raised_s
            watcher.active_s = now - max(0.0, wall_s - restored.raised_s)
            watcher.acknowledged = restored.state is AlertState.ACKNOWLEDGED
        else:
            self.changes.append(watcher.told(now))
        return True

    def _clear(self, alert: Alert, wall_s: float) -> None:
        over = replace(alert, state=AlertState.CLEARED, cleared_s=wall_s)
        self._over.append(over)
        self.changes.append(over)

    # --- What is told -------------------------------------------------------------------------

    def active(self, now: float) -> tuple[Alert, ...]:
        """What somebody should look at, each once."""
        found = (w.alert(now) for w in self._watchers())
        return merged([tuple(alert for alert in found if alert is not None)])

    def log(self, now: float) -> tuple[Alert, ...]:
        """Those that are over, oldest first, then what is pending, then what is active."""
        watchers = [w for w in self._watchers() if w.rising]
        told = sorted((w.told(now) for w in watchers), key=lambda alert: alert.state)
        return (*self._over, *merged([tuple(told)]))

    def acknowledge(self, ids: Collection[str], now: float) -> tuple[Alert, ...]:
        """Mark active alerts as seen; gives back those that are."""
        found = [w for w in self._watchers() if w.active_s is not None and w.id in ids]
        for watcher in found:
            if not watcher.acknowledged:
                watcher.acknowledged = True
                self.changes.append(watcher.told(now))
        return merged([tuple(watcher.told(now) for watcher in found)])

    def take_changes(self) -> list[Alert]:
        """What happened since the last call."""
        changes, self.changes = self.changes, []
        return changes

    def give_up_restored(self, wall_s: float) -> None:
        """What was active in an earlier life, and was not raised again, is over."""
        for alert in self._restored.values():
            self._clear(alert, wall_s)
        self._restored.clear()

    def _watchers(self) -> list[Watcher]:
        groups = [node.watchers for node in self._nodes.values()]
        groups += self._cluster.values()
        return [watcher for watchers in groups for watcher in watchers]
