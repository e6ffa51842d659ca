"""Bodies of batches are read again."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.extents import Extents, SealedBatch
from taba.agent.held import Held
from taba.agent.reading import GAP_BYTES, RUN_BYTES
from taba.agent.records import Commit, Extent
from taba.agent.segments import segment_name
from taba.agent.spool import BodyDamaged, Spool
from taba.errors import CorruptBlob
from tests.agent.spool_folder import TracedFolder, checksum
from tests.agent.spool_life import A, section, split, started

FIRST, SECOND = segment_name(1), segment_name(2)


class ReadingTests(SynchronousTestCase):
    """Bodies are read again."""

    def setUp(self) -> None:
        self.life = started()
        self.sections = [section(1, b"1=one"), section(2, b"2=two"), section(3, b"3=" + b"x" * 2 * GAP_BYTES)]
        commit = Commit(1, A, 0.0, {}, {}, (*self.sections, section(4, b"4=four")), 8)
        (self.extents,) = self.life.spool.write([commit])
        self.life.sync()

    def test_read(self) -> None:
        """The sections that are asked for, one after the other, in the order asked for."""
        first, second, _, fourth = self.extents
        self.assertEqual(self.life.spool.read([fourth, first, second, first]), b"4=four;1=one;2=two;1=one;")
        self.assertEqual(self.life.spool.read([]), b"")

    def test_neighbours_are_read_together(self) -> None:
        """Sections that lie close together cost one read, and far ones do not read what is between."""
        folder = CountingFolder()
        for name, content in self.life.folder.contents().items():
            folder.open_append(name).write(content)
        spool = Spool(folder, checksum)
        spool.open()
        first, second, third, fourth = self.extents
        for extents, reads in (((first, second), 1), ((first, fourth), 2), ((first, second, third, fourth), 1)):
            folder.reads = 0
            spool.read(extents)
            self.assertEqual(folder.reads, reads)

    def test_runs_are_bounded(self) -> None:
        """However much is asked for, one read is of a bounded size."""
        life = started()
        part = b"1=" + b"y" * (RUN_BYTES // 2)
        (extents,) = life.spool.write([Commit(1, A, 0.0, {}, {}, tuple(section(v, part) for v in (1, 2, 3)), 8)])
        life.sync()
        self.assertEqual(life.spool.read(extents), (part + b";") * 3)

    def test_undivided_section_is_dealt_once(self) -> None:
        """However many batches have a part of an undivided section, it is read and divided once."""
        life = started()
        life.turn(A, None)
        parts = [b"%d=%s" % (vbucket, b"x" * vbucket) for vbucket in range(1, 8)]
        for _ in range(2):
            life.commit(section(0, *parts), divided=0)
        life.sync()
        seals = [life.account().seal((A, vbucket)) for vbucket in range(1, 8)]
        life.spool.close()
        spool, dealt = Spool(life.folder, checksum), []

        def counted(data: bytes) -> list[tuple[int, int, bytes]]:
            dealt.append(data)
            return split(data)

        source = tuple(piece.extent for piece in spool.open().undivided)
        batches = [(seal.vbucket, SealedBatch(seal, Extents.of(source)).held()) for seal in seals]
        bodies = spool.read_batches(batches, counted)
        self.assertEqual(bodies, [b"%d=%s;" % (vbucket, b"x" * vbucket) * 2 for vbucket in range(1, 8)])
        self.assertEqual(len(dealt), 2)

    def test_missing_bytes(self) -> None:
        """Sections that are not all there are damage, each by itself."""
        first = self.extents[0]
        for bad in (evolve(first, length=10**6), evolve(first, segment=9)):
            failed = self.assertRaises(BodyDamaged, self.life.spool.read, [first, bad])
            self.assertEqual((failed.path, failed.extents), ("traced", [first, bad]))

    def test_one_bad_read_costs_one_body(self) -> None:
        """When sections cannot be read together they are read one by one."""
        self.life.failing("read " + FIRST)
        self.assertEqual(self.life.spool.read(self.extents[:2]), b"1=one;2=two;")

    def held(self, body: bytes, *extents: Extent) -> Held:
        """A batch with such a body, of such sections."""
        return Held(1, 0, 0, 1, 0.0, checksum(body), len(body), extents)

    def test_batches(self) -> None:
        """Bodies that are not what was sealed are not given out."""
        first, second, *_ = self.extents
        good, wrong = self.held(b"1=one;2=two;", first, second), self.held(b"1=one;", second)
        gone = self.held(b"1=one;", evolve(first, segment=7))
        short, empty = self.held(b"1=one;2=", first), self.held(b"gone")
        batches = [(1, each) for each in (good, wrong, gone, short, empty, good)]
        bodies = self.life.spool.read_batches(batches)
        self.assertEqual(bodies, [b"1=one;2=two;", None, None, None, None, b"1=one;2=two;"])

    def test_undivided(self) -> None:
        """Of a section that was not divided a batch has its vbucket's part."""
        undivided = section(0, b"1=a", b"2=bb")
        (extents,) = self.life.spool.write([Commit(2, A, 0.0, {}, {}, (undivided,), 0)])
        self.life.sync()
        batches = [
            (1, self.held(b"1=a;1=one;", extents[0], self.extents[0])),
            (2, self.held(b"2=bb;", *extents)),
        ]
        self.assertEqual(self.life.spool.read_batches(batches, split), [b"1=a;1=one;", b"2=bb;"])
        self.assertEqual(self.life.spool.read_batches(batches), [None, None])

    def test_undivided_noise(self) -> None:
        """A section that cannot be divided any more costs its own batch, and no other."""

        def split_nothing(data: bytes) -> list[tuple[int, int, bytes]]:
            raise CorruptBlob("noise")

        (extents,) = self.life.spool.write([Commit(2, A, 0.0, {}, {}, (section(0, b"1=a"),), 0)])
        self.life.sync()
        batches = [(1, self.held(b"1=a;", *extents)), (1, self.held(b"1=one;", self.extents[0]))]
        self.assertEqual(self.life.spool.read_batches(batches, split_nothing), [None, b"1=one;"])

    def test_batches_of_somebody_else(self) -> None:
        """A batch that does not come from a spool is a defect of the caller."""
        self.assertRaises(TypeError, self.life.spool.read_batches, [(1, Held(1, 0, 0, 1, 0.0, 0, 0))])


class CountingFolder(TracedFolder):
    """Counts reads."""

    reads = 0

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self.reads += 1
        return super().read(name, offset, length)
