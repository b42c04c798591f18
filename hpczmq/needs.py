"""What a task may ask of the slave that runs it, as people write it.

As a table, `{"memory": "2 GiB", "slots": 2, "labels": {"gpu": "a100"}}`, or on one line, as in a
job file's columns: `memory=2GiB;slots=2;label=gpu=a100`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from hpczmq import limits
from hpczmq.errors import ParameterError

_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) *(|k|M|G|T|Ki|Mi|Gi|Ti)B?", re.IGNORECASE)
_POWERS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY: Final = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_LABEL: Final = re.compile(r"[\w.-]+=[\w.:/-]+")
_KEYS: Final = ("memory", "slots", "labels")


def parse(given: object) -> tuple[int, int, tuple[str, ...]]:
    """Bytes of memory, slots and labels (`key=value`, sorted) that are asked for.

    Raises:
        ParameterError: it is no such table or line.
    """
    table = _of_line(given) if isinstance(given, str) else given
    if not isinstance(table, Mapping):
        raise ParameterError("requires", given, f"must be a table of {', '.join(_KEYS)}")
    for key in table:
        if key not in _KEYS:
            raise ParameterError("requires", key, f"must be one of {', '.join(_KEYS)}")
    slots = table.get("slots", 1)
    slots = int(slots) if isinstance(slots, str) and slots.isdecimal() else slots
    if type(slots) is not int or not 1 <= slots <= limits.slots_max:
        raise ParameterError("requires.slots", slots, f"must be 1..{limits.slots_max}")
    return memory_bytes(table.get("memory", 0), "requires.memory"), slots, _labels(table)


def memory_bytes(given: object, field: str) -> int:
    """A size: a number of bytes, or 512MiB, 2 GiB, 1.5G."""
    found = _SIZE.fullmatch(given.strip()) if isinstance(given, str) else None
    if found is not None:
        unit = found[2].lower()
        given = int(float(found[1]) * (_POWERS.get(unit) or _BINARY[unit]))
    if type(given) is not int or not 0 <= given <= limits.memory_bytes_max:
        raise ParameterError(field, given, "must be bytes, or like 512MiB or 2GiB")
    return given


def labels(given: str, field: str) -> tuple[str, ...]:
    """Labels as one line: `gpu=a100,room=3`."""
    return _checked([part.strip() for part in given.split(",") if part.strip()], field)


def _labels(table: Mapping[str, Any]) -> tuple[str, ...]:
    given = table.get("labels", ())
    if isinstance(given, Mapping):
        given = [f"{key}={value}" for key, value in given.items()]
    elif isinstance(given, str) or not isinstance(given, list | tuple):
        raise ParameterError("requires.labels", given, "must be a table, or a list of key=value")
    return _checked(given, "requires.labels")


def _checked(given: list[Any] | tuple[Any, ...], field: str) -> tuple[str, ...]:
    for label in given:
        if not isinstance(label, str) or not _LABEL.fullmatch(label):
            raise ParameterError(field, label, "must be key=value, of letters, digits and .:/_-")
        if len(label) > limits.name_chars_max:
            remedy = f"must have at most {limits.name_chars_max} characters"
            raise ParameterError(field, label, remedy)
    if len(given) > limits.labels_max:
        raise ParameterError(field, len(given), f"must be at most {limits.labels_max} labels")
    return tuple(sorted(set(given)))


def _of_line(line: str) -> dict[str, Any]:
    table: dict[str, Any] = {"labels": []}
    for part in filter(None, (part.strip() for part in line.split(";"))):
        key, _, value = part.partition("=")
        if key == "label":
            table["labels"].append(value)
        elif key in ("memory", "slots") and value:
            table[key] = value
        else:
            remedy = "must be memory=SIZE, slots=N or label=KEY=VALUE, with ; between them"
            raise ParameterError("requires", part, remedy)
    return table
