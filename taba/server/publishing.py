"""What a server says of itself to the others, and what it knows of them: names, roles, latencies, what waits.

Every `PUBLISH_SECONDS` it publishes its facts in the store and reads those of all. They are hints for people, for the
clock of windows, and to let a pass of the GC begin everywhere; nothing that must be right rests on them. A store that
does not answer costs a round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from taba.errors import StoreError
from taba.interfaces import IStore, LogDepth
from taba.server.backend import Backend
from taba.server.latency import ENQUEUE, PROCESSED, Latencies, LatencyTracker
from taba.server.sleeping import Sleeping

Shard = Mapping[str, Any]
"""One row of `Sharded.shard_states`."""

PUBLISH_SECONDS = 15.0
EXPIRY_SECONDS = 46.5
"""For how long others believe that a server is there which they do not hear of: the original's figures."""


SAY_AGAIN_SECONDS = 60.0
"""How often at most the log says that no be is running."""


def waiting(depth: Sequence[LogDepth], wall: float) -> dict[str, Any]:
    """How many batches wait in some logs, and for how many seconds the oldest."""
    return {
        "tasks": float(sum(each.entries for each in depth)),
        "age": max((max(0.0, wall - each.oldest) for each in depth), default=0.0),
    }


def without_be(members: Mapping[str, Mapping[str, Any]]) -> str:
    """What is wrong where none of these servers is a be; "" where one is."""
    some = any("be" in facts.get("roles", ()) for facts in members.values())
    return "" if some else "no server of role be is running"


def lost_connections(before: Sequence[Shard], after: Sequence[Shard], seconds: float) -> int:
    """How many shards lost their connection between two looks at them, `seconds` apart. A shard that was lost more than
    once counts once.
    """
    open_before = {shard["shard"] for shard in before if shard["open"]}
    return sum(
        shard["shard"] in open_before and (not shard["open"] or shard["seconds"] < seconds) for shard in after
    )


class Publishing(Service):
    """The facts of one server process. `member` is its name, `roles` its roles, `collect` lets its GC begin. `shards`
    gives the rows of the store's shards, if it has any; `lost` hears how many of them lost their connection.
    """

    _log = Logger()

    def __init__(
        self,
        store: IStore,
        member: str,
        roles: Sequence[str],
        backend: Backend,
        tracker: LatencyTracker,
        clock: IReactorTime,
        wall: Callable[[], float],
        collect: Callable[[], None],
        shards: Callable[[], Sequence[Shard]] = tuple,
        lost: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._store = store
        self.member = member
        self._roles = sorted(roles)
        self._backend = backend
        self._tracker = tracker
        self._clock = clock
        self._wall = wall
        self._collect = collect
        self._shards = shards
        self._lost = lost
        self._seen: tuple[float, Sequence[Shard]] = (0.0, ())
        """When it looked at the shards, and what it saw."""
        self._say_due = 0.0
        self._gc_asked = 0.0
        """Wall time at which somebody asked this server for a pass of the GC."""
        self._gc_seen: dict[str, float] = {}
        """The same of all servers, as far as it was followed."""
        self._pauses = Sleeping(clock)
        self._loop: Deferred[None] | None = None
        self.latencies = Latencies()
        """As they were a moment ago."""

    def startService(self) -> None:
        """Publish now, and from time to time."""
        super().startService()
        self._pauses.begin()
        self._loop = Deferred.fromCoroutine(self._go_on())

    @inlineCallbacks
    def stopService(self):  # type: ignore[no-untyped-def]
        """Take back what was published."""
        super().stopService()
        self._pauses.stop()
        yield self._loop
        with suppress(StoreError):  # then it expires
            yield self._store.publish(self.member, {}, 0.0)

    async def _go_on(self) -> None:
        while not self._pauses.stopping:
            try:
                await self._round()
            except StoreError as problem:
                self._log.warn("Nothing is heard of other servers: {problem}", problem=problem)
            except Exception:
                self._log.failure("A server's facts could not be published")
            await self._pauses.sleep(PUBLISH_SECONDS)

    async def _round(self) -> None:
        self._look_at_shards()
        facts = self.facts()
        depth = await self._store.depth()
        own = [each for each in depth if each.vbucket in self._backend.folding]
        await self._store.publish(self.member, {**facts, **waiting(own, self._wall())}, EXPIRY_SECONDS)
        members = await self._store.members()
        self.latencies = Latencies.of(members.values())
        self._follow(members)
        problem = without_be(members)
        if problem and self._clock.seconds() >= self._say_due:
            self._say_due = self._clock.seconds() + SAY_AGAIN_SECONDS
            self._log.warn("There is {problem}: what comes in waits in the logs (SERVER_ROLES)", problem=problem)

    def _look_at_shards(self) -> None:
        now, (last, before) = self._clock.seconds(), self._seen
        after = list(self._shards())
        self._seen = now, after
        if lost := lost_connections(before, after, now - last):
            self._lost(lost)

    def _follow(self, members: Mapping[str, Mapping[str, Any]]) -> None:
        """Let the GC begin where another server was asked for it since the last look."""
        for name, facts in members.items():
            asked = facts.get("gc")
            if name == self.member or not isinstance(asked, int | float):
                continue
            if asked > self._gc_seen.setdefault(name, float(asked)):
                self._gc_seen[name] = float(asked)
                self._collect()

    def facts(self) -> dict[str, Any]:
        """The facts of this server, as JSON can hold them. Latencies are medians in seconds, null where there is none.
        """
        now = self._clock.seconds()
        return {
            "roles": list(self._roles),
            "queues": len(self._backend.folding),
            ENQUEUE: self._tracker.median(ENQUEUE, now),
            PROCESSED: self._tracker.median(PROCESSED, now),
            "gc": self._gc_asked,
        }

    def collect(self) -> None:
        """Let a pass of the GC begin, here now, and elsewhere as soon as the others hear of it."""
        self._gc_asked = self._wall()
        self._collect()
        self._pauses.wake()

    @inlineCallbacks
    def members(self):  # type: ignore[no-untyped-def]
        """Fires with the facts of all servers, this one among them, by name."""
        members = yield self._store.members()
        known = members.get(self.member, {})
        return dict(sorted({**members, self.member: {**known, **self.facts()}}.items()))
