"""Who may listen where, and sends that never wait and say what became of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
import zmq

from hpczmq import limits, wire
from hpczmq.endpoint import Sent, Socket, Trouble
from hpczmq.errors import BindError, ConfigError
from hpczmq.guard import new_pair
from hpczmq.identity import KeyPair, KeyRole, Member
from hpczmq.transport import Keys, Sockets

ANY = "tcp://127.0.0.1:*"
#: How long a test waits for what comes in a millisecond; a machine may be busy.
PATIENCE_S = 10.0


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sockets]:
    monkeypatch.setattr(limits, "linger_ms", 0)  # what was not read by then is of no interest
    made = Sockets()
    yield made
    made.close()


def arrived(sockets: Sockets, at: Socket) -> list[bytes]:
    """The frames of the next message at a socket."""
    while at not in sockets.poll(PATIENCE_S):
        pass
    (frames,) = at.receive(1)
    return [bytes(frame) for frame in frames]


def dialled(sockets: Sockets, router: Socket) -> Socket:
    """A DEALER that dials a ROUTER; its connection comes in a moment."""
    return sockets.dealer(f"tcp://127.0.0.1:{router.port}")


def met(sockets: Sockets, router: Socket) -> tuple[Socket, bytes]:
    """A DEALER whose connection is up, and its routing id at the ROUTER."""
    dealer = dialled(sockets, router)
    while dealer.send([b"HZ1", b"hello"]) is Sent.FULL:
        sockets.poll(0.001)
    peer, *rest = arrived(sockets, router)
    assert rest == [b"HZ1", b"hello"]
    return dealer, peer


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "[::]"])
def test_nobody_listens_beyond_loopback_by_accident(sockets: Sockets, host: str) -> None:
    for make in (sockets.router, sockets.publisher):
        with pytest.raises(BindError) as raised:
            make(f"tcp://{host}:*")
        assert f"tcp://{host}:*" in str(raised.value)
        assert "bind 127.0.0.1, or accept that with --insecure" in str(raised.value)
        assert "`hpczmq keys init`, and `hpczmq keys add NAME --role …`" in str(raised.value)


def test_listening_beyond_loopback_can_be_accepted() -> None:
    accepted = Sockets(insecure=True)
    assert accepted.router("tcp://0.0.0.0:*").port > 0
    accepted.close()


def test_a_bound_socket_knows_its_port(sockets: Sockets) -> None:
    first, second = sockets.router(ANY), sockets.publisher(ANY)
    assert 0 < first.port != second.port > 0


def test_a_port_that_is_taken_is_named_with_the_remedy(sockets: Sockets) -> None:
    address = f"tcp://127.0.0.1:{sockets.router(ANY).port}"
    with pytest.raises(BindError) as raised:
        sockets.router(address)
    assert str(raised.value).startswith(f"{address}: Address")
    assert "choose another with --bind HOST:PORT" in str(raised.value)


def test_an_address_that_zmq_does_not_take_is_a_fault_of_the_settings() -> None:
    sockets = Sockets(insecure=True)
    with pytest.raises(ConfigError, match="must be HOST or HOST:PORT"):
        sockets.dealer("tcp://lab7")
    sockets.close()


# --- Sending ------------------------------------------------------------------------------------


def test_without_a_connection_a_dealer_takes_nothing(sockets: Sockets) -> None:
    assert sockets.dealer("tcp://127.0.0.1:1").send([b"HZ1", b""]) is Sent.FULL


def test_a_peer_that_is_not_connected_is_gone(sockets: Sockets) -> None:
    assert sockets.router(ANY).send([b"HZ1", b""], b"nobody") is Sent.GONE


def test_messages_go_there_and_back(sockets: Sockets) -> None:
    router = sockets.router(ANY)
    dealer, peer = met(sockets, router)
    assert router.send([b"HZ1", b"answer", b"pixels", b""], peer) is Sent.YES
    assert arrived(sockets, dealer) == [b"HZ1", b"answer", b"pixels", b""]


def test_a_large_buffer_is_handed_over_without_a_copy_and_arrives(sockets: Sockets) -> None:
    router = sockets.router(ANY)
    dealer, _ = met(sockets, router)
    pixels = bytearray(b"\x07") * limits.zero_copy_bytes
    assert dealer.send([b"HZ1", b"body", memoryview(pixels)]) is Sent.YES
    assert arrived(sockets, router)[3] == pixels


def test_a_peer_that_does_not_read_is_full_and_not_waited_for(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "socket_messages_max", 1)
    router = sockets.router(ANY)
    _, peer = met(sockets, router)
    frames: list[wire.Buffer] = [b"HZ1", bytes(limits.MIB)]
    assert any(router.send(frames, peer) is Sent.FULL for _ in range(100))


def test_no_more_is_taken_in_a_turn_than_was_asked_for(sockets: Sockets) -> None:
    router = sockets.router(ANY)
    dealer, _ = met(sockets, router)
    for number in range(5):
        assert dealer.send([b"HZ1", bytes([number])]) is Sent.YES
    taken: list[bytes] = []
    while len(taken) < 5:
        sockets.poll(PATIENCE_S)
        turn = [bytes(frames[2]) for frames in router.receive(2)]
        assert len(turn) <= 2
        taken += turn
    assert taken == [bytes([number]) for number in range(5)]


def test_nothing_to_read_is_nothing(sockets: Sockets) -> None:
    assert list(sockets.router(ANY).receive()) == []
    assert sockets.poll(0.0) == set()


# --- Publishing ---------------------------------------------------------------------------------


def test_a_subscriber_hears_its_topics_from_the_one_it_is_connected_to(sockets: Sockets) -> None:
    old, new = sockets.publisher(ANY), sockets.publisher(ANY)
    listener = sockets.subscriber(b"HZ1c")
    for publisher in (old, new, new):
        listener = sockets.moved(listener, f"tcp://127.0.0.1:{publisher.port}")
    while listener not in sockets.poll(0.001):
        assert old.send([b"HZ1c", b"old"]) is Sent.YES
        assert new.send([b"HZ1m", b"metrics"]) is Sent.YES
        assert new.send([b"HZ1c", b"new"]) is Sent.YES
    assert {bytes(frames[1]) for frames in listener.receive()} == {b"new"}


# --- Waiting ------------------------------------------------------------------------------------


def test_a_descriptor_can_be_waited_for_too(sockets: Sockets) -> None:
    read, write = os.pipe()
    try:
        sockets.watch(read)
        assert sockets.poll(0.0) == set()
        os.write(write, b"!")
        assert sockets.poll(PATIENCE_S) == {read}
        sockets.unwatch(read)
        assert sockets.poll(0.0) == set()
        sockets.watch(write, write=True)
        assert sockets.poll(PATIENCE_S) == {write}
        sockets.watch(write)
        assert sockets.poll(0.0) == set()
    finally:
        os.close(read)
        os.close(write)


def test_a_dealer_reads_nothing_of_a_connection_once_it_has_another(sockets: Sockets) -> None:
    masters = Sockets()
    first = masters.router(ANY)
    address = f"tcp://127.0.0.1:{first.port}"
    dealer = sockets.dealer(address)
    while dealer.send([b"hello"]) is not Sent.YES:
        sockets.poll(0.01)
    peer, _ = arrived(masters, first)
    assert first.send([b"welcome to the older queue"], peer) is Sent.YES
    while dealer not in sockets.poll(PATIENCE_S):
        pass  # it is there, and nobody reads it
    masters.close()
    second = sockets.router(address)
    while second not in sockets.poll(0.01):
        dealer.send([b"hello again"])
    peer, _ = arrived(sockets, second)
    assert second.send([b"welcome to the new queue"], peer) is Sent.YES
    assert arrived(sockets, dealer) == [b"welcome to the new queue"]


# --- Keys ---------------------------------------------------------------------------------------

CLUSTER, UNO, DOS = new_pair(), new_pair(), new_pair()


@pytest.fixture
def parties(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sockets]]:
    """Makes the sockets of several processes."""
    monkeypatch.setattr(limits, "linger_ms", 0)
    made: list[Sockets] = []

    def party(pair: KeyPair | None = None, server: bytes = CLUSTER.public) -> Sockets:
        made.append(Sockets(None if pair is None else Keys(pair, server)))
        return made[-1]

    yield party
    for one in made:
        one.close()


def at(bound: Socket) -> str:
    return f"tcp://127.0.0.1:{bound.port}"


def served(parties: Callable[..., Sockets], *keys: KeyPair) -> tuple[Sockets, Socket]:
    """A ROUTER to which only these may connect."""
    server = parties(CLUSTER)
    server.callers.replace(Member("", KeyRole.SLAVE, key.public) for key in keys)
    return server, server.router(ANY)


def says(server: Sockets, router: Socket, client: Sockets, dealer: Socket) -> bytes:
    """A word from one to the other; the key that the other sees."""
    while router not in server.poll(0.01):
        client.poll(0.0)
        dealer.send([b"HZ1", b"word"])
    for frames in router.receive():
        assert frames[1:] == [b"HZ1", b"word"]
    return router.key


def until_trouble(wanted: Trouble, server: Sockets, client: Sockets, address: str) -> None:
    """Dial until that is why it does not come about. (An end that hangs up first says less.)"""
    dealer, found = client.dealer(address), None
    while found is not wanted:
        if found is not None:
            dealer = client.redialled(dealer, address)
        server.poll(0.01)
        dealer.send([b"HZ1", b"word"])
        found = dealer.trouble()


def test_a_connection_has_the_key_that_it_was_made_with(parties: Callable[..., Sockets]) -> None:
    server, router = served(parties, UNO, DOS)
    for pair in (UNO, DOS):
        client = parties(pair)
        assert says(server, router, client, dialled(client, router)) == pair.public
    assert server.inspect(lambda peer: True, 0.0) == []  # reads who has come
    # From then on it is known without another look.
    for pair in (UNO, DOS):
        client = parties(pair)
        dealer = dialled(client, router)
        says(server, router, client, dealer)
        server.inspect(lambda peer: True, 0.0)
        assert says(server, router, client, dealer) == pair.public


def test_a_routing_id_does_not_stand_for_a_key(parties: Callable[..., Sockets]) -> None:
    server, router = served(parties, UNO, DOS)
    context, seen = zmq.Context(), []
    for pair in (UNO, DOS):
        while router.send([b"HZ1", b""], b"the same") is not Sent.GONE:
            server.poll(0.001)  # but nobody looks at who has come and gone
        with context.socket(zmq.DEALER) as raw:
            raw.setsockopt(zmq.LINGER, 0)
            raw.setsockopt(zmq.ROUTING_ID, b"the same")
            raw.setsockopt(zmq.CURVE_SERVERKEY, CLUSTER.public)
            raw.setsockopt(zmq.CURVE_PUBLICKEY, pair.public)
            raw.setsockopt(zmq.CURVE_SECRETKEY, pair.secret)
            raw.connect(at(router))
            raw.send_multipart([b"HZ1", b"word"])
            assert arrived(server, router) == [b"the same", b"HZ1", b"word"]
            seen.append(router.key)
    context.term()
    assert seen == [UNO.public, DOS.public]


def test_who_has_no_key_of_the_cluster_is_told_so(parties: Callable[..., Sockets]) -> None:
    server, router = served(parties, UNO)
    until_trouble(Trouble.KEY, server, parties(DOS), at(router))
    refused: list[str] = []
    while not refused:
        refused = server.inspect(lambda peer: True, 0.0)
    assert set(refused) == {"key"}
    assert list(router.receive()) == []


def test_who_expects_another_cluster_says_nothing_to_this_one(
    parties: Callable[..., Sockets],
) -> None:
    server, router = served(parties, UNO)
    until_trouble(Trouble.HANDSHAKE, server, parties(UNO, DOS.public), at(router))
    assert list(router.receive()) == []


def test_with_keys_and_without_them_do_not_go_together(parties: Callable[..., Sockets]) -> None:
    server, router = served(parties, UNO)
    until_trouble(Trouble.MECHANISM, server, parties(), at(router))
    plain = parties()
    until_trouble(Trouble.MECHANISM, plain, parties(UNO), at(plain.router(ANY)))


def test_with_keys_one_may_listen_to_everybody(parties: Callable[..., Sockets]) -> None:
    assert parties(CLUSTER).router("tcp://0.0.0.0:*").port > 0


def test_without_keys_nobody_dials_beyond_this_machine(sockets: Sockets) -> None:
    with pytest.raises(ConfigError, match=r"tcp://10.0.0.1:5001: it is beyond .*HPCZMQ_KEY"):
        sockets.dealer("tcp://10.0.0.1:5001")
    accepted = Sockets(insecure=True)
    accepted.dealer("tcp://10.0.0.1:5001")
    accepted.close()


def test_a_key_that_is_taken_away_ends_its_connections(parties: Callable[..., Sockets]) -> None:
    server, router = served(parties, UNO, DOS)
    publisher = server.publisher(ANY)
    clients = {pair.public: parties(pair) for pair in (UNO, DOS)}
    dealers = {key: dialled(client, router) for key, client in clients.items()}
    listeners = {
        key: client.moved(client.subscriber(b"HZ1c"), f"tcp://127.0.0.1:{publisher.port}")
        for key, client in clients.items()
    }

    def until_heard(key: bytes) -> None:
        while listeners[key] not in clients[key].poll(0.01):
            server.poll(0.0)
            publisher.send([b"HZ1c", b"state"])
        list(listeners[key].receive())

    for key in clients:
        says(server, router, clients[key], dealers[key])
        until_heard(key)
    server.inspect(lambda peer: True, 0.0)
    assert server.connections == 4
    gone = server.callers.replace([Member("", KeyRole.SLAVE, UNO.public)])
    assert gone == {DOS.public}
    server.cut(gone, 1.0)
    until_trouble(Trouble.KEY, server, clients[DOS.public], at(router))
    # Who may come is, or is again, and nobody else is.
    assert says(server, router, clients[UNO.public], dealers[UNO.public]) == UNO.public
    until_heard(UNO.public)
    list(listeners[DOS.public].receive())
    publisher.send([b"HZ1c", b"secret"])
    until_heard(UNO.public)
    assert list(listeners[DOS.public].receive()) == []


def test_a_socket_gets_another_key(parties: Callable[..., Sockets]) -> None:
    server, router = served(parties, UNO)
    client = parties(UNO)
    dealer, address = client.dealer(at(router)), at(router)
    says(server, router, client, dealer)
    coming = new_pair()
    while True:
        try:
            router.rebind(coming)
            break
        except BindError:  # the old listener is closing
            server.poll(0.001)
    assert at(router) == address
    until_trouble(Trouble.HANDSHAKE, server, client, address)
    assert client.keys is not None
    client.keys.server = coming.public
    assert says(server, router, client, client.redialled(dealer, address)) == UNO.public


def test_an_address_may_name_the_key_that_is_expected_there(
    parties: Callable[..., Sockets],
) -> None:
    server, router = served(parties, UNO)
    client = parties(UNO, DOS.public)
    dealer = client.dealer(f"tcp://127.0.0.1:{router.port}#{CLUSTER.public.hex()}")
    assert says(server, router, client, dealer) == UNO.public


def test_while_newcomers_may_join_they_still_hear_nothing(parties: Callable[..., Sockets]) -> None:
    server, router = served(parties, UNO)
    publisher = server.publisher(ANY)
    server.callers.opens = True
    stranger, member = parties(DOS), parties(UNO)
    assert says(server, router, stranger, dialled(stranger, router)) == DOS.public
    listeners = [
        (party, party.moved(party.subscriber(b"HZ1c"), at(publisher)))
        for party in (stranger, member)
    ]
    refused: list[str] = []
    while listeners[1][1] not in member.poll(0.01) or "key" not in refused:
        server.poll(0.0)
        publisher.send([b"HZ1c", b"state"])
        refused += server.inspect(lambda peer: True, 0.0)
    assert list(listeners[0][1].receive()) == []
