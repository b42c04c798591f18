"""The registry of kernels, and the diagnostic ones that ship; the Julia set has its own file."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hpczmq.kernels
from hpczmq import limits
from hpczmq.errors import ParameterError
from hpczmq.kernels import registry
from hpczmq.kernels.base import CancelFlag, Cancelled, Kernel
from hpczmq.kernels.diagnostics import EchoKernel, PayloadKernel, SleepKernel

SHIPPED = ("echo", "julia", "payload", "sleep")
FOLDER = Path(hpczmq.kernels.__file__).parent


# --- Diagnostics ------------------------------------------------------------------------------


def run(kernel: Kernel[Any, Any], **values: Any) -> Any:
    """The result of a kernel of one task."""
    params = kernel.parse(values)
    (task,) = kernel.split(params)
    return kernel.run(params, kernel.task(list(task)), CancelFlag())


@pytest.mark.parametrize("value", [None, 3, "text", b"bytes", [1, [2]], {"a": 1}])
def test_echo_gives_back_what_it_got(value: object) -> None:
    kernel = EchoKernel()
    assert run(kernel, value=value) == value
    assert kernel.plain(kernel.parse({"value": value})) == {"value": value}


def test_echo_needs_a_value() -> None:
    assert [str(e) for e in EchoKernel().faults({})] == ["value = (not given): echo needs it"]


def test_sleep_returns_the_seconds_that_it_was_given() -> None:
    assert run(SleepKernel(), seconds=0) == 0.0


def test_sleep_wakes_up_when_it_is_cancelled() -> None:
    kernel, flag = SleepKernel(), CancelFlag()
    flag.set()
    with pytest.raises(Cancelled):
        kernel.run(kernel.parse({"seconds": 3600}), (), flag)


def test_sleep_is_bounded() -> None:
    assert SleepKernel().faults({"seconds": -1})
    assert SleepKernel().faults({"seconds": limits.timeout_s_max * 2})


@pytest.mark.parametrize(
    ("dtype", "digest"),
    [
        ("uint8", "0157e6d65759b735"),
        ("int64", "2284c198fcc26fb8"),
        ("float64", "2653b3e87c48e7e5"),
        ("float32", "07f7a9e903928120"),
    ],
)
def test_a_payload_has_the_bytes_that_it_always_had(dtype: str, digest: str) -> None:
    array = run(PayloadKernel(), shape=[3, 5], dtype=dtype, seed=7)
    assert (array.shape, array.dtype.name) == ((3, 5), dtype)
    assert array.flags.c_contiguous
    assert hashlib.sha256(array).hexdigest()[:16] == digest


def test_a_payload_of_another_seed_has_another_content() -> None:
    one, other = (run(PayloadKernel(), shape=64, seed=seed) for seed in (1, 2))
    assert (one != other).any()


@pytest.mark.parametrize("shape", [0, [0, 3], [1] * 8])
def test_a_payload_may_be_empty_or_of_many_dimensions(shape: Any) -> None:
    expected = tuple(shape) if isinstance(shape, list) else (shape,)
    assert run(PayloadKernel(), shape=shape).shape == expected


@pytest.mark.parametrize("shape", [[], [1] * 9, [-1], [True], "3", [1.5], None])
def test_what_is_no_shape_is_refused(shape: Any) -> None:
    (error,) = PayloadKernel().faults({"shape": shape})
    assert "must be a list of 1..8 whole numbers" in str(error)


def test_a_payload_has_to_fit_a_buffer() -> None:
    words = limits.buffer_bytes_max // 8
    assert PayloadKernel().faults({"shape": [words], "dtype": "int64"}) == []
    (error,) = PayloadKernel().faults({"shape": [words + 1], "dtype": "int64"})
    assert error.field == "shape"
    assert f"must fit {limits.buffer_bytes_max}" in str(error)


def test_a_kernel_of_one_task_takes_no_other() -> None:
    with pytest.raises(ParameterError, match="has only one task"):
        EchoKernel().task([1])


def test_a_kernel_that_knows_only_parse_reports_its_first_fault() -> None:
    kernel = EchoKernel()
    assert Kernel.faults(kernel, {"value": 1}) == []
    assert len(Kernel.faults(kernel, {"valeu": 1})) == 1


# --- The registry -----------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A registry that looks again, here and after the test."""
    monkeypatch.delenv(registry.VARIABLE, raising=False)
    registry.refresh()
    yield monkeypatch
    registry.refresh()


class Plugin(EchoKernel):
    """What another package might offer."""

    name = "plugin"


class Impostor(EchoKernel):
    """Has the name of a shipped one."""


class Nameless(EchoKernel):
    """Has a name that nobody could type."""

    name = ""


class Numbered(EchoKernel):
    """Offers what is no text."""

    name = "numbered"

    def capabilities(self) -> tuple[str, ...]:
        return (1,)  # type: ignore[return-value]


not_a_kernel = 3


def test_the_shipped_kernels_are_there(fresh: pytest.MonkeyPatch) -> None:
    assert set(SHIPPED) <= set(registry.names())
    assert all(registry.get(name).name == name for name in SHIPPED)
    assert {"echo", "julia:Numpy", "julia:Secuencial", "payload", "sleep"} <= set(
        registry.capabilities()
    )
    assert not {"crash", "hang"} & set(registry.names())


def test_a_shipped_kernel_is_found_without_looking_for_others(fresh: pytest.MonkeyPatch) -> None:
    def entry_points(**_: str) -> Any:
        raise AssertionError("looked")

    fresh.setattr(importlib.metadata, "entry_points", entry_points)
    assert registry.get("echo").name == "echo"


def test_an_unknown_kernel_is_refused_with_the_known_names(fresh: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match=r"kernel = jula: must be .*echo, .*julia"):
        registry.get("jula")


def test_packages_offer_kernels_by_their_entry_points(fresh: pytest.MonkeyPatch) -> None:
    looks = []

    def entry_points(group: str) -> Any:
        looks.append(group)
        entry = importlib.metadata.EntryPoint("plugin", f"{__name__}:Plugin", group)
        return [entry]

    fresh.setattr(importlib.metadata, "entry_points", entry_points)
    assert type(registry.get("plugin")).__name__ == "Plugin"
    assert "plugin" in registry.names()
    assert looks == ["hpczmq.kernels"]


def test_the_kernels_of_tests_are_loaded_by_the_variable(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv(registry.VARIABLE, "tests.kernels_for_tests:Crash, tests.kernels_for_tests:Hang")
    assert {"crash", "hang"} <= set(registry.names())
    assert registry.get("crash").parse({"signal": 9})
    assert registry.get("hang").parse({}) is not None


def test_a_broken_plugin_is_left_out_and_listed_with_the_reason(fresh: pytest.MonkeyPatch) -> None:
    module = __name__
    fresh.setenv(
        registry.VARIABLE,
        f"no.such.module:Kernel,{module}:Absent,{module}:not_a_kernel,{module}:Impostor,"
        f"{module}:Nameless,{module}:Numbered,{module}:Plugin",
    )
    assert "plugin" in registry.names()
    reasons = registry.broken()
    assert sorted(reasons) == [
        "Absent",
        "Impostor",
        "Kernel",
        "Nameless",
        "Numbered",
        "not_a_kernel",
    ]
    assert "ModuleNotFoundError" in reasons["Kernel"]
    assert "its name must be text of 1..128 characters" in reasons["Nameless"]
    assert "its capabilities must be texts" in reasons["Numbered"]
    assert "must be a Kernel class" in reasons["not_a_kernel"]
    assert "there is a kernel 'echo' already" in reasons["Impostor"]
    with pytest.raises(ParameterError, match=r"is installed here but can't be used: no\.such"):
        registry.get("Kernel")


def test_a_kernel_that_does_not_assemble_says_so() -> None:
    kernel = EchoKernel()
    params = kernel.parse({"value": 1})
    with pytest.raises(NotImplementedError, match="echo does not assemble"):
        kernel.allocate(params)


# --- How they are imported --------------------------------------------------------------------


@pytest.mark.parametrize(
    "module", ["__init__", "base", "diagnostics", "julia", "parameters", "registry"]
)
def test_what_the_master_imports_does_not_import_numpy(module: str) -> None:
    for node in ast.parse((FOLDER / f"{module}.py").read_text("utf-8")).body:
        assert "numpy" not in ast.unparse(node) or not isinstance(node, ast.Import | ast.ImportFrom)


def test_the_kernels_refuse_their_bare_name() -> None:
    spec = importlib.util.spec_from_file_location("kernels", FOLDER / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r"import hpczmq\.kernels"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
