"""The bytes of the spool: payloads, frames, and what is found in a segment that was torn, damaged or made up."""

from __future__ import annotations

from attrs import evolve
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.encoding import Kind, Mark, Noted, Seals, Written, decode, encode, kind_of
from taba.agent.extents import Extents, SealedBatch
from taba.agent.records import (
    Aside,
    Commit,
    Discard,
    Extent,
    Hole,
    LaneNumbers,
    Seal,
    Section,
    Snapshot,
)
from taba.agent.segments import (
    HEADER_BYTES,
    MARKER,
    FrameWriter,
    Position,
    damaged_name,
    pack,
    scan,
    segment_name,
    segment_number,
)
from taba.errors import CorruptBlob
from tests.agent.spool_folder import checksum
from tests.agent.spool_life import ONE, A
from tests.strategies import law

U64 = st.integers(0, 2**64 - 1)


U32 = st.integers(0, 2**32 - 1)


VBUCKETS = st.integers(0, 2**32 - 2)


TIMES = st.floats(allow_nan=False)


IDS = st.binary(min_size=16, max_size=16).filter(any).map(bytes.hex)


LINES = st.dictionaries(st.text(max_size=9), st.integers(-(2**63), 2**63 - 1), max_size=3)


NUMBERS = st.builds(LaneNumbers, U64, U64, U64)


SECTIONS = st.builds(Section, U32, st.integers(0, 2**40), st.binary(max_size=40))


COMMITS = st.builds(
    Commit,
    number=st.integers(1, 2**63),
    incarnation=IDS,
    time=TIMES,
    instances=st.dictionaries(IDS, U64, max_size=3),
    ledger=LINES,
    sections=st.lists(SECTIONS, max_size=4).map(tuple),
    divided=U32,
)


SEALS = st.builds(Seal, IDS, U32, U64, U64, U64, U64, TIMES, U32, U64, U64, U64)


ASIDES = st.builds(Aside, IDS, U32, U64, st.text(max_size=9), st.booleans(), U64, U64)


SNAPSHOTS = st.builds(
    Snapshot,
    incarnation=IDS | st.just(""),
    cluster=IDS | st.none(),
    vbuckets=U32,
    next_commit=st.integers(1, 2**63),
    instances=st.dictionaries(IDS, st.tuples(U64, TIMES), max_size=3),
    lanes=st.dictionaries(st.tuples(IDS, U32), NUMBERS, max_size=3),
    ledger=LINES,
    first_needed=U64,
    types=st.dictionaries(st.text(max_size=9), st.integers(0, 65535), max_size=3),
)


HOLES = st.builds(Hole, U64, U64, U64)


@st.composite
def noted(draw: st.DrawFn) -> Noted:
    """Snapshots as they are written."""
    snapshot = draw(SNAPSHOTS)
    through = {key: draw(U64) for key in snapshot.lanes}
    return Noted(snapshot, draw(U64), tuple(draw(st.lists(HOLES, max_size=2))), through, draw(st.booleans()))


RECORDS: st.SearchStrategy[Written] = st.one_of(
    COMMITS,
    st.lists(SEALS, max_size=3).map(tuple).map(Seals),
    ASIDES,
    noted(),
    st.builds(Discard, IDS, VBUCKETS | st.none(), U64),
    st.just(Mark()),
)


def number_of(record: Written) -> int:
    """The commit number in a record's header."""
    if isinstance(record, Commit):
        return record.number
    return record.snapshot.next_commit if isinstance(record, Noted) else 1


def payload_of(record: Written) -> bytes:
    """The payload of a record."""
    return b"".join(encode(record))


def _without_types(noted: Noted) -> Noted:
    return evolve(noted, snapshot=evolve(noted.snapshot, types={}))


class EncodingTests(SynchronousTestCase):
    """Payloads."""

    @law(RECORDS)
    def test_decode_gives_what_was_encoded(self, record: Written) -> None:
        """Every record comes back as it was."""
        self.assertEqual(decode(kind_of(record), payload_of(record), number_of(record)), record)

    @law(RECORDS)
    def test_every_prefix_is_refused(self, record: Written) -> None:
        """A payload that ends too early is corrupt, and so is one with a byte too many."""
        payload = payload_of(record)
        for length in range(len(payload)):
            if isinstance(record, Noted) and payload[:length] == payload_of(_without_types(record)):
                continue  # as it was written before Types were learned
            self.assertRaises(CorruptBlob, decode, kind_of(record), payload[:length], 1)
        self.assertRaises(CorruptBlob, decode, kind_of(record), payload + b"\0", 1)

    def test_types_have_one_form(self) -> None:
        """A list of no Types, one that does not ascend, or with a Type twice, is corrupt."""
        plain = payload_of(Noted(Snapshot(A, None, 0, 1)))
        rows = {name: len(name).to_bytes(2, "little") + name.encode() + b"\0\0" for name in ("a", "b")}
        for names in ("", "ba", "aa"):
            types = len(names).to_bytes(4, "little") + b"".join(rows[name] for name in names)
            self.assertRaises(CorruptBlob, decode, Kind.SNAPSHOT, plain + types, 1)
        both = decode(Kind.SNAPSHOT, plain + b"\2\0\0\0" + rows["a"] + rows["b"], 1)
        self.assertEqual(both, Noted(Snapshot(A, None, 0, 1, types={"a": 0, "b": 0})))

    @law(st.integers(0, 9), st.binary(max_size=200), examples=200)
    def test_noise_is_a_record_or_corrupt(self, kind: int, noise: bytes) -> None:
        """Whatever the bytes are, a decoder raises nothing but CorruptBlob."""
        try:
            record = decode(kind, noise, 1)
        except CorruptBlob:
            return
        self.assertEqual(kind_of(record), kind)

    @law(RECORDS, st.randoms(use_true_random=False), examples=100)
    def test_damaged_records_are_records_or_corrupt(self, record: Written, random: object) -> None:
        """A payload with some bytes changed raises nothing but CorruptBlob."""
        payload = bytearray(payload_of(record))
        for _ in range(min(3, len(payload))):
            payload[random.randrange(len(payload))] = random.choice((0, 1, 127, 255))  # type: ignore[attr-defined]
        try:
            decode(kind_of(record), bytes(payload), 1)
        except CorruptBlob:
            return

    def test_same_key_twice_is_refused(self) -> None:
        """A commit cannot name an instance twice, for which number would count?"""
        payload = bytearray(payload_of(Commit(1, A, 0.0, {ONE: 1, A: 1}, {}, (), 1)))
        payload[-24:-8] = bytes.fromhex(ONE)
        self.assertRaises(CorruptBlob, decode, Kind.COMMIT, bytes(payload), 1)

    def test_truth_values_are_0_or_1(self) -> None:
        """A byte that is neither is corrupt."""
        payload = bytearray(payload_of(Aside(A, 1, 1, "", True, 0, 0)))
        payload[-3] = 2
        self.assertRaises(CorruptBlob, decode, Kind.ASIDE, bytes(payload), 1)

    def test_text_is_utf_8(self) -> None:
        """Other bytes are corrupt."""
        payload = payload_of(Aside(A, 1, 1, "x", True, 0, 0))
        self.assertRaises(CorruptBlob, decode, Kind.ASIDE, payload[:-1] + b"\xff", 1)

    def test_ids_are_32_lower_case_digits(self) -> None:
        """Other ids are refused when they are written, so that they come back as they were."""
        for bad in ("", "a" * 31, "a" * 33, "A" * 32, "x" * 32, "aa " * 16):
            self.assertRaises(ValueError, encode, Discard(bad, 1, 1))

    def test_large_commits_are_not_copied(self) -> None:
        """The bytes of large sections are handed on as they are."""
        section = Section(1, 1, bytes(100_000))
        pieces = encode(Commit(1, A, 0.0, {}, {}, (section,), 1))
        self.assertIs(pieces[1], section.data)


class ExtentsTests(SynchronousTestCase):
    """Where bodies stand."""

    @law(st.lists(st.builds(Extent, st.integers(0, 3), U32, U32, st.booleans()), max_size=20))
    def test_unpacked_they_are_the_same(self, extents: list[Extent]) -> None:
        """Packed extents come back one by one, in order."""
        self.assertEqual(list(Extents.of(extents)), extents)

    def test_size(self) -> None:
        """In one segment an extent takes eight bytes."""
        self.assertEqual(len(Extents.of([Extent(1, 2, 3)] * 100)._packed), 812)


class NameTests(SynchronousTestCase):
    """Names of files."""

    @law(U64)
    def test_numbers_and_names(self, number: int) -> None:
        """A segment's name says its number, and names sort as numbers do."""
        self.assertEqual(segment_number(segment_name(number)), number)
        self.assertEqual(len(segment_name(number)), len(segment_name(0)))

    def test_other_names_are_no_segments(self) -> None:
        """Files that somebody else put there are left alone."""
        digits = "0" * 15
        for name in (
            "",
            "opening",
            "segment-",
            "segment-1",
            f"segment-{digits}g",
            f"segment-{digits}A",
            "segment-+" + digits,
        ):
            self.assertIsNone(segment_number(name))
        self.assertIsNone(segment_number(damaged_name(Hole(1, 2, 3))))


def segment(*records: Written, number: int = 7, synced: int = 0) -> bytes:
    """A segment with these records."""
    return FrameWriter(number, Position(), checksum).lay_out(records, 0, synced)[0]


COMMIT = Commit(1, A, 5.0, {ONE: 3}, {"received": 2}, (Section(1, 2, b"one"), Section(2, 3, b"three")), 8)


SEAL = Seal(A, 1, 1, 0, 0, 2, 5.0, 99, 1, 1, 3)


class FrameTests(SynchronousTestCase):
    """Frames, and how they are found again."""

    @law(st.lists(RECORDS.filter(lambda record: not isinstance(record, Noted)), max_size=5))
    def test_scan_finds_what_was_laid_out(self, records: list[Written]) -> None:
        """Each record is found where it was written, with the position behind those before it."""
        records = [evolve(each, number=1) if isinstance(each, Commit) else each for each in records]
        found, position, at = scan(7, segment(*records), checksum), Position(), 0
        for frame, record in zip(found.frames, records, strict=True):
            self.assertEqual((frame.offset, frame.position), (at, position))
            self.assertEqual(decode(frame.kind, frame.payload, 1), record)
            at, position = frame.end, position.after(record)
        self.assertEqual(found.holes, [] if records else [Hole(7, 0, 0)])

    def test_position_counts_commits_events_and_seals(self) -> None:
        """A frame says how much was written before it."""
        last = scan(7, segment(COMMIT, Seals((SEAL, SEAL)), Mark()), checksum).frames[-1]
        self.assertEqual(last.position, Position(2, 5, 2))

    def test_extents_point_to_the_sections(self) -> None:
        """The bytes of each section stand where its extent says."""
        content, extents = FrameWriter(7, Position(), checksum).lay_out([Mark(), COMMIT, COMMIT], 1000, 0)
        self.assertEqual([len(each) for each in extents], [2, 2])
        for each in extents:
            found = [content[extent.offset - 1000 : extent.offset - 1000 + extent.length] for extent in each]
            self.assertEqual(found, [b"one", b"three"])
            self.assertEqual({(extent.segment, extent.undivided) for extent in each}, {(7, False)})

    def test_prepared_frames_say_that_they_are_durable(self) -> None:
        """What a segment opens with is durable before it gets its name: each of its frames knows its own end."""
        found = scan(7, FrameWriter(7, Position(), checksum).lay_out([Mark(), Mark()], 0, None)[0], checksum)
        self.assertEqual([frame.synced for frame in found.frames], [HEADER_BYTES, 2 * HEADER_BYTES])

    def test_frames_of_another_segment_are_not_found(self) -> None:
        """Bytes of segment 7 in segment 8 are not records."""
        content = segment(COMMIT)
        self.assertEqual(scan(8, content, checksum).holes, [Hole(8, 0, len(content))])

    def test_damaged_payload_hides_nothing_else(self) -> None:
        """The frame behind a damaged payload is found, even when the payload looks like a frame."""
        inner = segment(Mark(), number=6)
        content = bytearray(segment(evolve(COMMIT, sections=(Section(1, 1, inner * 3),)), SEALED, synced=0))
        content[HEADER_BYTES] ^= 1
        found = scan(7, bytes(content), checksum)
        self.assertEqual([frame.kind for frame in found.frames], [Kind.SEALS])
        self.assertEqual(found.holes, [Hole(7, 0, found.frames[0].offset)])

    def test_damaged_header_hides_one_record(self) -> None:
        """The next frame is found by its marker."""
        content = bytearray(segment(COMMIT, SEALED, Mark()))
        content[9] ^= 1
        self.assertEqual([frame.kind for frame in scan(7, bytes(content), checksum).frames], [Kind.SEALS, Kind.MARK])

    def test_no_marker_behind_damage(self) -> None:
        """Damage may reach to the end."""
        found = scan(7, segment(Mark()) + b"\0" * 99, checksum)
        self.assertEqual(found.holes, [Hole(7, HEADER_BYTES, 99)])

    def test_holes_that_touch_are_one(self) -> None:
        """Noise with markers in it is one hole."""
        self.assertEqual(scan(7, MARKER * 5 + b"x", checksum).holes, [Hole(7, 0, 21)])

    def test_cut_above_what_was_durable(self) -> None:
        """What is unreadable above the durable bytes is a torn end: what follows it is not taken."""
        first = segment(COMMIT)
        writer = FrameWriter(7, Position(2, 5), checksum)
        rest = writer.lay_out([SEALED, Mark()], len(first), len(first))[0]
        torn = bytearray(first + rest)
        torn[len(first) + HEADER_BYTES] ^= 1
        found = scan(7, bytes(torn), checksum)
        self.assertEqual((found.synced, found.cut()), (len(first), len(first)))
        self.assertEqual(([frame.kind for frame in found.frames], found.holes), ([Kind.COMMIT], []))

    def test_nothing_to_cut(self) -> None:
        """A whole segment ends at its end; damage below the durable bytes stays, and so does that of an opening."""
        whole = segment(COMMIT)
        self.assertEqual(scan(7, whole, checksum).cut(), len(whole))
        found = scan(7, b"\0" * 60, checksum)
        self.assertEqual((found.cut(), found.holes), (60, [Hole(7, 0, 60)]))

    def test_end_at(self) -> None:
        """What lies beyond the end that counts is not taken, and what is missing of it is a hole."""
        content = segment(COMMIT, Mark(), Mark())
        found = scan(7, content, checksum)
        found.end_at(len(content) - HEADER_BYTES)
        self.assertEqual((len(found.frames), found.holes), (2, []))
        found = scan(7, content, checksum)
        found.end_at(len(content) + 10)
        self.assertEqual((len(found.frames), found.holes), (3, [Hole(7, len(content), 10)]))

    @law(st.lists(RECORDS, min_size=1, max_size=4), st.randoms(use_true_random=False), examples=60)
    def test_damage_costs_what_it_touches(self, records: list[Written], random: object) -> None:
        """After any damage, every frame that it did not touch is found, and no other."""
        content = segment(*records)
        whole = scan(7, content, checksum).frames
        begin = random.randrange(len(content))  # type: ignore[attr-defined]
        end = begin + random.randrange(1, 80)  # type: ignore[attr-defined]
        changed = content[:begin] + bytes(byte ^ 0x55 for byte in content[begin:end]) + content[end:]
        found = scan(7, changed, checksum)
        untouched = [frame for frame in whole if frame.end <= begin or frame.offset >= end]
        self.assertEqual(found.frames, untouched)
        covered = sum(hole.length for hole in found.holes) + sum(frame.end - frame.offset for frame in found.frames)
        self.assertEqual(covered, len(content))

    def test_pack(self) -> None:
        """Seals that follow one another are one record, snapshots stand twice, the order stays."""
        snapshot = Noted(Snapshot(A, None, 0, 1))
        aside = Aside(A, 1, 1, "", False, 0, 0)
        packed = list(pack([SEAL, SEAL, COMMIT, SEAL, snapshot, aside]))
        expected = [Seals((SEAL, SEAL)), COMMIT, SEALED, snapshot, snapshot, aside]
        self.assertEqual(packed, expected)

    def test_a_sealed_batch_as_lanes_take_it(self) -> None:
        """All that a lane has to know stands in the seal; where the body is stands beside it."""
        extents = Extents.of([Extent(1, 2, 3)])
        held = SealedBatch(SEAL, extents).held()
        self.assertEqual(
            (held.seq, held.after, held.before, held.events, held.sealed, held.checksum, held.length, held.source),
            (1, 0, 0, 2, 5.0, 99, 3, extents),
        )


SEALED = Seals((SEAL,))
