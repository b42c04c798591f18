"""A simulated client: the real `Session`, and a user who wants things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from hpczmq.messages import PROTOCOL, Cancel, Done, Message, Reject, Submitted
from hpczmq.model import JobInfo, JobState, Outcome
from hpczmq.session import (
    Action,
    Answered,
    Arrived,
    Event,
    Follow,
    GiveUp,
    Gone,
    Over,
    Received,
    Request,
    Send,
    Session,
    Stop,
    Tick,
    Turned,
    Unfollow,
    Warned,
    Wish,
)
from hpczmq.simulation.network import Dealer
from hpczmq.simulation.node import Node, Setting
from hpczmq.simulation.work import Fate, SimJob, paired
from hpczmq.wire import Buffer


@dataclass(slots=True)
class Order:
    """One job, from the side of who wants it."""

    job: SimJob
    uid: bytes
    #: The master's name for it, empty until it has answered; and in which queue that is.
    id: str = ""
    queue: bytes = b""
    refused: str = ""
    #: Whether it was ended when the user asked for that.
    cancelled: bool = False
    #: The wish to submit it, and whether the user has waited long enough for the answer.
    token: int = 0
    given_up: str = ""
    #: Whether the user has lost interest for a while.
    looked_away: bool = False
    #: What has arrived so far.
    got: dict[int, Outcome] = field(default_factory=dict)
    info: JobInfo | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more is to be expected."""
        return self.info is not None or bool(self.refused)

    def take(self, outcomes: Sequence[Outcome], buffers: Sequence[Buffer]) -> None:
        """The next outcomes."""
        assert self.info is None, f"{self.id} goes on after its end"
        for outcome, buffer in paired(list(outcomes), [bytes(buffer) for buffer in buffers]):
            assert outcome.index not in self.got, f"{self.id}/{outcome.index} arrives twice"
            assert self.job.fits(outcome, buffer), f"{self.id}/{outcome.index}: {outcome}"
            self.got[outcome.index] = outcome

    def check(self, may_be_cancelled: bool) -> None:
        """Whether it came out as it had to."""
        job, info = self.job, self.info
        if self.given_up:
            assert not self.id, f"{self.id} was accepted, and nobody waited for it"
            return
        if not job.valid:
            assert self.refused, f"job {job.number} was not refused"
            return
        assert info is not None, f"{self.id} has no end"
        done = sum(outcome.status.good for outcome in self.got.values())
        assert (info.tasks, info.done) == (job.tasks, done), f"{done} of {job} are here: {info}"
        if info.state is JobState.CANCELLED:
            assert may_be_cancelled, f"{self.id} was cancelled by nobody"
            assert info.cause, f"{self.id} does not say who has cancelled it"
            return
        assert not self.cancelled, f"{self.id} was cancelled, and is {info.state.name}"
        fine = (Fate.GOOD, Fate.FLAKY)
        bad = {index: fate for index, fate in job.fates.items() if fate not in fine}
        assert info.state is (JobState.FAILED if bad else JobState.DONE), f"{info}"
        assert bool(info.cause) == bool(bad), f"the cause is {info.cause!r}"
        if job.is_map or not bad:
            assert set(self.got) == set(range(job.tasks)), f"{self.id} is not whole"


class ClientNode(Node):
    """One client, and its orders. They outlive its processes: a new one goes on with them."""

    def __init__(self, setting: Setting, name: str) -> None:
        super().__init__(setting, name)
        self.orders: list[Order] = []
        #: Wishes that were granted or refused, by kind of the answer.
        self.answers: list[Message] = []
        self._tokens: dict[int, Callable[[Message], None]] = {}
        self._made = 0
        #: What the master complained of.
        self.warnings: list[str] = []
        #: Whether this process has not met the master yet.
        self._new = True

    def start(self) -> None:
        """Start as a new process, and go on with what is not over."""
        self.born()
        self.core = Session(self.name, self.rng.randbytes(16), protocol=PROTOCOL)
        self.dealer = Dealer(self.setting.network, self.name, self.post, self._read)
        self._tokens = {}
        self._new = True

    def _resume(self) -> None:
        """A new process has met the master: it goes on with what the older one has left."""
        self._new = False
        for order in self.orders:
            if order.id and order.queue != self._queue and not order.over:
                self._begin_anew(order)
            elif order.id and not order.over:
                self._follow(order)
            elif not order.over:
                self._submit(order)

    def crash(self) -> None:
        """Be gone; what has arrived is gone as well."""
        if self.alive:
            self.trace(self.name, "crashes")
            self.died()
            self.dealer.close()

    def stop(self) -> None:
        """Close the client, politely."""

        def stopped() -> None:
            self.handle(Stop())
            self.died()
            self.dealer.close(linger_s=1.0)

        self.post(stopped)

    def tick(self) -> None:
        """Look at the clock."""
        self.handle(Tick())

    def handle(self, event: Event) -> None:
        """Give an event to the core, and perform what it asks for."""
        for action in self.core.handle(event, self.now):
            self._perform(action)

    # --- What the user does -------------------------------------------------------------------

    def order(self, job: SimJob) -> Order:
        """Want a job: now, or once there is a process again."""
        order = Order(job, self.rng.randbytes(16))
        self.orders.append(order)
        self.trace(self.name, "orders", job)
        if not self._new:
            self.post(lambda: self._submit(order))
        return order

    def attach(self, other: Order) -> None:
        """Want the results of somebody else's job, too."""

        def attached() -> None:
            order = Order(other.job, other.uid, other.id, other.queue)
            if self._means(order) and all(order.id != mine.id for mine in self.orders):
                self.orders.append(order)
                self._follow(order)

        self.post(attached)

    def cancel(self, order: Order) -> None:
        """Want a job's end, if its id is known by now."""

        def answered(answer: Message) -> None:
            order.cancelled |= isinstance(answer, Done) and order.id in answer.names

        def wish() -> None:
            if self._means(order):
                self.setting.cancels.add((order.queue, order.id))
                self.ask(Cancel(0, (order.id,)), answered)

        self.post(wish)

    def give_up(self, order: Order) -> None:
        """Wait no longer for a job to be accepted."""

        def given_up() -> None:
            if not order.id and not order.over and order.token in self._tokens:
                self._tokens[order.token] = _nobody_waits
                self.handle(GiveUp(order.token))
                order.refused = order.given_up = "given up"

        self.post(given_up)

    def look_away(self, order: Order) -> None:
        """Lose interest in a job, and find it again."""

        def again() -> None:
            if self._means(order) and not order.over:
                order.looked_away = True
                self.handle(Unfollow(order.id))
                self._follow(order)

        self.post(again)

    def ask(self, request: Request, then: Callable[[Message], None] | None = None) -> int:
        """Ask for something; gives back the wish's number."""
        self._made += 1
        token = self._made

        def wish() -> None:
            self._tokens[token] = then or self.answers.append
            self.handle(Wish(token, request))

        self.post(wish)
        return token

    def _submit(self, order: Order) -> None:
        if order.id or order.refused:
            return  # a process before this one has had the answer

        def answered(answer: Message) -> None:
            if isinstance(answer, Submitted):
                assert answer.tasks == order.job.tasks
                order.id, order.queue = answer.job, self._queue
                self._follow(order)
            else:
                assert isinstance(answer, Reject), f"{answer} to a submit"
                order.refused = answer.reason

        order.token = self.ask(order.job.submit(order.uid), answered)

    def _begin_anew(self, order: Order) -> None:
        """The master has lost the job: what else could one do?"""
        fates = order.job.fates
        order.job.fates = {i: fate for i, fate in fates.items() if fate is not Fate.UNLUCKY}
        order.id, order.got, order.uid = "", {}, self.rng.randbytes(16)
        order.cancelled = False
        self._submit(order)

    @property
    def _queue(self) -> bytes:
        """The queue that is known here."""
        welcome = self.core.membership.welcome
        return b"" if welcome is None else welcome.queue

    def _means(self, order: Order) -> bool:
        """Whether the order's id names its job here: in another queue it is another job's, and a
        process that has not met the master yet cannot know.
        """
        return bool(order.id) and order.queue == self._queue

    def _follow(self, order: Order) -> None:
        order.got = {}
        self.handle(Follow(order.id))

    # --- What the core does -------------------------------------------------------------------

    def _read(self, message: Message, buffers: Sequence[Buffer]) -> None:
        self.handle(Received(message, buffers))

    def _perform(self, action: Action) -> None:
        match action:
            case Send(message):
                self.dealer.send(message)
            case Answered(token, answer):
                self._tokens.pop(token)(answer)
            case Arrived(job, _, outcomes, buffers):
                self._order(job).take(outcomes, buffers)
            case Over(job, info):
                self.trace(self.name, "has all of", job, info.state.name)
                self._order(job).info = info
            case Gone(job, reason):
                order = self._order(job)
                if order.queue == self._queue:
                    order.refused = reason
                else:
                    self._begin_anew(order)
            case Turned(joined, why):
                self.trace(self.name, "joined" if joined else f"refused: {why}")
                if joined and self._new:
                    self._resume()
            case Warned(reason):
                self.warnings.append(reason)
            case _:
                assert_never(action)

    def _order(self, id: str) -> Order:
        (order,) = [order for order in self.orders if order.id == id and not order.over]
        return order


def _nobody_waits(answer: Message) -> None:
    raise AssertionError(f"{answer} comes, and was given up")
