"""What every `IRecords` does."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from taba.tako.errors import Damaged, Gone
from taba.tako.interfaces import Found, IRecords, Write
from taba.tako.merkle import Leaves
from taba.tako.records import PIECE, SLOTS, Version, checksum_of, slot_of, tombstone, version_of

LARGE = bytes(range(256)) * 2_500
"""A value of three pieces."""


class RecordsContract:
    """Mixed into a TestCase that has `make` (a started, empty IRecords), `result` (waits for a Deferred) and `reopen`
    (the same records after a stop and a start).
    """

    make: Any
    result: Any
    reopen: Any
    assertEqual: Any
    assertRaises: Any
    assertTrue: Any
    assertIsNone: Any

    def _put(self, records: Any, key: bytes, stamp: int, value: bytes) -> Version:
        version: Version = self.result(records.write(Write(key, version_of(stamp, value), value)))
        return version

    def _stage(self, records: Any, upload: str, value: bytes) -> None:
        for number in range(-(-len(value) // PIECE)):
            self.result(records.stage(upload, number, value[number * PIECE : (number + 1) * PIECE]))

    def _leaves_are_right(self, records: Any) -> None:
        """The leaves say what a walk through all records says."""
        fresh, after = Leaves(), (-1, b"")
        while (page := self.result(records.walk(after, 2, True))).last is not None:
            for row in page.rows:
                self.assertTrue(row.sound)
                fresh.change(row.slot, None, row.version.digest(row.key))
            after = page.last
        self.assertEqual((records.leaves.sums, records.leaves.counts), (fresh.sums, fresh.counts))

    def test_provides(self) -> None:
        """It has what the interface names."""
        verifyObject(IRecords, self.make())

    def test_what_was_written_is_read(self) -> None:
        """Value and version come back, also an empty value, and nothing for a key that was never written."""
        records = self.make()
        for value in (b"one", b""):
            version = self._put(records, b"k" + value, 5, value)
            self.assertEqual(self.result(records.read(b"k" + value, True)), Found(version, value))
            self.assertEqual(self.result(records.read(b"k" + value, False)).version, version)
        self.assertIsNone(self.result(records.read(b"other", True)))

    def test_the_newer_stays_in_whatever_order_they_come(self) -> None:
        """A late copy of an older version changes nothing, and is answered with what is held."""
        records = self.make()
        newer = self._put(records, b"k", 7, b"new")
        self.assertEqual(self._put(records, b"k", 6, b"old"), newer)
        self.assertEqual(self.result(records.read(b"k", True)), Found(newer, b"new"))
        self._leaves_are_right(records)

    def test_a_tombstone_hides_and_stays(self) -> None:
        """A deleted key has a tombstone; an older value does not bring it back."""
        records = self.make()
        self._put(records, b"k", 5, b"x")
        gone = self.result(records.write(Write(b"k", tombstone(6))))
        self.assertEqual(self._put(records, b"k", 5, b"x"), gone)
        self.assertEqual(self.result(records.read(b"k", True)), Found(gone))
        self._leaves_are_right(records)

    def test_large_values_come_in_pieces(self) -> None:
        """A staged value is seen only when it is written, and comes back piece by piece."""
        records = self.make()
        self._stage(records, "u", LARGE)
        self.assertIsNone(self.result(records.read(b"k", True)))
        version = version_of(5, LARGE)
        self.assertEqual(self.result(records.write(Write(b"k", version, None, "u"))), version)
        pieces = [self.result(records.piece(b"k", version, number)) for number in range(version.pieces)]
        self.assertEqual(b"".join(pieces), LARGE)
        self.assertEqual(self.result(records.read(b"k", True)).body, LARGE[:PIECE])
        self.assertRaises(Gone, self.result, records.piece(b"k", version, 3))
        self._leaves_are_right(records)

    def test_a_value_that_is_not_the_announced_one_is_refused(self) -> None:
        """Cut short, or changed on the way, a value is stored nowhere."""
        records = self.make()
        for body in (b"shor", b"other"):
            refused = records.write(Write(b"k", Version(5, False, 5, checksum_of(b"short")), body))
            self.assertRaises(Damaged, self.result, refused)
        self._stage(records, "u", LARGE[:-1])
        self.assertRaises(Damaged, self.result, records.write(Write(b"k", version_of(5, LARGE), None, "u")))
        self.assertIsNone(self.result(records.read(b"k", True)))

    def test_pieces_out_of_order_are_refused(self) -> None:
        """A piece that does not follow, and an upload that nobody began, are refused."""
        records = self.make()
        self.result(records.stage("u", 0, b"x" * PIECE))
        self.assertRaises(Gone, self.result, records.stage("u", 2, b"x"))
        self.assertRaises(Gone, self.result, records.stage("v", 1, b"x"))
        self.result(records.unstage("u"))
        self.result(records.unstage("u"))
        self.assertRaises(Gone, self.result, records.write(Write(b"k", version_of(5, LARGE), None, "u")))

    def test_a_piece_of_another_version(self) -> None:
        """A reader of a value that was replaced hears so, and gets nothing of the new one."""
        records = self.make()
        old = self._put(records, b"k", 5, b"old")
        self._put(records, b"k", 6, b"new")
        self.assertRaises(Gone, self.result, records.piece(b"k", old, 0))

    def test_drop_only_what_it_is_meant_for(self) -> None:
        """A record that changed meanwhile is not dropped."""
        records = self.make()
        old = self._put(records, b"k", 5, b"old")
        new = self._put(records, b"k", 6, b"new")
        self.assertEqual(self.result(records.drop(b"k", old)), False)
        self.assertEqual(self.result(records.read(b"k", True)), Found(new, b"new"))
        self.assertEqual(self.result(records.drop(b"k", new)), True)
        self.assertIsNone(self.result(records.read(b"k", True)))
        self._leaves_are_right(records)

    def test_a_walk_meets_every_record_once(self) -> None:
        """In the order of slot and key, page by page; versions of slots agree with it."""
        records = self.make()
        held = {b"%d" % n: self._put(records, b"%d" % n, n + 1, b"v") for n in range(9)}
        met, after = [], (-1, b"")
        while (page := self.result(records.walk(after, 4, False))).last is not None:
            met += [(row.slot, row.key) for row in page.rows]
            after = met[-1]
        self.assertEqual(met, sorted((slot_of(key), key) for key in held))
        self.assertEqual(self.result(records.versions([slot for slot, _ in met])), held)

    def test_plain_records_are_only_counted(self) -> None:
        """Of slots that are called plain a walk gives tombstones alone."""
        records = self.make()
        for key in (b"a", b"b", b"c"):
            self._put(records, key, 1, key)
        self.result(records.write(Write(b"d", tombstone(2))))
        plain = bytearray(b"\1" * SLOTS)
        plain[slot_of(b"b")] = 0
        page = self.result(records.walk((-1, b""), 9, True, bytes(plain)))
        self.assertEqual((page.count, {row.key for row in page.rows}), (4, {b"b", b"d"}))

    def test_notes(self) -> None:
        """Keys that others lack: noted once, counted, dropped."""
        records = self.make()
        self.result(records.note("n2", [b"a", b"b"]))
        self.result(records.note("n2", [b"b"]))
        self.assertEqual(dict(records.noted()), {"n2": 2})
        self.assertEqual(sorted(self.result(records.notes("n2", 10))), [b"a", b"b"])
        self.result(records.forget("n2", [b"a", b"b", b"c"]))
        self.assertEqual((dict(records.noted()), self.result(records.notes("n2", 10))), ({}, []))

    def test_all_of_it_is_there_after_a_restart(self) -> None:
        """Records, leaves, notes and the store's id outlive the process; uploads do not."""
        records = self.make()
        version = self._put(records, b"k", 5, b"x")
        self.result(records.note("n2", [b"k"]))
        self.result(records.stage("u", 0, b"y" * PIECE))
        store, leaves = records.store_id, records.leaves
        again = self.reopen(records)
        self.assertEqual(self.result(again.read(b"k", True)), Found(version, b"x"))
        self.assertEqual((again.store_id, dict(again.noted())), (store, {"n2": 1}))
        self.assertEqual((again.leaves.sums, again.leaves.counts), (leaves.sums, leaves.counts))
        self.assertRaises(Gone, self.result, again.stage("u", 1, b"z"))
        self._stage(again, "w", LARGE)
        self.assertEqual(self.result(again.write(Write(b"l", version_of(6, LARGE), None, "w"))), version_of(6, LARGE))

    def test_many_at_a_time(self) -> None:
        """Writes that are under way together are each answered with what became of them."""
        records = self.make()
        asked: list[Deferred[Version]] = [
            records.write(Write(b"k", version_of(stamp, b"%d" % stamp), b"%d" % stamp)) for stamp in (3, 1, 9, 2, 9)
        ]
        stamps = [self.result(each).stamp for each in asked]
        self.assertEqual(stamps, [3, 3, 9, 9, 9])
        self._leaves_are_right(records)
