"""The Julia set: parameters, tiles, and the choice between three implementations of one loop.

    dx  = 2*half_width / max(W - 1, 1)
    x_i = center_x + (i - (W - 1)/2) * dx          column i = 0 … W-1
    y_j = center_y + ((H - 1)/2 - j) * dx          row j = 0 (top) … H-1
    n = 0
    while n < iterations and zx*zx + zy*zy <= 4:    starting from (x_i, y_j)
        zx, zy = zx*zx - zy*zy + c_re, 2*zx*zy + c_im
        n += 1
    counts[j, i] = n

IEEE binary64, every operation rounded once and in this order, no fused multiply-add: then each
implementation, tile size, machine and instruction set gives the same bytes.

`Secuencial` (`secuencial`) is the loop above in Python and the reference, `Numpy`
(`numpy_blocks`) needs no compiler, `juliaCython` (`compiled`) is the fast one.

Two short cuts are on unless a job turns them off, and change no count (docs/exactness.md has the
proofs): an image centred on 0 is its own mirror image through its middle, so that half its tiles
are computed (`symmetry`); and an orbit near an attracting cycle never escapes (`trap`).

Numpy is not imported here: the master imports this module to split jobs, and every command to
check them, and its 0.1 s would be most of their start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, overload

from hpczmq import limits
from hpczmq.errors import KernelMissing, ParameterError
from hpczmq.kernels import compiled, parameters
from hpczmq.kernels.base import CancelFlag, Kernel

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from hpczmq.kernels.trap import Disc

    Counts = NDArray[numpy.uint16] | NDArray[numpy.uint32]

#: The implementations, as they are spelled; case does not matter where they are read.
ALGORITHMS = ("Secuencial", "Numpy", "juliaCython")

#: Half a window's width, at most: 2*half_width and what is added to it stay far from overflow.
HALF_WIDTH_MAX = 1e100

_TILE_AREA_MAX = limits.tile_pixels_max**2


class CountsFunction(Protocol):
    """The one signature of the three implementations."""

    def __call__(self, params: JuliaParams, tile: Tile, out: Counts, cancelled: CancelFlag) -> None:
        """Write the counts of `tile` into `out`.

        Args:
            params: the whole image; its `algorithm` is not looked at.
            tile: the part to compute, inside the image.
            out: shape (tile.height, tile.width), C-contiguous, of the dtype of `params`.
            cancelled: looked at once a row of the tile, or more often; by `juliaCython` several
                times a millisecond.

        Raises:
            Cancelled: the flag was set; `out` is then of no use.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class JuliaParams:
    """One image: its size, its window on the plane, the constant c, and how to compute it.

    Raises `ParameterError` for a value out of range. Ints are taken as floats where a float is
    meant; `algorithm` is kept in its canonical spelling.
    """

    #: "Secuencial", "Numpy" or "juliaCython": the same counts at another speed.
    algorithm: str = field(default="juliaCython", metadata={"check": parameters.word(ALGORITHMS)})
    #: Columns of the image, in pixels.
    width: int = field(
        metadata={"check": parameters.whole_number(1, limits.side_pixels_max)},
    )
    #: Rows of the image, in pixels.
    height: int = field(
        metadata={"check": parameters.whole_number(1, limits.side_pixels_max)},
    )
    #: Where counting stops; 0 gives an image of zeros.
    iterations: int = field(
        default=1000, metadata={"check": parameters.whole_number(0, limits.iterations_max)}
    )
    #: The constant of z² + c; any finite number.
    c_re: float = field(default=-0.772691322542185, metadata={"check": parameters.real_number()})
    c_im: float = field(default=0.124281466072787, metadata={"check": parameters.real_number()})
    #: The middle of the window on the plane; any finite number.
    center_x: float = field(default=0.0, metadata={"check": parameters.real_number()})
    center_y: float = field(default=0.0, metadata={"check": parameters.real_number()})
    #: From the window's middle to the middle of its last column; the height follows from the
    #: image's shape, since pixels are square.
    half_width: float = field(
        default=1.6,
        metadata={"check": parameters.real_number(above=0.0, most=HALF_WIDTH_MAX)},
    )
    #: Side of the square tiles, in pixels; 0: the client chooses it (`JuliaKernel.fitted`).
    tile: int = field(
        default=0,
        metadata={
            "check": parameters.whole_number(0, limits.tile_pixels_max, " (0 chooses it for you)")
        },
    )
    #: Threads that compute one tile together; of `juliaCython` only.
    threads: int = field(
        default=1, metadata={"check": parameters.whole_number(1, limits.threads_per_task_max)}
    )
    #: Whether to compute half of an image that is centred on 0, and mirror it.
    symmetry: bool = field(default=True, metadata={"check": parameters.truth()})
    #: Whether `Numpy` and `juliaCython` end an orbit that is proven never to escape.
    trap: bool = field(default=True, metadata={"check": parameters.truth()})

    def __post_init__(self) -> None:
        parameters.check_fields(self)
        if len(TileGrid(self.width, self.rows, self.tile_side)) > limits.tasks_per_job_max:
            raise ParameterError(
                "tile",
                self.tile,
                f"makes more than {limits.tasks_per_job_max} tiles of {self.width}x{self.height}; "
                f"must be 0 or at least {_side_least(self.width, self.rows)}",
            )

    @property
    def dx(self) -> float:
        """Distance of two neighbouring pixels on the plane.

        Of the whole image, never of a tile: every tile has to see the same coordinates.
        """
        return 2 * self.half_width / max(self.width - 1, 1)

    @property
    def dtype(self) -> str:
        """Of the counts, as `numpy.dtype.str`: uint16 as long as `iterations` fits it."""
        return "<u2" if self.iterations <= 0xFFFF else "<u4"

    @property
    def tile_side(self) -> int:
        """Side of the tiles in pixels; if `tile` is 0 still, the usual one."""
        if self.tile:
            return self.tile
        return max(limits.tile_pixels_default, _side_least(self.width, self.rows))

    @property
    def mirrored(self) -> bool:
        """Whether the lower half is the upper one turned by half a turn, and not computed.

        With the window's middle at 0 the coordinates of a pixel and of the one opposite differ in
        their sign and in nothing else, and z and -z have one square.
        """
        return self.symmetry and self.center_x == 0 and self.center_y == 0

    @property
    def rows(self) -> int:
        """How many rows, from the top, are computed."""
        return (self.height + 1) // 2 if self.mirrored else self.height


def _side_least(width: int, height: int) -> int:
    """The smallest power of two that cuts an image into no more tiles than a job may have."""
    side = 1
    while len(TileGrid(width, height, side)) > limits.tasks_per_job_max:
        side *= 2
    return side


class Tile(NamedTuple):
    """A rectangle of an image, in pixels; (x, y) is its upper left one."""

    x: int
    y: int
    width: int
    height: int


class TileGrid(Sequence[Tile]):
    """The tiles of an image row by row, each made when it is asked for.

    Those of the last column and row are cut off at the image's edge.
    """

    __slots__ = ("_columns", "_height", "_rows", "_side", "_width")

    def __init__(self, width: int, height: int, side: int) -> None:
        self._width, self._height, self._side = width, height, side
        self._columns, self._rows = -(-width // side), -(-height // side)

    def __len__(self) -> int:
        return self._columns * self._rows

    @overload
    def __getitem__(self, index: int) -> Tile: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Tile, ...]: ...
    def __getitem__(self, index: int | slice) -> Tile | tuple[Tile, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"tile {index} of {len(self)}")
        row, column = divmod(index % len(self), self._columns)
        x, y, side = column * self._side, row * self._side, self._side
        return Tile(x, y, min(side, self._width - x), min(side, self._height - y))


class JuliaKernel(Kernel[JuliaParams, Tile]):
    """Julia sets in tiles; a job's result is an array of counts, shape (height, width)."""

    name = "julia"
    assembles = True

    def parse(self, params: Mapping[str, Any]) -> JuliaParams:
        """See `Kernel.parse`; `width` and `height` have no default."""
        return parameters.parse(JuliaParams, self.name, params)

    def faults(self, params: Mapping[str, Any]) -> list[ParameterError]:
        """See `Kernel.faults`; these are all of them."""
        return parameters.faults(JuliaParams, self.name, params)

    def plain(self, params: JuliaParams) -> dict[str, Any]:
        """See `Kernel.plain`."""
        return parameters.plain(params)

    def split(self, params: JuliaParams) -> TileGrid:
        """The tiles, row by row; of a mirrored image those of its upper half."""
        return TileGrid(params.width, params.rows, params.tile_side)

    def fitted(self, params: JuliaParams, slots: Callable[[], int]) -> JuliaParams:
        """With the tiles' side chosen, if `tile` is 0 and the image is worth it; see `glance`."""
        if params.tile or len(self.split(params)) == 1:
            return params
        from hpczmq.kernels import glance  # here, since it needs numpy

        return replace(params, tile=glance.side(params, slots))

    def costs(self, params: JuliaParams) -> Sequence[float] | None:
        """What each tile should take; None of a small image, or if they are very many."""
        if not 1 < len(self.split(params)) <= limits.tasks_ordered_max:
            return None
        from hpczmq.kernels import glance

        costs = glance.costs(params)
        return None if costs is None else costs.tolist()

    def whole(self, params: JuliaParams) -> Tile:
        """The image as one tile, which is computed whole: only tiles of a split are mirrored.

        Raises:
            ParameterError: it is larger than a result may be.
        """
        if params.width * params.height > _TILE_AREA_MAX:
            raise ParameterError(
                "width",
                params.width,
                f"times height = {params.height} must be at most {_TILE_AREA_MAX} pixels for an "
                "image in one piece; submit it as a job, which is cut into tiles",
            )
        return Tile(0, 0, params.width, params.height)

    def task(self, values: Sequence[Any]) -> Tile:
        """A tile from ``x, y, width, height``. Whether it is inside its image `run` checks."""
        if len(values) == 4 and all(type(v) is int for v in values):
            tile = Tile(*values)
            side, area = limits.side_pixels_max, tile.width * tile.height
            placed = 0 <= tile.x < side and 0 <= tile.y < side
            if placed and tile.width > 0 and tile.height > 0 and area <= _TILE_AREA_MAX:
                return tile
        raise ParameterError(
            "task", values, f"must be x, y, width, height of at most {_TILE_AREA_MAX} pixels"
        )

    def run(self, params: JuliaParams, task: Tile, cancelled: CancelFlag) -> Counts:
        """The counts of one tile.

        Returns:
            Shape (task.height, task.width), uint16 or uint32 (see `JuliaParams.dtype`), values
            0 to `iterations`.

        Raises:
            Cancelled: the flag was set.
            KernelMissing: `juliaCython` is asked for and not compiled here.
            ParameterError: the tile is not inside the image.
        """
        self.require(params)
        if task.x + task.width > params.width or task.y + task.height > params.height:
            raise ParameterError(
                "task", tuple(task), f"must be inside {params.width}x{params.height} pixels"
            )
        import numpy  # here, see the top

        out = numpy.empty((task.height, task.width), params.dtype)
        counts_of(params.algorithm)(params, task, out, cancelled)
        return out

    def allocate(self, params: JuliaParams) -> tuple[tuple[int, ...], str]:
        """Shape (height, width), and uint16 or uint32."""
        return (params.height, params.width), params.dtype

    def place(self, params: JuliaParams, result: Any, task: Tile, array: Any) -> None:
        """Copy a tile's counts to where they belong in the image; see `Kernel.place`."""
        shape, dtype = (task.height, task.width), array.dtype
        if getattr(result, "shape", None) != shape or result.dtype != dtype:
            got = f"{getattr(result, 'dtype', type(result).__name__)}{getattr(result, 'shape', '')}"
            raise ParameterError("result", got, f"must be {dtype}{shape} for {task}")
        x, y, right, bottom = task.x, task.y, task.x + task.width, task.y + task.height
        array[y:bottom, x:right] = result
        if params.mirrored:
            height, width = array.shape
            array[height - bottom : height - y, width - right : width - x] = result[::-1, ::-1]

    def used(self, params: JuliaParams) -> dict[str, Any]:
        """The tiles' side in pixels; whether the image was mirrored; and the period of the cycle
        that traps orbits, or 0."""
        trapped = len(discs_of(params))
        return {"tile": params.tile_side, "symmetry": params.mirrored, "trap": trapped}

    def describe(self, params: JuliaParams) -> str:
        """The algorithm, the size in pixels and the iterations."""
        size = f"{params.width}×{params.height}"
        return f"{params.algorithm} {size}, {params.iterations} iterations"

    def capability(self, params: JuliaParams) -> str:
        """``julia:`` and the algorithm."""
        return f"{self.name}:{params.algorithm}"

    def capabilities(self) -> tuple[str, ...]:
        """All algorithms; without `juliaCython` where it can't be used."""
        return tuple(f"{self.name}:{name}" for name in ALGORITHMS if not _missing(name))

    def require(self, params: JuliaParams) -> None:
        """See `Kernel.require`; only `juliaCython` can be missing."""
        if missing := _missing(params.algorithm):
            raise missing


def discs_of(params: JuliaParams) -> tuple[Disc, ...]:
    """The trap discs that a computation of these parameters may use; `Secuencial` uses none."""
    if not params.trap or params.algorithm == "Secuencial":
        return ()
    from hpczmq.kernels import trap  # here, since most processes need none

    return trap.discs(params.c_re, params.c_im)


def _missing(algorithm: str) -> KernelMissing | None:
    """Why an algorithm can't be used here, and what to do about it."""
    try:
        if algorithm == "juliaCython":
            compiled.isa()
    except KernelMissing as error:
        return error
    return None


def counts_of(algorithm: str) -> CountsFunction:
    """The function behind a canonical name; imported now, for it imports numpy or compiled code."""
    match algorithm:
        case "Secuencial":
            from hpczmq.kernels import secuencial

            return secuencial.counts
        case "Numpy":
            from hpczmq.kernels import numpy_blocks

            return numpy_blocks.counts
        case "juliaCython":
            return compiled.counts
    raise AssertionError(f"JuliaParams let {algorithm!r} pass")
