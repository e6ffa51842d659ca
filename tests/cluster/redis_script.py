"""Short words for schedules by hand over the simulated cluster on Redis."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from attrs import define, field

from taba import native
from taba.store.redis.opening import open_redis_store
from taba.store.redis.store import RedisStore
from taba.testing.machine import machine_of
from taba.testing.members import AgentMember, ServerMember
from taba.testing.redis import RedisServer
from taba.testing.redis.persistence import RedisDisk
from taba.testing.redis_cluster import RedisCluster, RedisMember
from tests.cluster.events import EventId, StoreView
from tests.cluster.oracle import Oracle
from tests.cluster.redis_view import merged, read_log, read_position, view_server, view_shards
from tests.cluster.script import Script


@define(eq=False)
class RedisScript(Script):
    """A cluster on Redis of two agents with an application each, started, and its recount.

    All counters that applications record are in one tab, so in one vbucket of one shard.
    """

    server_count: int = 1
    copies: int = 2
    durability: str = "auto"
    checkpoint_seconds: float = 0.5
    fleet: RedisCluster = field(init=False)
    """The cluster, as what it is."""

    def _build(self) -> None:
        self.cluster = self.fleet = RedisCluster(
            seed=11,
            application_count=2,
            server_count=self.server_count,
            copies=self.copies,
            durability=self.durability,
            checkpoint_seconds=self.checkpoint_seconds,
        )
        self.oracle = Oracle(self.fleet, views=lambda: (view_shards(self.fleet),))

    # ---------------------------------------------------------------------------------------------------- the shard

    @property
    def vbucket(self) -> int:
        """The vbucket of the tab of all counters."""
        return native.crc32(EventId("", "c", 0).tab.encode()) % self.fleet.vbuckets

    @property
    def shard(self) -> str:
        """The shard of that vbucket."""
        return self.fleet.shard_of(self.vbucket)

    @property
    def master(self) -> RedisMember:
        """Its master, as most Sentinels say."""
        return self.fleet.master(self.shard)

    @property
    def replica(self) -> RedisMember:
        """Its first replica."""
        return self.fleet.replicas(self.shard)[0]

    def store(self, member: ServerMember | None = None) -> RedisStore:
        """The store of a server, which runs; of the first one, unless another is given."""
        server = (member or self.fleet.server).server
        assert server is not None
        store = server.server.store
        assert isinstance(store, RedisStore)
        return store

    def another_store(self) -> RedisStore:
        """A store beside those of the servers, connected."""
        process = self.world.node("reader").start()
        store = open_redis_store(self.fleet.database(), machine_of(process), dedup_days=14.0)
        self.world.result_of(store.startService())
        return store

    def logged(self, member: RedisMember | None = None) -> int:
        """The id of the last batch that was ever appended to the log of the vbucket."""
        return self._logged((member or self.master).redis, self.vbucket)

    def logged_of(self, vbucket: int) -> int:
        """The same of any vbucket, as its master has it."""
        return self._logged(self.fleet.master(self.fleet.shard_of(vbucket)).redis, vbucket)

    def _logged(self, redis: RedisServer, vbucket: int) -> int:
        log = read_log(redis, vbucket)
        return log[-1][0] if log else read_position(redis, vbucket)[0]

    def owner(self) -> ServerMember | None:
        """The server that folds the vbucket."""
        for each in self.fleet.servers:
            if each.server is not None and self.vbucket in each.server.server.backend.folding:
                return each
        return None

    def until_logged(self, number: int, member: RedisMember | None = None) -> None:
        """Until the log has had so many batches."""
        self.until(lambda: self.logged(member) >= number, f"batch {number} to be in the log")

    def until_folded(self, number: int) -> None:
        """Until a server has folded so many batches, in memory at least."""

        def folded() -> bool:
            backends = [each.server.server.backend for each in self.fleet.servers if each.server is not None]
            return any(
                self.vbucket in each.folding and each.folding[self.vbucket].folded >= number for each in backends
            )

        self.until(folded, f"batch {number} to be folded")

    def until_checkpointed(self, number: int, member: RedisMember | None = None) -> None:
        """Until a server of Redis has the checkpoint of so many batches."""
        redis = (member or self.master).redis
        self.until(lambda: read_position(redis, self.vbucket)[0] >= number, f"the checkpoint of batch {number}")

    # ---------------------------------------------------------------------------------------------------- failovers

    def cut_links(self) -> None:
        """The replicas get nothing more of what the master writes from now on."""
        for each in self.fleet.replicas(self.shard):
            each.redis.cut_link()

    def join_links(self) -> None:
        """They get it again."""
        for each in self.fleet.of_shard(self.shard):
            each.redis.join_link()

    def fail_over(self) -> RedisMember:
        """The master is killed, and a replica promoted; the servers are connected with it. The old master."""
        old = self.master
        old.crash()
        self.until_led_by_another(old)
        self.join_links()
        return old

    def switch_over(self) -> RedisMember:
        """A Sentinel is told to promote the first replica in the place of a master that is well. The old master."""
        old, replica = self.master, self.replica
        self.fleet.sentinels[0].sentinel.fail_over(self.shard, replica.redis)
        self.until_led_by_another(old)
        self.join_links()
        return old

    def until_led_by_another(self, old: RedisMember, servers: Sequence[ServerMember] | None = None) -> None:
        """Until all Sentinels name another master, and servers (all, unless some are named) are connected with it."""
        network = self.world.network

        def led() -> bool:
            new = self.master
            if set(self.fleet.named(self.shard)) != {new} or new is old or not new.redis.is_master:
                return False
            wanted = f"{network.address_of(new.name)}:{new.redis.port}"
            states = [self._shard_state(each) for each in servers or self.fleet.servers]
            return all(state["open"] and state["master"] == wanted for state in states)

        self.until(led, "another master")

    def _shard_state(self, member: ServerMember) -> dict[str, object]:
        return next(each for each in self.store(member).shard_states() if each["shard"] == self.shard)

    def return_as_replica(self, old: RedisMember) -> None:
        """A former master comes back, is told to follow, and has what the present one has."""
        old.start()
        self.until(lambda: old.follows(self.master), f"{old.name} to follow")

    # ---------------------------------------------------------------------------------------------------- backups

    def back_up(self) -> dict[str, RedisDisk]:
        """Backups of all disks of the shard."""
        return {each.name: copy.deepcopy(each.redis.disk) for each in self.fleet.of_shard(self.shard)}

    def put_back(self, backups: dict[str, RedisDisk]) -> None:
        """All servers of the shard start from backups, under another lineage."""
        master, servers = self.master, self.fleet.of_shard(self.shard)
        for each in servers:
            each.crash()
            each.redis.disk = copy.deepcopy(backups[each.name])
        master.start()
        others = [view_server(self.fleet, each) for each in self._masters_elsewhere()]
        self.oracle.goes_back_to(merged([view_server(self.fleet, master), *others]))
        for each in servers:
            each.start()
        self.until(lambda: all(each.follows(master) for each in servers if each is not master), "the shard to be whole")
        self.until(lambda: self._shard_state(self.fleet.server)["open"], "the server to be connected")

    def _masters_elsewhere(self) -> list[RedisMember]:
        return [self.fleet.master(shard) for shard in self.fleet.shards() if shard != self.shard]

    # ---------------------------------------------------------------------------------------------------- agents

    def hides(self, agent: AgentMember, *servers: ServerMember) -> None:
        """An agent reaches all servers but these, and what it asked of these has failed."""
        for each in servers:
            self.world.network.partition(agent.name, each.name)
            self.world.network.drop_connection(agent.name, each.name)

    def view(self) -> StoreView:
        """What the store has."""
        return view_shards(self.fleet)
