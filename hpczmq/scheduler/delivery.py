"""Results on their way to clients: who wants which chunk, and how many on the way at once.

A client has credit, in chunks for each job, and in bytes for all that it was sent and has not asked
beyond: so what waits for it in the master's memory is bounded, whether it reads or not. One whose
bytes don't move is cut off: its wishes are dropped, and it is told. Its jobs go on; when it reads
again, it asks again, and has lost nothing.
"""

from __future__ import annotations

from hpczmq import limits
from hpczmq.messages import Ended, Fetch, Reject
from hpczmq.scheduler import chronicle
from hpczmq.scheduler.actions import Deliver, Send
from hpczmq.scheduler.answers import job_info
from hpczmq.scheduler.jobs import JobRecord
from hpczmq.scheduler.state import ClientRecord, ClusterState, Watch


def watch(state: ClusterState, job: JobRecord, peer: bytes, fetch: Fetch, now: float) -> None:
    """A client says which chunk it wants next: so it has those before."""
    client = state.clients[peer]
    state.cut_off.pop(client.instance, None)  # it reads again, and was told
    known, cursor = client.watches.get(job.id), fetch.cursor
    if known is None:
        known = client.watches[job.id] = Watch(fetch.request, cursor, 0)
        state.watchers.setdefault(job.id, set()).add(peer)
    _confirm(state, client, known, cursor, now)
    if known.request != fetch.request and not _may_be_lost(client, now):
        known.request = fetch.request  # what was sent is still on its way
    if known.request == fetch.request:
        cursor = max(cursor, known.cursor)
    else:
        _confirm(state, client, known, known.cursor, now)  # it was lost, and is sent again
    known.request, known.cursor, known.limit = fetch.request, cursor, fetch.cursor + fetch.credit
    client.stalled[job.id] = None
    _go_on(state, peer, now)


def _may_be_lost(client: ClientRecord, now: float) -> bool:
    """Whether all that a client was sent could have crossed a slow link by now."""
    return now - client.sent_s >= client.backlog_bytes / limits.slow_link_bytes_per_s


def _confirm(
    state: ClusterState, client: ClientRecord, watch: Watch, cursor: int, now: float
) -> None:
    """The chunks before a cursor are with the client."""
    while watch.sent and watch.sent[0][0] < cursor:
        _, chunk_bytes = watch.sent.popleft()
        client.backlog_bytes -= chunk_bytes
        state.backlog_bytes -= chunk_bytes
        client.moved_s = now


def drop_watch(state: ClusterState, peer: bytes, id: str) -> None:
    """A client wants nothing more of a job."""
    client = state.clients[peer]
    watch = client.watches.pop(id, None)
    if watch is None:
        return
    _confirm(state, client, watch, watch.cursor, client.moved_s)
    client.stalled.pop(id, None)
    state.watchers[id].discard(peer)
    if not state.watchers[id]:
        del state.watchers[id]


def taken(state: ClusterState, peer: bytes, id: str, whole: bool, now: float) -> None:
    """A client is through with a job, or has lost interest."""
    drop_watch(state, peer, id)
    state.clients[peer].moved_s = now
    job = state.jobs.get(id)
    if whole and job is not None and job.state.ended:
        job.taken = True
    _go_on(state, peer, now)


def deliver(state: ClusterState, job: JobRecord, now: float) -> None:
    """Send what is new of a job to everyone who watches it and has credit."""
    for peer in sorted(state.watchers.get(job.id, ())):
        deliver_to(state, job, peer, now)


def deliver_to(state: ClusterState, job: JobRecord, peer: bytes, now: float) -> None:
    """Send what is new of a job to one client; after the last chunk, the end."""
    client = state.clients[peer]
    watch = client.watches[job.id]
    client.stalled.pop(job.id, None)
    while watch.cursor < min(watch.limit, job.chunks):
        chunk_bytes = job.chunk_bytes[watch.cursor]
        if not _has_room(state, client, chunk_bytes):
            client.stalled[job.id] = None
            return
        if not client.backlog_bytes:
            client.moved_s = now
        state.actions.append(Deliver(peer, job.id, watch.cursor))
        watch.sent.append((watch.cursor, chunk_bytes))
        client.backlog_bytes += chunk_bytes
        state.backlog_bytes += chunk_bytes
        client.sent_s = now
        watch.cursor += 1
    if job.state.ended and watch.cursor >= job.chunks:
        # The wish is kept: a fetch that crossed this must not have it all sent again.
        info = job_info(state, job, now)
        state.actions.append(Send(peer, Ended(watch.request, job.chunks, info)))


def _has_room(state: ClusterState, client: ClientRecord, chunk_bytes: int) -> bool:
    """Whether a client may be sent one more chunk. One that has nothing on its way always may:
    others that don't read are not its fault, and a chunk may be larger than the bound.
    """
    own = client.backlog_bytes + chunk_bytes <= limits.client_backlog_bytes_max
    every = state.backlog_bytes + chunk_bytes <= limits.clients_backlog_bytes_max
    return not client.backlog_bytes or (own and every)


def _go_on(state: ClusterState, peer: bytes, now: float) -> None:
    """Send a client what has waited for room, job by job, as far as there is some."""
    stalled = state.clients[peer].stalled
    for id in list(stalled):
        deliver_to(state, state.jobs[id], peer, now)
        if id in stalled:
            return


def cut_off(state: ClusterState, peer: bytes, why: str) -> None:
    """Drop all wishes of a client that does not read, and tell it as well as that goes."""
    client = state.clients[peer]
    waits = client.backlog_bytes / limits.MIB
    reason = f"cut off: {why}, {waits:.1f} MiB wait: read faster, and ask again; your jobs go on"
    for id in list(client.watches):
        drop_watch(state, peer, id)
    remember(state, client, reason)
    chronicle.note(state, "client", f"client {client.name} is {reason}", node=client.name)
    state.actions.append(Send(peer, Reject(0, "backlog", reason[: limits.text_chars_max])))


def remember(state: ClusterState, client: ClientRecord, reason: str) -> None:
    """Have a client that was cut off told when it says hello again."""
    state.cut_off[client.instance] = reason
    if len(state.cut_off) > limits.orders_known_max:
        del state.cut_off[next(iter(state.cut_off))]


def tick(state: ClusterState, now: float) -> None:
    """Cut off whose bytes have not moved for too long."""
    for peer, client in list(state.clients.items()):
        still_s = now - client.moved_s
        if client.backlog_bytes and still_s > limits.client_still_s:
            cut_off(state, peer, f"nothing was read for {still_s:.0f} s")
