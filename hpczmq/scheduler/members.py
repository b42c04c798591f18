"""Who is here: slaves, clients and memorias that join, beat, fall silent, leave and come back."""

from __future__ import annotations

from collections.abc import Sequence

from hpczmq import limits
from hpczmq.alerts import Watcher
from hpczmq.happened import SpanEnd
from hpczmq.identity import KeyRole, Member, fingerprint
from hpczmq.messages import Access, Beat, Heartbeat, Hello, Reject, Report, Revoke, Sample, Welcome
from hpczmq.model import Outcome, Role, SlaveState, Status
from hpczmq.scheduler import attempts, chronicle, delivery, ledger, outcomes, pulse, spans
from hpczmq.scheduler.actions import Publish, Send
from hpczmq.scheduler.answers import fits
from hpczmq.scheduler.jobs import Lease
from hpczmq.scheduler.state import ClientRecord, ClusterState, SlaveRecord
from hpczmq.scheduler.states import SLAVE_MOVES, check

#: A slave that is late by this many heartbeats is asked for a sign of life: if its connection is
#: gone, the answer is known at once, long before the silence alone would tell.
_PROBE_HEARTBEATS = 1.25


def join_slave(state: ClusterState, peer: bytes, who: Member, hello: Hello, now: float) -> None:
    """Take in a slave, or one that is known on the connection that it has now."""
    slave = state.slaves.get(hello.instance)
    if slave is None and len(state.slaves) >= limits.slaves_max:
        _full(state, peer, f"{limits.slaves_max} slaves are here")
        return
    if slave is None:
        slots = max(1, hello.slots)  # a process has as many for life
        slave = SlaveRecord(
            hello.instance, None, hello.name, hello.address, slots, frozenset(), now
        )
        slave.memory_bytes, slave.labels = hello.memory_bytes, frozenset(hello.labels)
        slave.who, slave.software = who, hello.software
        state.slaves[hello.instance] = slave
        said = f"slave {hello.name} joined with {slots} slots"
        if hello.software != state.software and state.software:
            said += f"; it runs {hello.software or 'what it does not say'}, not {state.software}"
        chronicle.note(state, "slave", said, node=hello.name)
    moved = slave.peer != peer
    if slave.peer is not None:
        state.peers.pop(slave.peer, None)
    displaced = state.peers.get(peer)
    if displaced is not None:
        cut_off(state, state.slaves[displaced], "its connection speaks for another process", now)
    leave(state, peer)
    slave.peer, slave.name, slave.address = peer, hello.name, _reached(hello.address, who)
    slave.capabilities = frozenset(hello.capabilities)
    state.peers[peer] = hello.instance
    heard(state, slave, now)
    # What was under way on an older connection never arrived.
    reconcile(state, slave, hello.leases, now if moved else now - _grace(state))
    _welcome(state, peer, who, moved)


def join_client(state: ClusterState, peer: bytes, who: Member, hello: Hello, now: float) -> None:
    """Take in a client or a memoria."""
    if peer in state.peers:
        cut_off(state, state.slaves[state.peers[peer]], "its connection became a client's", now)
    fresh = peer not in state.clients
    if fresh and len(state.clients) >= limits.clients_max and not _made_room(state, now):
        _full(state, peer, f"{limits.clients_max} clients are connected")
        return
    known = state.clients.setdefault(peer, ClientRecord(hello.name, hello.instance, now))
    known.address = _reached(hello.address, who) if hello.role is Role.MEMORIA else ""
    known.heard_s, known.who = now, who
    _welcome(state, peer, who, fresh)
    if hello.instance in state.cut_off:
        why = state.cut_off.pop(hello.instance)
        state.actions.append(Send(peer, Reject(0, "backlog", why[: limits.text_chars_max])))


def _made_room(state: ClusterState, now: float) -> bool:
    """Make room by forgetting the clients that don't beat; they would say hello again. Whether
    there is room now. All of them are looked at, and so only once a heartbeat.
    """
    if now - state.cleared_s < state.heartbeat_s:
        return False
    state.cleared_s = now
    late_s = now - limits.lost_heartbeats * state.heartbeat_s
    for peer in [peer for peer, client in state.clients.items() if client.heard_s < late_s]:
        leave(state, peer)
    return len(state.clients) < limits.clients_max


def _full(state: ClusterState, peer: bytes, what: str) -> None:
    """Refuse a node for which there is no room."""
    state.quota.count("full")
    state.actions.append(Send(peer, Reject(0, "full", f"{what}: try later, or end some")))


def _welcome(state: ClusterState, peer: bytes, who: Member, fresh: bool) -> None:
    welcome = Welcome(
        state.cluster,
        state.queue,
        fresh,
        state.epoch,
        state.heartbeat_s,
        state.control_port,
        state.control,
    )
    state.actions.append(Send(peer, welcome))
    tell_access(state, peer, who)


def tell_access(state: ClusterState, peer: bytes, who: Member) -> None:
    """Tell a member what it has to know of keys, if they are asked for."""
    access = state.access
    if access is not None:
        asked = who.role in (KeyRole.SLAVE, KeyRole.MEMORIA)
        state.actions.append(Send(peer, access if asked else Access((), access.next_key)))


def _reached(address: str, who: Member) -> str:
    """Where a node answers, with the key that it answers by: its own, whatever it says."""
    bare = address.partition("#")[0]
    return f"{bare}#{fingerprint(who.key)}" if bare and who.key else bare


def heard(state: ClusterState, slave: SlaveRecord, now: float) -> None:
    """A slave gave a sign of life."""
    slave.heard_s = now
    attempts.forgive(state, slave)
    if slave.state is not slave.rest:
        _move(slave, slave.rest)
    ledger.mark_free(state, slave)


def heartbeat(
    state: ClusterState, slave: SlaveRecord, peer: bytes, beat: Heartbeat, now: float
) -> None:
    """A slave says how it is and what it holds."""
    slave.metrics, slave.generation = beat.metrics, beat.generation
    _watch(state, slave, now)
    if beat.draining and slave.rest is not SlaveState.DRAINING:
        close(state, slave, SlaveState.DRAINING, "is about to end", slave.heard_s)
    reconcile(state, slave, beat.leases, now - _grace(state))
    state.actions.append(Send(peer, Beat(beat.sequence)))
    if beat.generation < state.control.generation:
        state.actions.append(Send(peer, state.control))
    state.actions.append(Publish(Sample(slave.name, slave.instance, beat.metrics)))


def _watch(state: ClusterState, slave: SlaveRecord, now: float) -> None:
    """Look at a slave's newest metrics by the rules of `alerts`. Under a saturation alert it gets
    nothing new until that clears; what others than its own tasks cause is what counts.
    """
    if not slave.watchers:
        rules = [rule for rule in state.rules if rule.saturation]
        slave.watchers = [Watcher(rule, slave.name) for rule in rules]
    slave.readings.take(slave.metrics, now)
    for watcher in slave.watchers:
        watcher.sample(slave.readings.value(watcher.rule.metric), now)
    alerts = [watcher.alert(now) for watcher in slave.watchers if watcher.rule.saturation]
    texts = [alert.text for alert in alerts if alert is not None]
    before, after = slave.saturated, "; ".join(texts) if state.spares_saturated else ""
    slave.saturated = after
    if bool(before) != bool(after) and not slave.reason:  # else nothing changes by this
        said = f"gets nothing new until this clears: {after}" if after else "gets work again"
        chronicle.note(state, "slave", f"slave {slave.name} {said}", node=slave.name)
    ledger.mark_free(state, slave)


def reconcile(
    state: ClusterState, slave: SlaveRecord, held: tuple[int, ...], before: float
) -> None:
    """Bring the books in line with the leases that a slave says it holds.

    A lease sent after `before` may still be under way to it, and is left alone.
    """
    named = set(held)
    for lease in [le for le in slave.leases.values() if le.id not in named]:
        if lease.sent_s <= before:
            said = f"lease {lease.id} never reached {slave.name}"
            chronicle.note(state, "lease", said, node=slave.name, job=lease.job)
            ledger.give_back(state, lease, slave.heard_s)
    unknown = tuple(id for id in held if id not in slave.leases)
    if unknown and slave.peer is not None:
        state.actions.append(Send(slave.peer, Revoke(unknown)))


def take_back(state: ClusterState, slave: SlaveRecord, leases: tuple[int, ...], now: float) -> None:
    """A slave hands leases back: it is about to end."""
    for lease in [slave.leases[id] for id in dict.fromkeys(leases) if id in slave.leases]:
        ledger.give_back(state, lease, now)


def judge(state: ClusterState, now: float) -> None:
    """Quarantine those of the slaves that just got a strike on which too much fails, unless one
    of them is the last that is ready with something that it offers, or that a job needs.
    """
    for instance in sorted(state.struck):
        slave = state.slaves[instance]
        while now - slave.strikes[0] > limits.quarantine_window_s:
            slave.strikes.popleft()
        strikes = len(slave.strikes)
        guilty = strikes >= limits.quarantine_limit and strikes > slave.good
        if guilty and slave.rest is SlaveState.READY and _can_be_missed(state, slave):
            window_s, good = limits.quarantine_window_s, slave.good
            reason = f"{strikes} tasks failed here in {window_s:.0f} s that succeeded elsewhere"
            close(state, slave, SlaveState.QUARANTINED, f"{reason}, {good} did not", now)
    state.struck.clear()


def _can_be_missed(state: ClusterState, slave: SlaveRecord) -> bool:
    """Whether others offer what a slave does, and have what the open jobs need that it serves."""
    others = [s for s in state.slaves.values() if s is not slave and s.state is SlaveState.READY]
    if not slave.capabilities <= {what for other in others for what in other.capabilities}:
        return False
    jobs = (job for job in state.jobs.values() if not job.state.ended and fits(slave, job))
    demands = {job.demand: job for job in jobs}
    return all(any(fits(other, job) for other in others) for job in demands.values())


def _probation(state: ClusterState, slave: SlaveRecord, now: float) -> None:
    """Let a slave back whose quarantine has lasted long enough; one more strike will do."""
    over = now - slave.closed_s >= limits.probation_s
    if slave.rest is SlaveState.QUARANTINED and over:
        open_again(state, slave)
        slave.strikes.extend([now] * (limits.quarantine_limit - 1))


def close(
    state: ClusterState, slave: SlaveRecord, new: SlaveState, reason: str, now: float
) -> None:
    """Give a slave nothing new until it is opened again; what it has it may end."""
    said = f"slave {slave.name} gets nothing new: {reason}"
    chronicle.note(state, "slave", said, node=slave.name)
    slave.closed_s = now
    _rest(state, slave, new, reason)


def open_again(state: ClusterState, slave: SlaveRecord) -> None:
    """Give a slave work again, and forget what it was closed for."""
    slave.strikes.clear()
    slave.good = 0
    chronicle.note(state, "slave", f"slave {slave.name} gets work again", node=slave.name)
    _rest(state, slave, SlaveState.READY, "")


def _rest(state: ClusterState, slave: SlaveRecord, new: SlaveState, reason: str) -> None:
    heard, slave.rest, slave.reason = slave.state is slave.rest, new, reason
    if heard and slave.state is not new:
        _move(slave, new)
    ledger.mark_free(state, slave)


def _grace(state: ClusterState) -> float:
    return limits.resend_heartbeats * state.heartbeat_s


def lose(state: ClusterState, slave: SlaveRecord, why: str, now: float) -> None:
    """Give up a slave: its tasks go elsewhere at once. What it still reports, perhaps a large
    result that was in the way of its heartbeats, is welcome on the connection that it has.
    """
    if slave.state.gone:
        return
    running = attempts.suspects(slave)
    _give_up(state, slave, SlaveState.LOST, f"is lost ({why})", now, running)


def cut_off(state: ClusterState, slave: SlaveRecord, why: str, now: float) -> None:
    """Give up a slave whose connection is gone: it has to say hello on another one."""
    lose(state, slave, why, now)
    _disconnect(state, slave)


def part(state: ClusterState, slave: SlaveRecord, why: str, now: float) -> None:
    """A slave said goodbye."""
    _give_up(state, slave, SlaveState.LEFT, f"left ({why})", now)
    _disconnect(state, slave)


def _give_up(
    state: ClusterState,
    slave: SlaveRecord,
    new: SlaveState,
    how: str,
    now: float,
    blamed: Sequence[Lease] = (),
) -> None:
    _move(slave, new)
    if new is SlaveState.LOST:
        pulse.lost(state, slave.name, now)
    said = f"slave {slave.name} {how}, {len(slave.leases)} leases"
    chronicle.note(state, "slave", said, node=slave.name)
    ledger.mark_free(state, slave)
    for lease in blamed:
        if lease.id in slave.leases:  # else its job has just ended, by another of them
            _blame(state, slave, lease, f"slave {slave.name} {how}", now)
    for lease in list(slave.leases.values()):
        ledger.give_back(state, lease, now)


def _blame(state: ClusterState, slave: SlaveRecord, lease: Lease, how: str, now: float) -> None:
    """Count the loss of a slave against what it was running, as if it had said so itself."""
    job = state.jobs[lease.job]
    blamed = [i for i in sorted(lease.open) if attempts.is_blamed(job, i, lease.id)]
    attempts.blame(job, slave, lease, blamed)
    spans.cut(state, lease, blamed, SpanEnd.LOST, now)
    crashes = [Outcome(i, Status.CRASH, now - lease.sent_s, how.encode()) for i in blamed]
    report = Report(0, lease.id, lease.job, tuple(crashes))
    outcomes.accept(state, slave, report, (), now)


def _disconnect(state: ClusterState, slave: SlaveRecord) -> None:
    if slave.peer is not None:
        state.peers.pop(slave.peer, None)
        slave.peer = None


def unreachable(state: ClusterState, peer: bytes, now: float) -> None:
    """A connection is gone."""
    instance = state.peers.get(peer)
    if instance is not None:
        cut_off(state, state.slaves[instance], "its connection is gone", now)
    _tell_if_unread(state, peer, now)  # TCP has seen that it does not read, before us
    leave(state, peer)


def _tell_if_unread(state: ClusterState, peer: bytes, now: float) -> None:
    """Have a client that is about to be forgotten hear why, if it had stopped to read."""
    client = state.clients.get(peer)
    if client is not None and client.backlog_bytes:
        still_s = now - client.moved_s
        if still_s >= limits.connection_silent_s:
            delivery.cut_off(state, peer, f"nothing was read for {still_s:.0f} s")


def leave(state: ClusterState, peer: bytes) -> None:
    """Forget a client's connection and its wishes; its jobs go on."""
    client = state.clients.get(peer)
    if client is not None:
        for job in list(client.watches):
            delivery.drop_watch(state, peer, job)
        del state.clients[peer]


def tick(state: ClusterState, now: float) -> None:
    """Look at the clock: who is silent, who is lost, who can be forgotten."""
    beat_s = state.heartbeat_s
    _forget_lost(state)
    for slave in list(state.slaves.values()):
        _probation(state, slave, now)
        silent_s = now - slave.heard_s
        if slave.state.gone:
            if silent_s > limits.lost_shown_s:
                _forget(state, slave)
            continue
        # Of a master that stood still itself nobody was heard: all it missed comes in now, and
        # so a slave is lost only when its silence was seen for a heartbeat.
        seen = slave.state is SlaveState.SILENT and now - slave.doubted_s >= beat_s
        if seen and silent_s > limits.lost_heartbeats * beat_s:
            lose(state, slave, f"silent for {silent_s:.1f} s", now)
        elif silent_s > _PROBE_HEARTBEATS * beat_s and slave.peer is not None:
            if now - slave.probed_s >= beat_s / 2:
                slave.probed_s = now
                state.actions.append(Send(slave.peer, Beat(0)))
            if slave.state is slave.rest and silent_s > limits.silent_heartbeats * beat_s:
                _move(slave, SlaveState.SILENT)
                slave.doubted_s = now
                ledger.mark_free(state, slave)
    for peer, client in list(state.clients.items()):
        # A memoria beats like a slave; nobody should be sent to one that is gone.
        silent_s = limits.lost_heartbeats * beat_s if client.address else limits.client_silent_s
        if now - client.heard_s > silent_s:
            _tell_if_unread(state, peer, now)
            leave(state, peer)
    delivery.tick(state, now)
    if now - state.published_s >= beat_s:
        state.published_s = now
        state.actions.append(Publish(state.control))


def _forget_lost(state: ClusterState) -> None:
    """Of very many that are gone, as one stranger can make up, show the last ones only."""
    if len(state.slaves) > limits.lost_slaves_max:
        gone = [slave for slave in state.slaves.values() if slave.state.gone]
        for slave in gone[: max(0, len(gone) - limits.lost_slaves_max)]:
            _forget(state, slave)


def _forget(state: ClusterState, slave: SlaveRecord) -> None:
    _disconnect(state, slave)
    del state.slaves[slave.instance]


def _move(slave: SlaveRecord, new: SlaveState) -> None:
    check(SLAVE_MOVES, slave.state, new, f"slave {slave.name}")
    slave.state = new
