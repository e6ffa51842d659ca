"""The real twisted.web and the real treq on a simulated world: exchanges, and every fault in the middle of one."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseFailed

from taba.testing import World
from tests.testing.talk import EchoServer, WebClient

URL = "http://server:8080/post"


class WebTestCase(SynchronousTestCase):
    """A server and a client."""

    seed = 0
    delay = 0.0

    def setUp(self) -> None:
        self.open_world(self.seed)

    def open_world(self, seed: int) -> None:
        self.world = World(seed)
        self.addCleanup(self.world.close)
        self.network = self.world.network
        self.server = self.world.node("server")
        self.site = EchoServer(self.delay)
        self.server.start(self.site)
        self.client = WebClient(self.world.node("client").start())

    def post(self, body: bytes, timeout: float | None = None) -> Deferred[bytes]:
        return self.client.post(URL, body, timeout)

    def failure_of(self, deferred: Deferred[bytes], limit: float = 60.0) -> Failure:
        """Run until a request fails."""
        failures: list[Failure] = []
        deferred.addErrback(failures.append)
        self.world.run_until(lambda: failures, limit, "a request to fail")
        return failures[0]


class ExchangeTests(WebTestCase):
    """A client posts to a server, and nothing goes wrong."""

    def test_plain_exchange(self) -> None:
        """A body comes back."""
        self.assertEqual(self.world.result_of(self.post(b"hello")), b"hello")
        self.world.check_quiet()

    def test_large_bodies(self) -> None:
        """5 MB there and 5 MB back, whole."""
        body = bytes(range(256)) * 20_000
        self.assertEqual(self.world.result_of(self.post(body)), body)
        self.world.check_quiet()

    def test_connection_is_kept(self) -> None:
        """Requests one after the other use one connection; two at a time use two."""
        for _ in range(5):
            self.world.result_of(self.post(b"x"))
        self.assertEqual(len(self.network.connections("client", "server")), 1)
        first, second = self.post(b"1"), self.post(b"2")
        self.assertEqual((self.world.result_of(second), self.world.result_of(first)), (b"2", b"1"))
        self.assertEqual(len(self.network.connections("client", "server")), 2)

    def test_idle_connection_is_closed(self) -> None:
        """The pool closes what it has kept too long, on virtual time."""
        self.world.result_of(self.post(b"x"))
        self.world.advance(300)
        self.assertEqual(self.network.connections(), [])
        self.assertEqual(self.world.result_of(self.post(b"again")), b"again")

    def test_localhost(self) -> None:
        """A process reaches another service of its own host as localhost."""
        client = WebClient(self.world.node("alone").start(EchoServer(where="tcp:8279:interface=127.0.0.1")))
        self.assertEqual(self.world.result_of(client.post("http://localhost:8279/", b"me")), b"me")
        self.failure_of(client.post("http://alone:8279/", b"me")).trap(ConnectionRefusedError)

    def test_address_instead_of_a_name(self) -> None:
        """A URL may hold the address of a node."""
        address = self.network.address_of("server")
        self.assertEqual(self.world.result_of(self.client.post(f"http://{address}:8080/", b"x")), b"x")

    def test_clean_stop(self) -> None:
        """A server that stops leaves nothing behind but its open connection."""
        self.world.result_of(self.post(b"x"))
        left = self.server.stop()
        self.assertEqual([line for line in left if "connected with" not in line and "TimeoutMixin" not in line], [])
        self.world.advance(1)
        self.failure_of(self.post(b"x"))


class FaultTests(WebTestCase):
    """Something goes wrong in the middle of an exchange: the server takes 5 seconds to answer."""

    delay = 5.0

    def test_crash_before_the_answer(self) -> None:
        """The client of a server that crashes learns of it, and finds the next one."""
        answer = self.post(b"x")
        self.world.run_until(lambda: self.site.echo.bodies, 10)
        self.server.crash()
        self.failure_of(answer, limit=1).trap(ResponseFailed)
        self.failure_of(self.post(b"x"), limit=1).trap(ConnectError)
        self.server.start(self.site)
        self.assertEqual(self.world.result_of(self.post(b"y")), b"y")
        self.world.check_quiet()

    def test_crash_during_the_answer(self) -> None:
        """An answer that breaks off in the middle is an error, not a short body."""
        self.server.restart(EchoServer())
        answer = self.post(b"x" * 3_000_000)
        self.world.run_until(lambda: self.down() > 65536, 10)
        self.server.crash()
        self.failure_of(answer)
        self.world.check_quiet()

    def down(self) -> int:
        """Bytes of the answer that wait or are under way."""
        ends = [connection.server for connection in self.network.connections("client", "server")]
        return sum(len(end._unsent) + end.outgoing.bytes_in_flight for end in ends if end is not None)

    def test_crash_of_the_client(self) -> None:
        """A server whose client crashes is told that the request is gone."""
        self.post(b"x")
        self.world.run_until(lambda: self.site.echo.bodies, 10)
        self.client.process.node.crash()
        self.world.advance(1)
        self.assertEqual(self.site.echo.cut_off, 1)

    def test_partition_then_heal(self) -> None:
        """A request through a partition waits, however long, and is answered when the network heals."""
        answer = self.post(b"x")
        self.world.run_until(lambda: self.site.echo.bodies, 10)
        self.network.partition("client", "server")
        self.world.advance(3600)
        self.assertNoResult(answer)
        self.network.heal("client", "server")
        self.assertEqual(self.world.result_of(answer, limit=5), b"x")

    def test_timeout_behind_a_partition(self) -> None:
        """A client's own timeout ends a request that a partition holds up; the server has it all the same."""
        answer = self.post(b"x", timeout=20)
        self.world.run_until(lambda: self.site.echo.bodies, 10)
        self.network.partition("client", "server")
        self.failure_of(answer, limit=21).trap(CancelledError, ResponseFailed)
        self.network.heal()
        self.assertEqual(self.world.result_of(self.post(b"again")), b"again")
        self.assertEqual(self.site.echo.bodies, [b"x", b"again"])
        self.world.check_quiet()

    def test_dropped_connection(self) -> None:
        """A dropped connection fails the request that was on it, and the next one makes another."""
        answer = self.post(b"x")
        self.world.run_until(lambda: self.site.echo.bodies, 10)
        self.network.drop_connection("client", "server")
        self.failure_of(answer, limit=1).trap(ResponseFailed)
        self.world.advance(0)
        self.assertEqual(self.site.echo.cut_off, 1)
        self.assertEqual(self.world.result_of(self.post(b"y")), b"y")

    def test_delay(self) -> None:
        """A slow network delays the answer."""
        self.network.delay("client", "server", 10.0)
        answer = self.post(b"x")
        self.world.advance(40)
        self.assertNoResult(answer)
        self.assertEqual(self.world.result_of(answer, limit=60), b"x")

    def test_delayed_too_long(self) -> None:
        """A network slower than the timeout to connect lets no request through."""
        self.network.delay("client", "server", 100.0)
        self.failure_of(self.post(b"x"), limit=31).trap(ConnectError)


class RedeliveryTests(WebTestCase):
    """The network delivers a request again."""

    def setUp(self) -> None:
        super().setUp()
        self.network.record(lambda path: path == b"/post")

    def test_late_copy(self) -> None:
        """A recorded request arrives again a day later, to the byte; its answer goes nowhere."""
        self.world.result_of(self.post(b"first"))
        self.world.result_of(self.post(b"second" * 50_000))
        self.assertEqual([request.path for request in self.network.requests], [b"/post", b"/post"])
        self.world.advance(86400)
        copy = self.network.redeliver(self.network.requests[0])
        again = self.network.redeliver(self.network.requests[1])
        self.world.advance(60)
        self.assertEqual(sorted(self.site.echo.bodies[2:]), [b"first", b"second" * 50_000])
        self.assertEqual((copy.outcome, copy.status, again.status, copy.closed), ("answered", 200, 200, True))
        self.assertEqual(self.network.connections(), [])

    def test_paths_are_chosen(self) -> None:
        """Only requests of the chosen paths are recorded, and only so many."""
        self.network.record(lambda path: path == b"/keep", limit=2)
        for path in ("keep?1", "drop", "keep?2", "keep?3"):
            self.world.result_of(self.client.post(f"http://server:8080/{path}", b"x"))
        self.assertEqual([request.path for request in self.network.requests], [b"/keep?2", b"/keep?3"])

    def test_copies_are_not_recorded(self) -> None:
        """Redelivering records nothing new."""
        self.world.result_of(self.post(b"x"))
        self.network.redeliver(self.network.requests[0])
        self.world.advance(60)
        self.assertEqual((len(self.network.requests), len(self.site.echo.bodies)), (1, 2))

    def test_copy_reaches_the_next_life(self) -> None:
        """A copy reaches whoever listens there now, although both processes are others, or nobody."""
        self.world.result_of(self.post(b"x"))
        self.client.process.node.crash()
        self.server.restart()
        self.network.redeliver(self.network.requests[0])
        self.world.advance(60)
        self.assertEqual(self.site.echo.bodies, [b"x"])
        self.server.crash()
        refused = self.network.redeliver(self.network.requests[0])
        self.world.advance(60)
        self.assertEqual((refused.outcome, refused.status), ("failed", None))

    def test_request_that_never_arrived(self) -> None:
        """A request that was sent whole, and lost on the way, may still be delivered later."""
        self.world.result_of(self.post(b"warm up"))
        answer = self.post(b"lost")
        self.world.advance(0)
        self.network.drop_connection("client", "server")
        self.failure_of(answer)
        self.assertEqual(self.site.echo.bodies, [b"warm up"])
        self.network.redeliver(self.network.requests[-1])
        self.world.advance(60)
        self.assertEqual(self.site.echo.bodies, [b"warm up", b"lost"])


class RepetitionTests(SynchronousTestCase):
    """A run is made again."""

    def run_of(self, seed: int, faults: bool = True) -> tuple[str, list[str]]:
        """The fingerprint and trace of a run with many requests and faults."""
        with World(seed, keep_trace=True) as world:
            server, site = world.node("server"), EchoServer()
            server.start(site)
            client = WebClient(world.node("client").start())
            world.network.record(lambda path: True)
            for number in range(30):
                client.post(URL, b"%d" % number * world.random.randint(1, 3000), timeout=10).addErrback(lambda _: None)
                world.advance(world.random.random())
                if not faults:
                    continue
                if world.chance(0.1):
                    server.restart()
                if world.chance(0.1):
                    world.network.drop_connection("client", "server")
                if world.chance(0.1):
                    world.network.partition("client", "server")
                if world.chance(0.3):
                    world.network.heal()
                if world.network.requests and world.chance(0.1):
                    world.network.redeliver(world.random.choice(list(world.network.requests)))
            world.network.heal()
            world.advance(100)
            world.check_quiet()
            return world.fingerprint(), world.trace

    def test_same_seed_same_run(self) -> None:
        """The same seed gives the same run, event by event."""
        first, again = self.run_of(5), self.run_of(5)
        self.assertEqual(first[1], again[1])
        self.assertEqual(first[0], again[0])
        self.assertGreater(len(first[1]), 400)

    def test_other_seed_other_run(self) -> None:
        """Five seeds give five runs, also when all that differs is the network."""
        self.assertEqual(len({self.run_of(seed)[0] for seed in range(5)}), 5)
        self.assertEqual(len({self.run_of(seed, faults=False)[0] for seed in range(5)}), 5)
