"""Messages to frames and back; pure, and the only place that knows msgpack's shape of a message.

Frames: ``HZ1`` (on PUB with a topic's letter behind it), one msgpack array ``[kind, fields…]``,
then the raw buffers. Fields stand in the order of the class, without names, which saves a third of
the packing. Rows of a NamedTuple (tasks, outcomes), of which thousands pass each second, travel
as columns: a column is checked by a handful of calls into C instead of one per row and field.

`decode` takes nothing on trust. A reader for each kind is built from the annotations of its class,
once, when the first message of the kind is met. It checks type and bounds of every field, and
raises `ProtocolError` and nothing else, whatever the bytes are.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from enum import EnumMeta
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import msgpack

from hpczmq import limits
from hpczmq.errors import ProtocolError, shown
from hpczmq.messages import (
    KINDS,
    PROTOCOL,
    AlertsAnswer,
    Control,
    Hello,
    Message,
    Pulse,
    Sample,
    VitalsReport,
)
from hpczmq.model import Bounds

#: Bytes that a frame or buffer may be; what zmq hands out and takes.
Buffer = bytes | bytearray | memoryview
Reader = Callable[[Any], Any]

MAGIC: Final = b"HZ1"
#: Topics of PUB: what a subscriber asks for is a prefix of the first frame.
TOPIC_CONTROL: Final = MAGIC + b"c"
TOPIC_METRICS: Final = MAGIC + b"m"
TOPIC_ALERTS: Final = MAGIC + b"a"
#: Topic of each kind that is published.
TOPICS: Final[dict[type[Message], bytes]] = {
    Control: TOPIC_CONTROL,
    Sample: TOPIC_METRICS,
    VitalsReport: TOPIC_METRICS,
    Pulse: TOPIC_METRICS,
    AlertsAnswer: TOPIC_ALERTS,
}
_NUMBERS: Final = {cls: kind for kind, cls in KINDS.items()}
_SCALARS: Final = frozenset({int, float, str, bytes, bool, type(None)})
_HEADS: Final = frozenset({MAGIC, *TOPICS.values()})


#: Where a hello says its name and which protocol it speaks, in every one of them.
_NAME, _PROTOCOL = (
    1 + [field.name for field in fields(Hello)].index(name) for name in ("name", "protocol")
)


def encode(message: Message, buffers: Sequence[Buffer] = (), topic: bytes = MAGIC) -> list[Buffer]:
    """The frames of a message, with its raw buffers last."""
    cls: Any = type(message)
    body: bytes = msgpack.packb([_NUMBERS[cls], *_writer(cls)(message)], default=_plain)
    assert len(body) <= limits.body_bytes_max, f"{cls.__name__} is too large to send"
    return [topic, body, *buffers]


def decode(frames: Sequence[Buffer]) -> tuple[Message, Sequence[Buffer]]:
    """The message of some frames, and its raw buffers.

    Raises:
        ProtocolError: the frames are not a message of this protocol, or break a bound.
    """
    if len(frames) < 2 or bytes(frames[0][:8]) not in _HEADS:
        raise ProtocolError("magic", "not a message of hpczmq")
    body, buffers = frames[1], frames[2:]
    if len(body) > limits.body_bytes_max or len(buffers) > limits.buffers_max:
        raise ProtocolError("bounds", f"{len(body)} bytes and {len(buffers)} buffers")
    if any(len(buffer) > limits.buffer_bytes_max for buffer in buffers):
        raise ProtocolError("bounds", f"a buffer is above {limits.buffer_bytes_max} bytes")
    values = unpack(body)
    if type(values) is not tuple or not values or type(values[0]) is not int:
        raise ProtocolError("kind", "the body does not start with a kind")
    cls: Any = KINDS.get(values[0])
    if cls is None:
        raise ProtocolError("kind", f"kind {values[0]} is not known")
    if cls is Hello and len(values) > _PROTOCOL and values[_PROTOCOL] != PROTOCOL:
        _refuse_protocol(values)
    message: Message = _record(cls)(values[1:])
    return message, buffers


def _refuse_protocol(values: Sequence[Any]) -> None:
    """Say of a hello of another shape which protocol it speaks: that is what its sender needs to
    know. One of our shape can be read, and the master says the same with both versions.
    """
    spoken, name = values[_PROTOCOL], values[_NAME]
    if type(spoken) is int and len(values) != len(fields(Hello)) + 1:
        who = shown(name) if isinstance(name, str) and name else "this"
        told = f"{who} speaks protocol {shown(spoken)}, here {PROTOCOL} is spoken"
        raise ProtocolError("protocol", f"{told}: install the same version")


def pack(value: Any) -> bytes:
    """A plain value as bytes; what parameters, tasks and inline results travel as.

    Raises:
        TypeError: the value is not made of numbers that fit 64 bits, text, bytes, lists, dicts
            whose keys are text or bytes, None.
    """
    try:
        packed: bytes = msgpack.packb(value)
    except (ValueError, OverflowError) as error:
        raise TypeError(f"{shown(value)} does not travel: {error}") from None
    if isinstance(value, dict | list | tuple):
        _check_keys(value)
    return packed


def _check_keys(value: Any) -> None:
    """Refuse dicts with keys that no reader takes, however deep."""
    inside = [value]
    while inside:
        part = inside.pop()
        if isinstance(part, dict):
            wrong = [key for key in part if not isinstance(key, str | bytes)]
            if wrong:
                raise TypeError(f"a dict with the key {shown(wrong[0])} does not travel: use text")
            part = part.values()
        if not _SCALARS.issuperset(map(type, part)):
            inside += [item for item in part if isinstance(item, dict | list | tuple)]


def unpack(data: Buffer, lists: bool = False) -> Any:
    """The plain value of some bytes; lists come back as tuples, or as lists if so wished.

    Raises:
        ProtocolError: the bytes are not one msgpack value.
    """
    count = _counter() if len(data) > limits.values_counted_bytes else None
    try:
        # A timestamp, which msgpack reads without asking us, comes as a number.
        return msgpack.unpackb(
            data, use_list=lists, ext_hook=_no_extension, timestamp=1, list_hook=count,
            object_hook=count, max_array_len=limits.values_max, max_map_len=limits.values_max,
        )  # fmt: skip
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError("msgpack", shown(str(error) or type(error).__name__)) from None


def _counter() -> Callable[[Any], Any]:
    """A hook that lets lists and dicts pass until their values are too many: an empty dict is one
    byte to send, and 64 to have.
    """
    left = limits.values_max

    def count(made: Any) -> Any:
        nonlocal left
        left -= 1 + len(made)
        if left < 0:
            raise ValueError(f"more than {limits.values_max} values")
        return made

    return count


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code} is not allowed")


def _plain(value: Any) -> Any:
    """What msgpack asks for when it meets one of our nested classes."""
    cls: Any = type(value)
    if not _is_record(cls):
        raise TypeError(f"{cls.__name__} does not travel")
    return _writer(cls)(value)


# --- Readers, built from annotations ----------------------------------------------------------


def _reader(hint: Any) -> Reader:
    """A function that checks a plain value against an annotation, and gives the typed one."""
    bounds = Bounds(-(2**63), 2**64 - 1)
    if get_origin(hint) is Annotated:
        hint, bounds = get_args(hint)[:2]
    if get_origin(hint) in (Union, types.UnionType):
        raise AssertionError(f"{hint}: a field has one type, so that it has one reader")
    if get_origin(hint) is tuple:
        row = get_args(hint)[0]
        return _columns(row, bounds) if _is_row(row) else _rows(_reader(row), bounds)
    if isinstance(hint, EnumMeta):
        return _member(hint)
    if _is_record(hint):
        return _record(hint)
    return _scalar(hint, bounds)


def _told(value: Any) -> str:
    """A refused value for people; a large one is not spelled out first."""
    if isinstance(value, tuple | dict):
        return f"{type(value).__name__} of {len(value)}"
    return shown(value[:100] if isinstance(value, str | bytes) else value)


def _scalar(hint: Any, bounds: Bounds) -> Reader:
    low, high = bounds

    def number(value: Any) -> Any:
        if type(value) is not hint or not low <= value <= high:
            raise ProtocolError("type", f"{_told(value)} is no {hint.__name__} {low}..{high}")
        return value

    def real(value: Any) -> Any:
        return number(float(value) if type(value) is int else value)

    def sized(value: Any) -> Any:
        if type(value) is not hint or not low <= len(value) <= high:
            raise ProtocolError("type", f"{_told(value)} is no {hint.__name__} of {low}..{high}")
        return value

    def plain(value: Any) -> Any:
        if type(value) is not hint:
            raise ProtocolError("type", f"{_told(value)} is no {hint.__name__}")
        return value

    return {int: number, float: real, str: sized, bytes: sized, bool: plain}[hint]


def _member(hint: Any) -> Reader:
    members: dict[int, Any] = {one.value: one for one in hint}

    def member(value: Any) -> Any:
        found = members.get(value) if type(value) is int else None
        if found is None:
            raise ProtocolError("type", f"{_told(value)} is no {hint.__name__}")
        return found

    return member


def _rows(reader: Reader, bounds: Bounds) -> Reader:
    low, high = bounds

    def rows(value: Any) -> tuple[Any, ...]:
        if type(value) is not tuple or not low <= len(value) <= high:
            raise ProtocolError("bounds", f"not a list of {low}..{high} rows")
        return tuple([reader(row) for row in value])

    return rows


def _columns(cls: Any, bounds: Bounds) -> Reader:
    hints = get_type_hints(cls, include_extras=True)
    checks = [_column(hints[name]) for name in cls._fields]

    def columns(value: Any) -> tuple[Any, ...]:
        if type(value) is not tuple or len(value) != len(checks):
            raise ProtocolError("fields", f"{cls.__name__} takes {len(checks)} columns")
        if any(type(column) is not tuple for column in value):
            raise ProtocolError("type", f"a column of {cls.__name__} is no list")
        if not bounds.low <= len(value[0]) <= bounds.high or len(set(map(len, value))) != 1:
            raise ProtocolError("bounds", f"{cls.__name__}: {len(value[0])} rows")
        if not value[0]:
            return ()
        return tuple(
            map(cls, *[check(column) for check, column in zip(checks, value, strict=True)])
        )

    return columns


def _column(hint: Any) -> Callable[[tuple[Any, ...]], Sequence[Any]]:
    """A function that checks a whole column, which is not empty, against a scalar annotation."""
    bounds = Bounds(0, 0)
    if get_origin(hint) is Annotated:
        hint, bounds = get_args(hint)[:2]
    choices: Any = hint if isinstance(hint, EnumMeta) else ()
    members = {one.value: one for one in choices}
    plain = int if members else hint

    def column(values: tuple[Any, ...]) -> Sequence[Any]:
        if set(map(type, values)) != {plain}:
            raise ProtocolError("type", f"a column is not all {hint.__name__}")
        if members:
            if not set(values) <= members.keys():
                raise ProtocolError("type", f"a column is not all {hint.__name__}")
            return [members[value] for value in values]
        sizes = values if plain in (int, float) else tuple(map(len, values))
        # A NaN hides from min and max, but not from a sum.
        fits = bounds.low <= min(sizes) and max(sizes) <= bounds.high
        if not fits or (plain is float and not math.isfinite(sum(sizes))):
            raise ProtocolError("bounds", f"a column leaves {bounds.low}..{bounds.high}")
        return values

    return column


@cache
def _record(cls: Any) -> Reader:
    hints = get_type_hints(cls, include_extras=True)
    readers = [_reader(hints[name]) for name in _names(cls)]
    width = len(readers)

    def record(values: Any) -> Any:
        if type(values) is not tuple or len(values) != width:
            raise ProtocolError("fields", f"{cls.__name__} takes {width} fields")
        return cls(*[read(value) for read, value in zip(readers, values, strict=True)])

    return record


# --- Writers ----------------------------------------------------------------------------------


def _is_row(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, tuple)


def _is_record(hint: Any) -> bool:
    return is_dataclass(hint)


def _names(cls: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls))


@cache
def _writer(cls: type) -> Callable[[Any], Sequence[Any]]:
    """A function that gives an object's fields as plain values, in the order of its class."""
    names = _names(cls)
    hints = get_type_hints(cls, include_extras=True)
    row_types = {i: _row_type(hints[name]) for i, name in enumerate(names)}
    empty = {i: ((),) * len(row._fields) for i, row in row_types.items() if row is not None}
    if len(names) < 2 or empty:

        def write(message: Any) -> Sequence[Any]:
            values = [getattr(message, name) for name in names]
            for i, none in empty.items():
                values[i] = tuple(zip(*values[i], strict=True)) or none
            return values

        return write
    return attrgetter(*names)


def _row_type(hint: Any) -> Any:
    """The NamedTuple of which an annotation says that the field holds rows, or None."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is tuple and _is_row(get_args(hint)[0]):
        return get_args(hint)[0]
    return None
