"""be over a memory store: what was appended becomes visible, and nothing that goes wrong loses or doubles an event."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.errors import StoreUnavailable
from taba.interfaces import Checkpoint, Lease, Loaded, LogEntry, Style, Written
from taba.server.backend import Backend
from taba.server.observation import Observer
from taba.server.parameters import Parameters
from taba.server.query import Query
from taba.testing.stores import FaultyStore
from tests.server.making import NOW, Lanes, Silent, memory_store, registry, sections


class BackendTests(SynchronousTestCase):
    """One be, one store, a virtual clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.now = NOW
        self.memory = memory_store(self.clock, vbuckets=4, wall=lambda: self.now)
        self.store = FaultyStore(self.memory)
        self.lanes = Lanes()
        self.recorder = Silent()
        self.backend = self.make_backend("be-1")
        self.backend.startService()

    def make_backend(self, owner: str) -> Backend:
        """Another be on the same store."""
        self.observer = Observer(self.recorder, lambda: NOW)
        return Backend(self.store, registry(), self.clock, lambda: self.now, owner, self.observer)

    def append(self, *events: tuple[str, str, str, float, str]) -> None:
        """Append events as one agent's next batches."""
        self.successResultOf(self.memory.append(self.lanes.appends(sections(events, 4))))

    def pump(self, seconds: float = 1.0) -> None:
        """Let time pass in small steps."""
        for _ in range(int(seconds * 20)):
            self.clock.advance(0.05)

    def tabs(self, style: Style = Style.TEXT, **asked: str) -> dict[str, str]:
        """What /tabs would show."""
        shown: list[tuple[str, str]] = []
        query = Query(self.memory, registry(), lambda: NOW, self.clock)
        asking = query.aggregates(Parameters(**asked), style, lambda *pair: shown.append(pair))
        self.successResultOf(Deferred.fromCoroutine(asking))
        return dict(shown)

    def count(self, tab: str) -> int:
        """The all-time count of a CounterGroup."""
        shown = self.tabs(name=tab).get(tab)
        return int(shown.rsplit('"count": ', 1)[1].split(",")[0]) if shown else 0

    def test_events_become_visible(self) -> None:
        """What was appended is in the Aggregate after a checkpoint."""
        self.append(("c", "a", "CounterGroup", NOW, "100"), ("d", "a", "CounterGroup", NOW, "1000"))
        self.pump()
        self.assertEqual(
            self.tabs(name="a")["a"][:62], '{"1m": {"count": 2, "total": 1100.00, "average": 550.00}, "10m'
        )

    def test_gauges_are_reduced_from_states(self) -> None:
        """A Gauge counts clients by their latest value, beside counters in one sorted listing."""
        self.append(
            ("c", "g", "Gauge", NOW - 1, '"old"'),
            ("c", "g", "Gauge", NOW, '"new"'),
            ("d", "g", "Gauge", NOW, '"new"'),
            ("c", "z", "CounterGroup", NOW, "1"),
            ("c", "b", "CounterGroup", NOW, "1"),
        )
        self.pump()
        shown = self.tabs()
        self.assertEqual(list(shown), ["b", "g", "z"])
        self.assertEqual(shown["g"], '{"new": 2}')

    def test_aggregate_equals_reduced_states(self) -> None:
        """The running Aggregate is what reducing all States gives, over many checkpoints."""
        for turn in range(5):
            for client in ("c", "d", "e"):
                self.append((client, "a", "CounterGroup", NOW - turn, str(turn)))
            self.pump()
        self.assertEqual(self.tabs(name="a"), self.tabs(name="a", client="c,d,e"))

    def test_other_type_is_refused(self) -> None:
        """A tab keeps its first Type; events of another one are in the ledger as refused."""
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.append(("c", "a", "PercentileGroup", NOW, "1"))
        self.pump()
        ledger = self.successResultOf(self.memory.ledger())
        self.assertEqual({key: n for key, n in ledger.items() if n}, {"folded": 1, "refused.other type": 1})

    def test_future_is_refused(self) -> None:
        """A Partial that was too far in the future when its batch was appended is refused, however late it is folded.
        """
        self.append(("c", "a", "CounterGroup", NOW + 62, "1"))
        self.append(("c", "a", "CounterGroup", NOW + 59, "1"))
        self.pump()
        ledger = self.successResultOf(self.memory.ledger())
        self.assertEqual(ledger["refused.future"], 1)
        self.assertEqual(self.count("a"), 1)

    def test_unknown_type_is_set_aside(self) -> None:
        """A Partial of a Type without Handler is kept for later and stops nothing."""
        made = sections([("c", "a", "Novel", NOW, "1"), ("c", "b", "CounterGroup", NOW, "1")], 4, {
            "Novel": 0, "CounterGroup": 1,
        })
        self.successResultOf(self.memory.append(self.lanes.appends(made)))
        self.pump()
        kept = self.successResultOf(self.memory.aside(10))
        self.assertEqual([(each.reason, each.tab, each.events) for each in kept], [("unknown type", "a", 1)])
        self.assertEqual(self.count("b"), 1)

    def test_unknown_outcome_of_a_checkpoint(self) -> None:
        """A checkpoint that was written although its answer was lost is not folded a second time."""
        self.store.fail_after("checkpoint")
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.pump(5)
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.pump(5)
        self.assertEqual(self.count("a"), 2)

    def test_checkpoint_not_written(self) -> None:
        """A checkpoint that failed is made again from the log."""
        self.store.fail_before("checkpoint")
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.pump(5)
        self.assertEqual(self.count("a"), 1)

    def test_states_cannot_be_read(self) -> None:
        """When the States of a checkpoint cannot be read, nothing is overwritten: it is made later."""
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.pump()
        self.successResultOf(self.backend.stopService())
        self.backend = self.make_backend("be-2")
        self.backend.startService()
        self.store.fail_before("states")
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.pump(5)
        self.assertEqual(self.count("a"), 2)

    def test_events_while_states_are_read(self) -> None:
        """Events that arrive while a checkpoint reads its States wait for the next one: they do not take a State for
        new.
        """
        self.append(("c", "a", "CounterGroup", NOW, "1"), ("d", "a", "CounterGroup", NOW, "1"))
        self.pump()
        self.successResultOf(self.backend.stopService())
        self.backend = self.make_backend("be-2")
        self.backend.startService()
        self.pump()
        self.store.hold("states")
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.pump()
        self.append(("d", "a", "CounterGroup", NOW, "1"))
        self.pump()
        self.store.let_go("states")
        self.pump(3)
        self.assertEqual(self.count("a"), 4)
        self.assertEqual(self.tabs(name="a"), self.tabs(name="a", client="c,d"))

    def test_takes_over(self) -> None:
        """Another be goes on from the last checkpoint once the lease of a dead one has expired."""
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.pump()
        self.store.unavailable()
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        observer = Observer(self.recorder, lambda: NOW)
        other = Backend(self.memory, registry(), self.clock, lambda: self.now, "be-2", observer)
        other.startService()
        self.pump(5)
        self.assertEqual(self.count("a"), 2)
        self.store.unavailable(False)
        self.successResultOf(other.stopService())

    def test_count_that_nobody_counted(self) -> None:
        """A batch whose numbers are absurd costs nothing but itself: other vbuckets, and its own, go on."""
        made = sections([("c", "a", "Novel", NOW, "1")], 4, {"Novel": 0})
        hostile = made[0].data.replace(b"\x00\x01\x02\x01", b"\x00\x01\x02" + b"\xff" * 9 + b"\x01", 1)
        self.assertNotEqual(hostile, made[0].data)
        poisoned = native.Section(made[0].vbucket, 1, hostile)
        self.assertEqual(native.batch_entries(hostile)[0].events, 2**64 - 1)
        self.successResultOf(self.memory.append(self.lanes.appends([poisoned])))
        self.append(("c", "a", "CounterGroup", NOW, "1"), ("c", "b", "CounterGroup", NOW, "1"))
        self.pump(3)
        self.assertEqual((self.count("a"), self.count("b")), (1, 1))

    def test_checkpoint_that_no_store_can_write(self) -> None:
        """What a store raises for one vbucket keeps no other vbucket from being written."""
        original = self.memory.checkpoint

        def checkpoint(checkpoints: list[Checkpoint]) -> Deferred[list[Written]]:
            if any(each.lease.vbucket == 0 for each in checkpoints):
                return fail(OverflowError("no store can hold this"))
            return original(checkpoints)

        self.store.checkpoint = checkpoint  # type: ignore[method-assign]
        names = [f"t{number}" for number in range(40)]
        self.append(*((("c", name, "CounterGroup", NOW, "1")) for name in names))
        self.pump(5)
        elsewhere = [name for name in names if native.crc32(name.encode()) % 4]
        self.assertEqual([self.count(name) for name in elsewhere], [1] * len(elsewhere))
        self.assertTrue(self.flushLoggedErrors(OverflowError))

    def test_undecodable_batch_counts(self) -> None:
        """A batch of which nothing can be read is refused with the number of events that its lane counted, and kept
        aside; what follows it is folded.
        """
        junk = native.Section(native.crc32(b"a") % 4, 7, b"no batch at all")
        self.successResultOf(self.memory.append(self.lanes.appends([junk])))
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.pump()
        ledger = self.successResultOf(self.memory.ledger())
        self.assertEqual({key: n for key, n in ledger.items() if n}, {"folded": 1, "refused.undecodable": 7})
        kept = self.successResultOf(self.memory.aside(10))
        self.assertEqual([(each.reason, each.events, each.partial) for each in kept], [
            ("undecodable", 7, b"no batch at all"),
        ])

    def test_entries_of_another_lineage(self) -> None:
        """What is read under another lineage than was loaded follows other events: the vbucket is loaded again, and
        each event counts once.
        """
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.pump()
        original, read_again = self.memory.read, []

        def read(after: Mapping[int, int], max_bytes: int, wait: float) -> Deferred[list[LogEntry]]:
            def elsewhere(entries: list[LogEntry]) -> list[LogEntry]:
                read_again.extend(entries)
                return [evolve(each, lineage="f" * 32) for each in entries]

            return original(after, max_bytes, wait).addCallback(elsewhere)

        self.successResultOf(self.backend.stopService())
        self.backend = self.make_backend("be-2")
        self.store.read = read  # type: ignore[method-assign]
        self.backend.startService()
        self.append(("c", "a", "CounterGroup", NOW, "1"), ("c", "a", "CounterGroup", NOW, "1"))
        self.pump(3)
        self.assertGreater(len(read_again), 1)
        self.assertGreater(self.observer.dropped_vbuckets, 1)
        self.assertEqual(self.count("a"), 1)
        self.store.read = original  # type: ignore[method-assign]
        self.pump(3)
        self.assertEqual(self.count("a"), 3)

    def test_load_that_fails(self) -> None:
        """A vbucket that cannot be loaded costs no other one anything, and is tried again at the next look."""
        for problem in (StoreUnavailable("away"), ValueError("unreadable")):
            self.successResultOf(self.backend.stopService())
            loads: list[int] = []
            original = self.memory.load

            def load(lease: Lease, problem: Exception = problem, loads: list[int] = loads) -> Deferred[Loaded]:
                loads.append(lease.vbucket)
                return fail(problem) if lease.vbucket == 1 and loads.count(1) < 3 else self.memory.load(lease)

            self.store.load = load  # type: ignore[method-assign]
            self.backend = self.make_backend("be-2")
            self.backend.startService()
            self.clock.advance(0)
            self.assertEqual(sorted(self.backend.folding), [0, 2, 3])
            self.pump(1.5)
            self.assertEqual(sorted(self.backend.folding), [0, 1, 2, 3])
            self.assertEqual(sorted(loads), [0, 1, 1, 1, 2, 3])
            self.store.load = original  # type: ignore[method-assign]
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_loads_run_side_by_side(self) -> None:
        """All loads are asked for at once, and a vbucket is read as soon as it is there, whatever the others do: also
        when one hangs for longer than leases hold.
        """
        self.successResultOf(self.backend.stopService())
        waiting: dict[int, Deferred[None]] = {}
        original = self.memory.load

        def load(lease: Lease) -> Deferred[Loaded]:
            waiting[lease.vbucket] = Deferred()
            return waiting[lease.vbucket].addCallback(lambda _: original(lease))

        self.store.load = load  # type: ignore[method-assign]
        self.backend = self.make_backend("be-2")
        self.backend.startService()
        self.assertEqual(sorted(waiting), [0, 1, 2, 3])
        names = ["t0", "t1", "t2", "t3", "t4", "t5"]
        self.append(*(("c", name, "CounterGroup", NOW, "1") for name in names))
        done: set[int] = set()
        for vbucket in (2, 0):
            waiting[vbucket].callback(None)
            done.add(vbucket)
            self.pump(3.0)
            here = [name for name in names if native.crc32(name.encode()) % 4 in done]
            self.assertEqual([self.count(name) for name in here], [1] * len(here))
        waiting[1].errback(StoreUnavailable("away"))
        waiting[3].callback(None)
        self.pump()
        self.assertEqual(sorted(self.backend.folding), [0, 2, 3])
        waiting[1].callback(None)
        self.pump()
        self.assertEqual([self.count(name) for name in names], [1] * len(names))
        self.assertEqual(self.observer.dropped_vbuckets, 0)

    def test_idle_lanes_are_forgotten(self) -> None:
        """What the store knows of lanes that were idle for DEDUP_DAYS goes, without anybody asking for it."""
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.pump()
        self.now += 15 * 86_400
        for _ in range(4):
            self.clock.advance(1000.0)
        self.pump()
        self.assertEqual(self.successResultOf(self.memory.prune(self.now)), 0)

    def test_stops_with_nothing_pending(self) -> None:
        """After stopService no delayed call is left, and what was folded is written."""
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.clock.advance(0)
        self.successResultOf(self.backend.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.count("a"), 1)

    def test_own_tabs(self) -> None:
        """A server records the original's tabs about its own work."""
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.pump()
        self.assertEqual(
            {name for name, _ in self.recorder.percentiles},
            {"taba_latency_task_in_queue_ms", "taba_latency_task_processed_ms", "task_process_time_time"},
        )

    def test_store_unavailable_is_survived(self) -> None:
        """Reading goes on when the store is there again."""
        self.store.fail_before("read", times=3)
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.pump(40)
        self.assertEqual(self.count("a"), 1)
        self.assertEqual(self.flushLoggedErrors(StoreUnavailable), [])
