"""A job's tasks as the scheduler wants them: checked, packed, and only when they are asked for.

Kernels may be other packages' code. Whatever one raises here, `sys.exit` too, ends its job with a
reason, and never the master.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Sequence
from typing import Any, overload

from hpczmq import limits, partition, wire
from hpczmq.errors import LocalError, ParameterError, ProtocolError, shown
from hpczmq.kernels import Kernel, get
from hpczmq.messages import Submit
from hpczmq.scheduler.events import Planned, Unplannable

log = logging.getLogger(__name__)

#: What is caught around a kernel's code.
_ANYTHING = (Exception, SystemExit)


class PackedTasks(Sequence[bytes]):
    """The packed form of a sequence of tasks, without keeping any of it.

    A task that can't be had or does not pack is b"", which no slave takes: the task fails there,
    with a cause. It does not raise, because it is placement that asks, for many jobs at once.
    """

    def __init__(self, tasks: Sequence[tuple[Any, ...]]) -> None:
        self._tasks = tasks
        self._count = len(tasks)  # asked once: it is the kernel's code too
        self._complained = False

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        places = range(self._count)[index]
        if isinstance(places, range):
            return [self[place] for place in places]
        try:
            return self.packed(places)
        except _ANYTHING as error:
            if not self._complained:
                self._complained = True
                log.warning("task %d can't be packed and will fail: %s", places, _reason(error))
            return b""

    def packed(self, place: int) -> bytes:
        """The task at 0 <= place < len, packed; raises whatever the kernel raises."""
        task = wire.pack(self._tasks[place])
        if len(task) > limits.value_bytes_max:
            remedy = f"must be at most {limits.value_bytes_max}"
            raise ParameterError("task", f"{len(task)} bytes", remedy)
        return task


def plan(peer: bytes, submit: Submit, owner: bytes = b"") -> Planned | Unplannable:
    """Have the kernel check a submit and split it."""
    try:
        kernel = get(submit.kernel)
        if submit.items:
            capability = _common_capability(kernel, submit.items)
            return Planned(peer, submit, submit.items, capability, owner=owner)
        params = kernel.parse(_names_and_values(submit.params))
        tasks = PackedTasks(kernel.split(params))
        if len(tasks) > limits.tasks_per_job_max:
            remedy = f"must be at most {limits.tasks_per_job_max}; use larger tiles"
            raise ParameterError("tasks", len(tasks), remedy)
        for end in {0, len(tasks) - 1} if tasks else ():
            tasks.packed(end)
        costs = _costs(submit, len(tasks))
        order = array("I", sorted(range(len(costs)), key=lambda index: -costs[index]))
        capability = _capability(kernel, params)
        return Planned(peer, submit, tasks, capability, order, costs, owner)
    except _ANYTHING as error:
        return Unplannable(peer, submit, _reason(error))


def _costs(submit: Submit, count: int) -> array[float]:
    """What each task should take; empty if the client does not say.

    What it gets wrong costs its job time and no more: then the tasks go as they come.
    """
    try:
        return partition.unpacked(submit.costs, count)
    except ValueError as error:
        log.warning("%s: tasks go in their order: %s", submit.kernel, _reason(error))
        return array("f")


def _common_capability(kernel: Kernel[Any, Any], items: Sequence[bytes]) -> str:
    """The one capability that all items of a `map` need.

    Of a kernel that has only one, the first item tells. Of very many items some are asked; what
    the others lack, a slave says when it runs them.
    """
    every = len(items)
    if len(kernel.capabilities()) > 1:
        every = -(-len(items) // limits.items_checked_max)
    asked = dict.fromkeys(items[::every])
    needed = {_capability(kernel, kernel.parse(_names_and_values(item))) for item in asked}
    if len(needed) > 1:
        raise LocalError(
            f"items need different kernels' parts: {', '.join(sorted(needed))}: submit one map each"
        )
    return needed.pop()


def _capability(kernel: Kernel[Any, Any], params: Any) -> str:
    capability: object = kernel.capability(params)
    if not isinstance(capability, str):
        raise TypeError(f"the kernel's capability is {shown(repr(capability))}: must be text")
    return capability


def _names_and_values(packed: bytes) -> dict[Any, Any]:
    """Parameters as they travelled."""
    params = wire.unpack(packed)
    if not isinstance(params, dict):
        # Told by its type: the value may be nested too deep to be shown.
        raise ParameterError("params", type(params).__name__, "must be a dict, name to value")
    return params


def _reason(error: BaseException) -> str:
    """What a user reads of an error: ours as it is, a kernel's with its type."""
    try:
        text = str(error)
    except Exception:  # it is the kernel's code too
        text = "(its text can't be had)"
    if not isinstance(error, LocalError | ProtocolError):
        text = f"{type(error).__name__}: {text}"
    return shown(text, limits.text_chars_max)
