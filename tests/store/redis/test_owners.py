"""What a be asks of one shard: in parts, so that no reply is large, and never of two servers at once unseen."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba.errors import NotHere
from taba.store.redis.owners import FIELDS_PER_CALL, LANES_PER_CALL, VBUCKETS_PER_CALL, Owners
from tests.contracts.store_harness import DAY, START
from tests.store.redis.stage import Stage

DEDUP = 14 * DAY


class OwnersTests(SynchronousTestCase):
    """Leases, loads, and what be reads."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(lambda: self.stage.close())
        self.owners = Owners(self.stage.shard, self.stage.keys)

    def test_many_leases(self) -> None:
        """Leases of very many vbuckets are granted, prolonged and given back in several calls; names twice count once.
        """
        many = range(VBUCKETS_PER_CALL * 2 + 10)
        for vbucket in many:
            self.stage.server.ask("SET", self.stage.keys.of("O", vbucket), "A:1")
        leases = self.stage.get(self.owners.acquire([*many, 1], "be", 2.0))
        self.assertEqual(list(leases), list(many))
        self.assertEqual({lease.epoch for lease in leases.values()}, {1})
        self.assertEqual(self.stage.shard.words(), ["taba_acquire"] * 3)
        self.assertEqual(self.stage.get(self.owners.renew(list(leases.values()), 5.0)), set(many))
        self.assertEqual((self.owners.ttl[0], len(self.owners.ttl)), (5.0, len(many)))
        self.stage.get(self.owners.release(list(leases.values())[:-1]))
        self.assertEqual(self.stage.get(self.owners.renew(list(leases.values()), 5.0)), {many[-1]})

    def test_load_needs_a_marker(self) -> None:
        """A vbucket that is not here, or not yet, cannot be loaded; one that is sealed can."""
        for marker, here in (("S:1", True), ("I:1", False)):
            self.stage.server.ask("SET", self.stage.keys.of("O", 1), marker)
            if here:
                self.assertEqual(self.stage.get(self.owners.load(1)).position.folded, 0)
            else:
                with self.assertRaises(NotHere):
                    self.stage.get(self.owners.load(1))
        self.stage.server.ask("DEL", self.stage.keys.of("O", 1))
        with self.assertRaises(NotHere):
            self.stage.get(self.owners.load(1))

    def test_many_states(self) -> None:
        """Very many States, of few tabs and of many, are read some at a time."""
        keys = [(f"t{number % 3}", f"c{number}") for number in range(FIELDS_PER_CALL * 2)]
        keys += [(f"u{number}", "c") for number in range(10)]
        for tab, client in keys[::2]:
            self.stage.server.ask("HSET", self.stage.keys.states(1, tab), client, f"{tab} {client}")
        found = self.stage.get(self.owners.states(1, keys))
        self.assertEqual(found, {(tab, client): f"{tab} {client}".encode() for tab, client in keys[::2]})
        fields = [len(command) - 2 for command in self.stage.shard.sent]
        self.assertEqual((sum(fields), len(fields)), (len(keys), 3 + 3 + 10))

    def test_many_aggregates(self) -> None:
        """So are Aggregates."""
        tabs = [f"t{number}" for number in range(FIELDS_PER_CALL + 1)]
        self.stage.server.ask("HSET", self.stage.keys.of("A", 1), "t0", "first", tabs[-1], "last")
        found = self.stage.get(self.owners.aggregates(1, tabs))
        self.assertEqual(found, {"t0": b"first", tabs[-1]: b"last"})
        self.assertEqual(self.stage.shard.words(), ["HMGET", "HMGET"])
        self.assertEqual(self.stage.get(self.owners.states(1, [])), {})
        self.assertEqual(self.stage.get(self.owners.aggregates(1, [])), {})

    def lanes(self, vbucket: int) -> set[bytes]:
        kept: Any = self.stage.server.ask("HKEYS", self.stage.keys.of("D", vbucket))
        return set(kept)

    def test_prune(self) -> None:
        """Rows that were idle for DEDUP_DAYS go, in all vbuckets, however many there are."""
        now = START + 20 * DAY
        self.stage.server.node.step_wall(20 * DAY)
        many = LANES_PER_CALL * 2 + 5
        for number in range(many):
            touched = now - (15 if number % 5 else 13) * DAY
            self.stage.server.ask("HSET", self.stage.keys.of("D", 1), f"lane{number}", f"1:1:1:{touched:.6f}")
        self.stage.server.ask("HSET", self.stage.keys.of("D", 2), "old", f"1:1:1:{START:.6f}")
        self.stage.server.ask("HSET", self.stage.keys.of("D", 3), "new", f"1:1:1:{now:.6f}")
        gone = self.stage.get(self.owners.prune(range(8), now, DEDUP))
        kept = {f"lane{number}".encode() for number in range(0, many, 5)}
        self.assertEqual(gone, many - len(kept) + 1)
        self.assertEqual([self.lanes(1), self.lanes(2), self.lanes(3)], [kept, set(), {b"new"}])

    def test_prune_meets_a_late_copy(self) -> None:
        """A row that is touched between look and delete stays."""
        now = START + 20 * DAY
        self.stage.server.node.step_wall(20 * DAY)
        key = self.stage.keys.of("D", 1)
        self.stage.server.ask("HSET", key, "a", f"1:1:1:{START:.6f}", "b", f"1:1:1:{START:.6f}")
        touch = ("HSET", key, "a", f"1:1:1:{now:.6f}")
        self.stage.shard.before("taba_prune", lambda: self.stage.server.ask(*touch))
        self.assertEqual(self.stage.get(self.owners.prune([1], now, DEDUP)), 1)
        self.assertEqual(self.lanes(1), {b"a"})

    def test_prune_by_a_clock_that_is_ahead(self) -> None:
        """A be whose clock is weeks ahead makes no lane forgotten: a late copy would be folded twice."""
        self.stage.server.ask("HSET", self.stage.keys.of("D", 1), "a", f"1:1:1:{START:.6f}")
        self.assertEqual(self.stage.get(self.owners.prune([1], START + 30 * DAY, DEDUP)), 0)
        self.assertEqual(self.lanes(1), {b"a"})
