"""`Client`: the cluster as Python sees it. Blocking calls, futures for what takes long."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from hpczmq import addresses, config, credentials, keyfiles, limits, partition, wire
from hpczmq.asking import refusal
from hpczmq.endpoint import Trouble
from hpczmq.errors import (
    HpczmqError,
    LocalError,
    NoCluster,
    NotAllowed,
    ParameterError,
    Refused,
)
from hpczmq.futures import JobFuture, MapSink, Sink, TaskFuture
from hpczmq.happened import EventInfo
from hpczmq.items import Items
from hpczmq.kernels import get
from hpczmq.memorias import AsksMemorias
from hpczmq.messages import (
    Ask,
    Cancel,
    ClusterAnswer,
    Done,
    Drain,
    EventsAnswer,
    ExplainAnswer,
    JobsAnswer,
    Message,
    Ping,
    Pong,
    Reject,
    SetPolicy,
    SlavesAnswer,
    Submit,
    Submitted,
    TraceAnswer,
)
from hpczmq.model import About, ClusterInfo, Job, JobInfo, Requires, SlaveInfo
from hpczmq.pump import Pump
from hpczmq.session import Request

M = TypeVar("M", bound=Message)
#: Where the array of the job with this id is to stand.
PathOf = Callable[[str], Path]


class Client(AsksMemorias):
    """A connection to a master. Use it as a context manager; it may be shared by threads.

    Args:
        address: HOST or HOST:PORT; None: what `HPCZMQ_MASTER` or the configuration file say, else
            this machine.
        timeout: seconds to wait for an answer, here and in each call; None: as configured (10).
        name: how the cluster lists this client.

    Raises:
        NoCluster: no master answered in that time.
        NotAllowed: it asks for a key, and this client's is none of the cluster's.
        Refused: it answered, and does not take this client (another version, say).
    """

    def __init__(
        self, address: str | None = None, *, timeout: float | None = None, name: str = "client"
    ) -> None:
        settings = config.load({"master": address, "timeout_s": timeout})
        self.address = addresses.address_of(settings.master or "127.0.0.1")
        self.timeout_s = settings.timeout_s
        #: Cancels that the master has not confirmed yet.
        self._orders: set[Future[Message]] = set()
        self._keys = credentials.of_client(settings, self.address)
        self._insecure = settings.insecure
        self._pump = Pump(self.address, name, self._keys, settings.insecure)
        self._pump.start()
        try:
            self._meet()
        except BaseException:
            self.close()
            raise

    def _meet(self) -> None:
        pump = self._pump
        met = pump.met.wait(self.timeout_s)
        if pump.trouble is not None:
            raise self._kept_out(pump.trouble)
        if not met and pump.junk:
            reason = f"what answers is no master of this version: {pump.junk}"
            raise NoCluster(f"{self.address}: {reason}")
        if not met:
            raise NoCluster(
                f"{self.address}: no master answered in {self.timeout_s:g} s:"
                " start one with `hpczmq master`, or name another with --master"
            )
        if pump.refused:
            code, _, reason = pump.refused.partition(": ")
            kind, told = (NotAllowed, reason) if code == "role" else (Refused, pump.refused)
            raise kind("refused", f"{self.address}: {told}")

    def _kept_out(self, trouble: Trouble) -> HpczmqError:
        """The error of a connection on which no word could be said."""
        if trouble is Trouble.KEY and self._keys is not None:
            whose = keyfiles.described(self._keys.file.role, self._keys.file.name)
            told = f"the key of {whose} is none of this cluster's (any more)"
            return NotAllowed("key", f"{self.address}: {told}: see `hpczmq keys list` there")
        told = f"{trouble.value}: see `hpczmq keys show cluster` there, and the key file here"
        if trouble is Trouble.MECHANISM and self._keys is None:
            told = "it asks for a key, and there is none here: name the file of one by HPCZMQ_KEY"
        elif trouble is Trouble.MECHANISM:
            told = "it has no keys, and here there are some: HPCZMQ_KEYS=off goes without them"
        return NoCluster(f"{self.address}: {told}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up. Jobs go on, but for those that were cancelled; their futures here fail."""
        if threading.current_thread() is not self._pump:
            # The master forgets who has hung up, and with them what it has not read by then.
            wait(set(self._orders), limits.linger_ms / 1000)
        self._pump.close()

    def check(self) -> None:
        """Raise NoCluster when the master has been away for as long as a call would wait.

        Futures wait longer: they go on when it comes back. Who has no time for that asks here.
        """
        away_s = self._pump.away_s
        if self._pump.trouble is Trouble.KEY:  # revoked: it does not come back by waiting
            raise self._kept_out(Trouble.KEY)
        if away_s > self.timeout_s:
            raise NoCluster(f"{self.address}: the master has been away for {away_s:.0f} s")

    @property
    def away_s(self) -> float:
        """How long the master has been away; 0 while it is here."""
        return self._pump.away_s

    def look_on(self, id: str, sink: Sink) -> Callable[[], None]:
        """Have a job's results pass through a sink that keeps none; gives back what ends it."""
        self._pump.follow(id, sink, keeps=False)
        return lambda: self._pump.unfollow(id)

    # --- Work ---------------------------------------------------------------------------------

    def submit(self, job: Job, *, path: PathOf | None = None) -> JobFuture:
        """Hand a job in, and follow it.

        Args:
            job: what to compute.
            path: gives, for the job's id, the `.npy` file in which the array is put together;
                None: in memory.

        Raises:
            ParameterError: the kernel does not take these parameters; nothing was sent.
            Refused: the master does not take the job.
            NoCluster: the master did not answer in time.
            OutputError: there is no room for the array; the job is cancelled again.
        """
        kernel = get(job.kernel)
        params, message = self._cut(job)
        answer = self._ask(message, Submitted)
        try:
            return self._follow(answer.job, job.name, answer.tasks, kernel, params, path)
        except BaseException:
            self._cancel_quietly(answer.job)
            raise

    def hand_in(self, job: Job) -> str:
        """Hand a job in without following it; gives back its id. Raises as `submit` does."""
        return self._ask(self._cut(job)[1], Submitted).job

    def map(
        self,
        kernel: str,
        items: Iterable[Mapping[str, Any]],
        *,
        name: str = "",
        priority: int = limits.priority_default,
        timeout_s: float | None = None,
        requires: Mapping[str, Any] | str = "",
        retries: int = 0,
        deadline_s: float | None = None,
    ) -> list[TaskFuture]:
        """Run a kernel once for each parameter set: one task, and one future, an item.

        Raises:
            ParameterError: an item is not what the kernel takes; nothing was sent.
            Refused, NoCluster: as in `submit`.
        """
        found = get(kernel)
        job = Job(kernel, {}, name, priority, timeout_s, requires, retries, deadline_s)
        packed = [wire.pack(found.plain(found.parse(item))) for item in items]
        if len(packed) > limits.items_per_job_max:
            remedy = f"must be at most {limits.items_per_job_max}: cut it into several maps"
            raise ParameterError("items", len(packed), remedy)
        size = sum(map(len, packed)) + 4 * len(packed) + limits.text_chars_max
        if size > limits.body_bytes_max:
            remedy = f"must be at most {limits.body_bytes_max} together: cut it into several maps"
            raise ParameterError("bytes of items", size, remedy)
        if not packed:
            return []
        answer = self._ask(self._message(job, b"", Items.of(packed)), Submitted)
        sink = MapSink(len(packed), lambda: self._cancel_quietly(answer.job))
        self._pump.follow(answer.job, sink)
        return sink.futures

    def job(self, id: str, *, path: PathOf | None = None) -> JobFuture:
        """A job that was handed in before, by whomever: its results arrive here too.

        One that this client is following already is the same future again.

        Raises:
            Refused: the master does not know it; or it is a `map`, which has no whole result.
        """
        followed = self._pump.followed(id)
        if isinstance(followed, JobFuture):
            return followed
        (info,) = self.jobs([id])
        if not info.params:
            raise Refused("map", f"{id} is a map: only who submitted it has its futures")
        kernel = get(info.kernel)
        params = kernel.parse(wire.unpack(info.params))
        return self._follow(id, info.name, info.tasks, kernel, params, path)

    def _cut(self, job: Job) -> tuple[Any, Submit]:
        """A job cut to fit the cluster as it is now: its parameters, and the message."""
        kernel = get(job.kernel)
        params = kernel.fitted(kernel.parse(job.params), lambda: self.status().slots)
        costs = partition.packed(kernel, params)
        return params, self._message(job, wire.pack(kernel.plain(params)), Items(), costs)

    def _message(self, job: Job, packed: bytes, items: Items, costs: bytes = b"") -> Submit:
        uid = uuid.uuid4().bytes
        return Submit(
            0, uid, job.kernel, packed, items, job.name, job.priority,
            float(job.timeout_s or 0.0), Requires.of(job.requires),
            job.retries, float(job.deadline_s or 0.0), costs,
        )  # fmt: skip

    def _follow(
        self, id: str, name: str, tasks: int, kernel: Any, params: Any, path: PathOf | None
    ) -> JobFuture:
        """A future for a job that the master has, fed from here on."""
        from hpczmq.assembler import Assembler  # numpy: only for who wants an array

        file = path(id) if path is not None and kernel.assembles else None
        assembler = Assembler(kernel, params, file) if kernel.assembles else None
        future = JobFuture(id, name, tasks, kernel, params, assembler, self._cancel_quietly)
        try:
            self._pump.follow(id, future)
        except NoCluster as error:
            future.fail(error)  # leaves no file behind
            raise
        return future

    def _cancel_quietly(self, id: str) -> None:
        with suppress(NoCluster):  # closed: the job goes on
            self._pump.unfollow(id)
            order = self._pump.ask(Cancel(0, (id,)))
            self._orders.add(order)
            order.add_done_callback(self._orders.discard)

    # --- Questions and orders -----------------------------------------------------------------

    def status(self) -> ClusterInfo:
        """The cluster in one row."""
        return self._ask(Ask(0, About.STATUS), ClusterAnswer).info

    def jobs(self, ids: Iterable[str] = ()) -> tuple[JobInfo, ...]:
        """Jobs that the master remembers, oldest first; or just these."""
        return self._ask(Ask(0, About.JOBS, tuple(ids)), JobsAnswer).jobs

    def slaves(self) -> tuple[SlaveInfo, ...]:
        """Slaves in the order of their arrival, those lost lately included."""
        return self._ask(Ask(0, About.SLAVES), SlavesAnswer).slaves

    def explain(self, id: str) -> ExplainAnswer:
        """Why a job ("j1") or one of its tasks ("j1/3") waits, failed, or was run again."""
        return self._ask(Ask(0, About.EXPLAIN, (id,)), ExplainAnswer)

    def events(self, nodes: Iterable[str] = ()) -> tuple[EventInfo, ...]:
        """What happened lately, oldest first, on all nodes or these."""
        return self._ask(Ask(0, About.EVENTS, tuple(nodes)), EventsAnswer).events

    def trace(self, id: str) -> TraceAnswer:
        """Where and when the tasks of a job ran."""
        return self._ask(Ask(0, About.TRACE, (id,)), TraceAnswer)

    def cancel(self, ids: Iterable[str]) -> tuple[str, ...]:
        """End jobs; gives back those that had not ended by themselves."""
        return self._ask(Cancel(0, tuple(ids)), Done).names

    def clear(self) -> tuple[str, ...]:
        """Cancel every job that has not started; gives back which."""
        return self._ask(Cancel(0, (), queued=True), Done).names

    def forget(self, ids: Iterable[str] = ()) -> tuple[str, ...]:
        """Have the master forget ended jobs and their results, these or all; gives back which."""
        return self._ask(Cancel(0, tuple(ids), ended=True), Done).names

    def policy(self, name: str) -> None:
        """Choose slaves by this policy from now on."""
        self._ask(SetPolicy(0, name), Done)

    def drain(self, slaves: Iterable[str], *, undo: bool = False) -> tuple[str, ...]:
        """Give slaves nothing new; what they have they end. With `undo`, give them work again."""
        return self._ask(Drain(0, tuple(slaves), undo), Done).names

    def ping(self) -> Pong:
        """A sign of life of the master."""
        return self._ask(Ping(0), Pong)

    def _ask(self, request: Request, kind: type[M]) -> M:
        if threading.current_thread() is self._pump:
            raise LocalError("a callback can't wait for the cluster: ask from another thread")
        return _checked(self._pump.ask(request), kind, self.address, self.timeout_s)


def _checked(waiting: Future[Message], kind: type[M], address: str, timeout_s: float) -> M:
    try:
        answer = waiting.result(timeout_s)
    except BaseException as error:  # a Ctrl-C too: what nobody waits for must not happen later
        if waiting.cancel() or not isinstance(error, TimeoutError):
            if isinstance(error, TimeoutError):
                text = f"{address}: the master has not answered in {timeout_s:g} s"
                raise NoCluster(text) from None
            raise
        answer = waiting.result()  # it came in this very moment
    if isinstance(answer, Reject):
        raise refusal(answer)
    assert isinstance(answer, kind), f"{type(answer).__name__} instead of {kind.__name__}"
    return answer
