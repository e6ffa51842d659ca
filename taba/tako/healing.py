"""Background healing: what a node does, by itself, so that all holders of a key come to hold the same.

A cycle has two parts. The node walks through its own records: one whose value is damaged is replaced by that of a
replica, and stays where no replica has it, so that nobody takes an older version for the newest; one that does not
belong here is handed to those it belongs to, and removed once every one of them has confirmed it; a tombstone older
than the longest partition is removed once every holder of the key has it, or has nothing. Then it compares trees with
each node that it shares keys with, and both get what they lack.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from taba.tako.clock import MAX_AHEAD, HybridClock
from taba.tako.copying import copy
from taba.tako.errors import TakoError
from taba.tako.interfaces import IRecords, Row
from taba.tako.merkle import differing, exchange, slots_of_chunk
from taba.tako.peers import Peers
from taba.tako.placement import Group, Placement
from taba.tako.records import Version, slot_of
from taba.tako.replica import MAX_NOTED, version_from
from taba.tako.wire import key_bytes

PAGE = 500
"""Records that are looked at in one go."""
AT_A_TIME = 32
"""Records on their way at a time."""


@define
class Progress:
    """What healing has done, since the start, and in the cycle under way."""

    cycles: int = 0
    running: bool = False
    began: float = 0.0
    """By a monotonic clock."""
    seconds: float = 0.0
    """Of the last whole cycle."""
    walked: int = 0
    """Records looked at in this cycle."""
    records: int = 0
    """Records held when this cycle began."""
    compared: int = 0
    """Nodes compared with in this cycle."""
    neighbours: int = 0
    away: int = 0
    """Nodes that could not be compared with, in this cycle or the last one."""
    fetched: int = 0
    sent: int = 0
    damaged: int = 0
    handed_over: int = 0
    kept: int = 0
    """Records of others that stayed in this cycle, because somebody has not confirmed them."""
    tombstones_removed: int = 0

    def done(self) -> float:
        """Which part of the cycle is done, 0 to 1."""
        if not self.running:
            return 1.0
        walk = min(1.0, self.walked / self.records) if self.records else 1.0
        return 0.5 * walk + 0.5 * (self.compared / self.neighbours if self.neighbours else 1.0)

    def left(self, now: float) -> float:
        """The seconds that the cycle may still take, by what it took so far."""
        done = self.done()
        return 0.0 if not self.running or done <= 0 else (now - self.began) * (1 - done) / done


@define(eq=False)
class Healing:
    """The healing of one node."""

    node: str
    records: IRecords
    peers: Peers
    clock: HybridClock
    reactor: Any
    """IReactorTime."""
    placement: Callable[[], Placement]
    new_id: Callable[[], str]
    progress: Progress = field(factory=Progress, init=False)
    _cycle: Deferred[None] | None = field(default=None, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)
    _again: bool = field(default=False, init=False)
    _next: Any = field(default=None, init=False)
    _pause: Any = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)
    _log = Logger()

    # -------------------------------------------------------------------------------------------------- when it runs

    def plan(self, seconds: float) -> None:
        """Let the next cycle begin in so many seconds."""
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None if self._stopped else self.reactor.callLater(seconds, self._begin)

    def _begin(self) -> None:
        configuration = self.placement().configuration
        if configuration.active.background_healing or configuration.target.background_healing:
            self.run()
        else:
            self.plan(configuration.active.background_healing_interval)

    def run(self) -> Deferred[None]:
        """Run a cycle; fires when a whole one that begins now, or later, is over. Never fails."""
        done: Deferred[None] = Deferred()
        self._waiting.append(done)
        if self._cycle is None:
            self._start()
        else:
            self._again = True
        return done

    def _start(self) -> None:
        waiting, self._waiting, self._again = self._waiting, [], False
        self._cycle = Deferred.fromCoroutine(self._run())
        self._cycle.addBoth(self._ended, waiting)

    def _ended(self, result: object, waiting: list[Deferred[None]]) -> None:
        self._cycle = None
        if isinstance(result, Failure) and not self._stopped:
            self._log.failure("Healing failed; it goes on with the next cycle", result)
        for each in waiting:
            each.callback(None)
        if self._again and not self._stopped:
            self._start()
        elif not self._stopped:
            self.plan(self.placement().configuration.active.background_healing_interval)

    def stop(self) -> None:
        """End. A cycle under way stops at its next step."""
        self._stopped = True
        for call in (self._next, self._pause):
            if call is not None and call.active():
                call.cancel()

    async def _run(self) -> None:
        progress, placement = self.progress, self.placement()
        neighbours = placement.neighbours(self.node)
        progress.running, progress.began = True, self.reactor.seconds()
        progress.records = sum(self.records.leaves.counts)
        progress.walked = progress.compared = progress.away = progress.kept = 0
        progress.neighbours = len(neighbours)
        try:
            await self._walk(placement)
            for node, groups in sorted(neighbours.items()):
                if self._stopped or self.placement() is not placement:
                    return
                await self._compare(node, groups)
                progress.compared += 1
            progress.cycles += 1
        finally:
            progress.running = False
            progress.seconds = self.reactor.seconds() - progress.began

    # -------------------------------------------------------------------------------------------------- own records

    async def _walk(self, placement: Placement) -> None:
        after, own = (-1, b""), placement.owned_by(self.node)
        while not self._stopped:
            page = await self.records.walk(after, PAGE, True, own)
            if page.last is None:
                return
            after = page.last
            await self._look_at(page.rows, placement)
            self.progress.walked += page.count
            await self._rest(page.count)

    async def _look_at(self, rows: Sequence[Row], placement: Placement) -> None:
        now = self.clock.limit()
        own = [row for row in rows if placement.owns(self.node, row.slot)]
        await self._each(
            self._hand_over(row.key, row.version, placement)
            for row in rows
            if not placement.owns(self.node, row.slot) and row.version.stamp <= now
        )
        await self._each(self._mend(row, placement) for row in own if not row.sound)
        await self._each(
            self._retire(row.key, row.version, placement.replicas(row.slot).nodes)
            for row in own
            if row.sound and self._is_old(row.version)
        )

    async def _mend(self, row: Row, placement: Placement) -> None:
        """Replace a damaged record by what a replica holds, if that is not older."""
        self.progress.damaged += 1
        for holder in placement.replicas(row.slot).nodes:
            if holder == self.node:
                continue
            peer = self.peers.get(holder)
            with suppress(TakoError):
                found = await peer.read(row.key, False)
                if found is not None and found.version.rank >= row.version.rank:
                    await copy(row.key, peer, self.records, self.new_id, replaces=row.version)
                    return

    async def _rest(self, records: int) -> None:
        """Keep to the rate that the configuration allows."""
        rate = self.placement().configuration.active.healing_rate
        seconds = records / rate
        if seconds >= 0.001 and not self._stopped:
            pause: Deferred[None] = Deferred()
            self._pause = self.reactor.callLater(seconds, pause.callback, None)
            await pause

    async def _each(self, tasks: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Do tasks, AT_A_TIME at a time; what nodes refuse, or cannot do, is left to the next cycle."""
        waiting = list(tasks)
        for first in range(0, len(waiting), AT_A_TIME):
            now: list[Deferred[Any]] = [Deferred.fromCoroutine(task) for task in waiting[first : first + AT_A_TIME]]
            results: list[tuple[bool, object]] = await DeferredList(now, consumeErrors=True)
            for _, result in results:
                if isinstance(result, Failure) and not result.check(TakoError):
                    self._log.failure("A record could not be healed", result)

    def _is_old(self, version: Version) -> bool:
        """Whether a tombstone has outlived the longest partition."""
        configuration = self.placement().configuration
        longest = max(configuration.active.longest_partition, configuration.target.longest_partition)
        return version.tombstone and version.stamp < int((self.clock.wall() - longest - 2 * MAX_AHEAD) * 1e6)

    async def _hand_over(self, key: bytes, version: Version, placement: Placement) -> None:
        """Give a record to those it belongs to, and remove it when all of them hold it, or something newer; or nothing,
        where it is an old tombstone.
        """
        self.progress.kept += 1
        for owner in placement.replicas(slot_of(key)).nodes:
            peer = self.peers.get(owner)
            found = await peer.read(key, False)
            if found is None and self._is_old(version):
                continue
            if found is None or found.version.rank < version.rank:
                held = await copy(key, self.records, peer, self.new_id)
                if held is None or held.rank < version.rank:
                    return
        if self.placement() is not placement:
            return  # it may belong here by now
        if await self.records.drop(key, version):
            self.progress.handed_over += 1
            self.progress.kept -= 1

    async def _retire(self, key: bytes, version: Version, holders: Sequence[str]) -> None:
        """Remove an old tombstone, when nobody holds anything older that it has to hide."""
        for holder in holders:
            if holder != self.node:
                found = await self.peers.get(holder).read(key, False)
                if found is not None and found.version != version:
                    return
        if await self.records.drop(key, version):
            self.progress.tombstones_removed += 1

    # ------------------------------------------------------------------------------------------------- other nodes

    async def _compare(self, node: str, groups: Sequence[Group]) -> None:
        """Come to hold the same as another node, in the groups of slots that both hold."""
        try:
            peer = self.peers.get(node)
            roots = await peer.ask("roots", {"groups": [group.number for group in groups]})
            mine = [self.records.leaves.root(group) for group in groups]
            for place in differing(mine, roots):
                await self._compare_group(peer, groups[place])
        except TakoError:
            self.progress.away += 1

    async def _compare_group(self, peer: Any, group: Group) -> None:
        theirs = await peer.ask("chunks", {"group": group.number})
        slots = [
            slot
            for chunk in differing(self.records.leaves.chunks(group), theirs)
            for slot in slots_of_chunk(group, chunk)
        ]
        for first in range(0, len(slots), MAX_NOTED):
            page = slots[first : first + MAX_NOTED]
            leaves = await peer.ask("leaves", {"slots": page})
            mine = [f"{each:x}" for each in self.records.leaves.of(page)]
            await self._exchange(peer, [page[place] for place in differing(mine, leaves)])

    async def _exchange(self, peer: Any, slots: Sequence[int]) -> None:
        """Compare the versions in some slots, and copy both ways."""
        step = self._slots_a_step(slots)
        for first in range(0, len(slots), step):
            page = slots[first : first + step]
            rows = await peer.ask("versions", {"slots": page})
            theirs = {key_bytes(row[0]): version_from(row[1:]) for row in rows}
            mine = await self.records.versions(page)
            lacking = exchange(self._worth(mine, theirs), self._worth(theirs, mine))
            await self._each(self._copy(key, peer, self.records, True) for key in lacking.wanted)
            await self._each(self._copy(key, self.records, peer, False) for key in lacking.owed)
            await self._rest(len(lacking.wanted) + len(lacking.owed))

    def _slots_a_step(self, slots: Sequence[int]) -> int:
        """How many slots to ask for at a time, so that the answer is of some 2,000 records."""
        records = self.records.leaves.records(slots)
        return max(1, min(MAX_NOTED, 2_000 * len(slots) // max(1, records)))

    def _worth(self, held: dict[bytes, Version], other: dict[bytes, Version]) -> dict[bytes, Version]:
        """What is worth copying: no version from the future, and no old tombstone to where there is nothing to hide."""
        limit = self.clock.limit()
        return {
            key: version
            for key, version in held.items()
            if version.stamp <= limit and (key in other or not self._is_old(version))
        }

    async def _copy(self, key: bytes, source: Any, sink: Any, fetch: bool) -> None:
        if await copy(key, source, sink, self.new_id, self.clock.limit_of_others()) is not None:
            if fetch:
                self.progress.fetched += 1
            else:
                self.progress.sent += 1

    def shown(self) -> dict[str, Any]:
        """What /status shows."""
        progress = self.progress
        return {
            "running": progress.running,
            "cycles": progress.cycles,
            "done": round(progress.done(), 4),
            "seconds_left": round(progress.left(self.reactor.seconds()), 1),
            "last_seconds": round(progress.seconds, 3),
            "neighbours_away": progress.away,
            "fetched": progress.fetched,
            "sent": progress.sent,
            "damaged": progress.damaged,
            "handed_over": progress.handed_over,
            "foreign_kept": progress.kept,
            "tombstones_removed": progress.tombstones_removed,
        }
