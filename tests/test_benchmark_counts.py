"""What a benchmark counts at the end is compared with what it sent: a stage that loses one event, or has one twice,
fails.

REAL: sockets, and processes that send. What is sent to counts as an agent or a server does, and is told to err.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.benchmarks import client, fleet, folding_be, forward, intake, intake_statsd, queries, redis, statsd, whole
from tests.benchmarks.counting import Miscounted, Tally, check
from tests.benchmarks.processes import Serving
from tests.benchmarks.workloads import Workload

SMALL = Workload(tabs=2, events=3)
SMALL_COLUMNS = Workload("columns", tabs=2, events=3)
ERRORS = (-1, 1)
"""An event that is lost, and one that is there twice."""


class _Answering(BaseHTTPRequestHandler):
    """An agent and a server in one, of which `server.counted` is what they count."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Events."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Erring)
        self.server.count(client.events_of(body) if self.path == "/v2/events" else body.count(b'["'))
        self._answer(b"")

    def do_GET(self) -> None:
        """What was counted, in each of the forms that benchmarks ask for."""
        assert isinstance(self.server, Erring)
        counted = self.server.counted
        facts: dict[str, Any] = {"ledger": {"pending": counted}, "folded": counted, "pct": {"count": counted}}
        self._answer(json.dumps(facts).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


class Erring(ThreadingHTTPServer):
    """Counts what it gets, and errs by some events in the second half."""

    def __init__(self, error: int, after: int) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.counted = 0
        self._error, self._after = error, after
        self._lock = threading.Lock()

    def count(self, events: int) -> None:
        """So many more."""
        with self._lock:
            self.counted += events
            if self.counted > self._after:
                self.counted += self._error
                self._error = 0


class _Lines(socketserver.StreamRequestHandler):
    """Lines of StatsD."""

    counts: Erring

    def handle(self) -> None:
        """A connection, whose lines are counted at once when it ends."""
        self.counts.count(self.rfile.read().count(b"\n"))


def _serve(error: int, after: int, told: Connection) -> None:
    erring = Erring(error, after)
    lines = socketserver.ThreadingTCPServer(("127.0.0.1", 0), type("Lines", (_Lines,), {"counts": erring}))
    threading.Thread(target=lines.serve_forever, daemon=True).start()
    told.send((erring.server_address[1], lines.server_address[1]))
    erring.serve_forever()


@contextmanager
def erring(error: int, after: int) -> Iterator[tuple[Serving, int]]:
    """A process that counts, and errs by so many events after so many; and its port of StatsD. The processor time of
    the test stands for that of what is measured.
    """
    context = multiprocessing.get_context("fork")
    receiving, telling = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(error, after, telling), daemon=True)
    process.start()
    try:
        port, lines = receiving.recv()
        yield Serving(os.getpid(), port, port, Path()), lines
    finally:
        process.kill()
        process.join()


class IntakeTests(SynchronousTestCase):
    """Stages that send to an agent."""

    def _fails(self, workload: Workload) -> None:
        case = intake.Case(workload, 2)
        with erring(0, 0) as (agent, _):
            run = intake.measure(agent, workload.prepare(), case, 6)
            self.assertEqual(run.events, 6 * workload.per_request)
        for error in ERRORS:
            with erring(error, 5 * workload.per_request) as (agent, _):
                failure = self.assertRaises(Miscounted, intake.measure, agent, workload.prepare(), case, 6)
            self.assertEqual(failure.counted - failure.sent, error)

    def test_protocol_1(self) -> None:
        """An event of protocol 1 that the ledger lacks, or has twice, ends the benchmark."""
        self._fails(SMALL)

    def test_columns(self) -> None:
        """The same in columns, and with what travels in their header."""
        self._fails(SMALL_COLUMNS)
        self._fails(Workload("columns", tabs=2, events=3, type="Gauge"))

    def test_statsd(self) -> None:
        """The same of StatsD."""
        case = intake_statsd.Case("tcp", "counters", 5, 2, patience=60.0)
        with erring(0, 0) as (agent, port):
            self.assertEqual(intake_statsd.measure(agent, port, case, 30).events, 30)
        with erring(1, 25) as (agent, port):
            failure = self.assertRaises(Miscounted, intake_statsd.measure, agent, port, case, 30)
        self.assertEqual((failure.counted, failure.sent), (41, 40))
        with erring(-1, 25) as (agent, port):
            self.assertRaises(Miscounted, intake_statsd.measure, agent, port, evolve(case, patience=1.0), 30)

    def test_statsd_in_one_process(self) -> None:
        """The whole agent in one process, too, has to have as many as were sent."""
        data = b"a.b:1|c\n" * 10
        self.assertGreaterEqual(statsd.Rig().measure(data, 10, 0.01).events, 10)
        self.assertRaises(Miscounted, statsd.Rig().measure, data, 11, 0.01)

    def test_forward(self) -> None:
        """What is sent on to a server has to be there, once."""
        case = forward.Case("embedded", SMALL, 2, patience=60.0)
        with erring(0, 0) as (both, _):
            agent, server = forward.measure(both, both, case, 6, partial(forward.folded, both))
            self.assertEqual((agent.events, server.events), (36, 36))
        for error, patience in ((1, 60.0), (-1, 1.0)):
            case = evolve(case, patience=patience)
            with erring(error, 50) as (both, _):
                self.assertRaises(Miscounted, forward.measure, both, both, case, 6, partial(forward.folded, both))


class ClientTests(SynchronousTestCase):
    """The stages of a client."""

    def test_flush(self) -> None:
        """What takes a client's flushes counts them by itself."""
        shape = client.Shape(2, 3)
        self.assertEqual(client.sending(shape, client.Taking()).events, client.FLUSHES * 6)
        losing = client.Taking()
        losing.events = -1
        failure = self.assertRaises(Miscounted, client.sending, shape, losing)
        self.assertEqual(failure.sent - failure.counted, 1)

    def test_call(self) -> None:
        """Every call has to be counted by what is called."""
        calls: list[int] = []
        names: dict[str, object] = {"call": lambda: calls.append(1)}
        run = client.call("calls", "call()", names, lambda: len(calls))
        self.assertEqual(run.events, client.CALLS)
        self.assertRaises(Miscounted, client.call, "calls", "pass", names, lambda: len(calls) - 1)


class _Rows:
    """Stands in for a Redis: what each of its keys holds."""

    def __init__(self, rows: Mapping[str, Any]) -> None:
        self._rows = rows

    def ask(self, command: str, key: str, *fields: str) -> Any:
        """The reply to a command."""
        return self._rows.get(key, [] if command == "HVALS" else None)


class ServerTests(SynchronousTestCase):
    """The stages of fe, be and queries."""

    def test_appended(self) -> None:
        """fe's count is that of all lanes of all vbuckets."""
        found = _Rows({"D:0": [b"3:77:10:1.5", b"1:78:4:1.5"], "D:127": [b"1:79:1:2.5"]})
        self.assertEqual(forward.appended(found), 15)  # type: ignore[arg-type]

    def test_be(self) -> None:
        """The store's ledger after all rounds has to be what they gave: here 4 rounds of 2 x 3 x 5 Partials of 2."""
        shape = folding_be.Shape(tabs=2, clients=3, times=5, events=2, rounds=2)
        folding_be.count_of(shape, {"folded": 240})
        for folded in (239, 241):
            self.assertRaises(Miscounted, folding_be.count_of, shape, {"folded": folded})

    def test_be_from_redis(self) -> None:
        """The ledgers of all vbuckets have to add up."""
        rows = _Rows({"C:3": b'{"folded": 7}', "C:100": b'{"folded": 2, "unknown": 1}'})
        redis.count_of(rows, 9)  # type: ignore[arg-type]
        for sent in (8, 10):
            self.assertRaises(Miscounted, redis.count_of, rows, sent)

    def test_visible(self) -> None:
        """Queries are measured when everything is visible, and nothing twice."""
        with erring(0, 0) as (server, _):
            queries.settled(server, 0, 0.1)
            for events in ERRORS:
                self.assertRaises(Miscounted, queries.settled, server, events, 0.1)

    def test_answers(self) -> None:
        """An answer that lacks a tab, or an event of one, fails."""
        line = 'bench_tab_{:06d}: {{"1m": {{"count": {}, "total": 1.0}}}}\n'
        queries.check_tabs(line.format(1, 3) + line.format(2, 3), 2, 3)
        for text in (line.format(1, 3), line.format(1, 3) + line.format(2, 2)):
            self.assertRaises(Miscounted, queries.check_tabs, text, 2, 3)

    def test_whole_clusters(self) -> None:
        """A query for all tabs in the end has to show count, and total, of what was sent."""
        fleet.count_of((6, 6.0), 6)
        self.assertRaises(Miscounted, fleet.count_of, (5, 6.0), 6)
        self.assertRaises(Miscounted, fleet.count_of, (6, 5.0), 6)
        whole.count_of({"pct": {"count": 6}}, 6)
        self.assertRaises(Miscounted, whole.count_of, {"pct": {"count": 7}}, 6)

    def test_long_answers(self) -> None:
        """What a long answer shows is counted wherever the pieces end in which it is read."""
        text = b"(bench_tab_1, a): 1\n(bench_tab_2, a): bench_tab\nbench_tab_"
        for size in range(1, len(text) + 1):
            tally = Tally(b"bench_tab_")
            for start in range(0, len(text), size):
                tally.add(text[start : start + size])
            self.assertEqual(tally.count, 3, size)

    def test_words(self) -> None:
        """What is missing is said."""
        failure = self.assertRaises(Miscounted, check, "intake", 59_999, 60_000)
        self.assertEqual(str(failure), "intake: 59,999 events are counted, 60,000 were sent")
