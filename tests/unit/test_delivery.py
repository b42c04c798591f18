"""What a client gets of its jobs: chunks in their order, within its credit, and then the end."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.messages import Ended, Fetch, Goodbye
from hpczmq.model import JobState
from hpczmq.scheduler.actions import Deliver, Forget, Plan
from hpczmq.scheduler.events import Unreachable
from tests.unit.harness import CLIENT, World, submission


def test_the_end_is_told_after_the_last_chunk(world: World) -> None:
    peer, id = world.slave(), world.submit(2)
    assert world.fetch(id) == []
    world.finish(peer, world.place_one())
    assert world.delivered(id) == [0]
    world.finish(peer, world.place_one())
    assert type(world.unseen[-1]).__name__ == "Send", "the end stands behind the chunk"
    assert world.delivered(id) == [1]
    end = world.ended(id)
    assert (end.request, end.chunks, end.info.state) == (9, 2, JobState.DONE)


def with_chunks(world: World, chunks: int) -> str:
    """A job that has ended with so many chunks."""
    peer, id = world.slave(), world.submit(chunks)
    for _ in range(chunks):
        world.finish(peer, world.place_one(), seconds=1.0)
    assert world.job(id).chunks == chunks
    return id


def test_a_reader_is_sent_no_more_than_its_credit_and_then_the_rest(world: World) -> None:
    id = with_chunks(world, 5)
    assert world.fetch(id, 0, 2) == [0, 1]
    assert world.fetch(id, 2, 2) == [2, 3]
    assert world.fetch(id, 4, 2) == [4]
    assert world.ended(id).chunks == 5


def test_a_reader_that_lost_a_chunk_asks_from_there_again(world: World) -> None:
    id = with_chunks(world, 4)
    assert world.fetch(id, 0, 4, request=1) == [0, 1, 2, 3]
    assert world.ended(id)
    world.later(1.0)  # else it may still be on its way
    assert world.fetch(id, 1, 4, request=2) == [1, 2, 3]
    assert world.ended(id).request == 2


def test_more_credit_for_the_same_wish_sends_nothing_twice(world: World) -> None:
    id = with_chunks(world, 6)
    assert world.fetch(id, 0, 4) == [0, 1, 2, 3]
    assert world.fetch(id, 2, 4) == [4, 5], "2 and 3 are on their way"
    assert world.ended(id).chunks == 6
    assert world.fetch(id, 4, 4) == [], "so are 4 and 5; this crossed the end"
    assert world.ended(id).chunks == 6


def test_a_wish_from_beyond_the_end_gets_the_end(world: World) -> None:
    id = with_chunks(world, 1)
    assert world.fetch(id, 7) == []
    assert world.ended(id).chunks == 1


def test_two_clients_may_watch_one_job(world: World) -> None:
    peer, id = world.slave(), world.submit()
    world.client(b"other")
    for client in (CLIENT, b"other"):
        world.say(client, Fetch(1, id, 0, 1))
    world.finish(peer, world.place_one())
    for client in (CLIENT, b"other"):
        assert world.one(Deliver, client).cursor == 0
        assert world.one(Ended, client).chunks == 1


def test_a_client_that_leaves_loses_its_wishes_and_not_its_jobs(world: World) -> None:
    peer, id = world.slave(), world.submit()
    assert world.fetch(id) == []
    world.say(CLIENT, Goodbye("done"))
    world.finish(peer, world.place_one())
    assert world.job(id).state is JobState.DONE
    assert not world.state.watchers


def test_a_client_that_can_not_be_reached_loses_its_wishes(world: World) -> None:
    id = world.submit()
    assert world.fetch(id) == []
    world.do(Unreachable(CLIENT))
    assert not world.state.watchers
    assert not world.state.clients


def test_the_oldest_ended_jobs_are_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "jobs_ended_max", 2)
    first, second = world.submit(0), world.submit(0)
    assert not world.take(Forget)
    third = world.submit(0)
    assert world.one(Forget) == Forget(first)
    assert list(world.state.jobs) == [second, third]
    world.say(CLIENT, submission(1, 0))
    assert world.one(Plan).submit.uid == submission(1).uid, "its uid is forgotten too"
