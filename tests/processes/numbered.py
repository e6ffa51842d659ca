"""A sender of numbered batches that keeps account of every event it sent, and repeats until it is answered.

REAL: sockets and threads.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
import zlib
from collections import Counter

from tests.processes.asking import Event, body

COUNTER, PERCENTILE = "CounterGroup", "PercentileGroup"
AGAIN_SECONDS = 0.05
"""How long after a failure a batch is sent again."""
REQUEST_SECONDS = 10.0
HANGS_UP = 0.15
"""The part of requests whose sender does not wait for the answer, and repeats them."""
LONGEST_WAIT = 0.2
"""Seconds after which it hangs up, at most; an agent answers within half of that."""


class NumberedSender(threading.Thread):
    """One client of an agent. It follows protocol 1: one batch in flight, the same bytes under the same number until
    they are answered. `events` and `totals`, by tab, are what was sent in batches that are answered; all values are
    whole numbers, so that totals are exact.
    """

    def __init__(self, client: str, port: int, chance: random.Random) -> None:
        super().__init__(name=client, daemon=True)
        self.client = client
        self.events: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        self.batches = 0
        self.repeats = 0
        """Requests that were not answered, or with 5xx."""
        self.broken: str | None = None
        """What no sender that keeps to the protocol may be told; None when all is well."""
        self._port = port
        self._chance = chance
        self._stopping = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self._deadline = float("inf")

    def finish(self, within: float) -> None:
        """Get the batch in flight answered, and end; AssertionError when that takes too long or something broke."""
        self._deadline = time.monotonic() + within
        self._stopping.set()
        self.join(within + REQUEST_SECONDS)
        assert not self.is_alive(), f"{self.client} still waits for an answer"
        assert self.broken is None, f"{self.client}: {self.broken}"

    def run(self) -> None:
        """The life of the sender."""
        instance = self._until_answered("/post", b"", "0").get("taba-instance", "")
        number = 0
        while instance and not self._stopping.is_set():
            number += 1
            self._send_batch(f"{instance}/{number}")
            self._stopping.wait(self._chance.random() * 0.1)

    def _send_batch(self, number: str) -> None:
        events: dict[str, list[Event]] = {}
        for tab, type in ((f"once_{self._chance.randrange(5)}", COUNTER), ("once_percentile", PERCENTILE)):
            values = [self._chance.randrange(1000) for _ in range(self._chance.randrange(1, 40))]
            events[tab] = [(type, time.time(), value) for value in values]
        content, zipped = body(self.client, events), self._chance.random() < 0.5
        if zipped:
            content = zlib.compress(content)
        if self._until_answered("/post_zip" if zipped else "/post", content, number):
            self.batches += 1
            for tab, sent in events.items():
                self.events[tab] += len(sent)
                self.totals[tab] += sum(int(str(value)) for _, _, value in sent)

    def _until_answered(self, path: str, content: bytes, number: str) -> dict[str, str]:
        """The headers of the 200 that a request gets in the end; nothing when it gets something else."""
        while self.broken is None:
            try:
                status, headers, text = self._request(path, content, number)
            except (OSError, http.client.HTTPException):
                status, headers, text = 0, {}, ""
                self._hang_up()
            if status == 200:
                if "taba-rejected" in headers:
                    self.broken = f"events were refused: {text}"
                return headers
            if status and status < 500:
                self.broken = f"batch {number} got {status}: {text}"
            if time.monotonic() > self._deadline:
                self.broken = f"batch {number} is not answered"
            self.repeats += 1
            time.sleep(AGAIN_SECONDS)
        return {}

    def _request(self, path: str, content: bytes, number: str) -> tuple[int, dict[str, str], str]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=REQUEST_SECONDS)
        self._connection.request("POST", path, content, {"Taba-Batch": number})
        if self._chance.random() < HANGS_UP:
            time.sleep(self._chance.random() * LONGEST_WAIT)
            raise ConnectionAbortedError("the sender hung up")
        answer = self._connection.getresponse()
        text = answer.read().decode()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
