"""Which instruction set is used, and what is said when it can't be."""

from __future__ import annotations

from typing import Any

import pytest

from hpczmq.errors import KernelMissing
from hpczmq.kernels import compiled
from hpczmq.kernels.base import CancelFlag
from hpczmq.kernels.julia import JuliaKernel, JuliaParams

KERNEL = JuliaKernel()
PARAMS = JuliaParams(width=3, height=2, iterations=5)

pytestmark = pytest.mark.skipif(not compiled.available(), reason="there is no compiled module")


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have named one."""
    monkeypatch.delenv(compiled.VARIABLE, raising=False)


def test_scalar_and_baseline_are_everywhere_and_the_slowest() -> None:
    assert compiled.available()[:2] == ("scalar", "baseline")


def test_the_fastest_is_used_unless_another_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiled.isa() == compiled.available()[-1]
    for name in compiled.available():
        monkeypatch.setenv("HPCZMQ_ISA", f" {name.upper()} ")
        assert compiled.isa() == name
    monkeypatch.setenv("HPCZMQ_ISA", "")
    assert compiled.isa() == compiled.available()[-1]


@pytest.mark.parametrize("name", compiled.available())
def test_the_one_that_is_named_computes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("hpczmq.kernels._julia.counts", lambda *args: asked.append(args[-1]))
    monkeypatch.setenv("HPCZMQ_ISA", name)
    KERNEL.run(PARAMS, KERNEL.whole(PARAMS), CancelFlag())
    assert asked == [name]


def test_one_that_the_machine_lacks_is_refused_and_the_algorithm_is_not_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HPCZMQ_ISA", "mmx")
    names = compiled.available()
    message = (
        f"HPCZMQ_ISA = mmx: must be one of {', '.join(names)} on this machine; without it the "
        f"fastest is used, {names[-1]}"
    )
    with pytest.raises(KernelMissing) as raised:
        KERNEL.run(PARAMS, KERNEL.whole(PARAMS), CancelFlag())
    assert str(raised.value) == message
    assert KERNEL.capabilities() == ("julia:Secuencial", "julia:Numpy")
    with pytest.raises(KernelMissing):
        KERNEL.require(PARAMS)
    KERNEL.require(JuliaParams(width=3, height=2, algorithm="Numpy"))
