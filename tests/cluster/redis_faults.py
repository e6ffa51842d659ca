"""What goes wrong in a run on Redis, beside what can go wrong with clients, agents and servers: shards, Sentinels, and
the network around them.

The promise has limits, and the faults keep to them: of every shard a copy survives that has what was confirmed, and
becomes master. So disks of Redis are never emptied. And where a batch may be confirmed without a replica (DURABILITY
memory), or with another replica than the one that is promoted (three copies), no fault that may depose a master meets a
shard of which a copy has missed more than MOST_BEHIND seconds: to make a master of that one is what an operator, or a
Sentinel with stale news, may not do. With two copies and DURABILITY replicated nothing is confirmed while the replica
is behind, and anything may happen.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field

from taba.testing.members import Host, ServerMember
from taba.testing.redis.turns import Turns
from taba.testing.redis_cluster import MOST_LAG, RedisCluster, RedisMember, SentinelMember
from tests.cluster.faults import HOUR, Faults
from tests.cluster.redis_states import state_of

MOST_BEHIND = 3.0
FOUNDED = 5.0
"""Virtual seconds after which the disks of all Redis have what the first server wrote."""


@define(eq=False)
class RedisFaults(Faults):
    """The faults of one run on Redis."""

    fleet: RedisCluster = field(init=False)
    """The cluster, as what it is."""
    refused: int = field(default=0, init=False)
    """How often a fault was not done, because it would have broken the limits of the promise."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        assert isinstance(self.cluster, RedisCluster)
        self.fleet = self.cluster
        self.cluster.world.state_of = lambda name: state_of(self.fleet, name)

    # ------------------------------------------------------------------------------------------------ small things

    def _server(self) -> ServerMember | None:
        server: ServerMember | None = self._one([each for each in self.fleet.servers if each.up])
        return server

    def _seconds(self, *choices: float) -> float:
        return float(self._one(list(choices))) * (0.5 + self.random.random())

    def _mark(self, verb: str, host: Host) -> None:
        self.cluster.world.note_verb(f"* {verb}", host.name)

    def _may_depose(self, shard: str) -> bool:
        """Whether any server of the shard may become master now, and nothing that was confirmed is missing."""
        strict = self.fleet.copies > 2 or self.fleet.durability == "memory"
        if strict and any(self.fleet.behind(each) > MOST_BEHIND for each in self.fleet.of_shard(shard)):
            self.refused += 1
            return False
        return True

    def _shard(self) -> str | None:
        """A shard whose master may be deposed."""
        shard: str = self._one(self.fleet.shards())
        return shard if self._may_depose(shard) else None

    def _redis(self) -> RedisMember | None:
        """A server of such a shard that runs: its master, as often as not."""
        shard = self._shard()
        if shard is None:
            return None
        master = self.fleet.master(shard)
        member: RedisMember = master if self.random.random() < 0.5 else self._one(self.fleet.of_shard(shard))
        return member if member.up and not member.hung else None

    def _replica(self, shard: str | None) -> RedisMember | None:
        """A replica of a shard that runs."""
        replicas = [] if shard is None else self.fleet.replicas(shard)
        member: RedisMember | None = self._one([each for each in replicas if each.up and not each.hung])
        return member

    # --------------------------------------------------------------------------------------------------- servers

    def rolling_restart(self) -> None:
        """The servers are stopped and started again, one after the other."""
        pause = self._seconds(1.0, 4.0)
        for place, server in enumerate(self.fleet.servers):

            def stop(server: ServerMember = server) -> None:
                if server.up and server.node.process is not None and server.node.process.reactor.running:
                    self._mark("rolling_restart", server)
                    self._stop(server)

            self._later(place * pause, stop)

    # ----------------------------------------------------------------------------------------------------- Redis

    def redis_crash(self) -> None:
        """A Redis is killed; what it wrote is on its disk."""
        member = self._redis()
        if member is not None:
            self._mark("redis_crash", member)
            self._crash_redis(member, power=False)

    def redis_power_loss(self) -> None:
        """A machine with Redis fails: what was not synced is lost."""
        member = self._redis()
        if member is not None:
            self._mark("redis_power_loss", member)
            self._crash_redis(member, power=True)

    def _crash_redis(self, member: RedisMember, power: bool) -> None:
        """Kill it. Before all machines can have synced what founded the cluster, none of them fails: with DURABILITY
        memory and a master that is back before its replica is promoted, a shard would have nothing left at all, which
        no promise covers (an operator has to give it up with accept-loss).
        """
        member.crash(power and self.fleet.world.clock.seconds() >= FOUNDED)
        self._later(self._seconds(0.1, 1.0, 5.0, 15.0), member.start)

    def redis_hang(self) -> None:
        """A Redis does nothing for a while, and then all that it was asked."""
        member = self._redis()
        if member is not None:
            self._mark("redis_hang", member)
            member.redis.hang()
            engine = member.redis.engine
            self._later(self._seconds(0.4, 2.0, 8.0), lambda: _wake(engine.turns))

    def redis_lag(self) -> None:
        """A replica applies, and acknowledges, what it gets some time later."""
        member = self._replica(self._one(self.fleet.shards()))
        if member is not None and not member.redis.lag:
            self._mark("redis_lag", member)
            member.redis.lag = MOST_LAG * self.random.random()
            self._later(self._seconds(10.0), lambda: setattr(member.redis, "lag", 0.0))

    def redis_link(self) -> None:
        """The link of a replica is closed for a while."""
        member = self._replica(self._shard())
        if member is not None:
            self._mark("redis_link", member)
            self._cut_link(member, self._seconds(0.5, 3.0, 12.0))

    def _cut_link(self, member: RedisMember, seconds: float) -> None:
        member.redis.cut_link()
        self._later(seconds, member.redis.join_link)

    def lagging_failover(self) -> None:
        """A master dies some time after its replicas have lost it: one of them is promoted."""
        shard = self._shard()
        if shard is None or not self.fleet.master(shard).up:
            return
        master, seconds = self.fleet.master(shard), min(MOST_BEHIND, self._seconds(0.3, 1.0, 2.5))
        self._mark("lagging_failover", master)
        for replica in self.fleet.replicas(shard):
            if replica.up:
                self._cut_link(replica, seconds + 5.0)

        def kill() -> None:
            if master.up:
                master.crash(self.random.random() < 0.3)
                self._later(self._seconds(3.0, 10.0), master.start)

        self._later(seconds, kill)

    def forced_failover(self) -> None:
        """A Sentinel is told to promote a replica in the place of a master that is well."""
        shard = self._shard()
        replica, sentinel = self._replica(shard), self._one(self.fleet.sentinels)
        if shard is None or replica is None or not self._sentinels_agree(shard):
            return
        try:
            sentinel.sentinel.fail_over(shard, replica.redis)
        except ValueError:
            return  # another one goes on, or the Sentinel does not know the replica
        self._mark("forced_failover", replica)

    def _sentinels_agree(self, shard: str) -> bool:
        """Whether all Sentinels are there, reach each other, and name one master. A failover that is forced on one
        has no election: if others elect one of them for a failover meanwhile, both may end in one epoch, name two
        masters for ever, and make each follow the other.
        """
        whole = not any(each.hung for each in self.fleet.sentinels) and not self.cluster.world.network.cuts()
        return whole and len(self.fleet.named(shard)) == 3 and len(set(self.fleet.named(shard))) == 1

    def stray_promotion(self) -> None:
        """Somebody tells a replica to lead, and the Sentinels know nothing of it."""
        member = self._replica(self._shard())
        if member is not None:
            self._mark("stray_promotion", member)
            member.redis.promote()

    def minority_master(self) -> None:
        """A master is cut off from the other servers of its shard and from most Sentinels, together with some servers
        of Taba, which go on with it.
        """
        shard = self._shard()
        if shard is None or not self.fleet.master(shard).up:
            return
        master, cluster = self.fleet.master(shard), self.fleet
        self._mark("minority_master", master)
        seconds = self._seconds(3.0, 8.0, 15.0)
        with_it: list[Host] = [master, *self.random.sample(cluster.servers, 2), self._one(cluster.sentinels)]
        if cluster.copies > 2:  # its own replica may be with it
            with_it += self.random.sample(cluster.replicas(shard), self.random.choice((0, 1)))
        others = [
            *(each for each in cluster.of_shard(shard) if each not in with_it),
            *(each for each in cluster.sentinels if each not in with_it),
            *(each for each in cluster.servers if each not in with_it),
        ]
        for here in with_it:
            for there in others:
                self._cut(here.name, there.name, seconds)

    def redis_disk(self) -> None:
        """A Redis cannot write to its disk, and refuses writes, for some seconds."""
        member = self._redis()
        if member is not None:
            self._mark("redis_disk", member)
            member.redis.break_disk()
            self._later(self._seconds(1.0, 6.0), lambda: member.redis.break_disk(False))

    def redis_busy(self) -> None:
        """A Redis runs somebody's function for some seconds."""
        member = self._redis()
        if member is not None:
            self._mark("redis_busy", member)
            engine = member.redis.engine
            engine.busy = True
            self._later(self._seconds(0.3, 1.5), lambda: setattr(engine, "busy", False))

    # ------------------------------------------------------------------------------------------------- Sentinels

    def _sentinel(self) -> SentinelMember | None:
        sentinel: SentinelMember | None = self._one([each for each in self.fleet.sentinels if each.up])
        return sentinel if sentinel is not None and not sentinel.hung else None

    def sentinel_crash(self) -> None:
        """A Sentinel is killed, and started again."""
        sentinel = self._sentinel()
        if sentinel is not None:
            self._mark("sentinel_crash", sentinel)
            sentinel.crash()
            self._later(self._seconds(1.0, 5.0, 20.0), sentinel.start)

    def sentinel_hang(self) -> None:
        """A Sentinel does nothing for a while."""
        sentinel = self._sentinel()
        if sentinel is not None:
            self._mark("sentinel_hang", sentinel)
            turns = sentinel.sentinel.engine.turns
            turns.hang()
            self._later(self._seconds(1.0, 8.0), lambda: _wake(turns))

    # ------------------------------------------------------------------------------------------------ network, time

    def _pair(self) -> tuple[Any, Any]:
        cluster = self.fleet
        if self.random.random() < 0.5:
            return self._one(cluster.agents), self._one(cluster.servers)
        application = self._one(cluster.applications)
        return application, application.agent

    def _store_pair(self) -> tuple[Host, RedisMember] | None:
        """A Redis whose master may be deposed, and somebody who talks to it."""
        member: RedisMember = self._one(self.fleet.redis)
        if not self._may_depose(member.shard):
            return None
        fellows = [each for each in self.fleet.of_shard(member.shard) if each is not member]
        groups: list[list[Any]] = [self.fleet.servers, self.fleet.sentinels, fellows]
        return self._one(self._one(groups)), member

    def redis_drop(self) -> None:
        """The connections of a Redis with somebody are reset."""
        pair = self._store_pair()
        if pair is not None:
            self._mark("redis_drop", pair[1])
            self.cluster.world.network.drop_connection(pair[0].name, pair[1].name)

    def redis_partition(self) -> None:
        """A Redis and somebody cannot reach each other for some seconds."""
        pair = self._store_pair()
        if pair is not None:
            self._mark("redis_partition", pair[1])
            self._cut(pair[0].name, pair[1].name, self._seconds(1.0, 4.0, 12.0))

    def sentinel_partition(self) -> None:
        """A Sentinel, and a server or another Sentinel, cannot reach each other for some seconds."""
        sentinel = self._one(self.fleet.sentinels)
        others = [*self.fleet.servers, *(each for each in self.fleet.sentinels if each is not sentinel)]
        self._mark("sentinel_partition", sentinel)
        self._cut(sentinel.name, self._one(others).name, self._seconds(2.0, 8.0, 20.0))

    def redis_delay(self) -> None:
        """What a Redis and somebody say to each other takes longer for some seconds."""
        pair = self._store_pair()
        if pair is not None:
            self._mark("redis_delay", pair[1])
            network, (a, b) = self.cluster.world.network, pair
            network.delay(a.name, b.name, self.random.choice((0.05, 0.3, MOST_LAG)))
            self._later(12 * self.random.random(), lambda: network.delay(a.name, b.name, 0.0))

    def step_wall(self) -> None:
        """A wall clock steps by an hour or two; that of a Redis comes right again."""
        if self.random.random() < 0.5:
            super().step_wall()
            return
        member: RedisMember = self._one(self.fleet.redis)
        if member.node.wall_offset:
            return
        self._mark("step_wall", member)
        self.oracle.causes["clock"] += 1
        member.node.step_wall(self._one([-HOUR, HOUR]))
        self._later(self._seconds(3.0, 20.0), lambda: member.node.step_wall(-member.node.wall_offset))

    def backup(self) -> None:
        """Nothing: no store is restored in these runs."""



def _wake(turns: Turns) -> None:
    if turns.hung:
        turns.wake()


REDIS_VERBS: dict[str, float] = {
    "client_crash": 0.6,
    "agent_crash": 1.2,
    "agent_crash_at_step": 0.7,
    "agent_stop": 0.4,
    "disk_full": 0.7,
    "server_crash": 1.2,
    "server_stop": 0.6,
    "answer_lost": 0.5,
    "rolling_restart": 0.6,
    "drop": 0.7,
    "partition": 0.8,
    "delay": 0.6,
    "redeliver": 2.0,
    "step_wall": 0.7,
    "pause": 0.7,
    "redis_crash": 1.2,
    "redis_power_loss": 1.2,
    "redis_hang": 1.0,
    "redis_lag": 1.0,
    "redis_link": 0.8,
    "lagging_failover": 1.4,
    "forced_failover": 1.0,
    "stray_promotion": 0.6,
    "minority_master": 1.2,
    "redis_disk": 0.4,
    "redis_busy": 0.4,
    "sentinel_crash": 0.6,
    "sentinel_hang": 0.5,
    "redis_drop": 1.0,
    "redis_partition": 1.0,
    "sentinel_partition": 0.6,
    "redis_delay": 0.8,
    "reshard": 2.0,
    "reshard_abort": 0.8,
    "mover_crash": 1.0,
    "reshard_under_fire": 1.0,
    "delete": 1.5,
    "undelete": 1.5,
    "upgrade": 0.5,
    "gc": 1.5,
    "flush_all": 0.3,
}
"""Verb -> how often it is drawn."""
