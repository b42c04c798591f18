"""The client as a pure state machine: requests that are repeated until answered, results that
are fetched chunk by chunk.

Rules:

1. It has no clock, no socket and no thread. `now` is seconds on any clock that only grows.
2. Every request may be said twice: a submit by its uid, a fetch by its cursor, a question anyway.
   So whatever is not answered in time is said again, on the connection there is.
3. Chunks are taken in their order, each once; a gap is filled by asking again from there.
4. `credit` bounds what is on its way: a reader that is slow is sent nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import assert_never

from hpczmq import limits
from hpczmq.membership import Due, Membership
from hpczmq.messages import (
    Ask,
    Cancel,
    Chunk,
    Drain,
    Ended,
    Fetch,
    Goodbye,
    Heartbeat,
    Hello,
    Introduce,
    Message,
    Ping,
    Reject,
    SetPolicy,
    Submit,
    Submitted,
    Taken,
    Welcome,
)
from hpczmq.model import NO_QUEUE, JobInfo, Metrics, Outcome, Role

Buffer = bytes | bytearray | memoryview
#: A message that carries a `request` and waits for its answer.
Request = Submit | Ask | Cancel | SetPolicy | Drain | Ping


# --- Events -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """A message arrived from the master."""

    message: Message
    buffers: Sequence[Buffer] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """The user asks for something. The session numbers the request; `token` names the wish."""

    token: int
    request: Request


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The user does not wait for the answer to a wish any more. A job that is accepted all the
    same is cancelled, for nobody would know of it.
    """

    token: int


@dataclass(frozen=True, slots=True)
class Follow:
    """The user wants the results of a job, from the first on. Who does not keep them only looks:
    then the master must not take them for safe."""

    job: str
    keeps: bool = True


@dataclass(frozen=True, slots=True)
class Unfollow:
    """The user has lost interest in the results of a job."""

    job: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The user closes the client."""


Event = Received | Wish | GiveUp | Follow | Unfollow | Tick | Stop


# --- Actions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send to the master, without waiting."""

    message: Message


@dataclass(frozen=True, slots=True)
class Answered:
    """A wish has its answer; a `Reject` is one too."""

    token: int
    answer: Message


@dataclass(frozen=True, slots=True)
class Arrived:
    """The next outcomes of a followed job."""

    job: str
    slave: str
    outcomes: Sequence[Outcome]
    buffers: Sequence[Buffer]


@dataclass(frozen=True, slots=True)
class Over:
    """A followed job has ended, and all its outcomes have arrived."""

    job: str
    info: JobInfo


@dataclass(frozen=True, slots=True)
class Gone:
    """The master does not know a followed job (any more)."""

    job: str
    reason: str


@dataclass(frozen=True, slots=True)
class Turned:
    """The master is here (joined), or does not take us (why)."""

    joined: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Warned:
    """The master complains of this client, and goes on with it."""

    reason: str


Action = Send | Answered | Arrived | Over | Gone | Turned | Warned


@dataclass(slots=True)
class Pending:
    """A request without an answer."""

    token: int
    request: Request
    #: When it was last sent; −inf if it never was.
    sent_s: float = -inf
    #: Whether nobody waits for the answer.
    given_up: bool = False


@dataclass(slots=True)
class Followed:
    """A job whose chunks are wanted."""

    #: Whether they are kept here.
    keeps: bool = True
    #: The next chunk that is wanted, and the first one that was not asked for yet.
    cursor: int = 0
    asked: int = 0
    #: Bytes of chunks that have arrived since the last fetch.
    unsaid_bytes: int = 0
    #: Number of the last fetch, and when it was sent or answered last.
    request: int = 0
    sent_s: float = -inf


class Session:
    """The client's core."""

    def __init__(self, name: str, instance: bytes, *, protocol: int, software: str = "") -> None:
        self._hello = Hello(Role.CLIENT, name, instance, protocol, software)
        self.membership = Membership(ping_s=inf)
        self.requests = 0
        #: By request number.
        self.pending: dict[int, Pending] = {}
        #: By job id.
        self.followed: dict[str, Followed] = {}
        #: Bytes of chunks, of all of them, of which the master does not know that they are here;
        #: and since when.
        self.unsaid_bytes = 0
        self.unsaid_s = -inf
        self._actions: list[Action] = []

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event in; give back what is to be done, in order."""
        self._actions = []
        match event:
            case Received():
                self._received(event, now)
            case Wish(token, request):
                self._ask(request, token)
                self._tick(now)
            case GiveUp(token):
                self._give_up(token)
            case Follow(job, keeps):
                self.followed.setdefault(job, Followed(keeps))
                self._tick(now)
            case Unfollow(job):
                if self._forget(job) is not None:
                    self._actions.append(Send(Taken(job, False, self._queue)))
            case Tick():
                self._tick(now)
            case Stop():
                self._actions.append(Send(Goodbye("closed")))
            case _:
                assert_never(event)
        return self._actions

    def _received(self, event: Received, now: float) -> None:
        message, before = event.message, self.membership.refused
        joined = self.membership.heard(message, now)
        if isinstance(message, Welcome) and self.membership.another_queue:
            self._start_over()
        if joined:
            if self.membership.fresh:
                self._forget_sent()
            self._actions.append(Turned(True))
        elif self.membership.refused and self.membership.refused != before:
            self._actions.append(Turned(False, self.membership.refused))
        match message:
            case Introduce():
                self._forget_sent()
            case Chunk():
                self._chunk(message, event.buffers, now)
            case Ended(info=info):
                followed = self.followed.get(info.id)
                if followed is not None and followed.cursor >= message.chunks:
                    self._forget(info.id)
                    self._actions.append(Over(info.id, info))
                    self._actions.append(Send(Taken(info.id, followed.keeps, self._queue)))
            case Reject(0, "backlog", reason):
                self._actions.append(Warned(reason))
                for followed in self.followed.values():
                    followed.sent_s = -inf
            case Reject(request=number) if number not in self.pending:
                for job, followed in list(self.followed.items()):
                    if number and followed.request == number:
                        self._forget(job)
                        self._actions.append(Gone(job, message.reason))
            case _:
                pending = self.pending.pop(getattr(message, "request", 0), None)
                if pending is not None and not pending.given_up:
                    self._actions.append(Answered(pending.token, message))
                elif pending is not None and isinstance(message, Submitted):
                    self._ask(Cancel(0, (message.job,)), given_up=True)
        self._tick(now)

    @property
    def _queue(self) -> bytes:
        """The queue whose jobs are known here."""
        welcome = self.membership.welcome
        return NO_QUEUE if welcome is None else welcome.queue

    def _forget(self, job: str) -> Followed | None:
        followed = self.followed.pop(job, None)
        if followed is not None:
            self.unsaid_bytes -= followed.unsaid_bytes
        return followed

    def _ask(self, request: Request, token: int = 0, *, given_up: bool = False) -> None:
        self.requests += 1
        wish = replace(request, request=self.requests)
        if isinstance(wish, Cancel):
            wish = replace(wish, queue=self._queue)
        self.pending[self.requests] = Pending(token, wish, given_up=given_up)

    def _give_up(self, token: int) -> None:
        for number, pending in list(self.pending.items()):
            if pending.token == token:
                pending.given_up = True
                if not isinstance(pending.request, Submit) or pending.sent_s == -inf:
                    del self.pending[number]

    def _start_over(self) -> None:
        """The master has another queue than before: the jobs of the older one are no more."""
        why = "the master was started anew, without its jobs"
        self._actions += [Gone(job, why) for job in self.followed]
        self.followed.clear()
        self.unsaid_bytes = 0
        # By now another job may have the name of one that was to be ended.
        for number, pending in list(self.pending.items()):
            if isinstance(pending.request, Cancel):
                del self.pending[number]
                if not pending.given_up:
                    refusal = Reject(number, "unknown job", why)
                    self._actions.append(Answered(pending.token, refusal))

    def _forget_sent(self) -> None:
        """On a new connection everything has to be said again."""
        for pending in self.pending.values():
            pending.sent_s = -inf
        for followed in self.followed.values():
            followed.sent_s = -inf

    def _chunk(self, chunk: Chunk, buffers: Sequence[Buffer], now: float) -> None:
        followed = self.followed.get(chunk.job)
        if followed is None or chunk.cursor != followed.cursor:
            return  # had it, or one before it was lost: the next fetch asks from there
        followed.cursor += 1
        followed.sent_s = now
        chunk_bytes = sum([len(o.value) for o in chunk.outcomes]) + sum(map(len, buffers))
        if not self.unsaid_bytes:
            self.unsaid_s = now
        followed.unsaid_bytes += chunk_bytes
        self.unsaid_bytes += chunk_bytes
        self._actions.append(Arrived(chunk.job, chunk.slave, chunk.outcomes, buffers))
        if self.unsaid_bytes >= limits.client_backlog_bytes_max // 4:
            self._tell(now)
        elif followed.asked - followed.cursor <= limits.chunk_credit // 2:
            self._fetch(chunk.job, followed, now)

    def _tell(self, now: float) -> None:
        """Tell the master all that has arrived: so much more it may send."""
        for job, followed in self.followed.items():
            if followed.unsaid_bytes:
                self._fetch(job, followed, now)

    def _fetch(self, job: str, followed: Followed, now: float, *, again: bool = False) -> None:
        """Give more credit; or, with `again`, ask anew, for something may have been lost."""
        if again:
            self.requests += 1
            followed.request = self.requests
        followed.sent_s = now
        self.unsaid_bytes -= followed.unsaid_bytes
        followed.unsaid_bytes = 0
        followed.asked = followed.cursor + limits.chunk_credit
        fetch = Fetch(followed.request, job, followed.cursor, limits.chunk_credit, self._queue)
        self._actions.append(Send(fetch))

    def _tick(self, now: float) -> None:
        match self.membership.due(now):
            case Due.HELLO:
                self._actions.append(Send(self._hello))
            case Due.BEAT:
                beat = self.membership
                heartbeat = Heartbeat(beat.sequence, Metrics(), (), beat.generation)
                self._actions.append(Send(heartbeat))
            case Due.NOTHING | Due.PING:
                pass
        if not self.membership.joined:
            return
        late_s = now - limits.resend_heartbeats * self.membership.heartbeat_s
        for pending in self.pending.values():
            if pending.sent_s <= late_s:
                pending.sent_s = now
                if isinstance(pending.request, Cancel) and pending.request.queue == NO_QUEUE:
                    pending.request = replace(pending.request, queue=self._queue)
                self._actions.append(Send(pending.request))
        for job, followed in self.followed.items():
            if followed.sent_s <= late_s:
                self._fetch(job, followed, now, again=True)
        if self.unsaid_bytes and now - self.unsaid_s >= limits.tick_s:
            self._tell(now)
