"""hpczmq: batches of numeric jobs on a handful to thousands of machines, over ZeroMQ.

    with hpczmq.LocalCluster(slaves=2) as cluster, hpczmq.Client(cluster.address) as client:
        job = client.submit(hpczmq.Job("julia", dict(width=3500, height=2800, iterations=1500)))
        counts = job.result()

Names are loaded when they are first used: a node does not pay for the client's numpy, nor a
client for the nodes.
"""

from __future__ import annotations

from importlib import import_module

from hpczmq._version import __version__

TYPE_CHECKING = False  # what checkers take for typing's, which takes longer to load than this
if TYPE_CHECKING:
    from concurrent.futures import as_completed
    from typing import Any

    from hpczmq import aio
    from hpczmq.client import Client
    from hpczmq.cluster import LocalCluster
    from hpczmq.engines import execute
    from hpczmq.errors import (
        HpczmqError,
        JobFailed,
        LocalError,
        NoCluster,
        NotAllowed,
        ParameterError,
        Refused,
        RemoteError,
        TaskFailed,
    )
    from hpczmq.futures import JobFuture, TaskFuture
    from hpczmq.model import Job, JobState

__all__ = [
    "Client",
    "HpczmqError",
    "Job",
    "JobFailed",
    "JobFuture",
    "JobState",
    "LocalCluster",
    "LocalError",
    "NoCluster",
    "NotAllowed",
    "ParameterError",
    "Refused",
    "RemoteError",
    "TaskFailed",
    "TaskFuture",
    "__version__",
    "aio",
    "as_completed",
    "execute",
]

_HOMES = {
    "Client": "hpczmq.client",
    "Job": "hpczmq.model",
    "JobFuture": "hpczmq.futures",
    "JobState": "hpczmq.model",
    "LocalCluster": "hpczmq.cluster",
    "TaskFuture": "hpczmq.futures",
    "as_completed": "concurrent.futures",
    "execute": "hpczmq.engines",
}


def __getattr__(name: str) -> Any:
    if name == "aio":
        return import_module("hpczmq.aio")
    if name not in __all__:
        raise AttributeError(f"module 'hpczmq' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "hpczmq.errors")), name)
