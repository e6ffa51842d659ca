"""Events offered at a rate of their own, whatever the agent says, with an account of what it acknowledged; and a probe
of the time until an event is visible.

REAL: sockets, threads and real time.

A sender numbers its batches and keeps to the protocol: one in flight, the same bytes under the same number until they
are answered. What falls due meanwhile it drops, as a client whose buffer is full does.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence

from attrs import define, field

REQUEST_SECONDS = 30.0
AGAIN_SECONDS = 0.25
"""How long after a refusal a batch is sent again; Retry-After says a second, and a client of ours takes part of it."""
PROBE = "probe"
PROBE_SECONDS = 0.25
"""Between two events of the probe."""
LOOK_SECONDS = 0.03
STAMP = b"1111111111.111"
"""Stands in prepared bodies for the time of sending."""


def prepared(client: str, tabs: Sequence[str], events: int) -> bytes:
    """A body with so many events of value 1 in each tab, not stamped yet."""
    line = b'["CounterGroup",%b,"1"]\n' % STAMP
    return b"1\n\n%b\n\n%b\n" % (client.encode(), b"".join(b"%b\n%b\n" % (tab.encode(), line * events) for tab in tabs))


def stamped(body: bytes) -> bytes:
    """A prepared body as of now."""
    return body.replace(STAMP, b"%.3f" % time.time())


class Connection:
    """Requests to one port, repeated until they are answered."""

    def __init__(self, port: int, stopping: threading.Event) -> None:
        self.port = port
        self.stopping = stopping
        self.refused: dict[int, int] = {}
        """Status -> answers; 0 for none at all."""
        self._connection: http.client.HTTPConnection | None = None

    def once(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes, str]:
        """(status, text, Taba-Instance); the status is 0 when there was no answer."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_SECONDS)
                self._connection.connect()
                self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read(), answer.getheader("taba-instance") or ""
        except (OSError, http.client.HTTPException):
            self.close()
            return 0, b"", ""

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def post(self, number: str, body: bytes, deadline: Callable[[], float]) -> str | None:
        """Post until the answer is 200, whose Taba-Instance is answered; None after the deadline. RuntimeError for an
        answer that no sender that keeps to the protocol may get.
        """
        while True:
            status, text, instance = self.once("POST", "/post", body, {"Taba-Batch": number})
            if status == 200 and not text:
                return instance
            if status not in (0, 413, 503):
                raise RuntimeError(f"batch {number} got {status}: {text[:200]!r}")
            self.refused[status] = self.refused.get(status, 0) + 1
            if time.monotonic() > deadline():
                return None
            time.sleep(AGAIN_SECONDS)


@define(eq=False)
class Offering:
    """Senders, a thread each, that offer a body every `period` seconds each."""

    port: int
    bodies: Sequence[bytes]
    events: int
    """In a body."""
    period: float
    offered: int = 0
    """Events that fell due."""
    accepted: int = 0
    """Of them, those that were acknowledged."""
    refusals: dict[int, int] = field(factory=dict)
    broken: str | None = None
    _stopping: threading.Event = field(factory=threading.Event)
    _deadline: float = float("inf")
    _threads: list[threading.Thread] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)

    def start(self) -> None:
        """Begin."""
        self._threads = [threading.Thread(target=self._send, args=(n,), daemon=True) for n in range(len(self.bodies))]
        for each in self._threads:
            each.start()

    def finish(self, within: float) -> None:
        """Get the batches in flight answered, and end; RuntimeError when that takes too long or something broke."""
        self._deadline = time.monotonic() + within
        self._stopping.set()
        for each in self._threads:
            each.join(within + 2 * REQUEST_SECONDS)
        if self.broken is not None:
            raise RuntimeError(self.broken)

    def _send(self, which: int) -> None:
        connection = Connection(self.port, self._stopping)
        body, due = self.bodies[which], time.monotonic() + self.period * which / len(self.bodies)
        try:
            instance, number = connection.post("0", b"", lambda: self._deadline), 0
            while not self._stopping.wait(max(0.0, due - time.monotonic())):
                skipped = max(0, int((time.monotonic() - due) / self.period))
                due += self.period * (1 + skipped)
                number += 1
                if connection.post(f"{instance}/{number}", stamped(body), lambda: self._deadline) is None:
                    raise RuntimeError(f"a batch is not answered: {connection.refused}")
                with self._lock:
                    self.offered += self.events * (1 + skipped)
                    self.accepted += self.events
        except Exception as problem:
            self.broken = f"{type(problem).__name__}: {problem}"
        finally:
            connection.close()
            with self._lock:
                for status, count in connection.refused.items():
                    self.refusals[status] = self.refusals.get(status, 0) + count


@define(eq=False)
class Probe:
    """An event now and then, numbered, and when it was seen. The events of a time when nothing is taken go together
    later; each counts from when it fell due.
    """

    agent_port: int
    server_port: int
    seen: list[tuple[float, float]] = field(factory=list)
    """(due, seconds until visible), in order."""
    due: list[float] = field(factory=list)
    """Of all events so far."""
    broken: str | None = None
    _stopping: threading.Event = field(factory=threading.Event)
    _threads: list[threading.Thread] = field(factory=list)

    def start(self) -> None:
        """Begin."""
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._send, self._look)]
        for each in self._threads:
            each.start()

    def finish(self, within: float) -> None:
        """End once everything sent is visible; RuntimeError when that takes too long, or something broke."""
        self._stopping.set()
        for each in self._threads:
            each.join(within)
        if self.broken is not None or len(self.seen) != len(self.due):
            raise RuntimeError(self.broken or f"{len(self.seen)} of {len(self.due)} events of the probe are visible")

    def between(self, start: float, end: float) -> list[float]:
        """How long the events took that fell due in a time, sorted."""
        return sorted(took for due, took in list(self.seen) if start <= due < end)

    def _send(self) -> None:
        connection = Connection(self.agent_port, self._stopping)
        line = b'["CounterGroup",%b,"1"]\n' % STAMP
        try:
            instance, number, sent = connection.post("0", b"", lambda: float("inf")), 0, 0
            next_due = time.monotonic()
            while not self._stopping.wait(max(0.0, next_due - time.monotonic())):
                while next_due <= time.monotonic():
                    self.due.append(next_due)
                    next_due += PROBE_SECONDS
                number += 1
                events = len(self.due) - sent
                body = b"1\n\n%b\n\n%b\n%b\n\n" % (PROBE.encode(), PROBE.encode(), line * events)
                connection.post(f"{instance}/{number}", stamped(body), lambda: float("inf"))
                sent += events
        except Exception as problem:
            self.broken = f"{type(problem).__name__}: {problem}"
        finally:
            connection.close()

    def _look(self) -> None:
        connection = Connection(self.server_port, self._stopping)
        headers = {"Accept": "application/json"}
        try:
            while not self._stopping.is_set() or len(self.seen) < len(self.due):
                status, text, _ = connection.once("GET", f"/tabs?name={PROBE}", None, headers)
                now = time.monotonic()
                count = json.loads(text).get(PROBE, {"pct": {"count": 0}})["pct"]["count"] if status == 200 else 0
                while len(self.seen) < min(count, len(self.due)):
                    due = self.due[len(self.seen)]
                    self.seen.append((due, now - due))
                time.sleep(LOOK_SECONDS)
        except Exception as problem:
            self.broken = f"{type(problem).__name__}: {problem}"
        finally:
            connection.close()
