"""The golden files, read by the twin."""

from __future__ import annotations

import json
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from tests.twin import golden, kernel
from tests.twin.laws import GoldenLaws


class TwinGoldenTests(GoldenLaws, SynchronousTestCase):
    """What every kernel reads from the golden files, for the twin."""

    kernel: ModuleType = kernel


class GoldenFileTests(SynchronousTestCase):
    """The files themselves."""

    def test_files_are_what_the_twin_writes(self) -> None:
        """Today's twin makes the very bytes of the files of version 1."""
        for name, made in golden.goldens().items():
            self.assertEqual((name, (golden.FOLDER / f"{name}.bin").read_bytes()), (name, made.blob))

    def test_every_file_is_explained(self) -> None:
        """Each has its description, and none stands alone."""
        names = {path.stem for path in golden.FOLDER.glob("*.bin")}
        self.assertEqual(names, {path.stem for path in golden.FOLDER.glob("*.json")})
        self.assertTrue(set(golden.goldens()) <= names)
        for name in names:
            told = json.loads((golden.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
            self.assertEqual(sorted(told), ["contains", "encoding", "version", "what"])
