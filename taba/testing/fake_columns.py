"""Frames of protocol 2, as an agent reads them: for `FakeAgent`. Standard library only.

docs/reference/protocol-2.md has the format. A frame that is wrong raises; an event that is wrong is refused alone, by
the first of the reasons that holds. Of payloads in the header the size is judged by the JSON as Python writes it.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any, NamedTuple

from taba.testing import fake_reading
from taba.testing.fake_reading import MAX_UNSENT, NUMERIC, EventRefused, Reading, RecordedEvent

MAX_HEADER = 16 << 20  # bytes
MAX_ROWS = 1 << 18  # of tabs
MAX_UNSENT_BYTES = 1 << 20
MAX_WHOLE = 2**53 - 1
_INSTANCE = re.compile(r"[0-9a-f]{32}")

REASONS = {
    **fake_reading.REASONS,
    "json": "not a JSON array of a time and a value",
    "type": "a Type that is not known here, or one that takes no columns of numbers (they belong into structured)",
}

Counts = dict[str, dict[str, int]]
"""Reason -> tab -> events."""


class FrameRefused(ValueError):
    """The frame, or its header, is none: nothing of it counts."""


class FrameTooLarge(FrameRefused):
    """The frame, or a part of it, is larger than agents take."""


class Frame(NamedTuple):
    """What a frame says."""

    batch: tuple[str | None, int] | None
    """Instance and number, (None, 0) for one that opens an instance, None without a number."""
    unsent: Counts
    reading: Reading


def read_frame(body: bytes, newest: float, more_types: tuple[str, ...] = ()) -> Frame:
    """A whole frame. `newest` is the latest time that an event may have; `more_types` take any JSON.

    Raises FrameRefused.
    """
    length = int.from_bytes(body[:4], "little")
    if length > MAX_HEADER:
        raise FrameTooLarge(f"a header of {length} bytes")
    if len(body) < 4 + length or len(body) < 4:
        raise FrameRefused("the body ends within the header")
    header = _object(body[4 : 4 + length])
    client = header.get("client")
    if not isinstance(client, str) or not client:
        raise FrameRefused("the header names no client")
    batch, unsent = _batch(header), _unsent(header.get("unsent", {}))
    check = _Checks(client, newest, more_types)
    columns, structured = Reading([], []), Reading([], [])
    at = 4 + length
    for tab, type, count in _rows(header.get("tabs", []), _is_count, "tabs"):
        if at + 16 * count > len(body):
            raise FrameRefused("the body ends within the payload that the header declares")
        times = struct.unpack_from(f"<{count}d", body, at)
        values = struct.unpack_from(f"<{count}d", body, at + 8 * count)
        _judge(columns, tab, [(type, *pair) for pair in zip(times, values, strict=True)], check.number)
        at += 16 * count
    if at < len(body):
        raise FrameRefused("bytes follow the payload that the header declares")
    for tab, type, rows in _rows(header.get("structured", []), _is_list, "structured"):
        _judge(structured, tab, [(type, event) for event in rows], check.structured)
    if batch == (None, 0) and (columns.refused or structured.refused or unsent):
        raise FrameRefused("batch 0 opens an instance: it must not carry events or unsent")
    # The header is read first.
    return Frame(batch, unsent, Reading(columns.events + structured.events, structured.refused + columns.refused))


class _Checks:
    """The checks of single events, each by its reasons in their order."""

    def __init__(self, client: str, newest: float, more_types: tuple[str, ...]) -> None:
        self._client = client
        self._newest = newest
        self._more_types = more_types

    def number(self, tab: str, type: str, time: float, value: float) -> RecordedEvent:
        """An event of the payload."""
        self._check_names(tab)
        if type not in NUMERIC:
            raise EventRefused("type")
        self._check_time(time)
        if not isfinite(value):
            raise EventRefused("value")
        exact = value.is_integer() and abs(value) <= MAX_WHOLE
        return RecordedEvent(self._client, tab, type, int(value) if exact else value, time)

    def structured(self, tab: str, type: str, event: Any) -> RecordedEvent:
        """An event of the header."""
        self._check_names(tab)
        if not isinstance(event, list) or len(event) != 2 or not _is_number(event[0]):
            raise EventRefused("json")
        if not fake_reading.is_type(type, self._more_types):
            raise EventRefused("type")
        time, value = float(event[0]), event[1]
        self._check_time(time)
        if len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")) > fake_reading.MAX_PAYLOAD:
            raise EventRefused("size")
        if not _all_finite(value):
            raise EventRefused("value")
        return RecordedEvent(self._client, tab, type, fake_reading.check_payload(type, value), time)

    def _check_names(self, tab: str) -> None:
        if not fake_reading.is_name(self._client) or not fake_reading.is_name(tab):
            raise EventRefused("name")

    def _check_time(self, time: float) -> None:
        fake_reading.check_time(time, self._newest)


def _judge(reading: Reading, tab: str, row: list[tuple[Any, ...]], read: Callable[..., RecordedEvent]) -> None:
    """Sort the events of a row by what becomes of them."""
    for number, event in enumerate(row):
        try:
            reading.events.append(read(tab, *event))
        except EventRefused as refused:
            reading.refused.append(((tab, number), refused.reason))


class _Members(dict[str, Any]):
    """A JSON object that remembers whether a member stood twice."""

    twice = False


def _object(text: bytes) -> dict[str, Any]:
    def members(pairs: list[tuple[str, Any]]) -> _Members:
        found = _Members(pairs)
        found.twice = len(found) != len(pairs)
        return found

    try:
        header = json.loads(
            text.decode("utf-8"), object_pairs_hook=members, parse_int=_whole, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise FrameRefused("the header is not JSON")
    if not isinstance(header, _Members):
        raise FrameRefused("the header must be a JSON object")
    if header.twice:
        raise FrameRefused("a member stands twice in the header")
    return header


def _batch(header: dict[str, Any]) -> tuple[str | None, int] | None:
    instance, number = header.get("instance"), header.get("batch")
    if "instance" in header and (not isinstance(instance, str) or not _INSTANCE.fullmatch(instance)):
        raise FrameRefused("instance must be a string of 32 hexadecimal digits in lower case")
    if "batch" in header and not _is_count(number):
        raise FrameRefused("batch must be a whole number from 0 to 2**53 - 1")
    if (instance is None) == bool(number):
        raise FrameRefused("an instance goes with a batch from 1 on")
    return None if number is None else (instance, number)


def _unsent(value: Any) -> Counts:
    if not isinstance(value, dict) or not all(isinstance(tabs, dict) for tabs in value.values()):
        raise FrameRefused("unsent must be an object of objects")
    if len(json.dumps(value)) > MAX_UNSENT_BYTES:
        raise FrameTooLarge("unsent")
    counts: Counts = {}
    for reason, tabs in value.items():
        told = counts.setdefault(reason if reason in ("full", "unknown") else "other", {})
        room = MAX_UNSENT - sum(told.values())
        for tab, events in tabs.items():
            if not _is_count(events):
                raise FrameRefused("a count in unsent must be a whole number")
            told[tab] = told.get(tab, 0) + min(room, events)
            room -= min(room, events)
    return counts


def _rows(rows: Any, is_third: Callable[[Any], bool], member: str) -> Iterator[tuple[str, str, Any]]:
    if not isinstance(rows, list):
        raise FrameRefused(f"{member} must be an array of rows")
    if member == "tabs" and len(rows) > MAX_ROWS:
        raise FrameTooLarge(f"{len(rows)} rows of tabs")
    for row in rows:
        match row:
            case [str() as tab, str() as type, third] if is_third(third):
                yield tab, type, third
            case _:
                raise FrameRefused(f"a row of {member} has another form")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_WHOLE


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(float(value))


def _all_finite(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(map(_all_finite, inner))


def _whole(digits: str) -> int | float:
    """A whole number; infinite when it is beyond the largest double."""
    number = float(digits)
    return int(digits) if isfinite(number) and len(digits) < 400 else number


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
