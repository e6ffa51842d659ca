"""Moves vbuckets between the shards of a running cluster, until they are where ranges have them. IO, over
move_steps.py.

All that is decided is decided by the functions of moving.lua, and all that has to be remembered is in Redis: a run that
ends anywhere is gone on with by the next one, or undone. One vbucket is copied at a time; the waiting for what must be
confirmed goes on beside that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from taba.errors import StartError, StoreUnavailable
from taba.process import Process
from taba.store.redis.asking import Command, ask_all
from taba.store.redis.durability import choose
from taba.store.redis.founding import Founding, Identity, Seen
from taba.store.redis.keys import MARKERS, POSITION, Keys
from taba.store.redis.library import ensure_library, present_version
from taba.store.redis.move_steps import Confirmation, Pair, Site, Step, moving_step, undoing_step
from taba.store.redis.moving_library import ensure_moving_library
from taba.store.redis.placing import ACTIVE, GONE, MOVING, SEALED, UNDOING, Marker, MoveRow
from taba.store.redis.settling import ROLE, Settling
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import ShardMap
from taba.store.redis.stuck_moves import ARRIVED, RETURNED
from taba.store.redis.vbucket_copy import Copied, VbucketCopy, retire

CONFIRM_SECONDS = 30.0
"""How long it takes until no failover can take back what was written: AGENT_CONFIRM_SECONDS."""
LOOK_SECONDS = 0.5
"""How often is looked while there is nothing to do but to wait."""
RETRY_SECONDS = 1.0
"""How long after a failure."""
STEPS_TO_FREE = 3
"""One more than a sealed vbucket needs to take something again."""


@frozen
class Move:
    """One vbucket that is to leave a shard for another."""

    vbucket: int
    source: str
    target: str
    undoing: bool = False
    """Whether somebody has begun to undo it, which has to be brought to an end first."""


@frozen
class Progress:
    """How far it is."""

    moves: int
    """All moves of this run."""
    copied: int
    """How many are at their target."""
    done: int
    """How many are over: the source keeps nothing, or all is as it was before."""
    waiting: float
    """Seconds until what was written is confirmed, if all goes well."""
    problem: str = ""
    """What keeps it from going on now."""


@define(eq=False)
class Figures:
    """What a run came to."""

    moved: int = 0
    undone: int = 0
    left: list[int] = field(factory=list)
    """Vbuckets that were left as they are: somebody else undoes their move, or they are lost."""
    sealed_seconds: list[float] = field(factory=list)
    paused_seconds: list[float] = field(factory=list)
    bytes: int = 0

    def add(self, copied: Copied) -> None:
        """One more vbucket was copied."""
        self.sealed_seconds.append(copied.sealed_seconds)
        self.paused_seconds.append(copied.paused_seconds)
        self.bytes += copied.bytes

    def windows(self) -> tuple[float, float]:
        """Median and longest of the times for which vbuckets took nothing, in seconds; zeros when none was copied."""
        return (median(self.sealed_seconds), max(self.sealed_seconds)) if self.sealed_seconds else (0.0, 0.0)


@define(eq=False)
class Resharding:
    """The moves to `ranges`, by way of the open links of all shards that these and the cluster have."""

    _process: Process
    _shards: Mapping[str, Shard]
    _ranges: ShardMap
    _keys: Keys
    _replicas: int = field(default=1, kw_only=True)
    """How many replicas must have what was written, where the cluster's durability waits for any."""
    _wait_seconds: float = field(default=1.0, kw_only=True)
    _confirm_seconds: float = field(default=CONFIRM_SECONDS, kw_only=True)
    _told: Callable[[Progress], None] = field(default=lambda progress: None, kw_only=True)
    figures: Figures = field(factory=Figures, init=False)
    _founding: Founding = field(init=False)
    _settling: Settling = field(init=False)
    _confirmation: Confirmation = field(init=False)
    _token: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._founding = Founding(self._shards, self._ranges, self._keys, self._process.new_id)
        self._confirmation = Confirmation(self._confirm_seconds)
        self._token = self._process.new_id()

    # ------------------------------------------------------------------------------------------------------ the plan

    async def plan(self) -> list[Move]:
        """What is to be moved, those first that are on their way; nothing is written.

        Raises StartError when there is no cluster, or the shards are not its shards, or data is lost.
        """
        for shard in self._shards.values():
            await present_version(shard, shard.link(ROLE))
        identity, seen = await self._look()
        begun = self._begun(seen)
        known = {move.vbucket for move in begun}
        there = identity.placement.map
        wanted = [
            Move(v, there.shard_of(v), self._ranges.shard_of(v))
            for v in range(self._ranges.vbuckets)
            if v not in known and there.shard_of(v) != self._ranges.shard_of(v)
        ]
        return begun + wanted

    async def _look(self) -> tuple[Identity, Mapping[str, Seen]]:
        identity = await self._founding.look()
        if identity is None:
            raise StartError("There is no cluster on these shards yet: the first server that starts founds one.")
        if identity.missing:
            name = min(identity.missing)
            raise StartError(f"Shard {name} has lost data: bring it back, or accept the loss, before vbuckets move.")
        if elsewhere := identity.placement.elsewhere:
            name = min(elsewhere)
            raise StartError(f"{len(elsewhere[name])} vbuckets are on {name}, which SHARDS does not name: add it.")
        return identity, await self._founding.see_all()

    @staticmethod
    def _begun(seen: Mapping[str, Seen]) -> list[Move]:
        """The moves that are under way, or are being undone."""
        return [
            Move(vbucket, name, row.shard, row.stage == UNDOING)
            for name, each in seen.items()
            for vbucket, row in sorted(each.facts.moves.items())
            if row.stage != GONE
        ]

    # ------------------------------------------------------------------------------------------------------- running

    async def run(self) -> Figures:
        """Move everything to where the ranges have it. Goes on through what fails for a while; raises StartError for
        what an operator has to mend.
        """
        await self._prepare()
        while moves := [move for move in await self._planned() if move.vbucket not in self.figures.left]:
            await self._finish(moves, undo=False)
        return self.figures

    async def abort(self) -> Figures:
        """Undo the moves that are under way; those that have arrived are brought to their end."""
        await self._prepare()
        seen = (await self._look())[1]
        await self._finish(self._begun(seen), undo=True)
        return self.figures

    async def free(self, moves: Sequence[Move]) -> dict[Move, str]:
        """Let vbuckets take something again that another mover left sealed: those that do now, with ARRIVED or
        RETURNED. What their moves need after that is left to whoever runs them. Raises StartError, StoreUnavailable;
        what was done by then stays.
        """
        await self._prepare()
        for move in moves:
            for _ in range(STEPS_TO_FREE):
                pair = (await self._pairs([move]))[move]
                if not pair.source.stands(SEALED) or pair.arrived:
                    break
                step = self._step(move, pair, pair.stage == UNDOING, self._process.reactor.seconds())
                if step is Step.COPY:
                    await self._copy(move, pair)
                elif step in (Step.MAKE_IMPOSSIBLE, Step.UNSEAL):
                    await self._do(step, move, pair)
        pairs = await self._pairs(moves)
        return {
            move: ARRIVED if pair.arrived else RETURNED
            for move, pair in pairs.items()
            if pair.arrived or not pair.source.stands(SEALED)
        }

    async def _prepare(self) -> None:
        """Load the functions, and let new shards belong to the cluster."""
        for shard in self._shards.values():
            await present_version(shard, shard.link(ROLE))
        identity, seen = await self._look()
        durability = await choose(self._shards, identity.level, self._replicas, self._wait_seconds)
        self._settling = Settling(self._keys, durability)
        await self._load_functions()
        for name, each in seen.items():
            if not each.meta.cluster:
                await ensure_library(self._shards[name], self._shards[name].link(ROLE))
                await self._founding.adopt(name, identity)

    async def _load_functions(self) -> None:
        for shard in self._shards.values():
            await ensure_moving_library(shard, shard.link(ROLE))

    async def _finish(self, moves: Sequence[Move], undo: bool) -> None:
        """Go on with moves until none is left."""
        pending, problem = list(moves), ""
        while pending:
            worked = False
            try:
                if problem:  # a failover may have taken back that the functions were loaded
                    await self._load_functions()
                problem = ""
                pairs = await self._pairs(pending)
                arrived = sum(pair.arrived for pair in pairs.values())
                self._tell(len(moves), len(moves) - len(pending), arrived)
                worked = await self._round(pending, pairs, undo)
            except StoreUnavailable as failed:
                problem = str(failed)
                if "NOPERM" in problem:  # nothing but a change of settings will help
                    raise StartError(problem) from failed
                self._tell(len(moves), len(moves) - len(pending), 0, problem)
            if pending and not worked:
                await self._sleep(RETRY_SECONDS if problem else LOOK_SECONDS)
        self._tell(len(moves), len(moves), 0)

    async def _round(self, pending: list[Move], pairs: Mapping[Move, Pair], undo: bool) -> bool:
        """Do the next step of each move, but copy one only, as the last thing; whether anything was done."""
        now = self._process.reactor.seconds()
        copies: list[Move] = []
        worked = False
        for move, pair in pairs.items():
            step = self._step(move, pair, undo, now)
            if step in (Step.DONE, Step.LOST, Step.BUSY):
                pending.remove(move)
                self._note_end(move, step, (undo or move.undoing) and not pair.arrived and pair.stage != GONE)
            elif step is Step.COPY:
                copies.append(move)
            elif step is not Step.WAIT:
                await self._do(step, move, pair)
                worked = True
        if copies:
            copies.sort(key=lambda move: not pairs[move].source.stands(SEALED))  # those first that take nothing
            await self._copy(copies[0], pairs[copies[0]])
        return worked or bool(copies)

    def _step(self, move: Move, pair: Pair, undo: bool, now: float) -> Step:
        """What is to be done next. A move that is to be undone and has arrived is brought to its end."""
        if (undo or move.undoing) and (not pair.arrived or pair.stage == UNDOING):
            return undoing_step(move.vbucket, pair, self._confirmation, now)
        return moving_step(move.vbucket, pair, self._confirmation, now)

    def _note_end(self, move: Move, step: Step, undone: bool) -> None:
        self._confirmation.forget(move.vbucket)
        if step is not Step.DONE:
            self.figures.left.append(move.vbucket)
        elif undone:
            self.figures.undone += 1
        else:
            self.figures.moved += 1

    def _tell(self, moves: int, done: int, arrived: int, problem: str = "") -> None:
        waiting = self._confirmation.left(self._process.reactor.seconds())
        self._told(Progress(moves, done + arrived, done, waiting, problem))

    def _sleep(self, seconds: float) -> Deferred[None]:
        return deferLater(self._process.reactor, seconds)

    async def _planned(self) -> list[Move]:
        """The plan, once all shards can be asked."""
        while True:
            try:
                return await self.plan()
            except StoreUnavailable as problem:
                self._tell(0, 0, 0, str(problem))
                await self._sleep(RETRY_SECONDS)

    # --------------------------------------------------------------------------------------------------- single steps

    async def _pairs(self, moves: Sequence[Move]) -> dict[Move, Pair]:
        """What both shards say now of each vbucket."""
        names = {name for move in moves for name in (move.source, move.target)}
        sites: dict[tuple[str, int], Site] = {}
        for name in sorted(names):
            vbuckets = sorted({move.vbucket for move in moves if name in (move.source, move.target)})
            sites.update({(name, v): site for v, site in zip(vbuckets, await self._sites(name, vbuckets), strict=True)})
        return {
            move: Pair(sites[move.source, move.vbucket], sites[move.target, move.vbucket], move.target)
            for move in moves
        }

    async def _sites(self, name: str, vbuckets: Sequence[int]) -> list[Site]:
        shard, of = self._shards[name], self._keys.of
        commands: list[Command] = [
            ("FCALL", "taba_move_look", 4, of(MARKERS, v), of(POSITION, v), self._keys.moves, self._keys.coming, v)
            for v in vbuckets
        ]
        found = await ask_all(shard, shard.link(ROLE), commands)
        if not shard.vouched():
            raise StoreUnavailable(f"{name}: no majority of the Sentinels names its master now")
        return [
            Site(
                lineage.decode(),
                Marker.read(marker) if marker else None,
                MoveRow.read(row) if row else None,
                position,
                token,
            )
            for lineage, marker, position, row, token in found
        ]

    async def _do(self, step: Step, move: Move, pair: Pair) -> None:
        source = pair.source
        if step is Step.ANNOUNCE:
            await self._turn(move, source, source.marker, MoveRow(MOVING, move.target))
        elif step is Step.SEAL_AGAIN:
            await self._turn(move, source, Marker(SEALED, source.epoch), source.row)
        elif step is Step.RETIRE:
            assert source.marker is not None, "a sealed source has a marker"
            await retire(move.vbucket, self._shards[move.source], self._keys, source.marker)
            await self._turn(move, source, source.marker, MoveRow(GONE, move.target))
        elif step is Step.REVOKE:
            await self._turn(move, source, source.marker, MoveRow(UNDOING, move.target))
        elif step is Step.LET_ARRIVE:
            await self._turn(move, source, source.marker, MoveRow(MOVING, move.target))
        elif step is Step.MAKE_IMPOSSIBLE:
            await self._make_impossible(move, pair)
        elif step is Step.UNSEAL:
            await self._turn(move, source, Marker(ACTIVE, pair.next_epoch), source.row)
        elif step is Step.SETTLE:
            if pair.target.marker is not None:
                await retire(move.vbucket, self._shards[move.target], self._keys, pair.target.marker)
            await self._turn(move, source, source.marker, None)

    async def _turn(self, move: Move, site: Site, marker: Marker | None, row: MoveRow | None) -> None:
        """Change what the source says, if it still says what it did."""
        keys = [self._keys.of(MARKERS, move.vbucket), self._keys.moves]
        values = [each.value if each is not None else b"" for each in (site.marker, marker, site.row, row)]
        await self._settled(
            self._shards[move.source], ("FCALL", "taba_move_turn", len(keys), *keys, move.vbucket, *values)
        )

    async def _make_impossible(self, move: Move, pair: Pair) -> None:
        """The target can never become active by what was imported so far."""
        target = pair.target
        if target.stands(ACTIVE):  # one that a failover brought back, under an epoch that is over
            keys = [self._keys.of(MARKERS, move.vbucket), self._keys.moves]
            row = target.row.value if target.row is not None else b""
            values = target.marker, Marker(SEALED, target.epoch)
            markers = [each.value if each is not None else b"" for each in values]
            gone = MoveRow(GONE, move.source).value
            command: Command = ("FCALL", "taba_move_turn", 2, *keys, move.vbucket, *markers, row, gone)
        else:
            keys = [self._keys.of(MARKERS, move.vbucket), self._keys.coming, self._keys.moves]
            command = ("FCALL", "taba_move_unimport", 3, *keys, move.vbucket, pair.next_epoch, move.source)
        await self._settled(self._shards[move.target], command)

    async def _settled(self, shard: Shard, command: Command) -> None:
        """Do something on a shard that a failover should not take back. What it answers shows at the next look."""
        await ask_all(shard, shard.link(ROLE), [command])
        await self._settling.settle(shard)

    async def _copy(self, move: Move, pair: Pair) -> None:
        source, target = self._shards[move.source], self._shards[move.target]
        copy = VbucketCopy(
            move.vbucket, pair, source, target, self._keys, self._settling, self._token, self._process.reactor
        )
        self.figures.add(await copy.run())
