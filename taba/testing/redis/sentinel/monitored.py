"""A master that a sentinel watches, with its replicas, the other sentinels, and the failover that may be going on."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

from attrs import define, field, frozen

from taba.testing.redis.sentinel.instance import Instance, Kind, MakeInstance

ANSWER_VALID = 5.0  # seconds for which another sentinel's answer about the master counts


class Step(IntEnum):
    """How far a failover has got."""

    NONE = 0
    WAIT_START = 1
    SELECT = 2
    SEND = 3
    WAIT_PROMOTION = 4
    RECONFIGURE = 5
    UPDATE = 6

    def shown(self) -> str:
        """The name that SENTINEL MASTERS gives it."""
        return ("none", "wait_start", "select_slave", "send_slaveof_noone", "wait_promotion", "reconf_slaves",
                "update_config")[self]  # fmt: skip


@frozen
class Watch:
    """What a sentinel is told to watch: a master's name, where it is, and the rules. Times are in seconds."""

    name: str
    host: str
    port: int = 6379
    quorum: int = 2
    down_after: float = 2.0
    failover_timeout: float = 6.0
    parallel_syncs: int = 1
    auth_user: str = ""
    auth_pass: str = ""

    def credentials(self) -> tuple[str, ...]:
        """The arguments of AUTH, or nothing."""
        return tuple(each for each in (self.auth_user, self.auth_pass) if each) if self.auth_pass else ()


@define(eq=False)
class Monitored:
    """One master as one sentinel sees it."""

    watch: Watch
    make: MakeInstance
    master: Instance
    config_epoch: int = 0
    replicas: dict[tuple[str, int], Instance] = field(factory=dict, init=False)
    sentinels: dict[str, Instance] = field(factory=dict, init=False)
    """By run id."""
    objectively_down: bool = field(default=False, init=False)
    leader: str | None = field(default=None, init=False)
    leader_epoch: int = field(default=0, init=False)
    step: Step = field(default=Step.NONE, init=False)
    step_since: float = field(default=0.0, init=False)
    forced: bool = field(default=False, init=False)
    """An operator asked for the failover: no election."""
    chosen: tuple[str, int] | None = field(default=None, init=False)
    """The replica to promote whatever the rules say."""
    failover_epoch: int = field(default=0, init=False)
    failover_started: float | None = field(default=None, init=False)
    promoted: Instance | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """The name of the master."""
        return self.watch.name

    def instances(self) -> Iterator[Instance]:
        """The master, the replicas, the sentinels."""
        yield self.master
        yield from list(self.replicas.values())
        yield from list(self.sentinels.values())

    def go_to(self, step: Step, now: float) -> None:
        """Take the next step of the failover."""
        self.step, self.step_since = step, now

    def end_failover(self, now: float) -> None:
        """No failover goes on any more."""
        self.go_to(Step.NONE, now)
        self.forced, self.chosen, self.promoted = False, None, None

    def address(self) -> tuple[str, int]:
        """Where the master is: the promoted replica's address as soon as it is one."""
        if self.promoted is not None and self.step >= Step.RECONFIGURE:
            return self.promoted.address
        return self.master.address

    def votes_for_down(self, now: float) -> int:
        """How many sentinels, this one among them, hold the master to be down."""
        for each in self.sentinels.values():
            if each.answered_at is not None and now - each.answered_at > ANSWER_VALID:
                each.says_down, each.leader = False, None
        return self.master.is_down() + sum(each.says_down for each in self.sentinels.values())

    def looks_sane(self, now: float) -> bool:
        """Whether the master is up and says that it is one."""
        master = self.master
        fresh = master.info_at is not None and now - master.info_at < 20.0
        return master.role is Kind.MASTER and not master.is_down() and not self.objectively_down and fresh

    def candidate(self, now: float) -> Instance | None:
        """The replica to promote: reachable, fresh, not cut off for too long; best by priority, then by offset."""
        if self.chosen is not None:
            return self.replicas.get(self.chosen)
        down_for = now - self.master.down_since if self.master.down_since is not None else 0.0
        longest = down_for + 10 * self.watch.down_after
        valid = 5.0 if self.master.is_down() else 30.0
        able = [
            each
            for each in self.replicas.values()
            if not each.is_down()
            and each.link.is_up()
            and now - each.last_available <= 5.0
            and each.priority
            and each.info_at is not None
            and now - each.info_at <= valid
            and each.link_down_for <= longest
        ]
        return min(able, key=lambda each: (each.priority, -each.offset, each.run_id), default=None)

    def add_replica(self, host: str, port: int) -> bool:
        """Learn of a replica; whether it is new."""
        if (host, port) in self.replicas or (host, port) == self.master.address:
            return False
        self.replicas[host, port] = self.make(Kind.REPLICA, host, port, "")
        return True

    def add_sentinel(self, run_id: str, host: str, port: int) -> bool:
        """Learn of another sentinel, or of its new address; whether something has changed."""
        known = self.sentinels.get(run_id)
        if known is not None and known.address == (host, port):
            return False
        for other in [each for each in self.sentinels.values() if each.address == (host, port)]:
            other.close()
            del self.sentinels[other.run_id]
        if known is not None:
            known.close()
        self.sentinels[run_id] = self.make(Kind.SENTINEL, host, port, run_id)
        return True

    def move(self, host: str, port: int, now: float) -> None:
        """The master is another one now; the one before becomes a replica of it."""
        old = [each for each in (self.master.address, *self.replicas) if each != (host, port)]
        for each in (self.master, *self.replicas.values()):
            each.close()
        self.replicas.clear()
        self.master = self.make(Kind.MASTER, host, port, "")
        self.objectively_down = False
        self.failover_started = None
        self.end_failover(now)
        for address in old:
            self.add_replica(*address)

    def close(self) -> None:
        """Break all links."""
        for each in self.instances():
            each.close()
