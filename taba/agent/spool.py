"""The agent's spool: an append-only log of segments in one folder. Blocking; it knows no reactor and no clock.

Its rules, each of which some crash needs:

* Answer after sync: what `write` took counts only when `sync` has returned.
* A file whose write or sync failed is not used again. `fail_over` writes what was not durable to a new segment, under
  the same numbers, and that segment says how much of the old one counts.
* A segment is prepared under another name. It gets its own when all that it opens with is durable; older segments go
  only after that, the oldest first, each durably before the next.
* A snapshot notes only numbers whose events are in records before it: the spool folds what it writes, and compares.
* What may stand in the memory of the kernel only, `Recovered.doubtful`, is not acted upon before `start_segment`.
* A full disk is got out of from inside: older segments go without a new one, and for a new one there is the spare file.

One call at a time, from any thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from itertools import pairwise

from attrs import define, evolve, field, frozen

from taba.agent.encoding import Mark, Noted
from taba.agent.held import Held
from taba.agent.noting import by_record, noted, only_snapshots
from taba.agent.numbers import Numbers
from taba.agent.reading import BodyDamaged, Split, SpoolReader
from taba.agent.records import Checksum, Extent, Hole, Record, Snapshot
from taba.agent.recovery import Recovered, Recovery, recover
from taba.agent.segment_files import DiskFailed, FolderGone, OpenSegment, PlaceUnsure, SegmentFolder
from taba.agent.segments import FrameWriter, pack
from taba.errors import LocalProtocolError
from taba.interfaces import IFolder

__all__ = ["BodyDamaged", "DiskFailed", "FolderGone", "Recovered", "Spool", "SpoolLimits", "SpoolState"]

MIB = 1 << 20


@frozen
class SpoolLimits:
    """Sizes in bytes."""

    max_bytes: int = 1024 * MIB
    """What the segments may hold in all."""
    segment_bytes: int = 16 * MIB
    """A segment of this length is full."""
    reserve_bytes: int = 4 * MIB
    """Room that commits leave to seals and snapshots, in the spool and on the disk."""
    spare_bytes: int = MIB
    """The size of the spare file, which is made larger when a new segment would need more."""


class SpoolState(Enum):
    """What a spool waits for."""

    CLOSED = "closed"
    """`open`."""
    OPENED = "opened"
    """The first `start_segment`."""
    WRITING = "writing"
    """Records."""
    FAILED = "failed"
    """`fail_over`: the file of the segment is not used any more."""


@define(eq=False)
class Spool:
    """The spool in one folder."""

    folder: IFolder
    checksum: Checksum = field(repr=False)
    limits: SpoolLimits = field(factory=SpoolLimits)
    state: SpoolState = field(default=SpoolState.CLOSED, init=False)
    _reader: SpoolReader = field(init=False)
    _files: SegmentFolder = field(init=False)
    _recovery: Recovery | None = field(default=None, init=False)  # until the first segment of this life is there
    _segment: OpenSegment | None = field(default=None, init=False)
    _numbers: Numbers = field(factory=Numbers, init=False)  # as of what is durable
    _unsynced: list[Record] = field(factory=list, init=False)
    _holes: tuple[Hole, ...] = field(default=(), init=False)
    _sizes: dict[int, int] = field(factory=dict, init=False)  # segment -> bytes
    _firsts: dict[int, int] = field(factory=dict, init=False)  # segment -> the first commit that may be in it
    _removing: bool = field(default=False, init=False)  # a removal is perhaps not durable
    _gone: bool = field(default=False, init=False)  # the folder was not there

    def __attrs_post_init__(self) -> None:
        self._reader = SpoolReader(self.folder, self.checksum)
        self._files = SegmentFolder(self.folder)

    # -- start and end

    def open(self) -> Recovered:
        """Lock the folder, and read what the life before has left. Damage never keeps it from opening.

        That needs no room. What is damaged is copied to files `damaged-...`, as far as the disk takes it. FolderLocked
        when another process has the folder, DiskFailed when the folder cannot be read at all; both leave it closed.
        """
        self._expect(SpoolState.CLOSED)
        self.folder.lock()
        try:
            numbers, durable = self._files.numbers()
        except DiskFailed:
            self.folder.unlock()
            raise
        sizes: dict[int, int] = {}

        def load(number: int) -> bytes:
            content = self._reader.segment(number)
            sizes[number] = len(content)
            return content

        recovery = recover(numbers, load, self._reader.extent, self.checksum)
        if not durable:
            recovered = evolve(recovery.recovered, doubtful=frozenset(recovery.recovered.batches))
            recovery = evolve(recovery, recovered=recovered, doubtful_from=0)
        self._recovery, self._numbers, self._holes = recovery, recovery.numbers, recovery.holes
        self._sizes, self._firsts = sizes, dict(recovery.firsts)
        self.state = SpoolState.OPENED
        if recovery.recovered.damage is not None:
            for hole in recovery.recovered.damage.holes:
                self._files.keep(hole, self._reader.extent(Extent(hole.segment, hole.offset, hole.length)))
        return recovery.recovered

    def close(self) -> None:
        """Close the files and give the folder back. Idempotent.

        What is durable is noted, so that the next start can tell damage from a torn end; the disk may refuse that.
        """
        segment = self._segment
        if segment is not None and self.state is SpoolState.WRITING and segment.noted < segment.synced:
            with suppress(OSError):
                segment.file.write(segment.writer.frame(Mark(), segment.written, segment.synced))
                segment.file.sync()
        if segment is not None:
            segment.file.close()
        if self.state is not SpoolState.CLOSED:
            self.folder.unlock()
        self._segment, self._recovery, self._unsynced = None, None, []
        self.state = SpoolState.CLOSED

    # -- writing

    def write(self, records: Sequence[Record]) -> list[tuple[Extent, ...]]:
        """Write records, in this order; they count when `sync` has returned. Where the sections of each will stand.

        Commits have the numbers that come next, seals are of commits before them, snapshots note what `snapshot` says,
        or less: else LocalProtocolError, and nothing is written (nor after a ValueError or struct.error, for values
        that no record can hold). After an OSError: `fail_over`.
        """
        segment = self._writing()
        before = segment.writer.position
        packed = noted(records, before.commit, self._numbers, self._unsynced, self._holes)
        try:
            content, extents = segment.writer.lay_out(pack(packed), segment.written, segment.synced)
        except BaseException:
            segment.writer.position = before
            raise
        self._unsynced += records
        segment.noted = segment.synced
        try:
            segment.file.write(content)
        except OSError:
            self._fail()
            raise
        segment.written += len(content)
        self._sizes[segment.number] = segment.written
        return by_record(records, extents)

    def sync(self) -> None:
        """Make durable what was written. After an OSError, or FolderGone (the disk has it where nobody would find it):
        `fail_over`.
        """
        segment = self._writing()
        if segment.synced == segment.written:
            return
        try:
            segment.file.sync()
        except OSError:
            self._fail()
            raise
        self.check_folder()
        segment.synced, segment.durable = segment.written, segment.writer.position
        segment.bare = segment.bare and only_snapshots(self._unsynced)
        self._fold(self._unsynced)

    def fail_over(self, records: Sequence[Record]) -> list[tuple[Extent, ...]]:
        """After an OSError: write `records` durably to a new segment, and go on there. Where their sections stand now.

        They are all those written since the last sync, in order, the ones that `write` failed on among them; further
        ones may follow. What `write` answered for them is void. DiskFailed leaves everything as it was: try again, when
        there is room again, say.
        """
        self._expect(SpoolState.FAILED)
        if list(records[: len(self._unsynced)]) != self._unsynced:
            raise LocalProtocolError("not the records that were written since the last sync")
        return self._go_on(records)

    def make_room(self, needed: int) -> bool:
        """When there was no room for `fail_over`: remove what only older commits than `needed` are in; whether that
        freed anything.

        If nothing else can go, the failed segment does: a new one that has nothing but its numbers takes its place,
        with the room of the spare file, and what was not synced counts as never written; the state is WRITING then.
        DiskFailed as in `fail_over`.
        """
        self._expect(SpoolState.FAILED)
        if self.drop_segments(needed):
            return True
        segment = self._current()
        if segment.bare or needed < segment.durable.commit:
            return False
        self._go_on([])
        self.drop_segments(needed)
        return True

    def start_segment(self, snapshot: Snapshot) -> None:
        """Go on in a new segment that opens with `snapshot`: what `snapshot()` says, or less, the incarnation and the
        cluster perhaps changed.

        Everything written must be synced. DiskFailed when there can be no new segment: the old one goes on, or, when
        the state is FAILED by now, `fail_over` with nothing to write. LocalProtocolError for numbers that are not so.
        """
        if self.state is SpoolState.OPENED and self._recovery is not None:
            recovery = self._recovery
            writer = FrameWriter(recovery.writer.segment, recovery.writer.position, self.checksum)
            previous_end, prefix = recovery.previous_end, recovery.prefix
            first = self._firsts.get(writer.segment, recovery.first_commit)
        else:
            segment = self._writing()
            if segment.synced < segment.written:
                raise LocalProtocolError("a new segment while records are not synced")
            number, previous_end = segment.next_place()
            writer, prefix, first = FrameWriter(number, segment.durable, self.checksum), b"", segment.durable.commit
        self._numbers.check(snapshot)
        numbers = Noted(snapshot, holes=self._holes, through=self._numbers.through)
        if not prefix:
            numbers = evolve(numbers, previous_end=previous_end, opening=True)
        opening, _ = writer.lay_out(pack([numbers]), len(prefix), None)
        self._install(writer, prefix + opening, previous_end, first, not prefix)
        self._numbers.replace(snapshot)
        self._recovery = None

    def drop_segments(self, needed: int) -> int:
        """Remove the segments whose commits are all older than commit `needed`; the bytes that this freed.

        The newest one stays. Before `start_segment`, too, but for those whose commits were done with by a record that
        is not known to be durable. DiskFailed when the disk refuses; the rest goes another time.
        """
        freed = 0
        if self._recovery is not None:
            needed = min(needed, self._recovery.doubtful_from)
        if self._removing:
            self._files.settle()
            self._removing = False
        numbers = sorted(self._sizes)
        for number, following in pairwise(numbers):
            if self._firsts[following] > needed:
                break
            self._files.remove(number)
            self._removing = True
            freed += self._sizes.pop(number)
            del self._firsts[number]
            self._files.settle()
            self._removing = False
        self._holes = tuple([hole for hole in self._holes if hole.segment >= min(self._sizes, default=0)])
        return freed

    def keep_spare(self) -> None:
        """Make the spare file, or make it longer, if the disk takes it."""
        if self._segment is not None:
            self._files.spare.keep(max(self.limits.spare_bytes, 2 * self._segment.opening))

    def check_folder(self) -> None:
        """FolderGone when the segment that is written is not found in the folder any more; what was not synced goes to
        another one then, by `fail_over`, once there is a folder again. DiskFailed when that cannot be seen.
        """
        if self.state is SpoolState.WRITING:
            try:
                self._files.check(self._current().number)
            except DiskFailed as problem:
                self._gone = isinstance(problem, FolderGone)
                self._fail()
                raise

    # -- reading

    def read(self, extents: Sequence[Extent]) -> bytes:
        """The bytes of sections, one after the other. BodyDamaged when they are not all there."""
        sections = self._reader.sections(extents)
        whole = [section for section in sections if section is not None]
        if len(whole) < len(sections):
            raise BodyDamaged(self.folder.path, extents)
        return b"".join(whole)

    def read_batches(self, batches: Sequence[tuple[int, Held]], split: Split | None = None) -> list[bytes | None]:
        """The bodies of (vbucket, batch), compared with their checksums; None for a body that is damaged.

        `split` deals sections that were not divided when they were committed. DiskFailed when the folder is gone:
        that is not damage, for it may be put back.
        """
        bodies = self._reader.batches(batches, split)
        if None in bodies and self._sizes:
            self._files.check(max(self._sizes))
        return bodies

    # -- questions

    def snapshot(self) -> Snapshot:
        """All numbers, those of records that are not synced yet among them."""
        numbers = self._numbers.copy()
        for record in self._unsynced:
            numbers.apply(record)
        return numbers.snapshot()

    def bytes_held(self) -> int:
        """The bytes of all segments."""
        return sum(self._sizes.values())

    def room(self, length: int) -> bool:
        """Whether `length` more bytes of commits fit, with room left for seals and snapshots."""
        opening = self._segment.opening if self._segment is not None else 0
        wanted = length + max(self.limits.reserve_bytes, 4 * opening)
        try:
            free = self.folder.free_bytes() + self._files.spare.size
            return self.bytes_held() + wanted <= self.limits.max_bytes and wanted <= free
        except OSError:
            return False

    def segment_full(self) -> bool:
        """Whether it is time for `start_segment`."""
        full = min(self.limits.segment_bytes, self.limits.max_bytes // 4)
        return self._segment is not None and self._segment.written >= full

    def segment_done(self, needed: int) -> bool:
        """Whether all that is in the segment that is written is older than commit `needed`, so that starting another
        one would free its room; not for the little that it opens with.
        """
        segment = self._segment
        return segment is not None and segment.durable.commit <= needed and segment.written > 3 * segment.opening

    # -- inside

    def _expect(self, state: SpoolState) -> None:
        if self.state is not state:
            raise LocalProtocolError(f"the spool is {self.state.value}, not {state.value}")

    def _current(self) -> OpenSegment:
        assert self._segment is not None, "a spool that is written to, or has failed, has a segment"
        return self._segment

    def _writing(self) -> OpenSegment:
        self._expect(SpoolState.WRITING)
        return self._current()

    def _fold(self, records: Sequence[Record]) -> None:
        """These are durable now, and nothing is not."""
        for record in records:
            self._numbers.apply(record)
        self._unsynced = []

    def _fail(self) -> None:
        self.state = SpoolState.FAILED
        self._current().file.close()

    def _go_on(self, records: Sequence[Record]) -> list[tuple[Extent, ...]]:
        """After a failure: let a segment take its place that opens with what is durable, and has `records`."""
        segment, numbers = self._current(), self._numbers
        number, previous_end = segment.next_place()
        writer = FrameWriter(number, segment.durable, self.checksum)
        opening = Noted(numbers.snapshot(), previous_end, self._holes, numbers.through, opening=True)
        packed = noted(records, segment.durable.commit, numbers, [], self._holes)
        content, extents = writer.lay_out(pack([opening, *packed]), 0, None)
        self._install(writer, content, previous_end, segment.durable.commit, only_snapshots(records))
        self._fold(records)
        return by_record(records, extents)

    def _install(self, writer: FrameWriter, content: bytes, previous_end: int, first: int, bare: bool) -> None:
        """Let a segment that begins with `content` take its place, and go on in it."""
        try:
            if self._gone:
                self._files.regain()
            file = self._files.place(writer.segment, content)
        except PlaceUnsure:
            if self.state is SpoolState.WRITING:
                self._fail()
            raise
        except FolderGone:
            self._gone = True
            raise
        self._gone = False
        if self._segment is not None:
            self._segment.file.close()
        self._segment = OpenSegment(writer, file, previous_end, len(content), bare)
        self._sizes[writer.segment], self._firsts[writer.segment] = len(content), first
        self.state = SpoolState.WRITING
