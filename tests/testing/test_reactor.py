"""The reactor of a simulated process: what production code finds in it, and what its death stops."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone, ConnectionLost, DNSLookupError, ReactorNotRunning
from twisted.internet.interfaces import (
    IHostnameResolver,
    IReactorCore,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
)
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from taba.testing import HeapClock, MemoryNetwork, SimulatedReactor
from tests.testing.talk import Talker, TalkerFactory


class ReactorTestCase(SynchronousTestCase):
    """A reactor on host a, and another one on host b."""

    def setUp(self) -> None:
        self.clock = HeapClock()
        self.network = MemoryNetwork(self.clock, Random(1))
        self.network.add_host("a")
        self.network.add_host("b")
        self.reactor = SimulatedReactor(self.network, "a", Random(2))
        self.other = SimulatedReactor(self.network, "b", Random(3))
        self.done: list[object] = []


class InterfaceTests(ReactorTestCase):
    """Production code is given the reactor."""

    def test_provides(self) -> None:
        """The reactor provides all that it claims."""
        for interface in (IReactorTime, IReactorTCP, IReactorPluggableNameResolver, IReactorFromThreads, IReactorCore):
            self.assertTrue(verifyObject(interface, self.reactor))
        self.assertTrue(verifyObject(IHostnameResolver, self.reactor.nameResolver))

    def test_own_calls_only(self) -> None:
        """getDelayedCalls gives the calls of this process, not those of others on the same clock."""
        call = self.reactor.callLater(1, int)
        self.other.callLater(1, int)
        self.assertEqual(self.reactor.getDelayedCalls(), [call])

    def test_error_in_a_call_is_logged(self) -> None:
        """What a call raises is logged, and the process goes on."""
        self.reactor.callLater(1, lambda: 1 / 0)
        self.reactor.callLater(2, self.done.append, 1)
        self.clock.advance(3)
        self.assertEqual((len(self.flushLoggedErrors(ZeroDivisionError)), self.done), (1, [1]))

    def test_error_in_a_protocol_is_logged(self) -> None:
        """What dataReceived raises is logged, and closes the connection."""
        servers, clients = TalkerFactory(), TalkerFactory()
        self.other.listenTCP(80, servers)
        self.reactor.connectTCP("b", 80, clients)
        self.clock.advance(1)
        servers.talker.dataReceived = lambda data: 1 / 0  # type: ignore[method-assign,assignment]
        clients.talker.end.write(b"x")
        self.clock.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(servers.talker.reason, ZeroDivisionError)
        self.assertIsNotNone(clients.talker.reason)

    def test_errors_in_every_callback_are_logged(self) -> None:
        """What factories and protocols raise anywhere is logged, at either end, and the network goes on."""

        class Broken(Talker):
            def connectionMade(self) -> None:
                raise KeyError("made")

            def connectionLost(self, reason: object = None) -> None:
                raise KeyError("lost")

        def refuse() -> Talker:
            raise KeyError("built")

        servers = TalkerFactory()
        self.other.listenTCP(80, servers)
        self.other.listenTCP(81, TalkerFactory(refuse))
        self.reactor.connectTCP("b", 80, TalkerFactory(Broken))
        self.reactor.connectTCP("b", 80, TalkerFactory(refuse))
        self.reactor.connectTCP("b", 81, TalkerFactory())
        self.clock.advance(5)
        texts = sorted(failure.getErrorMessage() for failure in self.flushLoggedErrors(KeyError))
        self.assertEqual(texts, ["'built'", "'built'", "'lost'", "'made'"])
        self.assertEqual([talker.reason for talker in servers.talkers], [ConnectionDone, ConnectionDone])
        self.assertEqual(self.network.connections(), [])

    def test_other_resolver(self) -> None:
        """Another resolver can be installed, and the first one comes back."""
        first = self.reactor.nameResolver
        self.assertIs(self.reactor.installNameResolver(self.other.nameResolver), first)
        self.assertIs(self.reactor.installNameResolver(first), self.other.nameResolver)

    def test_resolve(self) -> None:
        """Names resolve to the addresses of hosts."""
        self.assertEqual(self.successResultOf(self.reactor.resolve("b")), self.network.address_of("b"))
        self.assertEqual(self.successResultOf(self.reactor.resolve("localhost")), "127.0.0.1")
        self.failureResultOf(self.reactor.resolve("nobody"), DNSLookupError)

    def test_looping_call(self) -> None:
        """A LoopingCall that is given the reactor runs on virtual time."""
        loop = LoopingCall(lambda: self.done.append(self.clock.seconds()))
        loop.clock = self.reactor
        loop.start(10, now=False)
        self.clock.advance(35)
        self.assertEqual(self.done, [10.0, 20.0, 30.0])

    def test_world_runs_it(self) -> None:
        """Nobody else can run the reactor."""
        self.assertRaises(RuntimeError, self.reactor.run)
        self.assertRaises(RuntimeError, self.reactor.iterate)


class TriggerTests(ReactorTestCase):
    """Services start and stop with their process."""

    def test_when_running(self) -> None:
        """callWhenRunning waits for the start, and calls at once after it."""
        self.reactor.callWhenRunning(self.done.append, "waited")
        self.assertEqual(self.done, [])
        self.reactor.start_running()
        self.reactor.callWhenRunning(self.done.append, "at once")
        self.assertEqual(self.done, ["waited", "at once"])

    def test_shutdown_waits_for_deferreds(self) -> None:
        """Shutdown runs before, during, after; "during" waits for the Deferreds of "before"; then the process exits."""
        slow: Deferred[None] = Deferred()
        self.reactor.on_exit = lambda: self.done.append("exit")
        for phase in ("after", "during", "before"):
            self.reactor.addSystemEventTrigger(phase, "shutdown", self.done.append, phase)
        self.reactor.addSystemEventTrigger("before", "shutdown", lambda: slow)
        self.reactor.start_running()
        self.reactor.stop()
        self.assertRaises(ReactorNotRunning, self.reactor.stop)
        self.clock.advance(1)
        self.assertEqual(self.done, ["before"])
        slow.callback(None)
        self.assertEqual(self.done, ["before", "during", "after", "exit"])
        self.assertFalse(self.reactor.running)

    def test_failing_trigger_is_logged(self) -> None:
        """A trigger that raises does not keep the others from running."""
        self.reactor.addSystemEventTrigger("before", "shutdown", lambda: 1 / 0)
        self.reactor.addSystemEventTrigger("before", "shutdown", self.done.append, 1)
        self.reactor.start_running()
        self.reactor.stop()
        self.clock.advance(0)
        self.assertEqual((self.done, len(self.flushLoggedErrors(ZeroDivisionError))), ([1], 1))

    def test_removed_trigger(self) -> None:
        """A trigger that was taken back does not run."""
        trigger = self.reactor.addSystemEventTrigger("after", "startup", self.done.append, 1)
        self.reactor.removeSystemEventTrigger(trigger)
        self.assertRaises(ValueError, self.reactor.removeSystemEventTrigger, trigger)
        self.assertRaises(KeyError, self.reactor.addSystemEventTrigger, "never", "startup", int)
        self.reactor.start_running()
        self.assertEqual(self.done, [])

    def test_stopping_what_does_not_run(self) -> None:
        """stop before the start is an error, as in real life."""
        self.assertRaises(ReactorNotRunning, self.reactor.stop)


class OffReactorTests(ReactorTestCase):
    """Blocking functions run elsewhere."""

    def test_runs_later_and_answers_later_still(self) -> None:
        """The function runs at a later turn, and the Deferred fires after it, not in it."""
        ran: list[float] = []

        def add(n: int, m: int = 0) -> int:
            ran.append(self.clock.seconds())
            return n + m

        done = self.reactor.run_off_reactor(add, 1, m=2)
        self.assertEqual(ran, [])
        self.clock.run_until(lambda: ran, 1)
        self.assertNoResult(done)
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(done), 3)

    def test_error_fails_the_deferred(self) -> None:
        """What the function raises comes out of the Deferred."""
        done = self.reactor.run_off_reactor(lambda: 1 / 0)
        self.clock.advance(1)
        self.failureResultOf(done, ZeroDivisionError)

    def test_pool_keeps_no_order(self) -> None:
        """Functions asked for together run in an order that is the seed's choice."""
        for number in range(20):
            self.reactor.run_off_reactor(self.done.append, number)
        self.clock.advance(5)
        self.assertNotEqual(self.done, list(range(20)))
        self.assertEqual(sorted(self.done), list(range(20)))

    def test_own_thread_keeps_order(self) -> None:
        """On a thread of its own, functions run one after the other, and errors do not stop it."""
        thread = self.reactor.own_thread()
        results = [thread(self.done.append, number) for number in range(10)]
        failed = thread(lambda: 1 / 0)
        results.append(thread(self.done.append, 10))
        self.clock.advance(5)
        self.failureResultOf(failed, ZeroDivisionError)
        self.assertEqual(self.done, list(range(11)))
        for result in results:
            self.successResultOf(result)

    def test_call_from_thread(self) -> None:
        """callFromThread calls at the next turn."""
        self.reactor.callFromThread(self.done.append, 1)
        self.assertEqual(self.done, [])
        self.clock.advance(0)
        self.assertEqual(self.done, [1])


class DeathTests(ReactorTestCase):
    """A process is killed."""

    def test_nothing_runs_any_more(self) -> None:
        """Calls, triggers, threads, protocols: nothing of the process runs, and nothing it asks for happens."""
        servers, clients = TalkerFactory(), TalkerFactory()
        self.other.listenTCP(80, servers)
        self.reactor.listenTCP(80, servers)
        self.reactor.connectTCP("b", 80, clients)
        self.clock.advance(1)
        self.reactor.addSystemEventTrigger("before", "shutdown", self.done.append, "trigger")
        self.reactor.callLater(1, self.done.append, "call")
        self.reactor.run_off_reactor(self.done.append, "thread").addCallback(self.done.append)
        self.reactor.die()
        self.reactor.callLater(1, self.done.append, "late call")
        self.reactor.connectTCP("b", 80, clients)
        port = self.reactor.listenTCP(81, servers)
        maybeDeferred(port.stopListening)
        clients.talker.end.write(b"x")
        clients.talker.end.loseConnection()
        self.clock.advance(100)
        self.assertEqual((self.done, clients.talker.reason, self.reactor.getDelayedCalls()), ([], None, []))
        self.assertEqual((servers.talker.received, len(servers.talkers)), (b"", 1))

    def test_peers_see_the_end(self) -> None:
        """The other ends of its connections are told, as done or as lost, after some of what was under way."""
        reasons = set()
        for seed in range(30):
            network = MemoryNetwork(HeapClock(), Random(seed))
            network.add_host("a")
            reactor, other = (SimulatedReactor(network, "a", Random(seed)) for _ in range(2))
            servers, clients = TalkerFactory(), TalkerFactory()
            other.listenTCP(80, servers)
            reactor.connectTCP("localhost", 80, clients)
            network.clock.advance(1)
            clients.talker.end.write(b"x" * 1000)
            network.clock.advance(0)
            reactor.die()
            network.clock.advance(2)
            reasons.add((servers.talker.reason, len(servers.talker.received) == 1000))
        self.assertEqual(
            reasons, {(reason, whole) for reason in (ConnectionDone, ConnectionLost) for whole in (True, False)}
        )

    def test_death_behind_a_partition(self) -> None:
        """Peers that a partition cuts off hear nothing; healed, they learn of the end then, or when they send."""
        reasons = set()
        for seed in range(40):
            network = MemoryNetwork(HeapClock(), Random(seed))
            network.add_host("a")
            network.add_host("b")
            reactor, other = SimulatedReactor(network, "a", Random(seed)), SimulatedReactor(network, "b", Random(seed))
            servers, clients = TalkerFactory(), TalkerFactory()
            reactor.listenTCP(80, servers)
            other.connectTCP("a", 80, clients)
            network.clock.advance(1)
            network.partition("a", "b")
            reactor.die()
            network.clock.advance(1000)
            self.assertIsNone(clients.talker.reason)
            network.heal()
            network.clock.advance(5)
            reasons.add(clients.talker.reason)
            clients.talker.end.write(b"anybody?")
            network.clock.advance(5)
            self.assertIsNotNone(clients.talker.reason)
        self.assertEqual(reasons, {None, ConnectionDone, ConnectionLost})

    def test_ports_are_closed(self) -> None:
        """What it listened on is refused, and free for the next life."""
        factory, clients = TalkerFactory(), TalkerFactory()
        self.other.listenTCP(80, factory)
        self.other.die()
        self.reactor.connectTCP("b", 80, clients)
        self.clock.advance(1)
        self.assertIsNotNone(clients.failed)
        next_factory = TalkerFactory()
        SimulatedReactor(self.network, "b", Random(4)).listenTCP(80, next_factory)
        self.reactor.connectTCP("b", 80, clients)
        self.clock.advance(1)
        self.assertEqual((len(factory.talkers), len(next_factory.talkers)), (0, 1))

    def test_errors_of_the_dead_are_not_logged(self) -> None:
        """A function that kills its own process and then raises disturbs nobody."""

        def die_and_raise() -> None:
            self.reactor.die()
            raise ValueError

        self.reactor.callLater(1, die_and_raise)
        self.clock.advance(2)
        self.assertEqual(self.flushLoggedErrors(), [])
