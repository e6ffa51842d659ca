"""Shards on servers in memory, and the parts of the Redis store put to work on them one by one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from taba.store.redis.access import Address
from taba.store.redis.keys import Keys
from taba.store.redis.library import ensure_library
from taba.store.redis.link import Link
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import ShardRange, shard_map
from taba.testing import World
from taba.testing.machine import machine_of
from taba.testing.redis import RedisServer
from taba.testing.redis.library import taba_library
from taba.testing.redis.library_moving import moving_library
from tests.contracts.store_harness import START

VBUCKETS = 8
Command = tuple[Any, ...]


@define(eq=False)
class Witness:
    """A `Source` that knows one master, and vouches for it or not."""

    address: Address
    vouching: bool = True

    def follow(self, shard: str, moved: Callable[[], None]) -> None:
        """It never moves."""

    def forget(self, shard: str) -> None:
        """There is nothing to forget."""

    def hurry(self, shard: str, needed: bool) -> None:
        """There is nobody to ask."""

    def master(self, shard: str) -> Address | None:
        """See `Source`."""
        return self.address

    def problem(self, shard: str) -> str:
        """See `Source`."""
        return ""

    def vouches(self, shard: str, master: Address) -> bool:
        """See `Source`."""
        return self.vouching

    def named_by(self, shard: str, master: Address) -> Sequence[str]:
        """See `Source`."""
        return ("a witness",)


@define(eq=False)
class WatchedLink:
    """A link whose commands are seen before they are sent."""

    _link: Link
    _shard: WatchedShard

    def call(self, *command: Any, **more: Any) -> Deferred[Any]:
        """See `Link.call`."""
        self._shard.see([command])
        return self._link.call(*command, **more)

    def call_all(self, commands: Sequence[Command], **more: Any) -> Deferred[Any]:
        """See `Link.call_all`."""
        self._shard.see(commands)
        return self._link.call_all(commands, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


@define(eq=False)
class WatchedShard:
    """A shard, of which the commands are kept in `sent`, and before which something may be done, once, at the first of
    those that have a word in them (`before`).
    """

    _shard: Shard
    sent: list[Command] = field(factory=list, init=False)
    _before: dict[str, Callable[[], object]] = field(factory=dict, init=False)

    def link(self, role: str) -> Any:
        """See `Shard.link`."""
        return WatchedLink(self._shard.link(role), self)

    def lost(self, reason: str, link: Any = None) -> None:
        """See `Shard.lost`."""
        self._shard.lost(reason, link._link if isinstance(link, WatchedLink) else link)

    def before(self, word: str, done: Callable[[], object]) -> None:
        """Do something when a command with this word is about to be sent."""
        self._before[word] = done

    def see(self, commands: Sequence[Command]) -> None:
        """Commands are about to be sent."""
        for command in commands:
            self.sent.append(command)
            for word in [word for word in self._before if word in command]:
                self._before.pop(word)()

    def words(self) -> list[str]:
        """The names of the commands and functions that were sent, in order; forgotten then."""
        words = [command[1] if command[0] == "FCALL" else command[0] for command in self.sent]
        self.sent.clear()
        return words

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shard, name)


class Stage:
    """Servers `redis-1` ... of the shards `shard1` ..., each with some replicas, and open links to all of them.

    The markers of the vbuckets are there, each shard has its share; unless they are not to be. Close it in the end.
    """

    def __init__(
        self, shards: int = 1, replicas: int = 0, marked: bool = True, opened: bool = True, **configuration: str
    ) -> None:
        self.world = World(seed=1, epoch=START)
        self.keys = Keys("t:")
        self.servers: dict[str, RedisServer] = {}
        self.replicas: dict[str, list[RedisServer]] = {}
        self.witnesses: dict[str, Witness] = {}
        self.shards: dict[str, Any] = {}
        share = VBUCKETS // shards
        names = [f"shard{number + 1}" for number in range(shards)]
        ranges = [ShardRange(name, at * share, (at + 1) * share - 1) for at, name in enumerate(names)]
        self.map = shard_map(VBUCKETS, ranges)
        for name in names:
            host = name.replace("shard", "redis-")
            master = self.servers[name] = self._server(host, configuration).start()
            followers = [self._server(f"{host}-{at}", configuration, master) for at in range(replicas)]
            self.replicas[name] = [each.start() for each in followers]
        self.world.advance(3.0)  # replicas find their masters
        self.node = self.world.node("app")
        self.process = machine_of(self.node.start())
        for name, server in self.servers.items():
            witness = self.witnesses[name] = Witness(Address(server.node.name, server.port))
            shard: Any = WatchedShard(Shard(name, self.process, source=witness))
            self.shards[name] = shard
            if not opened:
                continue
            shard.startService()
            self.world.result_of(shard.when_open())
            self.get(ensure_library(shard, shard.link("be")))
            for vbucket in self.map.vbuckets_of(name) if marked else ():
                server.ask("SET", self.keys.of("O", vbucket), "A:1")
            shard.words()

    def _server(self, host: str, configuration: dict[str, str], master: RedisServer | None = None) -> RedisServer:
        given = {key.replace("_", "-"): value for key, value in configuration.items()}
        libraries = {"taba": taba_library(), "taba_moving": moving_library()}
        return RedisServer(self.world.node(host), libraries=libraries, configuration=given, master=master)

    def add(self, name: str) -> None:
        """One more server, of a shard that nothing is on yet."""
        host = name.replace("shard", "redis-")
        self.servers[name] = self._server(host, {}).start()
        self.witnesses[name] = Witness(Address(host, self.servers[name].port))

    @property
    def shard(self) -> Any:
        """The first shard."""
        return self.shards["shard1"]

    @property
    def server(self) -> RedisServer:
        """The master of the first shard."""
        return self.servers["shard1"]

    def another(self) -> Any:
        """Links of their own to the first shard, as another process has them."""
        shard: Any = WatchedShard(Shard("shard1", self.process, source=self.witnesses["shard1"]))
        self.shards[f"another {len(self.shards)}"] = shard
        shard.startService()
        self.world.result_of(shard.when_open())
        return shard

    @staticmethod
    def begin(work: Awaitable[Any]) -> Deferred[Any]:
        """Something under way."""

        async def run() -> Any:
            return await work

        return work if isinstance(work, Deferred) else Deferred.fromCoroutine(run())

    def get(self, work: Awaitable[Any], limit: float = 20.0) -> Any:
        """The result of something that is asked of the shards; raises what it fails with."""
        return self.world.result_of(self.begin(work), limit)

    def reopen(self, name: str = "shard1") -> None:
        """Close the links of a shard, and wait for the next ones."""
        self.shards[name].lost("the test says so")
        self.world.result_of(self.shards[name].when_open())

    def reopen_later(self) -> None:
        """Close the links of the first shard: others are opened by themselves."""
        self.shard.lost("the test says so")

    def close(self) -> None:
        """Stop what runs, and complain of what is left over."""
        for shard in self.shards.values():
            self.world.result_of(shard.stopService())
        left = self.node.stop()
        try:
            if left:
                raise AssertionError(f"something was left behind: {left}")
            self.world.check_quiet()
        finally:
            self.world.close()
