"""SCAN, HSCAN, SSCAN and KEYS: glob patterns, and cursors over what may change between two calls.

A cursor here is the number of the element that comes next in the sorted order of the CRC-32 of names, plus one, so that
elements which are there from the first call to the last come exactly once: Redis promises at least once.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable

from taba.testing.redis.command import SYNTAX, Options, integer
from taba.testing.redis.resp import ReplyError


def glob(pattern: bytes) -> Callable[[bytes], bool]:
    """Whether a name matches a pattern of `*`, `?`, `[a-z]`, `[^a]` and `\\` as Redis reads them."""
    expression, place = [], 0
    while place < len(pattern):
        char = pattern[place : place + 1]
        place += 1
        if char == b"*":
            expression.append(b".*")
        elif char == b"?":
            expression.append(b".")
        elif char == b"[":
            piece, place = _class(pattern, place)
            expression.append(piece)
        else:
            if char == b"\\" and place < len(pattern):
                char = pattern[place : place + 1]
                place += 1
            expression.append(re.escape(char))
    compiled = re.compile(b"".join(expression), re.DOTALL)
    return lambda name: compiled.fullmatch(name) is not None


def _class(pattern: bytes, place: int) -> tuple[bytes, int]:
    """The expression for a class that begins behind `[`, and the place behind its end."""
    negated = pattern[place : place + 1] == b"^"
    place += negated
    ranges: list[tuple[int, int]] = []
    while place < len(pattern) and pattern[place : place + 1] != b"]":
        if pattern[place : place + 1] == b"\\" and place + 1 < len(pattern):
            place += 1
        low = high = pattern[place]
        if pattern[place + 1 : place + 2] == b"-" and place + 2 < len(pattern):
            low, high = sorted((low, pattern[place + 2]))
            place += 2
        ranges.append((low, high))
        place += 1
    inside = b"".join(re.escape(bytes([low])) + b"-" + re.escape(bytes([high])) for low, high in ranges)
    if not inside:
        return (b"." if negated else b"(?!)"), place + 1
    return b"[" + (b"^" if negated else b"") + inside + b"]", place + 1


def read_cursor(text: bytes) -> int:
    """The cursor that a client sent; raises ReplyError."""
    if not text.isdigit() or int(text) >= 2**64:
        raise ReplyError("ERR invalid cursor")
    return int(text)


def read_options(options: Options, with_type: bool) -> tuple[Callable[[bytes], bool] | None, int, bytes | None]:
    """MATCH, COUNT and (of SCAN) TYPE: a test of names, how many, and the type."""
    matches, count, kind = None, 10, None
    while options:
        word = options.word()
        if word == b"COUNT":
            count = integer(options.value())
            if count < 1:
                raise ReplyError(SYNTAX)
        elif word == b"MATCH":
            matches = glob(options.value())
        elif word == b"TYPE" and with_type:
            kind = options.value()
        else:
            raise ReplyError(SYNTAX)
    return matches, count, kind


def page(names: Iterable[bytes], cursor: int, count: int) -> tuple[int, list[bytes]]:
    """About `count` names from a cursor on, and the cursor of the next page: 0 when there is none.

    Names of the same checksum stay on one page, so that no name is passed over.
    """
    ordered = sorted((zlib.crc32(name) + 1, name) for name in names)
    rest = [pair for pair in ordered if pair[0] >= cursor]
    end = min(count, len(rest))
    while 0 < end < len(rest) and rest[end][0] == rest[end - 1][0]:
        end += 1
    return (rest[end][0] if end < len(rest) else 0), [name for _place, name in rest[:end]]
