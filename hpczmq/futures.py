"""What a client holds of work that is under way: futures that `concurrent.futures` understands.

A job is one future, and so is each task of a `map`. They are real `Future`s: `wait`,
`as_completed` and `asyncio.wrap_future` take them. Those of one `map` share one condition, since
making a lock for each of 20,000 would take longer than running them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpczmq import wire
from hpczmq.errors import HpczmqError, JobFailed, ProtocolError, TaskFailed
from hpczmq.kernels.base import Kernel
from hpczmq.model import JobInfo, JobState, Outcome, Status
from hpczmq.wire import Buffer

if TYPE_CHECKING:
    from hpczmq.assembler import Assembler


@dataclass(slots=True)
class Tally:
    """What one slave has done of a job so far."""

    tasks: int = 0
    #: Run time of the kernel in them, added up, in seconds.
    seconds: float = 0.0


class Sink:
    """Where the outcomes of one job go; called in the client's own thread, in order."""

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        #: Tasks with an outcome so far.
        self.arrived_tasks = 0
        #: Whether nothing more will come.
        self.ended = False
        #: By slave's name.
        self.slaves: dict[str, Tally] = {}

    def take(self, slave: str, outcomes: Sequence[Outcome], buffers: Sequence[Buffer]) -> None:
        """The next outcomes of the job."""
        tally = self.slaves.setdefault(slave, Tally())
        tally.tasks += len(outcomes)
        tally.seconds += sum([outcome.seconds for outcome in outcomes])
        self.arrived_tasks += len(outcomes)
        self._take(outcomes, buffers)

    def _take(self, outcomes: Sequence[Outcome], buffers: Sequence[Buffer]) -> None:
        raise NotImplementedError

    def over(self, info: JobInfo) -> None:
        """The job has ended, and everything of it has arrived."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> None:
        """Nothing more will come."""
        raise NotImplementedError


class JobFuture(Future[Any], Sink):
    """One job. `result()` is its array, or the value of its one task."""

    def __init__(
        self,
        id: str,
        name: str,
        tasks: int,
        kernel: Kernel[Any, Any],
        params: Any,
        assembler: Assembler | None,
        cancel: Callable[[str], None],
    ) -> None:
        Future.__init__(self)
        Sink.__init__(self, tasks)
        #: The id that the master gave it.
        self.id = id
        #: The job's own name, or its id.
        self.name = name or id
        #: The name, and what it is, in a few words for people.
        self.label = f"{self.name}  {kernel.describe(params)}"
        #: How it ended; None before.
        self.info: JobInfo | None = None
        #: The kernel's parameters, as they were submitted: cut to fit the cluster.
        self.params = params
        self._kernel = kernel
        self._all_tasks = kernel.split(params)
        self._assembler = assembler
        self._value: Any = None
        self._tell_master = cancel
        #: Held while results are put in their place, so that nothing is discarded meanwhile.
        self._taking = threading.Lock()
        #: Whether somebody has ended this, or is about to.
        self._claimed = False

    def cancel(self) -> bool:
        """End the job on the cluster too. False: it had ended already."""
        if not self._claim():
            return False
        self._give_up()
        self._tell_master(self.id)
        return True

    def running(self) -> bool:
        """Whether some of it is done, and not all."""
        return self.arrived_tasks > 0 and not self.done()

    def _claim(self) -> bool:
        """Be the one who ends this future; False: another thread is, or was.

        Whoever ends it runs the callbacks, and no lock may be held by then.
        """
        with self._taking:
            first, self._claimed = not self._claimed, True
        return first

    def _give_up(self) -> None:
        self._discard()
        Future.cancel(self)
        self.set_running_or_notify_cancel()

    def _discard(self) -> None:
        if self._assembler is not None:
            self._assembler.discard()

    def _take(self, outcomes: Sequence[Outcome], buffers: Sequence[Buffer]) -> None:
        try:
            with self._taking:
                if not self._claimed:
                    self._place(outcomes, iter(buffers))
        except Exception as error:  # whatever a kernel's `place` says of a wrong result
            self.fail(JobFailed(f"{self.name}: a result can't be used: {error!r}"))

    def _place(self, outcomes: Sequence[Outcome], rest: Iterator[Buffer]) -> None:
        for outcome in outcomes:
            if not outcome.status.good:
                continue  # the end of the job says why
            value = value_of(outcome, rest)
            if self._assembler is None:
                self._value = value
            else:
                task = self._all_tasks[outcome.index]
                self._assembler.add(outcome.index, task, value)

    def over(self, info: JobInfo) -> None:
        """The job has ended: give its result, or why there is none."""
        self.info = info
        if info.state is JobState.FAILED:
            self.fail(JobFailed(f"{self.name}: {info.cause}"))
        elif not self._claim():
            return
        elif info.state is JobState.CANCELLED:
            self._give_up()
        else:
            self._finish()

    def _finish(self) -> None:
        try:
            whole = self._value if self._assembler is None else self._assembler.finish()
        except Exception as error:  # a full disk; a result that never came
            self._discard()
            known = isinstance(error, HpczmqError)
            self.set_exception(error if known else JobFailed(f"{self.name}: {error!r}"))
        else:
            self.set_result(whole)

    def fail(self, error: BaseException) -> None:
        """Nothing more will come of this job."""
        if self._claim():
            self._discard()
            self.set_exception(error)


class TaskFuture(Future[Any]):
    """One task of a `map`. `cancel` drops its result; the task itself may still run, until every
    task of the map is done or cancelled: then what is left of the job is cancelled too.
    """

    def __init__(self, condition: threading.Condition, dropped: Callable[[], None]) -> None:
        # Not Future.__init__: that makes a lock of its own.
        self._condition = condition
        self._dropped = dropped
        self._state = PENDING
        self._result: Any = None
        self._exception: BaseException | None = None
        self._waiters: list[Any] = []
        self._done_callbacks: list[Callable[[Future[Any]], object]] = []

    def cancel(self) -> bool:
        """Give the result up. False: it is there already."""
        with self._condition:
            if self._state != PENDING:
                return self._state != FINISHED
            self._state = CANCELLED_AND_NOTIFIED
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            self._condition.notify_all()
        self.tell()
        self._dropped()
        return True

    def result(self, timeout: float | None = None) -> Any:
        """The task's value. Raises TaskFailed, CancelledError, or TimeoutError."""
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Why the task failed, or None. Raises CancelledError or TimeoutError."""
        with self._condition:
            # The condition wakes everybody for each report: wait for what is ours.
            if not self._condition.wait_for(self._settled, timeout):
                raise TimeoutError
            if self._state != FINISHED:
                raise CancelledError
            return self._exception

    def _settled(self) -> bool:
        return self._state in (FINISHED, CANCELLED_AND_NOTIFIED)

    def settle(self, value: Any, error: BaseException | None) -> bool:
        """Put in the outcome, with the condition held; whether there was room for it."""
        if self._state != PENDING:
            return False
        self._result, self._exception, self._state = value, error, FINISHED
        for waiter in self._waiters:
            waiter.add_exception(self) if error is not None else waiter.add_result(self)
        return True

    def tell(self) -> None:
        """Run the callbacks, without the condition."""
        if self._done_callbacks:
            self._invoke_callbacks()  # type: ignore[attr-defined]  # Future's own


class MapSink(Sink):
    """The tasks of one `map`; `cancel` ends the job on the cluster."""

    def __init__(self, tasks: int, cancel: Callable[[], None]) -> None:
        super().__init__(tasks)
        self._cancel = cancel
        #: Futures that are neither done nor cancelled; guarded by the condition.
        self._wanted = tasks
        self._condition = threading.Condition()
        self.futures = [TaskFuture(self._condition, self._drop) for _ in range(tasks)]

    def _drop(self) -> None:
        with self._condition:
            self._wanted -= 1
        if not self._wanted and not self.ended:
            self._cancel()

    def _take(self, outcomes: Sequence[Outcome], buffers: Sequence[Buffer]) -> None:
        rest = iter(buffers)
        settled = []
        with self._condition:
            for outcome in outcomes:
                value, error = _value_or_error(outcome, rest)
                future = self.futures[outcome.index]
                if future.settle(value, error):
                    settled.append(future)
            self._wanted -= len(settled)
            self._condition.notify_all()
        for future in settled:
            future.tell()

    def over(self, info: JobInfo) -> None:
        """The job has ended; tasks without an outcome will not get one."""
        self.ended = True
        if info.state is JobState.CANCELLED:
            for future in self.futures:
                future.cancel()
        else:
            self.fail(TaskFailed(f"{info.id}: no outcome: {info.cause or info.state.name}"))

    def fail(self, error: BaseException) -> None:
        """Nothing more will come of any task."""
        self.ended = True
        with self._condition:
            settled = [future for future in self.futures if future.settle(None, error)]
            self._condition.notify_all()
        for future in settled:
            future.tell()


def _value_or_error(outcome: Outcome, rest: Any) -> tuple[Any, BaseException | None]:
    try:
        if outcome.status.good:
            return value_of(outcome, rest), None
        cause = f"task {outcome.index}: {outcome.value.decode(errors='replace')}"
        return None, TaskFailed(cause)
    except (HpczmqError, StopIteration) as error:
        return None, TaskFailed(f"task {outcome.index}: its result can't be used: {error}")


def value_of(outcome: Outcome, buffers: Any) -> Any:
    """The result of a good outcome; an array takes the next of the buffers.

    Raises:
        ProtocolError: the result is malformed, or not what its slave computed.
    """
    if outcome.status is Status.VALUE:
        return wire.unpack(outcome.value, lists=True)
    from hpczmq import arrays

    buffer = next(buffers, None)
    if buffer is None:
        raise ProtocolError("array", "its buffer is missing")
    return arrays.unpacked(outcome.value, buffer)
