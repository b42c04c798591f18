"""Values as JSON that every reader takes: no NaN, no infinity, whatever a kernel gave."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any


def document(value: Any) -> str:
    """A plain value as a JSON document of several lines, the last one ended too."""
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text if text.replace("\n", "").isprintable() else "".join(map(_harmless, text))


def _harmless(character: str) -> str:
    """JSON asks to escape the C0 control characters only. A terminal obeys others as well, and all
    of them stand in strings, where they may be written so.
    """
    if character == "\n" or character.isprintable():
        return character
    return json.dumps(character)[1:-1]


def _plain(value: Any) -> Any:
    """A plain value in JSON's words.

    Bytes become ``{"base64": …}``, what is not finite "nan", "inf" or "-inf", arrays lists, and
    keys text.
    """
    if isinstance(value, memoryview):  # it has a `tolist` too
        value = value.tobytes()
    if hasattr(value, "tolist"):  # numpy's, which is not loaded for the sake of asking
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, bytes | bytearray):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)
