"""Reads the pages of docs/: the examples in them, and how each is to be run. Pure.

An example is a fenced block. What is done with it follows from its language, and from a comment in the line before it:

    python      a program of its own, which has to end with status 0
    console     commands after `$ `, and what they print; `...` stands for anything, as in doctest
    json, toml  has to be valid

    <!-- example: continues -->      the page's programs before this one come first
    <!-- example: commands -->       the lines of a `sh` block are run, and have to succeed; without it they are not
    <!-- example: not run, REASON --> for people only
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

_FENCE = re.compile(r"^```(\S*)\s*$")
_COMMENT = re.compile(r"^<!-- example: (.*?) -->$")


@frozen
class Example:
    """A fenced block of a page."""

    line: int
    language: str
    text: str
    told: str
    """What the comment before it says; "" without one."""

    @property
    def runs(self) -> bool:
        """Whether it is to be run."""
        if self.told.startswith("not run"):
            return False
        return self.language in ("python", "console") or (self.language == "sh" and self.told == "commands")


def examples(page: str) -> Iterator[Example]:
    """The blocks of a page, in order. ValueError for a comment that means nothing, and a block without an end."""
    lines = page.splitlines()
    told, at = "", 0
    while at < len(lines):
        comment, fence = _COMMENT.match(lines[at]), _FENCE.match(lines[at])
        if comment:
            told = comment[1]
            if told not in ("continues", "commands") and not re.fullmatch(r"not run, .+", told):
                raise ValueError(f"line {at + 1}: {told!r} is nothing that an example can be told")
        elif fence:
            begin = at + 1
            while at + 1 < len(lines) and not lines[at + 1].startswith("```"):
                at += 1
            at += 1
            if at >= len(lines):
                raise ValueError(f"line {begin}: the block has no end")
            yield Example(begin, fence[1], "\n".join(lines[begin:at]) + "\n", told)
            told = ""
        elif lines[at].strip():
            told = ""
        at += 1


def commands(transcript: str) -> Iterator[tuple[str, str]]:
    """The commands of a `console` block, each with what it prints. A command goes on in lines that begin with `> `."""
    command: list[str] | None = None
    printed: list[str] = []
    for line in transcript.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield "\n".join(command), "\n".join(printed)
            command, printed = [line[2:]], []
        elif line.startswith("> ") and command is not None and not printed:
            command.append(line[2:])
        else:
            printed.append(line)
    if command is not None:
        yield "\n".join(command), "\n".join(printed)


def prints(expected: str, printed: str) -> bool:
    """Whether something was printed as expected; white space counts as one blank, `...` as anything."""
    parts = (re.escape(" ".join(part.split())) for part in expected.split("..."))
    return re.fullmatch(r"\s*" + r".*".join(parts) + r"\s*", " ".join(printed.split()), re.DOTALL) is not None


def links(page: str) -> Iterator[tuple[int, str]]:
    """(line, target) of the links of a page to other pages and files."""
    inside = False
    for number, line in enumerate(page.splitlines(), 1):
        inside ^= line.startswith("```")
        if not inside:
            for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
                if not re.match(r"[a-z]+:", target):
                    yield number, target
