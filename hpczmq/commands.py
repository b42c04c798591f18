"""What the commands do, once their arguments are read. Each gives its exit code."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.text import Text

from hpczmq import batch, config, dashboard, tables, transport
from hpczmq.client import Client, PathOf, ask_node
from hpczmq.clock import Clock
from hpczmq.errors import JobFailed, OutputError, ParameterError
from hpczmq.imagefile import PALETTES, write_png
from hpczmq.kernels import get
from hpczmq.messages import Ping, Pong
from hpczmq.model import Job, JobState
from hpczmq.output import Output, plain
from hpczmq.progress import BatchProgress
from hpczmq.results import ResultWriter

#: How long a loop on the main thread waits before it looks for a Ctrl-C again, in seconds.
_LOOK_S = 0.2


class Target:
    """Which cluster a command talks to, and how it answers."""

    def __init__(self, master: str | None, timeout_s: float | None, as_json: bool) -> None:
        self.settings = config.load({"master": master, "timeout_s": timeout_s})
        self.output = Output(as_json)

    def client(self) -> Client:
        """Connect; NoCluster when nobody answers."""
        return Client(self.settings.master or None, timeout=self.settings.timeout_s)


# --- Work from start to end -------------------------------------------------------------------


def run(target: Target, jobs: Sequence[Job], out: Path, palette: str, **sizes: Any) -> int:
    """Run jobs, write their results, print what they came to."""
    _known_palette(palette)
    if not target.settings.master:
        # Before the folder is made: nothing is started, nothing written.
        batch.require(jobs, **sizes)
    rows = _run(target, jobs, ResultWriter(out), palette, sizes)
    target.output.show(tables.batch(rows), rows)
    return int(any(row.failed for row in rows))


def _run(
    target: Target, jobs: Sequence[Job], writer: ResultWriter, palette: str, sizes: Any
) -> list[batch.Row]:
    settings = target.settings
    with (
        batch.engine(jobs, settings.master, settings.timeout_s, **sizes) as (client, check),
        BatchProgress(target.output.err) as progress,
    ):
        return batch.run(jobs, client, writer, progress, palette, check)


def render(target: Target, job: Job, file: Path, palette: str, **sizes: Any) -> int:
    """One image, straight to a file."""
    _known_palette(palette)
    problems = batch.faults(job)
    if problems:
        raise problems[0]
    if not target.settings.master:
        batch.require([job], **sizes)
    if file.is_dir() or not file.parent.is_dir():
        raise OutputError(f"{file}: must be a file in a folder that is there")
    kernel = get(job.kernel)
    params = kernel.plain(kernel.parse(job.params))
    settings, began_s = target.settings, Clock().now()
    with (
        batch.engine([job], settings.master, settings.timeout_s, **sizes) as (client, check),
        BatchProgress(target.output.err) as progress,
    ):
        future = client.submit(job)
        try:
            progress.begin([future])
            while not future.done():
                wait([future], _LOOK_S)
                progress.look()
                check()
            counts = future.result(0)
        except CancelledError:
            raise JobFailed(f"{future.name}: cancelled") from None
        finally:
            future.cancel()
    write_png(file, counts, params["iterations"], palette)
    seconds = Clock().now() - began_s
    facts = {"picture": str(file), "seconds": seconds, "params": params}
    target.output.show(Text(f"{file}  {tables.seconds(seconds)}"), facts)
    return 0


def _known_palette(palette: str) -> None:
    if palette not in PALETTES:
        raise ParameterError("palette", palette, f"must be one of {', '.join(PALETTES)}")


# --- Jobs of a running cluster ----------------------------------------------------------------


def submit(target: Target, jobs: Sequence[Job]) -> int:
    """Hand jobs in, print their ids, and don't wait."""
    with target.client() as client:
        ids = [client.hand_in(job) for job in jobs]
    target.output.show(Text("\n".join(ids)), ids)
    return 0


def wait_for(target: Target, ids: Sequence[str]) -> int:
    """Wait until jobs have ended; 1 if one of them has no result."""
    ended: dict[str, Any] = {}
    with target.client() as client:
        while True:
            rows = client.jobs(ids)
            ended = {row.id: row for row in rows if row.state.ended}
            if len(ended) == len(set(ids)):
                break
            threading.Event().wait(_LOOK_S)
    target.output.show(tables.jobs(rows), rows)
    return int(any(row.state is not JobState.DONE for row in rows))


def fetch(target: Target, ids: Sequence[str], out: Path, palette: str) -> int:
    """Wait for jobs that were handed in before, and write their results."""
    _known_palette(palette)
    writer = ResultWriter(out)
    rows = []
    with target.client() as client:
        for info in client.jobs(ids):
            params = tables.params_of(info)
            job = Job(info.kernel, params, info.name, info.priority)
            folder = writer.folder(job.name or info.id)
            future = client.job(info.id, path=_counts_in(folder))
            while not future.done():
                wait([future], _LOOK_S)
                client.check()
            rows.append(batch.write(job, future, writer, folder, palette))
    target.output.show(tables.batch(rows), rows)
    return int(any(row.failed for row in rows))


def _counts_in(folder: Path) -> PathOf:
    return lambda id: folder / "counts.npy"


def cancel(target: Target, ids: Sequence[str]) -> int:
    """End jobs."""
    with target.client() as client:
        ended = client.cancel(ids)
    return _ended(target, ended, "cancelled")


def clear(target: Target) -> int:
    """Cancel every job that has not started."""
    with target.client() as client:
        ended = client.clear()
    return _ended(target, ended, "cleared")


def _ended(target: Target, ids: Iterable[str], word: str) -> int:
    names = list(ids)
    target.output.show(Text(f"{word}: {', '.join(names) or 'nothing'}"), names)
    return 0


# --- Looking ----------------------------------------------------------------------------------


def status(target: Target) -> int:
    """The cluster in a few lines."""
    with target.client() as client:
        row = client.status()
    target.output.show(tables.cluster(row), row)
    return 0


def jobs(target: Target) -> int:
    """All jobs that the master remembers."""
    with target.client() as client:
        rows = client.jobs()
    target.output.show(tables.jobs(rows), rows)
    return 0


def job(target: Target, id: str) -> int:
    """One job, with everything that is known of it."""
    with target.client() as client:
        (row,) = client.jobs([id])
    target.output.show(tables.job(row), row)
    return 0


def slaves(target: Target) -> int:
    """All slaves, those lost lately included."""
    with target.client() as client:
        rows = client.slaves()
    target.output.show(tables.slaves(rows), rows)
    return 0


def metrics(target: Target, nodes: Sequence[str]) -> int:
    """The newest metrics of each node."""
    with target.client() as client:
        rows = client.metrics(nodes)
    target.output.show(tables.metrics(rows), rows)
    return 0


def alerts(target: Target, nodes: Sequence[str]) -> int:
    """What is wrong now."""
    with target.client() as client:
        rows = client.alerts(nodes)
    target.output.show(tables.alerts(rows) if rows else Text("No alerts"), rows)
    return 0


def policy(target: Target, name: str) -> int:
    """Switch the placement policy."""
    with target.client() as client:
        client.policy(name)
    target.output.show(Text(f"policy {name}"), {"policy": name})
    return 0


def ping(target: Target, address: str) -> int:
    """Ask one node directly: who it is, how it is, how far."""
    where = transport.address_of(address)
    pong, seconds = ask_node(where, Ping(0), Pong, target.settings.timeout_s)
    facts = {"address": where, "round_trip_s": seconds, **plain(replace(pong, request=0))}
    text = f"{pong.role.name.lower()} {pong.name} ({pong.software}) at {where}"
    target.output.show(Text(f"{text}: {seconds * 1e3:.2f} ms"), facts)
    return 0


def top(target: Target, interval_s: float, once: bool) -> int:
    """The live dashboard."""
    if not 0.05 <= interval_s <= 3600:
        raise ParameterError("interval", interval_s, "must be 0.05..3600 seconds")
    with target.client() as client:
        if once or target.output.as_json:
            view = dashboard.look(client)
            target.output.show(dashboard.frame(view), view)
            return 0
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
        dashboard.watch(client, target.output.out, interval_s, stop)
    return 0
