"""A frame of columns (POST /v2/events), read from a whole body: the header as a tree, then the payload row by row.

`parse` answers what a scratch holds after the same body, and what its header says. Structured events come first, then
the rows of columns, each in the order of the header.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping

from attrs import Factory, define

from tests.twin import json_nodes, json_text
from tests.twin.blobs import UNIQUE_GROUP
from tests.twin.errors import ColumnsError, LimitReached
from tests.twin.json_nodes import Node
from tests.twin.protocol1 import (
    NAME,
    NUMERIC,
    RAW_EXPIRING,
    RAW_NUMBER,
    SAMPLES,
    YEAR_10000,
    Event,
    Limits,
    Parsed,
    Refused,
    is_expiring,
    numeric,
    unique,
)

MAX_WHOLE = 2**53 - 1
MAX_HEADER = 16 << 20
MAX_EVENTS = (1 << 30) // 16  # columns of so many numbers fill the memory of one request
WHOLE = re.compile(r"0|[1-9][0-9]*")
INSTANCE = re.compile(r"[0-9a-f]{32}")


@define
class Frame(Parsed):
    """What a frame comes to: the events, and what else its header says."""

    tabs: list[str] = Factory(list)
    """The names in the rows of the samples."""
    client: str = ""
    instance: str | None = None
    batch: int | None = None
    unsent: bytes = b""


def parse(body: bytes, limits: Limits, types: Mapping[str, int]) -> Frame:
    """Read a whole body. ColumnsError when it is no frame; LimitReached where it may not be so large."""
    if len(body) < 4:
        raise ColumnsError("cut within the length")
    (length,) = struct.unpack_from("<I", body)
    if length > MAX_HEADER:
        raise LimitReached("the header")
    if len(body) < 4 + length:
        raise ColumnsError("cut within the header")
    try:
        text = body[4 : 4 + length].decode("utf-8")
        root = json_nodes.read(text)
    except (UnicodeDecodeError, json_text.NotJson, json_text.TooDeep) as problem:
        raise ColumnsError(str(problem))
    return _Reading(text, root, body[4 + length :], limits, types).read()


class _Reading:
    def __init__(self, text: str, root: Node, payload: bytes, limits: Limits, types: Mapping[str, int]) -> None:
        self._text = text
        self._root = root
        self._payload = payload
        self._limits = limits
        self._types = types
        self._frame = Frame(lines=4 + len(text.encode()) + len(payload))

    def read(self) -> Frame:
        if self._root.kind != "object":
            raise ColumnsError("the header is no object")
        known: dict[str, Node] = {}
        for name, node in zip(self._root.names, self._root.items, strict=True):
            if name in known and name in ("client", "instance", "batch", "tabs", "structured", "unsent"):
                raise ColumnsError(f"{name} twice")
            known[name] = node
        self._read_facts(known)
        rows = [_row(row) for row in _array(known["tabs"])] if "tabs" in known else []
        structured = _array(known["structured"]) if "structured" in known else []
        self._read_structured([_structured_row(row) for row in structured])
        due = sum(count for name, type_name, count in rows if self._reason(name, type_name) is None)
        if due > MAX_EVENTS:
            raise LimitReached("memory")
        if len(self._payload) != 16 * sum(count for _, _, count in rows):
            raise ColumnsError("the payload is of another length")
        for row in rows:
            self._read_row(*row)
        return self._frame

    def _read_facts(self, known: Mapping[str, Node]) -> None:
        frame = self._frame
        if "client" in known:
            frame.client = _string(known["client"])
        if not frame.client:
            raise ColumnsError("no client")
        if "batch" in known:
            frame.batch = _whole(known["batch"])
        if "instance" in known:
            frame.instance = _string(known["instance"])
            if not INSTANCE.fullmatch(frame.instance):
                raise ColumnsError("no instance")
        if bool(frame.batch) != (frame.instance is not None):
            raise ColumnsError("instance and batch do not fit")
        if "unsent" in known:
            if known["unsent"].kind != "object":
                raise ColumnsError("unsent is no object")
            frame.unsent = self._slice(known["unsent"])

    def _slice(self, node: Node) -> bytes:
        return self._text[node.start : node.end].encode()

    def _refuse(self, tab: str, event: int, reason: str) -> None:
        self._frame.refused[reason] += 1
        if len(self._frame.samples) < SAMPLES:
            self._frame.samples.append((event, reason))
            self._frame.tabs.append(tab)

    def _is_name(self, name: str) -> bool:
        return len(name) <= self._limits.max_name and NAME.fullmatch(name) is not None

    def _reason(self, tab: str, type_name: str) -> str | None:
        """Why none of a row's events can be taken."""
        if not (self._is_name(self._frame.client) and self._is_name(tab)):
            return "name"
        return None if self._types.get(type_name) in NUMERIC else "type"

    def _check_time(self, time: float) -> None:
        if not 0.0 <= time < YEAR_10000:
            raise Refused("time")
        if time > self._limits.newest:
            raise Refused("future")

    def _read_row(self, tab: str, type_name: str, count: int) -> None:
        columns = struct.unpack_from(f"<{2 * count}d", self._payload)
        self._payload = self._payload[16 * count :]
        reason = self._reason(tab, type_name)
        for i in range(count):
            try:
                if reason is not None:
                    raise Refused(reason)
                self._check_time(columns[i])
                if not math.isfinite(columns[count + i]):
                    raise Refused("value")
            except Refused as refused:
                self._refuse(tab, i, refused.reason)
            else:
                self._add(tab, type_name, columns[i], columns[count + i] + 0.0)

    def _add(self, tab: str, type_name: str, time: float, value: float | int | bytes) -> None:
        kind = self._types[type_name]
        self._frame.events.append(Event(self._frame.client, tab, type_name, kind, time, value))

    def _read_structured(self, rows: list[tuple[str, str, list[Node]]]) -> None:
        for tab, type_name, events in rows:
            for i, event in enumerate(events):
                try:
                    self._add(tab, type_name, *self._structured(tab, type_name, event))
                except Refused as refused:
                    self._refuse(tab, i, refused.reason)

    def _structured(self, tab: str, type_name: str, event: Node) -> tuple[float, float | int | bytes]:
        if not (self._is_name(self._frame.client) and self._is_name(tab)):
            raise Refused("name")
        if event.kind != "array" or len(event.items) != 2 or event.items[0].kind != "number":
            raise Refused("json")
        if type_name not in self._types:
            raise Refused("type")
        time = event.items[0].value
        assert isinstance(time, float)
        self._check_time(time)
        return time, self._value(self._types[type_name], self._slice(event.items[1]))

    def _value(self, kind: int, text: bytes) -> float | int | bytes:
        if len(text) > self._limits.max_payload:
            raise Refused("size")
        try:
            document = json_text.parse(text.decode(), self._limits.max_depth)
        except json_text.TooDeep:
            raise Refused("size")
        if not document.is_finite() or (kind == RAW_EXPIRING and not is_expiring(document.value)):
            raise Refused("value")
        if kind == UNIQUE_GROUP:
            return unique(document.value, text.decode())
        if kind in (*NUMERIC, RAW_NUMBER):
            number = numeric(document.value)
            return text if kind == RAW_NUMBER else number
        return text


def _array(node: Node) -> list[Node]:
    if node.kind != "array":
        raise ColumnsError("no array of rows")
    return node.items


def _string(node: Node) -> str:
    if not isinstance(node.value, str):
        raise ColumnsError("no string")
    return node.value


def _whole(node: Node) -> int:
    if node.kind != "number" or not WHOLE.fullmatch(node.text) or int(node.text) > MAX_WHOLE:
        raise ColumnsError("no whole number")
    return int(node.text)


def _row(node: Node) -> tuple[str, str, int]:
    if node.kind != "array" or len(node.items) != 3:
        raise ColumnsError("no row")
    return _string(node.items[0]), _string(node.items[1]), _whole(node.items[2])


def _structured_row(node: Node) -> tuple[str, str, list[Node]]:
    if node.kind != "array" or len(node.items) != 3:
        raise ColumnsError("no row")
    return _string(node.items[0]), _string(node.items[1]), _array(node.items[2])
