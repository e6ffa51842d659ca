"""What a server says of itself to the others, and what it knows of them: names, roles, latencies, what waits.

It publishes its facts in the store, and reads those of all, as often as its `Pace` says. A be that shares its store
does so twice a second: others learn who lives, and what each holds, from that (`Membership`); two of one name part
(`taba.server.naming`). Beside that the facts are hints for people, for the clock of windows, and to let a pass of the
GC, or a new look at who should hold what, begin everywhere; nothing that must be right rests on them. A store that does
not answer costs a round.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from taba.errors import StoreError
from taba.interfaces import IStore, LogDepth
from taba.server.backend import Backend
from taba.server.latency import ENQUEUE, PROCESSED, Latencies, LatencyTracker
from taba.server.membership import members_among, packed
from taba.server.naming import LIFE, Naming
from taba.server.sleeping import Sleeping

Shard = Mapping[str, Any]
"""One row of `Sharded.shard_states`."""



@frozen
class Pace:
    """How often a server publishes itself, and for how long others believe that it is there when they do not hear of it
    again; in seconds.
    """

    every: float
    expiry: float


ALONE = Pace(15.0, 46.5)
"""Nobody else reads it: the original's figures."""
SHARING = Pace(5.0, 16.0)
"""Of a server that is no be."""
HOLDING = Pace(0.5, 1.5)
"""Of a be. A dead one is missed before its leases have run out (SHARED_LEASE_SECONDS in `taba.server.service`), so that
others know what to take when they do. One that lives and was kept from publishing itself loses nothing: it has its
leases.
"""
LOOK_SECONDS = 15.0
"""How often the logs and the shards are looked at."""
INSTEAD_OF = "instead_of"
"""The fact that another server process has the name which this one would have."""
GC, RECOMPUTE = "gc", "recompute"
"""What one server is asked for and all do."""
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
    """The facts of one server process. `member` is its name, unless another process has it; `life` tells it from that
    one (`naming.life_of`). `roles` are its roles, `collect` lets its GC begin. `shards` gives the rows of the store's
    shards, if it has any; `lost` hears how many of them lost their connection. `weight` is what share of the vbuckets
    it wants.
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
        *,
        pace: Pace = ALONE,
        weight: float = 1.0,
        life: str = "",
    ) -> None:
        self._store = store
        self._naming = Naming(member, life)
        self._roles = sorted(roles)
        self._backend = backend
        self._tracker = tracker
        self._clock = clock
        self._wall = wall
        self._shards = shards
        self._lost = lost
        self._pace = pace
        self.weight = weight
        self._seen: tuple[float, Sequence[Shard]] = (0.0, ())
        """When it looked at the shards, and what it saw."""
        self._say_due = 0.0
        self._silence_due = 0.0
        self._actions = {GC: collect, RECOMPUTE: backend.recompute}
        self._asked = dict.fromkeys(self._actions, 0.0)
        """Wall time at which somebody asked this server for each of these."""
        self._followed: dict[tuple[str, str], float] = {}
        """The same of all servers, as far as it was followed."""
        self._waits: Mapping[str, Any] = {}
        self._pauses = Sleeping(clock)
        self._loops: list[Deferred[None]] = []
        self.latencies = Latencies()
        """As they were a moment ago."""
        self.problem = ""
        """What was wrong in the last round with the servers that there are."""

    @property
    def member(self) -> str:
        """The name by which it goes."""
        return self._naming.name

    def startService(self) -> None:
        """Publish now, and from time to time."""
        super().startService()
        self._pauses.begin()
        self._loops = [
            Deferred.fromCoroutine(self._go_on(self._look, lambda: LOOK_SECONDS)),
            Deferred.fromCoroutine(self._go_on(self._round, self._pause)),
        ]

    @inlineCallbacks
    def stopService(self):  # type: ignore[no-untyped-def]
        """Take back what was published: others may have the vbuckets as soon as they are released."""
        super().stopService()
        self._pauses.stop()
        self._backend.leasing.resign()
        yield gatherResults(self._loops)
        with suppress(StoreError):  # then it expires
            yield self._store.publish(self.member, {}, 0.0)

    async def _go_on(self, turn: Callable[[], Coroutine[Any, Any, None]], pause: Callable[[], float]) -> None:
        while not self._pauses.stopping:
            try:
                await turn()
            except StoreError as problem:
                if self._clock.seconds() >= self._silence_due:  # it comes twice a second
                    self._silence_due = self._clock.seconds() + LOOK_SECONDS
                    self._log.warn("Nothing is heard of other servers: {problem}", problem=problem)
            except Exception:
                self._log.failure("A server's facts could not be published")
            await self._pauses.sleep(pause())

    def _pause(self) -> float:
        return self._pace.every / 2 if self._naming.contended else self._pace.every

    async def _look(self) -> None:
        """Look at what takes the store more: the shards, and what waits in the logs."""
        self._look_at_shards()
        depth = await self._store.depth()
        own = [each for each in depth if each.vbucket in self._backend.folding]
        self._waits = waiting(own, self._wall())

    async def _round(self) -> None:
        before = await self._store.members() if self._naming.written else None
        if before is not None and self._naming.look(before):
            self._take_another_name()
        facts = {**self.facts(), **self._waits}
        await self._store.publish(self.member, facts, self._pace.expiry)
        self._naming.written = True
        members = {**(await self._store.members() if before is None else before), self.member: facts}
        self.latencies = Latencies.of(members.values())
        self._follow(members)
        if self._pace is HOLDING:
            self._backend.leasing.heard(members_among(members, self._store.cluster.vbuckets))
        self.problem = without_be(members)
        if self.problem and self._clock.seconds() >= self._say_due:
            self._say_due = self._clock.seconds() + SAY_AGAIN_SECONDS
            self._log.warn("Nothing is folded: {problem}. It waits in the logs (SERVER_ROLES).", problem=self.problem)

    def _take_another_name(self) -> None:
        self._backend.leasing.rename(self.member)
        self._log.warn(
            "Another server process is {own}, too: this one goes by {name}, with a share of its own. Give one of them"
            " another BASE_PORT, or its host another name.",
            own=self._naming.own, name=self.member,
        )  # fmt: skip

    def _look_at_shards(self) -> None:
        now, (last, before) = self._clock.seconds(), self._seen
        after = list(self._shards())
        self._seen = now, after
        if lost := lost_connections(before, after, now - last):
            self._lost(lost)

    def _follow(self, members: Mapping[str, Mapping[str, Any]]) -> None:
        """Do what another server was asked for since the last look."""
        for name, facts in members.items():
            for what, action in self._actions.items():
                asked = facts.get(what)
                if name == self.member or not isinstance(asked, int | float):
                    continue
                if asked > self._followed.setdefault((name, what), float(asked)):
                    self._followed[name, what] = float(asked)
                    action()

    def facts(self) -> dict[str, Any]:
        """The facts of this server, as JSON can hold them. Latencies are medians in seconds, null where there is none.
        """
        now = self._clock.seconds()
        shared = {"weight": self.weight, "holds": packed(self._backend.leasing.held)}
        renamed = {INSTEAD_OF: self._naming.own} if self.member != self._naming.own else {}
        return {
            "roles": list(self._roles),
            LIFE: self._naming.life,
            **renamed,
            "queues": len(self._backend.folding),
            ENQUEUE: self._tracker.median(ENQUEUE, now),
            PROCESSED: self._tracker.median(PROCESSED, now),
            **self._asked,
            **(shared if self._pace is HOLDING else {}),
        }

    def collect(self) -> None:
        """Let a pass of the GC begin, here now, and elsewhere as soon as the others hear of it."""
        self._ask(GC)

    def recompute(self) -> None:
        """Let every be look anew which vbuckets it should have, here now, and elsewhere as with `collect`."""
        self._ask(RECOMPUTE)

    def _ask(self, what: str) -> None:
        self._asked[what] = self._wall()
        self._actions[what]()
        self._pauses.wake()

    @inlineCallbacks
    def members(self):  # type: ignore[no-untyped-def]
        """Fires with the facts of all servers, this one among them, by name."""
        members = yield self._store.members()
        known = members.get(self.member, {})
        return dict(sorted({**members, self.member: {**known, **self.facts()}}.items()))
