"""Protocol 1, and the headers beside it, as an agent reads them: for `FakeAgent`. Standard library only.

docs/reference/protocol-1.md has the format. A body whose structure is wrong raises; an event that is wrong is refused
alone, by the first of the reasons that holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

MAX_NAME = 512  # characters
MAX_PAYLOAD = 1 << 20  # bytes of JSON
MAX_LINE = 6 * MAX_PAYLOAD + 4096  # bytes
MAX_DEPTH = 64  # of nesting in a payload
MAX_SAMPLES = 10  # of refused events that an answer names
MAX_UNSENT = 1 << 31  # events of a reason, for one batch
YEAR_10000 = 253_402_300_800.0  # seconds since 1970

NUMERIC = ("CounterGroup", "PercentileGroup", "TotalsCounter", "PercentileCounter")
"""Types whose payload is a number, a truth value, or an array that begins with one."""
EXPIRING = "ExpiryGauge"
"""The Type whose payload is an array of a value and a number."""
UNIQUE = "UniqueGroup"
"""The Type whose payload is a string or a number."""
STRUCTURED = ("Gauge", EXPIRING, "Buffer", UNIQUE)
"""Types that take any JSON, but for those two."""

REASONS = {
    "json": "not a JSON array of Type, time and payload",
    "type": "a Type that neither this agent nor its servers know: give the servers its Handler, by a package with an"
    " entry point taba.handlers or by ADDITIONAL_HANDLERS, and restart them; this agent learns it within seconds",
    "mixed": "another Type than the first event of its tab's block",
    "time": "the time is not a number of seconds since 1970 (milliseconds, perhaps?)",
    "future": "the time is too far in the future (MAX_CLOCK_SKEW)",
    "value": "a payload that the Type cannot take",
    "name": "the name of the tab or client is too long, empty, or has characters that are not allowed",
    "size": "the payload is too large or nested too deep",
}


class RecordedEvent(NamedTuple):
    """One event that was counted."""

    client: str
    tab: str
    type: str
    value: Any
    """What was recorded; of counters and percentiles the number: true is 1, and of an array it is the first element."""
    time: float
    """In seconds since 1970, as the client stamped it."""


Place = int | tuple[str, int]
"""Where an event stands: in a line of protocol 1, from 1; in a frame under the name of a tab, from 0."""


class Reading(NamedTuple):
    """What a body holds."""

    events: list[RecordedEvent]
    refused: list[tuple[Place, str]]
    """Place and reason of each event that is refused."""


class BodyRefused(ValueError):
    """The structure of a body is wrong: nothing of it counts."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


class HeaderRefused(ValueError):
    """A header cannot be understood."""


_NAME = re.compile(rf"[A-Za-z0-9._~:/?@!$()*+;=-]{{1,{MAX_NAME}}}")
_BATCH = re.compile(r"(?:([0-9a-f]{32})/([1-9][0-9]{0,17})|0)")
_UNSENT = re.compile(r"([a-z]{1,16})=([0-9]{1,15})")


def read_batch(header: str | None) -> tuple[str | None, int] | None:
    """Instance and number that `Taba-Batch` says, (None, 0) for one that opens an instance; None without the header."""
    if header is None:
        return None
    match = _BATCH.fullmatch(header.strip())
    if match is None:
        form = "0, or an instance (32 hexadecimal digits), a slash and a number from 1"
        raise HeaderRefused(f"Taba-Batch must be {form}.")
    return (match[1], int(match[2])) if match[1] else (None, 0)


def read_unsent(header: str | None) -> dict[str, int]:
    """Reason -> events, as `Taba-Unsent` says."""
    counts: dict[str, int] = {}
    for each in (header or "").split(","):
        match = _UNSENT.fullmatch(each.strip())
        if match is not None:
            reason = match[1] if match[1] in ("full", "unknown") else "other"
            counts[reason] = min(MAX_UNSENT, counts.get(reason, 0) + int(match[2]))
        elif each.strip():
            raise HeaderRefused("Taba-Unsent must be reason=count, ...")
    return counts


def read_body(body: bytes, newest: float, more_types: tuple[str, ...] = ()) -> Reading:
    """The events of a whole body. `newest` is the latest time that one may have; `more_types` take any JSON.

    Raises BodyRefused.
    """
    try:
        lines = body.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        lines = body.decode("latin-1").split("\n")
    if not lines[-1]:
        del lines[-1]
    reading = Reading([], [])
    at = _read_header(lines)
    while at < len(lines):
        client, at = lines[at], at + 1
        if client:
            _expect_blank(lines, at, "the line after a client id must be blank")
            read = partial(_read_event, newest=newest, more_types=more_types)
            at = _read_client(lines, at + 1, client, read, reading)
    return reading


def _read_header(lines: list[str]) -> int:
    if not lines or lines[0] != "1":
        crlf = bool(lines) and lines[0] == "1\r"
        raise BodyRefused(1, "line 1 must be the version of the protocol, 1" + _CRLF * crlf)
    _expect_blank(lines, 1, "line 2 must be blank")
    return 2


_CRLF = "; lines end with LF, not with CR LF"


def _expect_blank(lines: list[str], at: int, problem: str) -> None:
    line = lines[at] if at < len(lines) else None
    if line != "":
        raise BodyRefused(at + 1, problem + _CRLF * (line == "\r"))


_Reader = Callable[[str, str, str, "str | None"], RecordedEvent]


def _read_client(lines: list[str], at: int, client: str, read: _Reader, reading: Reading) -> int:
    """Read the blocks of a client; where the next client may begin."""
    while at < len(lines) and lines[at]:
        tab, at = lines[at], at + 1
        block_type: str | None = None
        while at < len(lines) and lines[at]:
            try:
                event = read(client, tab, lines[at], block_type)
                block_type = event.type
                reading.events.append(event)
            except EventRefused as refused:
                reading.refused.append((at + 1, refused.reason))
            at += 1
        at += 1
    return at + 1


class EventRefused(Exception):
    """One event is refused alone, for a reason of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _read_event(
    client: str, tab: str, line: str, block_type: str | None, *, newest: float, more_types: tuple[str, ...]
) -> RecordedEvent:
    """One event line. `block_type` is the Type of its block, None before the first event of that."""
    if not is_name(client) or not is_name(tab):
        raise EventRefused("name")
    if len(line) > MAX_LINE:
        raise EventRefused("size")
    type, time, payload = _read_line(line)
    if not is_type(type, more_types):
        raise EventRefused("type")
    if block_type is not None and type != block_type:
        raise EventRefused("mixed")
    check_time(time, newest)
    if len(payload.encode("utf-8", "surrogatepass")) > MAX_PAYLOAD:
        raise EventRefused("size")
    return RecordedEvent(client, tab, type, _read_payload(payload, type), time)


def is_name(text: str) -> bool:
    """Whether it can name a client or a tab."""
    return _NAME.fullmatch(text) is not None


def is_type(text: str, more_types: tuple[str, ...]) -> bool:
    """Whether it names a Type that is known."""
    return text in NUMERIC or text in STRUCTURED or text in more_types


def check_time(time: float, newest: float) -> None:
    """EventRefused for a time that no event may have, or that is later than `newest`."""
    if not 0.0 <= time < YEAR_10000:
        raise EventRefused("time")
    if time > newest:
        raise EventRefused("future")


def check_payload(type: str, value: Any) -> Any:
    """What a payload is worth as the value of an event of a Type. EventRefused for what the Type cannot take."""
    if _depth(value) > MAX_DEPTH:
        raise EventRefused("size")
    if type == EXPIRING and not _expires(value):
        raise EventRefused("value")
    if type == UNIQUE and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        raise EventRefused("value")
    if type not in NUMERIC:
        return _whole_characters(value)
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, int | float):
        raise EventRefused("value")
    return int(value) if isinstance(value, bool) else value


def _expires(value: Any) -> bool:
    """Whether a value comes with the time until which it is shown."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[1], int | float)
        and not isinstance(value[1], bool)
    )


def _read_line(line: str) -> tuple[str, float, str]:
    try:
        event = json.loads(line, parse_int=float, parse_float=float, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise EventRefused("json") from None
    match event:
        case [str() as type, float() as time, str() as payload]:
            return type, time, payload
    raise EventRefused("json")


def _read_payload(payload: str, type: str) -> Any:
    try:
        value = json.loads(payload, parse_int=_whole, parse_float=_finite, parse_constant=_no_constant)
    except ValueError:
        raise EventRefused("value") from None
    except RecursionError:
        raise EventRefused("size") from None
    return check_payload(type, value)


def _whole(digits: str) -> int | float:
    _finite(digits)
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if number - number != 0.0:
        raise ValueError("a number beyond the largest double")
    return number


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _whole_characters(value: Any) -> Any:
    """`value` with U+FFFD for each half of a surrogate pair that stands alone."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_whole_characters(each) for each in value]
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(each) for key, each in value.items()}
    return value


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0
