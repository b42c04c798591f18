"""What a node says before it starts."""

from __future__ import annotations

import pytest

from hpczmq import launchers
from hpczmq.config import Config
from hpczmq.errors import ConfigError
from hpczmq.nodes import launch, master, memoria, slave


class Node:
    """A node of any kind that starts nothing."""

    def __init__(self, config: Config, keys: object = None) -> None:
        pass

    def run(self) -> None:
        pass


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master, "Master", Node)
    monkeypatch.setattr(slave, "Slave", Node)
    monkeypatch.setattr(memoria, "Memoria", Node)
    monkeypatch.setattr(launch, "set_up_logging", lambda stream, level: None)


WIDE = " listens beyond loopback without keys: everybody who reaches it can use this node"


@pytest.mark.parametrize(
    ("role", "bind", "told"),
    [
        ("master", "0.0.0.0", ["tcp://0.0.0.0:5001"]),
        ("slave", "10.0.0.7:6000", ["tcp://10.0.0.7:6000"]),
        ("memoria", "*", ["tcp://*:5003"]),
        ("slave", "off", []),
        ("slave", "", []),
        ("master", "", []),
        ("master", "localhost:5001", []),
    ],
)
def test_who_listens_beyond_loopback_without_keys_is_told(
    caplog: pytest.LogCaptureFixture, role: str, bind: str, told: list[str]
) -> None:
    launch.ROLES[role](Config(bind=bind, insecure=True))
    assert caplog.messages == [address + WIDE for address in told]


def test_both_sockets_are_named(caplog: pytest.LogCaptureFixture) -> None:
    launch.master(Config(bind="0.0.0.0", control_bind="0.0.0.0", insecure=True))
    told = ["tcp://0.0.0.0:5001" + WIDE, "tcp://0.0.0.0:5011" + WIDE]
    assert caplog.messages == told


def test_a_slave_has_no_second_socket_to_warn_of(caplog: pytest.LogCaptureFixture) -> None:
    launch.slave(Config(control_bind="0.0.0.0", insecure=True))
    assert not caplog.messages


def test_with_keys_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    launch.master(Config(bind="0.0.0.0"))
    assert not caplog.messages


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("1:30", 90.0), ("2:00:00", 7200.0), ("0.5", 0.5)]
)
def test_a_walltime_is_written_as_resource_managers_do(text: str, seconds: float) -> None:
    assert launchers.seconds_of("--walltime", text) == seconds


@pytest.mark.parametrize("text", ["", "x", "1:2:3:4", "-5", "1:-5"])
def test_a_walltime_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="must be seconds, M:S or H:M:S"):
        launchers.seconds_of("--walltime", text)
