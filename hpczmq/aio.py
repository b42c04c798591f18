"""`hpczmq.aio.Client`: the same client for asyncio. Calls run in a thread; futures are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from hpczmq import client
from hpczmq.model import Alert, ClusterInfo, Job, JobInfo, NodeMetrics, SlaveInfo


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

    async def submit(self, job: Job) -> asyncio.Future[Any]:
        """Hand a job in; await what comes back for its result."""
        return asyncio.wrap_future(await asyncio.to_thread(self._sync.submit, job))

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

    async def cancel(self, ids: Iterable[str]) -> tuple[str, ...]:
        """End jobs; gives back those that had not ended by themselves."""
        return await asyncio.to_thread(self._sync.cancel, ids)

    async def metrics(self, nodes: Iterable[str] = ()) -> tuple[NodeMetrics, ...]:
        """The newest metrics of each node, from a memoria."""
        return await asyncio.to_thread(self._sync.metrics, nodes)

    async def alerts(self, nodes: Iterable[str] = ()) -> tuple[Alert, ...]:
        """What is wrong now, from a memoria."""
        return await asyncio.to_thread(self._sync.alerts, nodes)


async def as_completed(
    futures: Iterable[asyncio.Future[Any]],
) -> AsyncIterator[asyncio.Future[Any]]:
    """The futures, each when it is done, first one first."""
    pending = set(futures)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for future in done:
            yield future
