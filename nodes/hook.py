"""The user's own command, told of each alert: on a thread of its own, in its time or not at all.

It gets the alert as one JSON document on its standard input. What it prints is dropped; how it ends
is told in the log when that is not well. Nothing that it does keeps the memoria waiting.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shlex
import signal
import subprocess
import threading
from dataclasses import asdict

from hpczmq import limits
from hpczmq.errors import ConfigError, printable
from hpczmq.jsontext import document
from hpczmq.model import Alert

log = logging.getLogger(__name__)


class Hook:
    """Runs a command for each alert, one after the other.

    Args:
        command: as a user writes it, in a shell's words; no shell is started.
        timeout_s: after so long it is killed, with what it has started.

    Raises:
        ConfigError: these are no words of a shell.
    """

    def __init__(self, command: str, timeout_s: float = limits.on_alert_s) -> None:
        try:
            self.words = shlex.split(command)
        except ValueError as error:
            raise ConfigError(f"on_alert = {printable(command)}: {error}: quote it") from None
        self.timeout_s = timeout_s
        self._waiting: queue.Queue[Alert | None] = queue.Queue(limits.on_alert_backlog_max)
        self._thread = threading.Thread(target=self._work, name="on_alert", daemon=True)
        self._thread.start()

    def tell(self, alert: Alert) -> None:
        """Run the command for this alert, some time soon; of too many the newest are left out."""
        try:
            self._waiting.put_nowait(alert)
        except queue.Full:
            log.warning("on_alert: %s is left out: the command is too slow", printable(alert.id))

    def close(self) -> None:
        """Run it for what waits, in a time that is bounded, and end."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(self.timeout_s)

    def _work(self) -> None:
        while True:
            alert = self._waiting.get()
            if alert is None:
                return
            fault = self._run(alert)
            if fault:
                log.warning("on_alert: %s: %s", printable(self.words[0]), fault)

    def _run(self, alert: Alert) -> str:
        """Run it once; what went wrong, or nothing."""
        told = {**asdict(alert), "state": alert.state.name.lower()}
        try:
            process = subprocess.Popen(
                self.words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            return f"{printable(str(error))}: must be a program that is there"
        try:
            process.communicate(document(told).encode(), self.timeout_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return f"killed after {self.timeout_s:g} s"
        return f"exit code {process.returncode}" if process.returncode else ""
