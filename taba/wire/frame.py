"""The frame of protocol 2, and the checks that every header goes through. Pure functions.

    frame = u32 little-endian length of header | header: one JSON object, UTF-8 | payload

Invariants: whatever the bytes are, a decoder returns or raises `FrameError`, never another exception; its text says
where in the header something is wrong, and what. Nothing is allocated by a length before the length is compared with
what is there. The work is linear in the size of the input, so that a hostile header costs no more than an honest one
of its size.

A row (a JSON array of fixed length) or a member is described by `Field`s, which name it, say in words what is allowed,
and test it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from struct import Struct
from typing import Any, NoReturn

from attrs import frozen

from taba.errors import FrameError

MAX_HEADER = 16 * 1024 * 1024  # bytes
MAX_DEPTH = 16  # arrays and objects within each other; our headers need 5
MAX_WHOLE = 2**53 - 1  # the largest whole number that every JSON reader takes exactly
MAX_TIME = 253402300800.0  # seconds since 1970: the year 10000

_LENGTH = Struct("<I")
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def encode_frame(header: Mapping[str, Any], blobs: Iterable[bytes] = ()) -> bytes:
    """A frame whose payload is `blobs`, one after another. The header has to say how long each is."""
    head = encode_object(header)
    return b"".join((_LENGTH.pack(len(head)), head, *blobs))


def decode_frame(
    frame: bytes, max_header: int = MAX_HEADER, max_depth: int = MAX_DEPTH
) -> tuple[dict[str, Any], memoryview]:
    """The header and the payload, which is a view of `frame`.

    `max_header` is in bytes. Raises FrameError for every input that is not a frame.
    """
    if len(frame) < _LENGTH.size:
        raise FrameError(f"frame: {len(frame)} bytes are too few for the length of a header")
    (length,) = _LENGTH.unpack_from(frame)
    if length > max_header:
        raise FrameError(f"frame: a header of {length} bytes is over the limit of {max_header}")
    end = _LENGTH.size + length
    if end > len(frame):
        raise FrameError(f"frame: {len(frame) - _LENGTH.size} bytes are too few for a header of {length}")
    view = memoryview(frame)
    return decode_object(bytes(view[_LENGTH.size : end]), max_header, max_depth), view[end:]


def encode_object(members: Mapping[str, Any]) -> bytes:
    """A JSON object in its shortest form, ASCII only."""
    return json.dumps(members, separators=(",", ":"), allow_nan=False).encode("ascii")


def decode_object(text: bytes, max_bytes: int = MAX_HEADER, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """A JSON object (RFC 8259, UTF-8) of at most `max_bytes`, nested at most `max_depth` deep, without a member twice.

    NaN and Infinity are refused. Raises FrameError for all else.
    """
    if len(text) > max_bytes:
        raise FrameError(f"header: {len(text)} bytes are over the limit of {max_bytes}")
    if _is_deeper(text, max_depth):
        raise FrameError(f"header: nested more than {max_depth} deep, or brackets do not match")
    try:
        value = _DECODER.decode(text.decode("utf-8"))
    except (ValueError, RecursionError) as problem:
        # ValueError is also what bad UTF-8 and numbers of thousands of digits raise.
        raise FrameError(f"header: not JSON: {problem}")
    if type(value) is not dict:
        raise FrameError("header: not a JSON object")
    return value


def _is_deeper(text: bytes, max_depth: int) -> bool:
    """Whether JSON of more than `max_depth` levels, or unbalanced, stands in `text`. Linear; parses nothing."""
    # Without escapes a quote begins or ends a string, so every second piece is outside of strings.
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(plain.split(b'"')[::2]).translate(_BRACKETS, _NOT_BRACKETS)
    for _ in range(max_depth):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")  # the innermost level goes
    return bool(brackets)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of `pairs`; a name that stands twice would mean different things to different readers."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has a member twice")
    return members


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_not_finite)  # keeps nothing between calls


# ---------------------------------------------------------------------------------------------------------- checks


@frozen
class Field:
    """One value of a row or one member of an object."""

    name: str
    expects: str
    """What is allowed, in words that complete "... is not"."""
    allows: Callable[[Any], bool]


def whole(name: str, low: int, high: int) -> Field:
    """A whole number from `low` to `high`, written without a point; true and false are none."""
    return Field(
        name,
        f"a whole number from {low} to {high}",
        lambda value: type(value) is int and low <= value <= high,
    )


def number(name: str, low: float, high: float) -> Field:
    """A finite number from `low` to `high`."""
    return Field(
        name,
        f"a number from {low:.0f} to {high:.0f}",
        lambda value: (type(value) is float or type(value) is int) and low <= value <= high,
    )


def hexadecimal(name: str, shortest: int, longest: int) -> Field:
    """A string of `shortest` to `longest` hexadecimal digits, in lower case."""
    matches = re.compile(f"[0-9a-f]{{{shortest},{longest}}}").fullmatch
    size = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
    return Field(
        name,
        f"a string of {size} hexadecimal digits in lower case",
        lambda value: type(value) is str and matches(value) is not None,
    )


def one_of(name: str, words: Collection[str]) -> Field:
    """One of `words`."""
    known = frozenset(words)
    return Field(name, f"one of {', '.join(sorted(known))}", lambda value: type(value) is str and value in known)


def text(name: str, longest: int) -> Field:
    """A string of at most `longest` characters, all of which can be written as UTF-8."""
    return Field(
        name,
        f"a string of at most {longest} characters",
        lambda value: type(value) is str and len(value) <= longest and not _has_surrogate(value),
    )


def nullable(field: Field) -> Field:
    """What `field` allows, or null."""
    return Field(field.name, f"{field.expects}, or null", lambda value: value is None or field.allows(value))


def _has_surrogate(value: str) -> bool:
    """Whether half of a UTF-16 pair stands alone in `value`: JSON can write it, UTF-8 cannot."""
    return not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value)


def check(value: Any, field: Field, where: str) -> Any:
    """`value`, if `field` allows it, else FrameError."""
    if not field.allows(value):
        raise _refusal(value, field, where)
    return value


def _refusal(value: Any, field: Field, where: str) -> FrameError:
    """The error about a value that a field does not allow."""
    return FrameError(f"{where}: {_shown(value)} is not {field.expects}")


def member(members: Mapping[str, Any], field: Field) -> Any:
    """The member of that name at the top of a header."""
    if field.name not in members:
        raise FrameError(f"{field.name}: missing")
    return check(members[field.name], field, field.name)


def array(value: Any, where: str) -> list[Any]:
    """`value`, if it is an array."""
    if type(value) is not list:
        raise FrameError(f"{where}: {_shown(value)} is not an array")
    return value


def obj(value: Any, where: str) -> dict[str, Any]:
    """`value`, if it is an object."""
    if type(value) is not dict:
        raise FrameError(f"{where}: {_shown(value)} is not an object")
    return value


class Row:
    """An array with exactly these fields."""

    def __init__(self, *fields: Field) -> None:
        self.fields = fields
        self._size = len(fields)
        self._tests = tuple((field.allows, field) for field in fields)

    def check(self, value: Any, where: str, index: int) -> list[Any]:
        """`value`, the element `index` of the array at `where`, if it is such a row."""
        if type(value) is not list or len(value) != self._size:
            names = ", ".join(field.name for field in self.fields)
            raise FrameError(f"{where}[{index}]: {_shown(value)} is not an array of {self._size} ({names})")
        for each, (allows, field) in zip(value, self._tests):  # noqa: B905  (compared above, and this is the hot loop)
            if not allows(each):
                raise _refusal(each, field, f"{where}[{index}].{field.name}")
        return value


def _shown(value: Any) -> str:
    """A value as it may stand in an error's text: short, on one line, ASCII."""
    if type(value) is list:
        return f"an array of {len(value)}"
    if type(value) is dict:
        return f"an object of {len(value)}"
    if type(value) is int and not -MAX_WHOLE <= value <= MAX_WHOLE:
        return "a number too large"  # its digits may be too many to be written at all
    written = ascii(value if type(value) is not str else value[:60])
    return written if len(written) <= 80 else written[:80] + "..."
