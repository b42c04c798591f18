"""What memorias hear and say: metrics and alerts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from hpczmq import limits
from hpczmq.model import (
    Alert,
    Bounds,
    Count,
    Finding,
    Metrics,
    Name,
    NodeMetrics,
    Seconds,
    Text,
    Uid,
    Vitals,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A node's metrics, republished by the master on PUB."""

    node: Name
    instance: Uid
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class VitalsReport:
    """What a node measures beside the metrics of its heartbeats; the master republishes it."""

    #: Who; the master puts in whom it knows.
    node: Name
    instance: Uid
    vitals: Vitals


@dataclass(frozen=True, slots=True)
class Pulse:
    """What the master sees of its cluster, on PUB with each heartbeat; each says it all."""

    findings: Annotated[tuple[Finding, ...], Bounds(0, limits.findings_max)]


@dataclass(frozen=True, slots=True)
class MetricsAnswer:
    """Answer of a memoria to METRICS."""

    request: Count
    nodes: Annotated[tuple[NodeMetrics, ...], Bounds(0, limits.nodes_max)]


Nodes = Annotated[tuple[Name, ...], Bounds(0, limits.history_runs_max)]


@dataclass(frozen=True, slots=True)
class AskHistory:
    """Rows of the past, please: of these nodes, or all; from `since_s` to before `until_s`.

    `step_s` is the resolution that will do, 0 the finest. A next page begins behind the last row of
    the page before: its node, and when.
    """

    request: Count
    since_s: Seconds
    until_s: Seconds
    step_s: Seconds = 0.0
    nodes: Nodes = ()
    after: Name = ""
    after_s: Seconds = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """Rows of one node, oldest first: 8-byte floats, little-endian; when, then each column."""

    node: Name
    rows: Annotated[bytes, Bounds(0, limits.history_page_bytes_max)]


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """A page of the past, by the names of the nodes; `more`: there is a next one."""

    request: Count
    #: Seconds between two rows; 0: as they came.
    step_s: Seconds
    columns: Annotated[tuple[Name, ...], Bounds(0, limits.history_columns_max)]
    runs: Annotated[tuple[Run, ...], Bounds(0, limits.history_runs_max)]
    more: bool


@dataclass(frozen=True, slots=True)
class AlertsAnswer:
    """Answer to ALERTS, ALERT_LOG, `Acknowledge`; request 0: published, or reported, unasked."""

    request: Count
    alerts: Annotated[tuple[Alert, ...], Bounds(0, limits.rows_max)]


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Somebody looks after these alerts: they are told as acknowledged until they clear."""

    request: Count
    ids: Annotated[tuple[Text, ...], Bounds(1, limits.alerts_told_max)]
