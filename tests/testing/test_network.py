"""The simulated network: its faults and its traces, and the transports, with plain protocols and without processes."""

from __future__ import annotations

from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
)

from tests.testing.talk import Fountain, NetworkTestCase


class StreamTests(NetworkTestCase):
    """Two ends talk."""

    def test_bytes_arrive_in_order(self) -> None:
        """What is written arrives, in order, in other pieces, both ways at once."""
        client, server = self.pair()
        there = bytes(range(256)) * 400
        back = there[::-1]
        for start in range(0, len(there), 1000):
            client.end.write(there[start : start + 1000])
            server.end.writeSequence([back[start : start + 500], back[start + 500 : start + 1000]])
        self.clock.advance(10)
        self.assertEqual((bytes(server.received), bytes(client.received)), (there, back))
        self.assertNotEqual(server.pieces, [1000] * len(server.pieces))

    def test_writes_take_time(self) -> None:
        """Nothing arrives in the turn in which it is written."""
        client, server = self.pair()
        client.end.write(b"x")
        self.clock.advance(0)
        self.assertEqual(server.received, b"")

    def test_write_takes_bytes_only(self) -> None:
        """Text is refused."""
        client, _server = self.pair()
        self.assertRaises(TypeError, client.end.write, "text")

    def test_close_flushes(self) -> None:
        """loseConnection sends what was written, however much, then both ends are told ConnectionDone."""
        client, server = self.pair()
        client.end.write(b"x" * 500_000)
        client.end.loseConnection()
        client.end.write(b"too late, but not yet closed")
        self.clock.advance(20)
        self.assertEqual(len(server.received), 500_000 + 28)
        self.assertEqual((client.reason, server.reason), (ConnectionDone, ConnectionDone))
        self.assertEqual(self.network.connections(), [])

    def test_abort_does_not(self) -> None:
        """abortConnection loses what waits; this end is told ConnectionAborted, the other ConnectionLost."""
        client, server = self.pair()
        client.end.write(b"x" * 500_000)
        client.end.abortConnection()
        self.assertIsNone(client.reason)
        self.clock.advance(20)
        self.assertLess(len(server.received), 500_000)
        self.assertEqual((client.reason, server.reason), (ConnectionAborted, ConnectionLost))

    def test_writing_to_a_closed_end(self) -> None:
        """After the end nothing is sent, and nothing is raised."""
        client, server = self.pair()
        transport = client.end
        transport.loseConnection()
        self.clock.advance(2)
        transport.write(b"x")
        transport.loseConnection()
        transport.abortConnection()
        self.clock.advance(2)
        self.assertEqual(server.received, b"")

    def test_closing_with_unread_bytes_resets(self) -> None:
        """An end that closes without having read all tells the other ConnectionLost, as TCP does."""
        client, server = self.pair()
        server.end.pauseProducing()
        client.end.write(b"unread")
        self.clock.advance(2)
        server.end.loseConnection()
        self.clock.advance(2)
        self.assertEqual((server.reason, client.reason), (ConnectionDone, ConnectionLost))

    def test_paused_reader_stops_the_writer(self) -> None:
        """A reader that pauses makes the writer's producer pause, and all arrives when it reads on."""
        client, server = self.pair()
        server.end.pauseProducing()
        fountain = Fountain(client.end, pieces_left=1000)
        client.end.registerProducer(fountain, True)
        fountain.resumeProducing()
        self.clock.advance(10)
        self.assertTrue(fountain.paused)
        self.assertLess(fountain.written, 200_000)
        self.assertEqual(server.received, b"")
        server.end.resumeProducing()
        self.clock.advance(60)
        self.assertEqual(len(server.received), 1_000_000)

    def test_close_waits_for_a_paused_producer(self) -> None:
        """A transport that is to close resumes a producer that it had paused, and closes when that has no more."""
        client, server = self.pair()
        fountain = Fountain(client.end, pieces_left=200)
        client.end.registerProducer(fountain, True)
        self.assertRaises(RuntimeError, client.end.registerProducer, fountain, True)
        fountain.resumeProducing()
        self.assertTrue(fountain.paused)
        client.end.loseConnection()
        self.clock.advance(60)
        self.assertEqual((len(server.received), client.reason), (200_000, ConnectionDone))

    def test_close_waits_for_a_pull_producer(self) -> None:
        """A transport that is to close stays open until its pull producer is unregistered."""
        client, _server = self.pair()
        client.end.registerProducer(Fountain(client.end, pieces_left=3), False)
        client.end.loseConnection()
        self.clock.advance(60)
        self.assertIsNone(client.reason)
        client.end.unregisterProducer()
        self.clock.advance(60)
        self.assertEqual(client.reason, ConnectionDone)

    def test_pull_producer_is_asked_again(self) -> None:
        """A producer that writes one piece when asked is asked whenever the buffer is empty."""
        client, server = self.pair()
        asked = []

        class Spoon(Fountain):
            def resumeProducing(self) -> None:
                asked.append(1)
                if len(asked) < 5:
                    self.transport.write(b"piece")

        client.end.registerProducer(Spoon(client.end, 0), False)
        self.clock.advance(5)
        self.assertEqual((len(asked), server.received), (5, b"piece" * 4))

    def test_lost_connection_stops_the_producer(self) -> None:
        """The producer of a lost connection is told."""
        client, server = self.pair()
        fountain = Fountain(client.end, pieces_left=10)
        client.end.registerProducer(fountain, True)
        server.end.abortConnection()
        self.clock.advance(5)
        self.assertTrue(fountain.stopped)

    def test_producer_that_comes_too_late(self) -> None:
        """A producer that is registered after the end is stopped at once."""
        client, _server = self.pair()
        end = client.end
        end.stopProducing()
        self.clock.advance(5)
        fountain = Fountain(end, pieces_left=10)
        end.registerProducer(fountain, True)
        self.assertTrue(fountain.stopped)

    def test_end_waits_behind_unread_bytes(self) -> None:
        """A paused end reads all before it learns that the other has closed."""
        client, server = self.pair()
        server.end.pauseProducing()
        client.end.write(b"last words")
        client.end.loseConnection()
        self.clock.advance(5)
        self.assertEqual((server.received, server.reason), (b"", None))
        server.end.resumeProducing()
        self.clock.advance(5)
        self.assertEqual((server.received, server.reason), (b"last words", ConnectionDone))

    def test_half_closing_is_not_simulated(self) -> None:
        """loseWriteConnection says that it is not there."""
        client, _server = self.pair()
        self.assertRaises(NotImplementedError, client.end.loseWriteConnection)

    def test_options_are_remembered(self) -> None:
        """TCP options can be set and read."""
        client, _server = self.pair()
        transport = client.end
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        self.assertTrue(transport.getTcpNoDelay() and transport.getTcpKeepAlive())


class FaultTests(NetworkTestCase):
    """The network fails."""

    def test_partition_stalls_until_healed(self) -> None:
        """Through a partition nothing arrives, and nobody is told; healed, all arrives in order."""
        client, server = self.pair()
        client.end.write(b"before ")
        self.clock.advance(0)
        self.network.partition("a", "b")
        client.end.write(b"during")
        server.end.write(b"answer")
        self.clock.advance(3600)
        self.assertEqual((server.received, client.received, client.reason, server.reason), (b"", b"", None, None))
        self.network.heal("b", "a")
        self.clock.advance(5)
        self.assertEqual((server.received, client.received), (b"before during", b"answer"))

    def test_connecting_through_a_partition(self) -> None:
        """A connection attempt times out, or succeeds when the network heals in time."""
        self.network.partition("a", "b")
        self.connect(timeout=5)
        self.clock.advance(6)
        self.assertEqual((self.clients.failed, self.servers.talkers), (TimeoutError, []))
        late = self.connect(timeout=30)
        self.clock.advance(10)
        self.network.heal()
        self.clock.advance(5)
        self.assertEqual((late.state, len(self.servers.talkers)), ("connected", 1))

    def test_partition_cuts_one_pair_only(self) -> None:
        """Other hosts, and the host itself, are reached as before."""
        self.network.add_host("c")
        self.network.partition("a", "b")
        for source in ("b", "c"):
            connector = self.connect(source=source)
            self.clock.advance(2)
            self.assertEqual(connector.state, "connected")
        self.assertEqual(self.network.cuts(), [("a", "b")])

    def test_abort_behind_a_partition_may_never_be_heard(self) -> None:
        """When an end gives up behind a partition, the other may learn of it after healing, or only when it sends."""
        learned = set()
        for seed in range(20):
            self.seed = seed
            self.setUp()
            client, server = self.pair()
            self.network.partition("a", "b")
            client.end.abortConnection()
            self.clock.advance(10)
            self.network.heal()
            self.clock.advance(10)
            learned.add(server.reason)
            server.end.write(b"anybody?")
            self.clock.advance(10)
            self.assertEqual(server.reason, ConnectionLost)
            self.assertEqual(self.network.connections(), [])
        self.assertEqual(learned, {None, ConnectionLost})

    def test_drop_resets_both_ends(self) -> None:
        """A dropped connection is lost for both ends, with all that was under way; a new one can be made."""
        client, server = self.pair()
        client.end.write(b"lost")
        self.clock.advance(0)
        self.assertEqual(self.network.drop_connection("a", "b"), 1)
        self.assertIsNone(client.reason)
        self.clock.advance(0)
        self.assertEqual((client.reason, server.reason, server.received), (ConnectionLost, ConnectionLost, b""))
        self.assertEqual(self.network.drop_connection("a", "b"), 0)
        self.assertIsNot(self.pair()[0], client)

    def test_drop_while_connecting(self) -> None:
        """An attempt that is dropped fails."""
        self.connect()
        self.network.drop_connection("b", "a")
        self.clock.advance(1)
        self.assertEqual(self.clients.failed, ConnectionRefusedError)

    def test_delay(self) -> None:
        """A delay makes everything between two hosts late, until it is taken back."""
        client, server = self.pair()
        self.network.delay("a", "b", 7.0)
        client.end.write(b"x")
        self.clock.advance(6.9)
        self.assertEqual(server.received, b"")
        self.clock.advance(1)
        self.assertEqual(server.received, b"x")
        self.network.delay("a", "b", 0)
        client.end.write(b"y")
        self.clock.advance(1)
        self.assertEqual(server.received, b"xy")

    def test_delay_keeps_order(self) -> None:
        """What is sent after a delay has ended does not overtake what was sent before."""
        client, server = self.pair()
        self.network.delay("a", "b", 7.0)
        client.end.write(b"x")
        self.clock.advance(0)
        self.network.delay("a", "b", 0)
        client.end.write(b"y")
        self.clock.advance(6)
        self.assertEqual(server.received, b"")
        self.clock.advance(3)
        self.assertEqual(server.received, b"xy")

    def test_unknown_hosts(self) -> None:
        """A fault for a host that does not exist is a mistake of the test."""
        self.assertRaises(ValueError, self.network.partition, "a", "x")
        self.assertRaises(ValueError, self.network.drop_connection, "x", "a")
        self.assertRaises(ValueError, self.network.delay, "a", "x", 1)

    def test_verbs_are_told(self) -> None:
        """Every fault is noted with its hosts; healing what is whole is none."""
        self.network.partition("a", "b")
        self.network.heal()
        self.network.heal("a", "b")
        self.network.drop_connection("a", "b")
        self.network.delay("a", "b", 1)
        self.assertEqual([verb for verb, _hosts in self.verbs], ["partition", "heal", "drop_connection", "delay"])
        self.assertEqual({hosts for _verb, hosts in self.verbs}, {("a", "b")})


class TraceTests(NetworkTestCase):
    """A run is compared with another."""

    def test_bytes_are_in_the_trace(self) -> None:
        """Streams that differ in one byte have different traces."""
        client, _server = self.pair()
        for data in (b"one", b"onf"):
            client.end.write(data)
        self.assertNotEqual(*[note for note in self.notes if note.startswith("write")])

    def test_date_of_an_answer_is_not(self) -> None:
        """The date in an HTTP answer is real time, and makes no difference."""
        for date in (b"Sat, 21 Nov 2026 13:45:44 GMT", b"Sun, 22 Nov 2026 13:45:45 GMT"):
            self.network.note_bytes("w", b"HTTP/1.1 200 OK\r\nDate: " + date + b"\r\nX: 1\r\n\r\nDate: " + b"x")
        self.assertEqual(self.notes[-1], self.notes[-2])
        self.network.note_bytes("w", b"HTTP/1.1 200 OK\r\nDate: " + date + b"\r\nX: 2\r\n\r\nDate: " + b"x")
        self.assertNotEqual(self.notes[-1], self.notes[-2])
