"""Values that are shown until a time that comes with them: what ExpiryGauge and Buffer have in common.

Such a value travels as a raw event with the payload [VALUE, EXPIRY], EXPIRY a number of seconds since 1970. Here
payloads are taken apart and written again, and entries of States encoded. A value stays the very JSON text that came.
Pure.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from attrs import frozen

from taba import native
from taba.errors import CorruptBlob
from taba.handlers.encoding import Reader, encode_f64, encode_string, encode_uvarint


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is beyond the largest double")
    return number


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@frozen
class Entry:
    """One value as a State holds it."""

    value: bytes
    """JSON, UTF-8."""
    expiry: float
    """Seconds since 1970; it is shown at times before."""
    time: float
    """Of its event."""
    stamp: int
    """The agent's arrival stamp, in microseconds."""

    def encode(self) -> bytes:
        """`string value, f64 expiry, f64 time, uvarint stamp`."""
        numbers = encode_f64(self.expiry) + encode_f64(self.time) + encode_uvarint(self.stamp)
        return encode_string(self.value) + numbers


def read_entry(reader: Reader) -> Entry:
    """The next entry; CorruptBlob when there is none. The value is not looked into."""
    return Entry(reader.string(), reader.f64(), reader.f64(), reader.uvarint())


def read_entries(reader: Reader) -> list[Entry]:
    """`uvarint n`, then n entries."""
    return [read_entry(reader) for _ in range(reader.uvarint())]


def arrived(partial: bytes, lifetime: float | None) -> Iterator[Entry]:
    """The events of a raw Partial as entries, in their order.

    With `lifetime`, in seconds, a payload of another shape than [VALUE, EXPIRY] is a bare value, which expires that
    long after its time; with None it is passed over. CodecError for what is no raw Partial, or a payload that is not
    JSON.
    """
    for event in native.raw_events(partial):
        value, expiry = _taken_apart(event.value)
        if expiry is None:
            if lifetime is None:
                continue
            expiry = event.time + lifetime
        yield Entry(value, expiry + 0.0, event.time, event.stamp)  # + 0.0: never a negative zero


def _taken_apart(payload: bytes) -> tuple[bytes, float | None]:
    """The value's text and its expiry; the whole payload and None when its shape is another."""
    decoded = decode_json(payload)
    if not (isinstance(decoded, list) and len(decoded) == 2 and _is_number(decoded[1])):
        return payload, None
    text = payload.decode()
    start = _behind_blanks(text, text.index("[") + 1)
    _, end = _DECODER.raw_decode(text, start)
    try:
        return text[start:end].encode(), float(decoded[1])
    except OverflowError:
        raise CorruptBlob("a number beyond the largest double") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _behind_blanks(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    return found.end() if found else place


def decode_json(text: bytes) -> Any:
    """The value of a JSON text; CorruptBlob for what is none."""
    try:
        return _DECODER.decode(text.decode())
    except (ValueError, RecursionError) as problem:
        raise CorruptBlob(f"a payload that is not JSON: {problem}") from None


def written(text: str) -> str:
    """A text that UTF-8 can carry: a half of a surrogate pair, which JSON's escapes can name, becomes U+FFFD."""
    return _LONE_SURROGATE.sub("\ufffd", text)
