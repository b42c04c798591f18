"""What all nodes share: when they stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from hpczmq import descriptors
from hpczmq.config import Config
from hpczmq.nodes.shell import Shell

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the test run its own handlers back, and leave its limits alone."""
    monkeypatch.setattr(descriptors, "raise_limit", lambda: None)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes with which the process would have ended at once."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


@pytest.fixture
def shell(exits: list[int]) -> Iterator[Shell]:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    made = Shell(Config(name="node"))
    yield made
    made.sockets.close()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_node_that_is_told_to_stop_does_so_in_order(
    shell: Shell, exits: list[int], number: signal.Signals
) -> None:
    assert not shell.stopping
    signal.raise_signal(number)
    assert shell.stopping
    assert exits == []


def test_told_twice_it_ends_at_once(shell: Shell, exits: list[int]) -> None:
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGINT)
    assert exits == [128 + signal.SIGINT]


@pytest.mark.parametrize("first", SIGNALS)
def test_a_terminal_that_closes_hurries_nobody(
    shell: Shell, exits: list[int], first: signal.Signals
) -> None:
    signal.raise_signal(first)
    signal.raise_signal(signal.SIGHUP)
    assert exits == []


def test_under_nohup_a_closed_terminal_is_no_reason_to_stop() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    shell = Shell(Config(name="node"))
    signal.raise_signal(signal.SIGHUP)
    shell.sockets.close()
    assert not shell.stopping


def test_of_a_node_that_drains_the_first_sigterm_is_a_wish(exits: list[int]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    shell = Shell(Config(name="slave"), drains=True)
    signal.raise_signal(signal.SIGTERM)
    assert (shell.draining, shell.stopping) == (True, False)
    signal.raise_signal(signal.SIGTERM)
    assert shell.stopping
    assert exits == []
    signal.raise_signal(signal.SIGTERM)
    assert exits == [128 + signal.SIGTERM]
    shell.sockets.close()
