"""Recovery's memory: what follows from the frames of a spool, taken in order, and from the holes between them. Pure.

Without damage this is a plain fold. A hole is judged by the position of the frame behind it, which tells exactly how
many commits, events and seals it swallowed (except at the very beginning, where nothing is known of what came before):

* Lost commits: their events are counted. A batch that needs one of them keeps its seal and has no body; its lane asks
  the store whether it is in the log already. Instances whose last number may have stood there are forgotten (their
  clients are told that they are unknown) unless a later record names them.
* Lost seals: a lane's numbers are in doubt until its next seal, or a snapshot. If that shows that the lane lost exactly
  one seal, the seal is made again: what it held is known. What cannot be told (two seals, or no later word on the lane)
  is given up and counted: sealing it might give a number other events, or count events twice.

A hole that a snapshot notes was judged by an earlier start, whose decisions are on disk: it is passed without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import define, evolve, field, frozen

from taba.agent.encoding import Noted, Seals, Written
from taba.agent.extents import Extents, SealedBatch
from taba.agent.numbers import NO_NUMBERS, Numbers
from taba.agent.records import (
    DAMAGED_LINE,
    Aside,
    Checksum,
    Commit,
    Discard,
    Extent,
    Hole,
    LaneKey,
    Seal,
    Waiting,
)
from taba.agent.segments import Position


@frozen
class Damage:
    """What a start found damaged, and what that made uncertain."""

    holes: tuple[Hole, ...]
    commits: int
    """Commits that cannot be read."""
    seals: int
    """Seals that cannot be read."""
    rebuilt: tuple[Seal, ...]
    """Those of them that could be made again."""
    incomplete: tuple[Seal, ...]
    """Batches without body. Their lanes ask the store; what it does not have is set aside, and counted then."""
    events: int
    """The events that are given up: unreadable and in no batch, or readable but perhaps sealed. In the ledger's line
    `lost.damaged`.
    """
    instances: int
    """Instances that were forgotten."""


@define(eq=False)
class _Doubt:
    """What is not known since a hole."""

    before: int
    """Commits below this may have been sealed in the hole."""
    settled: set[LaneKey] = field(factory=set)
    """The lanes that were heard of since."""
    lanes: set[LaneKey] | None = None
    """The only lanes in doubt; None: all but those settled."""
    incarnations: set[str] | None = None
    """The only incarnations whose undivided sections are in doubt; None: all."""

    def covers(self, key: LaneKey) -> bool:
        """Whether a lane's numbers are in doubt."""
        return key not in self.settled and (self.lanes is None or key in self.lanes)


@define(eq=False)
class Replay:
    """The fold. `noted` are the holes that an earlier start accounted for."""

    noted: Sequence[Hole] = ()
    numbers: Numbers = field(factory=Numbers)
    position: Position = field(factory=Position)
    waiting: dict[LaneKey, list[Waiting]] = field(factory=dict)
    undivided: dict[str, list[Waiting]] = field(factory=dict)
    batches: dict[LaneKey, dict[int, SealedBatch]] = field(factory=dict)
    through: dict[LaneKey, int] = field(factory=dict)
    """Lane -> the last commit that its seals hold, of all lanes heard of."""
    holes: list[Hole] = field(factory=list)
    """Those that nobody accounted for before."""
    discards: list[Discard] = field(factory=list)
    rebuilt: dict[tuple[LaneKey, int], Seal] = field(factory=dict)
    _oldest: int | None = None  # what begins before this commit was dropped; 0 when that is not known
    _pending: bool | None = None  # a hole lies before the next frame: True when nobody accounted for it
    _lanes: _Doubt | None = None  # seals were lost
    _again: set[str] | None = None  # commits were lost: the instances that were heard of since
    _asides: set[tuple[LaneKey, int]] = field(factory=set)
    _incomplete: dict[tuple[LaneKey, int], int] = field(factory=dict)  # batch -> events of it that were found
    _lost: list[tuple[int, int]] = field(factory=list)  # commits: first, and the one after the last
    _lost_events: int = 0
    _lost_seals: int = 0
    _given_up: int = 0
    _forgotten: int = 0

    # -- the stream

    def hole(self, hole: Hole) -> None:
        """A hole comes next."""
        if any(noted.covers(hole) for noted in self.noted):
            self._pending = self._pending or False
        else:
            self.holes.append(hole)
            self._pending = True

    def record(self, record: Written, at: Position, extents: Sequence[Extent]) -> None:
        """A record comes next, written at position `at`; `extents` are those of its sections."""
        self._arrive(record, at)
        if isinstance(record, Commit):
            self._commit(record, extents)
        elif isinstance(record, Seals):
            for seal in record.seals:
                self._seal(seal)
        elif isinstance(record, Noted):
            self._snapshot(record)
        elif isinstance(record, Aside):
            self._aside(record)
        elif isinstance(record, Discard):
            self._discard(record)
        behind, now = at.after(record), self.position
        self.position = Position(
            max(now.commit, behind.commit), max(now.events, behind.events), max(now.seals, behind.seals)
        )

    def _arrive(self, record: Written, at: Position) -> None:
        """Find out what is missing before a record, and go on from there."""
        now = self.position
        if self._oldest is None:
            opened = isinstance(record, Noted) and record.opening
            self._oldest, self.position = at.commit if opened else 0, at
            self.numbers.next_commit = at.commit
            if not opened and self._pending is not False:
                self._lanes, self._again = _Doubt(at.commit), set()
        elif at.commit > now.commit or at.seals > now.seals:
            if self._pending is not False:
                self._miss(now, at)
            self.position = Position(max(now.commit, at.commit), max(now.events, at.events), max(now.seals, at.seals))
            self.numbers.next_commit = self.position.commit
        self._pending = None

    def _miss(self, now: Position, at: Position) -> None:
        if at.commit > now.commit:
            self._lost.append((now.commit, at.commit))
            self._lost_events += at.events - now.events
            self._again = set()
        if at.seals > now.seals:
            self._lost_seals += at.seals - now.seals
            self._lanes = _Doubt(at.commit)

    # -- records

    def _commit(self, commit: Commit, extents: Sequence[Extent]) -> None:
        if commit.number < self.position.commit:
            return  # written again after a failed sync
        self.numbers.commit(commit)
        if self._again is not None:
            self._again.update(commit.instances)
        for section, extent in zip(commit.sections, extents, strict=True):
            piece = Waiting(commit.incarnation, section.vbucket, commit.number, commit.time, section.events, extent)
            if commit.divided:
                self.waiting.setdefault((commit.incarnation, section.vbucket), []).append(piece)
            else:
                self.undivided.setdefault(commit.incarnation, []).append(piece)

    def _seal(self, seal: Seal) -> None:
        key, first = seal.key, seal.first_commit
        if self._lanes is not None and self._lanes.covers(key):
            self._settle(key, seal.seq - 1, seal.after, seal.before, first - 1)
        lane = self.numbers.lanes.get(key)
        parts = [
            piece
            for piece in self.undivided.get(seal.incarnation, ())
            if max(first, self.through.get(key, 0) + 1) <= piece.commit <= seal.last_commit
        ]
        pieces = self._take(key, first, seal.last_commit)
        if lane is not None and seal.seq <= lane.given and not pieces and not parts:
            return  # written again after a failed sync
        if lane is not None and seal.seq == lane.given + 1:
            # The lane's own words: the seal may have been made before a batch was passed over.
            seal = evolve(seal, after=lane.follows, before=lane.events)
        self.numbers.seal(seal)
        self.through[key] = max(self.through.get(key, 0), seal.last_commit)
        if self._oldest is not None and first < self._oldest:
            return  # nobody needed it any more when its commits were dropped
        self._hold(seal, pieces, parts)

    def _hold(self, seal: Seal, pieces: Sequence[Waiting], parts: Sequence[Waiting]) -> None:
        found = sum(piece.events for piece in pieces)
        whole = found == seal.events and sum(piece.extent.length for piece in pieces) == seal.length
        extents = Extents()
        if whole or parts:  # how much of an undivided section is this lane's is seen when it is read
            in_order = sorted((*parts, *pieces), key=lambda piece: piece.commit)
            extents = Extents.of(piece.extent for piece in in_order)
        else:
            self._incomplete[seal.key, seal.seq] = found
        self.batches.setdefault(seal.key, {})[seal.seq] = SealedBatch(seal, extents)

    def _aside(self, aside: Aside) -> None:
        key = aside.key
        if (key, aside.seq) in self._asides:
            return  # written again after a failed sync
        self._asides.add((key, aside.seq))
        self.numbers.aside(aside)
        batches = self.batches.get(key, {})
        batches.pop(aside.seq, None)
        if aside.pass_over:
            after: int | None = aside.after
            for seq in sorted(seq for seq in batches if seq > aside.seq):
                seal = batches[seq].seal
                seal = evolve(seal, before=seal.before - aside.events, after=seal.after if after is None else after)
                batches[seq], after = evolve(batches[seq], seal=seal), None

    def _discard(self, discard: Discard) -> None:
        key = (discard.incarnation, discard.vbucket or 0)
        if discard.vbucket is not None:
            self._take(key, 0, discard.through)
            return
        pieces = self.undivided.pop(discard.incarnation, [])
        if later := [piece for piece in pieces if piece.commit > discard.through]:
            self.undivided[discard.incarnation] = later

    def _snapshot(self, noted: Noted) -> None:
        snapshot = noted.snapshot
        if snapshot.next_commit < self.position.commit:
            return  # written again after a failed sync
        if self._lanes is not None:
            self._lanes = self._narrow(self._lanes, noted)
        self._again = None
        self.numbers.replace(snapshot, noted.through)
        for key, commit in noted.through.items():
            self.through[key] = max(self.through.get(key, 0), commit)
        for key in list(self.batches):
            if key[0] != snapshot.incarnation and key not in snapshot.lanes:
                del self.batches[key]  # a lane is left out when nothing of it is held any more
                continue
            held = self.batches[key].items()
            self.batches[key] = {seq: batch for seq, batch in held if batch.seal.first_commit >= snapshot.first_needed}
        for incarnation in list(self.undivided):
            self._discard(Discard(incarnation, None, snapshot.first_needed - 1))

    def _narrow(self, doubt: _Doubt, noted: Noted) -> _Doubt | None:
        """Settle what a snapshot knows of.

        A lane of an older incarnation that it does not name is in doubt still: it may have sealed nothing, or be done
        with all it sealed.
        """
        current, unknown = noted.snapshot.incarnation, set()
        for key in [key for key in self.waiting if doubt.covers(key)]:
            lane = noted.snapshot.lanes.get(key)
            if lane is not None:
                self._settle(key, lane.given, lane.follows, lane.events, noted.through[key])
            elif key[0] != current:
                unknown.add(key)
        older = {each for each in self.undivided if each != current}
        if doubt.incarnations is not None:
            older &= doubt.incarnations
        return _Doubt(doubt.before, lanes=unknown, incarnations=older) if unknown or older else None

    # -- doubt

    def _take(self, key: LaneKey, first: int, through: int) -> list[Waiting]:
        """What waits of a lane in commits `first` to `through` waits no more."""
        pieces = self.waiting.pop(key, [])
        if others := [piece for piece in pieces if not first <= piece.commit <= through]:
            self.waiting[key] = others
        return [piece for piece in pieces if first <= piece.commit <= through]

    def _settle(self, key: LaneKey, given: int, follows: int, events: int, through: int) -> None:
        """Seals may have been lost; now it is known up to which number, and which commit, the lane had been sealed."""
        assert self._lanes is not None
        self._lanes.settled.add(key)
        pieces = self._take(key, 0, through)
        if not pieces:
            return
        lane = self.numbers.lanes.get(key, NO_NUMBERS)
        seal = Seal(
            incarnation=key[0],
            vbucket=key[1],
            seq=lane.given + 1,
            after=lane.follows,
            before=lane.events,
            events=sum(piece.events for piece in pieces),
            sealed=min(piece.time for piece in pieces),
            checksum=0,  # filled in by `finish`
            first_commit=pieces[0].commit,
            last_commit=pieces[-1].commit,
            length=sum(piece.extent.length for piece in pieces),
        )
        # With parts of undivided sections in it there would be more events.
        if given == follows == seal.seq and events == seal.before + seal.events:
            self.numbers.seal(seal)
            self.through[key] = seal.last_commit
            self._hold(seal, pieces, ())
            self.rebuilt[key, seal.seq] = seal
        else:
            self._give_up(key, pieces)

    def _give_up(self, key: LaneKey, pieces: Sequence[Waiting]) -> None:
        self._given_up += sum(piece.events for piece in pieces)
        self.discards.append(Discard(*key, pieces[-1].commit))

    def finish(self, read: Callable[[Extent], bytes], checksum: Checksum) -> None:
        """All frames were taken: decide what is still in doubt. `read` gives the bytes of sections."""
        if self._pending:  # a hole, and nothing behind it that would tell what it swallowed
            self._lanes = _Doubt(self.position.commit)
            self._again = self._again or set()
        if self._lanes is not None:
            for key in [key for key in self.waiting if self._lanes.covers(key)]:
                self._give_up(key, self.waiting.pop(key))
            for incarnation in list(self.undivided):
                if self._lanes.incarnations is None or incarnation in self._lanes.incarnations:
                    self._give_up_undivided(incarnation, self._lanes.before - 1)
        if self._again is not None:
            known = self.numbers.instances
            self.numbers.instances = {each: last for each, last in known.items() if each in self._again}
            self._forgotten = len(known) - len(self.numbers.instances)
        for key, seq in self.rebuilt:
            batch = self.batches.get(key, {}).get(seq)
            if batch is not None:
                crc = 0
                for extent in batch.extents:
                    crc = checksum(read(extent), crc)
                self.batches[key][seq] = evolve(batch, seal=evolve(batch.seal, checksum=crc))
        if events := self._uncertain():
            self.numbers.ledger[DAMAGED_LINE] = self.numbers.ledger.get(DAMAGED_LINE, 0) + events

    def _give_up_undivided(self, incarnation: str, through: int) -> None:
        pieces = [piece for piece in self.undivided[incarnation] if piece.commit <= through]
        if pieces:
            self._given_up += sum(piece.events for piece in pieces)
            discard = Discard(incarnation, None, through)
            self._discard(discard)
            self.discards.append(discard)

    # -- the result

    def _uncertain(self) -> int:
        """The events given up. What incomplete batches lack is not among them: their lanes will know."""
        lacking = 0
        for seal in self._incomplete_batches():
            if any(seal.first_commit < end and begin <= seal.last_commit for begin, end in self._lost):
                lacking += seal.events - self._incomplete[seal.key, seal.seq]
        return max(0, self._lost_events - lacking) + self._given_up

    def _incomplete_batches(self) -> Iterable[Seal]:
        for key, seq in self._incomplete:
            batch = self.batches.get(key, {}).get(seq)
            if batch is not None:
                yield batch.seal

    def decisions(self) -> list[Seals | Discard]:
        """What has to be written so that the next start decides alike."""
        rebuilt = self.rebuilt_seals()
        done = [  # sealed, and already confirmed or set aside
            Discard(*key, seal.last_commit)
            for (key, seq), seal in self.rebuilt.items()
            if seq not in self.batches.get(key, {})
        ]
        return [*([Seals(rebuilt)] if rebuilt else []), *done, *self.discards]

    def rebuilt_seals(self) -> tuple[Seal, ...]:
        """The seals made again whose batches are still held."""
        held = (self.batches.get(key, {}).get(seq) for key, seq in self.rebuilt)
        return tuple([batch.seal for batch in held if batch is not None])

    def damage(self) -> Damage | None:
        """What was found damaged by this start; None: nothing."""
        if not self.holes:
            return None
        return Damage(
            tuple(self.holes),
            sum(end - begin for begin, end in self._lost),
            self._lost_seals,
            self.rebuilt_seals(),
            tuple(self._incomplete_batches()),
            self._uncertain(),
            self._forgotten,
        )

    def held(self) -> Mapping[LaneKey, tuple[SealedBatch, ...]]:
        """The batches that are held, ascending by number, by lane."""
        return {
            key: tuple([batches[seq] for seq in sorted(batches)]) for key, batches in self.batches.items() if batches
        }
