"""One job on anything that is a `concurrent.futures.Executor`."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy
import pytest

from hpczmq.engines import Answer, execute, run_tasks
from hpczmq.errors import JobFailed, ParameterError, TaskFailed
from hpczmq.kernels import registry
from hpczmq.kernels.base import CancelFlag
from hpczmq.kernels.julia import JuliaKernel
from hpczmq.model import Job

IMAGE = {"width": 40, "height": 24, "iterations": 50, "algorithm": "Numpy", "tile": 8}
#: Of the image's upper half; the lower one is its mirror image.
TILES = 10


class Here(Executor):
    """Runs what is submitted in this thread, when `run_next` is called or at once."""

    future_type: type[Future[Any]] = Future

    def __init__(self, *, at_once: bool = True) -> None:
        self.at_once = at_once
        self.submitted: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.calls: list[tuple[Any, ...]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = self.future_type()
        self.calls.append(args)
        self.submitted.append((future, lambda: fn(*args, **kwargs)))
        if self.at_once:
            self.run_next()
        return future

    def run_next(self) -> None:
        """Run the oldest that was not run."""
        future, call = self.submitted.pop(0)
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)


def reference() -> Any:
    """The image as one tile, without any executor."""
    kernel = JuliaKernel()
    params = kernel.parse(IMAGE)
    return kernel.run(params, kernel.whole(params), CancelFlag())


@pytest.fixture
def misbehaving(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernels of tests, here and in the processes that are started meanwhile."""
    monkeypatch.setenv(
        registry.VARIABLE, "tests.kernels_for_tests:Crash,tests.kernels_for_tests:Fail"
    )
    registry.refresh()
    yield
    registry.refresh()


# --- Without threads or processes -------------------------------------------------------------


def test_the_tiles_are_put_together_to_the_image() -> None:
    numpy.testing.assert_array_equal(execute(Job("julia", IMAGE), Here()), reference(), strict=True)


def test_a_kernel_of_one_task_gives_its_value() -> None:
    assert execute(Job("echo", {"value": [1, "two"]}), Here()) == [1, "two"]
    assert execute(Job("payload", {"shape": [2, 3]}), Here()).shape == (2, 3)


def test_wrong_parameters_are_refused_before_anything_is_submitted() -> None:
    here = Here()
    for job in (Job("julia", {"width": 0, "height": 1}), Job("no such kernel")):
        with pytest.raises(ParameterError):
            execute(job, here)
    with pytest.raises(ParameterError, match="must be 1 or more"):
        execute(Job("julia", IMAGE), here, outstanding=0)
    assert here.calls == []


def test_no_more_futures_are_outstanding_than_allowed() -> None:
    outstanding, most = 0, 0

    class Watched(Future[Any]):
        """Says when its result is taken."""

        def result(self, timeout: float | None = None) -> Any:
            nonlocal outstanding
            outstanding -= 1
            return super().result(timeout)

    class Watching(Here):
        future_type = Watched

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            nonlocal outstanding, most
            outstanding += 1
            most = max(most, outstanding)
            return super().submit(fn, *args, **kwargs)

    execute(Job("julia", IMAGE | {"tile": 6}), Watching(), outstanding=3)
    assert (outstanding, most) == (0, 3)


def test_short_tasks_travel_together() -> None:
    here = Here()
    execute(
        Job("julia", IMAGE | {"tile": 1, "iterations": 0, "symmetry": False}), here, outstanding=1
    )
    sizes = [len(chunk) for _, _, chunk, *_ in here.calls]
    assert sum(sizes) == 40 * 24
    assert sizes[0] == 1
    assert max(sizes) > 10
    assert len(sizes) < 100


def test_what_is_submitted_are_plain_values() -> None:
    here = Here()
    execute(Job("julia", IMAGE, timeout_s=60), here, outstanding=1)
    name, plain, chunk, timeout_s, _ = here.calls[0]
    assert (name, type(plain), timeout_s) == ("julia", dict, 60)
    assert [type(task) for task in chunk] == [tuple]
    assert chunk[0] == (0, 0, 8, 8)


@pytest.mark.usefixtures("misbehaving")
def test_a_failed_task_fails_the_job_with_its_traceback_as_the_cause() -> None:
    with pytest.raises(JobFailed, match=r"^night: task \(\): Unpicklable: no luck$") as raised:
        execute(Job("fail", {"message": "no luck"}, name="night"), Here())
    assert isinstance(raised.value.__cause__, TaskFailed)
    assert "kernels_for_tests.py" in str(raised.value.__cause__)


def test_when_a_task_fails_the_rest_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: JuliaKernel, params: Any, task: Any, cancelled: CancelFlag) -> Any:
        raise ZeroDivisionError("of course")

    monkeypatch.setattr(JuliaKernel, "run", run)
    here = Here(at_once=False)

    class Lazy(Here):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future = here.submit(fn, *args, **kwargs)
            if len(here.calls) == TILES:
                here.run_next()
            return future

    with pytest.raises(JobFailed, match=r"julia: task \(0, 0, 8, 8\): ZeroDivisionError"):
        execute(Job("julia", IMAGE), Lazy())
    assert len(here.submitted) == TILES - 1
    assert all(future.cancelled() for future, _ in here.submitted)


def test_a_result_that_does_not_fit_fails_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JuliaKernel, "run", lambda *_: numpy.zeros(3))
    with pytest.raises(JobFailed, match=r"must be uint16\(8, 8\)"):
        execute(Job("julia", IMAGE), Here())


def test_a_future_that_the_executor_loses_fails_the_job() -> None:
    class Losing(Here):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.cancel()
            return future

    with pytest.raises(JobFailed, match=r"the executor lost it: CancelledError"):
        execute(Job("julia", IMAGE), Losing())


def test_a_task_that_looks_at_its_flag_keeps_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    class Timer:
        """Rings at once."""

        def __init__(self, interval: float, function: Callable[[], None]) -> None:
            assert interval == 5
            self.start, self.cancel = function, lambda: None

    monkeypatch.setattr(threading, "Timer", Timer)
    with pytest.raises(JobFailed, match=r"TimeoutError: it took longer than timeout_s = 5"):
        execute(Job("sleep", {"seconds": 3600}, timeout_s=5), Here())


def test_the_function_that_travels_reports_what_was_done_before_a_failure() -> None:
    answer = run_tasks("julia", IMAGE, [(0, 0, 8, 8), (32, 0, 9, 8), (8, 0, 8, 8)], None)
    assert isinstance(answer, Answer)
    assert len(answer.results) == 1
    assert answer.failure.startswith("ParameterError: task = (32, 0, 9, 8): must be inside 40x24")


# --- On real executors ------------------------------------------------------------------------


def test_threads_compute_the_image() -> None:
    with ThreadPoolExecutor(2) as executor:
        counts = execute(Job("julia", IMAGE, timeout_s=600), executor)
    numpy.testing.assert_array_equal(counts, reference(), strict=True)


@pytest.fixture
def processes() -> Iterator[Executor]:
    """Processes that share nothing with this one, as on another machine."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        yield executor


def test_processes_compute_the_image(processes: Executor) -> None:
    counts = execute(Job("julia", IMAGE), processes)
    numpy.testing.assert_array_equal(counts, reference(), strict=True)
    assert execute(Job("echo", {"value": b"there and back"}), processes) == b"there and back"


@pytest.mark.usefixtures("misbehaving")
def test_an_exception_that_can_not_be_pickled_leaves_the_processes_alive(
    processes: Executor,
) -> None:
    with pytest.raises(JobFailed, match="Unpicklable: on purpose"):
        execute(Job("fail"), processes)
    assert execute(Job("echo", {"value": 1}), processes) == 1


@pytest.mark.usefixtures("misbehaving")
def test_a_process_that_dies_fails_the_job(processes: Executor) -> None:
    with pytest.raises(JobFailed, match="BrokenProcessPool"):
        execute(Job("crash"), processes)
    with pytest.raises(JobFailed, match="terminated abruptly"):
        execute(Job("echo", {"value": 1}), processes)


@pytest.mark.dask
def test_a_dask_cluster_computes_the_image() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Dask deprecates is not ours to mend
        distributed = pytest.importorskip("distributed")
        with distributed.Client(
            processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None
        ) as client:
            counts = execute(Job("julia", IMAGE), client.get_executor())
            value = execute(Job("echo", {"value": {"a": [1]}}), client.get_executor())
    numpy.testing.assert_array_equal(counts, reference(), strict=True)
    assert value == {"a": [1]}


def test_our_errors_survive_pickling() -> None:
    errors = [
        ParameterError("width", 0, "must be 1 or more"),
        JobFailed("j1: it failed"),
        TaskFailed("task 1"),
    ]
    for error in errors:
        back = pickle.loads(pickle.dumps(error))
        assert type(back) is type(error)
        assert str(back) == str(error)
        assert vars(back) == vars(error)


def test_a_deadline_that_is_over_ends_the_job_and_what_has_not_started() -> None:
    executor = Here(at_once=False)
    with pytest.raises(JobFailed, match=r"deadline_s = 0\.001 is over, and 0 of 10 tasks are done"):
        execute(Job("julia", IMAGE, deadline_s=0.001), executor)
    assert executor.submitted
    assert all(future.cancelled() for future, _ in executor.submitted)


def test_a_deadline_also_ends_a_job_whose_answers_are_always_there_already() -> None:
    executor = Here()
    with pytest.raises(JobFailed, match=r"deadline_s = 1e-09 is over"):
        execute(Job("julia", IMAGE, deadline_s=1e-9), executor)
    assert len(executor.calls) < 10, "nothing is submitted after it"


def test_a_deadline_that_is_far_away_changes_nothing() -> None:
    counts = execute(Job("julia", IMAGE, deadline_s=600.0), Here())
    numpy.testing.assert_array_equal(counts, reference(), strict=True)
