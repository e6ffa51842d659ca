"""The golden files of States, read by the Handlers of today."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba.handlers.registry import builtin
from taba.interfaces import Style
from tests.handlers import golden


def files() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """(name, State, description) of each."""
    for path in sorted(golden.FOLDER.glob("*.bin")):
        yield path.stem, path.read_bytes(), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


class GoldenStateTests(SynchronousTestCase):
    """What every build makes of the files."""

    def test_files_show_what_they_showed(self) -> None:
        """Each State is shown as its description tells, in every style."""
        handlers = builtin().handlers
        for name, state, told in files():
            handler = handlers[told["type"]]
            for style in Style:
                shown = [[time, handler.render(handler.upgrade(state), time, style)] for time, _ in told["contains"]]
                self.assertEqual((name, shown), (name, told["contains"]))

    def test_files_are_written_again(self) -> None:
        """States of this version, decoded and encoded, are the bytes of the files."""
        handlers = builtin().handlers
        for name, state, told in files():
            handler = handlers[told["type"]]
            if told["version"] == handler.version:
                self.assertEqual((name, handler.reduce([state])), (name, state))

    def test_every_file_is_explained(self) -> None:
        """Each has its description, and none stands alone; all that are to be there are, byte by byte."""
        described = {path.stem for path in golden.FOLDER.glob("*.json")}
        self.assertEqual({name for name, _, _ in files()}, described)
        for name, state, told in files():
            self.assertEqual(sorted(told), ["contains", "type", "version", "what"])
            self.assertEqual((name, golden.goldens()[name].state), (name, state))
        self.assertEqual(set(golden.goldens()), described)
