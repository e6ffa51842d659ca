"""A server frees vbuckets that a mover left sealed. IO, thin: stuck_moves.py says which, resharding.py does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from taba.errors import StartError, StoreError
from taba.process import Process
from taba.store.redis.keys import Keys
from taba.store.redis.placing import ShardFacts
from taba.store.redis.resharding import Move, Resharding
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import ShardMap
from taba.store.redis.stuck_moves import ARRIVED, GRACE_SECONDS, RETURNED, StuckMoves


@define(eq=False)
class Freeing:
    """What one server does about them, by way of its own links to the shards."""

    _process: Process
    _shards: Mapping[str, Shard]
    _wanted: ShardMap
    _keys: Keys
    _replicas: int
    """How many replicas must have what was written, where the cluster's durability waits for any."""
    _wait_seconds: float
    freed: Counter[str] = field(factory=lambda: Counter({ARRIVED: 0, RETURNED: 0}), init=False)
    """Vbuckets that take something again by what this process did: at their targets, or at their sources."""
    _stuck: StuckMoves | None = field(default=None, init=False)
    _under_way: Deferred[None] | None = field(default=None, init=False)
    _log = Logger()

    def look(self, facts: Mapping[str, ShardFacts]) -> None:
        """Some vbuckets are moving: go on where a mover has died, and left one that takes nothing."""
        if self._stuck is None:  # servers begin at different times, not all at once
            self._stuck = StuckMoves(GRACE_SECONDS * (1.0 + self._process.random.random()))
        stuck = self._stuck.look(facts, self._process.reactor.seconds())
        if stuck and self._under_way is None:
            freeing = self._under_way = Deferred.fromCoroutine(self._free([Move(*each) for each in stuck]))
            freeing.addBoth(self._ended)  # at once, where no shard can be asked

    def _ended(self, result: Failure | None) -> None:
        self._under_way = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("Sealed vbuckets cannot be freed", result)

    def cancel(self) -> None:
        """The server ends: what was not done by then is for others."""
        if self._under_way is not None:
            self._under_way.cancel()

    async def _free(self, moves: Sequence[Move]) -> None:
        resharding = Resharding(
            self._process, self._shards, self._wanted, self._keys, replicas=self._replicas,
            wait_seconds=self._wait_seconds,
        )  # fmt: skip
        try:
            done = await resharding.free(moves)
        except (StoreError, StartError) as problem:
            self._log.info("Sealed vbuckets cannot be freed now: {problem}", problem=problem)
            done = {}
        self.freed.update(done.values())
        if done:
            named = ", ".join(str(each.vbucket) for each in done)
            self._process.say(
                f"A mover had left vbuckets sealed; they take events again: {named}. Run taba-cli reshard again, or"
                " with --abort, to bring its moves to an end."
            )
