"""`hpczmq.aio.Client`: the same client for asyncio. Calls run in a thread; futures are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from hpczmq import asking, client, futures
from hpczmq.messages import ExplainAnswer, Pong
from hpczmq.model import Alert, ClusterInfo, Job, JobInfo, NodeMetrics, SlaveInfo


class JobFuture:
    """One job. Await it for its result; it may be awaited more than once."""

    def __init__(self, future: futures.JobFuture) -> None:
        #: The id that the master gave it, and the job's own name, or its id.
        self.id = future.id
        self.name = future.name
        self._future = future

    def __await__(self) -> Generator[Any, None, Any]:
        # Shielded: who stops waiting has not cancelled the job.
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()

    def done(self) -> bool:
        """Whether it has ended."""
        return self._future.done()

    def cancel(self) -> bool:
        """End the job on the cluster too. False: it had ended already."""
        return self._future.cancel()


class Client:
    """A connection to a master, for coroutines. Use it with `async with`."""

    def __init__(
        self, address: str | None = None, *, timeout: float | None = None, name: str = "client"
    ) -> None:
        self._make = lambda: client.Client(address, timeout=timeout, name=name)
        self._client: client.Client | None = None

    async def __aenter__(self) -> Self:
        self._client = await asyncio.to_thread(self._make)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._sync.close)

    @property
    def _sync(self) -> client.Client:
        assert self._client is not None, "use it with `async with`"
        return self._client

    async def submit(self, job: Job) -> JobFuture:
        """Hand a job in; await what comes back for its result."""
        return JobFuture(await asyncio.to_thread(self._sync.submit, job))

    async def hand_in(self, job: Job) -> str:
        """Hand a job in without following it; gives back its id."""
        return await asyncio.to_thread(self._sync.hand_in, job)

    async def job(self, id: str) -> JobFuture:
        """A job that was handed in before."""
        return JobFuture(await asyncio.to_thread(self._sync.job, id))

    async def map(
        self, kernel: str, items: Iterable[Mapping[str, Any]], **options: Any
    ) -> list[asyncio.Future[Any]]:
        """One task, and one future to await, for each parameter set."""
        futures = await asyncio.to_thread(lambda: self._sync.map(kernel, items, **options))
        return [asyncio.wrap_future(future) for future in futures]

    async def status(self) -> ClusterInfo:
        """The cluster in one row."""
        return await asyncio.to_thread(self._sync.status)

    async def jobs(self, ids: Iterable[str] = ()) -> tuple[JobInfo, ...]:
        """Jobs that the master remembers, oldest first; or just these."""
        return await asyncio.to_thread(self._sync.jobs, ids)

    async def slaves(self) -> tuple[SlaveInfo, ...]:
        """Slaves in the order of their arrival."""
        return await asyncio.to_thread(self._sync.slaves)

    async def explain(self, id: str) -> ExplainAnswer:
        """Why a job ("j1") or one of its tasks ("j1/3") waits, failed, or was run again."""
        return await asyncio.to_thread(self._sync.explain, id)

    async def cancel(self, ids: Iterable[str]) -> tuple[str, ...]:
        """End jobs; gives back those that had not ended by themselves."""
        return await asyncio.to_thread(self._sync.cancel, ids)

    async def clear(self) -> tuple[str, ...]:
        """Cancel every job that has not started; gives back which."""
        return await asyncio.to_thread(self._sync.clear)

    async def forget(self, ids: Iterable[str] = ()) -> tuple[str, ...]:
        """See `hpczmq.Client.forget`."""
        return await asyncio.to_thread(self._sync.forget, ids)

    async def drain(self, slaves: Iterable[str], *, undo: bool = False) -> tuple[str, ...]:
        """Give slaves nothing new; with `undo`, give them work again."""
        return await asyncio.to_thread(lambda: self._sync.drain(slaves, undo=undo))

    async def policy(self, name: str) -> None:
        """Choose slaves by this policy from now on."""
        await asyncio.to_thread(self._sync.policy, name)

    async def ping(self) -> Pong:
        """A sign of life of the master."""
        return await asyncio.to_thread(self._sync.ping)

    async def metrics(self, nodes: Iterable[str] = ()) -> tuple[NodeMetrics, ...]:
        """The newest metrics of each node, from a memoria."""
        return await asyncio.to_thread(self._sync.metrics, nodes)

    async def alerts(self, nodes: Iterable[str] = ()) -> tuple[Alert, ...]:
        """What is wrong now, from a memoria."""
        return await asyncio.to_thread(self._sync.alerts, nodes)

    async def alert_log(self, nodes: Iterable[str] = ()) -> tuple[Alert, ...]:
        """Alerts that are over, pending and active, from a memoria, in this order."""
        return await asyncio.to_thread(self._sync.alert_log, nodes)

    async def acknowledge(self, ids: Iterable[str]) -> tuple[Alert, ...]:
        """Say to all memorias that somebody looks after these alerts; see `Client.acknowledge`."""
        return await asyncio.to_thread(self._sync.acknowledge, ids)

    async def history(
        self, since_s: float, until_s: float = 1e12, *, step_s: float = 0.0,
        nodes: Iterable[str] = (),
    ) -> asking.History:  # fmt: skip
        """The past of nodes, from a memoria; see `Client.history`."""
        return await asyncio.to_thread(
            lambda: self._sync.history(since_s, until_s, step_s=step_s, nodes=nodes)
        )


async def as_completed(work: Iterable[Awaitable[Any]]) -> AsyncIterator[asyncio.Future[Any]]:
    """Jobs or tasks as futures that are done, the first one first."""
    pending = {asyncio.ensure_future(_result(each)) for each in work}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for future in done:
            yield future


async def _result(work: Awaitable[Any]) -> Any:
    return await work
