"""Values over HTTP, on simulated machines: what clients see."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from taba.tako.records import MAX_VALUE, PIECE
from tests.tako.case import LARGE, ClusterCase
from tests.tako.simulated import HTTP, PROXY


class Reader(Protocol):
    """Counts what it gets."""

    size = 0
    ended = False

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self.size += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `Protocol`."""
        self.ended = True


class HTTPTests(ClusterCase):
    """Values over HTTP."""

    def test_a_value_goes_in_and_comes_out(self) -> None:
        """POST, GET and stat, through a proxy and through any node; keys have slashes."""
        status, text, headers = self.ask(b"POST", "/values/users/x", b"a=1&b=2", headers={
            "Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
        self.assertEqual((status, headers["x-tako-nodes"]), (200, "3/4"))
        self.assertEqual(text, b"Stored on 3 of 4 nodes.\n")
        for host, port in (("p1", PROXY), ("p2", PROXY), ("n1", HTTP), ("n4", HTTP)):
            status, body, got = self.ask(b"GET", "/values/users/x", host=host, port=port)
            self.assertEqual((status, body, got["x-timestamp"]), (200, b"a=1&b=2", headers["x-timestamp"]))
        status, body, _ = self.ask(b"GET", "/stat/users/x")
        self.assertEqual((status, body.decode()), (200, headers["x-timestamp"]))
        self.assertEqual(self.ask(b"GET", "/values/users%2Fx")[1], b"a=1&b=2")

    def test_unknown_and_deleted(self) -> None:
        """404 for a key that nobody wrote, and for one that was deleted."""
        self.assertEqual(self.ask(b"GET", "/values/x")[0], 404)
        self.assertEqual(self.ask(b"GET", "/stat/x")[0], 404)
        self.ask(b"POST", "/values/x", b"1")
        self.assertEqual(self.ask(b"DELETE", "/values/x")[0], 200)
        status, text, headers = self.ask(b"GET", "/values/x")
        self.assertEqual((status, text), (404, b"No such key: it was deleted.\n"))
        self.assertIn("x-timestamp", headers)
        self.ask(b"POST", "/values/x", b"2")
        self.assertEqual(self.ask(b"GET", "/values/x")[1], b"2")

    def test_timestamps_of_clients(self) -> None:
        """A POST may carry its own; an older one loses quietly, a bad one is 400, as is one far ahead."""
        stamp = int(self.tako.world.nodes["p1"].wall() * 1e6)
        own = {"X-Timestamp": str(stamp)}
        self.assertEqual(self.ask(b"POST", "/values/k", b"1", headers=own)[2]["x-timestamp"], str(stamp))
        older = {"X-Timestamp": str(stamp - 5)}
        self.assertEqual(self.ask(b"POST", "/values/k", b"0", headers=older)[0], 200)
        self.assertEqual(self.ask(b"GET", "/values/k")[1], b"1")
        for wrong in ("soon", "-1", "1.5", str(stamp + 100_000_000)):
            status, text, _ = self.ask(b"POST", "/values/k", b"2", headers={"X-Timestamp": wrong})
            self.assertEqual((status, b"timestamp" in text), (400, True))
        self.assertEqual(self.ask(b"GET", "/values/k")[1], b"1")

    def test_large_values(self) -> None:
        """A value of several pieces, an empty one, and one byte around the size of a piece."""
        for value in (LARGE, b"", bytes(PIECE - 1), bytes(PIECE), bytes(PIECE + 1)):
            self.assertEqual(self.ask(b"POST", "/values/large", value)[0], 200)
            status, body, _ = self.ask(b"GET", "/values/large")
            self.assertEqual((status, len(body), body == value), (200, len(value), True))
        self.ask(b"POST", "/values/large", LARGE)
        self.tako.nodes["n1"].crash()
        self.assertEqual(self.ask(b"GET", "/values/large")[1], LARGE)

    def test_bad_requests(self) -> None:
        """A key of 10 kB, none at all, a level that is none, another method, a value over the limit."""
        self.assertEqual(self.ask(b"GET", f"/values/{'k' * 10_240}")[0], 414)
        self.assertEqual(self.ask(b"GET", "/values/")[0], 404)
        self.assertEqual(self.ask(b"GET", "/values/k?level=some")[0], 400)
        self.assertEqual(self.ask(b"PATCH", "/values/k")[0], 405)
        self.assertEqual(self.ask(b"POST", "/stat/k", b"")[0], 405)
        self.assertEqual(self.ask(b"POST", "/values/k", bytes(MAX_VALUE + 1))[0], 413)
        self.assertEqual(self.ask(b"GET", "/values/k")[0], 404)
        self.assertEqual(self.ask(b"GET", "/nothing")[0], 404)

    def test_a_value_that_is_cut_short(self) -> None:
        """Who goes away in the middle of a value has stored nothing, small or large."""
        for sent in (b"half", bytes(3 * PIECE)):
            transport = self._connect()
            transport.write(b"POST /values/cut HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (len(sent) + 9))
            transport.write(sent)
            self.tako.world.advance(1.0)
            transport.abortConnection()
            self.tako.world.advance(5.0)
            self.assertEqual(self.ask(b"GET", "/values/cut")[0], 404)
        counts = [self.count(name, "pieces") for name in self.tako.nodes]
        self.assertEqual(counts, [0] * 4)

    def _connect(self) -> Any:
        return self._reader().transport

    def _reader(self) -> Any:
        connected = HostnameEndpoint(self.client.reactor, "p1", PROXY).connect(Factory.forProtocol(Reader))
        return self.tako.world.result_of(connected)

    def test_a_sender_that_is_faster_than_the_nodes(self) -> None:
        """A value of 4 MB is taken as fast as nodes store it, and comes back."""
        self.assertEqual(self.ask(b"POST", "/values/large", 4 * LARGE)[0], 200)
        self.assertEqual(self.ask(b"GET", "/values/large")[1], 4 * LARGE)

    def _slow_reader(self) -> Any:
        """A client that asked for a value of 4 MB, has its begin, and reads no more for now."""
        self.ask(b"POST", "/values/large", 4 * LARGE)
        reader = self._reader()
        reader.transport.write(b"GET /values/large HTTP/1.1\r\nHost: x\r\n\r\n")
        self.tako.world.run_until(lambda: reader.size > 1_000, 10.0)
        reader.transport.pauseProducing()
        self.tako.world.advance(2.0)
        return reader

    def test_a_reader_that_goes_away(self) -> None:
        """Nothing more is fetched for a client that has gone, and nobody else notices."""
        reader = self._slow_reader()
        self.assertLess(reader.size, 4 * len(LARGE))
        reader.transport.abortConnection()
        self.tako.world.advance(5.0)
        self.assertEqual(self.ask(b"GET", "/stat/large")[0], 200)

    def test_a_value_that_is_replaced_while_it_is_read(self) -> None:
        """A slow reader gets the begin of the old value, and then the end of the connection; never a mixture."""
        reader = self._slow_reader()
        self.ask(b"POST", "/values/large", b"new")
        reader.transport.resumeProducing()
        self.tako.world.run_until(lambda: reader.ended, 30.0)
        self.assertLess(reader.size, 4 * len(LARGE))
        self.assertEqual(self.ask(b"GET", "/values/large")[1], b"new")

    def count(self, node: str, table: str) -> int:
        """The rows of a node's table."""
        database = self.tako.world.nodes[node].disk.folder("var").database("tako.db")
        (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
        database.close()
        return int(count)

    def test_what_it_tells_of_itself(self) -> None:
        """/healthz, /status, /metrics, /ring and /configuration, on proxies, nodes and the coordinator."""
        self.ask(b"POST", "/values/k", b"1")
        for host, port in (("p1", PROXY), ("n1", HTTP), ("c1", 4710)):
            self.assertEqual(self.ask(b"GET", "/healthz", host=host, port=port)[1], b"ok\n")
            self.assertIn(f"id: {host}".encode(), self.ask(b"GET", "/status", host=host, port=port)[1])
            self.assertIn(b"tako_configuration_version ", self.ask(b"GET", "/metrics", host=host, port=port)[1])
            self.assertIn(b'"active_deployment": "main"', self.ask(b"GET", "/configuration", host=host, port=port)[1])
        self.assertIn(b"b1 ", self.ask(b"GET", "/ring")[1])
        self.assertIn(b"tako_keys 1", self.ask(b"GET", "/metrics", host="n1", port=HTTP)[1])
        self.assertEqual(self.ask(b"POST", "/heal", b"", "n1", HTTP)[0], 200)
