"""A worker's leases: every task gets an outcome, and finished ones travel together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from hpczmq import arrays, limits, wire
from hpczmq.kernels.base import CancelFlag, Kernel
from hpczmq.messages import Assign, Report
from hpczmq.model import Outcome, Status, Task
from hpczmq.nodes import slot


class Tell(Kernel[str, tuple[Any, ...]]):
    """Gives back what its task says; the parameters are how often they were parsed."""

    name = "tell"
    parsed = 0
    #: What happens elsewhere while a task runs that says "meanwhile".
    meanwhile: Callable[[], Any]

    def parse(self, params: Any) -> Any:
        Tell.parsed += 1
        return params

    def plain(self, params: str) -> dict[str, Any]:
        raise NotImplementedError

    def whole(self, params: Any) -> tuple[Any, ...]:
        return (params["say"],)

    def task(self, values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values)

    def run(self, params: Any, task: tuple[Any, ...], cancelled: CancelFlag) -> Any:
        (what,) = task
        if what == "exit":
            raise SystemExit(3)
        if what == "raise":
            raise ZeroDivisionError("é" * limits.error_chars_max)
        if what == "meanwhile":
            return Tell.meanwhile()
        if what == "array":
            return np.arange(3)
        if what == "large":
            return bytes(60)
        if what == "too large":
            return bytes(limits.value_bytes_max + 1)
        if what == "object":
            return {1: object()}
        return what


class Out:
    """A channel that keeps what is sent."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.buffers: list[Sequence[wire.Buffer]] = []

    def send(self, frames: Sequence[wire.Buffer]) -> None:
        message, buffers = wire.decode(frames)
        assert isinstance(message, Report)
        self.reports.append(message)
        self.buffers.append(buffers)

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome for report in self.reports for outcome in report.outcomes]


class Time:
    """A clock that goes on by the same step each time somebody looks."""

    def __init__(self, step_s: float) -> None:
        self.now, self.step_s = 0.0, step_s

    def perf_counter(self) -> float:
        self.now += self.step_s
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> Out:
    Tell.parsed = 0
    monkeypatch.setattr(slot, "get", {"tell": Tell()}.__getitem__)
    monkeypatch.setattr(slot, "time", Time(0.0))
    monkeypatch.setattr(limits, "report_held_bytes_max", 100)
    monkeypatch.setattr(limits, "value_bytes_max", 1_000)
    return Out()


def run(out: Out, *says: Any, items: bool = False, timeout_s: float = 0.0) -> slot.Runner:
    """Run a lease with a task for each thing to say."""
    runner = slot.Runner(out)  # type: ignore[arg-type]  # all of a channel that it uses
    lease(runner, *says, items=items, timeout_s=timeout_s)
    return runner


def lease(
    runner: slot.Runner, *says: Any, params: str = "p", items: bool = False, timeout_s: float = 0.0
) -> None:
    specs: list[Mapping[str, Any] | list[Any]]
    specs = [{"say": say} for say in says] if items else [[say] for say in says]
    tasks = tuple(Task(index, wire.pack(spec)) for index, spec in enumerate(specs))
    runner.run(Assign(7, "j1", "tell", wire.pack(params), items, tasks, timeout_s))


def test_values_travel_packed_and_in_their_order(out: Out) -> None:
    run(out, 1, "two", None)
    (report,) = out.reports
    assert (report.lease, report.job) == (7, "j1")
    assert [(o.index, o.status) for o in report.outcomes] == [(n, Status.VALUE) for n in range(3)]
    assert [wire.unpack(o.value) for o in report.outcomes] == [1, "two", None]


def test_arrays_travel_as_buffers(out: Out) -> None:
    run(out, "array", 1)
    first, second = out.outcomes
    ((buffer,),) = out.buffers
    assert (first.status, second.status) == (Status.ARRAY, Status.VALUE)
    assert arrays.unpacked(first.value, buffer).tolist() == [0, 1, 2]


def test_items_bring_their_own_parameters(out: Out) -> None:
    run(out, "a", "b", items=True)
    assert [wire.unpack(outcome.value) for outcome in out.outcomes] == ["a", "b"]
    assert Tell.parsed == 2


def test_the_parameters_of_a_job_are_parsed_once(out: Out) -> None:
    runner = run(out, 1, 2)
    lease(runner, 3)
    assert Tell.parsed == 1
    lease(runner, 3, params="other")
    assert Tell.parsed == 2


def test_an_exception_is_an_outcome_with_its_end_and_the_others_go_on(out: Out) -> None:
    run(out, "raise", "exit", 1)
    raised, left, fine = out.outcomes
    assert (raised.status, left.status, fine.status) == (Status.ERROR, Status.ERROR, Status.VALUE)
    assert len(raised.value.decode()) == limits.error_chars_max
    assert left.value.decode().endswith("SystemExit: 3")


@pytest.mark.parametrize(
    ("say", "words"),
    [("object", "TypeError"), ("too large", "return an array instead")],
)
def test_what_can_not_travel_is_an_error_of_the_task(out: Out, say: str, words: str) -> None:
    run(out, say)
    (outcome,) = out.outcomes
    assert outcome.status is Status.ERROR
    assert words in outcome.value.decode()


def test_junk_instead_of_a_task_is_an_error_of_the_task(out: Out) -> None:
    runner = slot.Runner(out)  # type: ignore[arg-type]  # all of a channel that it uses
    runner.run(Assign(7, "j1", "tell", wire.pack("p"), False, (Task(0, b"\xc1"),), 0.0))
    assert out.outcomes[0].status is Status.ERROR


def test_a_kernel_that_is_not_installed_is_an_error_of_the_task(out: Out) -> None:
    runner = slot.Runner(out)  # type: ignore[arg-type]  # all of a channel that it uses
    runner.run(Assign(7, "j1", "none", b"", False, (Task(0, b""),), 0.0))
    assert "KeyError: 'none'" in out.outcomes[0].value.decode()


def test_short_tasks_are_reported_together_and_long_ones_as_they_come(
    out: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot, "time", Time(limits.report_flush_s / 4))
    run(out, *range(6))
    assert [len(report.outcomes) for report in out.reports] == [3, 3]
    assert out.outcomes[0].seconds == pytest.approx(limits.report_flush_s / 4)


def test_with_a_timeout_each_task_is_reported_at_once(out: Out) -> None:
    run(out, 1, 2, 3, timeout_s=1.0)
    assert [len(report.outcomes) for report in out.reports] == [1, 1, 1]


def test_large_values_do_not_pile_up_past_what_a_message_takes(out: Out) -> None:
    run(out, *["large"] * 5)
    assert [len(report.outcomes) for report in out.reports] == [2, 2, 1]


def later(monkeypatch: pytest.MonkeyPatch) -> Time:
    """A clock that stands still until it is moved."""
    clock = Time(0.0)
    monkeypatch.setattr(slot, "time", clock)
    return clock


def test_what_is_finished_does_not_wait_for_a_long_task_of_the_same_lease(
    out: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = later(monkeypatch)
    runner = slot.Runner(out)  # type: ignore[arg-type]  # all of a channel that it uses
    seen: list[Any] = []

    def meanwhile() -> None:
        clock.now = limits.report_flush_s / 4
        seen.append(runner.send_overdue())
        seen.append([outcome.index for outcome in out.outcomes])
        clock.now = limits.report_flush_s
        seen.append(runner.send_overdue())
        seen.append([outcome.index for outcome in out.outcomes])
        seen.append(runner.send_overdue())

    monkeypatch.setattr(Tell, "meanwhile", meanwhile, raising=False)
    lease(runner, 0, "array", "meanwhile", 3, 4)
    assert seen == [pytest.approx(limits.report_flush_s * 3 / 4), [], 0.0, [0, 1], 0.0]
    assert [outcome.index for outcome in out.outcomes] == [0, 1, 2, 3, 4]
    assert [len(buffers) for buffers in out.buffers] == [1, 0]


def test_the_watch_sleeps_until_something_is_overdue_and_no_longer(
    out: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Left(Exception):
        pass

    clock = later(monkeypatch)
    runner = slot.Runner(out)  # type: ignore[arg-type]  # all of a channel that it uses
    waited: list[float] = []

    def wait() -> None:
        if out.reports:
            raise Left
        waited.append(clock.now)
        assert runner._waits.is_set()

    def meanwhile() -> None:
        monkeypatch.setattr(runner._waits, "wait", wait)
        runner.keep_watch()

    monkeypatch.setattr(Tell, "meanwhile", meanwhile, raising=False)
    lease(runner, 0, "meanwhile", 2)
    assert waited == [0.0, limits.report_flush_s]
    assert len(out.reports[0].outcomes) == 1
    assert "Left" in out.outcomes[1].value.decode()


def test_a_lease_of_one_task_wakes_nobody(out: Out) -> None:
    assert not run(out, 1)._waits.is_set()
