"""Types of the compiled module; `_julia.pyx` is its source."""

from hpczmq.kernels.base import CancelFlag
from hpczmq.kernels.julia import Counts, JuliaParams, Tile

def available() -> tuple[str, ...]: ...
def counts(
    params: JuliaParams, tile: Tile, out: Counts, cancelled: CancelFlag, isa: str
) -> None: ...
