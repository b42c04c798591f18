"""No number, infinity, numbers beyond all bounds: from a submit through the kernels to the master.

As a parameter they are refused by name, as a field of a message by the wire; what a kernel takes
for a value of its own (`echo`) comes back as it was. Whatever comes of it, the master's books hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpczmq import wire
from hpczmq.errors import ProtocolError
from hpczmq.items import Items
from hpczmq.kernels import CancelFlag, get
from hpczmq.messages import KINDS, PROTOCOL, Hello, Message, Reject, Submit, Submitted
from hpczmq.model import Number, Role, Seconds
from hpczmq.nodes.tasks import plan
from hpczmq.scheduler import Scheduler, actions, events, invariants
from tests.property.strategies import plain_values, record
from tests.unit.harness import instance

NO_NUMBERS = [math.nan, -math.nan, math.inf, -math.inf]
HUGE = [2**64 - 1, -(2**63), 1e308, -1e308, 5e-324, 1 << 40, -1]
no_number = st.sampled_from(NO_NUMBERS)
#: Parameters of the shipped kernels that are right, to be spoiled in one place.
RIGHT: dict[str, dict[str, Any]] = {
    "julia": {
        "width": 8, "height": 8, "iterations": 9, "half_width": 1.5, "c_re": 0.1, "c_im": 0.2,
        "center_x": 0.0, "center_y": 0.0, "tile": 64, "threads": 1, "symmetry": True, "trap": True,
    },
    "sleep": {"seconds": 0.5},
    "payload": {"shape": [4], "seed": 1},
}  # fmt: skip
places = [(kernel, name) for kernel, right in RIGHT.items() for name in right]


def submit(kernel: str, params: dict[str, Any], items: bool = False) -> Submit:
    """A submit of a client that checks nothing."""
    packed = wire.pack(params)
    some = Items.of([packed] * 3) if items else Items()
    return Submit(1, bytes(16), kernel, b"" if items else packed, some, "", 2, 0.0)


def answered(wish: Submit) -> Message:
    """What the master says to it, once its books have been looked at."""
    core = Scheduler(0.0)
    hello = Hello(Role.CLIENT, "me", instance("me"), PROTOCOL, "")
    core.handle(events.Received(b"c", hello, []), 0.0)
    (asked,) = core.handle(events.Received(b"c", wish, []), 0.0)
    assert isinstance(asked, actions.Plan)
    told = core.handle(plan(asked.peer, asked.submit), 0.0)
    core.handle(events.Turn(), 0.0)
    invariants.check(core.state)
    (answer,) = [a.message for a in told if isinstance(a, actions.Send)]
    wire.encode(answer)
    return answer


def test_the_parameters_to_be_spoiled_are_right() -> None:
    for kernel, right in RIGHT.items():
        assert isinstance(answered(submit(kernel, right)), Submitted)


@pytest.mark.parametrize("items", [False, True])
@pytest.mark.parametrize(("kernel", "name"), places)
def test_what_is_no_number_is_refused_by_the_parameter_s_name(
    kernel: str, name: str, items: bool
) -> None:
    right = RIGHT[kernel]
    for wrong in NO_NUMBERS:
        inside = right[name] if isinstance(right[name], list) else None
        value = [wrong, *inside[1:]] if inside else wrong
        answer = answered(submit(kernel, {**right, name: value}, items))
        assert isinstance(answer, Reject)
        assert name in answer.reason
        assert answer.reason.isprintable()


@given(place=st.sampled_from(places), value=st.sampled_from(HUGE) | plain_values)
def test_any_value_of_a_parameter_is_taken_or_refused(place: tuple[str, str], value: Any) -> None:
    kernel, name = place
    answer = answered(submit(kernel, {**RIGHT[kernel], name: value}))
    assert isinstance(answer, Submitted | Reject)
    assert isinstance(answer, Submitted) or answer.reason.isprintable()


@given(value=no_number)
def test_a_value_that_is_no_number_comes_back_as_it_was(value: float) -> None:
    kernel = get("echo")
    params = kernel.parse({"value": value})
    (task,) = kernel.split(params)
    back = wire.unpack(wire.pack(kernel.run(params, task, CancelFlag())), lists=True)
    assert repr(back) == repr(value)


def numbers(hint: Any) -> bool:
    return hint in (float, Seconds, Number) or getattr(hint, "__origin__", None) is float


def fields_of_numbers() -> Iterator[tuple[type[Message], str]]:
    """Every field of a message that is a number with a point."""
    for cls in KINDS.values():
        hints = get_type_hints(cls, include_extras=True)
        yield from ((cls, f.name) for f in fields(cls) if numbers(hints[f.name]))


@pytest.mark.parametrize(("cls", "name"), [*fields_of_numbers()])
@given(data=st.data(), wrong=no_number)
def test_a_field_that_is_no_number_is_refused(
    cls: Any, name: str, data: st.DataObject, wrong: float
) -> None:
    message = replace(data.draw(record(cls)), **{name: wrong})
    with pytest.raises(ProtocolError):
        wire.decode(wire.encode(message))
