"""Parameter sets that validate themselves, and say everything that is wrong with them.

A kernel's parameters are a frozen dataclass whose fields carry their check:

    @dataclass(frozen=True, slots=True, kw_only=True)
    class BlurParams:
        radius: int = field(metadata={"check": whole_number(1, 99)})
        sigma: float = field(default=1.0, metadata={"check": real_number()})

        def __post_init__(self) -> None:
            check_fields(self)

A check takes the field's name and value, and returns the value as it is kept (an int as a float,
a word in its canonical spelling) or raises `ParameterError`. `parse` makes such a set from the
plain values of a user or a peer; `faults` lists all that is wrong with them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from hpczmq.errors import ParameterError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    D = TypeVar("D", bound=DataclassInstance)

#: Field name and value in, the value as it is kept out; raises `ParameterError`.
Check = Callable[[str, object], Any]


def whole_number(low: int, high: int, note: str = "") -> Check:
    """A check for an int in the closed range `low`..`high`; `note` ends the remedy."""
    remedy = f"must be a whole number, {low}..{high}{note}"

    def check(name: str, value: object) -> int:
        # NumPy's integers are `numbers.Integral`; True is an int that nobody means.
        if isinstance(value, bool) or not isinstance(value, int | numbers.Integral):
            raise ParameterError(name, value, remedy)
        number = int(value)
        if not low <= number <= high:
            raise ParameterError(name, value, remedy)
        return number

    return check


def real_number(
    *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> Check:
    """A check for a finite number that is > `above`, >= `least` and <= `most`.

    An int is taken too, and kept as a float.
    """
    named = {"above": above, "at least": least, "at most": most}
    ends = " and ".join(f"{word} {end:g}" for word, end in named.items() if math.isfinite(end))
    remedy = f"must be a finite number {ends}".rstrip()

    def check(name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, float | numbers.Real):
            raise ParameterError(name, value, remedy)
        try:
            number = float(value)
        except OverflowError:  # an int beyond 1.8e308
            raise ParameterError(name, value, remedy) from None
        if not math.isfinite(number) or not (above < number and least <= number <= most):
            raise ParameterError(name, value, remedy)
        return number

    return check


def word(words: Sequence[str]) -> Check:
    """A check for one of `words`, in any case; it is kept in the spelling given here."""
    canonical = {w.casefold(): w for w in words}
    remedy = f"must be {', '.join(words[:-1])} or {words[-1]}"

    def check(name: str, value: object) -> str:
        found = canonical.get(value.strip().casefold()) if isinstance(value, str) else None
        if found is None:
            raise ParameterError(name, value, remedy)
        return found

    return check


def truth() -> Check:
    """A check for True or False; the words are taken too, for lines of a job file are text."""
    words = {"true": True, "false": False}

    def check(name: str, value: object) -> bool:
        found = words.get(value.strip().casefold()) if isinstance(value, str) else value
        if not isinstance(found, bool):
            raise ParameterError(name, value, "must be true or false")
        return found

    return check


class _Table(NamedTuple):
    """What a parameter class says of its fields, looked up once a class."""

    checks: tuple[tuple[str, Check], ...]
    names: frozenset[str]
    required: frozenset[str]


@functools.cache
def _table(cls: type[DataclassInstance]) -> _Table:
    fields = dataclasses.fields(cls)
    missing = dataclasses.MISSING
    return _Table(
        tuple((f.name, f.metadata["check"]) for f in fields if "check" in f.metadata),
        frozenset(f.name for f in fields),
        frozenset(f.name for f in fields if f.default is missing and f.default_factory is missing),
    )


def check_fields(params: DataclassInstance) -> None:
    """Run every field's check and keep what it returns; for `__post_init__`.

    Raises:
        ParameterError: the first field that does not pass.
    """
    for name, check in _table(type(params)).checks:
        given = getattr(params, name)
        kept = check(name, given)
        if kept is not given:
            object.__setattr__(params, name, kept)


def parse(cls: type[D], kernel: str, params: Mapping[str, Any]) -> D:
    """An instance of `cls` from plain values.

    Raises:
        ParameterError: the first of `faults`.
    """
    table = _table(cls)
    if table.required <= params.keys() <= table.names:
        return cls(**params)
    raise faults(cls, kernel, params)[0]


def faults(
    cls: type[DataclassInstance], kernel: str, params: Mapping[str, Any]
) -> list[ParameterError]:
    """All that is wrong with plain values: names first, then values, then their combination."""
    table = _table(cls)
    checks = dict(table.checks)
    strangers = sorted(params.keys() - table.names, key=str)
    found = [_unknown(kernel, name, params[name], table.names) for name in strangers]
    for field in dataclasses.fields(cls):
        try:
            if field.name in params:
                checks.get(field.name, _anything)(field.name, params[field.name])
            elif field.name in table.required:
                # The check of a value that can't be right words what is missing.
                checks.get(field.name, _anything)(field.name, _NOT_GIVEN)
                raise ParameterError(field.name, _NOT_GIVEN, f"{kernel} needs it")
        except ParameterError as error:
            found.append(error)
    if not found:
        try:
            cls(**params)
        except ParameterError as error:
            found.append(error)
    return found


def plain(params: DataclassInstance) -> dict[str, Any]:
    """The fields in their order, as the plain values that travel; a tuple becomes a list."""
    values = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


class _NotGiven:
    """Stands for a value that is not there; no check lets it pass."""

    def __repr__(self) -> str:
        return "(not given)"


_NOT_GIVEN = _NotGiven()


def _anything(name: str, value: object) -> object:
    return value


def _unknown(kernel: str, name: object, value: object, known: frozenset[str]) -> ParameterError:
    import difflib  # here, since only a mistake needs it and it would delay every start

    near = difflib.get_close_matches(str(name).casefold(), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(known))}"
    return ParameterError(str(name), value, f"is not a parameter of {kernel}; {hint}")
