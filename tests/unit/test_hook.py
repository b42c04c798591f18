"""The user's command for alerts: told in its time, and in nobody's way."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

from hpczmq import limits
from hpczmq.errors import ConfigError
from hpczmq.model import Alert
from hpczmq.nodes.hook import Hook

ALERT = Alert("hot", "s1", "warning", "s1: 7", 7.0, 1.5, "hot/s1")


def test_it_gets_the_alert_as_json(tmp_path: Path) -> None:
    out = tmp_path / "told.json"
    hook = Hook(
        f"{sys.executable} -c 'import sys; open(sys.argv[1], \"a\").write(sys.stdin.read())' {out}"
    )
    hook.tell(ALERT)
    hook.close()
    told = json.loads(out.read_text())
    assert (told["id"], told["state"], told["value"]) == ("hot/s1", "active", 7.0)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("false", "exit code 1"),
        ("/nowhere/at/all", "must be a program that is there"),
        (f"{sys.executable} -c 'import signal; signal.pause()'", "killed after 0.3 s"),
    ],
)
def test_how_it_fails_is_told_and_hurts_nobody(
    command: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Hook(command, 0.3)
    hook.tell(ALERT)
    hook._waiting.put(None)
    hook._thread.join(20)
    assert not hook._thread.is_alive()
    assert words in caplog.text


def test_of_more_alerts_than_can_wait_some_are_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "on_alert_backlog_max", 2)
    held, begun, told = threading.Event(), threading.Event(), []

    def runs(self: Hook, alert: Alert) -> str:
        begun.set()
        held.wait(20)
        told.append(alert)
        return ""

    monkeypatch.setattr(Hook, "_run", runs)
    hook = Hook("true")
    hook.tell(ALERT)
    begun.wait(20)
    for _ in range(5):
        hook.tell(ALERT)
    assert caplog.text.count("is left out") == 3
    held.set()
    hook._waiting.put(None)
    hook._thread.join(20)
    assert len(told) == 3


def test_what_no_shell_would_take_is_refused() -> None:
    with pytest.raises(ConfigError, match="No closing quotation: quote it"):
        Hook("say 'hello")
