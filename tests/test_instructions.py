"""What the regression guard reads from callgrind's dumps, and what it makes of the counts."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.benchmarks.instructions import RECORD, ROOT, compare, counts_of

DUMP = "# callgrind format\nversion: 1\n\ndesc: Trigger: {trigger}\n\nevents: Ir\nsummary: 0\n0 7\n\ntotals: {total}\n"


class CountTests(SynchronousTestCase):
    """Dumps of callgrind."""

    def test_dumps(self) -> None:
        """Each dump that a kernel asked for is its count, in the order in which they ran; the last dump is nobody's."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for number, (trigger, total) in enumerate(
            [("Client Request: b", 20), ("Client Request: a c, 10 x 3", 1806771), ("Program termination", 5)], 9
        ):
            (folder / f"out.{number}").write_text(DUMP.format(trigger=trigger, total=total))
        (folder / "out").write_text("")
        self.assertEqual(list(counts_of(folder).items()), [("b", 20), ("a c, 10 x 3", 1806771)])


class CompareTests(SynchronousTestCase):
    """Counts beside those of the record."""

    def test_within(self) -> None:
        """Up to 3 % more, and any less, is sound; much less is told."""
        lines, sound = compare({"a": 1030, "b": 1000, "c": 960}, {"a": 1000, "b": 1000, "c": 1000})
        self.assertTrue(sound)
        self.assertEqual(["record" in line for line in lines], [False, False, True])

    def test_slower(self) -> None:
        """More than 3 % more fails, and the line says so."""
        lines, sound = compare({"a": 1031, "b": 1}, {"a": 1000, "b": 1})
        self.assertFalse(sound)
        self.assertEqual(["SLOWER" in line for line in lines], [True, False])

    def test_new_and_gone(self) -> None:
        """Kernels that the record lacks, and those that are there no more, are told and are no failure."""
        lines, sound = compare({"a": 5}, {"b": 5})
        self.assertTrue(sound)
        self.assertEqual(["record it" in line for line in lines], [True, True])

    def test_record(self) -> None:
        """The record says under which conditions it was made, and has a count for each kernel of the program."""
        record = json.loads(RECORD.read_text(encoding="utf-8"))
        self.assertEqual(set(record), {"compiler", "flags", "library", "processor", "instructions"})
        program = (ROOT / "native" / "bench" / "kernels.c").read_text(encoding="utf-8")
        self.assertEqual([name for name in record["instructions"] if f'{{"{name}", ' not in program], [])
