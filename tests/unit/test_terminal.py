"""The dashboard's terminal: keys as they are pressed, and as it was before in any case."""

from __future__ import annotations

import io
import os
import pty
import sys
import termios
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from hpczmq import interrupts
from hpczmq.dashboard.terminal import Keyboard, Terminal


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of the terminal that standard input is."""
    ours, theirs = pty.openpty()
    with open(theirs, closefd=True) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield ours
    os.close(ours)


def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=40, height=8)


def mode() -> list[Any]:
    return termios.tcgetattr(sys.stdin.fileno())


def test_a_terminal_gives_keys_at_once_and_is_given_back(keys: int) -> None:
    before = mode()
    with Terminal(console()) as terminal:
        assert not mode()[3] & (termios.ICANON | termios.ECHO), "key by key, and unseen"
        os.write(keys, b"j\x1b[A")
        assert terminal.wait(5.0) == ["j", "up"]
        assert terminal.wait(0.0) == []
        terminal.keyboard.wake()
        assert terminal.wait(60.0) == [], "woken, and not after a minute"
    assert mode() == before
    assert not interrupts.undo


def test_an_error_gives_the_terminal_back_and_so_does_an_end_at_once(keys: int) -> None:
    before = mode()
    with pytest.raises(KeyboardInterrupt), Terminal(console()):
        raise KeyboardInterrupt
    assert mode() == before
    with Terminal(console()):
        assert mode() != before
        for take_back in interrupts.undo:  # what the second Ctrl-C does
            take_back()
        assert mode() == before


def test_a_terminal_that_is_gone_is_like_who_quits(keys: int) -> None:
    reader, writer = os.pipe()
    keyboard = Keyboard(reader)
    os.close(writer)
    assert keyboard.wait(5.0) == ["q"]
    assert keyboard.wait(0.0) == []
    keyboard.close()
    os.close(reader)


def test_without_a_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with Terminal(console()) as terminal:
        assert terminal.wait(0.0) == []
