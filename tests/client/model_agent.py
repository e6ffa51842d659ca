"""A plain agent to test clients against: protocols 1 and 2 by the book, in memory, without folding.

It keeps what docs/reference/protocol-1.md and protocol-2.md promise a numbered sender: instances that it names itself,
the last number of each, duplicates answered and not counted, 409 for what it does not know. It does not simulate group
commits, limits, or the refusal of single events. With `columns` False it is an agent of before protocol 2.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

from taba.client.sender import Answer, Post


class Event(NamedTuple):
    """One event as it came."""

    client: str
    tab: str
    type: str
    time: float
    payload: object


class Said(NamedTuple):
    """What a request says, in whichever protocol."""

    batch: str
    """`0`, or `INSTANCE/NUMBER`."""
    unsent: dict[str, int]
    """Reason -> events, without zeros."""
    events: list[Event]

    @property
    def payloads(self) -> list[object]:
        """Those of the events, in their order."""
        return [event.payload for event in self.events]


def read(post: Post) -> Said:
    """What a Post says. Fails the test on any breach of the protocol."""
    return read_request(post.protocol, post.headers, post.body)


def read_request(protocol: int, headers: dict[str, str], body: bytes) -> Said:
    """What a request says: batch, drops, events."""
    if protocol == 2:
        header, events = read_frame(body)
        batch = f"{header['instance']}/{header['batch']}" if header["batch"] else "0"
        unsent = {reason: sum(tabs.values()) for reason, tabs in header.get("unsent", {}).items()}
        return Said(batch, unsent, events)
    told = dict(each.strip().split("=") for each in headers.get("Taba-Unsent", "").split(",") if each)
    unsent = {reason: int(count) for reason, count in told.items() if int(count)}
    return Said(headers["Taba-Batch"], unsent, read_body(body) if body else [])


def read_frame(frame: bytes, encoding: str = "ascii") -> tuple[dict[str, Any], list[Event]]:
    """Header and events of a protocol 2 frame, columns first. Written apart from the code that it tests."""
    (length,) = struct.unpack_from("<I", frame)
    header = json.loads(frame[4 : 4 + length].decode(encoding))
    at, events = 4 + length, []
    assert set(header) <= {"client", "instance", "batch", "tabs", "structured", "unsent"}, set(header)
    for tab, kind, count in header["tabs"]:
        assert count > 0, "a tab without events"
        times = struct.unpack_from(f"<{count}d", frame, at)
        values = struct.unpack_from(f"<{count}d", frame, at + 8 * count)
        events += [Event(header["client"], tab, kind, *pair) for pair in zip(times, values, strict=True)]
        at += 16 * count
    assert at == len(frame), "bytes too many or too few"
    for tab, kind, rows in header.get("structured", ()):
        events += [Event(header["client"], tab, kind, time, value) for time, value in rows]
    return header, events


def read_body(body: bytes) -> list[Event]:
    """All events of a protocol 1 body. Fails the test on any breach of the grammar, also where agents are lenient."""
    lines = body.decode("ascii").split("\n")
    assert lines[:2] == ["1", ""], lines[:2]
    assert lines[-1] == "", "the last line has no end"
    events, at = [], 2
    while at < len(lines) - 1:
        client, at = lines[at], at + 2
        assert client, "a client without a name"
        assert lines[at - 1] == "", "no blank line after the client"
        while lines[at]:
            tab, at = lines[at], at + 1
            while lines[at]:
                kind, time, payload = json.loads(lines[at])
                events.append(Event(client, tab, kind, time, json.loads(payload)))
                at += 1
            at += 1
        at += 1
    return events


class ModelAgent:
    """An agent and its disk."""

    def __init__(self, name: int = 0, columns: bool = True) -> None:
        self._opened = 0
        self._name = name
        self.columns = columns
        self.numbers: dict[str, int] = {}
        """Instance -> its last number, as on the disk."""
        self.events: list[Event] = []
        """All that was counted, over all lives of the disk: what was on a lost one may have gone to the servers."""
        self.unsent: dict[str, int] = {}
        """Reason -> events that the batches which were counted told of."""

    def take(self, post: Post) -> Answer:
        """Take one request and answer it."""
        return self.answer(post.protocol, post.headers, post.body)

    def answer(self, protocol: int, headers: dict[str, str], body: bytes) -> Answer:
        """The same, of what came over a socket."""
        if protocol == 2 and not self.columns:
            return Answer(404, {}, "there is no such place")
        said = read_request(protocol, headers, body)
        if said.batch == "0":
            assert said.events == [], "batch 0 has events"
            self._opened += 1
            instance = f"{self._name:016x}{self._opened:016x}"
            self.numbers[instance] = 0
            return Answer(200, {"taba-instance": instance}, "")
        instance, _, number = said.batch.partition("/")
        if instance not in self.numbers:
            return Answer(409, {}, "the instance is not known here")
        if int(number) <= self.numbers[instance]:
            return Answer(200, {"taba-duplicate": "1"}, "")
        self.numbers[instance] = int(number)
        self.events += said.events
        for reason, count in said.unsent.items():
            self.unsent[reason] = self.unsent.get(reason, 0) + count
        return Answer(200, {}, "")

    def lose_disk(self) -> None:
        """Start again with an empty folder."""
        self.numbers.clear()
