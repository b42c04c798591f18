"""The types that fields of messages have, each with the range that its values may have."""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from hpczmq import limits


class Bounds(NamedTuple):
    """The closed range of a number, or of a length; both ends may occur."""

    low: float
    high: float


Count = Annotated[int, Bounds(0, 2**63 - 1)]
Seconds = Annotated[float, Bounds(0.0, 1e12)]
Number = Annotated[float, Bounds(-1e300, 1e300)]
Name = Annotated[str, Bounds(0, limits.name_chars_max)]
Text = Annotated[str, Bounds(0, limits.text_chars_max)]
Trace = Annotated[str, Bounds(0, limits.error_chars_max)]
Line = Annotated[str, Bounds(0, limits.log_line_chars_max)]
Packed = Annotated[bytes, Bounds(0, limits.value_bytes_max)]
Uid = Annotated[bytes, Bounds(16, 16)]
#: The queue of a master that has none of its own (in tests), and of who knows none.
NO_QUEUE: Final = bytes(16)
