"""Whose the shards are, and where each vbucket is: made for a new cluster, found out for one that exists.

`meta` of each shard names the cluster, and markers (`O:v`) say which vbuckets are there (see placing.py). SHARDS of
the settings are where the vbuckets of a new cluster are; later they say which shards there are, and where `taba-cli
reshard` is to bring the vbuckets, and what the markers say counts. A new cluster is founded in
two steps, so that a crash between any two commands is made good by the next server that starts: first every shard
gets its `meta` in the state `founding` and its markers, then every `meta` becomes `ready`. The shard whose name sorts
first decides between two servers that found at once. Markers are made only then: a shard that is `ready`, or empty
beside one that is, and lacks markers has lost its data, and is used again only when an operator says so; whose these
vbuckets were is told by `home` in `meta`, the ranges at the founding, where no shard knows better.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred

from taba.errors import StartError, StoreUnavailable
from taba.store.redis.asking import Command, ask, ask_all
from taba.store.redis.durability import Level
from taba.store.redis.keys import MARKERS, Keys
from taba.store.redis.placing import Marker, MoveRow, Placement, ShardFacts, place
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import ShardMap, ShardRange, shard_map
from taba.store.redis.side_by_side import together

FOUNDING, READY = "founding", "ready"
FOUNDING_WAIT = 500
"""Milliseconds that a replica gets to hear that a shard is ready."""


@frozen
class Identity:
    """Who the cluster is, and what its shards have."""

    cluster: str
    level: Level
    """The durability that was chosen at the cluster's first start."""
    placement: Placement

    @property
    def epochs(self) -> Mapping[int, int]:
        """Of the markers, by vbucket."""
        return self.placement.epochs

    @property
    def missing(self) -> Mapping[str, list[int]]:
        """Shard -> the vbuckets that it lost; empty when all is well."""
        return self.placement.missing


@frozen
class _Meta:
    cluster: str = ""
    vbuckets: int = 0
    state: str = ""
    durability: str = ""
    shard: str = ""
    home: str = ""


@frozen
class Seen:
    """What a shard said of itself when it was looked at."""

    meta: _Meta
    facts: ShardFacts


@frozen
class Founding:
    """Finds out, or decides, who the cluster is."""

    _shards: Mapping[str, Shard]
    _map: ShardMap
    """As the settings have it."""
    _keys: Keys
    _new_id: Callable[[], str]

    async def establish(self, level: Callable[[], Deferred[Level]], known: Identity | None = None) -> Identity:
        """The cluster that the shards are of, made when there is none yet, with the durability that `level` finds.

        A process that was at work knows who the cluster is (`known`): shards that are all empty have lost their data
        then, and no other cluster is founded on them.

        Raises StartError when the shards belong to different clusters, or have another NUM_VBUCKETS; StoreUnavailable
        when a shard cannot be reached.
        """
        return await self.settle(await self.see_all(), level, known)

    async def settle(
        self, seen: Mapping[str, Seen], level: Callable[[], Deferred[Level]], known: Identity | None = None
    ) -> Identity:
        """As `establish`, with what was seen of all shards."""
        self.check(seen, known)
        if known is None and not any(each.meta.state == READY for each in seen.values()):
            metas = {name: each.meta for name, each in seen.items()}
            await self._found(next(iter([m.cluster for m in metas.values() if m.cluster]), ""), level)
            seen = await self.see_all()
            self.check(seen, known)
        placement = self.place(seen)
        if placement.missing:  # who founds the cluster may have made markers since they were read, before any was ready
            seen = await self.see_all()
            self.check(seen, known)
            placement = self.place(seen)
        # A server that founded the cluster ended before it came to these.
        names = [name for name, each in seen.items() if each.meta.state == FOUNDING]
        await self._set_ready([name for name in names if name not in placement.missing], self._home_of(seen))
        await self._note_home(seen, placement)
        first = next((each.meta for each in seen.values() if each.meta.state == READY), None)
        if first is None:
            if known is None:
                raise StoreUnavailable("a failover took back that the cluster was founded")
            return evolve(known, placement=placement)
        return Identity(first.cluster, Level(first.durability), placement)

    async def look(self) -> Identity | None:
        """As `establish`, but nothing is written: None when there is no cluster yet, or one that is being founded."""
        seen = await self.see_all()
        self.check(seen)
        first = next((each.meta for each in seen.values() if each.meta.state == READY), None)
        return None if first is None else Identity(first.cluster, Level(first.durability), self.place(seen))

    async def accept_loss(self, name: str, known: Identity, level: Level) -> list[int]:
        """Let a shard that lost its data begin anew: it gets what it lacks of its markers. Answers with their vbuckets.

        Raises StartError, and changes nothing, when another cluster's data is there.
        """
        seen = await self.see_all()
        self.check(seen, known)
        lost = self.place(seen).missing.get(name, [])
        if lost:
            await self._claim(name, lost, known.cluster, level, begin_anew=True)
            await self._set_ready([name], self._home_of(seen))
        return lost

    async def adopt(self, name: str, known: Identity) -> None:
        """Let a shard that has nothing yet belong to the cluster, without any vbucket."""
        await self._claim(name, [], known.cluster, known.level)
        await self._set_ready([name], self._home_of(await self.see_all()))

    # -------------------------------------------------------------------------------------------------------- reading

    async def see(self, name: str) -> Seen:
        """Look at one shard."""
        shard, vbuckets = self._shards[name], range(self._map.vbuckets)
        fields = ("cluster", "vbuckets", "state", "durability", "shard", "home")
        commands: list[Command] = [
            ("HMGET", self._keys.meta, *fields),
            ("MGET", *(self._keys.of(MARKERS, vbucket) for vbucket in vbuckets)),
            ("HGETALL", self._keys.moves),
        ]
        found, markers, moves = await ask_all(shard, shard.link("be"), commands)
        cluster, count, *rest = ((value or b"").decode() for value in found)
        facts = ShardFacts(
            {v: Marker.read(value) for v, value in zip(vbuckets, markers, strict=True) if value is not None},
            {int(v): MoveRow.read(row) for v, row in zip(moves[::2], moves[1::2], strict=True)},
        )
        return Seen(_Meta(cluster, int(count or 0), *rest), facts)

    async def see_all(self) -> dict[str, Seen]:
        """Look at all shards."""
        names = list(self._shards)
        return dict(zip(names, await together(self.see(name) for name in names), strict=True))

    def place(self, seen: Mapping[str, Seen]) -> Placement:
        """Where the vbuckets are."""
        return place({name: each.facts for name, each in seen.items()}, self._home_of(seen))

    def _home_of(self, seen: Mapping[str, Seen]) -> ShardMap:
        """The ranges at the founding; those of the settings where nobody noted them."""
        noted = next((each.meta.home for each in seen.values() if each.meta.home), "")
        if not noted:
            return self._map
        return shard_map(self._map.vbuckets, [ShardRange(*each) for each in json.loads(noted)])

    async def _note_home(self, seen: Mapping[str, Seen], placement: Placement) -> None:
        """Clusters of before did not note it; where all is where the settings have it, it is noted now."""
        if any(each.meta.home for each in seen.values()) or placement.map.runs() != self._map.runs():
            return
        if not placement.missing and all(each.meta.state == READY for each in seen.values()):
            for name in seen:
                await ask(self._shards[name], "be", "HSETNX", self._keys.meta, "home", _text(self._map))

    def check(self, seen: Mapping[str, Seen], known: Identity | None = None) -> None:
        """Raise StartError when the shards are not of one cluster, or not of `known`, or not those of the settings."""
        self._check({name: each.meta for name, each in seen.items()}, known)

    def _check(self, metas: Mapping[str, _Meta], known: Identity | None = None) -> None:
        clusters = {meta.cluster: name for name, meta in metas.items() if meta.cluster}
        if len(clusters) > 1:
            (one, first), (other, second), *_ = clusters.items()
            raise StartError(
                f"The shards belong to different clusters: {first} to {one}, {second} to {other}. Correct DB_SETTINGS"
                " (SENTINELS, SHARDS), or give this cluster a KEY_PREFIX of its own."
            )
        for name, meta in metas.items():
            if meta.cluster and meta.vbuckets != self._map.vbuckets:
                raise StartError(
                    f"The data on shard {name} was written with NUM_VBUCKETS {meta.vbuckets}, and the settings say"
                    f" {self._map.vbuckets}. The number cannot change: set NUM_VBUCKETS to {meta.vbuckets}."
                )
            if meta.shard not in ("", name):
                raise StartError(
                    f"What the settings call shard {name} holds the data of shard {meta.shard}: correct SHARDS, or the"
                    " names in the Sentinels' configuration."
                )
            if known is not None and meta.cluster not in ("", known.cluster):
                raise StartError(
                    f"Shard {name} holds the data of cluster {meta.cluster} now, and this server is of cluster"
                    f" {known.cluster}. Bring the data of that one back, or start the server again."
                )

    # -------------------------------------------------------------------------------------------------------- founding

    async def _found(self, cluster: str, level: Callable[[], Deferred[Level]]) -> None:
        """Found a new cluster, or go on where another server that founds it is, or was."""
        chosen = await level()
        first, *others = self._map.names()
        cluster = await self._claim(first, self._map.vbuckets_of(first), cluster or self._new_id(), chosen)
        for name in others:
            if await self._claim(name, self._map.vbuckets_of(name), cluster, chosen) != cluster:
                raise StoreUnavailable(f"shard {name}: another server founds another cluster on it")
        await self._set_ready(self._map.names(), self._map)

    async def _claim(
        self, name: str, vbuckets: Sequence[int], cluster: str, level: Level, begin_anew: bool = False
    ) -> str:
        """Write meta and markers of a shard; answers with the cluster that it belongs to now."""
        keys = [self._keys.meta, *(self._keys.of(MARKERS, vbucket) for vbucket in vbuckets)]
        arguments = [cluster, self._map.vbuckets, level.value, name, int(begin_anew)]
        command = ("FCALL", "taba_found", len(keys), *keys)
        owner, _ = await self._write(name, (*command, *arguments))
        if owner.decode() != cluster:
            owner, _ = await self._write(name, (*command, owner, *arguments[1:]))
        return str(owner.decode())

    async def _write(self, name: str, command: Command) -> Any:
        """The reply to a command that a failover must not take back: a replica has it, where there is one, and the
        Sentinels name this master. Raises StoreUnavailable when that is not so; what was written may be there or not.
        """
        shard = self._shards[name]
        if shard.state()["replicas"]:
            # Repeated, the command itself may write nothing, and WAIT would wait for nothing.
            more = ("HINCRBY", self._keys.meta, "writes", 1), ("WAIT", 1, FOUNDING_WAIT)
            reply, _, replicas = await ask_all(shard, shard.link("be"), [command, *more])
            if not replicas:
                raise StoreUnavailable(f"shard {name}: no replica has heard of the cluster's founding yet")
        else:
            reply = await ask(shard, "be", *command)
        if not shard.vouched():
            raise StoreUnavailable(f"shard {name}: no majority of the Sentinels names its master now")
        return reply

    async def _set_ready(self, names: Sequence[str], home: ShardMap) -> None:
        for name in names:
            await self._write(name, ("HSET", self._keys.meta, "state", READY, "home", _text(home)))


def _text(ranges: ShardMap) -> str:
    return json.dumps(ranges.runs(), separators=(",", ":"))
