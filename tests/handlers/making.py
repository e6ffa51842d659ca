"""What the tests of Handlers share: Partials of events, strategies of them, and States as the reference page has them.

The States are written with the primitives and sketches of the twin, not with those of the Handlers.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from typing import Any

from attrs import frozen
from hypothesis import strategies as st

from taba.handlers.buffer import Buffer
from taba.handlers.expiry_gauge import ExpiryGauge
from taba.handlers.percentile_counter import PercentileCounter
from taba.handlers.totals_counter import TotalsCounter
from taba.interfaces import IHandler
from tests import strategies
from tests.twin import counter_group
from tests.twin.gauge import GaugeEntry, RawPartial, encode_string
from tests.twin.primitives import add, encode_f64, encode_number, encode_svarint, encode_uvarint, kind_of
from tests.twin.sketch import Sketch

NOW = 1_700_000_000.0
DAY = 86400.0

Number = tuple[float, float]
"""(time, value)."""


def numbers(*events: Number) -> bytes:
    """The Partial of events (time, value) of a Type of numbers."""
    return counter_group.Partial.of(list(events)).encode()


def raw(*events: tuple[float, int, str]) -> bytes:
    """The Partial of events (time, stamp, payload) of a Type that takes any JSON."""
    return RawPartial([GaugeEntry(time, stamp, payload.encode()) for time, stamp, payload in events]).encode()


def expiring(value: Any, expiry: float, time: float = NOW, stamp: int = 1) -> bytes:
    """The Partial of one value with its expiry."""
    return raw((time, stamp, json.dumps([value, expiry], ensure_ascii=False)))


# ------------------------------------------------------------------------------------- States as the page has them


def second_of(events: Sequence[Number]) -> bytes:
    """The start of the newest event's second."""
    return encode_svarint(max(math.floor(time) for time, _ in events))


def totals_state(events: Sequence[Number]) -> bytes:
    """A TotalsCounter's State of these events."""
    if not events:
        return b""
    total = functools.reduce(add, (value for _, value in events), 0.0)
    front = bytes([4, 1, kind_of(total)]) + encode_uvarint(len(events))
    return front + encode_number(total) + second_of(events)


def percentile_state(events: Sequence[Number]) -> bytes:
    """A PercentileCounter's State of these events."""
    if not events:
        return b""
    return b"\x05\x01" + second_of(events) + Sketch.of([value for _, value in events]).encode()


@frozen
class Arrived:
    """An event with its expiry."""

    value: bytes
    expiry: float
    time: float
    stamp: int

    def encode(self) -> bytes:
        """An entry of a State."""
        end = encode_f64(self.expiry) + encode_f64(self.time) + encode_uvarint(self.stamp)
        return encode_string(self.value) + end

    def payload(self) -> str:
        """As a sender writes it."""
        return f" [ {self.value.decode()} ,{self.expiry!r}]"


def gauge_state(clients: Sequence[Sequence[Arrived]]) -> bytes:
    """An ExpiryGauge's State of these clients' events."""
    latest = [max(each, key=lambda e: (e.time, e.stamp, e.value, e.expiry)) for each in clients if each]
    latest.sort(key=lambda e: (e.value, e.expiry, e.time, e.stamp))
    entries = b"".join(entry.encode() for entry in latest)
    return b"\x06\x01" + encode_uvarint(len(latest)) + entries if latest else b""


def buffer_state(events: Sequence[Arrived], most: int = 1000) -> bytes:
    """A Buffer's State of these events."""
    if not events:
        return b""
    newest = max(event.time for event in events)
    kept = sorted(
        (event for event in events if event.expiry > newest - 90.0),
        key=lambda e: (-e.expiry, e.time, e.stamp, e.value),
    )[:most]
    front = b"\x07\x01" + encode_f64(newest) + encode_uvarint(len(kept))
    return front + b"".join(entry.encode() for entry in kept)


# ------------------------------------------------------------------------------------------------------ strategies


def _in_doubles(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(digits)
    return value


def _is_taken(text: str) -> bool:
    try:
        json.loads(text, parse_float=_in_doubles, parse_int=_in_doubles)
    except ValueError:
        return False
    return True


@functools.cache
def sent_json() -> st.SearchStrategy[str]:
    """JSON texts that an agent lets through: no number in them is beyond the largest double."""
    return strategies.json_texts().filter(_is_taken)


@functools.cache
def arrivals() -> st.SearchStrategy[list[Arrived]]:
    """Events with expiries: several often alike in some of their parts, late, expired, and of every JSON."""
    values = st.one_of(st.sampled_from(['"a"', '"grün"', "1"]), sent_json().map(str.strip))
    times = st.one_of(st.sampled_from([NOW - 100.0, NOW - 90.0, NOW - 1.0, NOW]), strategies.times())
    expiries = st.one_of(
        st.sampled_from([0.0, NOW - 90.5, NOW - 90.0, NOW - 89.5, NOW, NOW + 60.0, NOW + DAY]),
        strategies.finite_values().map(lambda value: value + 0.0),
    )
    stamps = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1))
    return st.lists(st.builds(Arrived, values.map(str.encode), expiries, times, stamps), max_size=12)


@functools.cache
def whole_numbers() -> st.SearchStrategy[list[Number]]:
    """Events of a Type of numbers, all whole."""
    return strategies.numeric_events(strategies.integral_values())


def partial_of(handler: IHandler, events: Sequence[Any]) -> bytes:
    """The Partial of events as `events_of` draws them."""
    if handler.name in NUMERIC:
        return numbers(*events)
    return raw(*((event.time, event.stamp, event.payload()) for event in events))


def events_of(handler: IHandler) -> st.SearchStrategy[list[Any]]:
    """Events of a Type, by which its laws hold bit for bit."""
    return whole_numbers() if handler.name in NUMERIC else arrivals()


def timed(values: Sequence[float]) -> list[Number]:
    """Values that came one a second, the last one now."""
    return [(NOW - at, value) for at, value in enumerate(reversed(values))][::-1]


NUMERIC: dict[str, IHandler] = {"TotalsCounter": TotalsCounter(), "PercentileCounter": PercentileCounter()}
HANDLERS: dict[str, IHandler] = {**NUMERIC, "ExpiryGauge": ExpiryGauge(), "Buffer": Buffer()}
