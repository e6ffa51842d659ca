"""What is left of a file after crashes and failed syncs."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.testing.filebody import SECTOR, FileBody
from tests.strategies import law

_contents = st.binary(max_size=3 * SECTOR)
_seeds = st.integers(0, 2**32)


def written(synced: bytes, unsynced: bytes) -> FileBody:
    """A file with bytes that were synced and bytes that were not."""
    body = FileBody()
    body.append(synced)
    body.sync()
    body.append(unsynced)
    return body


class CrashTests(SynchronousTestCase):
    """A machine stops while a file is written."""

    @law(_contents, _contents, _seeds, st.booleans())
    def test_synced_bytes_stay(self, synced: bytes, unsynced: bytes, seed: int, torn: bool) -> None:
        """Whatever is lost, the synced bytes are there, and nothing is longer than what was written."""
        body = written(synced, unsynced)
        body.crash(Random(seed), torn)
        self.assertEqual(body.content[: len(synced)], synced)
        self.assertLessEqual(len(body.content), len(synced + unsynced))
        self.assertEqual((body.content, body.dirty), (body.durable, []))

    @law(_contents, _contents, _seeds)
    def test_untorn_crash_leaves_a_prefix(self, synced: bytes, unsynced: bytes, seed: int) -> None:
        """Without tearing, a prefix of what was written is left."""
        body = written(synced, unsynced)
        body.crash(Random(seed), torn=False)
        self.assertEqual(body.content, (synced + unsynced)[: len(body.content)])

    @law(_contents, _contents, _seeds)
    def test_torn_crash_leaves_whole_sectors_or_zeros(self, synced: bytes, unsynced: bytes, seed: int) -> None:
        """Torn, what was unsynced in each sector is left whole, or as zeros, or is beyond the end."""
        body = written(synced, unsynced)
        body.crash(Random(seed), torn=True)
        whole = synced + unsynced
        for start in range(0, len(body.content), SECTOR):
            end = min(start + SECTOR, len(whole))
            kept = whole[start:end]
            lost = kept[: max(0, len(synced) - start)].ljust(len(kept), b"\0")
            found = bytes(body.content[start:end])
            self.assertIn(found, (kept, lost[: len(found)]))

    def test_every_outcome_is_met(self) -> None:
        """Over many seeds all of it is kept, none of it, some of it, and holes with something behind them."""
        outcomes = set()
        for seed in range(300):
            body = written(b"", b"x" * (4 * SECTOR))
            body.crash(Random(seed), torn=seed % 2 == 0)
            content = bytes(body.content)
            outcomes.add(
                "none"
                if not content
                else "all"
                if content == b"x" * (4 * SECTOR)
                else "hole"
                if b"\0x" in content
                else "zeros"
                if content.endswith(b"\0")
                else "some"
            )
        self.assertEqual(outcomes, {"none", "all", "some", "hole", "zeros"})

    def test_second_crash_changes_nothing(self) -> None:
        """What has survived one crash survives the next."""
        body = written(b"a" * 100, b"b" * 2000)
        body.crash(Random(1), torn=False)
        once = bytes(body.content)
        body.crash(Random(2), torn=True)
        self.assertEqual(bytes(body.content), once)


class FailedSyncTests(SynchronousTestCase):
    """A disk reports an error when a file is synced."""

    def test_dirty_pages_are_kept_or_given_up(self) -> None:
        """After a failed sync a second one makes the bytes durable, or succeeds although they are gone: both happen."""
        survived = set()
        for seed in range(100):
            random = Random(seed)
            body = written(b"a" * SECTOR, b"b" * SECTOR)
            body.fail_sync(random)
            body.sync()
            body.crash(random, torn=False)
            self.assertEqual(body.content[:SECTOR], b"a" * SECTOR)
            survived.add(bytes(body.content[SECTOR:]) == b"b" * SECTOR)
        self.assertEqual(survived, {True, False})

    def test_given_up_bytes_may_still_be_read(self) -> None:
        """What was given up reads as written, or as zeros; the length stays either way."""
        readings = set()
        for seed in range(100):
            body = written(b"", b"b" * 2 * SECTOR)
            body.fail_sync(Random(seed))
            self.assertEqual(len(body.content), 2 * SECTOR)
            readings.add((bool(body.dirty), bytes(body.content) == b"b" * 2 * SECTOR))
        self.assertEqual(readings, {(True, True), (False, True), (False, False)})

    def test_later_bytes_leave_a_hole(self) -> None:
        """Bytes written and synced after a failed sync are durable, with zeros where the others were given up."""
        contents = set()
        for seed in range(100):
            random = Random(seed)
            body = written(b"", b"b" * SECTOR)
            body.fail_sync(random)
            body.append(b"c" * SECTOR)
            body.sync()
            body.crash(random, torn=False)
            contents.add(bytes(body.content))
        tail = b"c" * SECTOR
        self.assertEqual(contents, {b"b" * SECTOR + tail, bytes(SECTOR) + tail})
