"""What a be asks of one shard about its vbuckets: leases, positions, States and Aggregates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from attrs import define, field

from taba.errors import NotHere
from taba.interfaces import Lease, Loaded
from taba.store.judge import is_idle
from taba.store.redis import rows
from taba.store.redis.asking import Command, ask, ask_all
from taba.store.redis.keys import AGGREGATES, LANES, LEASE, LEDGER, MARKERS, POSITION, TYPES, Keys
from taba.store.redis.shard import Shard

T = TypeVar("T")

VBUCKETS_PER_CALL = 250
"""How many leases one call is about."""
LANES_PER_CALL = 1000
"""How many dedup rows one call looks at."""
FIELDS_PER_CALL = 1000
"""How many fields are read before the next are asked for: a reply has to come within the time of a call."""


@define(eq=False)
class Owners:
    """Leases and loads of one process on one shard."""

    _shard: Shard
    _keys: Keys
    ttl: dict[int, float] = field(factory=dict, init=False)
    """The seconds that a lease was granted or prolonged for last."""
    _loaded: dict[int, str] = field(factory=dict, init=False)
    """The lineage under which a vbucket was loaded last."""

    async def acquire(self, vbuckets: Sequence[int], owner: str, ttl: float) -> dict[int, Lease]:
        """See `IStore.acquire`."""
        of = self._keys.of
        granted: dict[int, Lease] = {}
        for part in _parts(list(dict.fromkeys(vbuckets)), VBUCKETS_PER_CALL):
            keys = [of(letter, v) for v in part for letter in (MARKERS, LEASE, POSITION)]
            epochs = await ask(
                self._shard, "be", "FCALL", "taba_acquire", len(keys), *keys, owner, _milliseconds(ttl)
            )
            granted.update({v: Lease(v, owner, epoch) for v, epoch in zip(part, epochs, strict=True) if epoch})
        self.ttl.update(dict.fromkeys(granted, ttl))
        return granted

    async def renew(self, leases: Sequence[Lease], ttl: float) -> set[int]:
        """See `IStore.renew`.

        What was loaded under another lineage is not held: a failover may have taken back checkpoints of it, and where
        nothing new comes into the log, nothing else would tell its be.
        """
        held = await self._prolong(leases, _milliseconds(ttl))
        self.ttl.update(dict.fromkeys(held, ttl))
        lineage = self._shard.lineage
        return {vbucket for vbucket in held if self._loaded.get(vbucket, lineage) == lineage}

    async def release(self, leases: Sequence[Lease]) -> None:
        """See `IStore.release`."""
        await self._prolong(leases, 0)

    async def _prolong(self, leases: Sequence[Lease], milliseconds: int) -> set[int]:
        held: set[int] = set()
        for part in _parts(leases, VBUCKETS_PER_CALL):
            keys = [self._keys.of(LEASE, lease.vbucket) for lease in part]
            values = [rows.lease_value(lease) for lease in part]
            answers = await ask(self._shard, "be", "FCALL", "taba_renew", len(keys), *keys, milliseconds, *values)
            held |= {lease.vbucket for lease, answer in zip(part, answers, strict=True) if answer}
        return held

    async def load(self, vbucket: int) -> Loaded:
        """See `IStore.load`."""
        keys = [self._keys.of(letter, vbucket) for letter in (MARKERS, POSITION, LEDGER, TYPES)]
        marker, lineage, position, ledger, types = await ask(
            self._shard, "be", "FCALL", "taba_load", len(keys), *keys
        )
        if marker is None or marker.startswith(b"I:"):
            raise NotHere(f"{self._shard.name} does not have vbucket {vbucket}")
        self._loaded[vbucket] = lineage.decode()
        return Loaded(
            vbucket,
            rows.read_position(position),
            lineage.decode(),
            {tab: name.decode() for tab, name in rows.pairs(types).items() if name},
            rows.read_ledger(ledger),
        )

    async def states(self, vbucket: int, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """See `IStore.states`."""
        found: dict[tuple[str, str], bytes] = {}
        for some in _parts(keys, FIELDS_PER_CALL):
            by_tab: dict[str, list[str]] = {}
            for tab, client in some:
                by_tab.setdefault(tab, []).append(client)
            commands = [("HMGET", self._keys.states(vbucket, tab), *clients) for tab, clients in by_tab.items()]
            replies = await ask_all(self._shard, self._shard.link("be"), commands)
            for (tab, clients), reply in zip(by_tab.items(), replies, strict=True):
                states = zip(clients, reply, strict=True)
                found.update({(tab, client): state for client, state in states if state is not None})
        return found

    async def aggregates(self, vbucket: int, tabs: Sequence[str]) -> dict[str, bytes]:
        """See `IStore.aggregates`."""
        found: dict[str, bytes] = {}
        for some in _parts(tabs, FIELDS_PER_CALL):
            reply = await ask(self._shard, "be", "HMGET", self._keys.of(AGGREGATES, vbucket), *some)
            found.update({tab: value for tab, value in zip(some, reply, strict=True) if value is not None})
        return found

    async def prune(self, vbuckets: Sequence[int], now: float, dedup_seconds: float) -> int:
        """See `IStore.prune`. The function looks again as it deletes, for a copy of a batch may have come meanwhile;
        it goes by the server's own clock where that is behind `now`.
        """
        gone = 0
        waiting = [(vbucket, b"0") for vbucket in vbuckets]
        while waiting:
            link = self._shard.link("be")
            keys = [self._keys.of(LANES, vbucket) for vbucket, _ in waiting]
            cursors = [cursor for _, cursor in waiting]
            scans = [("HSCAN", key, at, "COUNT", LANES_PER_CALL) for key, at in zip(keys, cursors, strict=True)]
            replies = await ask_all(self._shard, link, scans)
            commands: list[Command] = []
            for key, (_, flat) in zip(keys, replies, strict=True):
                lanes = zip(flat[::2], flat[1::2], strict=True)
                idle = [lane for lane, row in lanes if is_idle(rows.read_lane(row).touched, now, dedup_seconds)]
                if idle:
                    commands.append(("FCALL", "taba_prune", 1, key, f"{now:.6f}", f"{dedup_seconds:.0f}", *idle))
            gone += sum(await ask_all(self._shard, link, commands))
            cursors = [cursor for cursor, _ in replies]
            waiting = [(v, cursor) for (v, _), cursor in zip(waiting, cursors, strict=True) if cursor != b"0"]
        return gone


def _milliseconds(ttl: float) -> int:
    return max(1, round(ttl * 1000))


def _parts(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
