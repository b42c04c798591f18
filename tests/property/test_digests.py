"""The six jobs of the examples have the bytes that they always had, here and everywhere.

The digests are those of `job.json`: SHA-256 of the counts. They were made by the plain C loop, one
pixel after the other, and by all instruction sets with and without each short cut; all agreed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy
import pytest
from numpy.testing import assert_array_equal

from hpczmq import jobfile
from hpczmq.assembler import digest
from hpczmq.kernels import compiled
from hpczmq.kernels.base import CancelFlag
from hpczmq.kernels.julia import JuliaKernel, Tile
from hpczmq.model import Job

KERNEL = JuliaKernel()
ROOT = Path(__file__).parents[2]
ISAS = compiled.available()

#: Of examples/trabajos.txt, at full size.
FULL = [
    "a8d4e30820c4b4abbd7b32b3d4af3e5e80661b5a3c8013e578a5ed7ce645e31b",
    "acce5efc11b3880774c6eca9c90a81f0dbb871424400d7cd39bdbb70b7ce7524",
    "e9ebb2a27320756e6774fdeff5df89837ad2f60ef435bb0ff2a6a0d4c412d636",
    "432297366f2ee0a746c81344c101676a8fda06e9ff96ea4990e1b08141c516c1",
    "096675e372b331c24963891980776d231af4c68c6c42bcdb42f400b2fffe40d8",
    "cd3d9309e4926217e1955045a50690464dc210c899e3469a0d3faae6da8e635a",
]
#: Of hpczmq/demo.txt, an eighth of the side.
SMALL = [
    "8269f94104ec48c04c0f26d5cce03a096d5520df7fe70319efc1b4d6d840c351",
    "8c9c21f611d0e6c931714a0180ff8fe7581d6baadffa9afdf93ce60bea56474e",
    "9ef00d32a41ea23364b7956435a8dd09bb70b864ed61de4e518a610e80be3e5d",
    "86ad675c082aa787ee73fef6fc695460071fbcd115b8eb49a5727d615a87d3cb",
    "102540cf4ebf83a0dbf308b342ef1de8a25d3d474238495cb8d022994b4c6026",
    "21349b923074bdfdad058de4b29769f272df096ac2c33c29b3e882804127fd99",
]


def jobs(path: str) -> list[Job]:
    """The six jobs of a file."""
    return jobfile.read(ROOT / path, lambda job: KERNEL.faults(job.params))


EXAMPLES, DEMO = jobs("examples/trabajos.txt"), jobs("hpczmq/demo.txt")


def rendered(job: Job, **values: Any) -> Any:
    """The image as a job makes it, with some parameters changed."""
    params = KERNEL.parse(dict(job.params) | values)
    array = numpy.empty(*KERNEL.allocate(params))
    for tile in KERNEL.split(params):
        KERNEL.place(params, KERNEL.run(params, tile, CancelFlag()), tile, array)
    return array


def sha(array: Any) -> str:
    """The digest of `job.json`."""
    found = digest(array)
    assert found == hashlib.sha256(array).hexdigest()
    return found


def test_each_job_has_its_digest() -> None:
    assert len(EXAMPLES) == len(DEMO) == len(FULL) == len(SMALL) == 6


@pytest.mark.skipif(not ISAS, reason="there is no compiled module")
@pytest.mark.parametrize("number", range(6))
def test_an_image_of_full_size_has_the_bytes_that_it_always_had(number: int) -> None:
    job = EXAMPLES[number]
    image = rendered(job, algorithm="juliaCython")
    assert sha(image) == FULL[number]
    params = KERNEL.parse(dict(job.params) | {"algorithm": "Secuencial"})
    for row in (params.height // 3, params.height - 7):  # one that is computed, one mirrored
        strip = KERNEL.run(params, Tile(0, row, params.width, 1), CancelFlag())
        assert_array_equal(image[row : row + 1], strip)


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("algorithm", ["Secuencial", "Numpy"])
def test_a_small_image_has_the_same_bytes_without_a_compiler(algorithm: str, number: int) -> None:
    assert sha(rendered(DEMO[number], algorithm=algorithm)) == SMALL[number]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("short", [True, False], ids=["with short cuts", "without"])
def test_a_small_image_has_the_same_bytes_by_each_instruction_set(
    isa: str, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPCZMQ_ISA", isa)
    values = {"algorithm": "juliaCython", "trap": short, "symmetry": short}
    assert [sha(rendered(job, **values)) for job in DEMO] == SMALL


@pytest.mark.slow
@pytest.mark.skipif(not ISAS, reason="there is no compiled module")
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("short", [True, False], ids=["with short cuts", "without"])
def test_a_full_image_has_the_same_bytes_by_each_instruction_set(
    isa: str, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPCZMQ_ISA", isa)
    values = {"algorithm": "juliaCython", "trap": short, "symmetry": short}
    assert [sha(rendered(job, **values)) for job in EXAMPLES] == FULL
