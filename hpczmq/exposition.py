"""Metrics and alerts as Prometheus' text format, for the node exporter's textfile collector. Pure.

Names, units and escapes are as Prometheus has them: seconds, bytes, ratios from 0 to 1, counters
that end in `_total`; the names of nodes are labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from hpczmq.metrics import Alert, AlertState, Metrics, NodeMetrics


class Family(NamedTuple):
    """One metric of each node."""

    name: str
    kind: str
    help: str
    value: Callable[[Metrics], float]


FAMILIES: Final = (
    Family("cpu_usage_ratio", "gauge", "Load of all cores.", lambda m: m.cpu_percent / 100),
    Family("cpu_own_usage_ratio", "gauge", "Load by this node and its workers.",
           lambda m: m.own_cpu_percent / 100),
    Family("load1", "gauge", "Load average of a minute.", lambda m: m.load),
    Family("memory_usage_ratio", "gauge", "Memory in use.", lambda m: m.memory_percent / 100),
    Family("memory_available_bytes", "gauge", "Memory for new work.",
           lambda m: m.memory_free_bytes),
    Family("memory_own_bytes", "gauge", "Memory of this node with its workers.",
           lambda m: m.own_memory_bytes),
    Family("swap_usage_ratio", "gauge", "Swap in use.", lambda m: m.swap_percent / 100),
    Family("disk_usage_ratio", "gauge", "Disk of temporary files in use.",
           lambda m: m.disk_percent / 100),
    Family("network_receive_bytes_per_second", "gauge", "Traffic of the machine.",
           lambda m: m.received_bytes_per_s),
    Family("network_transmit_bytes_per_second", "gauge", "Traffic of the machine.",
           lambda m: m.sent_bytes_per_s),
    Family("disk_read_bytes_per_second", "gauge", "Traffic of its disks.",
           lambda m: m.disk_read_bytes_per_s),
    Family("disk_written_bytes_per_second", "gauge", "Traffic of its disks.",
           lambda m: m.disk_written_bytes_per_s),
    Family("temperature_celsius", "gauge", "The hottest sensor; 0 without one.",
           lambda m: m.temperature_c),
    Family("descriptors_usage_ratio", "gauge", "Open file descriptors of those there may be.",
           lambda m: m.descriptors_percent / 100),
    Family("round_trip_seconds", "gauge", "Round trip to the master.", lambda m: m.latency_s),
    Family("round_trip_jitter_seconds", "gauge", "How much round trips differ.",
           lambda m: m.jitter_s),
    Family("slots_busy", "gauge", "Worker processes that run a task; of the master: leases.",
           lambda m: m.slots_busy),
    Family("tasks_held", "gauge", "Tasks that wait or run here.", lambda m: m.tasks_held),
    Family("tasks_total", "counter", "Tasks answered.", lambda m: m.tasks_done),
    Family("tasks_failed_total", "counter", "Tasks answered without a result.",
           lambda m: m.tasks_failed),
    Family("task_errors_total", "counter", "Kernels that raised.", lambda m: m.errors),
    Family("task_crashes_total", "counter", "Workers that died.", lambda m: m.crashes),
    Family("task_timeouts_total", "counter", "Tasks killed for their time.",
           lambda m: m.timeouts),
    Family("tasks_again_total", "counter", "Executions beyond the first of a task.",
           lambda m: m.tasks_again),
    Family("result_bytes_total", "counter", "Bytes of results.", lambda m: m.result_bytes),
)  # fmt: skip


def exposition(nodes: Sequence[NodeMetrics], alerts: Sequence[Alert], now_s: float) -> str:
    """The whole file.

    Args:
        nodes: their newest metrics; of several of one name the first one counts.
        alerts: those that are active.
        now_s: seconds since 1970, so that a file that nobody writes any more can be told.
    """
    once = {row.node: row for row in reversed(nodes)}
    rows = [once[name] for name in sorted(once)]
    lines = []
    for name, kind, text, value in FAMILIES:
        lines += _head(name, kind, text)
        lines += [_sample(name, {"node": r.node}, value(r.metrics)) for r in rows]
    lines += _head("sample_age_seconds", "gauge", "How old the newest sample of a node is.")
    lines += [_sample("sample_age_seconds", {"node": r.node}, r.age_s) for r in rows]
    lines += _head("alert_active", "gauge", "1 for each alert that is active.")
    for alert in sorted(alerts, key=lambda one: one.id):
        labels = {
            "rule": alert.rule,
            "node": alert.node,
            "severity": alert.severity,
            "acknowledged": str(alert.state is AlertState.ACKNOWLEDGED).lower(),
        }
        lines.append(_sample("alert_active", labels, 1.0))
    lines += _head("memoria_written_timestamp_seconds", "gauge", "When this file was written.")
    lines.append(_sample("memoria_written_timestamp_seconds", {}, now_s))
    return "\n".join(lines) + "\n"


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP hpczmq_{name} {text}", f"# TYPE hpczmq_{name} {kind}"]


def _sample(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    number = str(int(value)) if float(value).is_integer() else repr(float(value))
    return f"hpczmq_{name}{{{inside}}} {number}" if inside else f"hpczmq_{name} {number}"


def _escaped(text: str) -> str:
    """A label's value: three characters have an escape, other control characters no place."""
    kept = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return "".join(c if c.isprintable() else "\ufffd" for c in kept)
