"""Asking nodes directly: one question to one or several of them, without joining anything."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from hpczmq import wire
from hpczmq.clock import Clock
from hpczmq.endpoint import Sent, Socket, Trouble
from hpczmq.errors import NoCluster, NotAllowed, Refused, shown
from hpczmq.messages import Acknowledge, Ask, AskHistory, HistoryAnswer, Message, Ping, Reject, Run
from hpczmq.transport import Keys, Sockets

M = TypeVar("M", bound=Message)
#: What a node answers on its own ROUTER.
Question = Ping | Ask | AskHistory | Acknowledge
#: By node a row for each moment, oldest first: `at_s`, and each of the metrics.
History = dict[str, list[dict[str, float]]]


def ask_node(
    address: str,
    request: Ping | Ask | Acknowledge,
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
    answer, took_s, _ = ask_any([address], request, kind, timeout_s, keys, insecure)
    return answer, took_s


def ask_any(
    addresses: Sequence[str],
    request: Question,
    kind: type[M],
    timeout_s: float,
    keys: Keys | None = None,
    insecure: bool = False,
) -> tuple[M, float, str]:
    """Ask several nodes at once, of which any will do: the first answer, the seconds that it took,
    and whose it is; raises as `ask_node` does.

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
                    return answer, clock.now() - sent_s.get(address, 0.0), address
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


def history(
    ask: AskHistory,
    get: Callable[[Sequence[str], AskHistory], tuple[HistoryAnswer, str]],
) -> History:
    """All pages of an answer of one memoria.

    Args:
        ask: for the first page.
        get: asks some memorias, or any when none is named; the answer, and whose it is.
    """
    told: History = {}
    addresses: Sequence[str] = ()
    while True:
        answer, address = get(addresses, ask)
        addresses = [address]  # the next page has to be of the same one
        names = ("at_s", *answer.columns)
        for run in answer.runs:
            rows = [dict(zip(names, row, strict=True)) for row in _rows(run, len(names))]
            told.setdefault(run.node, []).extend(rows)
        last = answer.runs[-1].node if answer.runs else ""
        if not answer.more or not told.get(last):
            return told
        cursor = last, told[last][-1]["at_s"]
        if cursor <= (ask.after, ask.after_s):
            return told  # it says the same again
        ask = replace(ask, after=cursor[0], after_s=cursor[1])


def _rows(run: Run, width: int) -> Iterator[tuple[float, ...]]:
    """The rows of a run, of which a memoria of our version has so many columns."""
    if len(run.rows) % (8 * width):
        raise Refused("rows", f"the history of {shown(run.node)} is no rows of {width} numbers")
    return struct.iter_unpack(f"<{width}d", run.rows)


def refusal(answer: Reject) -> Refused:
    """The error of a refused request."""
    kind = NotAllowed if answer.code == "role" else Refused
    return kind(answer.code, answer.reason)


def _answer(dealer: Socket) -> Message | None:
    """The next message of a node, if it is there."""
    for frames in dealer.receive(1):
        return wire.decode(frames)[0]
    return None
