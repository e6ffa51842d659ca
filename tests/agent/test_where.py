"""How far events are at an agent: `/where`, `/held`, `/ledger`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from taba.agent import where
from taba.agent.where import OPEN_BYTES, READ_BYTES, HeldSince, Newest, held_since, newest
from tests.agent.agent_case import AgentCase, Away, Gate
from tests.agent.test_double import DoubleCase


class WhereCase(AgentCase):
    def event(self, value: int = 1) -> None:
        """Give an event now."""
        self.at = float(int(self.wall()))
        self.give(value)

    def ask(self, work: Any) -> Any:
        asked: Deferred[Any] = Deferred.fromCoroutine(work)
        for _ in range(500):
            if asked.called:
                break
            self.clock.advance(0.01)
        return self.successResultOf(asked)

    def newest(self, tab: str = "t", client: str = "client") -> Newest:
        found: Newest = self.ask(newest(self.agent, tab, client))
        return found

    def held(self) -> HeldSince:
        found: HeldSince = self.ask(held_since(self.agent))
        return found


class NewestTests(WhereCase):
    def test_open(self) -> None:
        """An event that is not committed yet is found."""
        self.agent = self.start(Away())
        self.event(1)
        self.assertEqual(self.newest().time, self.at)
        self.assertTrue(self.newest().complete)
        self.stop()

    def test_nothing(self) -> None:
        """Of other tabs and clients there is nothing."""
        self.agent = self.start(Away())
        self.event(1)
        self.assertEqual(self.newest("other"), Newest(None, True))
        self.assertEqual(self.newest("t", "other"), Newest(None, True))
        self.stop()

    def test_before_the_cluster_is_known(self) -> None:
        """What was committed before any server answered is read back from the spool."""
        self.agent = self.start(Away())
        self.event(1)
        self.pass_time(2.0)
        self.assertEqual(self.newest(), Newest(self.at, True))
        self.crash()
        self.agent = self.start(Away())
        self.assertEqual(self.newest(), Newest(self.at, True))
        self.stop()

    def test_held_by_lanes(self) -> None:
        """What servers have and have not confirmed yet is found, until it is confirmed."""
        self.agent = self.start(Gate(self.local))
        self.event(1)
        self.pass_time(2.0)
        self.assertGreater(self.agent.lanes.totals().batches, 0)
        self.assertEqual(self.newest(), Newest(self.at, True))
        self.pass_time(15.0)
        self.assertEqual(self.agent.lanes.totals().batches, 0)
        self.assertEqual(self.newest(), Newest(None, True))
        self.stop()

    def test_at_every_moment(self) -> None:
        """At no moment between its arrival and its confirmation is an event not found."""
        self.agent = self.start(Gate(self.local))
        self.event(1)
        for _ in range(100):
            self.clock.advance(0.01)
            self.assertEqual(self.newest().time, self.at)
        self.stop()

    def test_bounded(self) -> None:
        """Beyond the bounds an answer says that it is not complete."""
        self.assertGreater(READ_BYTES, OPEN_BYTES)
        self.agent = self.start(Gate(self.local))
        self.patch(where, "OPEN_BYTES", 0)
        self.event(1)
        self.assertFalse(self.newest().complete)
        self.pass_time(2.0)
        self.assertEqual(self.newest(), Newest(self.at, True))
        self.patch(where, "READ_BYTES", 1)
        self.assertEqual(self.newest(), Newest(None, False))
        self.stop()


class HeldTests(WhereCase):
    def test_nothing(self) -> None:
        """An agent that holds nothing says so."""
        self.agent = self.start(Gate(self.local))
        self.pass_time(1.0)
        held = self.held()
        self.assertEqual((held.pending, held.oldest), (0, None))
        self.assertAlmostEqual(held.now, self.wall(), delta=1.0)
        self.stop()

    def test_oldest(self) -> None:
        """Since when something is held is known from its arrival to its confirmation, over restarts, too."""
        self.agent = self.start(Gate(self.local))
        self.pass_time(1.0)
        taken = self.wall()
        self.event(1)
        for _ in range(60):
            self.clock.advance(0.05)
            oldest = self.held().oldest
            assert oldest is not None
            self.assertAlmostEqual(oldest, taken, delta=0.2)
        self.crash()
        self.agent = self.start(Gate(self.local))
        self.assertAlmostEqual(self.held().oldest or 0.0, taken, delta=0.2)
        self.event(2)
        self.pass_time(3.0)
        self.assertAlmostEqual(self.held().oldest or 0.0, taken, delta=0.2)
        self.pass_time(20.0)
        self.assertEqual((self.held().pending, self.held().oldest), (0, None))
        self.stop()

    def test_later_events(self) -> None:
        """When the first events are confirmed, the later ones count."""
        self.agent = self.start(Gate(self.local))
        self.pass_time(1.0)
        self.event(1)
        self.pass_time(4.0)
        later = self.wall()
        self.give(2, tab="u")
        self.pass_time(2.5)
        self.assertGreaterEqual(self.held().oldest or 0.0, later - 0.1)
        self.assertEqual(self.held().pending, 1)
        self.stop()


class DoubleTests(DoubleCase):
    """With DOUBLE_AGENT."""

    def test_both_spools(self) -> None:
        """An agent that copies everything holds it until both sets of servers have confirmed it."""
        self.stop()
        self.begin(Away())
        self.give(1)
        self.pass_time(20.0)
        asked = Deferred.fromCoroutine(held_since(self.agent))
        held = self.successResultOf(asked)
        self.assertEqual(self.agent.ledger()["pending"], 0)
        self.assertEqual(held.pending, 1)
        self.assertLess(held.oldest or 0.0, held.now - 19.0)
        self.stop()
