"""What `hpczmq doctor` finds."""

from __future__ import annotations

import resource

import pytest

from hpczmq import doctor
from hpczmq.errors import NoCluster
from hpczmq.kernels import compiled


def found(what: str, cluster: object = None) -> list[doctor.Finding]:
    return [f for f in doctor.findings(cluster) if f.what == what]  # type: ignore[arg-type]


def test_the_machine_and_the_software_are_told() -> None:
    told = {finding.what for finding in doctor.findings()}
    assert told >= {"machine", "cores", "descriptors", "hpczmq", "python", "packages", "kernels"}
    assert "cluster" not in told


def test_the_instruction_set_in_use_is_told_with_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiled, "_imported", lambda: (("scalar", "baseline", "avx2"), ""))
    monkeypatch.delenv("HPCZMQ_ISA", raising=False)
    (finding,) = found("instruction set")
    assert finding.value == "avx2 (of scalar, baseline, avx2; HPCZMQ_ISA forces one)"
    assert not finding.remedy
    monkeypatch.setenv("HPCZMQ_ISA", "baseline")
    assert found("instruction set")[0].value.startswith("baseline (of ")


def test_an_instruction_set_that_is_not_here_is_amiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_imported", lambda: (("scalar", "baseline"), ""))
    monkeypatch.setenv("HPCZMQ_ISA", "avx512")
    (finding,) = found("instruction set")
    assert finding.value == "none"
    assert finding.remedy.startswith("HPCZMQ_ISA = avx512: must be one of scalar, baseline on")


def test_a_kernel_that_is_not_compiled_is_amiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_imported", lambda: ((), "no module"))
    assert "install a C compiler" in found("instruction set")[0].remedy


def test_a_kernel_that_is_broken_is_amiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "broken", lambda: {"blur": "blur:Blur: ImportError: no"})
    (finding,) = found("kernel")
    assert (finding.value, finding.remedy[:21]) == ("blur", "blur:Blur: ImportErro")


def test_too_few_descriptors_are_amiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    (finding,) = found("descriptors")
    assert "needs 4096" in finding.remedy
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    assert found("descriptors")[0] == doctor.Finding("descriptors", "256, at most any number")


def test_the_cluster_is_asked_if_one_is_named() -> None:
    assert found("cluster", lambda: "lab")[0] == doctor.Finding("cluster", "lab")

    def silent() -> str:
        raise NoCluster("nobody answers")

    (finding,) = found("cluster", silent)
    assert (finding.value, finding.remedy) == ("no answer", "nobody answers")
