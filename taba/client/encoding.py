"""What is recorded, as columns; and columns as frames of protocol 2, which are posted. Pure functions;
docs/reference/protocol-2.md has the format.

A log of events is flat, `[time, value, time, value, ...]`: to extend a list by two is one step that no other thread can
come into, and a flat list becomes an array of doubles in one call. So is a whole batch made of few calls, whatever the
number of its events; and the logs of many tabs with few events each become columns together.

Numbers travel as doubles: whole ones are exact up to 2**53, others are rounded to the nearest double, as an agent would
round them. What is not finite, or beyond the largest double, is left out and counted.
"""

from __future__ import annotations

import json
import re
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from json.encoder import encode_basestring_ascii
from math import inf, isfinite
from operator import attrgetter
from typing import Any, NamedTuple

CHUNK_EVENTS = 2000
"""The most events of one Block, so that batches can be cut close to their limits."""

MAX_PAYLOAD_BYTES = 1 << 20
"""The longest payload that an agent takes, in bytes of its JSON."""

MAX_DEPTH = 64
"""The deepest nesting that an agent takes in a payload."""

LINE_BYTES = 32
"""What a line of protocol 1 has beside the name of its Type and its payload, at most."""
NUMBER_BYTES = 24
"""The longest number there."""


class Numbers(NamedTuple):
    """Events of one tab whose payloads are numbers, as two columns of little-endian float64."""

    tab: str
    type: str
    events: int
    size: int
    """Bytes."""
    longest: int
    """Bytes that it comes to at most in a request of either protocol."""
    times: bytes
    values: bytes
    """What is sent."""


class Structured(NamedTuple):
    """Events of one tab with any payloads, as JSON: `[time, payload],[time, payload],...`."""

    tab: str
    type: str
    events: int
    size: int
    longest: int
    """As of Numbers. Protocol 1 has the JSON within a string."""
    rows: str


Block = Numbers | Structured
"""Encoded events of one tab."""


class UnusableValue(ValueError):
    """A value that cannot travel; the text says why."""


def encode_payload(value: object) -> str:
    """The JSON of `value`, in ASCII.

    Numbers of classes that JSON does not know become the integer or float that they convert to. Raises UnusableValue
    for what JSON cannot hold, NaN and infinities among it, and for what no agent takes: more than MAX_PAYLOAD_BYTES or
    levels than MAX_DEPTH, numbers beyond the largest double, and an object with a member twice.
    """
    try:
        text = _to_json(value)
        if "{" in text or text.count("[") > MAX_DEPTH or _MANY_DIGITS.search(text):
            _check(text)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UnusableValue(str(error)) from None
    if len(text) > MAX_PAYLOAD_BYTES:
        raise UnusableValue(f"{len(text)} bytes of JSON; the most is {MAX_PAYLOAD_BYTES}")
    return text


def encode_numbers(
    tab: str, type_name: str, log: list[Any], swap: bool = sys.byteorder == "big"
) -> tuple[list[Block], int, int]:
    """The Blocks of a flat log of times and plain ints and floats; how many events of it were looked at, from its
    front; and how many of these were left out as not finite.

    Other threads may extend the log meanwhile: it is read in one step. `swap` says that this machine's doubles are
    big-endian.
    """
    try:
        both = array("d", log)
    except OverflowError:  # integers beyond a double
        part = log[:]
        seen = len(part) // 2
        both = _finite(part)
    else:
        seen = len(both) // 2
    # The sum shows every NaN and infinity. It may overflow without them, too.
    times, values = both[::2], both[1::2]
    if not isfinite(sum(values)):
        both = _finite(both)
        times, values = both[::2], both[1::2]
    end = len(both)
    ends = [*range(2 * CHUNK_EVENTS, end, 2 * CHUNK_EVENTS), end] if end else []
    return _numbers([tab] * len(ends), type_name, times, values, ends, swap), seen, seen - end // 2


def encode_small(
    tabs: Sequence[str], type_name: str, log: list[Any], ends: Sequence[int], swap: bool = sys.byteorder == "big"
) -> tuple[list[Block], list[tuple[str, int]]]:
    """The Blocks of several tabs of one Type, for less than each by itself costs: `log` is made of their logs, one
    after the other, and `ends` says where each ends; none has more than CHUNK_EVENTS. Beside them, how many events of
    which tabs were left out as not finite.
    """
    try:
        both = array("d", log)
        times, values = both[::2], both[1::2]
        if isfinite(sum(values)):
            return _numbers(tabs, type_name, times, values, ends, swap), []
    except OverflowError:
        pass
    blocks: list[Block] = []
    left_out = []
    for tab, start, end in zip(tabs, [0, *ends], ends, strict=False):
        encoded, _, without = encode_numbers(tab, type_name, log[start:end], swap)
        blocks += encoded
        if without:
            left_out.append((tab, without))
    return blocks, left_out


def _numbers(
    tabs: Sequence[str], type_name: str, times: array[float], values: array[float], ends: Sequence[int], swap: bool
) -> list[Block]:
    """A Block of each tab. Everything here is done for every tab of every flush."""
    if swap:
        times.byteswap()
        values.byteswap()
    every_time, every_value = times.tobytes(), values.tobytes()
    longest = LINE_BYTES + NUMBER_BYTES + len(type_name)
    blocks: list[Block] = []
    start = 0
    for tab, end in zip(tabs, ends, strict=True):
        end *= 4  # two doubles make an event, of whose bytes each column has the half
        count = (end - start) >> 3
        row = (tab, type_name, count, 16 * count, longest * count, every_time[start:end], every_value[start:end])
        blocks.append(tuple.__new__(Numbers, row))  # half the price of Numbers(*row)
        start = end
    return blocks


def _finite(log: Sequence[Any]) -> array[float]:
    """Those events of a flat log whose values are finite."""
    pairs = zip(log[::2], log[1::2], strict=True)
    return array("d", [part for pair in pairs if _is_finite(pair[1]) for part in pair])


def encode_payloads(tab: str, type_name: str, log: list[Any]) -> list[Block]:
    """The Blocks of a flat log of times and encoded payloads: one payload of any length, or several short ones."""
    blocks: list[Block] = []
    rows: list[str] = []
    size = 0
    for time, payload in zip(log[::2], log[1::2], strict=True):
        if rows and (size + len(payload) > _CHUNK_BYTES or len(rows) >= CHUNK_EVENTS):
            blocks.append(_structured(tab, type_name, rows))
            rows, size = [], 0
        rows.append(f"[{time!r},{payload}]")
        size += len(payload)
    if rows:
        blocks.append(_structured(tab, type_name, rows))
    return blocks


def _structured(tab: str, type_name: str, rows: list[str]) -> Structured:
    text = ",".join(rows)
    longest = len(text) + text.count('"') + text.count("\\") + (LINE_BYTES + len(type_name)) * len(rows)
    return Structured(tab, type_name, len(rows), len(text), longest, text)


def encode_frame(
    client_id: str,
    instance: str | None,
    number: int,
    blocks: Sequence[Block] = (),
    unsent: Mapping[str, Mapping[str, int]] | None = None,
) -> bytes:
    """The frame of batch `number`, with one row for each tab and Type in the order of their first Blocks.

    Batch 0 has no instance: it opens one. `unsent` is reason -> tab -> events that were dropped.
    """
    if len(set(map(attrgetter("tab"), blocks))) < len(blocks):
        blocks = join_blocks(blocks)
    named = "" if instance is None else f'"instance":"{instance}",'
    rows: list[str] = []
    columns: list[bytes] = []
    structured: list[str] = []
    # Names have no character that JSON would escape.
    for block in blocks:
        if type(block) is Numbers:
            tab, type_name, events, _, _, times, values = block
            rows.append(f'["{tab}","{type_name}",{events}]')
            columns += (times, values)
        elif isinstance(block, Structured):
            structured.append(f'["{block.tab}","{block.type}",[{block.rows}]]')
    header = [f'{{"client":"{client_id}",{named}"batch":{number},"tabs":[{",".join(rows)}]']
    if structured:
        header.append(f'"structured":[{",".join(structured)}]')
    if unsent:
        header.append(f'"unsent":{json.dumps(unsent, separators=(",", ":"))}')
    text = (",".join(header) + "}").encode("ascii")
    return b"".join((len(text).to_bytes(4, "little"), text, *columns))


def join_blocks(blocks: Sequence[Block], most: float = inf) -> list[Block]:
    """As few Blocks as hold the same events: one for each tab and Type, unless that had more than `most` bytes."""
    runs: list[list[Block]] = []
    last: dict[tuple[str, str, type], tuple[list[Block], int]] = {}
    for block in blocks:
        key = (block.tab, block.type, type(block))
        run, size = last.get(key, ([], 0))
        if not run or size + block.size > most:
            run, size = [], 0
            runs.append(run)
        run.append(block)
        last[key] = (run, size + block.size)
    return [run[0] if len(run) == 1 else _join(run) for run in runs]


def _join(run: list[Any]) -> Block:
    """One Block of several of one tab and Type."""
    tab, type_name = run[0].tab, run[0].type
    events, size, longest = (sum(each) for each in zip(*(block[2:5] for block in run), strict=True))
    if isinstance(run[0], Numbers):
        times, values = (b"".join(each) for each in zip(*(block[5:] for block in run), strict=True))
        return Numbers(tab, type_name, events, size, longest, times, values)
    rows = ",".join([block.rows for block in run])
    return Structured(tab, type_name, events, len(rows), longest, rows)


def encode_body(frame: bytes) -> bytes:
    """The protocol 1 body with the events of a frame, for agents that do not know protocol 2. It says nothing of batch
    and drops, which are in headers there. Times are given to the microsecond.
    """
    header, columns = decode_frame(frame)
    parts = [b"1\n\n", header["client"].encode("ascii"), b"\n\n"]
    for (tab, type_name, count), (times, values) in zip(header["tabs"], columns, strict=True):
        line = b'["%b", %%.6f, "%%a"]\n' % type_name.encode("ascii")
        both = tuple(chain.from_iterable(zip(times, values, strict=True)))
        parts += (tab.encode("ascii"), b"\n", (line * count) % both, b"\n")
    for tab, type_name, rows in header.get("structured", ()):
        line = b'["%b", %%.6f, %%b]\n' % type_name.encode("ascii")
        lines = [line % (time, encode_basestring_ascii(_to_json(value)).encode("ascii")) for time, value in rows]
        parts += (tab.encode("ascii"), b"\n", *lines, b"\n")
    parts.append(b"\n")
    return b"".join(parts)


def tabs_of(frame: bytes) -> list[tuple[str, int]]:
    """The tabs of a frame, each as often as it has rows, and how many events these have."""
    header, _ = decode_frame(frame)
    numbers = [(tab, count) for tab, _, count in header["tabs"]]
    return numbers + [(tab, len(rows)) for tab, _, rows in header.get("structured", ())]


def decode_frame(frame: bytes) -> tuple[dict[str, Any], list[tuple[array[float], array[float]]]]:
    """Header and columns (times, values) of a frame that `encode_frame` made."""
    end = 4 + int.from_bytes(frame[:4], "little")
    header = json.loads(frame[4:end])

    def column(at: int, count: int) -> array[float]:
        found = array("d", frame[at : at + 8 * count])
        if sys.byteorder == "big":
            found.byteswap()
        return found

    def columns(at: int) -> Iterator[tuple[array[float], array[float]]]:
        for _, _, count in header["tabs"]:
            yield column(at, count), column(at + 8 * count, count)
            at += 16 * count

    return header, list(columns(end))


_CHUNK_BYTES = 1 << 18
_MANY_DIGITS = re.compile("[0-9]{309}")  # of a number beyond the largest double, or in a text


def _as_number(value: Any) -> int | float:
    """What a number of a class that `json` does not know (numpy's, decimal's) is worth."""
    if hasattr(value, "__index__"):
        return int(value.__index__())
    if hasattr(value, "__float__"):
        return float(value)
    raise TypeError(f"{type(value).__name__} values cannot be written as JSON")


_to_json = json.JSONEncoder(allow_nan=False, default=_as_number).encode  # made once


def _check(text: str) -> None:
    """ValueError where JSON is what no agent takes."""
    if _depth(json.loads(text, object_pairs_hook=_members, parse_int=_within_doubles)) > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has a member twice")
    return members


def _within_doubles(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError("a number is beyond the largest double")
    return number


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _is_finite(value: int | float) -> bool:
    try:
        return isfinite(float(value))
    except OverflowError:
        return False
