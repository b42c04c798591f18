"""Strategies for messages, derived from the annotations that the wire is made from too.

A field that gets a new bound or type is tried with it at once, and nothing has to be changed here.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import EnumMeta
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from hpczmq.items import Items
from hpczmq.messages import KINDS, Message
from hpczmq.model import Bounds

#: Longest text, bytes and lists that are tried; the bounds have tests of their own.
SIZE_MAX = 6

#: Strategies to use instead of those made from a hint.
Instead = Mapping[Any, st.SearchStrategy[Any]]


def of(hint: Any, instead: Instead | None = None) -> st.SearchStrategy[Any]:
    """All values that fit an annotation of a message's field, or of a class."""
    if instead and hint in instead:
        return instead[hint]
    bounds = Bounds(-(2**63), 2**64 - 1)
    if get_origin(hint) is Annotated:
        hint, bounds = get_args(hint)[:2]
    assert get_origin(hint) not in (Union, types.UnionType)
    low, high = bounds
    if get_origin(hint) is tuple:
        rows = st.lists(of(get_args(hint)[0], instead), min_size=int(low), max_size=SIZE_MAX)
        return rows.map(tuple)
    if isinstance(hint, EnumMeta):
        return st.sampled_from(list(hint))
    if hint is Items:  # whose two fields are not free
        return st.lists(st.binary(max_size=SIZE_MAX), max_size=SIZE_MAX).map(Items.of)
    if is_dataclass(hint) or hasattr(hint, "_fields"):
        return record(hint, instead)
    if hint is float:
        return st.floats(low, high, allow_nan=False)
    size = min(int(high), max(int(low), SIZE_MAX))
    scalars: dict[Any, st.SearchStrategy[Any]] = {
        int: st.integers(int(low), int(high)),
        bool: st.booleans(),
        bytes: st.binary(min_size=max(0, int(low)), max_size=size),
        str: st.text(st.characters(codec="utf-8"), min_size=max(0, int(low)), max_size=size),
    }
    return scalars[hint]


def record(cls: Any, instead: Instead | None = None) -> st.SearchStrategy[Any]:
    """All values of a dataclass or a NamedTuple."""
    hints = get_type_hints(cls, include_extras=True)
    names = [f.name for f in fields(cls)] if is_dataclass(cls) else cls._fields
    return st.builds(cls, **{name: of(hints[name], instead) for name in names})


def messages(instead: Instead | None = None) -> st.SearchStrategy[Message]:
    """All messages of all kinds."""
    return st.one_of([record(cls, instead) for cls in KINDS.values()])


#: What msgpack can carry, of any shape.
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)  # fmt: skip
