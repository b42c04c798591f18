"""The Julia set: what it computes, its parameters, its tiles, and what is installed of it."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import numpy
import pytest

import hpczmq.kernels.julia as julia
from hpczmq import jobfile, limits
from hpczmq.errors import JobFileError, KernelMissing, ParameterError
from hpczmq.jobformats import Format
from hpczmq.kernels.base import CancelFlag, Cancelled
from hpczmq.kernels.julia import ALGORITHMS, JuliaKernel, JuliaParams, Tile, TileGrid

KERNEL = JuliaKernel()
compiled = pytest.mark.skipif(
    "julia:juliaCython" not in KERNEL.capabilities(), reason="there is no compiled module"
)
algorithms = pytest.mark.parametrize(
    "algorithm", ["Secuencial", "Numpy", pytest.param("juliaCython", marks=compiled)]
)


def image(**values: Any) -> Any:
    """A Julia set, computed tile by tile and put together."""
    params = KERNEL.parse(values)
    counts = numpy.empty(*KERNEL.allocate(params))
    for tile in KERNEL.split(params):
        KERNEL.place(params, KERNEL.run(params, tile, CancelFlag()), tile, counts)
    return counts


def fault(**values: Any) -> str:
    """The one fault of these Julia parameters, as a user reads it."""
    found = KERNEL.faults(values)
    assert len(found) == 1
    with pytest.raises(ParameterError) as raised:
        KERNEL.parse(values)
    assert str(raised.value) == str(found[0])
    return str(found[0])


# --- The Julia set ----------------------------------------------------------------------------


@algorithms
def test_a_small_image_has_the_bytes_that_it_always_had(algorithm: str) -> None:
    counts = image(width=48, height=32, iterations=60, algorithm=algorithm)
    assert (counts.shape, counts.dtype.str) == ((32, 48), "<u2")
    assert hashlib.sha256(counts).hexdigest() == (
        "cff1499b66484ae09c2fb31643213076ff46412114354c77c56300d34290ab44"
    )


@algorithms
def test_without_iterations_all_counts_are_zero(algorithm: str) -> None:
    assert not image(width=5, height=3, iterations=0, algorithm=algorithm).any()


@algorithms
def test_with_one_iteration_a_count_says_whether_the_start_is_inside(algorithm: str) -> None:
    counts = image(width=5, height=1, iterations=1, half_width=4, algorithm=algorithm)
    assert counts.tolist() == [[0, 1, 1, 1, 0]]


@algorithms
def test_a_start_at_exactly_two_is_still_inside(algorithm: str) -> None:
    counts = image(
        width=1, height=1, iterations=9, center_x=2, c_re=-2, c_im=0, algorithm=algorithm
    )
    assert counts.tolist() == [[9]]


@algorithms
def test_an_orbit_that_left_and_would_come_back_has_left(algorithm: str) -> None:
    # 1 → -8 → 55…: |c| >= 2; the pixel (3, 0) would go 3 → 0 → -9 and is out at once.
    counts = image(
        width=3, height=1, iterations=99, c_re=-9, c_im=0, half_width=3, algorithm=algorithm
    )
    assert counts.tolist() == [[0, 1, 0]]


@algorithms
@pytest.mark.parametrize(
    ("iterations", "dtype"), [(65_535, numpy.dtype("u2")), (65_536, numpy.dtype("u4"))]
)
def test_counts_are_uint16_as_long_as_they_fit(algorithm: str, iterations: int, dtype: Any) -> None:
    counts = image(width=1, height=1, iterations=iterations, c_re=1, c_im=0, algorithm=algorithm)
    assert (counts.dtype, counts.tolist()) == (dtype, [[3]])


@algorithms
def test_the_most_iterations_end_where_the_orbit_does(algorithm: str) -> None:
    counts = image(
        width=1, height=1, iterations=limits.iterations_max, c_re=1, c_im=0, algorithm=algorithm
    )
    assert counts.tolist() == [[3]]


@algorithms
def test_overflow_is_silent_and_ends_the_orbit(algorithm: str) -> None:
    with numpy.errstate(all="raise"):
        counts = image(
            width=3, height=3, iterations=20, c_re=1.7e308, half_width=1e100, algorithm=algorithm
        )
    assert counts.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


@algorithms
def test_a_cancelled_tile_stops(algorithm: str) -> None:
    flag = CancelFlag()
    flag.set()
    params = JuliaParams(width=4, height=4, algorithm=algorithm)
    with pytest.raises(Cancelled):
        KERNEL.run(params, KERNEL.whole(params), flag)


@compiled
@pytest.mark.parametrize("c_re", [-1.9, -2.0], ids=["in rounds", "pixel by pixel"])
def test_the_compiled_loop_frees_the_gil_and_sees_the_flag(c_re: float) -> None:
    # On the real axis these orbits stay, and have no cycle: without the flag it would take minutes.
    params = JuliaParams(
        width=4096, height=1, iterations=2**30, c_re=c_re, c_im=0, half_width=1, threads=2
    )
    out, flag, raised = numpy.zeros((1, 4096), "u4"), CancelFlag(), []

    def work() -> None:
        try:
            julia.counts_of("juliaCython")(params, KERNEL.whole(params), out, flag)
        except Cancelled as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    # The first iterations of a pixel are written at once; alone on its way a pixel writes nothing.
    while thread.is_alive() and not out[0, 0] and c_re != -2:
        pass  # this loop needs the GIL: with the other thread holding it, the tile would be ready
    flag.set()
    thread.join()
    assert raised


@algorithms
def test_a_tile_that_is_not_in_the_image_is_refused(algorithm: str) -> None:
    params = JuliaParams(width=8, height=8, algorithm=algorithm)
    with pytest.raises(ParameterError, match=r"must be inside 8x8 pixels"):
        KERNEL.run(params, Tile(4, 0, 5, 8), CancelFlag())


@compiled
def test_the_compiled_loop_refuses_a_buffer_of_another_shape_or_dtype() -> None:
    params = JuliaParams(width=4, height=4)
    with pytest.raises(ValueError, match=r"out has shape \(4, 3\)"):
        julia.counts_of("juliaCython")(
            params, KERNEL.whole(params), numpy.zeros((4, 3), "u2"), CancelFlag()
        )
    wrong: Any
    for wrong in (numpy.zeros((4, 4), "f8"), numpy.zeros(16, "u2")):
        with pytest.raises((TypeError, ValueError)):
            julia.counts_of("juliaCython")(params, KERNEL.whole(params), wrong, CancelFlag())


# --- Julia parameters -------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["NUMPY", "numpy", " Numpy "])
def test_the_case_of_an_algorithm_does_not_matter(written: str) -> None:
    assert JuliaParams(width=1, height=1, algorithm=written).algorithm == "Numpy"


def test_parameters_survive_the_journey_as_plain_values() -> None:
    params = KERNEL.parse({"width": 30, "height": 20, "c_re": -1, "algorithm": "secuencial"})
    assert KERNEL.parse(KERNEL.plain(params)) == params
    assert {type(value) for value in KERNEL.plain(params).values()} == {int, float, str, bool}
    assert list(KERNEL.plain(params))[:4] == ["algorithm", "width", "height", "iterations"]


def test_the_defaults_are_those_of_the_contract() -> None:
    params = JuliaParams(width=1, height=1)
    assert (params.c_re, params.c_im) == (-0.772691322542185, 0.124281466072787)
    assert (params.center_x, params.center_y, params.half_width) == (0.0, 0.0, 1.6)
    assert (params.algorithm, params.tile) == ("juliaCython", 0)


def test_numpy_numbers_are_taken_and_kept_as_plain_ones() -> None:
    params = KERNEL.parse({"width": numpy.int64(7), "height": 3, "c_re": numpy.float32(0.5)})
    assert type(params.width) is int
    assert type(params.c_re) is float


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, "width = 0: must be a whole number, 1..1048576"),
        ({"width": 2**20 + 1}, "width = 1048577: must be a whole number, 1..1048576"),
        ({"width": True}, "width = True: must be a whole number, 1..1048576"),
        ({"width": 3.0}, "width = 3.0: must be a whole number, 1..1048576"),
        ({"width": "wide"}, "width = wide: must be a whole number, 1..1048576"),
        ({"iterations": -1}, "iterations = -1: must be a whole number, 0..4294967295"),
        ({"iterations": 2**32}, "iterations = 4294967296: must be a whole number, 0..4294967295"),
        ({"c_re": float("nan")}, "c_re = nan: must be a finite number"),
        ({"c_im": float("-inf")}, "c_im = -inf: must be a finite number"),
        ({"center_x": False}, "center_x = False: must be a finite number"),
        ({"center_y": "0"}, "center_y = 0: must be a finite number"),
        ({"c_re": 1 + 0j}, "c_re = (1+0j): must be a finite number"),
        ({"half_width": 0}, "half_width = 0: must be a finite number above 0 and at most 1e+100"),
        ({"half_width": 2e100}, "half_width = 2e+100: must be a finite number above 0 and at most"),
        ({"algorithm": "Nunpy"}, "algorithm = Nunpy: must be Secuencial, Numpy or juliaCython"),
        ({"trap": "no"}, "trap = no: must be true or false"),
        ({"symmetry": 1}, "symmetry = 1: must be true or false"),
        ({"threads": 0}, "threads = 0: must be a whole number, 1..256"),
        ({"algorithm": 3}, "algorithm = 3: must be Secuencial, Numpy or juliaCython"),
        ({"tile": 4097}, "tile = 4097: must be a whole number, 0..4096 (0 chooses it for you)"),
        ({"widht": 5}, "widht = 5: is not a parameter of julia; did you mean width?"),
        ({"zoom": 5}, "zoom = 5: is not a parameter of julia; it has algorithm, c_im, c_re, "),
        ({3: 5}, "3 = 5: is not a parameter of julia; it has algorithm, "),
    ],
)
def test_a_wrong_parameter_is_named_with_its_value_and_the_remedy(
    values: dict[str, Any], message: str
) -> None:
    found = KERNEL.faults({"width": 10, "height": 10} | values)
    assert len(found) == 1
    assert str(found[0]).startswith(message)


def test_an_integer_beyond_all_floats_is_not_finite() -> None:
    assert "must be a finite number" in fault(width=1, height=1, c_re=10**400)


def test_a_missing_parameter_is_named_with_its_range() -> None:
    assert fault(height=1) == "width = (not given): must be a whole number, 1..1048576"


def test_all_faults_are_reported_at_once() -> None:
    found = KERNEL.faults({"width": 0, "height": -1, "iteration": 5, "c_re": "x"})
    assert [error.field for error in found] == ["iteration", "width", "height", "c_re"]
    assert KERNEL.faults({"width": 1, "height": 1}) == []


def test_tiles_too_small_for_their_image_are_refused_with_the_least_side() -> None:
    huge = {"width": 2**20, "height": 2**20, "symmetry": False}
    assert fault(**huge, tile=128) == (
        "tile = 128: makes more than 10000000 tiles of 1048576x1048576; must be 0 or at least 512"
    )
    assert KERNEL.faults(huge | {"tile": 512}) == []
    assert KERNEL.faults(huge | {"tile": 256, "symmetry": True}) == []  # half of the tiles


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ("juliaCython,8,6,10,1,threads=2,trap=false,symmetry=False", "text"),
        ("[[job]]\nwidth=8\nheight=6\nthreads=2\ntrap=false\nsymmetry=false", "toml"),
        ('{"width": 8, "height": 6, "threads": 2, "trap": false, "symmetry": false}', "jsonl"),
    ],
)
def test_a_job_file_says_threads_trap_and_symmetry(text: str, format: Format) -> None:
    (job,) = jobfile.parse(text, "jobs", lambda job: KERNEL.faults(job.params), format)
    params = KERNEL.parse(job.params)
    assert (params.threads, params.trap, params.symmetry) == (2, False, False)
    assert KERNEL.parse({"width": 8, "height": 6}) == JuliaParams(
        width=8, height=6, threads=1, trap=True, symmetry=True
    )


def test_a_wrong_word_of_a_job_file_is_named_with_its_place() -> None:
    text = "Numpy,8,6,10,1,threads=0\nNumpy,8,6,10,1,threads=257,trap=no\nNumpy,8,6,9,1,symmetry=1"
    with pytest.raises(JobFileError) as caught:
        jobfile.parse(text, "jobs", lambda job: KERNEL.faults(job.params))
    assert caught.value.faults == (
        "jobs:1: threads = 0: must be a whole number, 1..256",
        "jobs:2: threads = 257: must be a whole number, 1..256",
        "jobs:2: trap = no: must be true or false",
        "jobs:3: symmetry = 1: must be true or false",
    )


# --- What is not computed ---------------------------------------------------------------------


@pytest.mark.parametrize("tile", [1, 2, 3, 5])
@pytest.mark.parametrize("height", range(1, 7))
@pytest.mark.parametrize("width", range(1, 6))
def test_half_of_the_tiles_fill_a_mirrored_image(width: int, height: int, tile: int) -> None:
    params = JuliaParams(width=width, height=height, tile=tile)
    # As many different numbers as such an image can have.
    upright = numpy.arange(width * height, dtype="u2").reshape(height, width)
    whole = numpy.minimum(upright, upright[::-1, ::-1])
    array = numpy.full((height, width), 999, params.dtype)
    for part in reversed(KERNEL.split(params)):
        assert part.y + part.height <= (height + 1) // 2
        right, bottom = part.x + part.width, part.y + part.height
        KERNEL.place(params, whole[part.y : bottom, part.x : right], part, array)
    assert array.tolist() == whole.tolist()


@pytest.mark.parametrize(
    ("values", "used"),
    [
        ({}, {"symmetry": True, "trap": 0}),  # no cycle attracts
        ({"c_re": -1, "c_im": 0}, {"symmetry": True, "trap": 2}),
        ({"c_re": -1, "c_im": 0, "algorithm": "Numpy"}, {"symmetry": True, "trap": 2}),
        ({"c_re": -1, "c_im": 0, "algorithm": "Secuencial"}, {"symmetry": True, "trap": 0}),
        ({"c_re": -1, "c_im": 0, "trap": False}, {"symmetry": True, "trap": 0}),
        ({"center_x": -0.0}, {"symmetry": True, "trap": 0}),
        ({"center_x": 5e-324}, {"symmetry": False, "trap": 0}),
        ({"center_y": 0.1}, {"symmetry": False, "trap": 0}),
        ({"symmetry": False, "c_re": 0, "c_im": 0}, {"symmetry": False, "trap": 1}),
    ],
)
def test_what_was_left_out_is_said(values: dict[str, Any], used: dict[str, Any]) -> None:
    params = KERNEL.parse({"width": 4, "height": 4} | values)
    assert KERNEL.used(params) == {"tile": 128} | used


# --- Tiles ------------------------------------------------------------------------------------


def test_tiles_go_row_by_row_and_are_cut_at_the_edges() -> None:
    assert list(TileGrid(5, 3, 2)) == [
        Tile(0, 0, 2, 2), Tile(2, 0, 2, 2), Tile(4, 0, 1, 2),
        Tile(0, 2, 2, 1), Tile(2, 2, 2, 1), Tile(4, 2, 1, 1),
    ]  # fmt: skip


def test_tiles_are_counted_from_both_ends_and_sliced() -> None:
    grid = TileGrid(5, 3, 2)
    assert grid[-1] == grid[5] == Tile(4, 2, 1, 1)
    assert grid[1:5:2] == (grid[1], grid[3])
    for index in (6, -7):
        with pytest.raises(IndexError, match=r"of 6"):
            grid[index]


def test_the_largest_image_is_cut_without_making_its_tiles() -> None:
    grid = KERNEL.split(JuliaParams(width=2**20, height=2**20, symmetry=False))
    assert len(grid) <= limits.tasks_per_job_max
    assert grid[-1] == Tile(2**20 - 512, 2**20 - 512, 512, 512)
    half = KERNEL.split(JuliaParams(width=2**20, height=2**20))  # smaller tiles, for there is less
    assert len(half) <= limits.tasks_per_job_max
    assert half[-1] == Tile(2**20 - 256, 2**19 - 256, 256, 256)


def test_tiles_are_128_pixels_wide_unless_told() -> None:
    assert KERNEL.split(JuliaParams(width=500, height=500))[0] == Tile(0, 0, 128, 128)
    assert KERNEL.split(JuliaParams(width=500, height=500, tile=64))[0] == Tile(0, 0, 64, 64)


def test_a_tile_survives_the_journey_as_plain_values() -> None:
    assert KERNEL.task(list(Tile(3, 4, 5, 6))) == Tile(3, 4, 5, 6)


@pytest.mark.parametrize(
    "values",
    [(), (1, 2, 3), (0, 0, 0, 1), (-1, 0, 1, 1), (0, 0, 1, True), (0, 0, 1.0, 1), "0011",
     (2**20, 0, 1, 1), (0, 0, 4096, 4097)],
)  # fmt: skip
def test_values_that_are_no_tile_are_refused(values: Any) -> None:
    with pytest.raises(ParameterError, match=r"^task = .* must be x, y, width, height"):
        KERNEL.task(values)


def test_an_image_too_large_for_one_piece_is_refused_as_one() -> None:
    with pytest.raises(ParameterError, match=r"submit it as a job"):
        KERNEL.whole(JuliaParams(width=4096, height=4097))
    assert KERNEL.whole(JuliaParams(width=4096, height=4096)) == Tile(0, 0, 4096, 4096)


@pytest.mark.parametrize(
    "result", [numpy.zeros((2, 3), "u2"), numpy.zeros((3, 2), "u4"), b"123456", None]
)
def test_a_result_of_another_shape_or_dtype_is_not_placed(result: Any) -> None:
    counts = numpy.full((3, 3), 7, "u2")
    with pytest.raises(ParameterError, match=r"must be uint16\(3, 2\)"):
        KERNEL.place(JuliaParams(width=3, height=3), result, Tile(0, 0, 2, 3), counts)
    assert (counts == 7).all()


# --- What is installed ------------------------------------------------------------------------


def test_a_capability_names_the_algorithm() -> None:
    params = JuliaParams(width=1, height=1, algorithm="numpy")
    assert KERNEL.capability(params) == "julia:Numpy"
    assert KERNEL.capabilities()[:2] == ("julia:Secuencial", "julia:Numpy")


def test_a_job_is_described_in_a_few_words() -> None:
    params = JuliaParams(width=640, height=480, algorithm="numpy")
    assert KERNEL.describe(params) == "Numpy 640×480, 1000 iterations"


def test_without_the_compiled_part_the_rest_is_offered_and_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "hpczmq.kernels.compiled._imported", lambda: ((), "No module named '_julia'")
    )
    assert KERNEL.capabilities() == ("julia:Secuencial", "julia:Numpy")
    KERNEL.require(JuliaParams(width=1, height=1, algorithm="Numpy"))
    params = JuliaParams(width=1, height=1)
    with pytest.raises(KernelMissing, match=r"apt-get install gcc python3-dev.*or from a clone"):
        KERNEL.run(params, KERNEL.whole(params), CancelFlag())


def test_every_algorithm_has_its_function() -> None:
    for algorithm in ALGORITHMS[:2]:
        assert callable(julia.counts_of(algorithm))
    with pytest.raises(AssertionError):
        julia.counts_of("numpy")
