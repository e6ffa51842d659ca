"""Events as lines of protocol 1, and lines as bodies. Pure functions; docs/reference/protocol-1.md has the format.

A log of events is flat, `[time, value, time, value, ...]`: to extend a list by two is one step that no other thread can
come into, and a flat list fills a template of many lines in one call.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any, NamedTuple

CHUNK_EVENTS = 2000
"""The most events of one Block, so that batches can be cut close to their limits."""

MAX_PAYLOAD_BYTES = 1 << 20
"""The longest payload that an agent takes, in bytes of its JSON."""


class Block(NamedTuple):
    """Encoded events of one tab."""

    tab: str
    type: str
    events: int
    lines: bytes


class UnusableValue(ValueError):
    """A value that cannot travel; the text says why."""


def encode_payload(value: object) -> bytes:
    """The payload of `value` as it stands in an event: a JSON string that holds JSON. ASCII.

    Numbers of classes that JSON does not know travel as the integer or float they convert to. Raises UnusableValue for
    what JSON cannot hold, NaN and infinities among it, and for more than MAX_PAYLOAD_BYTES.
    """
    try:
        text = _to_json(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UnusableValue(str(error)) from None
    if len(text) > MAX_PAYLOAD_BYTES:
        raise UnusableValue(f"{len(text)} bytes of JSON; the most is {MAX_PAYLOAD_BYTES}")
    return encode_basestring_ascii(text).encode("ascii")


def _as_number(value: Any) -> int | float:
    """What a number of a class that `json` does not know (numpy's, decimal's) is worth."""
    if hasattr(value, "__index__"):
        return int(value.__index__())
    if hasattr(value, "__float__"):
        return float(value)
    raise TypeError(f"{type(value).__name__} values cannot be written as JSON")


def encode_numbers(tab: str, type_name: str, log: list[Any]) -> tuple[list[Block], int]:
    """The Blocks of a flat log of times and plain ints and floats, and how many were left out as not finite."""
    blocks, left_out = [], 0
    for start in range(0, len(log), 2 * CHUNK_EVENTS):
        chunk = log[start : start + 2 * CHUNK_EVENTS]
        line = b'["%b", %%.6f, "%%a"]\n' % type_name.encode("ascii")
        lines = _fill_if_finite(line, chunk)
        if lines is None:
            kept = [part for pair in zip(chunk[::2], chunk[1::2], strict=True) if _is_finite(pair[1]) for part in pair]
            left_out += (len(chunk) - len(kept)) // 2
            chunk, lines = kept, _fill(line, kept)
        if chunk:
            blocks.append(Block(tab, type_name, len(chunk) // 2, lines))
    return blocks, left_out


def encode_payloads(tab: str, type_name: str, log: list[Any]) -> list[Block]:
    """The Blocks of a flat log of times and encoded payloads: one payload of any length, or several short ones."""
    blocks: list[Block] = []
    line = b'["%b", %%.6f, %%b]\n' % type_name.encode("ascii")
    chunk: list[Any] = []
    size = 0
    for time, payload in zip(log[::2], log[1::2], strict=True):
        if chunk and (size + len(payload) > _CHUNK_BYTES or len(chunk) >= 2 * CHUNK_EVENTS):
            blocks.append(Block(tab, type_name, len(chunk) // 2, _fill(line, chunk)))
            chunk, size = [], 0
        chunk += (time, payload)
        size += len(payload)
    if chunk:
        blocks.append(Block(tab, type_name, len(chunk) // 2, _fill(line, chunk)))
    return blocks


def encode_body(client_id: str, blocks: Iterable[Block]) -> bytes:
    """A protocol 1 body with one block for each tab and Type, in the order of their first Blocks."""
    by_tab: dict[tuple[str, str], list[bytes]] = {}
    for block in blocks:
        by_tab.setdefault((block.tab, block.type), []).append(block.lines)
    parts = [b"1\n\n", client_id.encode("ascii"), b"\n\n"]
    for (tab, _), lines in by_tab.items():
        parts += (tab.encode("ascii"), b"\n", *lines, b"\n")
    parts.append(b"\n")
    return b"".join(parts)


_CHUNK_BYTES = 1 << 18

_to_json = json.JSONEncoder(allow_nan=False, default=_as_number).encode  # `json.dumps` would make one at each call


def _fill(line: bytes, chunk: list[Any]) -> bytes:
    """One line for each event. A single formatting call for all of them costs a third less than a loop does."""
    return (line * (len(chunk) // 2)) % tuple(chunk)


def _fill_if_finite(line: bytes, chunk: list[Any]) -> bytes | None:
    """The lines, or None where a value may not be finite: the sum shows every NaN and infinity, at a tenth of the price
    of a look at each."""
    try:
        return _fill(line, chunk) if isfinite(float(sum(chunk[1::2]))) else None
    except (OverflowError, ValueError):  # integers beyond a double, or of more digits than Python prints
        return None


def _is_finite(value: int | float) -> bool:
    try:
        return isfinite(float(value))
    except OverflowError:
        return False
