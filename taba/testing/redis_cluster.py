"""A fleet of Taba in one process: servers that share shards of Redis, which Sentinels watch.

`RedisCluster` is a `MemoryCluster` of several servers, each fe and be, whose store is `shards` shards of a master and
replicas, with Sentinels, all on machines of their own. Servers find the shards as in production, by SENTINELS and
SHARDS of DB_SETTINGS.

    with RedisCluster(seed=7) as cluster:
        cluster.start()
        cluster.applications[0].client.counter("bids_won", 1)
        cluster.master("shard-1").redis.cut_link()
        cluster.master("shard-1").crash()
        cluster.world.advance(10)
        cluster.heal()
        cluster.settle()

Sentinels are quick here, so that little virtual time goes by in failovers; AGENT_CONFIRM_SECONDS follows from them by
the rule of the guide: it must exceed what a failover takes back. A replica is promoted although its link has been down
for 10 x down-after, and a link that was cut in silence counts as up for repl-timeout; what Sentinel knows of it may be
5 s old. On top comes the lag that a test may give a replica, of which Sentinel knows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define, evolve, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred

from taba.errors import TabaError
from taba.settings import DatabaseSettings, ShardSettings
from taba.store.redis.mover import Task, move_vbuckets
from taba.store.redis.placing import ACTIVE, GONE, IMPORTING, SEALED, Marker, MoveRow
from taba.store.redis.resharding import Figures
from taba.testing.cluster import MemoryCluster
from taba.testing.machine import machine_of
from taba.testing.members import Host
from taba.testing.node import Process
from taba.testing.redis import RedisSentinel, RedisServer, Watch
from taba.testing.redis.library import taba_library
from taba.testing.redis.library_moving import moving_library
from taba.testing.redis.sentinel.monitored import Step
from taba.testing.redis.sentinel.server import PORT as SENTINEL_PORT

DOWN_AFTER = 0.5
REPL_TIMEOUT = 2
STALE_INFO = 5.0
MOST_LAG = 1.5
"""Seconds that replicas may be made to lag, and messages between servers of one shard to be late."""
CONFIRM_SECONDS = 10 * DOWN_AFTER + REPL_TIMEOUT + STALE_INFO + MOST_LAG + 0.5
SENTINELS = 3


@define(eq=False)
class RedisMember(Host):
    """A Redis server of the shard `shard`."""

    redis: RedisServer
    shard: str
    current: float = field(default=0.0, init=False)
    """When it had last all that its master had, as far as `RedisCluster` looked."""

    def _begin(self) -> None:
        self.redis.start()

    def crash(self, torn: bool | None = None) -> None:
        """Kill it. `torn` says that the machine went with it: what was written and not synced is lost, too."""
        super().crash()
        if torn:
            self.redis.disk.lose_unsynced()

    @property
    def hung(self) -> bool:
        """Whether it runs, and does nothing."""
        return self.redis.is_running() and self.redis.engine.turns.hung

    def follows(self, master: RedisMember) -> bool:
        """Whether it is a replica of `master` and the stream comes in, as far as it knows."""
        if not self.redis.is_running() or self.redis.engine.link is None:
            return False
        link = self.redis.engine.link
        return link.is_up() and link.host == master.redis.host


@define(eq=False)
class SentinelMember(Host):
    """A Sentinel."""

    sentinel: RedisSentinel

    def _begin(self) -> None:
        self.sentinel.start()

    @property
    def hung(self) -> bool:
        """Whether it runs, and does nothing."""
        return self.up and self.sentinel.engine.turns.hung


@define(eq=False)
class MoverMember(Host):
    """A machine on which somebody moves vbuckets now and then: one process for each time, which ends by itself."""

    cluster: RedisCluster
    task: Task = field(default=Task.RUN, init=False)
    ranges: Sequence[ShardSettings] = field(default=(), init=False)
    """Where the vbuckets are to be."""
    figures: list[Figures] = field(factory=list, init=False)
    """Of each process that came to its end."""
    problems: list[TabaError] = field(factory=list, init=False)
    """What ended the others, unless they were killed."""

    def begin(self, task: Task, ranges: Sequence[ShardSettings] = ()) -> None:
        """Start a process; nothing where one runs."""
        if not self.up:
            self.task, self.ranges = task, ranges or self.ranges or self.cluster.database().shards
            self._begin()

    def _begin(self) -> None:
        self.node.start(self._make)

    def _make(self, process: Process) -> Service:
        return _Mover(self, process)


class _Mover(Service):
    """The process."""

    def __init__(self, member: MoverMember, process: Process) -> None:
        self._member = member
        self._process = process
        self._moving: Deferred[None] | None = None

    def startService(self) -> None:
        """Do what is to be done, and end the process."""
        super().startService()
        self._moving = Deferred.fromCoroutine(self._move())

    async def _move(self) -> None:
        member, cluster = self._member, self._member.cluster
        settings = evolve(cluster.database(), shards=tuple(member.ranges))
        machine = machine_of(self._process)
        try:
            _, figures = await move_vbuckets(settings, machine, member.task, confirm_seconds=cluster.confirm_seconds)
            member.figures.append(figures)
        except TabaError as problem:
            member.problems.append(problem)
        self._process.reactor.callLater(0, self._process.reactor.stop)


@define(eq=False)
class RedisCluster(MemoryCluster):
    """Servers, agents and applications over shards of Redis. All that is random follows from `seed`."""

    server_count: int = 3
    confirm_seconds: float = CONFIRM_SECONDS
    shard_count: int = 2
    copies: int = 2
    """Servers of each shard: a master and its replicas."""
    durability: str = "auto"
    min_replicas: int = 0
    """`min-replicas-to-write` of every Redis."""
    redis: list[RedisMember] = field(factory=list, init=False)
    sentinels: list[SentinelMember] = field(factory=list, init=False)
    mover: MoverMember = field(init=False)

    def _add_store(self) -> None:
        configuration = {
            "repl-timeout": str(REPL_TIMEOUT),
            "repl-ping-replica-period": "1",
            "min-replicas-to-write": str(self.min_replicas),
            "min-replicas-max-lag": "2",
        }
        watches = []
        self.mover = MoverMember(self.world.node("mover"), self)
        for number, shard in enumerate(self.shards(), 1):
            master: RedisServer | None = None
            for copy in range(1, self.copies + 1):
                redis = RedisServer(
                    self.world.node(f"redis-{number}-{copy}"),
                    libraries={"taba": taba_library(), "taba_moving": moving_library()},
                    configuration=configuration,
                    master=master,
                )
                self.redis.append(RedisMember(redis.node, redis, shard))
                master = master or redis
            assert master is not None
            watches.append(Watch(shard, master.host, down_after=DOWN_AFTER, failover_timeout=3.0))
        for number in range(1, SENTINELS + 1):
            sentinel = RedisSentinel(self.world.node(f"sentinel-{number}"), watches)
            self.sentinels.append(SentinelMember(sentinel.node, sentinel))

    def database(self) -> DatabaseSettings:
        """DB_SETTINGS of the servers."""
        per_shard = self.vbuckets // self.shard_count
        ranges = [
            ShardSettings(shard, (place * per_shard, (place + 1) * per_shard - 1))
            for place, shard in enumerate(self.shards())
        ]
        return DatabaseSettings(
            vbuckets=per_shard * self.shard_count,
            sentinels=tuple((each.name, SENTINEL_PORT) for each in self.sentinels),
            shards=tuple(ranges),
            durability=self.durability,
        )

    # ----------------------------------------------------------------------------------------------------- members

    def shards(self) -> list[str]:
        """The names of all shards."""
        return [f"shard-{number}" for number in range(1, self.shard_count + 1)]

    def hosts(self) -> Iterator[Host]:
        """All machines, those of the store first."""
        yield from self.redis
        yield from self.sentinels
        yield from self.members()

    def of_shard(self, shard: str) -> list[RedisMember]:
        """The Redis servers of a shard."""
        return [each for each in self.redis if each.shard == shard]

    def shard_of(self, vbucket: int) -> str:
        """The shard that has a vbucket, as the markers of the masters that run say."""
        found = {shard: self.marker(shard, vbucket) for shard in self.shards()}
        for letter in (ACTIVE, SEALED):
            some = [(each.epoch, shard) for shard, each in found.items() if each is not None and each.letter == letter]
            if some:
                return max(some)[1]
        return self.shards()[vbucket // (self.vbuckets // self.shard_count)]

    def marker(self, shard: str, vbucket: int) -> Marker | None:
        """What the master of a shard says of a vbucket; None while it does not run."""
        value = self._asked(shard, "GET", f"O:{vbucket}")
        return Marker.read(value) if value else None

    def _asked(self, shard: str, *words: str | int) -> Any:
        redis = self.master(shard).redis
        return redis.ask(*words) if redis.is_running() else None

    def on_the_move(self) -> dict[int, str]:
        """The vbuckets whose move, or the undoing of it, is not over, with how far it is."""
        found: dict[int, str] = {}
        for shard in self.shards():
            flat = self._asked(shard, "HGETALL", "moves") or []
            for vbucket, row in zip(map(int, flat[::2]), map(MoveRow.read, flat[1::2]), strict=True):
                if row.stage != GONE:
                    there = self.marker(row.shard, vbucket)
                    sealed = (here := self.marker(shard, vbucket)) is not None and here.letter == SEALED
                    what = "importing" if there is not None and there.letter == IMPORTING else row.stage
                    found[vbucket] = f"{what}, sealed" if sealed else what
        return found

    def finish_moves(self, limit: float = 300.0) -> None:
        """Let a mover bring to an end what others have begun."""
        end = self.world.clock.seconds() + limit
        while self.mover.up or self.on_the_move():
            if not self.mover.up:
                self.mover.begin(Task.RUN)
            left = max(0.0, end - self.world.clock.seconds())
            self.world.run_until(lambda: not self.mover.up, left, f"the mover to end; {self.on_the_move()}")

    def named(self, shard: str) -> list[RedisMember]:
        """Whom the Sentinels that run name as master of a shard, one for each of them."""
        named = []
        for each in self.sentinels:
            if each.up:
                host, _ = each.sentinel.master_address(shard)
                named += [redis for redis in self.of_shard(shard) if redis.redis.host == host]
        return named

    def master(self, shard: str) -> RedisMember:
        """The master of a shard, as most Sentinels say; it may be down, or not know of it yet."""
        named = self.named(shard) or self.of_shard(shard)
        return max(named, key=named.count)

    def replicas(self, shard: str) -> list[RedisMember]:
        """The other servers of a shard."""
        master = self.master(shard)
        return [each for each in self.of_shard(shard) if each is not master]

    # ------------------------------------------------------------------------------------------------ who is behind

    def start(self, limit: float = 60.0) -> None:
        """Start all, the shards first, and wait until the servers and the agents listen."""
        self.start_store(limit)
        super().start(limit)

    def start_store(self, limit: float = 60.0) -> None:
        """Start Redis and Sentinels, and wait until they have found each other: DURABILITY `auto` looks for replicas
        when the first server starts.
        """
        for host in (*self.redis, *self.sentinels):
            host.start()
        self.watch_copies()
        self.world.run_until(lambda: not self._unrest_of_store(), limit, "the shards to be complete")

    def watch_copies(self) -> None:
        """From now on note, ten times a second, which servers have what their masters have."""
        for shard in self.shards():
            master = self.master(shard)
            for each in self.of_shard(shard):
                if each is master or self._has_all_of(each, master):
                    each.current = self.world.clock.seconds()
        self.world.clock.callLater(0.1, self.watch_copies)

    def _has_all_of(self, replica: RedisMember, master: RedisMember) -> bool:
        """Whether a replica gets what its master writes, within MOST_LAG."""
        if not replica.follows(master) or replica.hung or not master.redis.is_running():
            return False
        pair = tuple(sorted((replica.name, master.name)))
        return pair not in {tuple(sorted(each)) for each in self.world.network.cuts()}

    def behind(self, member: RedisMember) -> float:
        """For how many seconds a server may have missed what its master wrote."""
        return self.world.clock.seconds() - member.current

    # ------------------------------------------------------------------------------------------------------- rest

    def heal(self) -> None:
        """End all faults, set the clocks of Redis right (leases are times of its clock), start what is down."""
        for redis in self.redis:
            redis.redis.join_link()
            redis.redis.lag = 0.0
            redis.redis.break_disk(False)
            if redis.up:
                redis.redis.be_busy(False)
            if redis.hung:
                redis.redis.wake()
            if redis.node.wall_offset:
                redis.node.step_wall(-redis.node.wall_offset)
        for each in self.sentinels:
            if each.hung:
                each.sentinel.wake()
        super().heal()

    def until_whole(self, limit: float) -> None:
        """Run until the shards are whole and all servers are there, which are started again where they have ended;
        NotReached after `limit` virtual seconds.
        """
        end = self.world.clock.seconds() + limit
        while missing := self._unrest_of_store() + [each.name for each in self.servers if not each.ready]:
            self.supervise()
            self.world.advance(0.5)
            if self.world.clock.seconds() > end:
                self.world.run_until(lambda: False, 0.0, f"all to be there; {'; '.join(missing)}")

    def unrest(self) -> list[str]:
        """What is not at rest, in words; shards first."""
        return self._unrest_of_store() + super().unrest()

    def _unrest_of_store(self) -> list[str]:
        found = [f"{host.name} is down" for host in (*self.redis, *self.sentinels) if not host.up]
        return found or [problem for shard in self.shards() for problem in self._unrest_of_shard(shard)]

    def _unrest_of_shard(self, shard: str) -> list[str]:
        named, master = self.named(shard), self.master(shard)
        if set(named) != {master}:
            return [f"Sentinels name {', '.join(each.name for each in named)} for {shard}"]
        if not master.redis.is_master:
            return [f"{master.name} is no master"]
        found = [f"{each.name} does not follow" for each in self.replicas(shard) if not each.follows(master)]
        for each in self.sentinels:
            seen = each.sentinel.engine.monitored[shard]
            if seen.step is not Step.NONE:
                found.append(f"{each.name} goes on with a failover of {shard}")
            if len(seen.replicas) < self.copies - 1 or len(seen.sentinels) < SENTINELS - 1:
                found.append(f"{each.name} does not know all of {shard}")
        return found


