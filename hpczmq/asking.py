"""Questions to nodes that answer on a ROUTER of their own: asked once, without joining anything."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from hpczmq import transport, wire
from hpczmq.clock import Clock
from hpczmq.errors import NoCluster, Refused, shown
from hpczmq.messages import Acknowledge, Ask, AskHistory, HistoryAnswer, Message, Ping, Reject, Run

M = TypeVar("M", bound=Message)
#: What a node answers on its own ROUTER.
Question = Ping | Ask | AskHistory | Acknowledge
#: By node a row for each moment, oldest first: `at_s`, and each of the metrics.
History = dict[str, list[dict[str, float]]]


def ask_node(
    address: str, request: Ping | Ask | Acknowledge, kind: type[M], timeout_s: float
) -> tuple[M, float]:
    """Ask one node directly: a request and its answer, without joining anything.

    Args:
        address: of the node's ROUTER.
        timeout_s: seconds to wait.

    Returns:
        The answer, and the seconds from the sending to its arrival.

    Raises:
        NoCluster: nothing answered there in that time.
        Refused: the node does not answer such a question.
    """
    answer, took_s, _ = ask_any([address], request, kind, timeout_s)
    return answer, took_s


def ask_any(
    addresses: Sequence[str], request: Question, kind: type[M], timeout_s: float
) -> tuple[M, float, str]:
    """Ask several nodes at once, of which any will do: the first answer, the seconds that it took,
    and whose it is; raises as `ask_node` does.

    One that is gone costs nothing then, as long as another one is there.
    """
    sockets, clock = transport.Sockets(), Clock()
    try:
        dealers = [sockets.dealer(address) for address in addresses]
        frames = wire.encode(replace(request, request=1))
        sent_s: dict[int, float] = {}
        end_s = clock.now() + timeout_s
        while dealers and clock.now() < end_s:
            for number, dealer in enumerate(dealers):
                # A message can only be sent once there is a connection.
                if number not in sent_s and dealer.send(frames) is transport.Sent.YES:
                    sent_s[number] = clock.now()
            sockets.poll(0.01)
            for number, dealer in enumerate(dealers):
                for answer in dealer.receive():
                    message, _ = wire.decode(answer)
                    if isinstance(message, kind):
                        took_s = clock.now() - sent_s.get(number, 0.0)
                        return message, took_s, addresses[number]
                    if isinstance(message, Reject):
                        raise Refused(message.code, message.reason)
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
