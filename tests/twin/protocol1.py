"""Protocol 1, read from a whole body: its lines first, then what each of them is.

The blank lines that may be missing at the end are those that end a block or a client; the one behind the version and
the one behind a client's id may not. `parse` answers what a scratch holds after the same body: the valid events in
their order, and the line and reason of each that was refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from attrs import Factory, define, frozen

from tests.twin import json_text
from tests.twin.blobs import COUNTER_GROUP, PERCENTILE_GROUP, UNIQUE_GROUP
from tests.twin.errors import BodySyntaxError
from tests.twin.hll import unique_hash

YEAR_10000 = 253402300800.0  # seconds
SAMPLES = 10
LONGEST_ESCAPE = 6  # bytes of "\u0041": what a character of a payload may take in its line at most
ROOM = 4096  # bytes of a line for all that is not payload
RAW_NUMBER, RAW_EXPIRING = 0x100, 0x200  # kinds of raw Types whose payloads must have a shape
NUMERIC = (COUNTER_GROUP, PERCENTILE_GROUP)
NAME = re.compile(r"[A-Za-z0-9._~:/?@!$()*+;=-]+")


@frozen
class Limits:
    """As `taba.native.Limits`; the twin has no bound of memory."""

    max_name: int = 512
    max_payload: int = 1 << 20
    max_depth: int = 64
    newest: float = YEAR_10000


@frozen
class Event:
    """One valid event. `value` is a number for counters and percentiles, the hash of a UniqueGroup's value, JSON in
    UTF-8 for all other Types.
    """

    client: str
    tab: str
    type_name: str
    kind: int
    time: float
    value: float | int | bytes


@define
class Parsed:
    """What a body comes to."""

    events: list[Event] = Factory(list)
    refused: Counter[str] = Factory(Counter)
    samples: list[tuple[int, str]] = Factory(list)
    lines: int = 0


class Refused(Exception):
    """An event that is refused alone, for `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse(body: bytes, limits: Limits, types: Mapping[str, int]) -> Parsed:
    """Read a whole body. BodySyntaxError when its structure is wrong."""
    try:
        text, encoding = body.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        text, encoding = body.decode("latin-1"), "latin-1"
    lines = text.split("\n")
    if not lines[-1]:
        del lines[-1]  # what stands behind the last LF is no line
    return _Reading(lines, encoding, limits, types).read()


class _Reading:
    """One pass over the lines. `_place` counts those that were taken, so it is the number of the one taken last."""

    def __init__(self, lines: list[str], encoding: str, limits: Limits, types: Mapping[str, int]) -> None:
        self._lines = lines
        self._encoding = encoding
        self._limits = limits
        self._types = types
        self._place = 0
        self._parsed = Parsed(lines=len(lines))

    def read(self) -> Parsed:
        if not self._lines or self._next() != "1":
            raise BodySyntaxError(1, "the version, 1, was expected")
        self._expect_blank()
        while self._more():
            if client := self._next():  # further blank lines are passed over
                self._expect_blank()
                self._read_client(client)
        return self._parsed

    def _more(self) -> bool:
        return self._place < len(self._lines)

    def _next(self) -> str:
        self._place += 1
        return self._lines[self._place - 1]

    def _next_unless_blank(self) -> str:
        """The next line; nothing when it is blank or the body is at its end."""
        return self._next() if self._more() else ""

    def _expect_blank(self) -> None:
        if not self._more():
            raise BodySyntaxError(self._place + 1, "a blank line was expected")
        if self._next():
            raise BodySyntaxError(self._place, "a blank line was expected")

    def _read_client(self, client: str) -> None:
        while tab := self._next_unless_blank():
            named = self._is_name(client) and self._is_name(tab)
            block_type: str | None = None
            while line := self._next_unless_blank():
                try:
                    if not named:
                        raise Refused("name")
                    event = self._event(client, tab, line, block_type)
                except Refused as refused:
                    self._refuse(refused.reason)
                else:
                    block_type = event.type_name
                    self._parsed.events.append(event)

    def _is_name(self, name: str) -> bool:
        return len(name) <= self._limits.max_name and NAME.fullmatch(name) is not None

    def _refuse(self, reason: str) -> None:
        self._parsed.refused[reason] += 1
        if len(self._parsed.samples) < SAMPLES:
            self._parsed.samples.append((self._place, reason))

    def _event(self, client: str, tab: str, line: str, block_type: str | None) -> Event:
        if len(line.encode(self._encoding)) > LONGEST_ESCAPE * self._limits.max_payload + ROOM:
            raise Refused("size")
        try:
            document = json_text.parse(line)
        except json_text.NotJson:
            raise Refused("json")
        match document.value:
            case [str() as type_name, float() as time, str() as payload]:
                pass
            case _:
                raise Refused("json")
        if type_name not in self._types:
            raise Refused("type")
        if block_type not in (None, type_name):
            raise Refused("mixed")
        seconds = self._time(time)
        kind = self._types[type_name]
        if self._size(document.tokens[-2].text[1:-1]) > self._limits.max_payload:
            raise Refused("size")
        return Event(client, tab, type_name, kind, seconds, self._value(kind, payload))

    def _time(self, time: float) -> float:
        if not 0.0 <= time < YEAR_10000:
            raise Refused("time")
        if time > self._limits.newest:
            raise Refused("future")
        return time

    def _value(self, kind: int, payload: str) -> float | int | bytes:
        try:
            document = json_text.parse(payload, self._limits.max_depth)
        except json_text.NotJson:
            raise Refused("value")
        except json_text.TooDeep:
            raise Refused("size")
        if not document.is_finite():
            raise Refused("value")
        if kind == UNIQUE_GROUP:
            return unique(document.value, payload)
        if kind == RAW_NUMBER:
            numeric(document.value)
        if kind == RAW_EXPIRING and not is_expiring(document.value):
            raise Refused("value")
        return numeric(document.value) if kind in NUMERIC else payload.strip(json_text.BLANKS).encode("utf-8")

    def _size(self, literal: str) -> int:
        """The bytes of a payload: escapes of the string around it as what they stand for in UTF-8, the rest as sent."""
        escaped = "".join(map(json_text.unescaped, json_text.ESCAPE.finditer(literal)))
        return len(escaped.encode("utf-8")) + len(json_text.ESCAPE.sub("", literal).encode(self._encoding))


def is_expiring(value: json_text.Json) -> bool:
    """Whether a payload is an array of exactly two elements, the second a number."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], float)


def unique(value: json_text.Json, text: str) -> int:
    """The hash of a UniqueGroup's value: of a string, or of the text of a number."""
    if isinstance(value, bool) or not isinstance(value, str | float):
        raise Refused("value")
    spelled = value if isinstance(value, str) else text.strip(json_text.BLANKS)
    return unique_hash(spelled.encode("utf-8", "replace"))


def numeric(value: json_text.Json) -> float:
    """The number that a counter takes from a payload: itself, true or false, or that of an array's first element."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, bool | float):
        raise Refused("value")
    return float(value)
