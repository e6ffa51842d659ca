"""Reads and writes of keys, carried out on the nodes that hold them. What answers mean is decided in `rounds`.

A write is offered to all nodes of its key, and answered when its level is reached; what comes later is waited for in
the background, and nodes that missed it are noted at one that did not. A read asks all nodes for their versions, and
one for the value, so that the newest one wins and the others can be repaired; without read repair it asks only as many
as the level needs.

A write that this process stamps is stamped again when a node holds a newer version: its clock was behind, and an
acknowledged write must not lose against an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from taba.tako.clock import HybridClock
from taba.tako.errors import (
    BadKey,
    ClockAhead,
    DiskFull,
    Gone,
    NotEnough,
    Refused,
    StorageFailed,
    TakoError,
    Unreachable,
)
from taba.tako.interfaces import Found, Write
from taba.tako.levels import Level, Replicas
from taba.tako.offering import Offer, Under
from taba.tako.peers import Peers
from taba.tako.placement import Placement
from taba.tako.records import Version, check_key, slot_of, tombstone, version_of
from taba.tako.rounds import ReadRound, Verdict, WriteRound
from taba.tako.wire import key_text

ATTEMPTS = 4
"""How often a read or write is tried, when a newer configuration or a newer version comes between."""
SECOND = 1_000_000
MAX_REPAIRS = 10_000
"""Repairs under way at a time; more are left to healing."""

EXPECTED = (TakoError,)


@frozen
class Receipt:
    """What became of a write."""

    version: Version
    held: int
    """The nodes that are known to hold it."""
    nodes: int
    """The nodes that should."""


@frozen
class Value:
    """What was read."""

    version: Version
    body: bytes | None = field(repr=False)
    """The first piece; None where only the version was asked for, and for a tombstone."""
    node: str
    """Who gave the body."""
    answered: int
    nodes: int


@define(eq=False)
class Router:
    """Reads and writes for whoever asks this process."""

    peers: Peers
    clock: HybridClock
    placement: Callable[[], Placement]
    renewed: Callable[[], Deferred[object]]
    """Fires when a newer configuration is in force, or after a while."""
    prefer: str | None = None
    """The node to read values from where it can: the one in this process."""
    counts: dict[str, int] = field(factory=dict, init=False)
    _turn: int = field(default=0, init=False)
    _repairs: int = field(default=0, init=False)
    _log = Logger()

    def count(self, what: str, more: int = 1) -> None:
        """Add to a number of /metrics."""
        self.counts[what] = self.counts.get(what, 0) + more

    def replicas(self, key: bytes) -> Replicas:
        """The nodes of a key."""
        return self.placement().replicas(slot_of(key))

    # ------------------------------------------------------------------------------------------------------ writes

    def put(self, key: bytes, value: bytes, stamp: int | None = None, level: Level | None = None) -> Deferred[Receipt]:
        """Store a value; the Receipt. `stamp` is the client's own. Fails with BadKey, ClockAhead, DiskFull, NotEnough.
        """
        return self._write(key, lambda at: version_of(at, value), value, stamp, level)

    def delete(self, key: bytes, stamp: int | None = None, level: Level | None = None) -> Deferred[Receipt]:
        """Delete a key, by a tombstone; otherwise as `put`."""
        return self._write(key, tombstone, None, stamp, level)

    def _write(
        self, key: bytes, version: Callable[[int], Version], body: bytes | None, stamp: int | None, level: Level | None
    ) -> Deferred[Receipt]:
        return Deferred.fromCoroutine(self._write_until(key, version, body, stamp, level))

    async def _write_until(
        self, key: bytes, version: Callable[[int], Version], body: bytes | None, stamp: int | None, level: Level | None
    ) -> Receipt:
        check_key(key)
        if stamp is not None:
            self.clock.observe(stamp)
        chosen = version(self.clock.now() if stamp is None else stamp)
        for _ in range(ATTEMPTS):
            placement = self.placement()
            offered = Write(key, chosen, body, None, self.clock.limit_of_others())
            under = self.offer(key, chosen, lambda _, offered=offered: offered, level, stamp)  # type: ignore[misc]
            verdict = await under.done
            round = under.round
            assert isinstance(round, WriteRound)
            if verdict is Verdict.REACHED:
                if self.placement() is not placement:
                    continue  # who was asked may not be who holds the key by now; the node in here did not check
                return Receipt(chosen, len(round.answered), len(round.replicas.nodes))
            if verdict is Verdict.SUPERSEDED:
                assert round.newer is not None
                self.count("stamped again")
                self.clock.observe(round.newer.stamp)
                chosen = version(self.clock.now())
            elif under.stale:
                await self.renewed()
            elif round.met_future and stamp is None and self.clock.limit() - round.limit > SECOND:
                chosen = version(self.clock.now())  # the nodes' answers have shown that the clock here is behind
            else:
                break
        raise self._not_enough("stored on", under)

    def offer(
        self, key: bytes, version: Version, write: Callable[[str], Write | None], level: Level | None, stamp: int | None
    ) -> Under:
        """Offer a version to the nodes of a key; `write` says what each is told, None where it is known to fail."""
        placement = self.placement()
        chosen = level or placement.configuration.active.write_level
        round = WriteRound(
            placement.replicas(slot_of(key)), chosen, self.clock.limit(), version=version, may_lose=stamp is not None
        )
        under = Under(round, lambda: self._written(key, round))
        Offer(under, self.peers, self.prefer, write, self._defect).begin()
        return under

    def _written(self, key: bytes, round: WriteRound) -> None:
        """All nodes have answered or failed: let those that missed the version have it later."""
        missing = round.missing()
        holder = next((node for node in round.replicas.nodes if node in round.answered), None)
        if missing and holder is not None and round.newer is None:
            self.count("hints", len(missing))
            self._note(holder, missing, key)

    def _note(self, holder: str, nodes: Sequence[str], key: bytes) -> None:
        """Let `holder` send what it holds of a key to some nodes."""
        if self._repairs >= MAX_REPAIRS:
            return
        for node in nodes:
            self._repairs += 1
            asked = self.peers.get(holder).ask("note", {"node": node, "keys": [key_text(key)]})
            asked.addBoth(self._noted)

    def _noted(self, result: Any) -> None:
        self._repairs -= 1
        if isinstance(result, Failure):
            self.count("hints failed")
            if not result.check(*EXPECTED):
                self._defect(result)

    def _defect(self, failure: Failure) -> None:
        self._log.failure("A read or write failed inside", failure)

    # ------------------------------------------------------------------------------------------------------- reads

    def get(self, key: bytes, level: Level | None = None) -> Deferred[Value | None]:
        """The newest version, with the first piece of its value; None for a key that nobody knows. A deleted key has
        a tombstone. Fails with BadKey, NotEnough.
        """
        return Deferred.fromCoroutine(self._read(key, level, True))

    def stat(self, key: bytes, level: Level | None = None) -> Deferred[Value | None]:
        """The newest version alone; otherwise as `get`."""
        return Deferred.fromCoroutine(self._read(key, level, False))

    async def _read(self, key: bytes, level: Level | None, body: bool) -> Value | None:
        check_key(key)
        for _ in range(ATTEMPTS):
            placement = self.placement()
            reading = _Reading(self, key, level, body)
            verdict = await reading.under.done
            if verdict is Verdict.REACHED and self.placement() is placement:
                try:
                    return await reading.result()
                except (Gone, Unreachable, StorageFailed):
                    continue  # it was replaced meanwhile, or its holder went away
            if self.placement() is not placement:
                continue
            if not reading.under.stale:
                break
            await self.renewed()
        raise self._not_enough("answered by", reading.under)

    def order(self, nodes: Sequence[str]) -> list[str]:
        """Whom to ask in what order: this process first, those away last, the others in turn."""
        self._turn += 1
        turn = self._turn % len(nodes)
        turned = [*nodes[turn:], *nodes[:turn]]
        return sorted(turned, key=lambda node: (self.peers.is_away(node), node != self.prefer))

    def read_done(self, key: bytes, round: ReadRound) -> None:
        """All nodes have answered or failed: repair those that had less than the newest."""
        outdated = round.outdated()
        if outdated and self.placement().configuration.active.read_repair:
            self.count("read repairs", len(outdated))
            self._note(round.holders()[0], sorted(outdated), key)

    def piece(self, key: bytes, value: Value, number: int) -> Deferred[bytes]:
        """A further piece of a value: of the node that gave the first one, or of another one that holds the same.
        Fails with Unreachable, Gone, StorageFailed.
        """
        return Deferred.fromCoroutine(self._piece(key, value, number))

    async def _piece(self, key: bytes, value: Value, number: int) -> bytes:
        nodes = self.replicas(key).nodes
        problem: Exception = Gone("no node holds it any more")
        for node in (value.node, *(node for node in nodes if node != value.node)):
            try:
                body: bytes = await self.peers.get(node).piece(key, value.version, number)
                return body
            except (Unreachable, Gone, StorageFailed, Refused, KeyError) as failed:
                problem = failed if isinstance(failed, TakoError) else problem
        raise problem

    def _not_enough(self, what: str, under: Under) -> Exception:
        """What to tell whoever asked, when the level was not reached."""
        round = under.round
        for kind in (BadKey, ClockAhead):
            for problem in under.problems:
                if isinstance(problem, kind):
                    return problem
        ahead = [each for each in under.problems if isinstance(each, Refused) and each.code == "ahead"]
        if ahead and len(ahead) == len(under.problems):
            return Refused("ahead", ahead[0].reason)
        reasons = list(round.failures.values())
        if any(isinstance(problem, DiskFull) for problem in under.problems):
            return DiskFull(f"{what} {len(round.answered)} of {len(round.replicas.nodes)} nodes; {'; '.join(reasons)}")
        return NotEnough(what, round.level.value, len(round.answered), len(round.replicas.nodes), reasons)


class _Reading:
    """One read under way."""

    def __init__(self, router: Router, key: bytes, level: Level | None, body: bool) -> None:
        placement = router.placement()
        deployment = placement.configuration.active
        replicas = placement.replicas(slot_of(key))
        self._router, self._key, self._body = router, key, body
        self.round = ReadRound(replicas, level or deployment.read_level, router.clock.limit())
        self.under = Under(self.round, lambda: router.read_done(key, self.round))
        self._bodies: dict[str, bytes] = {}
        self._left = router.order(replicas.nodes)
        asked: set[str] = set()
        while self._left and (deployment.read_repair or not replicas.reached(self.round.level, asked)):
            asked.add(self._left[0])
            self._ask(self._left.pop(0), body and len(asked) == 1)

    def _ask(self, node: str, body: bool) -> None:
        asked = self._router.peers.get(node).read(self._key, body)
        asked.addCallbacks(self._found, self._failed, callbackArgs=(node,), errbackArgs=(node,))
        asked.addErrback(self._router._defect)

    def _found(self, found: Found | None, node: str) -> None:
        if found is not None and found.body is not None:
            self._bodies[node] = found.body
        self.round.found(node, None if found is None else found.version)
        if self.round.level is Level.ONE and self.round.newest() is None and not self.round.complete:
            self._more()  # somebody else may know the key
            return
        self.under.look()

    def _failed(self, failure: Failure, node: str) -> None:
        self.under.failed(failure, node)
        self._more()

    def _more(self) -> None:
        if self._left:
            self._ask(self._left.pop(0), False)

    async def result(self) -> Value | None:
        """What was read, once the level is reached."""
        version = self.round.newest()
        nodes, answered = len(self.round.replicas.nodes), len(self.round.answered)
        if version is None:
            return None
        holders = self.round.holders()
        if not self._body or version.tombstone:
            return Value(version, None, holders[0], answered, nodes)
        for node in holders:
            if node in self._bodies:
                return Value(version, self._bodies[node], node, answered, nodes)
        problem: Exception = Gone("its holders do not have it any more")
        for node in holders:
            try:
                found = await self._router.peers.get(node).read(self._key, True)
            except (Unreachable, StorageFailed, Refused) as failed:
                problem = Gone(str(failed))
                continue
            if found is not None and found.version.rank >= version.rank:
                return Value(found.version, found.body, node, answered, nodes)
        raise problem
