"""A whole cluster on simulated machines: what its users and its operator see."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer
from zope.interface.verify import verifyObject

from taba.tako.errors import ConfigurationError, DiskFull, NotEnough, Refused, Unreachable
from taba.tako.interfaces import IPeer, Write
from taba.tako.levels import Level
from taba.tako.records import MAX_VALUE, PIECE, version_of
from tests.tako.simulated import HTTP, PROXY, MemoryTako, deployment, document

LARGE = bytes(range(256)) * 4_000
"""A value of four pieces."""


@implementer(IBodyProducer)
class Bytes:
    """A request's body."""

    def __init__(self, body: bytes) -> None:
        self.body, self.length = body, len(body)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        """Called by the HTTP client."""
        consumer.write(self.body)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def stopProducing(self) -> None:
        """Called by the HTTP client."""

    def pauseProducing(self) -> None:
        """Called by the HTTP client."""

    def resumeProducing(self) -> None:
        """Called by the HTTP client."""


class ClusterCase(SynchronousTestCase):
    """A cluster of four nodes in two buckets; every key is on all four."""

    configuration: dict[str, Any] | None = None

    def setUp(self) -> None:
        """Start it."""
        self.tako = MemoryTako(1, self.configuration or document(main=deployment(2)))
        self.addCleanup(self.tako.world.close)
        self.tako.start()
        self.client = self.tako.world.node("client").start()

    def ask(
        self, method: bytes, path: str, body: bytes | None = None, host: str = "p1", port: int = PROXY,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes, dict[str, str]]:  # fmt: skip
        """A request over HTTP: status, body, headers."""
        pool = HTTPConnectionPool(self.client.reactor, persistent=False)
        agent = Agent(self.client.reactor, pool=pool)
        sent = Headers({name: [value] for name, value in (headers or {}).items()})

        async def talk() -> tuple[int, bytes, dict[str, str]]:
            answer: Any = await agent.request(
                method, f"http://{host}:{port}{path}".encode(), sent, None if body is None else Bytes(body)
            )
            got = {name.decode().lower(): values[0].decode() for name, values in answer.headers.getAllRawHeaders()}
            return answer.code, await readBody(answer), got

        return self.tako.world.result_of(Deferred.fromCoroutine(talk()), 120.0)


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
        from twisted.internet.endpoints import HostnameEndpoint
        from twisted.internet.protocol import Factory, Protocol

        connected = HostnameEndpoint(self.client.reactor, "p1", PROXY).connect(Factory.forProtocol(Protocol))
        protocol: Any = self.tako.world.result_of(connected)
        return protocol.transport

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


class ReplicaTests(ClusterCase):
    """Replicas, levels, repair."""

    def test_levels(self) -> None:
        """With one node of four down quorum and one go on, all does not; with three down one does, and then none."""
        for node in ("n2",):
            self.tako.nodes[node].crash()
        self.assertEqual(self.tako.put(b"k", b"1").held, 3)
        self.assertRaises(NotEnough, self.tako.put, b"k", b"2", level=Level.ALL)
        for node in ("n1", "n3"):
            self.tako.nodes[node].crash()
        failed = self.assertRaises(NotEnough, self.tako.put, b"k", b"3")
        self.assertEqual((failed.level, failed.held < 2, failed.nodes), ("quorum", True, 4))
        self.assertEqual(self.tako.put(b"k", b"4", level=Level.ONE).held, 1)
        self.assertEqual(self.ask(b"GET", "/values/k?level=one")[1], b"4")
        self.tako.nodes["n4"].crash()
        self.assertEqual(self.ask(b"GET", "/values/k")[0], 503)
        self.assertEqual(self.ask(b"GET", "/values/k?level=one")[0], 503)

    def test_a_node_that_was_down_gets_what_it_missed(self) -> None:
        """Writes are noted for it, and handed to it when it is back, without healing."""
        self.tako.nodes["n2"].crash()
        for number in range(20):
            self.tako.put(b"%d" % number, LARGE if number == 7 else b"x")
        self.tako.delete(b"3")
        self.tako.nodes["n2"].start()
        self.tako.world.run_until(self.tako.ready, 60.0)
        self.tako.world.advance(12.0)
        self.assertEqual(self.tako.differences(), [])
        self.assertEqual(sum(self.tako.node("n2").records.leaves.counts), 20)
        self.assertEqual(sum(sum(self.tako.node(n).records.noted().values()) for n in self.tako.nodes), 0)

    def test_read_repair(self) -> None:
        """A get gives the newest, and those that had less come to have it."""
        self._one_has(b"k", b"new")
        found = self.tako.get(b"k", level=Level.ALL)
        assert found is not None
        self.assertEqual(found.body, b"new")
        self.tako.world.advance(3.0)
        self.assertEqual(self.tako.differences(), [])

    def _one_has(self, key: bytes, value: bytes) -> None:
        """Only n1 has a value, as after a write that failed."""
        version = version_of(self.tako.node("n1").clock.now(), value)
        self.tako.world.result_of(self.tako.node("n1").records.write(Write(key, version, value)))

    def test_healing(self) -> None:
        """Without any read, trees are compared and what differs is copied, both ways, also large values."""
        self._one_has(b"k", b"new")
        self._one_has(b"large", LARGE)
        self.tako.heal()
        self.assertEqual(self.tako.differences(), [])
        self.assertEqual(self.ask(b"GET", "/values/large", host="n4", port=HTTP)[1], LARGE)

    def test_equal_replicas_cost_one_question(self) -> None:
        """Nodes that hold the same exchange roots, and nothing else."""
        for number in range(50):
            self.tako.put(b"%d" % number, b"x")
        self.tako.world.advance(5.0)
        before = {name: dict(self.tako.node(name).replica.counts) for name in self.tako.nodes}
        self.tako.heal()
        for name in self.tako.nodes:
            counts = self.tako.node(name).replica.counts
            asked = {what for what, n in counts.items() if n != before[name].get(what, 0)}
            self.assertEqual(asked, {"roots"})

    def test_a_damaged_value_comes_back_from_a_replica(self) -> None:
        """A walk finds it, drops it, and healing fetches it."""
        self.tako.put(b"k", b"good", level=Level.ALL)
        database = self.tako.world.nodes["n3"].disk.folder("var").database("tako.db")
        database.execute("UPDATE pieces SET body = x'00'")
        database.close()
        self.tako.heal()
        self.assertEqual(self.tako.node("n3").healing.progress.damaged, 1)
        self.tako.node("n3").records.cache.max_bytes = 0
        found = self.tako.world.result_of(self.tako.node("n3").records.read(b"k", True))
        self.assertEqual(found.body if found else None, b"good")

    def test_deleted_keys_do_not_return(self) -> None:
        """A node that missed a delete, and comes back within the longest partition, does not bring the key back."""
        self.tako.put(b"k", b"1", level=Level.ALL)
        self.tako.nodes["n4"].crash()
        self.tako.delete(b"k")
        self.tako.nodes["n4"].start()
        self.tako.world.run_until(self.tako.ready, 60.0)
        self.tako.heal()
        self.assertEqual(self.tako.differences(), [])
        found = self.tako.get(b"k", level=Level.ALL)
        self.assertTrue(found is not None and found.version.tombstone)

    def test_a_full_disk_is_507(self) -> None:
        """When the disks are full a write is refused with 507, what is stored stays, and later it goes on."""
        self.tako.put(b"k", b"1", level=Level.ALL)
        for node in self.tako.nodes:
            self.tako.world.nodes[node].disk.fill(True)
        status, text, _ = self.ask(b"POST", "/values/other", bytes(100_000))
        self.assertEqual((status, b"full" in text), (507, True))
        self.assertRaises(DiskFull, self.tako.put, b"third", LARGE[:PIECE])
        self.assertEqual(self.ask(b"POST", "/values/large", LARGE)[0], 507)
        self.assertEqual(self.ask(b"GET", "/values/k")[1], b"1")
        for node in self.tako.nodes:
            self.tako.world.nodes[node].disk.fill(False)
        self.assertEqual(self.ask(b"POST", "/values/other", bytes(100_000))[0], 200)


class TombstoneTests(ClusterCase):
    """The end of tombstones."""

    configuration = document(main=deployment(2, longest_partition="0:05:00", background_healing_interval="1d"))

    def test_they_outlive_the_longest_partition_and_then_go(self) -> None:
        """Old ones are removed once every holder has them; while one is away, and might have the value, they stay."""
        self.tako.put(b"k", b"1", level=Level.ALL)
        self.tako.delete(b"k", level=Level.ALL)
        self.tako.world.advance(200.0)
        self.tako.heal()
        self.assertEqual(self._held(), 4)
        self.tako.nodes["n4"].crash()
        self.tako.world.advance(400.0)
        self.tako.heal()
        self.assertEqual(self._held(), 3)
        self.tako.nodes["n4"].start()
        self.tako.world.run_until(self.tako.ready, 60.0)
        self.tako.world.advance(10.0)
        for _ in range(2):
            self.tako.heal()
        self.assertEqual((self._held(), self.tako.differences()), (0, []))
        self.assertIsNone(self.tako.get(b"k", level=Level.ALL))

    def _held(self) -> int:
        return sum(sum(self.tako.node(name).records.leaves.counts) for name in self.tako.up())


class ClockTests(ClusterCase):
    """Clocks that are wrong."""

    def test_a_slow_clock_loses_no_write(self) -> None:
        """A write through a proxy whose clock is behind wins over an earlier one through another."""
        self.tako.world.nodes["p2"].step_wall(-30.0)
        for number in range(5):
            self.tako.put(b"k", b"%d" % (2 * number), "p1")
            self.tako.put(b"k", b"%d" % (2 * number + 1), "p2")
            found = self.tako.get(b"k", "p1")
            self.assertEqual(found.body if found else None, b"%d" % (2 * number + 1))

    def test_a_clock_far_ahead_is_refused_and_counted(self) -> None:
        """A proxy an hour ahead stores nothing; nodes count its stamps; others are not affected."""
        self.tako.world.nodes["p2"].step_wall(3600.0)
        refused = self.assertRaises(Refused, self.tako.put, b"k", b"future", "p2")
        self.assertEqual(refused.code, "ahead")
        self.tako.world.advance(1.0)
        self.assertTrue(all(self.tako.node(name).clock.refused for name in self.tako.nodes))
        self.tako.put(b"k", b"now")
        found = self.tako.get(b"k")
        self.assertEqual(found.body if found else None, b"now")

    def test_a_nodes_clock_far_ahead_hides_nothing(self) -> None:
        """A record that a node an hour ahead stamped for itself is not seen by others, and the next write replaces it.
        """
        self.tako.put(b"k", b"1", level=Level.ALL)
        self.tako.world.nodes["n1"].step_wall(3600.0)
        failed = self.tako.node("n1").router.put(b"k", b"future")
        self.assertRaises(Refused, self.tako.world.result_of, failed)
        found = self.tako.get(b"k", level=Level.ALL)
        self.assertEqual(found.body if found else None, b"1")
        self.tako.world.nodes["n1"].step_wall(-3600.0)
        self.tako.put(b"k", b"2", level=Level.ALL)
        self.tako.heal()
        self.assertEqual(self.tako.differences(), [])


class ConfigurationTests(ClusterCase):
    """Coordinators, and what happens without them."""

    def test_nothing_but_reconfiguration_needs_a_coordinator(self) -> None:
        """With the coordinator gone nodes and proxies go on, and start again from their copies."""
        self.tako.put(b"k", b"1")
        self.tako.coordinator.crash()
        for member in (self.tako.nodes["n1"], self.tako.proxy_members["p1"]):
            member.crash()
            member.start()
        self.tako.world.run_until(self.tako.ready, 60.0)
        found = self.tako.get(b"k")
        self.assertEqual(found.body if found else None, b"1")

    def test_a_change_reaches_everybody(self) -> None:
        """A reload gives a higher version, which all take; a file with a mistake changes nothing."""
        before = self.tako.node("n1").source.version
        self.tako.configuration["deployments"]["main"]["read_repair"] = False
        self.tako.reload()
        self.tako.world.advance(12.0)
        versions = {self.tako.node(name).source.version for name in self.tako.nodes}
        versions |= {self.tako.proxy(name).source.version for name in self.tako.proxy_members}
        self.assertEqual(len(versions), 1)
        self.assertGreater(versions.pop(), before)
        self.tako.configuration["active_deployment"] = "mian"
        self.assertRaises(ConfigurationError, self.tako.reload)
        self.assertEqual(self.tako.coordinator.service.configuration.active_deployment, "main")

    def test_whoever_is_behind_is_refused_and_catches_up(self) -> None:
        """A proxy on an older configuration is told so by the nodes, gets the new one and goes on: nobody notices."""
        self.tako.world.network.partition("p1", "c1")
        self.tako.configuration["deployments"]["main"]["read_repair"] = False
        self.tako.reload()
        self.tako.world.advance(12.0)
        old = self.tako.proxy().source.version
        self.assertLess(old, self.tako.node("n1").source.version)
        self.tako.put(b"k", b"1")
        self.assertGreater(self.tako.proxy().source.version, old)

    def test_a_restart_does_not_go_back(self) -> None:
        """A node that starts while the coordinator is away has the newest configuration that it had."""
        self.tako.configuration["deployments"]["main"]["read_repair"] = False
        self.tako.reload()
        self.tako.world.advance(12.0)
        newest = self.tako.node("n1").source.version
        self.tako.coordinator.crash()
        self.tako.nodes["n1"].crash()
        self.tako.nodes["n1"].start()
        self.tako.world.run_until(self.tako.ready, 60.0)
        self.assertEqual(self.tako.node("n1").source.version, newest)


class LinkTests(ClusterCase):
    """Connections between nodes."""

    def test_peers_provide_the_interface(self) -> None:
        """A node over a connection, and the node itself."""
        node = self.tako.node("n1")
        verifyObject(IPeer, node.replica)
        verifyObject(IPeer, node.peers.get("n2"))

    def test_one_that_stops_answering_is_given_up(self) -> None:
        """Through a silent partition questions fail after the patience, and later ones at once; then it is back."""
        world, peer = self.tako.world, self.tako.proxy().peers.get("n1")
        world.result_of(peer.read(b"k", True))
        world.network.partition("p1", "n1")
        began = world.clock.seconds()
        self.assertRaises(Unreachable, world.result_of, peer.read(b"k", True))
        self.assertLess(world.clock.seconds() - began, 6.0)
        self.assertTrue(peer.away)
        self.assertRaises(Unreachable, world.result_of, peer.read(b"k", True), 0.001)
        world.network.heal()
        world.advance(8.0)
        self.assertIsNone(world.result_of(peer.read(b"k", True)))

    def test_garbage_ends_the_connection_and_is_counted(self) -> None:
        """Who speaks something else is told so; the node goes on."""
        from twisted.internet.endpoints import HostnameEndpoint
        from twisted.internet.protocol import Factory, Protocol

        from tests.tako.simulated import INTERNAL

        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x02\x00\x00\x00{}", b"\x02\x00\x00\x00[]", b"\xff" * 50):
            endpoint = HostnameEndpoint(self.client.reactor, "n1", INTERNAL)
            connected = endpoint.connect(Factory.forProtocol(Protocol))
            protocol: Any = self.tako.world.result_of(connected)
            protocol.transport.write(garbage)
            self.tako.world.advance(12.0)
            self.assertFalse(protocol.transport.connected)
        self.assertGreater(self.tako.node("n1").answering.bad_messages, 0)
        self.assertEqual(self.tako.put(b"k", b"1", level=Level.ALL).held, 4)

    def test_a_clean_stop_leaves_nothing(self) -> None:
        """Stopped nodes, proxies and coordinators leave no call, port or connection, and no error in the log."""
        self.tako.put(b"k", LARGE)
        members = [*self.tako.proxy_members.values(), *self.tako.nodes.values(), self.tako.coordinator]
        self.assertEqual([member.node.stop() for member in members], [[]] * len(members))
        self.tako.world.check_quiet()


class StartTests(SynchronousTestCase):
    """Starts that fail."""

    def _start_one(self, tako: MemoryTako, name: str) -> str:
        """Start a node that cannot; what it says."""
        tako.coordinator.start()
        tako.nodes[name].start()
        tako.world.run_until(lambda: not tako.nodes[name].up, 60.0, "the node to give up")
        text = "\n".join(problem.text for problem in tako.world.problems)
        tako.world.problems.clear()
        return text

    def test_a_node_that_is_not_in_the_configuration(self) -> None:
        """It says which there are, and ends."""
        with MemoryTako(1, document(main=deployment(1))) as tako:
            tako.add_node("n77")
            self.assertIn("has no node n77; there are n1, n2", self._start_one(tako, "n77"))

    def test_another_nodes_disk(self) -> None:
        """A node id reused on a disk with another node's data does not start."""
        with MemoryTako(1, document(main=deployment(1))) as tako:
            tako.start()
            tako.put(b"k", b"1")
            tako.nodes["n1"].node.stop()
            tako.nodes["n2"].node.stop()
            tako.nodes["n2"].node.replace_disk(tako.nodes["n1"].node.disk.copy("copy"))
            self.assertIn("holds the data of node n1, and this is n2", self._start_one(tako, "n2"))
