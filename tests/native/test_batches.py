"""Native batches are those of the twin: read, divided and refused alike."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.errors import CodecError
from tests import strategies
from tests.native.verdicts import plain, verdict
from tests.strategies import law
from tests.twin import batches, examples


def _extent(partial: bytes) -> tuple[int, int, float]:
    """First byte, events and newest time of a Partial; (-1, 0, 0.0) when they cannot be read."""
    try:
        return partial[0], *native.partial_extent(partial)
    except (CodecError, IndexError):
        return -1, 0, 0.0


class BatchTwinTests(SynchronousTestCase):
    """Native and twin side by side."""

    @law(examples.batches(), examples=60)
    def test_entries_are_read_alike(self, batch: bytes) -> None:
        """All sections' entries, with their names."""
        self.assertEqual(plain(native.batch_entries(batch)), plain(batches.batch_entries(batch)))

    @law(st.one_of(examples.batches(), strategies.damaged(examples.batches())), examples=60)
    def test_extents_are_those_of_the_partials(self, batch: bytes) -> None:
        """Read all at once, the Partials of a batch are what they are one by one."""
        problem, _ = verdict(native.batch_entries, batch)
        if problem:
            self.assertEqual(verdict(lambda given: list(native.batch_partials(given)), batch)[0], problem)
            return
        one_by_one = [
            (each.tab, each.client, each.type, each.events, each.partial, *_extent(each.partial))
            for each in native.batch_entries(batch)
        ]
        self.assertEqual(list(native.batch_partials(batch)), one_by_one)

    @law(examples.batches(), st.sampled_from([1, 2, 3, 16, 128]), examples=60)
    def test_batches_are_split_alike(self, batch: bytes, num_vbuckets: int) -> None:
        """One section per vbucket, ascending, with the same bytes."""
        twin = plain(batches.batch_split(batch, num_vbuckets))
        self.assertEqual(plain(native.batch_split(batch, num_vbuckets)), twin)

    def _same_verdict(self, batch: bytes) -> None:
        self.assertEqual(verdict(native.batch_entries, batch), verdict(batches.batch_entries, batch))
        self.assertEqual(verdict(native.batch_split, batch, 4), verdict(batches.batch_split, batch, 4))

    @law(strategies.damaged(examples.batches()), examples=100)
    def test_damaged_batches_are_refused_alike(self, batch: bytes) -> None:
        """Bytes changed, lost and added: both refuse, or both read the same."""
        self._same_verdict(batch)

    @law(st.binary(max_size=30), examples=60)
    def test_any_bytes_are_refused_alike(self, noise: bytes) -> None:
        """Noise, and noise behind a right version."""
        self._same_verdict(noise)
        self._same_verdict(b"\x01" + noise)

    @law(examples.batch_sections(), examples=20)
    def test_every_prefix_is_refused(self, section: bytes) -> None:
        """A section cut short anywhere is corrupt."""
        for length in range(0, len(section), max(1, len(section) // 60)):
            self.assertEqual(verdict(native.batch_entries, section[:length])[0], "CorruptBlob")
