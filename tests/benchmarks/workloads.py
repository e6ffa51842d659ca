"""What is sent in benchmarks of intake: which Types, how many tabs, events and clients, which values; as bytes."""

from __future__ import annotations

import json
import random
import time
from array import array
from collections.abc import Callable

from attrs import frozen

from tests.benchmarks.sending import Prepared

VALUES: dict[str, Callable[[random.Random], float]] = {
    "integral": lambda chance: chance.randrange(1000),
    "decimal": lambda chance: round(chance.expovariate(1), 3),
    "log-normal": lambda chance: chance.lognormvariate(3, 1.5),
}


@frozen
class Workload:
    """Requests of one form. Times lie within the last second: in any order in protocol 1, ascending in columns."""

    protocol: str = "1"
    """`1` or `columns`."""
    tabs: int = 200
    events: int = 300
    """In each tab of a request."""
    clients: int = 1
    type: str = "CounterGroup"
    values: str = "decimal"

    @property
    def per_request(self) -> int:
        """Events in a request."""
        return self.tabs * self.events

    def __str__(self) -> str:
        name = "protocol 1" if self.protocol == "1" else self.protocol
        return f"{name}, {self.type}, {self.tabs} tabs x {self.events}, clients {self.clients}, {self.values}"

    def prepare(self) -> Prepared:
        """The requests' bytes."""
        if self.protocol == "1":
            return self._lines()
        return self._structured() if self.type == "Gauge" else self._columns()

    def _names(self) -> list[str]:
        return [f"client_{i:06d}" for i in range(self.clients)]

    def _lines(self) -> Prepared:
        chance, now, value = random.Random(1), time.time(), VALUES[self.values]
        parts = []
        for tab in range(self.tabs):
            parts.append(f"bench_tab_{tab:06d}\n")
            parts += [
                f'["{self.type}", {now - chance.random():.3f}, "{value(chance)!r}"]\n' for _ in range(self.events)
            ]
            parts.append("\n")
        heads = [f"1\n\n{name}\n\n".encode() for name in self._names()]
        return Prepared("/post", heads, "".join([*parts, "\n"]).encode())

    def _columns(self) -> Prepared:
        chance, now, value = random.Random(1), time.time(), VALUES[self.values]
        rows = [[f"bench_tab_{tab:06d}", self.type, self.events] for tab in range(self.tabs)]
        payload = array("d")
        for _ in range(self.tabs):
            payload.extend(sorted(round(now - chance.random(), 3) for _ in range(self.events)))
            payload.extend(value(chance) for _ in range(self.events))
        heads = []
        for name in self._names():
            header = json.dumps({"client": name, "tabs": rows}).encode()
            heads.append(len(header).to_bytes(4, "little") + header)
        return Prepared("/v2/events", heads, payload.tobytes())

    def _structured(self) -> Prepared:
        """Types that take no columns travel in the header, which names the client, too: so each head is all of it."""
        chance, now, value = random.Random(1), time.time(), VALUES[self.values]
        rows = [
            [
                f"bench_tab_{tab:06d}",
                self.type,
                [[each, value(chance)] for each in sorted(round(now - chance.random(), 3) for _ in range(self.events))],
            ]
            for tab in range(self.tabs)
        ]
        text = json.dumps(rows)
        headers = [f'{{"client": "{name}", "structured": {text}}}'.encode() for name in self._names()]
        return Prepared("/v2/events", [len(each).to_bytes(4, "little") + each for each in headers], b"")
