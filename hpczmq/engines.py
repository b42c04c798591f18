"""The same job on any `concurrent.futures.Executor`, without a cluster of ours.

Work that outgrows one machine's threads, or this project, moves to an engine that is there already
(Dask, MPI, Parsl, …) unchanged:

    counts = hpczmq.execute(job, ProcessPoolExecutor())
    counts = hpczmq.execute(job, dask_client.get_executor())

What is submitted is a function of this module with plain arguments, so that everything can be
pickled and the other side needs no more than hpczmq itself. Failures come back as text inside an
ordinary answer: not every exception survives pickling, and one that does not takes a process pool
down with it.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from hpczmq import limits
from hpczmq.errors import JobFailed, ParameterError, TaskFailed, shown
from hpczmq.kernels import registry
from hpczmq.kernels.base import CancelFlag, Cancelled, Kernel
from hpczmq.model import Job


class Answer(NamedTuple):
    """What `run_tasks` gives back."""

    #: Results of the tasks, in their order, up to the first that failed.
    results: list[Any]
    #: How long they took together, in seconds.
    seconds: float
    #: What the task after them raised, with its traceback; empty if none did.
    failure: str


def execute(job: Job, executor: Executor, *, outstanding: int = limits.executor_futures_max) -> Any:
    """Run a job on an executor and wait for its result.

    Args:
        job: what to compute. Its priority has no meaning here. Its `timeout_s` does, as far as
            the kernel looks at its cancel flag: an executor can't kill a task that does not. Its
            `retries` follow at once. When its `deadline_s` is over it has failed.
        executor: threads, processes, or another engine's.
        outstanding: how many submitted futures there may be at once, 1 or more. More than the
            default is of use with more than about a hundred workers.

    Returns:
        What the job's result is on a cluster: for `julia` an array of counts, shape
        (height, width), uint16 or uint32; for a kernel of one task that task's value.

    Raises:
        ParameterError: the kernel or one of its parameters is wrong; nothing was submitted.
        JobFailed: a task failed (its cause is a `TaskFailed` with the remote traceback), or the
            executor lost one. What had not started is cancelled, what was running ends unheard.
    """
    if outstanding < 1:
        raise ParameterError("outstanding", outstanding, "must be 1 or more")
    kernel = registry.get(job.kernel)
    params = kernel.parse(job.params)
    plain = kernel.plain(params)

    def submit(chunk: list[tuple[Any, ...]]) -> Future[Answer]:
        return executor.submit(run_tasks, job.kernel, plain, chunk, job.timeout_s, job.retries)

    array = None
    if kernel.assembles:
        import numpy  # here, since every command imports this module and most need no array

        array = numpy.empty(*kernel.allocate(params))
    try:
        tasks = kernel.split(params)
        with closing(_answers(submit, tasks, outstanding, job.deadline_s)) as answers:
            for chunk, answer in answers:
                if answer.failure:
                    raise TaskFailed(f"task {chunk[len(answer.results)]}: {answer.failure}")
                if array is None:
                    return answer.results[0]
                for values, result in zip(chunk, answer.results, strict=True):
                    kernel.place(params, result, kernel.task(values), array)
    # The last is what `place` says of a result that is not what it should be.
    except (TaskFailed, BrokenExecutor, ParameterError) as error:
        first_line = str(error).partition("\n")[0]
        where = shown(job.name or job.kernel)
        raise JobFailed(f"{where}: {first_line or type(error).__name__}") from error
    return array


def _answers(
    submit: Callable[[list[tuple[Any, ...]]], Future[Answer]],
    tasks: Sequence[tuple[Any, ...]],
    outstanding: int,
    deadline_s: float | None,
) -> Generator[tuple[list[tuple[Any, ...]], Answer], None, None]:
    """Submit all tasks in chunks, and yield each chunk with its answer as it arrives.

    A chunk starts as one task and grows to about `limits.lease_work_s` of work, measured on those
    that came back, so that submitting costs little beside the work. When it is closed, or an
    answer is lost, the futures that are left are cancelled.
    """
    arrived: SimpleQueue[Future[Answer]] = SimpleQueue()
    waiting: dict[Future[Answer], list[tuple[Any, ...]]] = {}
    submitted, answered, seconds, size = 0, 0, 0.0, 1
    end_s = None if deadline_s is None else time.monotonic() + deadline_s
    try:
        while submitted < len(tasks) or waiting:
            while submitted < len(tasks) and len(waiting) < outstanding:
                # An executor that runs tasks at once, in this thread, is never waited for below.
                if end_s is not None and time.monotonic() >= end_s:
                    break
                end = min(submitted + size, len(tasks))
                chunk = [tuple(tasks[index]) for index in range(submitted, end)]
                future = submit(chunk)
                waiting[future] = chunk
                submitted = end
                future.add_done_callback(arrived.put)
            try:
                left_s = None if end_s is None else max(0.0, end_s - time.monotonic())
                future = arrived.get(timeout=left_s)
            except Empty:
                told = f"deadline_s = {deadline_s:g} is over, and {answered} of {len(tasks)} tasks"
                raise TaskFailed(f"{told} are done") from None
            chunk = waiting.pop(future)
            try:
                answer = future.result()
            except Exception as error:
                # `run_tasks` raises nothing: this is the executor's own trouble.
                lost = f"task {chunk[0]}: the executor lost it: {type(error).__name__}: {error}"
                raise TaskFailed(lost) from error
            yield chunk, answer
            answered += len(chunk)
            seconds += answer.seconds
            fitting = limits.lease_work_s * answered / max(seconds, 1e-9)
            size = min(max(int(fitting), 1), limits.tasks_per_lease_max)
    finally:
        for future in waiting:
            future.cancel()


def run_tasks(
    name: str,
    plain: Mapping[str, Any],
    tasks: Sequence[tuple[Any, ...]],
    timeout_s: float | None,
    retries: int = 0,
) -> Answer:
    """Run tasks of one job where the executor wants them run; never raises an `Exception`.

    Args:
        name: the kernel's.
        plain: its parameters as plain values.
        tasks: plain values of each task.
        timeout_s: seconds that each may take, or None.
        retries: how often one that raised is tried again, at once.
    """
    results: list[Any] = []
    failure = ""
    start = time.perf_counter()
    try:
        kernel = registry.get(name)
        params = kernel.parse(plain)
        for values in tasks:
            for left in range(retries, -1, -1):
                try:
                    results.append(_run(kernel, params, kernel.task(values), timeout_s))
                    break
                except TimeoutError:
                    raise
                except Exception:
                    if not left:
                        raise
    except Exception as error:
        trace = traceback.format_exc()[-limits.error_chars_max :]
        failure = f"{type(error).__name__}: {error}\n{trace}"
    return Answer(results, time.perf_counter() - start, failure)


def _run(
    kernel: Kernel[Any, Any], params: Any, task: tuple[Any, ...], timeout_s: float | None
) -> Any:
    """One task, with its cancel flag set when its time is over."""
    cancelled = CancelFlag()
    if timeout_s is None:
        return kernel.run(params, task, cancelled)
    alarm = threading.Timer(timeout_s, cancelled.set)
    alarm.daemon = True  # it must not keep a worker process from ending
    alarm.start()
    try:
        return kernel.run(params, task, cancelled)
    except Cancelled:
        raise TimeoutError(f"it took longer than timeout_s = {timeout_s:g}") from None
    finally:
        alarm.cancel()
