"""Several be on one store, under a virtual clock: who joins, leaves or dies, and what that does to the events."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

from attrs import define
from twisted.internet.defer import fail
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.server.assignment import assigned
from taba.server.backend import Backend
from taba.server.frontend import Frontend
from taba.server.latency import LatencyTracker
from taba.server.observation import Observer
from taba.server.publishing import HOLDING, INSTEAD_OF, Publishing
from taba.testing.stores import FaultyStore
from taba.wire.v2 import AppendRequest
from tests.server.making import NOW, Lanes, Silent, memory_store, registry, sections

VBUCKETS = 32


@define(eq=False)
class One:
    """A be with what publishes it, on a link of its own to the store."""

    name: str
    store: FaultyStore
    backend: Backend
    publishing: Publishing

    @property
    def held(self) -> set[int]:
        """What it folds."""
        return set(self.backend.folding)


class SeveralCase(SynchronousTestCase):
    """A store of 32 vbuckets."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = memory_store(self.clock, VBUCKETS, wall=lambda: NOW + self.clock.seconds())
        self.lanes = Lanes()
        self.random = Random(5)
        self.appended = 0
        self.living: dict[str, One] = {}
        self.addCleanup(self.stop_all)

    def stop_all(self) -> None:
        """Stop who lives still."""
        for name in list(self.living):
            self.stop(name)

    def start(self, name: str, weight: float = 1.0, *, member: str = "", life: str = "") -> One:
        """A be starts, which publishes itself as `member`: its name, unless another is given."""
        store = FaultyStore(self.memory)
        observer = Observer(Silent(), lambda: NOW + self.clock.seconds())
        backend = Backend(
            store, registry(), self.clock, lambda: NOW, f"{name}.{self.clock.seconds()}", observer,
            member=member or name, weight=weight,
        )  # fmt: skip
        publishing = Publishing(
            store, member or name, ["be"], backend, LatencyTracker(), self.clock, lambda: NOW + self.clock.seconds(),
            lambda: None, pace=HOLDING, weight=weight, life=life,
        )  # fmt: skip
        one = self.living[name] = One(name, store, backend, publishing)
        backend.startService()
        publishing.startService()
        return one

    def stop(self, name: str) -> None:
        """A be stops in good order."""
        one = self.living.pop(name)
        for service in (one.publishing, one.backend):
            stopping = service.stopService()
            self.clock.advance(0.0)
            self.successResultOf(stopping)

    def kill(self, name: str) -> One:
        """A be dies: nothing that it does reaches the store any more."""
        one = self.living.pop(name)
        one.store.unavailable()
        return one

    def run_for(self, seconds: float) -> None:
        """Let time pass, with events for most vbuckets each half a second."""
        for step in range(int(seconds * 20)):
            if step % 10 == 0:
                events = [("c", f"t{number}", "CounterGroup", NOW, "1") for number in range(40)]
                self.appended += len(events)
                self.successResultOf(self.memory.append(self.lanes.appends(sections(events, VBUCKETS))))
            self.clock.advance(0.05)

    def wanted(self) -> dict[int, str]:
        """Where each vbucket belongs."""
        names = {one.publishing.member: name for name, one in self.living.items()}
        weights = {one.publishing.member: one.publishing.weight for one in self.living.values()}
        return {vbucket: names[member] for vbucket, member in assigned(range(VBUCKETS), weights).items()}

    def owners(self) -> dict[int, str]:
        """Where each vbucket is; none is with two."""
        held = [(vbucket, name) for name, one in self.living.items() for vbucket in one.held]
        self.assertEqual(len(held), len(dict(held)))
        return dict(sorted(held))

    def folded(self) -> int:
        """How many events the ledger has."""
        return int(self.successResultOf(self.memory.ledger())["folded"])

    def assert_exact(self) -> None:
        """Every event that was appended was folded once."""
        for _ in range(40):
            self.clock.advance(0.05)
        self.assertEqual(self.folded(), self.appended)


class SeveralTests(SeveralCase):
    """What others do not feel."""

    def test_a_joiner_gets_its_share(self) -> None:
        """A be that joins under load gets what belongs to it, nothing else moves, and every event counts once."""
        first = self.start("a")
        self.run_for(3.0)
        self.assertEqual(len(first.held), VBUCKETS)
        second = self.start("b")
        self.run_for(12.0)
        self.assertEqual(self.owners(), self.wanted())
        measures = first.backend._observer.measures
        self.assertEqual((measures.handed_over, measures.leases_lost), (len(second.held), 0))
        self.assertEqual(second.backend._observer.measures.taken_over, len(second.held))
        self.assertLess(second.backend._observer.measures.takeovers.total, 1.5 * len(second.held))
        self.assert_exact()

    def test_a_heavier_one_gets_more(self) -> None:
        """Shares follow WEIGHT."""
        self.start("a")
        self.start("b", 3.0)
        self.run_for(12.0)
        self.assertEqual(self.owners(), self.wanted())
        self.assertGreater(len(self.living["b"].held), len(self.living["a"].held))
        self.assertEqual(self.living["b"].backend.leasing.missing(), 0)

    def test_one_stops(self) -> None:
        """What a be had that stops in good order is with the others within a second."""
        for name in "abc":
            self.start(name)
        self.run_for(10.0)
        before = self.owners()
        self.stop("b")
        self.run_for(1.0)
        after = self.owners()
        self.assertEqual(after, self.wanted())
        self.assertEqual([v for v in after if after[v] != before[v]], [v for v in before if before[v] == "b"])
        self.assert_exact()

    def test_one_dies(self) -> None:
        """What a be had that was killed is with the others within three seconds."""
        for name in "abc":
            self.start(name)
        self.run_for(10.0)
        self.kill("b")
        self.run_for(2.75)
        self.assertEqual(self.owners(), self.wanted())
        self.assert_exact()

    def test_restarts_one_after_another(self) -> None:
        """Each be stopped and started again, under load: everything is where it was, and every event counts once."""
        for name in "abc":
            self.start(name)
        self.run_for(10.0)
        before = self.owners()
        for name in "abc":
            self.stop(name)
            self.run_for(1.0)
            self.start(name)
            self.run_for(10.0)
        self.assertEqual(self.owners(), before)
        self.assert_exact()

    def test_checkpoint_before_a_hand_over_fails(self) -> None:
        """What could not be written is not handed over unwritten: it is loaded again, and every event counts once."""
        first = self.start("a")
        self.run_for(3.0)
        self.start("b")
        first.store.fail_after("checkpoint", times=3)
        first.store.fail_before("release", times=2)
        self.run_for(45.0)
        self.assertEqual(self.owners(), self.wanted())
        self.assert_exact()

    def test_joiner_while_loads_take_long(self) -> None:
        """A be that joins while another loads gets its share as soon as that is loaded."""
        self.start("a")
        self.run_for(3.0)
        second = self.start("b")
        second.store.hold("load")
        self.run_for(4.0)
        self.start("c")
        self.run_for(4.0)
        second.store.let_go("load")
        self.run_for(30.0)
        self.assertEqual(self.owners(), self.wanted())
        self.assert_exact()

    def test_load_that_fails_here_succeeds_elsewhere(self) -> None:
        """A be that cannot load what belongs to it leaves it to the others, who go on folding it."""
        self.start("a")
        self.run_for(3.0)
        second = self.start("b")
        second.store.fail_before("load", times=10_000)
        self.run_for(20.0)
        self.assertEqual(set(self.owners().values()), {"a"})
        self.run_for(3.0)
        self.assertEqual(len(self.living["a"].held), VBUCKETS)
        self.assert_exact()

    def test_nothing_is_heard(self) -> None:
        """While nobody hears of the others, leases are kept, and what nobody holds is taken by somebody."""
        for name in "ab":
            self.start(name)
        self.run_for(10.0)
        before = self.owners()
        for one in self.living.values():
            one.store.fail_before("members", times=12)
        self.run_for(5.0)
        self.assertEqual(self.owners(), before)
        for one in self.living.values():
            one.store.fail_before("members", times=10_000)
        self.kill("b")
        self.run_for(5.0)
        self.assertEqual(set(self.owners().values()), {"a"})
        self.assert_exact()
        self.assertEqual(self.flushLoggedErrors(StoreUnavailable), [])

    def test_hand_over_that_fails_keeps_no_stop(self) -> None:
        """A hand-over that ends with what nobody thought of is told; what it did not give is folded on, and a stop
        writes all that was folded.
        """
        first = self.start("a")
        self.run_for(3.0)
        self.start("b")
        store: Any = first.store
        release = store.release
        store.release = lambda leases: fail(ZeroDivisionError())
        self.run_for(6.0)
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))
        store.release = release
        self.assertEqual([v for v, each in first.backend.folding.items() if each.leaving], [])
        store.release = lambda leases: fail(ZeroDivisionError())
        self.run_for(0.1)
        self.stop("a")
        self.flushLoggedErrors(ZeroDivisionError)
        self.run_for(15.0)
        self.assert_exact()

    def test_recompute_reaches_all(self) -> None:
        """/recompute of one server lets every be look anew."""
        for name in "ab":
            self.start(name)
        self.run_for(5.0)
        asked: list[str] = []
        for name, one in self.living.items():
            one.publishing._actions["recompute"] = partial(asked.append, name)
        self.living["a"].publishing.recompute()
        self.run_for(1.0)
        self.assertEqual(asked, ["a", "b"])


class OneNameTests(SeveralCase):
    """Two be that would go by one name, as two containers of one host name do."""

    def test_both_have_a_share(self) -> None:
        """The later one takes another name, and its share; nothing else moves, and every event counts once. Who is
        killed and started again has its name and its share again.
        """
        with capturedLogs() as logged:
            first = self.start("a", member="taba", life="1")
            self.run_for(3.0)
            second = self.start("b", member="taba", life="2")
            self.run_for(14.0)
        said = [formatEvent(event) or "" for event in logged]
        (line,) = [each for each in said if "Another server process is taba" in each]
        self.assertIn("goes by taba.2", line)
        self.assertIn("BASE_PORT", line)
        self.assertEqual((first.publishing.member, second.publishing.member), ("taba", "taba.2"))
        self.assertEqual(self.owners(), self.wanted())
        self.assertGreater(min(len(first.held), len(second.held)), 0)
        measures = first.backend._observer.measures
        self.assertEqual((measures.handed_over, measures.leases_lost), (len(second.held), 0))
        before = self.owners()
        for name, life in (("b", "3"), ("a", "4")):
            member = self.kill(name).publishing.member
            self.run_for(0.3)
            again = self.start(name, member="taba", life=life)
            self.run_for(14.0)
            self.assertEqual(again.publishing.member, member)
        self.assertEqual(self.owners(), before)
        self.assert_exact()

    def test_beside_a_former_release(self) -> None:
        """A be of a release that knows nothing of this keeps its name and, as a third one sees it, its share."""
        self.start("old", member="taba")
        self.start("c")
        self.run_for(8.0)
        self.start("new", member="taba", life="1")
        self.run_for(14.0)
        self.assertEqual(self.living["new"].publishing.member, "taba.2")
        self.assertEqual(self.owners(), self.wanted())
        self.assertEqual(set(self.owners().values()), {"old", "new", "c"})
        self.assert_exact()

    def test_shown(self) -> None:
        """Both are among what is published, and who took another name says so."""
        self.start("a", member="taba", life="1")
        second = self.start("b", member="taba", life="2")
        self.run_for(5.0)
        facts = self.successResultOf(second.publishing.members())
        self.assertEqual({name: each.get(INSTEAD_OF) for name, each in facts.items()}, {"taba": None, "taba.2": "taba"})


class NobodyTests(SeveralCase):
    """No be runs."""

    def test_fe_accepts_until_the_limit(self) -> None:
        """fe takes events until the logs hold QUEUE_CAPACITY, then says that none of them goes on; as soon as a be is
        there, what was taken is counted, and fe takes events again.
        """
        observer = Observer(Silent(), lambda: NOW)
        frontend = Frontend(
            self.memory, registry(), self.clock, lambda: NOW, observer, queue_capacity=20_000, throttle_capacity=20_000
        )
        problem = ""
        while not problem:
            events = [("c", f"t{number}", "CounterGroup", NOW, "1") for number in range(40)]
            batches = tuple(self.lanes.appends(sections(events, VBUCKETS)))
            self.clock.advance(2.0)
            answer = frontend.append(AppendRequest(self.memory.cluster.id, NOW, batches))
            if isinstance(getattr(answer, "result", None), Failure):
                problem = str(self.failureResultOf(answer, StoreUnavailable).value)
            else:
                self.successResultOf(answer)
                self.appended += len(events)
        self.assertIn("be does not keep up, or no be runs", problem)
        waiting = sum(each.bytes for each in self.successResultOf(self.memory.depth()))
        self.assertGreater(waiting, 20_000)
        self.start("a")
        self.assert_exact()
        self.clock.advance(2.0)
        self.successResultOf(frontend.append(AppendRequest(self.memory.cluster.id, NOW, batches)))
        self.appended += 40
        self.assert_exact()
