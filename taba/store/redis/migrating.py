"""Moves a whole embedded store into a new Redis cluster: exact, resumable, and used by nobody before it is whole.

In its steps:

1. look: every shard must be empty, or belong to this very migration, begun before.
2. claim: shard by shard, in one transaction each, `meta` gets the cluster's id and every vbucket the marker `I:1`,
   importing. From here on a server that starts on these shards takes nothing for any vbucket (appends are `moved`,
   leases are not granted), and no other cluster can be founded there.
3. copy, vbucket by vbucket. When one is complete, the hash `migrating` gets its fingerprint; a run that is begun again
   goes on behind these. What was half copied is cleared first. What belongs to a shard as a whole (Partials that were
   set aside) comes last.
4. compare: every value is read back and compared with the store's.
5. activate: replicas have it all, then every marker becomes `A:1`, shard by shard.

The source stays locked and is not changed. After step 5 it must not be used again: two clusters of one id would both
take what agents send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import define, field, frozen

from taba.errors import StartError, StoreUnavailable
from taba.store.exporting import Export, VbucketRow
from taba.store.redis import rows
from taba.store.redis.asking import Command, ask, ask_all, unavailable
from taba.store.redis.durability import Level
from taba.store.redis.founding import READY
from taba.store.redis.keys import AGGREGATES, CLIENTS, ENTRIES, LANES, LEDGER, LOG, MARKERS, POSITION, TYPES, Keys
from taba.store.redis.library import ensure_library, present_version
from taba.store.redis.link import RedisRefused
from taba.store.redis.migrated_rows import FIELDS, MigratedRows, aside_entry, aside_fields, settings
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import ShardMap

IMPORTING, ACTIVE = b"I:1", b"A:1"
MIGRATION = "migration"
"""The field of `meta` that tells that a migration is under way."""
COMMAND_BYTES = 1 << 20
"""What is sent at once, about; a reply has to come within the time of a call."""
WAIT_MILLISECONDS = 1500
WAITS = 40
"""How often replicas are waited for."""


class Differs(StoreUnavailable):
    """What was read back is not what was written."""


@frozen
class Progress:
    """How far a migration is."""

    stage: str
    """`copying` or `comparing`."""
    done: int
    """Vbuckets that are done."""
    vbuckets: int
    values: int
    """Values that were written or compared."""
    bytes: int


@define(eq=False)
class Migration:
    """The move of one store to the shards of `ranges`, whose links are open. `told` hears how far it is."""

    _export: Export
    _shards: Mapping[str, Shard]
    _ranges: ShardMap
    _keys: Keys
    _level: Level | None = None
    """DURABILITY of the settings; None finds out."""
    _told: Callable[[Progress], None] = field(default=lambda progress: None)
    _names: Sequence[str] = field(default=(), init=False)
    """The shards that are not active yet; `look` finds them."""
    _source: MigratedRows = field(init=False)
    _values: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._source = MigratedRows(self._export, self._keys)

    @property
    def _marks(self) -> bytes:
        """The key of a shard that says which vbuckets are complete."""
        return f"{self._keys.prefix}migrating".encode()

    def _vbuckets(self) -> list[int]:
        """Of the shards that are not active yet."""
        return sorted(vbucket for name in self._names for vbucket in self._ranges.vbuckets_of(name))

    def _shard_of(self, vbucket: int) -> Shard:
        return self._shards[self._ranges.shard_of(vbucket)]

    # ----------------------------------------------------------------------------------------------------- looking

    async def look(self) -> int:
        """Whether the shards may be used; answers with how many vbuckets an earlier run has copied. Writes nothing.

        Raises StartError when they may not: they hold another cluster, or this one, active; or NUM_VBUCKETS differs.
        """
        identity = self._export.identity
        if identity.vbuckets != self._ranges.vbuckets:
            raise StartError(
                f"The store in {self._export.folder.path} has NUM_VBUCKETS {identity.vbuckets}, and the settings say"
                f" {self._ranges.vbuckets}. The number cannot change: set NUM_VBUCKETS to {identity.vbuckets}."
            )
        done, names = 0, []
        for name in self._ranges.names():
            await present_version(self._shards[name], self._shards[name].link("be"))
            meta = await self._meta(name)
            self._check(name, meta)
            if MIGRATION in meta:
                done += int(await ask(self._shards[name], "be", "HLEN", self._marks))
            elif not meta:
                await self._check_empty(name)
            if MIGRATION in meta or not meta:
                names.append(name)
        if not names:
            raise StartError(
                "This Redis already holds this cluster, and uses it: it was moved here before. Start the servers with"
                " the settings of Redis; nothing was written."
            )
        self._names = names
        return done

    async def _meta(self, name: str) -> dict[str, str]:
        meta = rows.pairs(await ask(self._shards[name], "be", "HGETALL", self._keys.meta))
        return {key: value.decode() for key, value in meta.items()}

    def _check(self, name: str, meta: Mapping[str, str]) -> None:
        """Raise StartError when a shard is another cluster's, or another shard."""
        cluster = meta.get("cluster", "")
        if cluster and cluster != self._export.identity.cluster_id:
            raise StartError(
                f"Shard {name} already holds cluster {cluster}, and the store in {self._export.folder.path} is cluster"
                f" {self._export.identity.cluster_id}: nothing was written. Name an empty Redis, or give this cluster"
                " a KEY_PREFIX of its own."
            )
        if meta.get("shard", name) != name:
            raise StartError(f"What the settings call shard {name} is shard {meta['shard']}: correct SHARDS.")

    async def _check_empty(self, name: str) -> None:
        """No vbucket may have a marker where no cluster is."""
        keys = [self._keys.of(MARKERS, vbucket) for vbucket in self._ranges.vbuckets_of(name)]
        if any(await ask(self._shards[name], "be", "MGET", *keys)):
            raise StartError(
                f"Shard {name} holds vbuckets of a cluster whose name is lost: name an empty Redis, or give this"
                " cluster a KEY_PREFIX of its own."
            )

    # -------------------------------------------------------------------------------------------------------- moving

    async def run(self) -> Progress:
        """Claim, copy, compare, activate; what was compared. Raises StartError when the shards may not be used, and
        StoreUnavailable for whatever ends it half way: another run goes on from there.
        """
        await self.look()
        level = self._choose_level()
        for name in self._names:
            await ensure_library(self._shards[name], self._shards[name].link("be"))
            await self._claim(name, level)
        await self._copy()
        compared = await self._compare()
        for name in self._names:
            await self._settle(name)
        for name in self._names:
            await self._activate(name)
        return compared

    def _choose_level(self) -> Level:
        if self._level is not None:
            return self._level
        replicated = all(shard.state()["replicas"] for shard in self._shards.values())
        return Level.REPLICATED if replicated else Level.MEMORY

    async def _claim(self, name: str, level: Level) -> None:
        """Let a shard be ours, and all its vbuckets importing; as it is where it is so already."""
        keys, cluster = self._keys, self._export.identity.cluster_id
        await ask(self._shards[name], "be", "WATCH", keys.meta)
        before = await self._meta(name)
        self._check(name, before)
        markers = [keys.of(MARKERS, vbucket) for vbucket in self._ranges.vbuckets_of(name)]
        commands: list[Command] = []
        if not before:
            commands += [("SET", marker, IMPORTING) for marker in markers]
            commands.append(("HSET", keys.meta, "cluster", cluster, MIGRATION, cluster))
        # The function, which founds clusters, says what else `meta` has; it leaves markers that there are.
        found = ("FCALL", "taba_found", 1 + len(markers), keys.meta, *markers)
        commands.append((*found, cluster, self._ranges.vbuckets, level.value, name, 0))
        await self._execute(name, commands, "somebody else writes to it now; stop all servers that use it")

    async def _execute(self, name: str, commands: Sequence[Command], otherwise: str) -> None:
        """Do a transaction whole; StoreUnavailable, with a sentence, when it was not done."""
        shard, link = self._shards[name], self._shards[name].link("be")
        *_, replies = await ask_all(shard, link, [("MULTI",), *commands, ("EXEC",)])
        if replies is None:
            raise StoreUnavailable(f"shard {name}: {otherwise}")
        for reply in replies:
            if isinstance(reply, RedisRefused):
                raise unavailable(shard, link, reply) from reply

    async def _copy(self) -> None:
        """Copy what is not there yet."""
        self._values = self._bytes = 0
        for done, vbucket in enumerate(self._vbuckets()):
            self._tell("copying", done)
            shard = self._shard_of(vbucket)
            row = self._export.vbucket(vbucket)
            mark = self._fingerprint(row)
            if await ask(shard, "be", "HGET", self._marks, vbucket) != mark:
                await ask(shard, "be", "HDEL", self._marks, vbucket)
                await self._clear(shard, vbucket)
                await self._copy_vbucket(shard, row)
                await ask(shard, "be", "HSET", self._marks, vbucket, mark)
        for name in self._names:
            await ask(self._shards[name], "be", "DEL", *self._keys.aside)
            aside = self._source.aside(set(self._ranges.vbuckets_of(name)))
            await self._send(self._shards[name], self._source.aside_commands(aside))

    def _fingerprint(self, row: VbucketRow) -> bytes:
        """What changes whenever a server has worked on a vbucket between two runs."""
        lanes = sum(lane.last for page in self._export.lanes(row.vbucket) for _, lane in page)
        return f"{row.last_id}:{row.folded}:{row.commits}:{row.epoch}:{row.lost}:{row.flushed}:{lanes}".encode()

    async def _clear(self, shard: Shard, vbucket: int) -> None:
        """Take away what an earlier run copied of a vbucket. The tabs are listed before their States are written."""
        of = self._keys.of
        tabs = await ask(shard, "be", "HKEYS", of(TYPES, vbucket))
        await self._send(shard, [("DEL", self._keys.states(vbucket, tab.decode())) for tab in tabs])
        letters = (LOG, ENTRIES, LANES, POSITION, AGGREGATES, CLIENTS, LEDGER, TYPES)
        await ask(shard, "be", "DEL", *(of(letter, vbucket) for letter in letters))

    async def _copy_vbucket(self, shard: Shard, row: VbucketRow) -> None:
        for key, pages in self._source.hashes(row):
            for page in pages:
                await self._send(shard, settings(key, page))
        for commands in self._source.log_commands(row):
            await self._send(shard, commands)
        await self._send(shard, [("SET", *self._source.position(row))])

    async def _send(self, shard: Shard, commands: Sequence[Command]) -> None:
        """Send commands, about COMMAND_BYTES at once."""
        part: list[Command] = []
        size = 0
        for command in commands:
            length = sum(len(each) if isinstance(each, bytes | str) else 8 for each in command)
            if part and size + length > COMMAND_BYTES:
                await ask_all(shard, shard.link("be"), part)
                part, size = [], 0
            part.append(command)
            size += length
            self._count((len(command) - 2) // 2, length)
        await ask_all(shard, shard.link("be"), part)

    def _count(self, values: int, size: int) -> None:
        self._values += values
        self._bytes += size

    def _tell(self, stage: str, done: int) -> Progress:
        progress = Progress(stage, done, len(self._vbuckets()), self._values, self._bytes)
        self._told(progress)
        return progress

    # ----------------------------------------------------------------------------------------------------- comparing

    async def _compare(self) -> Progress:
        """Read everything back. Raises Differs where it is not what the store has; the next run copies that vbucket
        again.
        """
        self._values = self._bytes = 0
        for done, vbucket in enumerate(self._vbuckets()):
            self._tell("comparing", done)
            shard = self._shard_of(vbucket)
            try:
                await self._compare_vbucket(shard, self._export.vbucket(vbucket))
            except Differs:
                await ask(shard, "be", "HDEL", self._marks, vbucket)
                raise
        for name in self._names:
            await self._compare_aside(name)
        return self._tell("comparing", len(self._vbuckets()))

    async def _compare_vbucket(self, shard: Shard, row: VbucketRow) -> None:
        for key, pages in self._source.hashes(row):
            count = 0
            for page in pages:
                count += len(page)
                for start in range(0, len(page), FIELDS):
                    await self._compare_fields(shard, key, page[start : start + FIELDS])
            _expect(count == await ask(shard, "be", "HLEN", key), key)
        key, position = self._source.position(row)
        _expect(position == await ask(shard, "be", "GET", key), key)
        await self._compare_log(shard, row)

    async def _compare_fields(self, shard: Shard, key: bytes, fields: Sequence[tuple[bytes, bytes]]) -> None:
        found = await ask(shard, "be", "HMGET", key, *(name for name, _ in fields))
        _expect(found == [value for _, value in fields], key)
        self._count(len(fields), sum(len(name) + len(value) for name, value in fields))

    async def _compare_log(self, shard: Shard, row: VbucketRow) -> None:
        log, entries = self._source.log_keys(row.vbucket)
        count, last = 0, b""
        for page, items in self._source.log_pages(row):
            first, last = rows.log_id(page[0].id), rows.log_id(page[-1].id)
            found = rows.read_entries(row.vbucket, "", await ask(shard, "be", "XRANGE", log, first, last))
            kept = [(each.id, round(each.appended, 6), each.events, each.body) for each in page]
            _expect(kept == [(each.id, each.appended, each.events, each.body) for each in found], log)
            _expect(items == await ask(shard, "be", "LRANGE", entries, count, count + len(page) - 1), entries)
            count += len(page)
            self._count(len(page), sum(len(each.body) for each in page))
        newest = await ask(shard, "be", "XREVRANGE", log, "+", "-", "COUNT", 1)
        _expect([stream_id for stream_id, _ in newest] == ([last] if count else []), log)
        _expect(count == await ask(shard, "be", "LLEN", entries), entries)

    async def _compare_aside(self, name: str) -> None:
        stream, sizes = self._keys.aside
        shard, kept = self._shards[name], self._source.aside(set(self._ranges.vbuckets_of(name)))
        for each in kept:
            found = await ask(shard, "be", "XRANGE", stream, aside_entry(each), aside_entry(each))
            _expect([list(fields) for _, fields in found] == [aside_fields(each)], stream)
            self._count(1, len(each.partial))
        newest = await ask(shard, "be", "XREVRANGE", stream, "+", "-", "COUNT", 1)
        _expect([stream_id for stream_id, _ in newest] == [aside_entry(each) for each in kept[-1:]], stream)
        _expect(len(kept) == await ask(shard, "be", "LLEN", sizes), sizes)

    # ---------------------------------------------------------------------------------------------------- activating

    async def _settle(self, name: str) -> None:
        """Wait until a replica has all that was written, where there is one; and see that Sentinels name this master.
        """
        shard = self._shards[name]
        if shard.state()["replicas"]:
            for _ in range(WAITS):
                write, wait = ("HINCRBY", self._keys.meta, "writes", 1), ("WAIT", 1, WAIT_MILLISECONDS)
                if (await ask_all(shard, shard.link("be"), [write, wait]))[-1]:
                    break
            else:
                raise StoreUnavailable(f"shard {name}: no replica has got everything yet; migrate again later")
        if not shard.vouched():
            raise StoreUnavailable(f"shard {name}: no majority of the Sentinels names its master now; migrate again")

    async def _activate(self, name: str) -> None:
        """Let servers use a shard."""
        keys = self._keys
        commands: list[Command] = [
            ("SET", keys.of(MARKERS, vbucket), ACTIVE) for vbucket in self._ranges.vbuckets_of(name)
        ]
        commands += [("DEL", self._marks), ("HDEL", keys.meta, MIGRATION), ("HSET", keys.meta, "state", READY)]
        await self._execute(name, commands, "it could not be activated; migrate again")
        await self._settle(name)


def _expect(same: bool, key: bytes) -> None:
    if not same:
        raise Differs(
            f"what was read back of {key.decode(errors='replace')} is not what was written: something else writes to"
            " this Redis. Stop it, and migrate again; nothing is served from it yet"
        )
