"""What a client asks memorias: metrics, the past, alerts. The first answer counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from hpczmq import asking
from hpczmq.errors import NoCluster, Refused, shown
from hpczmq.keyfiles import NodeKeys
from hpczmq.messages import (
    Acknowledge,
    AlertsAnswer,
    Ask,
    AskHistory,
    HistoryAnswer,
    Message,
    MetricsAnswer,
)
from hpczmq.model import About, Alert, ClusterInfo, NodeMetrics

M = TypeVar("M", bound=Message)
#: How long memorias may take to answer, in seconds.
_MEMORIA_S = 2.0


class AsksMemorias:
    """The half of a client that talks to memorias; the other half knows where they are."""

    timeout_s: float
    _keys: NodeKeys | None
    _insecure: bool

    def status(self) -> ClusterInfo:
        """The cluster in one row."""
        raise NotImplementedError

    def metrics(self, nodes: Iterable[str] = ()) -> tuple[NodeMetrics, ...]:
        """The newest metrics of each node, from a memoria."""
        return self._ask_memoria(About.METRICS, tuple(nodes), MetricsAnswer).nodes

    def history(
        self,
        since_s: float,
        until_s: float = 1e12,
        *,
        step_s: float = 0.0,
        nodes: Iterable[str] = (),
    ) -> asking.History:
        """The past of nodes, from a memoria.

        Args:
            since_s, until_s: from when to when, in seconds since 1970.
            step_s: the resolution that will do, in seconds; 0: the finest that is kept for so long.
            nodes: which ones; none: all.

        Returns:
            By node a row for each moment, oldest first: `at_s`, and each of the metrics.
        """
        addresses = self.status().memorias
        ask = AskHistory(0, max(0.0, since_s), until_s, step_s, tuple(nodes))
        return asking.history(
            ask, lambda of, page: self._ask_nodes(of or addresses, page, HistoryAnswer)
        )

    def alerts(self, nodes: Iterable[str] = ()) -> tuple[Alert, ...]:
        """What is wrong now, from a memoria."""
        return self._ask_memoria(About.ALERTS, tuple(nodes), AlertsAnswer).alerts

    def alert_log(self, nodes: Iterable[str] = ()) -> tuple[Alert, ...]:
        """Alerts that are over, pending and active, from a memoria, in this order."""
        return self._ask_memoria(About.ALERT_LOG, tuple(nodes), AlertsAnswer).alerts

    def acknowledge(self, ids: Iterable[str]) -> tuple[Alert, ...]:
        """Say to all memorias that somebody looks after these alerts; gives back those that are.

        Raises:
            Refused: one of them is not active.
            NoCluster: no memoria answered.
        """
        wanted = tuple(dict.fromkeys(ids))
        found: dict[str, Alert] = {}
        answered = 0
        addresses = self.status().memorias
        for address in addresses:
            with suppress(NoCluster):
                patience_s = min(self.timeout_s, _MEMORIA_S)
                order = Acknowledge(0, wanted)
                keys = self._keys.keys if self._keys else None
                told, _ = asking.ask_node(
                    address, order, AlertsAnswer, patience_s, keys, self._insecure
                )
                found |= {alert.id: alert for alert in told.alerts}
                answered += 1
        if not answered:
            raise NoCluster(
                f"none of {len(addresses)} memorias answered: start one with `hpczmq memoria`"
            )
        missing = [shown(id) for id in wanted if id not in found]
        if missing:
            remedy = "`hpczmq alerts` lists those that are active"
            raise Refused("unknown alert", f"no alert {', '.join(missing)} is active: {remedy}")
        return tuple(found.values())

    def _ask_memoria(self, about: About, names: tuple[str, ...], kind: type[M]) -> M:
        return self._ask_nodes(self.status().memorias, Ask(0, about, names), kind)[0]

    def _ask_nodes(
        self, addresses: Sequence[str], request: Ask | AskHistory, kind: type[M]
    ) -> tuple[M, str]:
        """The first answer of some memorias, and whose it is."""
        try:
            patience_s = min(self.timeout_s, _MEMORIA_S)
            keys = self._keys.keys if self._keys else None
            answer, _, address = asking.ask_any(
                addresses, request, kind, patience_s, keys, self._insecure
            )
            return answer, address
        except NoCluster:
            raise NoCluster(
                f"none of {len(addresses)} memorias answered: start one with `hpczmq memoria`"
            ) from None
