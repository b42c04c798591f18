"""The file for Prometheus' node exporter: written by a thread, whole or not at all."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from hpczmq import atomic
from hpczmq.errors import OutputError, printable
from hpczmq.exposition import exposition
from hpczmq.model import Alert, NodeMetrics

log = logging.getLogger(__name__)


class Textfile:
    """Keeps the file as it was told last.

    Args:
        path: of the file; the collector reads those that end in `.prom`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told: tuple[Sequence[NodeMetrics], Sequence[Alert], float] | None = None
        self._closing = False
        self._fault = ""
        self._lock = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="textfile", daemon=True)
        self._thread.start()

    def write(self, nodes: Sequence[NodeMetrics], alerts: Sequence[Alert], now_s: float) -> None:
        """Write this some time soon, unless something newer comes before."""
        with self._lock:
            self._told = nodes, alerts, now_s
            self._lock.notify()

    def close(self, patience_s: float = 2.0) -> None:
        """Write what waits, and end."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        self._thread.join(patience_s)

    def _work(self) -> None:
        while True:
            with self._lock:
                while self._told is None and not self._closing:
                    self._lock.wait()
                told, self._told = self._told, None
            if told is None:
                return
            self._write(exposition(*told).encode())

    def _write(self, content: bytes) -> None:
        try:
            with atomic.replacing(self.path) as file:
                file.write(content)
        except (OSError, OutputError) as error:
            if str(error) != self._fault:
                self._fault = str(error)
                log.error("the file for Prometheus can't be written: %s", printable(self._fault))
            return
        self._fault = ""
