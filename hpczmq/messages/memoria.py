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


@dataclass(frozen=True, slots=True)
class AlertsAnswer:
    """Answer of a memoria to ALERTS; request 0 when it is published or reported unasked."""

    request: Count
    alerts: Annotated[tuple[Alert, ...], Bounds(0, limits.rows_max)]
