"""Brings one vbucket from the shard that has it to another: copy, seal, copy the rest, activate. IO.

The mover takes the lease first, so that nobody writes States meanwhile, and gets a position that nobody else was
granted: when the source is sealed under this very position and lineage, what was copied is what it has. Batches are
appended to the log all the while; entries are copied as they come, until few are left. Only then the source is sealed,
and the rest of the log, the lanes' rows and the ledger are copied: they are of one moment, because nothing changes any
more. Everything is written to the target by functions that refuse it once another mover has begun.

Whatever goes wrong raises, and nothing is remembered: the next attempt looks at both shards, and begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from taba.errors import StoreUnavailable
from taba.store.redis.asking import Command, ask, ask_all
from taba.store.redis.keys import (
    AGGREGATES,
    CLIENTS,
    ENTRIES,
    LANES,
    LEASE,
    LEDGER,
    LOG,
    MARKERS,
    POSITION,
    TYPES,
    Keys,
)
from taba.store.redis.move_steps import Pair
from taba.store.redis.moved_aside import forget_commands, import_commands, of_vbucket
from taba.store.redis.placing import IMPORTING, SEALED, Marker
from taba.store.redis.settling import ROLE, Settling
from taba.store.redis.shard import Shard
from taba.store.redis.side_by_side import together

LEASE_SECONDS = 3.0
"""How long the mover's lease lasts when the mover dies: so long nobody folds."""
SCANNED_KEYS = 20
"""Of how many hashes fields are read at once."""
SCANNED_FIELDS = 100
"""About how many fields of each."""
CALL_BYTES = 256 << 10
CALL_PARTS = 2000
"""How much one call imports: Lua copies it, and takes so many arguments apart at most."""
LOG_ITEMS = 256
"""Of how many entries of the log the sizes are read at once."""
SHORT_BYTES = 64 << 10
SHORT_ENTRIES = 16
"""With so little left in the log the source is sealed."""
LOG_ROUNDS = 50
"""After so many rounds it is sealed in any case: more comes than can be copied."""

class MoveFailed(StoreUnavailable):
    """The copy is not what the source has any more, or another mover goes on: to be begun anew."""


@frozen
class Copied:
    """What a copy came to."""

    sealed_seconds: float
    """From the seal to the answer of the activation."""
    paused_seconds: float
    """From the taking of the lease on: so long nobody folded."""
    bytes: int


@define(eq=False)
class VbucketCopy:
    """One attempt."""

    _vbucket: int
    _pair: Pair
    _source: Shard
    _target: Shard
    _keys: Keys
    _settling: Settling
    _token: str
    _clock: IReactorTime
    _lineage: str = field(default="", init=False)
    """Of the source, when the lease was taken."""
    _position: bytes = field(default=b"", init=False)
    _target_lineage: str = field(default="", init=False)
    _logged: int = field(default=0, init=False)
    """How many entries of the log were copied."""
    _lanes: dict[bytes, bytes] = field(factory=dict, init=False)
    """The rows of lanes as they were imported."""
    _held: float = field(default=0.0, init=False)
    _bytes: int = field(default=0, init=False)

    async def run(self) -> Copied:
        """Do it all. Raises StoreUnavailable."""
        began = self._clock.seconds()
        await self._take()
        await self._begin()
        await self._clear()
        await self._import_states()
        await self._import_log_until_short()
        await self._import_lanes()
        await self._settling.settle(self._target)  # what waits for replicas in vain should do so before the seal
        await self._hold()
        sealed = self._clock.seconds()
        entries = await self._seal()
        await together([self._settling.settle(self._source), self._import_rest(entries)])
        await self._settling.settle(self._target)
        await self._check_frozen()
        await self._activate()
        now = self._clock.seconds()
        await self._settling.settle(self._target)
        return Copied(now - sealed, now - began, self._bytes)

    # ---------------------------------------------------------------------------------------------------- the source

    @property
    def _epoch(self) -> int:
        return self._pair.next_epoch

    @property
    def _sealed(self) -> bytes:
        return Marker(SEALED, self._pair.source.epoch).value

    def _of(self, *letters: str) -> list[bytes]:
        return [self._keys.of(letter, self._vbucket) for letter in letters]

    async def _ask_source(self, function: str, keys: Sequence[bytes], *arguments: Any) -> Any:
        return await ask(self._source, ROLE, "FCALL", function, len(keys), *keys, *arguments)

    async def _take(self) -> None:
        """Take the lease from its owner, who will notice by it."""
        keys = [*self._of(MARKERS, LEASE, POSITION), self._keys.moves]
        marker, row = self._expected
        lineage, position = await self._ask_source(
            "taba_move_take", keys, self._vbucket, marker, row, self._owner, self._milliseconds
        )
        if not position:
            raise MoveFailed(f"vbucket {self._vbucket}: {self._source.name} has it no longer as it was")
        self._lineage, self._position, self._held = lineage.decode(), position, self._clock.seconds()

    @property
    def _expected(self) -> tuple[bytes, bytes]:
        """Marker and row of the source."""
        source = self._pair.source
        if source.marker is None or source.row is None:
            raise MoveFailed(f"vbucket {self._vbucket}: {self._source.name} has it no longer")
        return source.marker.value, source.row.value

    @property
    def _owner(self) -> str:
        return f"mover-{self._token}"

    @property
    def _milliseconds(self) -> int:
        return round(LEASE_SECONDS * 1000)

    async def _hold(self) -> None:
        """Keep the lease, from time to time."""
        if self._clock.seconds() - self._held < LEASE_SECONDS / 3:
            return
        lease = f"{self._owner}:{self._position.split(b':')[2].decode()}"
        held = await self._ask_source(
            "taba_move_hold", self._of(LEASE, POSITION), self._lineage, self._position, lease, self._milliseconds
        )
        if not held:
            raise MoveFailed(f"vbucket {self._vbucket}: {self._source.name} was written meanwhile, or failed over")
        self._held = self._clock.seconds()

    async def _seal(self) -> int:
        """From here on nothing is appended; how many entries the log has."""
        keys = [*self._of(MARKERS, POSITION, ENTRIES), self._keys.moves]
        marker, row = self._expected
        entries = await self._ask_source(
            "taba_move_seal", keys, self._vbucket, marker, self._sealed, row, self._lineage, self._position
        )
        if entries < 0:
            raise MoveFailed(f"vbucket {self._vbucket}: {self._source.name} was written meanwhile, or failed over")
        return int(entries)

    async def _check_frozen(self) -> None:
        """The source is what it was when it was sealed, and nobody is master in its place, just before it is left."""
        keys, source = self._of(MARKERS, POSITION), self._source
        same = await self._ask_source("taba_move_frozen", keys, self._sealed, self._lineage, self._position)
        if not same or not source.vouched():
            raise MoveFailed(f"vbucket {self._vbucket}: {source.name} failed over after it was sealed")

    # ---------------------------------------------------------------------------------------------------- the target

    def _importing(self, function: str, keys: Sequence[bytes], *arguments: Any) -> Command:
        """A call that the target refuses when this mover is not importing any more."""
        first = *self._of(MARKERS), self._keys.coming
        names = self._vbucket, self._epoch, self._token
        return "FCALL", function, len(first) + len(keys), *first, *keys, *names, *arguments

    async def _send(self, commands: Sequence[Command]) -> None:
        """Import something: all of it, or MoveFailed."""
        replies = await ask_all(self._target, self._target.link(ROLE), commands)
        if not all(reply == 1 for reply in replies):
            raise MoveFailed(f"vbucket {self._vbucket}: another mover brings it to {self._target.name}")

    async def _begin(self) -> None:
        keys = [*self._of(MARKERS), self._keys.coming]
        lineage, begun = await ask(
            self._target, ROLE, "FCALL", "taba_move_begin", len(keys), *keys, self._vbucket, self._epoch, self._token
        )
        if not begun:
            raise MoveFailed(f"vbucket {self._vbucket}: {self._target.name} has it already")
        self._target_lineage = lineage.decode()

    async def _clear(self) -> None:
        """Drop what is left of earlier attempts. The list of tabs, by which States are found, goes last."""
        (types,) = self._of(TYPES)
        tabs = await ask(self._target, ROLE, "HKEYS", types)
        drops = [self._keys.states(self._vbucket, tab.decode()) for tab in tabs]
        drops += self._of(AGGREGATES, CLIENTS, LANES, LEDGER, POSITION, LOG, ENTRIES)
        commands = [self._importing("taba_move_import", [key], "drop") for key in [*drops, types]]
        for start in range(0, len(commands), CALL_PARTS):
            await self._send(commands[start : start + CALL_PARTS])
        left = await of_vbucket(self._target, self._keys, self._vbucket)
        marker = Marker(IMPORTING, self._epoch).value
        await self._send(forget_commands(self._keys, self._vbucket, marker, left))

    async def _activate(self) -> None:
        command = self._importing("taba_move_activate", [self._keys.moves], self._target_lineage)
        if not await ask(self._target, ROLE, *command):
            raise MoveFailed(f"vbucket {self._vbucket}: {self._target.name} failed over, or another mover goes on")

    # ---------------------------------------------------------------------------------------------- what is imported

    async def _import_states(self) -> None:
        """All that only the holder of the lease writes."""
        (types,) = self._of(TYPES)
        flat = await ask(self._source, ROLE, "HGETALL", types)
        await self._import_hash(types, flat)
        states = [self._keys.states(self._vbucket, tab.decode()) for tab in flat[::2]]
        await self._import_hashes([*states, *self._of(AGGREGATES, CLIENTS)])
        aside = await of_vbucket(self._source, self._keys, self._vbucket)
        commands = import_commands(aside)
        await self._send([self._importing("taba_move_import_aside", self._keys.aside, *each) for each in commands])
        await self._send([self._importing("taba_move_import", self._of(POSITION), "string", self._position)])
        folded = int(self._position.split(b":")[0])
        if folded:  # so that the log goes on with the next number
            await self._send([self._importing("taba_move_import", self._of(LOG), "end", b"0-%d" % folded)])

    async def _import_hashes(self, keys: Sequence[bytes]) -> None:
        """Hashes, field by field, some of them at a time."""
        waiting = [(key, b"0") for key in keys]
        while waiting:
            some, waiting = waiting[:SCANNED_KEYS], waiting[SCANNED_KEYS:]
            scans: list[Command] = [("HSCAN", key, cursor, "COUNT", SCANNED_FIELDS) for key, cursor in some]
            replies = await ask_all(self._source, self._source.link(ROLE), scans)
            for (key, _), (_, flat) in zip(some, replies, strict=True):
                await self._import_hash(key, flat)
            again = [(key, cursor) for (key, _), (cursor, _) in zip(some, replies, strict=True) if cursor != b"0"]
            waiting = again + waiting
            await self._hold()

    async def _import_hash(self, key: bytes, flat: Sequence[bytes]) -> None:
        await self._import(key, "hash", flat, 2)

    async def _import(self, key: bytes, kind: str, parts: Sequence[bytes], step: int) -> None:
        """Import some fields, items or entries, each of `step` parts, in calls of bounded size."""
        commands = [self._importing("taba_move_import", [key], kind, *some) for some in _calls(parts, step)]
        self._bytes += sum(map(len, parts))
        await self._send(commands)

    # ------------------------------------------------------------------------------------------------------- the log

    async def _import_log_until_short(self) -> None:
        """Follow the log until little of it is left to be copied."""
        for _ in range(LOG_ROUNDS):
            items = await self._import_log_part()
            if len(items) <= SHORT_ENTRIES and sum(map(_size, items)) <= SHORT_BYTES:
                return
            await self._hold()

    async def _import_log_part(self) -> list[bytes]:
        """Copy what comes next in the log, if there is anything; the items of M that tell of it."""
        log, entries = self._of(LOG, ENTRIES)
        start = self._logged
        items: list[bytes] = await ask(self._source, ROLE, "LRANGE", entries, start, start + LOG_ITEMS - 1)
        if not items:
            return items
        first = int(self._position.split(b":")[0]) + start + 1
        for begin, end in _runs([_size(each) for each in items]):
            ids = b"0-%d" % (first + begin), b"0-%d" % (first + end - 1)
            found = await ask(self._source, ROLE, "XRANGE", log, *ids)
            if [stream_id for stream_id, _ in found] != [b"0-%d" % each for each in range(first + begin, first + end)]:
                raise MoveFailed(f"vbucket {self._vbucket}: the log of {self._source.name} is not what its list says")
            parts = [part for stream_id, fields in found for part in _entry_parts(stream_id, fields)]
            await self._import(log, "log", parts, 4)
        await self._import(entries, "list", items, 1)
        self._logged += len(items)
        return items

    async def _import_rest(self, entries: int) -> None:
        """What batches write, once none comes any more."""
        while self._logged < entries:
            await self._import_log_part()
        await together([self._import_lanes(), self._import_hashes(self._of(LEDGER))])

    async def _import_lanes(self) -> None:
        """The lanes' rows that are not what was imported before: there may be thousands, and few of them change."""
        (key,) = self._of(LANES)
        flat = await ask(self._source, ROLE, "HGETALL", key)
        rows = list(zip(flat[::2], flat[1::2], strict=True))
        await self._import_hash(key, [part for row in rows if self._lanes.get(row[0]) != row[1] for part in row])
        self._lanes.update(rows)


def _size(item: bytes) -> int:
    return int(item.split(b":")[1])


def _entry_parts(stream_id: bytes, fields: Sequence[bytes]) -> tuple[bytes, bytes, bytes, bytes]:
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    return stream_id, named[b"t"], named[b"n"], named[b"b"]


def _runs(sizes: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Cut entries of these sizes into runs of about CALL_BYTES."""
    begin = total = 0
    for place, size in enumerate(sizes):
        if place > begin and total + size > CALL_BYTES:
            yield begin, place
            begin, total = place, 0
        total += size
    if begin < len(sizes):
        yield begin, len(sizes)


def _calls(parts: Sequence[bytes], step: int) -> Iterable[Sequence[bytes]]:
    """Cut parts, of which `step` belong together, into what one call may take."""
    begin = total = 0
    for place in range(0, len(parts), step):
        size = sum(map(len, parts[place : place + step]))
        if place > begin and (total + size > CALL_BYTES or place - begin + step > CALL_PARTS):
            yield parts[begin:place]
            begin, total = place, 0
        total += size
    if begin < len(parts):
        yield parts[begin:]


async def retire(
    vbucket: int, source: Shard, keys: Keys, marker: Marker
) -> None:
    """Drop all of a vbucket that a shard keeps sealed, but the marker. The list of tabs goes last."""

    async def drop(some: Sequence[bytes]) -> None:
        command = ("FCALL", "taba_move_retire", 1 + len(some), keys.of(MARKERS, vbucket), *some, marker.value)
        if not await ask(source, ROLE, *command):
            raise MoveFailed(f"vbucket {vbucket} is not sealed on {source.name} any more")

    types = keys.of(TYPES, vbucket)
    tabs = [tab.decode() for tab in await ask(source, ROLE, "HKEYS", types)]
    for start in range(0, len(tabs), SCANNED_FIELDS):
        await drop([keys.states(vbucket, tab) for tab in tabs[start : start + SCANNED_FIELDS]])
    letters = (AGGREGATES, CLIENTS, LANES, LEDGER, POSITION, LEASE, LOG, ENTRIES)
    left = await of_vbucket(source, keys, vbucket)
    await ask_all(source, source.link(ROLE), forget_commands(keys, vbucket, marker.value, left))
    await drop([keys.of(letter, vbucket) for letter in letters])
    await drop([types])
