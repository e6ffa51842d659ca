"""An agent in a test's own process, which keeps the events that clients send: for tests of applications.

    with FakeAgent() as agent:
        client.initialize("my_application", agent.url, flush_period=0.05)
        check_out(cart)
        agent.wait_for_events(1)
        assert agent.values("checkouts") == [1]
        client.stop()

It listens on a real socket of the loopback interface, in threads of its own, so that any client of protocol 1 or 2 can
be tested in any framework, and needs the standard library only. It answers as a real agent does (a test of Taba asks
both the same), keeps what it counted in memory, and can be told to misbehave: `refuse`, `be_full`, `hang_up`,
`be_slow`, and `stop` and `start` for a crash and a return.

It does not simulate commits (what is answered is counted at once), servers, limits of memory, tokens and TLS,
INSTANCE_DAYS, other paths than /post, /post_zip and /v2/events, or bodies in chunks, which it answers 411. Of a Type
that is not one of Taba's own it has to be told.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from taba.testing import fake_columns
from taba.testing.fake_columns import Counts, Frame, FrameRefused, FrameTooLarge, read_frame
from taba.testing.fake_port import MAX_BODY_BYTES, FakeAnswer, FakePort, text, too_large
from taba.testing.fake_reading import (
    MAX_SAMPLES,
    REASONS,
    BodyRefused,
    HeaderRefused,
    Place,
    Reading,
    RecordedEvent,
    read_batch,
    read_body,
    read_unsent,
)

COLUMNS = "/v2/events"
MAX_CLOCK_SKEW = 60.0  # seconds that an event may be ahead of the clock
PATIENCE = 10.0  # seconds that a test waits for events, unless it says otherwise


_FULL = "The spool is full (SPOOL_MAX_BYTES, or the disk): the servers take less than comes in, or are away.\n"


class _Fault(NamedTuple):
    """How requests go wrong."""

    answer: FakeAnswer | None = None
    """Given without taking anything."""
    silent: bool = False
    """The connection is closed instead of an answer."""
    takes: bool = True
    delay: float | None = 0.0
    """Seconds until the answer; None: until `behave`."""


class FakeAgent:
    """An agent double. All methods may be called from any thread.

    What it counted stays over `stop` and `start`, as on a real agent's disk; `lose_disk` and `clear` forget it.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        *,
        types: Iterable[str] = (),
        wall: Callable[[], float] = time.time,
        columns: bool = True,
    ) -> None:
        """`types` are your own Types, beside Taba's; `wall` gives the time in seconds since 1970, by which events from
        the future are refused. Without `columns` it is an agent of before protocol 2.
        """
        self._host = host
        self._types = tuple(types)
        self._wall = wall
        self._paths = ("/post", "/post_zip", COLUMNS) if columns else ("/post", "/post_zip")
        self._changed = threading.Condition()
        self._server: FakePort | None = None
        self._thread: threading.Thread | None = None
        self._port = 0
        self._events: list[RecordedEvent] = []
        self._refused: list[str] = []
        self._unsent: Counts = {}
        self._requests = 0
        self._names = itertools.count(1)
        self._numbers: dict[str, int] = {}
        self._fault: _Fault | None = None
        self._times: int | None = None
        self._released = threading.Event()

    # -- its life --------------------------------------------------------------------------------------------------

    def start(self) -> FakeAgent:
        """Listen, on the port that it had before if it was started before. Returns itself. OSError when that cannot be.
        """
        if self._server is None:
            self._server = FakePort((self._host, self._port), self.answer)
            self._port = self._server.server_address[1]
            self._thread = threading.Thread(
                target=self._server.serve_forever, args=(0.01,), name="taba-fake-agent", daemon=True
            )
            self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening, and cut every connection, as a crash does. What was counted stays."""
        server, self._server = self._server, None
        if server is not None:
            self.behave()
            server.shutdown()
            server.server_close()
            server.cut()
            if self._thread is not None:
                self._thread.join()

    def __enter__(self) -> FakeAgent:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where clients post to. It stays the same over `stop` and `start`; ValueError before the first `start`."""
        if not self._port:
            raise ValueError("the agent has no address before it is started")
        return f"http://{self._host}:{self._port}/post"

    # -- what came -------------------------------------------------------------------------------------------------

    @property
    def events(self) -> list[RecordedEvent]:
        """All events that were counted, in the order in which they came. (Of one batch: tab by tab.)"""
        with self._changed:
            return self._events.copy()

    def values(self, tab: str, client: str | None = None) -> list[Any]:
        """The values of the events of one tab, of one client or of all."""
        return [event.value for event in self.events if event.tab == tab and client in (None, event.client)]

    @property
    def refused(self) -> list[str]:
        """The reason of each single event that was refused, such as "value": a test may want this to be empty."""
        with self._changed:
            return self._refused.copy()

    @property
    def unsent(self) -> dict[str, int]:
        """Reason -> how many events clients said they had dropped."""
        return {reason: sum(tabs.values()) for reason, tabs in self.unsent_by_tab.items()}

    @property
    def unsent_by_tab(self) -> dict[str, dict[str, int]]:
        """Reason -> tab -> how many events; what a client told without tabs, in protocol 1, stands under ""."""
        with self._changed:
            return {reason: tabs.copy() for reason, tabs in self._unsent.items()}

    @property
    def requests(self) -> int:
        """How many requests came, also those that went wrong."""
        with self._changed:
            return self._requests

    def wait_for(self, condition: Callable[[], Any], timeout: float = PATIENCE) -> None:
        """Wait until `condition()` is true, looked at after every request. AssertionError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise AssertionError(
                    f"waited {timeout} s in vain; {self._requests} requests came, {len(self._events)} events counted"
                )

    def wait_for_events(self, count: int, timeout: float = PATIENCE) -> list[RecordedEvent]:
        """Wait until `count` events are counted, and give them all. AssertionError after `timeout` seconds."""
        self.wait_for(lambda: len(self._events) >= count, timeout)
        return self.events

    def clear(self) -> None:
        """Forget the events counted so far; the numbers of clients' batches are kept."""
        with self._changed:
            self._events.clear()
            self._refused.clear()
            self._unsent.clear()

    def lose_disk(self) -> None:
        """Know no instance any more: clients are told 409, open new ones, and count what was in flight as `unknown`.
        """
        with self._changed:
            self._numbers.clear()

    # -- misbehaving -----------------------------------------------------------------------------------------------

    def refuse(self, status: int = 400, reason: str = "Refused by the test.", times: int | None = None) -> None:
        """Answer the next `times` requests, or all until `behave`, with `status`, and take nothing of them."""
        self._misbehave(_Fault(text(status, f"{reason}\n"), takes=False), times)

    def be_full(self, times: int | None = None, retry_after: int = 1) -> None:
        """Answer 503 with Retry-After, as an agent does whose memory or disk is full."""
        headers = {"Retry-After": str(retry_after), "Connection": "close"}
        self._misbehave(_Fault(text(503, _FULL, headers), takes=False), times)

    def hang_up(self, times: int | None = None, *, takes: bool = True) -> None:
        """Close the connection without an answer; before that the events are counted if `takes`."""
        self._misbehave(_Fault(silent=True, takes=takes), times)

    def be_slow(self, seconds: float | None = None, times: int | None = None) -> None:
        """Take requests, and answer them after `seconds`, or with None not before `behave` or `stop`."""
        self._misbehave(_Fault(delay=seconds), times)

    def behave(self) -> None:
        """End what one of these began. Answers that were held back are given."""
        self._misbehave(None, None)

    def _misbehave(self, fault: _Fault | None, times: int | None) -> None:
        with self._changed:
            self._fault, self._times = fault, times
            self._released.set()
            self._released = threading.Event()

    def _next_fault(self) -> _Fault:
        """That of the request that is at hand."""
        fault = self._fault
        if fault is None or self._times == 0:
            return _Fault()
        if self._times is not None:
            self._times -= 1
        return fault

    # -- answers ---------------------------------------------------------------------------------------------------

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> FakeAnswer | None:
        """Take a POST and answer it, as over the socket; None where the connection is to be closed without an answer.

        `headers` have names in lower case.
        """
        with self._changed:
            self._requests += 1
            fault = self._next_fault()
            released = self._released
            taken = self._take(path, headers, body) if fault.takes else None
            self._changed.notify_all()
        if fault.delay != 0.0:
            released.wait(fault.delay)
        return None if fault.silent else fault.answer or taken

    def _take(self, path: str, headers: Mapping[str, str], body: bytes) -> FakeAnswer:
        if path not in self._paths:
            return text(404, f"There is no {path} here; there are {', '.join(self._paths)}.\n")
        if len(body) > MAX_BODY_BYTES:
            return too_large()
        try:
            return self._take_columns(headers, body) if path == COLUMNS else self._take_text(path, headers, body)
        except HeaderRefused as problem:
            return text(400, f"{problem}\n")
        except BodyRefused as problem:
            return text(400, f"Protocol 1: {problem}. Nothing of this body was counted.\n")
        except FrameTooLarge as problem:
            return text(413, f"The body is over a limit: {problem}. Nothing of it was counted.\n")
        except FrameRefused as problem:
            return text(400, f"Protocol 2: {problem}. Nothing of this body was counted.\n")
        except zlib.error as problem:
            return text(400, f"The body is not a whole zlib stream: {problem}. Nothing of it was counted.\n")

    def _take_text(self, path: str, headers: Mapping[str, str], body: bytes) -> FakeAnswer:
        batch = read_batch(headers.get("taba-batch"))
        unsent = {reason: {"": events} for reason, events in read_unsent(headers.get("taba-unsent")).items()}
        whole = _inflate(body) if path == "/post_zip" and body else body
        if whole is None:
            return too_large()
        reading = self._read(whole) if body else Reading([], [])
        if not body and batch is None:
            return text(400, "Protocol 1: line 1: the body is empty; its first line must be 1.\n")
        return self._apply(Frame(batch, unsent, reading))

    def _take_columns(self, headers: Mapping[str, str], body: bytes) -> FakeAnswer:
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "deflate"):
            return text(415, "Content-Encoding must be identity or deflate.\n")
        whole = _inflate(body) if encoding == "deflate" else body
        if whole is None:
            return too_large()
        if "taba-batch" in headers or "taba-unsent" in headers:
            raise FrameRefused("number and unsent stand in the header of the frame")
        return self._apply(read_frame(whole, self._wall() + MAX_CLOCK_SKEW, self._types), fake_columns.REASONS)

    def _read(self, body: bytes) -> Reading:
        return read_body(body, self._wall() + MAX_CLOCK_SKEW, self._types)

    def _apply(self, said: Frame, reasons: Mapping[str, str] = REASONS) -> FakeAnswer:
        """Count a request's events, unless its number says that they are."""
        instance, number = said.batch or (None, 0)
        reading = said.reading
        if said.batch is not None and instance is None:
            return self._open_instance(said)
        headers = {}
        if instance is not None and instance not in self._numbers:
            return text(409, "This agent does not know the instance; open a new one with batch 0.\n")
        if instance is not None and number <= self._numbers[instance]:
            headers["Taba-Duplicate"] = "1"
        else:
            if instance is not None:
                self._numbers[instance] = number
            self._count(reading, said.unsent)
        if not reading.refused:
            return text(200, "", headers)
        errors = [
            {**_place(place), "reason": f"{reason}: {reasons[reason]}"}
            for place, reason in reading.refused[:MAX_SAMPLES]
        ]
        headers |= {"Taba-Rejected": str(len(reading.refused)), "Content-Type": "application/json"}
        result = {"accepted": len(reading.events), "rejected": len(reading.refused), "errors": errors}
        return text(200, json.dumps(result), headers)

    def _open_instance(self, said: Frame) -> FakeAnswer:
        if said.reading.events:
            return text(400, "Batch 0 opens an instance and must not carry events.\n")
        instance = f"{next(self._names):032x}"
        self._numbers[instance] = 0
        return text(200, "", {"Taba-Instance": instance})

    def _count(self, reading: Reading, unsent: Counts) -> None:
        self._events += reading.events
        self._refused += (reason for _, reason in reading.refused)
        for reason, tabs in unsent.items():
            for tab in filter(tabs.get, tabs):
                counts = self._unsent.setdefault(reason, {})
                counts[tab] = counts.get(tab, 0) + tabs[tab]


class FakeAgentMixin:
    """For TestCases of unittest and of trial: `self.taba_agent` is a FakeAgent that runs during each test.

    Put it before the TestCase among the base classes; a `setUp` of your own calls `super().setUp()`.
    """

    taba_agent: FakeAgent

    def setUp(self) -> None:
        """Start the agent; it is stopped after the test."""
        case: Any = super()
        case.setUp()
        self.taba_agent = FakeAgent().start()
        add_cleanup: Callable[[Callable[[], None]], Any] = case.addCleanup
        add_cleanup(self.taba_agent.stop)


def _place(place: Place) -> dict[str, Any]:
    """Where an event stands, as an answer says it."""
    return {"line": place} if isinstance(place, int) else {"tab": place[0], "event": place[1]}


def _inflate(body: bytes) -> bytes | None:
    """The bytes of a zlib stream, or None for more than a body may have. zlib.error for what is none, or not whole."""
    inflator = zlib.decompressobj()
    whole = inflator.decompress(body, MAX_BODY_BYTES + 1)
    if len(whole) > max(1 << 20, 200 * len(body)) or len(whole) > MAX_BODY_BYTES:
        return None
    if inflator.unused_data:
        raise zlib.error("bytes after the end of the stream")
    if not inflator.eof:
        raise zlib.error("the stream is cut short")
    return whole
