"""Addresses as people write them, and from where they can be reached."""

from __future__ import annotations

import socket

import pytest

from hpczmq import addresses
from hpczmq.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("lab7", "tcp://lab7:5001"),
        ("lab7:6000", "tcp://lab7:6000"),
        ("tcp://lab7:6000", "tcp://lab7:6000"),
        ("10.0.0.1", "tcp://10.0.0.1:5001"),
        ("[::1]", "tcp://[::1]:5001"),
        ("[fe80::1%eth0]:7", "tcp://[fe80::1%eth0]:7"),
        ("127.0.0.1:0", "tcp://127.0.0.1:*"),
        ("127.0.0.1:000", "tcp://127.0.0.1:*"),
        ("127.0.0.1:*", "tcp://127.0.0.1:*"),
        ("*:5001", "tcp://*:5001"),
        ("host:65535", "tcp://host:65535"),
    ],
)
def test_an_address_is_what_people_write(text: str, address: str) -> None:
    assert addresses.address_of(text) == address
    assert addresses.address_of(address) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", ":5001", "host:", "host:http", "host:65536", "host:-1", "host:٣", "tcp://"),
        *("a/b:1", "http://host:80", "ipc:///file", "a b:1", "host:1\n"),
        *("::1", "fe80::1:5001", "[::1", "::1]", "[]:1"),
    ],
)
def test_what_is_no_address_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        addresses.address_of(text)
    message = str(raised.value)
    assert message.startswith(f"address = {text!r}: must be HOST or HOST:PORT")
    assert ("brackets: [::1]:5001" in message) == (text.removeprefix("tcp://").count(":") > 1)


def test_an_address_gets_the_port_of_its_role() -> None:
    assert addresses.address_of("lab7", 5011) == "tcp://lab7:5011"


@pytest.mark.parametrize(
    ("address", "host"), [("tcp://lab7:1", "lab7"), ("tcp://[::1]:1", "[::1]"), ("tcp://*:1", "*")]
)
def test_the_host_of_an_address(address: str, host: str) -> None:
    assert addresses.host_of(address) == host


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("localhost", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("[::]", False),
        ("*", False),
        ("10.0.0.1", False),
        ("lab7", False),
        ("127.0.0.1.example.org", False),
    ],
)
def test_what_nobody_outside_can_reach_is_loopback(host: str, loopback: bool) -> None:
    assert addresses.is_loopback(f"tcp://{host}:5001") is loopback


def test_a_socket_on_every_interface_is_reached_where_this_machine_would_dial_from() -> None:
    assert addresses.reachable_host("tcp://lab7:1", "tcp://10.0.0.1:2") == "lab7"
    assert addresses.reachable_host("tcp://0.0.0.0:1", "tcp://127.0.0.1:2") == "127.0.0.1"
    assert addresses.reachable_host("tcp://*:1", "tcp://localhost:2") in ("127.0.0.1", "::1")


def test_a_host_that_nobody_knows_leaves_only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **options: object) -> None:
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert addresses.reachable_host("tcp://*:1", "tcp://lab7:2") == "127.0.0.1"


# --- Listening ----------------------------------------------------------------------------------
