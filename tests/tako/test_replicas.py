"""Replicas on simulated machines: levels, hints, repair, healing, deletes, wrong clocks, full disks."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail

from taba.tako.copying import copy
from taba.tako.errors import DiskFull, NotEnough, Refused, Unreachable
from taba.tako.interfaces import Write
from taba.tako.levels import Level
from taba.tako.records import PIECE, Version, version_of
from tests.tako.case import LARGE, ClusterCase
from tests.tako.simulated import HTTP, deployment, document


class BreaksOff:
    """Records whose second piece never comes."""

    def __init__(self, records: Any) -> None:
        self.read = records.read

    def piece(self, key: bytes, version: Version, number: int) -> Deferred[bytes]:
        """See `IRecords`."""
        return fail(Unreachable("n1", "it went away"))


def _copied(key: bytes, source: Any, sink: Any) -> Deferred[Any]:
    return Deferred.fromCoroutine(copy(key, source, sink, lambda: "upload"))


def _pieces(database: Any) -> Any:
    return database.execute("SELECT count(*) FROM pieces").fetchone()[0]


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

    def test_a_damaged_value_stays_while_nobody_has_it(self) -> None:
        """Its version goes on hiding older ones: a get fails rather than give what was replaced.
        """
        self.tako.put(b"k", b"old", level=Level.ALL)
        for node in ("n2", "n3", "n4"):
            self.tako.nodes[node].crash()
        self.tako.put(b"k", b"new", level=Level.ONE)
        self._damage("n1")
        self.tako.node("n1").records.cache.max_bytes = 0
        self.tako.node("n1").records.cache.change_begins(b"k")
        self.tako.node("n1").records.cache.change_ended(b"k", None)
        self.tako.heal()
        for node in ("n2", "n3"):
            self.tako.nodes[node].start()
        self.tako.world.run_until(lambda: {"n2", "n3"} <= set(self.tako.up()), 60.0)
        self.tako.world.advance(8.0)
        for asked in ("n1", "n2"):
            self.assertEqual(self.ask(b"GET", "/values/k", host=asked, port=HTTP)[0], 503)
        self.assertEqual(self.tako.node("n1").healing.progress.damaged, 1)

    def _damage(self, node: str) -> None:
        database = self.tako.world.nodes[node].disk.folder("var").database("tako.db")
        database.execute("UPDATE pieces SET body = x'00'")
        database.close()

    def test_a_copy_that_breaks_off_leaves_nothing(self) -> None:
        """A large value whose source goes away is forgotten where it was going."""
        self._one_has(b"large", LARGE)
        sink = self.tako.node("n2").records
        source = BreaksOff(self.tako.node("n1").records)
        self.assertRaises(Unreachable, self.tako.world.result_of, _copied(b"large", source, sink))
        self.assertEqual(sink._uploads, {})
        self.assertEqual(self.tako.world.result_of(sink._query(_pieces)), 0)

    def test_a_large_value_at_level_one(self) -> None:
        """With one node of four a value of several pieces is stored, as a small one is."""
        for node in ("n2", "n3", "n4"):
            self.tako.nodes[node].crash()
        self.assertEqual(self.ask(b"POST", "/values/large?level=one", LARGE)[0], 200)
        self.assertEqual(self.ask(b"GET", "/values/large?level=one")[1], LARGE)

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


class HintTests(ClusterCase):
    """Hints, where nothing else repairs."""

    configuration = document(main=deployment(2, background_healing=False))

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


class ThriftyTests(ClusterCase):
    """Without read repair."""

    configuration = document(main=deployment(2, read_repair=False, healing_rate=10))

    def test_a_get_asks_a_quorum_only(self) -> None:
        """Three of four nodes are asked; a fourth when one of them is down."""
        self.tako.put(b"k", b"1", level=Level.ALL)
        self.tako.world.advance(1.0)
        before = self._asked()
        self.tako.get(b"k")
        self.assertEqual(self._asked() - before, 3)
        self.tako.nodes["n1"].crash()
        for _ in range(4):
            found = self.tako.get(b"k")
            self.assertEqual(found.body if found else None, b"1")
        self.assertRaises(NotEnough, self.tako.get, b"k", level=Level.ALL)

    def test_one_looks_on_where_a_node_knows_nothing(self) -> None:
        """A get at level one finds a key that only one of its nodes has."""
        version = version_of(self.tako.node("n3").clock.now(), b"x")
        self.tako.world.result_of(self.tako.node("n3").records.write(Write(b"k", version, b"x")))
        for _ in range(4):
            found = self.tako.get(b"k", level=Level.ONE)
            self.assertEqual(found.body if found else None, b"x")
        self.assertIsNone(self.tako.get(b"other", level=Level.ONE))

    def test_healing_keeps_to_its_rate_and_tells_how_far_it_is(self) -> None:
        """At ten keys a second thirty keys take three seconds; meanwhile there is progress and an estimate."""
        for number in range(30):
            self.tako.put(b"%d" % number, b"x", level=Level.ALL)
        healing = self.tako.node("n1").healing
        began, done = self.tako.world.clock.seconds(), healing.run()
        self.tako.world.run_until(lambda: healing.progress.walked, 10.0)
        shown = healing.shown()
        self.assertTrue(shown["running"] and 0 < shown["done"] < 1 and shown["seconds_left"] >= 0, shown)
        self.tako.world.result_of(done)
        self.assertGreater(self.tako.world.clock.seconds() - began, 2.9)
        self.assertEqual((healing.shown()["done"], healing.shown()["seconds_left"]), (1.0, 0.0))

    def _asked(self) -> int:
        return sum(self.tako.node(name).replica.counts.get("read", 0) for name in self.tako.nodes)


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


class SmallClockTests(ClusterCase):
    """A wrong clock among three nodes, which know two others each."""

    configuration = document(main=deployment(1, {"b1": ["n1", "n2", "n3"]}))

    def test_a_clock_far_behind_goes_by_the_other_two(self) -> None:
        """A node ten minutes behind reads and writes as the others do, and takes nothing of its own for the future."""
        self.tako.put(b"k", b"1", level=Level.ALL)
        self.tako.world.nodes["n3"].step_wall(-600.0)
        self.assertEqual(self.ask(b"GET", "/values/k", host="n3", port=HTTP)[1], b"1")
        self.tako.world.advance(5.0)
        self.assertEqual(self.ask(b"POST", "/values/k", b"2", host="n3", port=HTTP)[0], 200)
        self.tako.heal()
        self.assertEqual((self.tako.get(b"k", level=Level.ALL) or self).body, b"2")  # type: ignore[union-attr]
        self.assertEqual(self.tako.differences(), [])


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

    def test_a_clock_far_behind_goes_by_the_others(self) -> None:
        """Through a proxy and a node ten minutes behind, values are read and written as by everybody else."""
        self.tako.put(b"k", b"1")
        self.tako.world.nodes["p2"].step_wall(-600.0)
        self.tako.world.nodes["n3"].step_wall(-600.0)
        self.tako.world.advance(5.0)
        self.tako.get(b"k", "p2")  # it learns the time from the answers
        self.tako.world.advance(2.0)
        found = self.tako.get(b"k", "p2")
        self.assertEqual(found.body if found else None, b"1")
        self.assertEqual(self.tako.put(b"k", b"2", "p2", Level.ALL).held, 4)
        self.assertEqual(self.ask(b"GET", "/values/k", host="n3", port=HTTP)[1], b"2")

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
        """What a node an hour ahead stamps is refused by the others, replaces nothing on it, and is seen nowhere; where
        it was enough alone, it is not seen by others, and the next write replaces it.
        """
        self.tako.put(b"k", b"1", level=Level.ALL)
        self.tako.world.nodes["n1"].step_wall(3600.0)
        failed = self.tako.node("n1").router.put(b"k", b"future")
        self.assertRaises(Refused, self.tako.world.result_of, failed)
        kept = self.tako.world.result_of(self.tako.node("n1").records.read(b"k", True))
        self.assertEqual(kept.body if kept else None, b"1")
        found = self.tako.get(b"k", level=Level.ALL)
        self.assertEqual(found.body if found else None, b"1")
        version = version_of(self.tako.node("n1").clock.now(), b"future")
        self.tako.world.result_of(self.tako.node("n1").records.write(Write(b"k", version, b"future")))
        self.tako.world.nodes["n1"].step_wall(-3600.0)
        seen = self.tako.get(b"k", level=Level.ALL)
        self.assertEqual(seen.body if seen else None, b"1")
        self.tako.put(b"k", b"2", level=Level.ALL)
        self.tako.heal()
        self.assertEqual(self.tako.differences(), [])
