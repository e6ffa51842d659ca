"""Whose the shards are: made for a new cluster, checked for one that exists.

`meta` of each shard names the cluster, and markers (`O:v`) say which vbuckets are there. A new cluster is founded in
two steps, so that a crash between any two commands is made good by the next server that starts: first every shard
gets its `meta` in the state `founding` and its markers, then every `meta` becomes `ready`. The shard whose name sorts
first decides between two servers that found at once. Markers are made only then: a shard that is `ready`, or empty
beside one that is, and lacks markers has lost its data, and is used again only when an operator says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred

from taba.errors import StartError, StoreUnavailable
from taba.store.redis.asking import Command, ask, ask_all
from taba.store.redis.durability import Level
from taba.store.redis.keys import MARKERS, Keys
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import ShardMap
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
    epochs: Mapping[int, int]
    """Of the markers, by vbucket."""
    missing: Mapping[str, list[int]]
    """Shard -> the vbuckets that it lost; empty when all is well."""


@frozen
class _Meta:
    cluster: str = ""
    vbuckets: int = 0
    state: str = ""
    durability: str = ""
    shard: str = ""


@frozen
class Founding:
    """Finds out, or decides, who the cluster is."""

    _shards: Mapping[str, Shard]
    _map: ShardMap
    _keys: Keys
    _new_id: Callable[[], str]

    async def establish(self, level: Callable[[], Deferred[Level]], known: Identity | None = None) -> Identity:
        """The cluster that the shards are of, made when there is none yet, with the durability that `level` finds.

        A process that was at work knows who the cluster is (`known`): shards that are all empty have lost their data
        then, and no other cluster is founded on them.

        Raises StartError when the shards belong to different clusters, or have another NUM_VBUCKETS, or the settings
        have vbuckets on other shards than their data; StoreUnavailable when a shard cannot be reached.
        """
        metas = await self._metas()
        self._check(metas, known)
        if known is None and not any(meta.state == READY for meta in metas.values()):
            metas = await self._found(next(iter([m.cluster for m in metas.values() if m.cluster]), ""), level)
        epochs, missing = await self._markers()
        await self._check_places(missing)
        # A server that founded the cluster ended before it came to these.
        await self._set_ready([name for name, meta in metas.items() if meta.state == FOUNDING and name not in missing])
        first = next((meta for meta in metas.values() if meta.state == READY), None)
        if first is None:
            if known is None:
                raise StoreUnavailable("a failover took back that the cluster was founded")
            return evolve(known, epochs=epochs, missing=missing)
        return Identity(first.cluster, Level(first.durability), epochs, missing)

    async def look(self) -> Identity | None:
        """As `establish`, but nothing is written: None when there is no cluster yet, or one that is being founded."""
        metas = await self._metas()
        self._check(metas)
        first = next((meta for meta in metas.values() if meta.state == READY), None)
        if first is None:
            return None
        epochs, missing = await self._markers()
        await self._check_places(missing)
        return Identity(first.cluster, Level(first.durability), epochs, missing)

    async def accept_loss(self, name: str, known: Identity, level: Level) -> list[int]:
        """Let a shard that lost its data begin anew: it gets what it lacks of its markers. Answers with their vbuckets.

        Raises StartError, and changes nothing, when the data is on another shard, or another cluster's is there.
        """
        self._check(await self._metas(), known)
        _, missing = await self._markers()
        await self._check_places(missing)
        if missing.get(name):
            await self._claim(name, known.cluster, level, begin_anew=True)
            await self._set_ready([name])
        return missing.get(name, [])

    # -------------------------------------------------------------------------------------------------------- reading

    async def _metas(self) -> dict[str, _Meta]:
        async def of(shard: Shard) -> _Meta:
            fields = ("cluster", "vbuckets", "state", "durability", "shard")
            found = [value or b"" for value in await ask(shard, "be", "HMGET", self._keys.meta, *fields)]
            cluster, vbuckets, state, durability, name = (value.decode() for value in found)
            return _Meta(cluster, int(vbuckets or 0), state, durability, name)

        names = self._map.names()
        found = await together(of(self._shards[name]) for name in names)
        return dict(zip(names, found, strict=True))

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

    async def _markers(self) -> tuple[dict[int, int], dict[str, list[int]]]:
        """The epochs of the markers that are there, and the vbuckets of each shard that lack theirs."""
        epochs: dict[int, int] = {}
        missing: dict[str, list[int]] = {}
        for name in self._map.names():
            vbuckets = self._map.vbuckets_of(name)
            keys = [self._keys.of(MARKERS, vbucket) for vbucket in vbuckets]
            for vbucket, value in zip(vbuckets, await ask(self._shards[name], "be", "MGET", *keys), strict=True):
                if value is None:
                    missing.setdefault(name, []).append(vbucket)
                else:
                    epochs[vbucket] = int(value[2:])
        return epochs, missing

    async def _check_places(self, missing: Mapping[str, list[int]]) -> None:
        """A vbucket whose data is on another shard is not lost: the settings have it in the wrong place."""
        for name, vbuckets in missing.items():
            for other in self._map.names():
                keys = [self._keys.of(MARKERS, vbucket) for vbucket in vbuckets]
                found = [] if other == name else await ask(self._shards[other], "be", "MGET", *keys)
                here = [v for v, value in zip(vbuckets, found, strict=False) if value and value.startswith(b"A:")]
                if here:
                    raise StartError(
                        f"SHARDS has vbucket {here[0]} on {name}, and its data is on {other}: give the ranges back to"
                        " the shards that had them."
                    )

    # -------------------------------------------------------------------------------------------------------- founding

    async def _found(self, cluster: str, level: Callable[[], Deferred[Level]]) -> dict[str, _Meta]:
        """Found a new cluster, or go on where another server that founds it is, or was."""
        chosen = await level()
        first, *others = self._map.names()
        cluster = await self._claim(first, cluster or self._new_id(), chosen)
        for name in others:
            if await self._claim(name, cluster, chosen) != cluster:
                raise StoreUnavailable(f"shard {name}: another server founds another cluster on it")
        await self._set_ready(self._map.names())
        return await self._metas()

    async def _claim(self, name: str, cluster: str, level: Level, begin_anew: bool = False) -> str:
        """Write meta and markers of a shard; answers with the cluster that it belongs to now."""
        keys = [self._keys.meta, *(self._keys.of(MARKERS, v) for v in self._map.vbuckets_of(name))]
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

    async def _set_ready(self, names: list[str]) -> None:
        for name in names:
            await self._write(name, ("HSET", self._keys.meta, "state", READY))
