"""A plain agent to test clients against: protocol 1 by the book, in memory, without folding.

It keeps what docs/reference/protocol-1.md promises a numbered sender: instances that it names itself, the last number
of each, duplicates answered and not counted, 409 for what it does not know. It does not simulate group commits, limits,
or the refusal of single events.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from taba.client.sender import Answer


class Event(NamedTuple):
    """One event as it came."""

    client: str
    tab: str
    type: str
    time: float
    payload: object


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

    def __init__(self, name: int = 0) -> None:
        self._opened = 0
        self._name = name
        self.numbers: dict[str, int] = {}
        """Instance -> its last number, as on the disk."""
        self.events: list[Event] = []
        """All that was counted, over all lives of the disk: what was on a lost one may have gone to the servers."""
        self.unsent: list[str] = []
        """The Taba-Unsent headers of the batches that were counted."""

    def answer(self, headers: dict[str, str], body: bytes) -> Answer:
        """Take one request and answer it."""
        batch = headers["Taba-Batch"]
        if batch == "0":
            assert body == b"", "batch 0 has a body"
            self._opened += 1
            instance = f"{self._name:016x}{self._opened:016x}"
            self.numbers[instance] = 0
            return Answer(200, {"taba-instance": instance}, "")
        instance, _, number = batch.partition("/")
        events = read_body(body)
        if instance not in self.numbers:
            return Answer(409, {}, "the instance is not known here")
        if int(number) <= self.numbers[instance]:
            return Answer(200, {"taba-duplicate": "1"}, "")
        self.numbers[instance] = int(number)
        self.events += events
        if "Taba-Unsent" in headers:
            self.unsent.append(headers["Taba-Unsent"])
        return Answer(200, {}, "")

    def lose_disk(self) -> None:
        """Start again with an empty folder."""
        self.numbers.clear()
