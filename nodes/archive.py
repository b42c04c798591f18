"""A memoria's file: rows of the past in SQLite, on a thread of their own, within a size.

The loop never waits for the disk: it hands rows and questions over, and takes answers as they come.
What the disk does not take is told in the log and dropped; a file that is damaged is put aside, and
a new one begun; where there can be no file at all the memoria goes on in memory.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

from hpczmq import limits
from hpczmq.clock import Clock
from hpczmq.errors import printable
from hpczmq.history import COLUMNS, ROW, TIERS, Row, page
from hpczmq.messages import AskHistory, Message, Reject
from hpczmq.model import Alert, AlertState

log = logging.getLogger(__name__)

#: How often what is too old, or too much, is looked for; and how long a failing disk is left alone.
_TIDY_S: Final = 60.0
_PATIENCE_S: Final = 30.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS nodes (number INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS alerts (
    id TEXT, raised_s REAL, body TEXT, PRIMARY KEY (id, raised_s)
);
CREATE TABLE IF NOT EXISTS rows (
    tier INTEGER, node INTEGER, at_s REAL, "values" BLOB, PRIMARY KEY (tier, node, at_s)
) WITHOUT ROWID;
"""
#: What the file's pages are, and how it is written: the log first, no wait for the platter.
_PRAGMAS: Final = (
    "auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=NORMAL",
    "journal_size_limit=16777216", "locking_mode=EXCLUSIVE",
)  # fmt: skip


class Archive:
    """The file, its thread, and what waits for it.

    Args:
        path: of the file; its folder is made.
        bytes_max: what the file may take.
    """

    def __init__(self, path: Path, bytes_max: int = limits.history_file_bytes_max) -> None:
        self.path, self.bytes_max = path, bytes_max
        #: From when to when the file has the past, in seconds since 1970; zeros: it has none.
        self.span_s = (0.0, 0.0)
        #: Why nothing is written now; empty: all is well.
        self.fault = ""
        #: Alerts of earlier lives, oldest first.
        self.alerts: list[Alert] = []
        self._file: sqlite3.Connection | None = None
        self._numbers: dict[str, int] = {}
        self._clock = Clock()
        self._tidied_s = self._failed_s = float("-inf")
        #: Under the lock: rows, their bytes, questions, what else is to be done, whether to end.
        self._lock = threading.Condition()
        self._rows: deque[Sequence[Row]] = deque()
        self._rows_bytes = 0
        self._alerts: deque[Sequence[Alert]] = deque(maxlen=limits.alerts_kept_max)
        self._asked: deque[tuple[bytes, AskHistory, int]] = deque()
        self._closing = False
        self._answers: deque[tuple[bytes, Message]] = deque()
        self._guarded(self._open)
        self._thread = threading.Thread(target=self._work, name="archive", daemon=True)
        self._thread.start()

    # --- For the loop -------------------------------------------------------------------------

    def keep(self, rows: Sequence[Row]) -> None:
        """Write these some time soon."""
        with self._lock:
            self._rows.append(rows)
            self._rows_bytes += sum(len(row.values) for row in rows)
            while self._rows_bytes > limits.history_waiting_bytes_max:
                dropped = self._rows.popleft()
                self._rows_bytes -= sum(len(row.values) for row in dropped)
            self._lock.notify()

    def keep_alerts(self, alerts: Sequence[Alert]) -> None:
        """Write what became of these alerts, some time soon."""
        with self._lock:
            self._alerts.append(alerts)
            self._lock.notify()

    def look(self, ask: AskHistory, tier: int, peer: bytes) -> None:
        """Look up what somebody asks for; the answer is among `answers` some time soon."""
        with self._lock:
            if len(self._asked) >= limits.history_questions_max:
                reason = "too many questions about the past wait: ask later"
                self._answers.append((peer, Reject(ask.request, "busy", reason)))
                return
            self._asked.append((peer, ask, tier))
            self._lock.notify()

    def answers(self) -> Iterator[tuple[bytes, Message]]:
        """What was found since the last call."""
        while self._answers:
            yield self._answers.popleft()

    def close(self, patience_s: float = 5.0) -> None:
        """Write what waits, and end."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        self._thread.join(patience_s)

    # --- On the thread ------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._lock:
                while not (self._rows or self._alerts or self._asked or self._closing):
                    self._lock.wait()
                rows, self._rows, self._rows_bytes = self._rows, deque(), 0
                asked, self._asked = self._asked, deque()
                alerts = [alert for some in self._alerts for alert in some]
                self._alerts.clear()
                closing = self._closing
            if rows:
                self._guarded(partial(self._write, rows))
            if alerts:
                self._guarded(partial(self._write_alerts, alerts))
            for peer, ask, tier in asked:
                self._answer(peer, ask, tier)
            if closing:
                if self._file is not None:
                    with suppress(sqlite3.Error):
                        self._file.close()
                return

    def _guarded(self, act: Callable[[], Any]) -> bool:
        """Do something with the file; a fault of it is told once, and worked around."""
        try:
            if self._file is None and act != self._open:
                if self._clock.now() - self._failed_s < _PATIENCE_S:
                    return False
                self._open()
            act()
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
            return False
        if self.fault:
            log.warning("%s: the history is written to it again", self.path)
            self.fault = ""
        return True

    def _failed(self, error: Exception) -> None:
        told = printable(str(error))
        self._failed_s = self._clock.now()
        with suppress(sqlite3.Error):
            if self._file is not None:
                self._file.close()
        self._file = None
        broken = isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError
        )
        if broken:  # "malformed", "not a database": the next one begins anew
            aside = self.path.with_name(self.path.name + ".damaged")
            with suppress(OSError):
                os.replace(self.path, aside)
                for tail in ("-wal", "-shm"):
                    self.path.with_name(self.path.name + tail).unlink(missing_ok=True)
                self._failed_s = float("-inf")
            remedy = f"put aside as {aside.name}, a new one is begun"
        else:
            remedy = "the history is in memory only: make room, or name another with --history"
        if told != self.fault:
            log.error("%s: %s: %s", self.path, told, remedy)
        self.fault = told

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(
            self.path, timeout=1.0, isolation_level=None, check_same_thread=False
        )
        for pragma in _PRAGMAS:
            self._file.execute(f"PRAGMA {pragma}")
        self._file.executescript(_SCHEMA)
        columns = json.dumps(COLUMNS)
        known = self._file.execute("SELECT value FROM about WHERE key = 'columns'").fetchone()
        if known and known[0] != columns:
            log.warning("%s: of another version: its rows are dropped", self.path)
            self._file.execute("DELETE FROM rows")
        self._file.execute("REPLACE INTO about VALUES ('columns', ?)", (columns,))
        self._numbers = dict(self._file.execute("SELECT name, number FROM nodes"))
        newest = [
            self._file.execute(
                "SELECT max(at_s) FROM rows WHERE tier = 0 AND node = ?", (number,)
            ).fetchone()[0]
            for number in self._numbers.values()
        ]
        self.alerts = list(self._read_alerts())
        oldest = [at_s for tier in range(len(TIERS)) if (at_s := self._oldest_s(tier))]
        until_s = max((at_s for at_s in newest if at_s), default=0.0)
        self.span_s = min(oldest, default=until_s), until_s

    def _write(self, batches: Sequence[Sequence[Row]]) -> None:
        file = self._opened()
        file.execute("BEGIN")
        try:
            found = (
                (row.tier, self._number(row.node), row.at_s, row.values)
                for rows in batches
                for row in rows
            )
            file.executemany("REPLACE INTO rows VALUES (?, ?, ?, ?)", found)
            file.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                file.execute("ROLLBACK")
            self._numbers = {}
            with suppress(sqlite3.Error):
                self._numbers = dict(file.execute("SELECT name, number FROM nodes"))
            raise
        if self._clock.now() - self._tidied_s >= _TIDY_S:
            self._tidied_s = self._clock.now()
            self.tidy(max(row.at_s for rows in batches for row in rows))

    def _write_alerts(self, alerts: Sequence[Alert]) -> None:
        rows = [(a.id, a.raised_s, json.dumps(asdict(a))) for a in alerts]
        self._opened().executemany("REPLACE INTO alerts VALUES (?, ?, ?)", rows)
        oldest = "SELECT raised_s FROM alerts ORDER BY raised_s DESC LIMIT 1 OFFSET ?"
        self._opened().execute(
            f"DELETE FROM alerts WHERE raised_s <= ({oldest})",  # noqa: S608 — our own words
            (limits.alerts_kept_max,),
        )

    def _read_alerts(self) -> Iterator[Alert]:
        rows = self._opened().execute("SELECT body FROM alerts ORDER BY raised_s").fetchall()
        for (body,) in rows[-limits.alerts_kept_max :]:
            with suppress(ValueError, TypeError, KeyError):  # of another version
                told = json.loads(body)
                yield Alert(**{**told, "state": AlertState(told["state"])})

    def _number(self, node: str) -> int:
        number = self._numbers.get(node)
        if number is None:
            made = self._opened().execute("INSERT INTO nodes (name) VALUES (?)", (node,))
            number = made.lastrowid
            assert number is not None
            self._numbers[node] = number
        return number

    def tidy(self, now_s: float) -> None:
        """Drop what is older than its tier's span; and while the file is too large, the oldest
        tenth of each resolution.
        """
        file = self._opened()
        for tier, (_, span_s) in enumerate(TIERS):
            self._drop(tier, now_s - span_s)
        for _ in range(100):
            if self.used_bytes() <= self.bytes_max:
                break
            for tier in range(len(TIERS)):
                oldest_s = self._oldest_s(tier)
                if oldest_s is not None:
                    self._drop(tier, oldest_s + max(1.0, (now_s - oldest_s) / 10))
        file.execute("PRAGMA incremental_vacuum").fetchall()

    def _drop(self, tier: int, before_s: float) -> None:
        for number in self._numbers.values():
            self._opened().execute(
                "DELETE FROM rows WHERE tier = ? AND node = ? AND at_s < ?",
                (tier, number, before_s),
            )

    def _oldest_s(self, tier: int) -> float | None:
        found = (
            self._opened()
            .execute("SELECT min(at_s) FROM rows WHERE tier = ? AND node = ?", (tier, number))
            .fetchone()[0]
            for number in self._numbers.values()
        )
        return min((at_s for at_s in found if at_s is not None), default=None)

    def used_bytes(self) -> int:
        """What the rows take in the file."""
        pages, free, size = (
            self._opened().execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _answer(self, peer: bytes, ask: AskHistory, tier: int) -> None:
        found: list[Message] = []

        def look() -> None:
            found.append(page(ask, TIERS[tier].step_s, self._series(ask, tier)))

        if not self._guarded(look):
            reason = f"the history can't be read: {self.fault or 'later'}"
            found = [Reject(ask.request, "history", reason[: limits.text_chars_max])]
        self._answers.append((peer, found[0]))

    def _series(self, ask: AskHistory, tier: int) -> Iterator[tuple[str, bytes]]:
        """Of each node what one page may need of it."""
        rows_max = limits.history_page_bytes_max // ROW.size + 2
        for name in sorted(set(ask.nodes) & self._numbers.keys() if ask.nodes else self._numbers):
            if name < ask.after:
                continue
            since_s = max(ask.since_s, ask.after_s) if name == ask.after else ask.since_s
            rows = self._opened().execute(
                'SELECT "values" FROM rows WHERE tier = ? AND node = ? AND at_s >= ? AND at_s < ?'
                " ORDER BY at_s LIMIT ?",
                (tier, self._numbers[name], since_s, ask.until_s, rows_max),
            )
            yield name, b"".join(row[0] for row in rows)

    def _opened(self) -> sqlite3.Connection:
        assert self._file is not None, "whoever comes here has opened it"
        return self._file
