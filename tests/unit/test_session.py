"""The client's core: requests until they are answered, chunks in their order, each once."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.messages import (
    Ask,
    Beat,
    Chunk,
    ClusterAnswer,
    Control,
    Done,
    Ended,
    Fetch,
    Goodbye,
    Heartbeat,
    Hello,
    Introduce,
    Message,
    Reject,
    SetPolicy,
    Submit,
    Submitted,
    Taken,
    Welcome,
)
from hpczmq.model import About, JobInfo, JobState, Role
from hpczmq.scheduler import actions
from hpczmq.session import (
    Answered,
    Arrived,
    Follow,
    Gone,
    Over,
    Received,
    Send,
    Stop,
    Tick,
    Turned,
    Unfollow,
    Wish,
)
from tests.unit.harness import CLIENT, SessionBench, World, submission, value

BEAT_S = limits.heartbeat_s_default
RESEND_S = limits.resend_heartbeats * BEAT_S
QUEUE = bytes(16)
WELCOME = Welcome("hpczmq", QUEUE, True, 1, BEAT_S, 0, Control(1, 1, "least-loaded", False))
CREDIT = limits.chunk_credit


def info(id: str = "j1") -> JobInfo:
    return JobInfo(id, "", "echo", b"", 2, JobState.DONE, 1, 1, 0, 0, 0.0, 0.0, 1, "")


def told(session: SessionBench, *messages: Message) -> None:
    session.do(*map(Received, messages))


def joined(session: SessionBench) -> SessionBench:
    session.do(Tick())
    assert session.one(Hello).role is Role.CLIENT
    told(session, WELCOME)
    assert session.one(Turned) == Turned(True)
    assert session.one(Heartbeat).sequence == 1
    return session


def tick(session: SessionBench, seconds: float) -> None:
    """Time passes; a heartbeat that is due is answered."""
    session.later(seconds)
    session.do(Tick())
    for beat in session.take(Heartbeat):
        told(session, Beat(beat.sequence))


def following(session: SessionBench) -> SessionBench:
    """A client that has asked for the chunks of j1."""
    joined(session).do(Follow("j1"))
    assert session.one(Fetch) == Fetch(1, "j1", 0, CREDIT)
    return session


def chunk(cursor: int, job: str = "j1") -> Chunk:
    return Chunk(job, cursor, "s1", (value(cursor),))


# --- Being there --------------------------------------------------------------------------------


def test_a_client_knocks_until_it_is_let_in(session: SessionBench) -> None:
    session.do(Tick(), Tick())
    assert session.one(Hello)
    session.later(limits.hello_s)
    session.do(Tick())
    assert session.one(Hello)


def test_a_refusal_is_told_once(session: SessionBench) -> None:
    session.do(Tick())
    assert session.one(Hello)
    no = Reject(0, "protocol", "install the same version")
    told(session, no, no)
    assert session.one(Turned) == Turned(False, "protocol: install the same version")


def test_a_client_that_closes_says_goodbye(session: SessionBench) -> None:
    session.do(Stop())
    assert session.one(Goodbye).reason == "closed"


# --- Requests -----------------------------------------------------------------------------------


def test_a_wish_waits_for_the_master_and_is_numbered(session: SessionBench) -> None:
    session.do(Wish(70, Ask(0, About.STATUS)), Wish(71, SetPolicy(0, "round-robin")))
    assert session.one(Hello)
    told(session, WELCOME)
    assert session.one(Turned)
    assert session.one(Heartbeat)
    assert session.one(Ask).request == 1
    assert session.one(SetPolicy).request == 2
    told(session, Done(2, ("round-robin",)))
    assert session.one(Answered) == Answered(71, Done(2, ("round-robin",)))


def test_a_wish_is_said_again_until_it_is_answered(session: SessionBench) -> None:
    joined(session).do(Wish(70, submission(0)))
    first = session.one(Submit)
    tick(session, RESEND_S - 0.1)
    assert not session.unseen
    tick(session, 0.1)
    assert session.one(Submit) == first, "with the same uid it is the same job"
    told(session, Submitted(1, "j1", 1))
    assert session.one(Answered).token == 70
    told(session, Submitted(1, "j1", 1))
    tick(session, RESEND_S)
    assert not session.unseen


def test_a_refused_wish_is_answered_with_the_refusal(session: SessionBench) -> None:
    joined(session).do(Wish(70, submission(0)))
    assert session.one(Submit)
    told(session, Reject(1, "full", "wait"))
    assert session.one(Answered).answer == Reject(1, "full", "wait")


def test_who_only_looks_on_does_not_have_the_master_take_the_results_for_safe(
    session: SessionBench,
) -> None:
    joined(session).do(Follow("j1", keeps=False))
    assert session.one(Fetch)
    told(session, chunk(0), Ended(1, 1, info()))
    assert session.one(Arrived)
    assert session.one(Over)
    assert session.one(Taken) == Taken("j1", False)


def test_on_a_new_connection_everything_is_said_again(session: SessionBench) -> None:
    following(session).do(Wish(70, Ask(0, About.STATUS)))
    assert session.one(Ask)
    told(session, Introduce())
    assert session.one(Hello)
    told(session, WELCOME)
    assert session.one(Turned) == Turned(True)
    assert session.one(Ask).request == 2
    assert session.one(Fetch) == Fetch(3, "j1", 0, CREDIT)


@pytest.mark.parametrize("answer", [Done(9, ()), Reject(9, "x", "y"), Reject(0, "x", "y"), Beat(0)])
def test_answers_that_nobody_waits_for_are_dropped(session: SessionBench, answer: Message) -> None:
    told(joined(session), answer)


# --- Chunks -------------------------------------------------------------------------------------


def test_chunks_arrive_in_their_order_and_each_once(session: SessionBench) -> None:
    told(following(session), chunk(0), chunk(0), chunk(2), chunk(1))
    arrived = session.take(Arrived)
    assert [a.outcomes[0].index for a in arrived] == [0, 1]
    assert (arrived[0].job, arrived[0].slave) == ("j1", "s1")


def test_the_pixels_come_with_their_outcomes(session: SessionBench) -> None:
    following(session).do(Received(chunk(0), [b"pixels"]))
    assert session.one(Arrived).buffers == [b"pixels"]


def test_more_credit_is_given_when_half_of_it_is_used_under_the_same_number(
    session: SessionBench,
) -> None:
    following(session)
    for cursor in range(CREDIT // 2 - 1):
        told(session, chunk(cursor))
    assert len(session.take(Arrived)) == CREDIT // 2 - 1
    assert not session.unseen
    told(session, chunk(CREDIT // 2 - 1))
    assert session.one(Arrived)
    assert session.one(Fetch) == Fetch(1, "j1", CREDIT // 2, CREDIT)


def test_a_gap_is_filled_by_asking_again_under_a_new_number(session: SessionBench) -> None:
    told(following(session), chunk(0), chunk(2))
    assert session.one(Arrived)
    tick(session, RESEND_S)
    assert session.one(Fetch) == Fetch(2, "j1", 1, CREDIT)


def test_the_end_counts_when_all_chunks_are_here(session: SessionBench) -> None:
    told(following(session), Ended(1, 1, info()))
    assert not session.unseen, "the chunk was lost; it is asked for again"
    told(session, chunk(0), Ended(1, 1, info()), Ended(1, 1, info()))
    assert session.one(Arrived)
    assert session.one(Over) == Over("j1", info())
    assert session.one(Taken) == Taken("j1", True)
    tick(session, RESEND_S)
    assert not session.unseen


def test_a_job_that_the_master_has_forgotten_is_gone(session: SessionBench) -> None:
    told(following(session), Reject(1, "unknown job", "not known here"))
    assert session.one(Gone) == Gone("j1", "not known here")
    assert not session.core.followed


def test_who_has_lost_interest_is_told_nothing_more(session: SessionBench) -> None:
    following(session).do(Unfollow("j1"), Unfollow("j9"))
    assert session.one(Taken) == Taken("j1", False), "what was sent must not count for ever"
    told(session, chunk(0), Ended(1, 1, info()))
    tick(session, RESEND_S)
    assert not session.unseen


# --- Both sides ---------------------------------------------------------------------------------


def test_every_chunk_travels_once_however_many_there_are(
    world: World, session: SessionBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "chunk_credit", 6)
    chunks = 3 * 6 + 5
    peer, job = world.slave(slots=8), world.submit(chunks)
    while world.job(job).waiting:
        for _, lease in world.place():
            world.finish(peer, lease, 1.0)
    joined(session).do(Follow(job))
    to_master: list[Message] = [session.one(Fetch)]
    travelled = []
    while to_master:
        world.say(CLIENT, to_master.pop(0))
        for action in world.take(object):
            if isinstance(action, actions.Deliver):
                travelled.append(action.cursor)
                told(session, chunk(action.cursor))
            elif isinstance(action, actions.Send):
                told(session, action.message)
        to_master += [send.message for send in session.take(Send)]
    assert travelled == list(range(chunks))
    assert len(session.take(Arrived)) == chunks
    assert session.one(Over).job == job


def test_the_status_is_asked_and_answered(world: World, session: SessionBench) -> None:
    world.client()
    joined(session).do(Wish(70, Ask(0, About.STATUS)))
    world.say(CLIENT, session.one(Ask))
    told(session, world.one(ClusterAnswer, CLIENT))
    answer = session.one(Answered).answer
    assert isinstance(answer, ClusterAnswer)
    assert answer.info.clients == 1
