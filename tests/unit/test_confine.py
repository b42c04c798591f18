"""What a worker gets, and what it does not; each limit with a real process is in
tests/integration/test_least_power.py."""

from __future__ import annotations

import errno
import os
import resource
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hpczmq import confine, limits, wire
from hpczmq.config import Config, load
from hpczmq.confine import Bounds, Grant, Scratch
from hpczmq.errors import ConfigError
from hpczmq.messages import Assign, Report
from hpczmq.model import Outcome, Status, Task
from hpczmq.nodes import slave, slot
from hpczmq.nodes.processes import Death
from tests import kernels_for_tests


class Limits:
    """The limits of a process that is not there: kind to (soft, hard)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.set: dict[int, tuple[int, int]] = {}
        self.fails = False
        self.umask = -1
        monkeypatch.setattr(resource, "getrlimit", self.get)
        monkeypatch.setattr(resource, "setrlimit", self.put)
        monkeypatch.setattr(os, "umask", self.mask)
        monkeypatch.setattr(confine, "_LINUX", False)  # no prctl in the process of the tests
        monkeypatch.setattr(confine, "memory_is_bounded", lambda: True)
        monkeypatch.setattr(confine, "_data_bytes", lambda: 50 * limits.MIB)

    def get(self, kind: int) -> tuple[int, int]:
        return self.set.get(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def put(self, kind: int, pair: tuple[int, int]) -> None:
        if self.fails:
            raise ValueError("not allowed to raise maximum limit")
        _, hard = self.get(kind)
        assert hard in (resource.RLIM_INFINITY, pair[1]) or pair[1] < hard, "only downwards"
        self.set[kind] = pair

    def mask(self, mask: int) -> int:
        self.umask = mask
        return 0o022


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Limits:
    return Limits(monkeypatch)


# --- Its variables --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "HPCZMQ_TOKEN", "HPCZMQ_CONFIG", "HPCZMQ_MASTER", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK",
        "KUBECONFIG", "MAESTRO_IP", "PYTHON_TOKEN", "JULIA_PKG_SECRET", "NUMBA_API_KEY", "PASSWORD",
        "ANYTHING", "path",
    ],
)  # fmt: skip
def test_a_variable_that_nobody_named_is_not_given(name: str) -> None:
    assert confine.environment({name: "x"}) == {}
    assert confine.environment({name: "x"}, f"OTHER, {name}") == {name: "x"}, "unless asked for"


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "LC_ALL", "OMP_NUM_THREADS", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"]
)
def test_what_libraries_need_is_given(name: str) -> None:
    assert confine.environment({name: "/x"}) == {name: "/x"}


def test_where_modules_are_is_told_from_the_root_on() -> None:
    given = confine.environment({"PYTHONPATH": os.pathsep.join(("/a", ".", "b"))})
    assert given["PYTHONPATH"].split(os.pathsep) == ["/a", os.getcwd(), os.path.abspath("b")]


# --- Its limits -----------------------------------------------------------------------------------


def test_without_a_word_of_its_slave_a_worker_has_all_memory_and_time(process: Limits) -> None:
    bounds = Bounds()
    bounds.begin_task()
    assert process.umask == 0o077
    assert process.set == {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_NOFILE: (limits.worker_files_usual, limits.worker_files_max),
    }
    assert bounds.told() == ""


def test_memory_is_counted_from_what_the_process_has_by_itself(process: Limits) -> None:
    bounds = Bounds(memory_bytes=100 * limits.MIB)
    own, reserve = 150 * limits.MIB, limits.worker_reserve_bytes
    assert process.set[resource.RLIMIT_DATA] == (own, own + reserve)
    bounds.relieve()
    assert process.set[resource.RLIMIT_DATA] == (own + reserve, own + reserve)
    bounds.restore()
    assert process.set[resource.RLIMIT_DATA] == (own, own + reserve)
    assert "150 MiB" in bounds.told()


def test_each_task_has_cpu_time_of_its_own(
    process: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Used:
        ru_utime, ru_stime = 7.25, 0.5

    monkeypatch.setattr(resource, "getrusage", lambda _: Used)
    Bounds(task_cpu_s=10).begin_task()
    assert process.set[resource.RLIMIT_CPU] == (18, resource.RLIM_INFINITY)
    Used.ru_utime = 99.5
    Bounds(task_cpu_s=10).begin_task()
    assert process.set[resource.RLIMIT_CPU] == (110, resource.RLIM_INFINITY)


def test_a_limit_that_is_lower_already_stays(process: Limits) -> None:
    process.set[resource.RLIMIT_NOFILE] = (256, 512)
    Bounds()
    assert process.set[resource.RLIMIT_NOFILE] == (512, 512)


def test_a_limit_that_can_not_be_set_ends_no_worker(process: Limits) -> None:
    process.fails = True
    Bounds(limits.MIB, 1).begin_task()
    assert process.set == {}


@pytest.mark.parametrize(
    ("config", "grant"),
    [
        (Config(), Grant()),
        (Config(memory="2GiB"), Grant(2 << 30)),
        (Config(memory="2GiB", worker_memory="1GiB"), Grant(1 << 30)),
        (Config(memory="2GiB", worker_memory="off", task_cpu_s=5), Grant(0, 5)),
        (Config(worker_env="A,B"), Grant(0, 0, "A,B")),
    ],
)
def test_a_slave_s_settings_say_what_its_workers_get(config: Config, grant: Grant) -> None:
    assert slave._grant(config) == grant


@pytest.mark.parametrize(
    ("key", "value"),
    [("worker_memory", "1MiB"), ("worker_memory", "much"), ("task_cpu_s", -1)],
)
def test_a_bound_that_no_worker_could_live_with_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        load({key: value}, {})


@pytest.mark.parametrize(
    ("death", "words"),
    [
        (Death(-signal.SIGXCPU), "signal SIGXCPU: its task took more than its CPU time"),
        (Death(-signal.SIGKILL, peak_bytes=3 << 20), "for want of memory (it had 3 MiB at most)"),
        (Death(-signal.SIGKILL), "signal SIGKILL"),
        (Death(3, peak_bytes=3 << 20), "exit code 3"),
    ],
)
def test_a_death_is_told_with_what_it_means_mostly(death: Death, words: str) -> None:
    assert words in death.cause


# --- Its folder -----------------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_worker_s_folder_is_its_user_s_alone_and_goes_with_all_in_it(temporary: Path) -> None:
    scratch = Scratch()
    folder, other = scratch.make(), scratch.make()
    assert folder is not None
    assert other is not None
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700
    (temporary / "precious").mkdir()
    (folder / "link").symlink_to(temporary / "precious")
    (folder / "deep" / "er").mkdir(parents=True)
    confine.remove(folder)
    assert not folder.exists()
    assert other.exists()
    scratch.close()
    scratch.close()
    assert [path.name for path in temporary.iterdir()] == ["precious"]


def test_what_a_killed_slave_left_is_taken_away_and_nothing_else(temporary: Path) -> None:
    living = Scratch()
    kept = living.make()
    assert kept is not None
    old, young = (temporary / f"hpczmq-slave-{name}" for name in ("old", "young"))
    for folder in (old, young):
        (folder / "worker-1").mkdir(parents=True)
    (temporary / "hpczmq-slave-link").symlink_to(temporary / "elsewhere")
    (temporary / "elsewhere").mkdir()
    for folder in (old, kept.parent, temporary / "elsewhere"):
        os.utime(folder, (0, 0))
    other = Scratch()
    assert other.make() is not None
    assert not old.exists()
    assert young.exists()
    assert kept.exists()
    assert (temporary / "elsewhere").exists()
    living.close()
    other.close()


def test_where_nothing_can_be_written_there_is_no_folder(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: Any) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    scratch = Scratch()
    monkeypatch.setattr(tempfile, "mkdtemp", full)
    assert scratch.make() is None
    assert scratch.fault == "Read-only file system"
    scratch.close()


# --- What it is sent ------------------------------------------------------------------------------


class Out:
    """A channel that keeps what is sent."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def send(self, frames: Sequence[wire.Buffer]) -> None:
        message, _ = wire.decode(frames)
        assert isinstance(message, Report)
        self.outcomes += message.outcomes


def told(kernel: str, params: object, items: bool = False, spec: object = ()) -> str:
    """What a worker says of a task that it was sent by somebody who checked nothing."""
    out = Out()
    packed = wire.pack(params)
    task = Task(0, packed if items else wire.pack(spec))
    runner = slot.Runner(out)  # type: ignore[arg-type]  # all of a channel that it uses
    runner.run(Assign(1, "j1", kernel, b"" if items else packed, items, (task,), 0.0))
    (outcome,) = out.outcomes
    assert outcome.status is Status.ERROR
    return outcome.value.decode()


@pytest.mark.parametrize("items", [True, False])
@pytest.mark.parametrize(
    ("kernel", "params", "words"),
    [
        ("sleep", {"seconds": "1"}, "ParameterError: seconds = 1: must be a finite number"),
        ("sleep", {"seconds": float("inf")}, "seconds = inf: must be a finite number"),
        ("sleep", {"seconds": 0.1, "more": 1}, "more"),
        ("sleep", {}, "seconds"),
        ("payload", {"shape": [1 << 40]}, "shape"),
        ("julia", {"width": -1, "height": 1}, "width"),
        ("julia", {"width": True, "height": 1}, "width"),
        ("os", {}, "os"),
        ("os:system", {}, "os:system"),
        ("tests.kernels_for_tests:Crash", {}, "kernel = tests.kernels_for_tests:Crash"),
        ("../../evil", {}, "evil"),
    ],
)
def test_a_slave_checks_for_itself_what_it_is_sent(
    kernel: str, params: object, words: str, items: bool
) -> None:
    assert words in told(kernel, params, items)


@pytest.mark.parametrize("spec", [(0, 0, 1 << 40, 1), ("a", 0, 1, 1), (0, 0, 64), (-1, 0, 64, 64)])
def test_a_tile_that_no_honest_master_sends_is_refused(spec: object) -> None:
    assert "Error" in told("julia", {"width": 64, "height": 64}, spec=spec)


def test_a_task_out_of_memory_lets_go_of_what_it_had_and_is_told_the_bound(
    process: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Eaten:
        alive = 0

        def __init__(self) -> None:
            Eaten.alive += 1

        def __del__(self) -> None:
            Eaten.alive -= 1

    class Hungry(kernels_for_tests.Glutton):
        def run(self, params: Any, task: Any, cancelled: Any) -> Any:
            eaten = Eaten()
            assert eaten is not None
            raise MemoryError

    monkeypatch.setattr(slot, "get", {"glutton": Hungry()}.__getitem__)
    out = Out()
    bounds = Bounds(memory_bytes=100 * limits.MIB)
    runner = slot.Runner(out, bounds=bounds)  # type: ignore[arg-type]  # all that it uses
    runner.run(
        Assign(1, "j1", "glutton", wire.pack({"most_mib": 1}), False, (Task(0, b"\x90"),), 0.0)
    )
    text = out.outcomes[0].value.decode()
    assert "MemoryError" in text
    assert text.endswith(bounds.told())
    assert Eaten.alive == 0
    soft, hard = process.set[resource.RLIMIT_DATA]
    assert soft == hard - limits.worker_reserve_bytes, "the reserve is there for the next one"
