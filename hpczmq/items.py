"""The parameter sets of a `map`: up to a million byte strings, kept and sent as two.

A Python object for each would cost six times the bytes of a small one, in the client and again in
the master, for as long as the job lasts.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Annotated, Self, overload

from hpczmq import limits
from hpczmq.errors import ProtocolError
from hpczmq.model import Bounds

#: Of one size, on the wire: unsigned, little-endian.
_SIZE_BYTES = 4
#: So many items are found from one known start: adding up the sizes of these takes no time.
_BLOCK = 16


@dataclass(frozen=True)
class Items(Sequence[bytes]):
    """Byte strings one behind the other.

    Raises `ProtocolError` when the sizes are not those of the data.
    """

    #: The size of each, as a little-endian number of 4 bytes.
    sizes: Annotated[bytes, Bounds(0, _SIZE_BYTES * limits.items_per_job_max)] = b""
    #: All of them.
    data: Annotated[bytes, Bounds(0, limits.body_bytes_max)] = b""

    def __post_init__(self) -> None:
        if len(self.sizes) % _SIZE_BYTES:
            raise ProtocolError("items", f"{len(self.sizes)} bytes of sizes")
        if self._starts[-1] != len(self.data):
            raise ProtocolError("items", f"sizes that are not those of {len(self.data)} bytes")
        small = len(self.data) <= limits.value_bytes_max
        if not small and max(self._numbers) > limits.value_bytes_max:
            raise ProtocolError("items", f"one is above {limits.value_bytes_max} bytes")

    @classmethod
    def of(cls, items: Iterable[bytes]) -> Self:
        """From the byte strings themselves."""
        items = list(items)
        sizes = array("I", map(len, items))
        if sys.byteorder == "big":
            sizes.byteswap()
        return cls(sizes.tobytes(), b"".join(items))

    @cached_property
    def _numbers(self) -> Sequence[int]:
        if sys.byteorder == "little":
            return memoryview(self.sizes).cast("I")
        numbers = array("I", self.sizes)
        numbers.byteswap()
        return numbers

    @cached_property
    def _starts(self) -> array[int]:
        """Where the first of each block begins, and where all of them end."""
        sizes = self._numbers
        blocks = [sum(sizes[at : at + _BLOCK]) for at in range(0, len(sizes), _BLOCK)]
        return array("Q", accumulate(blocks, initial=0))

    @property
    def held_bytes(self) -> int:
        """What all of it takes in memory."""
        return len(self.data) + len(self.sizes)

    def __len__(self) -> int:
        return len(self.sizes) // _SIZE_BYTES

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        place = range(len(self))[index]
        if isinstance(place, range):
            return [self[one] for one in place]
        block = place // _BLOCK
        start = self._starts[block] + sum(self._numbers[block * _BLOCK : place])
        return self.data[start : start + self._numbers[place]]
