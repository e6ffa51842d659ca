"""The failover of a master, step by step, as the sentinel does it that was elected for it.

One failover at a time: its epoch is new, and each sentinel gives one vote per epoch, to the first that asks. The winner
needs a majority of all known sentinels, reachable or not, and the quorum. It promotes a replica, then points the others
at it, one after another, then makes it the master of its configuration. A failover that fails, or is not won, is tried
again after twice the failover timeout.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from taba.testing.redis.sentinel.instance import Instance, Reconfiguration
from taba.testing.redis.sentinel.monitored import Monitored, Step

if TYPE_CHECKING:
    from taba.testing.redis.sentinel.engine import SentinelEngine

ELECTION_TIMEOUT = 10.0  # seconds
DESYNCHRONISATION = 1.0  # seconds within which sentinels spread their attempts
RECONFIGURATION_TIMEOUT = 10.0  # seconds


def vote(engine: SentinelEngine, monitored: Monitored, epoch: int, candidate: str) -> tuple[str | None, int]:
    """Give this sentinel's vote in an epoch, if it is still to give; whom it voted for last, and in which epoch."""
    if epoch > engine.epoch:
        engine.new_epoch(epoch)
    if monitored.leader_epoch < epoch and engine.epoch <= epoch:
        monitored.leader, monitored.leader_epoch = candidate, engine.epoch
        engine.flush()
        engine.event("+vote-for-leader", f"{candidate} {epoch}")
        if candidate != engine.run_id:
            spread = engine.random.random() * DESYNCHRONISATION
            monitored.failover_started = engine.turns.seconds() + spread
    return monitored.leader, monitored.leader_epoch


def elected(engine: SentinelEngine, monitored: Monitored, epoch: int) -> str | None:
    """Who has won the election of an epoch, if anybody has."""
    votes = Counter(
        each.leader
        for each in monitored.sentinels.values()
        if each.leader is not None and each.leader_epoch == engine.epoch
    )
    favourite = max(sorted(votes), key=votes.__getitem__, default=None)
    mine, mine_epoch = vote(engine, monitored, epoch, favourite or engine.run_id)
    if mine is not None and mine_epoch == epoch:
        votes[mine] += 1
    winner = max(sorted(votes), key=votes.__getitem__, default=None)
    majority = (len(monitored.sentinels) + 1) // 2 + 1
    if winner is None or votes[winner] < max(majority, monitored.watch.quorum):
        return None
    return winner


def start(engine: SentinelEngine, monitored: Monitored) -> None:
    """Begin a failover in a new epoch."""
    now = engine.turns.seconds()
    engine.new_epoch(engine.epoch + 1)
    monitored.failover_epoch = engine.epoch
    monitored.go_to(Step.WAIT_START, now)
    monitored.failover_started = now + engine.random.random() * DESYNCHRONISATION
    engine.event("+try-failover", engine.described(monitored.master, monitored))


def start_if_needed(engine: SentinelEngine, monitored: Monitored) -> bool:
    """Begin a failover of a master that is objectively down, unless one was begun, or voted for, lately."""
    now, started = engine.turns.seconds(), monitored.failover_started
    if not monitored.objectively_down or monitored.step is not Step.NONE:
        return False
    if started is not None and now - started < 2 * monitored.watch.failover_timeout:
        return False
    start(engine, monitored)
    return True


def go_on(engine: SentinelEngine, monitored: Monitored) -> None:
    """Do what the present step of a failover asks for."""
    if monitored.step is Step.WAIT_START:
        _wait_start(engine, monitored)
    elif monitored.step is Step.SELECT:
        _select(engine, monitored)
    elif monitored.step is Step.SEND:
        _send(engine, monitored)
    elif monitored.step is Step.WAIT_PROMOTION:
        if engine.turns.seconds() - monitored.step_since > monitored.watch.failover_timeout:
            _abort(engine, monitored, "-failover-abort-slave-timeout")
    elif monitored.step is Step.RECONFIGURE:
        _reconfigure(engine, monitored)
    elif monitored.step is Step.UPDATE:
        _update(engine, monitored)


def _abort(engine: SentinelEngine, monitored: Monitored, why: str) -> None:
    engine.event(why, engine.described(monitored.master, monitored))
    monitored.end_failover(engine.turns.seconds())


def _wait_start(engine: SentinelEngine, monitored: Monitored) -> None:
    now = engine.turns.seconds()
    if not monitored.forced and elected(engine, monitored, monitored.failover_epoch) != engine.run_id:
        patience = min(ELECTION_TIMEOUT, monitored.watch.failover_timeout)
        if monitored.failover_started is None or now - monitored.failover_started > patience:
            _abort(engine, monitored, "-failover-abort-not-elected")
        return
    engine.event("+elected-leader", engine.described(monitored.master, monitored))
    monitored.go_to(Step.SELECT, now)


def _select(engine: SentinelEngine, monitored: Monitored) -> None:
    now = engine.turns.seconds()
    monitored.promoted = monitored.candidate(now)
    if monitored.promoted is None:
        _abort(engine, monitored, "-failover-abort-no-good-slave")
        return
    engine.event("+selected-slave", engine.described(monitored.promoted, monitored))
    monitored.go_to(Step.SEND, now)


def _send(engine: SentinelEngine, monitored: Monitored) -> None:
    now = engine.turns.seconds()
    assert monitored.promoted is not None
    if engine.point(monitored.promoted, None):
        monitored.go_to(Step.WAIT_PROMOTION, now)
    elif now - monitored.step_since > monitored.watch.failover_timeout:
        _abort(engine, monitored, "-failover-abort-slave-timeout")


def promotion_seen(engine: SentinelEngine, monitored: Monitored) -> None:
    """The promoted replica says that it is a master: from now on the world may know."""
    assert monitored.promoted is not None
    monitored.config_epoch = monitored.failover_epoch
    monitored.go_to(Step.RECONFIGURE, engine.turns.seconds())
    engine.flush()
    engine.event("+promoted-slave", engine.described(monitored.promoted, monitored))
    engine.say_hello_soon(monitored)


def _others(monitored: Monitored) -> list[Instance]:
    return [each for each in monitored.replicas.values() if each is not monitored.promoted]


def _reconfigure(engine: SentinelEngine, monitored: Monitored) -> None:
    now = engine.turns.seconds()
    assert monitored.promoted is not None
    under_way = (Reconfiguration.SENT, Reconfiguration.IN_PROGRESS)
    busy = sum(each.reconfiguration in under_way for each in _others(monitored))
    for each in _others(monitored):
        late = now - each.reconfigured_at > RECONFIGURATION_TIMEOUT
        if each.reconfiguration is Reconfiguration.SENT and late:
            each.reconfiguration = Reconfiguration.DONE
        unsent = each.reconfiguration is Reconfiguration.NONE
        if unsent and busy < monitored.watch.parallel_syncs and engine.point(each, monitored.promoted.address):
            each.reconfiguration, each.reconfigured_at = Reconfiguration.SENT, now
            busy += 1
    left = [
        each
        for each in _others(monitored)
        if each.reconfiguration is not Reconfiguration.DONE and not each.is_down()
    ]
    timed_out = now - monitored.step_since > monitored.watch.failover_timeout
    if timed_out:
        for each in left:
            engine.point(each, monitored.promoted.address)
    if not left or timed_out:
        engine.event("+failover-end", engine.described(monitored.master, monitored))
        monitored.go_to(Step.UPDATE, now)


def _update(engine: SentinelEngine, monitored: Monitored) -> None:
    assert monitored.promoted is not None
    engine.switch(monitored, *monitored.promoted.address)
