"""Replies of Redis as Python values, and their bytes in RESP2.

Bytes are a bulk string, an int an integer, None the nil bulk, a list an array, `Status` a status line, `ReplyError` an
error line, `Mark.NIL_ARRAY` the nil array. `Mark.NO_REPLY` stands for a command that answers later, or never. Pure
functions; reading is left to `hiredis.Reader`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import TypeAlias, Union

from attrs import frozen


@frozen
class Status:
    """A status line, such as OK."""

    text: str


class ReplyError(Exception):
    """An error line: `text` begins with its code, such as ERR or WRONGTYPE."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReplyError) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


class Mark(Enum):
    """Replies that no Python value stands for."""

    NIL_ARRAY = "nil array"
    NO_REPLY = "no reply"


Reply: TypeAlias = Union[int, bytes, Status, ReplyError, Mark, "list[Reply]", None]
Argument: TypeAlias = bytes | str | int | float
"""What a command is made of; numbers and text are sent as Redis's own clients send them."""

OK = Status("OK")
QUEUED = Status("QUEUED")
NIL_ARRAY = Mark.NIL_ARRAY
NO_REPLY = Mark.NO_REPLY
_LINE_ENDS = str.maketrans("\r\n", "  ")


def encode(reply: Reply) -> bytes:
    """The bytes of a reply; of NO_REPLY none."""
    pieces: list[bytes] = []
    _encode(reply, pieces.append)
    return b"".join(pieces)


def _encode(reply: Reply, put: Callable[[bytes], None]) -> None:
    if isinstance(reply, bytes):
        put(b"$%d\r\n%b\r\n" % (len(reply), reply))
    elif isinstance(reply, int):
        put(b":%d\r\n" % reply)
    elif isinstance(reply, list):
        put(b"*%d\r\n" % len(reply))
        for each in reply:
            _encode(each, put)
    elif reply is None:
        put(b"$-1\r\n")
    elif isinstance(reply, Status):
        put(b"+%b\r\n" % reply.text.encode())
    elif isinstance(reply, ReplyError):
        put(b"-%b\r\n" % reply.text.translate(_LINE_ENDS).encode("utf-8", "surrogateescape"))
    elif reply is Mark.NIL_ARRAY:
        put(b"*-1\r\n")


def pack(argv: Sequence[bytes]) -> bytes:
    """The bytes of a command, as clients and masters send it."""
    return b"".join([b"*%d\r\n" % len(argv), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in argv)])


def words(arguments: Iterable[Argument]) -> list[bytes]:
    """The arguments of a command as the bytes that are sent."""
    return [_word(each) for each in arguments]


def _word(argument: Argument) -> bytes:
    if isinstance(argument, bytes):
        return argument
    if isinstance(argument, float):
        return repr(argument).encode() if argument != int(argument) else b"%d" % int(argument)
    return str(argument).encode("utf-8", "surrogateescape")


def shown(text: bytes) -> str:
    """Bytes of a client inside an error line: what is not UTF-8 comes out as it went in."""
    return text.decode("utf-8", "surrogateescape")
