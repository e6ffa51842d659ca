"""The twin's own errors, named as those of `taba.errors`, so that comparing the names compares the verdicts.

An argument that is NaN, infinite or out of its range is a ValueError, as it is from `taba.native`.
"""

from __future__ import annotations


class TwinError(Exception):
    """The root of what the twin raises about bytes it was given."""


class CorruptBlob(TwinError):
    """A blob breaks the rules of its encoding: cut short, too long, or not the one encoding of its value."""


class WrongType(TwinError):
    """A blob is of another Type, or a Partial where a State is due, or the reverse."""


class UnknownVersion(TwinError):
    """A blob is of a version other than 1."""


class LimitReached(TwinError):
    """A limit of size is reached."""


class ColumnsError(TwinError):
    """A frame of columns is malformed; `problem` says how."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class BodySyntaxError(TwinError):
    """The structure of a protocol 1 body is wrong at `line` (from 1); `problem` says what was expected there."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem
