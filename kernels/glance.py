"""A glance at an image before it is computed: what its tiles will take, how large to make them.

The image is computed at a sixteenth of its resolution or so, by the fastest implementation that is
here: they all give the same counts. From these follows what each pixel *takes*, its effort: the
count itself; or, of an orbit that ends in a trap disc, the iterations until the implementation in
question finds it there. An implementation's time is then

    seconds = a tile's + a pixel's * pixels + an iteration's * efforts + a call's * longest effort

where the last is NumPy's, which calls its loops anew for each iteration, however few pixels live.
The constants are of one machine, and only their ratios matter for long (`Kernel.costs`).
docs/partition.md says how well this foretells what tiles take.
"""

from __future__ import annotations

import functools
import heapq
import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy

from hpczmq import limits
from hpczmq.errors import ParameterError
from hpczmq.kernels import compiled, numpy_blocks
from hpczmq.kernels.base import CancelFlag
from hpczmq.kernels.julia import JuliaParams, Tile, counts_of, discs_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[numpy.float64]

#: Pixels of the image, along one side, for each that is looked at. The compiled kernel looks at a
#: sixteenth for itself; for the others, which are 20 to 300 times slower, it may look closer.
STEP = 16
STEP_OF_SLOW = 8
#: Pixels that are looked at, at most, and their iterations, all together: 0.1 s.
POINTS_MAX = 200_000
WORK_MAX = 500_000_000
WORK_MAX_OF_NUMPY = 25_000_000
#: Orbits that are followed into the trap discs, at most, and how far.
ORBITS_MAX = 2_048
ORBIT_STEPS_MAX = 2_048
#: Work of one core below which a glance is not worth its time: the job is done before anybody
#: could gain by it.
WORTH_S = 0.1
#: Sides of tiles to choose from, in pixels; by the last one only `Secuencial` loses nothing.
SIDES = (256, 192, 128, 96, 64, 32)
#: What a task costs beside its work, on its way to the slave and back, in seconds.
TASK_S = 100e-6
#: Expected times are wrong by so much of the longest one.
DOUBT = 0.1
#: Tasks a slot from which on no order leaves slots without work for a time that counts.
TASKS_MANY = 64


class Rates(NamedTuple):
    """What an implementation takes, in seconds, and how it looks into the trap discs."""

    tile_s: float
    pixel_s: float
    iteration_s: float
    #: An iteration of a tile, however few of its pixels are in it.
    call_s: float
    #: Iterations of the first round, of the second, and of the longest; each is twice as long as
    #: the one before it while no orbit leaves. After each round there is a look.
    first: int = 1
    second: int = 1
    longest: int = 1
    #: One disc for so many iterations of the round; 0: one.
    per_disc: int = 0


#: Fitted to the CPU times of tiles of 64², 128² and 256², of the images of docs/kernels.md.
#: The rounds of `juliaCython` are those of escape.c.
RATES = {
    "Secuencial": Rates(1e-5, 1.5e-7, 5e-8, 0),
    "Numpy": Rates(
        2e-5, 6.8e-8, 1.6e-9, 8e-6, numpy_blocks.ROUND_MIN, 2 * numpy_blocks.ROUND_MIN,
        numpy_blocks.ROUND_MAX, numpy_blocks.ITERATIONS_PER_DISC,
    ),
    "juliaCython": Rates(1e-5, 1.2e-9, 1.5e-10, 0, 8, 12, 96),
}  # fmt: skip


class Look(NamedTuple):
    """What a glance saw."""

    #: Pixels of the image along the side of a cell.
    step: int
    #: Effort of each cell's middle pixel, in iterations; shape (rows, columns).
    efforts: Floats
    #: The longest of each cell and those around it: most pixels were not seen. Same shape.
    longest: Floats


def costs(params: JuliaParams) -> Floats | None:
    """Seconds that each tile of the split should take, in their order; None: not worth a glance."""
    look = _look(replace(params, tile=0, threads=1))
    return None if look is None else _tile_costs(params, look, params.tile_side)


def side(params: JuliaParams, slots: Callable[[], int]) -> int:
    """The side of tiles with which an image should be done soonest, in pixels; 0: no matter.

    `slots` says how many tiles are computed at a time; 0: nobody knows, and so no side is chosen.
    """
    look = _look(replace(params, tile=0, threads=1))
    number = 0 if look is None else slots()
    if look is None or number == 0:
        return 0
    area = params.width * params.rows
    able = [side for side in SIDES if area <= side * side * limits.tasks_ordered_max]
    ends = {side: _end_s(_tile_costs(params, look, side) + TASK_S, number) for side in able}
    return min(ends, key=lambda side: ends[side], default=0)


def _end_s(costs: Floats, slots: int) -> float:
    """When the last of these is done, the costliest begun first, on so many slots."""
    even = float(costs.sum()) / slots
    if costs.size < TASKS_MANY * slots:
        free = [0.0] * min(slots, costs.size)
        for cost in numpy.sort(costs)[::-1].tolist():
            heapq.heapreplace(free, free[0] + cost)
        even = max(free)
    return even + DOUBT * float(costs.max())


# --- Looking --------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=8)
def _look(params: JuliaParams) -> Look | None:
    """A glance at an image; None if it is not worth one, or can't be had."""
    rates, area = RATES[params.algorithm], params.width * params.rows
    if area * (rates.pixel_s + params.iterations * rates.iteration_s) < WORTH_S:
        return None
    with_numpy = not compiled.available()
    step = STEP if with_numpy or params.algorithm == "juliaCython" else STEP_OF_SLOW
    while -(-params.width // step) * -(-params.rows // step) > POINTS_MAX:
        step *= 2
    try:
        coarse = _coarse(params, step, WORK_MAX_OF_NUMPY if with_numpy else WORK_MAX)
    except ParameterError:  # a window at the end of the numbers
        return None
    counts = numpy.empty((coarse.height, coarse.width), coarse.dtype)
    whole = Tile(0, 0, coarse.width, coarse.height)
    counts_of(coarse.algorithm)(coarse, whole, counts, CancelFlag())
    efforts = counts.astype(numpy.float64)
    forever = numpy.flatnonzero(counts == coarse.iterations)
    if forever.size:
        _follow(efforts.reshape(-1), forever, params, coarse)
    total = area * (rates.pixel_s + rates.iteration_s * float(efforts.mean()))
    return Look(step, efforts, _longest(efforts)) if total >= WORTH_S else None


def _coarse(params: JuliaParams, step: int, work: int) -> JuliaParams:
    """The part that is computed, each of whose pixels is the middle of step² of the image's."""
    width, height = -(-params.width // step), -(-params.rows // step)
    across, down = (step * width - params.width) / 2, (params.height - step * height) / 2
    return JuliaParams(
        algorithm="juliaCython" if compiled.available() else "Numpy",
        width=width,
        height=height,
        iterations=min(params.iterations, max(1_024, work // (width * height))),
        c_re=params.c_re,
        c_im=params.c_im,
        center_x=params.center_x + across * params.dx,
        center_y=params.center_y + down * params.dx,
        half_width=step * params.dx * max(width - 1, 1) / 2,
        symmetry=False,
        trap=params.trap,
    )


def _follow(
    efforts: Floats, forever: NDArray[numpy.intp], params: JuliaParams, coarse: JuliaParams
) -> None:
    """Put in what the cells take whose orbits had not escaped by the end of the coarse image."""
    discs, rates = discs_of(params), RATES[params.algorithm]
    if not discs:
        efforts[forever] = _extrapolated(efforts, params.iterations, coarse.iterations)
        return
    share = -(-forever.size // ORBITS_MAX)
    asked = forever[::share]
    rows, columns = numpy.divmod(asked, coarse.width)
    zx = coarse.center_x + (columns - (coarse.width - 1) / 2) * coarse.dx
    zy = coarse.center_y + ((coarse.height - 1) / 2 - rows) * coarse.dx
    end = min(params.iterations, ORBIT_STEPS_MAX)
    # Who is not there by then takes a while longer.
    took = numpy.full(asked.size, float(min(params.iterations, 2 * end)))
    alive, age, turn, length = numpy.arange(asked.size), 0, 0, rates.first
    while alive.size and age < end:
        for _ in range(length):
            zx, zy = zx * zx - zy * zy + params.c_re, 2 * zx * zy + params.c_im
        age += length
        number = min(len(discs), max(1, length // rates.per_disc)) if rates.per_disc else 1
        first = age + turn * number if rates.per_disc else age - turn
        out = numpy.ones(alive.size, bool)
        for i in range(first, first + number):
            disc = discs[i % len(discs)]
            out &= (zx - disc.re) ** 2 + (zy - disc.im) ** 2 > disc.radius2
        took[alive[~out]] = age
        alive, zx, zy = alive[out], zx[out], zy[out]
        length = min(2 * length, rates.longest) if turn else rates.second
        turn += 1
    efforts[forever] = numpy.repeat(took, share)[: forever.size]


def _extrapolated(efforts: Floats, iterations: int, looked: int) -> float:
    """Iterations of a pixel that had not escaped when the glance ended after `looked` of them.

    As many go on as before: of those alive after half of the glance the same part dies again.
    """
    half = int((efforts >= looked // 2).sum())
    dying = math.log(half / int((efforts >= looked).sum()))
    more = (looked - looked // 2) / dying if dying else math.inf
    return min(iterations, looked + more)


# --- Tiles ----------------------------------------------------------------------------------------


def _tile_costs(params: JuliaParams, look: Look, side: int) -> Floats:
    """Seconds of each tile of this side, row by row."""
    rates = RATES[params.algorithm]
    x_edges = numpy.append(numpy.arange(0, params.width, side), params.width)
    y_edges = numpy.append(numpy.arange(0, params.rows, side), params.rows)
    pixels = numpy.outer(numpy.diff(y_edges), numpy.diff(x_edges))
    sums = _sums(look.efforts, y_edges / look.step, x_edges / look.step) * look.step**2
    seconds = rates.tile_s + rates.pixel_s * pixels + rates.iteration_s * sums
    if rates.call_s:
        rows = numpy.maximum.reduceat(look.longest, y_edges[:-1] // look.step, axis=0)
        seconds += rates.call_s * numpy.maximum.reduceat(rows, x_edges[:-1] // look.step, axis=1)
    costs: Floats = seconds.reshape(-1)
    return costs


def _sums(cells: Floats, y_edges: Floats, x_edges: Floats) -> Floats:
    """Integrals between neighbouring edges over a plane that is even within each cell."""
    total = numpy.zeros((cells.shape[0] + 1, cells.shape[1] + 1))
    total[1:, 1:] = cells.cumsum(0).cumsum(1)
    columns = _between(_between(total, y_edges).T, x_edges).T
    sums: Floats = numpy.diff(numpy.diff(columns, axis=0), axis=1)
    return sums


def _between(rows: Floats, places: Floats) -> Floats:
    """The rows at these places, which may lie between two of them."""
    low = numpy.minimum(places.astype(int), rows.shape[0] - 2)
    part = (places - low)[:, numpy.newaxis]
    between: Floats = rows[low] * (1 - part) + rows[low + 1] * part
    return between


def _longest(efforts: Floats) -> Floats:
    """The largest of each number and its eight neighbours."""
    around = numpy.pad(efforts, 1, mode="edge")
    tall = numpy.maximum(numpy.maximum(around[:-2], around[1:-1]), around[2:])
    wide: Floats = numpy.maximum(numpy.maximum(tall[:, :-2], tall[:, 1:-1]), tall[:, 2:])
    return wide
