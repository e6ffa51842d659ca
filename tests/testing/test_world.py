"""Worlds: time, waiting, traces, counters of faults, and errors that must not go unseen."""

from __future__ import annotations

from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python import log
from twisted.trial.unittest import SynchronousTestCase

from taba.testing import HeapClock, NotQuiet, NotReached, World, met_table
from tests.testing.talk import TalkerFactory, listening


class WorldTestCase(SynchronousTestCase):
    """A world with one node."""

    def setUp(self) -> None:
        self.world = World(seed=1, keep_trace=True)
        self.addCleanup(self.world.close)
        self.node = self.world.node("machine")


class TimeTests(WorldTestCase):
    """Time passes."""

    def test_wall_clock_steps(self) -> None:
        """A wall clock steps an hour back and forth; monotonic time and other nodes do not notice."""
        process, other = self.node.start(), self.world.node("other").start()
        self.world.advance(100)
        self.assertEqual(process.wall(), self.world.epoch + 100)
        self.node.step_wall(-3600)
        self.assertEqual((process.wall(), process.reactor.seconds()), (self.world.epoch - 3500, 100.0))
        self.node.step_wall(7200)
        self.assertEqual((process.wall(), other.wall()), (self.world.epoch + 3700, self.world.epoch + 100))

    def test_run_until(self) -> None:
        """run_until stops as soon as the predicate is true."""
        self.world.clock.callLater(5, int)
        self.world.clock.callLater(50, int)
        self.world.run_until(lambda: self.world.clock.seconds() >= 5, 100)
        self.assertEqual(self.world.clock.seconds(), 5.0)

    def test_run_until_tells_what_is_pending(self) -> None:
        """What never comes fails with the calls, connections and partitions that are pending."""
        other = self.world.node("other")
        self.node.start(listening(80, TalkerFactory()))
        process = other.start()
        process.reactor.connectTCP("machine", 80, TalkerFactory())
        self.world.network.partition("machine", "other")
        process.reactor.callLater(1000, Logger.info)
        error = self.assertRaises(NotReached, self.world.run_until, lambda: False, 5, "a miracle")
        for part in (
            "5 s for a miracle",
            "other/1: Logger.info",
            "machine | other",
            "other -> machine:80",
            "machine up",
        ):
            self.assertIn(part, str(error))

    def test_result_of(self) -> None:
        """result_of waits for a Deferred; errors are raised, and waiting has a limit."""
        process = self.node.start()
        self.assertEqual(self.world.result_of(process.off_reactor(lambda: 7)), 7)
        self.assertRaises(ZeroDivisionError, self.world.result_of, process.off_reactor(lambda: 1 // 0))
        self.assertRaises(NotReached, self.world.result_of, Deferred(), 5)


class TraceTests(WorldTestCase):
    """Runs are compared."""

    def fingerprint(self, seed: int, calls: int = 3) -> str:
        with World(seed) as world:
            process = world.node("machine").start()
            for _ in range(calls):
                world.result_of(process.off_reactor(int))
            return world.fingerprint()

    def test_fingerprint(self) -> None:
        """Equal deeds under equal seeds have equal fingerprints; another seed or another deed has another one."""
        self.assertEqual(self.fingerprint(1), self.fingerprint(1))
        self.assertEqual(len({self.fingerprint(1), self.fingerprint(2), self.fingerprint(1, calls=4)}), 3)

    def test_trace_is_the_same_text(self) -> None:
        """The trace says what happened when, without anything that changes from run to run."""
        process = self.node.start()
        process.reactor.callLater(2.5, Logger.info)
        self.node.crash()
        self.node.restart().reactor.callLater(2.5, int, b"x", 16)
        self.world.note("a remark")
        self.world.advance(3)
        self.assertEqual(
            self.world.trace,
            [
                "0.000000000 verb start machine down",
                "0.000000000 verb crash machine up",
                "0.000000000 verb disk_crash machine down",
                "0.000000000 verb start machine down",
                "0.000000000 a remark",
                "2.500000000 call machine/2 int",
            ],
        )
        self.flushLoggedErrors(ValueError, TypeError)

    def test_bytes_on_disk_count(self) -> None:
        """Runs that write other bytes to a disk have other fingerprints."""

        def fingerprint(content: bytes) -> str:
            with World(1) as world:
                world.node("machine").start().folder.open_append("a").write(content)
                return world.fingerprint()

        self.assertEqual(fingerprint(b"one"), fingerprint(b"one"))
        self.assertNotEqual(fingerprint(b"one"), fingerprint(b"two"))

    def test_purposes_have_randomness_of_their_own(self) -> None:
        """Draws for one purpose change nothing of another."""
        drawn = self.world.new_random("x").random()
        self.world.random.random()
        self.world.network.random.random()
        self.assertEqual(self.world.new_random("x").random(), drawn)

    def test_chance(self) -> None:
        """chance is true as often as asked, by the seed."""
        self.assertTrue(200 < sum(self.world.chance(0.25) for _ in range(1000)) < 300)
        self.assertEqual({self.world.chance(0.0) for _ in range(100)}, {False})


class CoverageTests(WorldTestCase):
    """Faults note what they met."""

    def test_verbs_meet_states(self) -> None:
        """Each fault is counted with the state that its target was in."""
        self.world.state_of = lambda name: {"machine": "leading", "other": "following"}[name]
        other = self.world.node("other")
        other.start()
        self.world.network.partition("machine", "other")
        self.world.network.heal()
        other.disk.fill()
        other.crash()
        other.step_wall(1)
        self.assertEqual(self.world.met("partition"), 2)
        self.assertEqual((self.world.met("fill", "following"), self.world.met("fill", "leading")), (1, 0))
        self.assertEqual((self.world.met("crash"), self.world.met("step_wall"), self.world.met("redeliver")), (1, 1, 0))

    def test_own_verbs(self) -> None:
        """A test's own faults are counted beside the others; without state_of, nodes are up or down."""
        self.world.note_verb("failover", "machine")
        self.node.start()
        self.world.note_verb("failover", "machine")
        self.assertEqual((self.world.met("failover", "up"), self.world.met("failover", "down")), (1, 1))

    def test_tables_add_up(self) -> None:
        """The counters of several runs make one table."""
        self.node.start()
        self.node.crash()
        both = self.world.meetings + self.world.meetings
        lines = met_table(both).splitlines()
        self.assertEqual(lines[1].split(), ["crash", "up", "2"])
        self.assertEqual(self.world.met_table().splitlines()[1].split(), ["crash", "up", "1"])


class QuietTests(WorldTestCase):
    """Errors do not go unseen."""

    def test_quiet(self) -> None:
        """A run without errors is quiet, whatever is logged below."""
        Logger().error("not a failure: {x}", x=1)
        self.world.check_quiet()
        self.assertEqual(self.world.problems, [])

    def test_error_in_a_process(self) -> None:
        """What a process's call raises is found, with its traceback, until it is flushed as expected."""
        self.node.start().reactor.callLater(1, lambda: 1 / 0)
        self.world.advance(1)
        self.assertIn("ZeroDivisionError", str(self.assertRaises(NotQuiet, self.world.check_quiet)))
        self.assertEqual(self.world.flush_logged(KeyError), [])
        self.assertEqual(len(self.world.flush_logged(ZeroDivisionError)), 1)
        self.world.check_quiet()
        self.flushLoggedErrors(ZeroDivisionError)

    def test_unhandled_deferred(self) -> None:
        """An error in a Deferred that nobody took is found."""
        fail(ValueError("nobody took this"))
        self.assertIn("nobody took this", str(self.assertRaises(NotQuiet, self.world.check_quiet)))
        self.flushLoggedErrors(ValueError)

    def test_critical_and_old_style(self) -> None:
        """Critical messages and errors of the old log are found."""
        Logger().critical("everything is lost")
        log.err(ValueError("old style"))
        error = self.assertRaises(NotQuiet, self.world.check_quiet)
        for part in ("everything is lost", "old style"):
            self.assertIn(part, str(error))
        self.flushLoggedErrors(ValueError)

    def test_global_reactor(self) -> None:
        """What was scheduled on the global reactor, where it would never run, is found."""
        call = real_reactor.callLater(1000, Logger.info)
        self.addCleanup(call.cancel)
        self.assertIn("Logger.info", str(self.assertRaises(NotQuiet, self.world.check_quiet)))

    def test_closed_world_listens_no_more(self) -> None:
        """After its end a world takes no notice of the log; closing kills what still lives."""
        process = self.node.start()
        self.world.close()
        self.world.close()
        log.err(ValueError())
        self.assertEqual((self.world.problems, process.reactor.alive), ([], False))
        self.flushLoggedErrors(ValueError)

    def test_clock_of_its_own(self) -> None:
        """Worlds do not share time."""
        with World(2) as other:
            other.advance(5)
            self.assertIsInstance(other.clock, HeapClock)
            self.assertEqual((self.world.clock.seconds(), other.clock.seconds()), (0.0, 5.0))
