"""Asking nodes directly: one question to one or several of them, without joining anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from hpczmq import wire
from hpczmq.clock import Clock
from hpczmq.endpoint import Sent, Socket, Trouble
from hpczmq.errors import NoCluster, NotAllowed, Refused, shown
from hpczmq.messages import Ask, Message, Ping, Reject
from hpczmq.transport import Keys, Sockets

M = TypeVar("M", bound=Message)


def ask_node(
    address: str,
    request: Ping | Ask,
    kind: type[M],
    timeout_s: float,
    keys: Keys | None = None,
    insecure: bool = False,
) -> tuple[M, float]:
    """Ask one node: a request and its answer.

    Args:
        address: of the node's ROUTER.
        timeout_s: seconds to wait.
        keys: those of who asks; the node's own stands behind its address, as "#" and fingerprint.
        insecure: whether to ask beyond this machine without keys.

    Returns:
        The answer, and the seconds from the sending to its arrival.

    Raises:
        NoCluster: nothing answered there in that time.
        Refused: the node does not answer such a question.
        NotAllowed: it does not answer it to who has this key.
    """
    return ask_nodes([address], request, kind, timeout_s, keys, insecure)


def ask_nodes(
    addresses: Sequence[str],
    request: Ping | Ask,
    kind: type[M],
    timeout_s: float,
    keys: Keys | None = None,
    insecure: bool = False,
) -> tuple[M, float]:
    """Ask several nodes at once, of which any will do: the first answer, as `ask_node` gives it.

    One that is gone or refuses costs nothing then, as long as another one answers.
    """
    sockets, clock = Sockets(keys, insecure), Clock()
    try:
        open_ = {address: sockets.dealer(address) for address in dict.fromkeys(addresses)}
        frames = wire.encode(replace(request, request=1))
        sent_s: dict[str, float] = {}
        refused: Refused | None = None
        end_s = clock.now() + timeout_s
        while open_ and clock.now() < end_s:
            for address, dealer in open_.items():
                # A message can only be sent once there is a connection.
                if address not in sent_s and dealer.send(frames) is Sent.YES:
                    sent_s[address] = clock.now()
            sockets.poll(0.01)
            for address, dealer in list(open_.items()):
                answer = _answer(dealer)
                if isinstance(answer, kind):
                    return answer, clock.now() - sent_s.get(address, 0.0)
                if isinstance(answer, Reject):
                    refused = refusal(answer)
                elif dealer.trouble() is Trouble.KEY:
                    refused = NotAllowed("key", f"{address}: the key here is none that may ask it")
                else:
                    continue
                del open_[address]
        if refused is not None:
            raise refused
    finally:
        sockets.close()
    raise NoCluster(f"{shown(', '.join(addresses))}: nothing answered in {timeout_s:g} s")


def refusal(answer: Reject) -> Refused:
    """The error of a refused request."""
    kind = NotAllowed if answer.code == "role" else Refused
    return kind(answer.code, answer.reason)


def _answer(dealer: Socket) -> Message | None:
    """The next message of a node, if it is there."""
    for frames in dealer.receive(1):
        return wire.decode(frames)[0]
    return None
