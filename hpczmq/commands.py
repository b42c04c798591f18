"""What the commands do, once their arguments are read. Each gives its exit code."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from hpczmq import addresses, atomic, batch, config, credentials, limits, tables
from hpczmq.asking import ask_node
from hpczmq.client import Client
from hpczmq.clock import Clock
from hpczmq.errors import (
    HpczmqError,
    JobFailed,
    NoCluster,
    OutputError,
    ParameterError,
    Refused,
    shown,
)
from hpczmq.kernels import get
from hpczmq.messages import Ping, Pong
from hpczmq.model import Job, JobInfo, JobState
from hpczmq.output import Output, plain
from hpczmq.palettes import Look

# Progress, results and imagefile are imported where they are used: numpy and the drawing of bars
# and pictures take longer to load than `hpczmq status` takes for all the rest.
if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpczmq.results import ResultWriter

#: How often `wait` asks, in seconds.
_ASK_S = 0.2


class Target:
    """Which cluster a command talks to, and how it answers."""

    def __init__(self, master: str | None, timeout_s: float | None, as_json: bool) -> None:
        self.settings = config.load({"master": master, "timeout_s": timeout_s})
        self.output = Output(as_json)

    def client(self) -> Client:
        """Connect; NoCluster when nobody answers."""
        return Client(self.settings.master or None, timeout=self.settings.timeout_s)


# --- Work from start to end -------------------------------------------------------------------


def run(target: Target, jobs: Sequence[Job], out: Path, look: Look, **sizes: Any) -> int:
    """Run jobs, write their results, print what they came to."""
    from hpczmq.results import ResultWriter

    look.check()
    began_s = Clock().now()
    if not target.settings.master:
        # Before the folder is made: nothing is started, nothing written.
        batch.require(jobs, **sizes)
    rows = _run(target, jobs, ResultWriter(out), look, sizes)
    return _batch(target, rows, began_s)


def _batch(target: Target, rows: Sequence[batch.Row], began_s: float) -> int:
    """Print what a batch came to."""
    target.output.show(tables.batch(rows), rows)
    seconds = tables.seconds(Clock().now() - began_s)
    target.output.err.print(f"{tables.count(len(rows), 'job')} in {seconds}")
    return int(any(row.failed for row in rows))


def _run(
    target: Target, jobs: Sequence[Job], writer: ResultWriter, look: Look, sizes: Any
) -> list[batch.Row]:
    from hpczmq.progress import BatchProgress

    settings = target.settings
    with (
        batch.engine(settings.master, settings.timeout_s, **sizes) as (client, check),
        BatchProgress(target.output.err, client.jobs) as progress,
    ):
        return batch.run(jobs, client, writer, progress, look, check)


def render(target: Target, job: Job, file: Path, look: Look, **sizes: Any) -> int:
    """One image, straight to a file."""
    from hpczmq.imagefile import write_picture

    look.check()
    problems = batch.faults(job)
    if problems:
        raise problems[0]
    if not target.settings.master:
        batch.require([job], **sizes)
    if not os.path.isdir(file.parent):
        raise OutputError(f"{file}: must be a file in a folder that is there")
    atomic.probe(file)
    kernel = get(job.kernel)
    params = kernel.plain(kernel.parse(job.params))
    began_s = Clock().now()
    with _place_of_counts(file, params["width"] * params["height"]) as path:
        counts = _counts(target, job, path, sizes)
        try:
            files = [str(name) for name in write_picture(file, counts, params["iterations"], look)]
        except OutputError as error:
            raise JobFailed(f"the picture was computed, and not written: {error}") from error
    seconds = Clock().now() - began_s
    facts = {"picture": files[0], "files": files, "seconds": seconds, "params": params}
    target.output.show(Text(f"{', '.join(files)}  {tables.seconds(seconds)}"), facts)
    return 0


@contextmanager
def _place_of_counts(file: Path, pixels: int) -> Iterator[Callable[[str], Path] | None]:
    """Where to put counts together for as long as it takes: in memory, or in a file beside it."""
    if pixels <= limits.png_pixels_max:
        yield None
        return
    counts = atomic.temporary(file.with_name("counts.npy"))
    try:
        yield lambda id: counts
    finally:
        atomic.discard(counts)


def _counts(
    target: Target, job: Job, path: Callable[[str], Path] | None, sizes: Any
) -> NDArray[Any]:
    from hpczmq.progress import BatchProgress

    settings = target.settings
    with (
        batch.engine(settings.master, settings.timeout_s, **sizes) as (client, check),
        BatchProgress(target.output.err, client.jobs) as progress,
    ):
        future = client.submit(job, path=path)
        try:
            progress.begin([future])
            for _ in batch.follow({future}, progress, check):
                progress.look()  # once more: it has ended
            counts: NDArray[Any] = future.result(0)
            return counts
        except OutputError as error:
            raise JobFailed(f"{future.name} was computed, and not written: {error}") from error
        except CancelledError:
            raise JobFailed(f"{future.name}: cancelled") from None
        finally:
            future.cancel()


# --- Jobs of a running cluster ----------------------------------------------------------------


def submit(target: Target, jobs: Sequence[Job]) -> int:
    """Hand jobs in, print their ids, and don't wait. All of them, or none."""
    ids: list[str] = []
    with target.client() as client:
        try:
            for job in jobs:
                ids.append(client.hand_in(job))
        except BaseException:  # refused, or interrupted: nobody would know these by their ids
            if ids:
                with suppress(HpczmqError):
                    client.cancel(ids)
            raise
    target.output.show(Text("\n".join(map(shown, ids))), ids)
    return 0


def wait_for(target: Target, ids: Sequence[str]) -> int:
    """Wait until jobs have ended; 1 if one of them has no result."""
    with target.client() as client:
        rows = _rows(client, ids)
        while not all(row.state.ended for row in rows):
            threading.Event().wait(_ASK_S)
            rows = _rows(client, ids)
    target.output.show(tables.jobs(rows), rows)
    return int(any(row.state is not JobState.DONE for row in rows))


def fetch(target: Target, ids: Sequence[str], out: Path, look: Look) -> int:
    """Wait for jobs that were handed in before, and write their results."""
    from hpczmq.progress import BatchProgress
    from hpczmq.results import ResultWriter

    look.check()
    writer, began_s = ResultWriter(out), Clock().now()
    with target.client() as client, BatchProgress(target.output.err, client.jobs) as progress:
        rows = batch.collect(_rows(client, ids), client, writer, progress, look)
    return _batch(target, rows, began_s)


def _rows(client: Client, ids: Sequence[str]) -> list[JobInfo]:
    """A row for each id, in their order.

    Raises:
        Refused: the answer has none for one of them.
    """
    found = {row.id: row for row in client.jobs(ids)}
    missing = [shown(id) for id in ids if id not in found]
    if missing:
        raise Refused("job", f"the master says nothing of {', '.join(missing)}: see `hpczmq jobs`")
    return [found[id] for id in dict.fromkeys(ids)]


def cancel(target: Target, ids: Sequence[str]) -> int:
    """End jobs."""
    with target.client() as client:
        ended = client.cancel(ids)
    return _ended(target, ended, "cancelled")


def clear(target: Target, ended: bool = False) -> int:
    """Cancel every job that has not started; or else forget every one that has ended."""
    with target.client() as client:
        names = client.forget() if ended else client.clear()
    return _ended(target, names, "forgotten" if ended else "cleared")


def _ended(target: Target, ids: Iterable[str], word: str) -> int:
    names = list(ids)
    target.output.show(Text(f"{word}: {', '.join(map(shown, names)) or 'nothing'}"), names)
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
        (row,) = _rows(client, [id])
    target.output.show(tables.job(row), row)
    return 0


def explain(target: Target, id: str) -> int:
    """Why a job or a task waits, failed, or was run again."""
    with target.client() as client:
        found = client.explain(id)
    target.output.show(tables.explanation(found), plain(replace(found, request=0)))
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
    told: list[RenderableType] = [tables.metrics(rows)]
    if nodes:  # who names some wants to know more
        told.append(tables.vitals(rows))
    target.output.show(Group(*told), rows)
    return 0


def history(
    target: Target,
    since: str,
    until: str | None,
    nodes: Sequence[str],
    metrics: Sequence[str],
    step_s: float,
    as_csv: bool,
) -> int:
    """The past of the nodes."""
    from hpczmq import looking_back  # with what it draws

    now_s = Clock().wall()
    since_s = looking_back.moment("since", since, now_s)
    until_s = now_s if until is None else looking_back.moment("until", until, now_s)
    if not 0 <= step_s <= 31 * 24 * 3600:
        raise ParameterError("step", step_s, "must be 0..2678400 seconds")
    looking_back.check_metrics(metrics)
    with target.client() as client:
        told = client.history(since_s, until_s, step_s=step_s, nodes=nodes)
    if as_csv:
        sys.stdout.write(looking_back.as_csv(told))
        return 0
    chosen, width = metrics or looking_back.USUAL, target.output.out.width
    target.output.show(looking_back.drawn(told, chosen, since_s, until_s, width), told)
    return 0


def alerts(target: Target, words: Sequence[str], every: bool) -> int:
    """What is wrong now; with `every` what was; or acknowledge some, or print the rules."""
    if list(words[:1]) == ["rules"]:
        from hpczmq.rules import BUILTIN

        target.output.show(Text(BUILTIN), {"rules": BUILTIN})
        return 0
    with target.client() as client:
        if list(words[:1]) == ["ack"]:
            if not words[1:]:
                raise ParameterError("alerts ack", "", "must name alerts: `hpczmq alerts` has ids")
            rows = client.acknowledge(words[1:])
        else:
            rows = client.alert_log(words) if every else client.alerts(words)
    target.output.show(tables.alerts(rows) if rows else Text("No alerts"), rows)
    return 0


def policy(target: Target, name: str) -> int:
    """Switch the placement policy."""
    with target.client() as client:
        client.policy(name)
    target.output.show(Text(f"policy {name}"), {"policy": name})
    return 0


def drain(target: Target, slaves: Sequence[str], undo: bool) -> int:
    """Give slaves nothing new, or work again."""
    with target.client() as client:
        names = client.drain(slaves, undo=undo)
    word = "get work again" if undo else "get nothing new"
    facts = {"slaves": names, "draining": not undo}
    target.output.show(Text(f"{word}: {', '.join(map(shown, names))}"), facts)
    return 0


def ping(target: Target, address: str) -> int:
    """Ask one node directly: who it is, how it is, how far."""
    where, settings = addresses.address_of(address), target.settings
    keys = credentials.of_client(settings, where)
    dialled = where
    if keys is not None and "#" not in where:
        own = keys.file.role in ("slave", "memoria") and addresses.is_loopback(where)
        # A node's key, on its machine: it is the node that asks how it is itself (a health check).
        dialled = f"{where}#{keys.file.pair.public.hex()}" if own else _with_key(target, where)
    pong, seconds = ask_node(
        dialled, Ping(0), Pong, settings.timeout_s, keys.keys if keys else None, settings.insecure
    )
    facts = {"address": where, "round_trip_s": seconds, **plain(replace(pong, request=0))}
    text = f"{pong.role.name.lower()} {shown(pong.name)} ({shown(pong.software)}) at {where}"
    target.output.show(Text(f"{text}: {seconds * 1e3:.2f} ms"), facts)
    return 0


def _with_key(target: Target, where: str) -> str:
    """An address with the key that is expected there, which the master knows."""
    if where == addresses.address_of(target.settings.master or "127.0.0.1"):
        return where
    with target.client() as client:
        known = [*client.status().memorias, *(slave.address for slave in client.slaves())]
    found = [address for address in known if address.partition("#")[0] == where]
    if not found:
        raise NoCluster(f"{where}: the master knows no node there, so nobody knows its key")
    return found[0]


def doctor(target: Target) -> int:
    """What is here, and what is amiss with it: the exit code is 1 then."""
    from hpczmq.doctor import findings  # here, for it asks every package for its version

    def cluster() -> str:
        with target.client() as client:
            row = client.status()
        slots = f"{row.slaves} slaves with {row.slots} slots"
        return f"{row.cluster} at {target.settings.master}, {row.software}, {slots}"

    found = findings(cluster if target.settings.master else None)
    target.output.show(tables.findings(found), found)
    return 1 if any(finding.remedy for finding in found) else 0
