"""StatsD, line by line: what a taba_statsd gathers and gives, without its haste.

Names are text by Latin-1, a character for a byte. `Statsd.events` is the window, in the order in which a native one
gives it: numbers by tab, in the order in which the tabs first came, then all else.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter

from attrs import Factory, define, frozen

from tests.twin.blobs import COUNTER_GROUP, PERCENTILE_GROUP, UNIQUE_GROUP
from tests.twin.hll import unique_hash
from tests.twin.protocol1 import NAME, YEAR_10000, Event

METRICS = ("c", "g", "ms", "h", "d", "s")
TIMERS = ("ms", "h", "d")
LINE_MAX, VALUE_MAX, TAGS_MAX, WEIGHT_MAX, NAME_MAX = 65535, 128, 128, 1000, 512
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
ORIGIN = re.compile(r"[a-z]+:.*", re.DOTALL)
NUMERIC = (COUNTER_GROUP, PERCENTILE_GROUP)
COLUMNS = (*NUMERIC, UNIQUE_GROUP)


class Refused(Exception):
    """A line, or a value of it, that is refused for `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@frozen
class Clock:
    """When lines are taken."""

    now: float
    newest: float


@define
class Tab:
    """A tab with its metric."""

    name: str
    metric: str
    canonical: tuple[str, ...]
    last: float = 0.0
    due: float = 0.0


@define
class Statsd:
    """A gatherer. `types` is metric -> (Type, kind); ("", 0) to ignore it."""

    client: str
    types: dict[str, tuple[str, int]]
    signed_gauges: bool = True
    max_name: int = NAME_MAX
    keys: dict[tuple[str, str, str], Tab] = Factory(dict)
    tabs: dict[tuple[str, str], Tab] = Factory(dict)
    taken: list[Event] = Factory(list)
    lines: int = 0
    refused: Counter[str] = Factory(Counter)
    ignored: Counter[str] = Factory(Counter)
    collisions: int = 0

    def text(self, data: bytes, clock: Clock) -> None:
        """Take a datagram, or the whole of a stream that ended in order."""
        for line in data.split(b"\n"):
            self.line(line.removesuffix(b"\r"), clock)

    def line(self, data: bytes, clock: Clock) -> None:
        """Take one line."""
        if not data:
            return
        self.lines += 1
        if data.startswith(b"_e{"):
            self.ignored["event"] += 1
        elif data.startswith(b"_sc|"):
            self.ignored["check"] += 1
        else:
            try:
                self._take(data.decode("latin-1"), clock)
            except Refused as refused:
                self.refused[refused.reason] += 1

    def _take(self, line: str, clock: Clock) -> None:
        if len(line) > LINE_MAX:
            raise Refused("size")
        name, colon, rest = line.partition(":")
        if not colon:
            raise Refused("syntax")
        if not name:
            raise Refused("name")
        values, bar, rest = rest.partition("|")
        if not bar:
            raise Refused("syntax")
        metric, *sections = rest.split("|")
        if metric not in METRICS:
            raise Refused("type")
        rate, tags, time = self._sections(sections, clock)
        if metric not in self.types:
            raise Refused("type")
        type_name, kind = self.types[metric]
        if not type_name:
            self.ignored["unused"] += 1
            return
        if metric in TIMERS and 1 / rate > WEIGHT_MAX:
            raise Refused("rate")
        tab = self._tab(name, tags, metric)
        if metric == "s":
            member = self._member(values)
            value = unique_hash(member.encode()) if kind == UNIQUE_GROUP else quoted(member).encode()
            self._put(tab, type_name, kind, time, value)
            return
        for value in values.split(":"):
            try:
                number, weight = self._number(tab, value, rate)
            except Refused as refused:
                self.refused[refused.reason] += 1
                continue
            for _ in range(weight):
                self._put(tab, type_name, kind, time, number if kind in NUMERIC else write(number).encode())

    def _put(self, tab: Tab, type_name: str, kind: int, time: float, value: float | bytes) -> None:
        self.taken.append(Event(self.client, tab.name, type_name, kind, time, value))

    def _sections(self, sections: list[str], clock: Clock) -> tuple[float, str, float]:
        rate, tags, time = 1.0, "", clock.now
        for section in sections:
            if section.startswith("@"):
                rate = number(section[1:], "rate")
                if not 0 < rate <= 1:
                    raise Refused("rate")
            elif section.startswith("#"):
                tags = section[1:]
            elif section.startswith("T"):
                if not re.fullmatch("[0-9]{1,15}", section[1:]) or float(section[1:]) >= YEAR_10000:
                    raise Refused("time")
                time = float(section[1:])
                if time > clock.newest:
                    raise Refused("future")
            elif section and not ORIGIN.fullmatch(section):
                raise Refused("syntax")
        return rate, tags, time

    def _tab(self, name: str, tags: str, metric: str) -> Tab:
        key = name, tags, metric
        if key not in self.keys:
            self.keys[key] = self._new_tab(name, tags, metric)
        return self.keys[key]

    def _new_tab(self, name: str, tags: str, metric: str) -> Tab:
        pieces = [tag for tag in tags.split(",") if tag]
        if len(pieces) > TAGS_MAX:
            raise Refused("name")
        pieces = sorted(set(pieces))
        built = replaced(name) + "".join(f";{tag_of(each)}" for each in pieces)
        if len(built) > self.max_name:
            raise Refused("name")
        canonical = (name, *pieces)
        tab = self.tabs.setdefault((built, metric), Tab(built, metric, canonical))
        self.collisions += tab.canonical != canonical
        return tab

    def _number(self, tab: Tab, text: str, rate: float) -> tuple[float, int]:
        value = number(text, "value")
        if tab.metric == "c":
            value /= rate
        elif tab.metric == "g" and self.signed_gauges and text[0] in "+-":
            value += tab.last
        if math.isinf(value):
            raise Refused("value")
        value += 0.0
        if tab.metric == "g":
            tab.last = value
        if tab.metric not in TIMERS or rate == 1:
            return value, 1
        due = 1 / rate + tab.due
        weight = int(due)
        tab.due = due - weight
        return value, weight

    def _member(self, values: str) -> str:
        data = values.encode("latin-1")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("value")
        if not text:
            raise Refused("value")
        return text

    def events(self) -> list[Event]:
        """The window, as it is given."""
        order: dict[tuple[str, str], list[Event]] = {}
        for event in self.taken:
            if event.kind in COLUMNS:
                order.setdefault((event.tab, event.type_name), []).append(event)
        rest = [event for event in self.taken if event.kind not in COLUMNS]
        return [*(event for events in order.values() for event in events), *rest]


def number(text: str, reason: str) -> float:
    """A number as senders write it."""
    if len(text) > VALUE_MAX or not NUMBER.fullmatch(text) or math.isinf(float(text)):
        raise Refused(reason)
    return float(text)


def replaced(text: str) -> str:
    """Characters that no name has, replaced."""
    return "".join(each if NAME.fullmatch(each) else "_" for each in text)


def tag_of(tag: str) -> str:
    """A tag as it stands in a name."""
    key, colon, value = tag.partition(":")
    written = re.sub("[;=]", "_", replaced(key))
    return written + ("=" + replaced(value).replace(";", "_") if colon else "")


def write(value: float) -> str:
    """A number as the payload of a Gauge."""
    if value == int(value) and abs(value) <= 2**53:
        return str(int(value))
    return next(text for digits in (15, 16, 17) if float(text := f"{value:.{digits}g}") == value)


def quoted(text: str) -> str:
    """A text as JSON."""
    plain = json.dumps(text, ensure_ascii=False)
    for short, long in (("b", "08"), ("f", "0c"), ("n", "0a"), ("r", "0d"), ("t", "09")):
        plain = re.sub(rf"(?<!\\)((?:\\\\)*)\\{short}", rf"\1\\u00{long}", plain)
    return plain
