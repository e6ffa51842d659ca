"""The reference has every command, every option and every exit code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
from twisted.trial.unittest import SynchronousTestCase

import taba
from taba.cli import main, session

PAGE = Path(taba.__file__).resolve().parent.parent / "docs" / "reference" / "cli.md"


def commands(group: click.Group, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands, with the words that they are called by."""
    for name, command in group.commands.items():
        yield (*names, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*names, name))


class ReferenceTests(SynchronousTestCase):
    if not PAGE.exists():
        skip = "docs/ is not beside the package"

    def setUp(self) -> None:
        self.text = PAGE.read_text(encoding="utf-8")

    def test_commands(self) -> None:
        """Each command has its line."""
        for words, command in commands(main):
            if not isinstance(command, click.Group):
                self.assertRegex(self.text, rf"(?m)^    taba-cli {' '.join(words)}( |$)")

    def test_options(self) -> None:
        """Each option is named, with its short form; each environment variable as well."""
        for words, command in [((), main), *commands(main)]:
            for parameter in command.params:
                for option in parameter.opts if isinstance(parameter, click.Option) else ():
                    self.assertRegex(self.text, rf"(?<![-\w]){re.escape(option)}(?![-\w])", f"{words} {option}")
                names = re.findall(r"env: (\w+)", getattr(parameter, "help", None) or "")
                self.assertTrue(all(name in self.text for name in names), names)

    def test_exit_codes(self) -> None:
        """Each exit code has its row."""
        codes = (session.NOTHING_FOUND, session.WRONG_USAGE, session.UNREACHABLE, session.ANSWERED_ERROR,
                 session.NOT_USABLE, session.INTERRUPTED, session.BROKEN_PIPE)  # fmt: skip
        for code in (0, *codes):
            self.assertIn(f"| {code} | ", self.text)

    def test_help(self) -> None:
        """The first line of every command's help is whole where commands are listed."""
        for words, command in commands(main):
            self.assertNotIn("...", command.get_short_help_str(65), words)
