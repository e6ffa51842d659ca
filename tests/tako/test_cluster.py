"""Configurations, connections and starts of a cluster on simulated machines."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from taba.tako.coordinator import make_coordinator
from taba.tako.errors import ConfigurationError, Unreachable
from taba.tako.levels import Level
from taba.tako.node import make_node
from taba.tako.settings import CoordinatorSettings, NodeSettings
from taba.testing.machine import running
from tests.tako.case import LARGE, ClusterCase
from tests.tako.contracts.peer import PeerContract
from tests.tako.simulated import INSECURE, Member, MemoryTako, deployment, document


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


class FileTests(SynchronousTestCase):
    """Nodes that read a file each, without a coordinator."""

    def test_files_may_change_one_after_the_other(self) -> None:
        """The node whose file was changed first tells the other, which does not go back to its own file."""
        with MemoryTako(1, document(main=deployment(1))) as tako:
            files = {name: json.dumps(tako.configuration) for name in ("n1", "n2")}
            for name in files:
                tako.nodes[name] = from_file(tako, name, files)
            for name in files:
                tako.nodes[name].start()
            tako.world.run_until(lambda: len(tako.up()) == 2, 60.0)
            tako.world.advance(8.0)
            changed = {**tako.configuration, "deployments": {"main": deployment(1, healing_rate=77)}}
            files["n1"] = json.dumps(changed)
            tako.world.advance(8.0)
            tako.world.result_of(tako.node("n1").router.put(b"k", b"1", None, Level.ONE))
            tako.world.advance(30.0)
            rates = [tako.node(name).source.placement().configuration.active.healing_rate for name in files]
            self.assertEqual(rates, [77.0, 77.0])
            files["n2"] = files["n1"]
            before = tako.node("n1").source.version
            tako.world.advance(30.0)
            self.assertEqual({tako.node(name).source.version for name in files}, {before})


def from_file(tako: MemoryTako, name: str, files: dict[str, str]) -> Member:
    """A node that reads its own file."""
    settings = NodeSettings(
        name, "var", read_file=lambda: files[name], update_seconds=5.0, security=INSECURE
    )  # fmt: skip
    return Member(tako.world.nodes[name], running(lambda process: make_node(settings, process)))


class CoordinatorsTests(SynchronousTestCase):
    """More than one coordinator."""

    def test_the_others_follow_the_master(self) -> None:
        """What the master hands out the others do, too, and go on with it while the master is away."""
        configuration = document(main=deployment(1))
        configuration["coordinators"]["c2"] = ["c2", 4710]
        with MemoryTako(1, configuration) as tako:
            settings = CoordinatorSettings(
                "c2", lambda: json.dumps(configuration), "var", update_seconds=5.0, security=INSECURE
            )
            second = Member(tako.world.node("c2"), running(lambda process: make_coordinator(settings, process)))
            tako.start()
            second.start()
            tako.world.advance(12.0)
            configuration["deployments"]["main"]["read_repair"] = False
            tako.reload()
            tako.world.advance(12.0)
            newest = tako.coordinator.service.configuration
            self.assertEqual(second.service.configuration, newest)
            tako.coordinator.crash()
            second.node.restart()
            tako.nodes["n1"].crash()
            tako.world.nodes["n1"].disk.lose()
            tako.nodes["n1"].start()
            tako.world.advance(12.0)
            self.assertEqual(second.service.configuration, newest)
            self.assertIsNotNone(second.service.problem)


class LinkTests(ClusterCase):
    """Connections between nodes."""

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

    def test_a_node_that_the_configuration_does_not_know(self) -> None:
        """It cannot be reached, and says why."""
        unknown = self.tako.proxy().peers.get("n99")
        failed = self.assertRaises(Unreachable, self.tako.world.result_of, unknown.read(b"k", True))
        self.assertEqual(failed.reason, "the configuration does not know it")

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


class OwnPeerTests(PeerContract, ClusterCase):
    """The node itself as a peer."""

    def setUp(self) -> None:
        """Node n1."""
        super().setUp()
        self.peer: Any = self.tako.node("n1").replica

    def wall(self) -> int:
        """See `PeerContract`."""
        return int(self.tako.node("n1").clock.wall() * 1e6)

    def result(self, deferred: Deferred[Any]) -> Any:
        """See `PeerContract`."""
        return self.tako.world.result_of(deferred)


class RemotePeerTests(OwnPeerTests):
    """The node over a connection."""

    def setUp(self) -> None:
        """Node n1, asked by a proxy."""
        super().setUp()
        self.peer = self.tako.proxy().peers.get("n1")


class StartTests(SynchronousTestCase):
    """Starts that fail, or wait."""

    def test_a_start_waits_for_a_coordinator(self) -> None:
        """However late it comes: the node says what it waits for, and begins when it can."""
        with MemoryTako(1, document(main=deployment(1)), keep_trace=True) as tako:
            tako.nodes["n1"].start()
            tako.world.advance(300.0)
            self.assertTrue(tako.nodes["n1"].up)
            self.assertEqual(tako.up(), [])
            tako.coordinator.start()
            tako.world.run_until(lambda: tako.up() == ["n1"], 10.0)

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
