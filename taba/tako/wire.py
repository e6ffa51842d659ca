"""The messages of the internal protocol, and the stream they come in. Sans-IO.

A message is a frame (see `taba.wire.frame`) whose header has, beside its own members, `blobs`: the lengths of the byte
strings that make up the payload. The members of each message are in docs/tako/reference.md.

Whatever bytes arrive, `Messages.receive` gives messages or raises BadMessage; nothing is kept for a length before the
length is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any

from attrs import define, field, frozen

from taba.errors import FrameError
from taba.tako.errors import BadMessage
from taba.wire.frame import array, decode_object, encode_frame, obj

PROTOCOL = 1
MAX_HEADER = 4 * 1024 * 1024  # bytes
MAX_PAYLOAD = 16 * 1024 * 1024  # bytes
MAX_DEPTH = 10
_LENGTH = Struct("<I")


@frozen
class Message:
    """One message."""

    header: dict[str, Any]
    blobs: tuple[bytes, ...] = ()


def encode_message(header: dict[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """The bytes of a message. The header must not have a member `blobs`."""
    if not blobs:
        return encode_frame(header)
    return encode_frame({**header, "blobs": [len(blob) for blob in blobs]}, blobs)


@define(eq=False)
class Messages:
    """Takes a stream of bytes, however it is cut, and gives messages."""

    _buffer: bytearray = field(factory=bytearray, init=False)
    _header: dict[str, Any] | None = field(default=None, init=False)
    _lengths: list[int] = field(factory=list, init=False)
    _needed: int = field(default=_LENGTH.size, init=False)
    """Bytes without which nothing more can be read."""
    _head: int = field(default=-1, init=False)
    """The length of the header, when it is known."""

    def receive(self, chunk: bytes) -> list[Message]:
        """The messages that are whole now. Raises BadMessage; the stream cannot be used after that."""
        self._buffer += chunk
        messages: list[Message] = []
        start = 0
        while len(self._buffer) - start >= self._needed:
            piece = bytes(self._buffer[start : start + self._needed])
            start += self._needed
            message = self._take(piece)
            if message is not None:
                messages.append(message)
        del self._buffer[:start]
        return messages

    def _take(self, piece: bytes) -> Message | None:
        if self._head < 0:
            (self._head,) = _LENGTH.unpack(piece)
            if self._head > MAX_HEADER:
                raise BadMessage(f"a header of {self._head} bytes is over the limit of {MAX_HEADER}")
            self._needed = self._head
            return None
        if self._header is None:
            self._header, self._lengths = _read_header(piece)
            self._needed = sum(self._lengths)
            if self._needed:
                return None
            piece = b""
        return self._whole(piece)

    def _whole(self, payload: bytes) -> Message:
        assert self._header is not None
        blobs, start = [], 0
        for length in self._lengths:
            blobs.append(payload[start : start + length])
            start += length
        message = Message(self._header, tuple(blobs))
        self._header, self._lengths, self._head, self._needed = None, [], -1, _LENGTH.size
        return message


def _read_header(text: bytes) -> tuple[dict[str, Any], list[int]]:
    try:
        header = decode_object(text, MAX_HEADER, MAX_DEPTH)
        lengths = array(header.pop("blobs", []), "blobs")
    except FrameError as problem:
        raise BadMessage(str(problem))
    if not all(type(length) is int and 0 <= length <= MAX_PAYLOAD for length in lengths) or (
        sum(lengths) > MAX_PAYLOAD
    ):
        raise BadMessage(f"blobs: not lengths of together at most {MAX_PAYLOAD} bytes")
    return header, lengths


# ------------------------------------------------------------------------------------------------- members of messages


def key_text(key: bytes) -> str:
    """A key as it stands in a header: each byte one character."""
    return key.decode("latin-1")


def key_bytes(value: Any) -> bytes:
    """The key that stands in a header; BadMessage when it is none."""
    if type(value) is not str:
        raise BadMessage("a key is not a string")
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        raise BadMessage("a key has a character above 255")


def whole(value: Any, what: str, low: int = 0, high: int = 2**53 - 1) -> int:
    """A whole number of a header; BadMessage when it is none in range."""
    if type(value) is not int or not low <= value <= high:
        raise BadMessage(f"{what}: not a whole number from {low} to {high}")
    return value


def string(value: Any, what: str, longest: int = 1_000) -> str:
    """A text of a header; BadMessage when it is none."""
    if type(value) is not str or len(value) > longest:
        raise BadMessage(f"{what}: not a text of at most {longest} characters")
    return value


def row(value: Any, what: str, size: int) -> list[Any]:
    """An array of a fixed length; BadMessage when it is none."""
    if type(value) is not list or len(value) != size:
        raise BadMessage(f"{what}: not an array of {size}")
    return value


def rows(value: Any, what: str) -> list[Any]:
    """An array; BadMessage when it is none."""
    if type(value) is not list:
        raise BadMessage(f"{what}: not an array")
    return value


def members(value: Any, what: str) -> dict[str, Any]:
    """An object; BadMessage when it is none."""
    try:
        return obj(value, what)
    except FrameError as problem:
        raise BadMessage(str(problem))
