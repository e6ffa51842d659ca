"""What a sentinel learns from INFO and from hello messages, and what it does about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taba.testing.redis.sentinel.failover import promotion_seen
from taba.testing.redis.sentinel.instance import Instance, Kind, Reconfiguration
from taba.testing.redis.sentinel.monitored import Monitored, Step

if TYPE_CHECKING:
    from taba.testing.redis.sentinel.engine import SentinelEngine

HELLO = "__sentinel__:hello"
SETTLING = 8.0  # seconds that a replica may call itself a master before it is told otherwise


def take_info(engine: SentinelEngine, monitored: Monitored, instance: Instance, text: str) -> None:
    """Take the reply to INFO."""
    now = engine.turns.seconds()
    facts = dict(re.findall(r"^([a-z_0-9]+):(.*?)\r?$", text, re.MULTILINE))
    instance.info_at = now
    instance.run_id = facts.get("run_id", instance.run_id)
    role = Kind.MASTER if facts.get("role") == "master" else Kind.REPLICA
    if role is not instance.role:
        instance.role, instance.role_since, instance.followed_since = role, now, now
    if role is Kind.REPLICA:
        _note_link(instance, facts, now)
    elif instance.kind is Kind.MASTER:
        for about in re.findall(r"^slave\d+:ip=([^,]+),port=(\d+)", text, re.MULTILINE):
            if monitored.add_replica(about[0], int(about[1])):
                engine.flush()
                added = monitored.replicas[about[0], int(about[1])]
                engine.event("+slave", engine.described(added, monitored))
    if instance.kind is Kind.REPLICA:
        _judge_replica(engine, monitored, instance)


def _note_link(instance: Instance, facts: dict[str, str], now: float) -> None:
    followed = (facts.get("master_host", ""), int(facts.get("master_port", 0)))
    if followed != instance.followed:
        instance.followed, instance.followed_since = followed, now
    instance.link_is_up = facts.get("master_link_status") == "up"
    instance.link_down_for = max(0.0, float(facts.get("master_link_down_since_seconds", 0)))
    instance.priority = int(facts.get("slave_priority", 100))
    instance.offset = int(facts.get("slave_repl_offset", 0))


def _judge_replica(engine: SentinelEngine, monitored: Monitored, replica: Instance) -> None:
    now = engine.turns.seconds()
    if replica.role is Kind.MASTER:
        if replica is monitored.promoted and monitored.step is Step.WAIT_PROMOTION:
            promotion_seen(engine, monitored)
        elif (
            replica is not monitored.promoted
            and monitored.looks_sane(now)
            and replica.no_down_for(now, SETTLING)
            and now - replica.role_since > SETTLING
            and engine.point(replica, monitored.master.address)
        ):
            engine.event("+convert-to-slave", engine.described(replica, monitored))
        return
    patience = monitored.watch.failover_timeout
    if (
        replica.followed != monitored.master.address
        and monitored.step is Step.NONE
        and monitored.looks_sane(now)
        and replica.no_down_for(now, patience)
        and now - replica.followed_since > patience
        and engine.point(replica, monitored.master.address)
    ):
        engine.event("+fix-slave-config", engine.described(replica, monitored))
    if monitored.promoted is not None and replica.followed == monitored.promoted.address:
        if replica.reconfiguration is Reconfiguration.SENT:
            replica.reconfiguration = Reconfiguration.IN_PROGRESS
        if replica.reconfiguration is Reconfiguration.IN_PROGRESS and replica.link_is_up:
            replica.reconfiguration = Reconfiguration.DONE


def hello_of(engine: SentinelEngine, monitored: Monitored, own_host: str) -> str:
    """What this sentinel says of itself and of a master's address."""
    host, port = monitored.address()
    own = f"{own_host},{engine.port},{engine.run_id},{engine.epoch}"
    return f"{own},{monitored.name},{host},{port},{monitored.config_epoch}"


def take_hello(engine: SentinelEngine, text: str) -> None:
    """Take what a sentinel said of itself and of a master's address."""
    parts = text.split(",")
    if len(parts) != 8 or parts[2] == engine.run_id or parts[4] not in engine.monitored:
        return
    host, port, run_id, epoch, name, master_host, master_port, config_epoch = parts
    monitored = engine.monitored[name]
    if monitored.add_sentinel(run_id, host, int(port)):
        engine.flush()
        engine.event("+sentinel", engine.described(monitored.sentinels[run_id], monitored))
    if int(epoch) > engine.epoch:
        engine.new_epoch(int(epoch))
    if int(config_epoch) > monitored.config_epoch:
        monitored.config_epoch = int(config_epoch)
        if (master_host, int(master_port)) != monitored.master.address:
            teller = monitored.sentinels[run_id]
            engine.event("+config-update-from", engine.described(teller, monitored))
            engine.switch(monitored, master_host, int(master_port))
        engine.flush()
