"""Results on their way to clients: who wants which chunk, and how many on the way at once."""

from __future__ import annotations

from hpczmq.messages import Ended
from hpczmq.scheduler.actions import Deliver, Send
from hpczmq.scheduler.answers import job_info
from hpczmq.scheduler.state import ClusterState, JobRecord


def deliver(state: ClusterState, job: JobRecord, now: float) -> None:
    """Send what is new of a job to everyone who watches it and has credit."""
    for peer in sorted(state.watchers.get(job.id, ())):
        deliver_to(state, job, peer, now)


def deliver_to(state: ClusterState, job: JobRecord, peer: bytes, now: float) -> None:
    """Send what is new of a job to one client; after the last chunk, the end."""
    watch = state.clients[peer].watches[job.id]
    while watch.cursor < min(watch.limit, job.chunks):
        state.actions.append(Deliver(peer, job.id, watch.cursor))
        watch.cursor += 1
    if job.state.ended and watch.cursor >= job.chunks:
        # The wish is kept: a fetch that crossed this must not have it all sent again.
        info = job_info(state, job, now)
        state.actions.append(Send(peer, Ended(watch.request, job.chunks, info)))
