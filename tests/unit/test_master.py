"""What the master makes of a submit, and of a disk that fails; kernels are not trusted."""

from __future__ import annotations

import errno
import math
import os
import sys
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from hpczmq import limits, wire
from hpczmq.items import Items
from hpczmq.kernels.base import CancelFlag, Kernel
from hpczmq.messages import Submit
from hpczmq.nodes import tasks as module
from hpczmq.nodes.master import Master
from hpczmq.nodes.tasks import PackedTasks, plan
from hpczmq.scheduler.actions import Deliver
from hpczmq.scheduler.events import Planned, Unplannable


def fine(*_: Any) -> Any:
    return None


class Foreign(Kernel[Any, tuple[Any, ...]]):
    """Somebody else's kernel: each step does what the test says."""

    name = "foreign"

    def __init__(self, step: str = "", does: Callable[..., Any] = fine) -> None:
        self.step, self.does = step, does
        self.parsed = 0

    def _do(self, step: str, usual: Any, *args: Any) -> Any:
        return self.does(*args) if step == self.step else usual

    def parse(self, params: Any) -> Any:
        self.parsed += 1
        return self._do("parse", params, params)

    def plain(self, params: Any) -> dict[str, Any]:
        raise NotImplementedError

    def whole(self, params: Any) -> tuple[Any, ...]:
        return ()

    def task(self, values: Sequence[Any]) -> tuple[Any, ...]:
        raise NotImplementedError

    def run(self, params: Any, task: tuple[Any, ...], cancelled: CancelFlag) -> Any:
        raise NotImplementedError

    def split(self, params: Any) -> Any:
        return self._do("split", [(0,), (1,), (2,)], params)

    def capability(self, params: Any) -> Any:
        return self._do("capability", "foreign", params)

    def capabilities(self) -> Any:
        return self._do("capabilities", ("foreign",))


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Endless(list[tuple[Any, ...]]):
    """A sequence whose methods raise."""

    def __len__(self) -> int:
        raise OverflowError("cannot fit 'int'")


def fail(*_: Any) -> Any:
    raise ZeroDivisionError("a kernel's\nown \udc80 fault")


def planned(
    monkeypatch: pytest.MonkeyPatch,
    kernel: Foreign,
    params: bytes = b"\x80",
    *items: bytes,
    costs: bytes = b"",
) -> Planned | Unplannable:
    monkeypatch.setattr(module, "get", {"foreign": kernel}.__getitem__)
    submit = Submit(1, bytes(16), "foreign", params, Items.of(items), "", 2, 0.0, costs=costs)
    return plan(b"peer", submit)


def reason(answer: Planned | Unplannable) -> str:
    assert isinstance(answer, Unplannable)
    assert len(answer.reason) <= limits.text_chars_max
    answer.reason.encode()
    return answer.reason


def whole(answer: Planned | Unplannable) -> Planned:
    assert isinstance(answer, Planned), answer
    return answer


# --- What a client may send ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "params", [wire.pack(5), wire.pack([1]), b"\xc0", wire.pack("text"), b"\x91" * 990 + b"\x00"]
)
@pytest.mark.parametrize("as_item", [False, True])
def test_parameters_that_are_no_dict_are_refused(
    monkeypatch: pytest.MonkeyPatch, params: bytes, as_item: bool
) -> None:
    items = [params] if as_item else []
    answer = planned(monkeypatch, Foreign(), b"\x80" if as_item else params, *items)
    assert "must be a dict" in reason(answer) or "msgpack" in reason(answer)


@pytest.mark.parametrize("kernel", ["echo", "sleep", "payload", "julia", "none"])
@pytest.mark.parametrize("field", ["value", "seconds", "shape", "width"])
def test_a_value_nested_deep_ends_nothing(kernel: str, field: str) -> None:
    params = b"\x81" + wire.pack(field) + b"\x91" * 990 + b"\x00"
    for items in ((), (params,)):
        answer = plan(b"peer", Submit(1, bytes(16), kernel, params, Items.of(items), "", 2, 0.0))
        assert isinstance(answer, Planned) == (kernel == "echo" and field == "value")


def test_junk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(planned(monkeypatch, Foreign(), b"\xc1")).startswith("msgpack: ")


# --- What a kernel may do -----------------------------------------------------------------------


@pytest.mark.parametrize("step", ["parse", "split", "capability"])
def test_what_a_kernel_raises_refuses_its_job(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    text = reason(planned(monkeypatch, Foreign(step, fail)))
    assert text == r"ZeroDivisionError: a kernel's\x0aown \udc80 fault"


@pytest.mark.parametrize("step", ["parse", "capabilities", "capability"])
def test_what_a_kernel_raises_refuses_its_map(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    text = reason(planned(monkeypatch, Foreign(step, fail), b"", b"\x80"))
    assert text.startswith("ZeroDivisionError: ")


def raise_wordless(*_: Any) -> Any:
    raise Wordless


@pytest.mark.parametrize(
    ("does", "words"),
    [
        (sys.exit, "SystemExit: "),
        (raise_wordless, "Wordless: (its text can't be had)"),
        (lambda _: Endless(), "OverflowError: cannot fit 'int'"),
        (lambda _: None, "TypeError: object of type 'NoneType' has no len()"),
        (lambda _: [(object(),)], "TypeError: "),
        (lambda _: [(0,), (object(),)], "TypeError: "),
        (lambda _: [(bytes(2_000),)], "task = "),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, does: Callable[..., Any], words: str
) -> None:
    monkeypatch.setattr(limits, "value_bytes_max", 1_000)
    assert reason(planned(monkeypatch, Foreign("split", does))).startswith(words)


def test_a_job_of_too_many_tasks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "tasks_per_job_max", 2)
    text = reason(planned(monkeypatch, Foreign()))
    assert text == "tasks = 3: must be at most 2; use larger tiles"


def test_a_job_without_tasks_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(whole(planned(monkeypatch, Foreign("split", lambda _: []))).tasks) == 0


def test_a_capability_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    text = reason(planned(monkeypatch, Foreign("capability", lambda _: 5)))
    assert text == "TypeError: the kernel's capability is 5: must be text"


# --- Tasks --------------------------------------------------------------------------------------


def test_tasks_are_packed_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = whole(planned(monkeypatch, Foreign())).tasks
    assert [wire.unpack(task) for task in tasks] == [(0,), (1,), (2,)]
    assert wire.unpack(tasks[-1]) == (2,)
    assert [wire.unpack(task) for task in tasks[1:]] == [(1,), (2,)]
    with pytest.raises(IndexError):
        tasks[3]


def test_a_task_in_the_middle_that_does_not_pack_is_one_that_no_slave_takes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    split: list[tuple[Any, ...]] = [(0,), (object(),), (1 << 70,), (3,)]
    tasks = whole(planned(monkeypatch, Foreign("split", lambda _: split))).tasks
    assert [bool(task) for task in tasks] == [True, False, False, True]
    (line,) = caplog.messages
    assert line.startswith("task 1 can't be packed and will fail: TypeError: ")


def test_a_kernel_s_sequence_that_raises_is_no_matter_of_placement() -> None:
    class Broken(list[tuple[Any, ...]]):
        def __getitem__(self, index: Any) -> Any:
            raise SystemExit

    assert PackedTasks(Broken([(0,)]))[0] == b""


# --- Maps ---------------------------------------------------------------------------------------


def several() -> Foreign:
    """A kernel whose parts are told by a parameter."""
    kernel = Foreign("capability", lambda params: params.get("part", "a"))
    kernel.capabilities = lambda: ("a", "b")  # type: ignore[method-assign]
    return kernel


def test_a_map_needs_what_its_items_need(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [wire.pack({"part": "b", "n": n}) for n in range(3)]
    answer = whole(planned(monkeypatch, several(), b"", *items))
    assert (answer.capability, list(answer.tasks)) == ("b", items)


def test_a_map_whose_items_need_different_parts_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = [wire.pack({"part": part}) for part in "aab"]
    assert reason(planned(monkeypatch, several(), b"", *items)) == (
        "items need different kernels' parts: a, b: submit one map each"
    )


def test_items_alike_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = several()
    planned(monkeypatch, kernel, b"", *[wire.pack({"part": "a"})] * 50)
    assert kernel.parsed == 1


def test_of_very_many_items_only_so_many_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "items_checked_max", 10)
    kernel = several()
    items = [wire.pack({"n": n}) for n in range(95)]
    assert whole(planned(monkeypatch, kernel, b"", *items)).capability == "a"
    assert 5 <= kernel.parsed <= 10


def test_the_first_item_tells_where_a_kernel_has_only_one_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Foreign()
    planned(monkeypatch, kernel, b"", *[wire.pack({"n": n}) for n in range(50)])
    assert kernel.parsed == 1


# --- The disk -----------------------------------------------------------------------------------


def test_a_chunk_that_can_not_be_read_is_logged_and_the_master_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Store:
        def frames(self, job: str, cursor: int) -> Any:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    master = Master.__new__(Master)  # without its sockets
    master.store = Store()  # type: ignore[assignment]  # all of a store that it asks
    assert master.perform(Deliver(b"peer", "j7", 3)) is None
    (line,) = caplog.messages
    assert line.startswith("j7: chunk 3 can't be read back: [Errno 5]")
    assert "check the disk" in line


# --- In which order -----------------------------------------------------------------------------


def test_the_costliest_tasks_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = planned(monkeypatch, Foreign(), costs=array("f", [1, 5, 2]).tobytes())
    assert isinstance(answer, Planned)
    assert list(answer.order) == [1, 2, 0]
    assert list(answer.costs) == [1, 5, 2]


def test_tasks_of_which_nobody_can_tell_go_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = planned(monkeypatch, Foreign())
    assert isinstance(answer, Planned)
    assert not answer.order
    assert not answer.costs


@pytest.mark.parametrize(
    "costs",
    [
        b"short",
        array("f", [1, 2]).tobytes(),
        array("f", [1, 2, math.nan]).tobytes(),
        array("f", [1, 2, math.inf]).tobytes(),
        array("f", [1, 2, 0]).tobytes(),
    ],
)
def test_costs_that_are_none_cost_the_job_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, costs: bytes
) -> None:
    answer = planned(monkeypatch, Foreign(), costs=costs)
    assert isinstance(answer, Planned)
    assert not answer.order
    assert not answer.costs
    assert "foreign: tasks go in their order" in caplog.text
