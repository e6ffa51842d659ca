"""Queries over all shards: in order, page by page, and no page larger than it should be."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.interfaces import RETIRED, LogDepth, Selection, StateRow
from taba.store.limits import Limits
from taba.store.redis.queries import TABS_PER_CALL, Queries, _runs
from taba.testing.redis import With
from tests.contracts.store_harness import START, selection
from tests.store.redis.stage import Stage
from tests.strategies import law

PAGE = 10


class QueriesTests(SynchronousTestCase):
    """Two shards, with tabs here and there."""

    def setUp(self) -> None:
        self.stage = Stage(2)
        self.addCleanup(lambda: self.stage.close())
        self.queries = self.of(Limits(page_rows=PAGE))

    def of(self, limits: Limits) -> Queries:
        return Queries(self.stage.shards, self.stage.map, self.stage.keys, limits)

    def ask(self, vbucket: int, *command: Any) -> Any:
        return self.stage.servers[self.stage.map.shard_of(vbucket)].ask(*command)

    def tab(self, name: str, vbucket: int, *clients: str, type: str = "X", size: int = 3, aggregate: int = 3) -> None:
        """A tab with States of some clients, and an Aggregate."""
        keys = self.stage.keys
        self.ask(vbucket, "HSET", keys.of("T", vbucket), name, type)
        for client in clients:
            self.ask(vbucket, "HSET", keys.states(vbucket, name), client, "s" * size)
            self.ask(vbucket, "HINCRBY", keys.of("N", vbucket), client, 1)
        if aggregate:
            self.ask(vbucket, "HSET", keys.of("A", vbucket), name, "a" * aggregate)

    def pages(self, wanted: Selection, queries: Queries | None = None) -> list[list[Any]]:
        pages: list[list[Any]] = []
        self.stage.get((queries or self.queries).each_state(wanted, lambda page: pages.append(list(page))))
        return pages

    def names(self, wanted: Selection) -> list[tuple[str, str]]:
        rows = [row for page in self.pages(wanted) for row in page]
        return [(row.tab, row.client) for row in rows]

    def test_names(self) -> None:
        """Tabs with a Type, and clients with a State, of all shards."""
        self.tab("b", 0, "c1", RETIRED)
        self.tab("a", 7, "c1", "c2")
        self.tab("typeless", 1, "c3", type="")
        self.assertEqual(self.stage.get(self.queries.tabs()), {"a": "X", "b": "X"})
        self.assertEqual(self.stage.get(self.queries.clients(None)), {"c1", "c2", "c3"})
        self.assertEqual(self.stage.get(self.queries.clients(frozenset(["b", "none"]))), {"c1"})

    def test_order(self) -> None:
        """Rows are sorted by tab and client over all shards, whatever their vbuckets."""
        for number, name in enumerate(["z", "ü", "a", "m"]):
            self.tab(name, (number * 3) % 8, "ö", "b", RETIRED, "ab")
        expected = [(tab, client) for tab in ["a", "m", "z", "ü"] for client in [RETIRED, "ab", "b", "ö"]]
        self.assertEqual(self.names(selection()), expected)
        some = [(tab, client) for tab in ["a", "ü"] for client in ["b", "ö"]]
        self.assertEqual(self.names(selection({"a", "ü", "none"}, {"b", "ö", RETIRED, "none"})), some)
        self.assertEqual(self.names(selection(None, {RETIRED})), [])
        self.assertEqual(self.names(selection(set())), [])

    def test_pages_of_whole_tabs(self) -> None:
        """Tabs are taken together as long as they fit; one that does not fit comes in parts."""
        for name, count in (("a", 4), ("b", 6), ("c", 1), ("d", 25), ("e", 2), ("f", 0)):
            self.tab(name, ord(name) % 8, *[f"c{number:02}" for number in range(count)])
        sizes = [[(tab, sum(row.tab == tab for row in page)) for tab in sorted({row.tab for row in page})]
                 for page in self.pages(selection())]  # fmt: skip
        expected = [[("a", 4), ("b", 6)], [("c", 1)], [("d", 10)], [("d", 10)], [("d", 5)], [("e", 2)]]
        self.assertEqual(sizes, expected)
        clients = {f"c{number:02}" for number in range(3, 20)}
        found = self.names(selection({"d"}, clients))
        self.assertEqual([client for _, client in found], sorted(clients))

    def test_clients_that_are_nowhere(self) -> None:
        """Pages that would be empty are not given out."""
        self.tab("a", 1, "c")
        self.assertEqual(self.pages(selection(None, {f"none{number}" for number in range(25)})), [])
        self.assertEqual(self.pages(selection(None, {"none"})), [])

    def test_many_tabs(self) -> None:
        """More tabs than one round trip asks for."""
        names = [f"t{number:04}" for number in range(TABS_PER_CALL * 2 + 3)]
        for number, name in enumerate(names):
            self.tab(name, number % 8, "c")
        self.assertEqual(self.names(selection()), [(name, "c") for name in names])

    def test_pages_are_bounded_in_bytes(self) -> None:
        """Large States come few at a time, after the first page, and small ones again many."""
        clients = [f"c{number:03}" for number in range(200)]
        self.tab("a", 1, *clients, size=10_000)
        self.tab("b", 1, *clients, size=10)
        pages = self.pages(selection(), self.of(Limits(page_rows=1000, page_bytes=100_000)))
        sizes = [sum(len(row.state) for row in page) for page in pages]
        self.assertLess(max(sizes), 300_000)
        self.assertEqual({len(page) for page in pages[2:15]}, {10})
        self.assertGreater(len(pages[-2]), 50)

    def test_aggregates(self) -> None:
        """Aggregates come in order of tabs, some at a time; tabs without are left out."""
        for number in range(25):
            self.tab(f"t{number:02}", number % 8, aggregate=0 if number % 5 == 0 else 3)
        pages: list[list[str]] = []
        consume = lambda page: pages.append([row.tab for row in page])  # noqa: E731
        self.stage.get(self.queries.each_aggregate(selection(), consume))
        self.assertEqual([tab for page in pages for tab in page], [f"t{n:02}" for n in range(25) if n % 5])
        self.assertEqual([len(page) for page in pages], [8, 8, 4])
        pages.clear()
        self.stage.get(self.queries.each_aggregate(selection({"t00", "t07"}), consume))
        self.assertEqual(pages, [["t07"]])
        pages.clear()
        self.stage.get(self.queries.each_aggregate(selection({"t00"}), consume))
        self.assertEqual(pages, [])

    def test_consumer_slows_down(self) -> None:
        """The next page is not asked for before the consumer has done with the one before."""
        self.tab("a", 1, *[f"c{number}" for number in range(25)])
        pages: list[Sequence[StateRow]] = []
        gates: list[Deferred[None]] = []

        def consume(page: Sequence[StateRow]) -> Deferred[None]:
            pages.append(page)
            gates.append(Deferred())
            return gates[-1]

        query = self.stage.begin(self.queries.each_state(selection(), consume))
        for count in (1, 2, 3):
            self.stage.world.advance(1.0)
            self.assertEqual(len(pages), count)
            gates[-1].callback(None)
        self.stage.world.advance(1.0)
        self.assertIsNone(self.successResultOf(query))

    def test_consumer_fails(self) -> None:
        """Its error ends the query."""
        self.tab("a", 1, "c")

        def consume(page: Sequence[StateRow]) -> None:
            raise ValueError("enough")

        with self.assertRaisesRegex(ValueError, "enough"):
            self.stage.get(self.queries.each_state(selection(), consume))

    def test_ledger(self) -> None:
        """Lines are summed over vbuckets; the store's own lines are there without any."""
        self.assertEqual(self.stage.get(self.queries.ledger()), {"lost": 0, "flushed": 0})
        self.ask(0, "HSET", self.stage.keys.of("C", 0), "row", '{"folded": 3, "refused.future": 1}', "lost", 2)
        self.ask(7, "HSET", self.stage.keys.of("C", 7), "row", '{"folded": 4}')
        self.ask(6, "HSET", self.stage.keys.of("C", 6), "lost", 5, "flushed", 40)
        self.ask(1, "HSET", self.stage.keys.of("C", 1), "flushed", 2)
        expected = {"lost": 7, "flushed": 42, "folded": 7, "refused.future": 1}
        self.assertEqual(self.stage.get(self.queries.ledger()), expected)

    def test_depth(self) -> None:
        """What waits, by vbucket, in one call for each shard."""
        self.ask(1, "RPUSH", self.stage.keys.of("M", 1), f"{START + 1:.6f}:10:110", f"{START + 2:.6f}:20:130")
        self.ask(6, "RPUSH", self.stage.keys.of("M", 6), f"{START + 3:.6f}:7:7")
        expected = [LogDepth(1, 2, 30, START + 1), LogDepth(6, 1, 7, START + 3)]
        self.assertEqual(self.stage.get(self.queries.depth()), expected)
        self.assertEqual([shard.words() for shard in self.stage.shards.values()], [["taba_depth"]] * 2)

    def test_tab_that_got_another_name_between_pages(self) -> None:
        """A tab under the name of one that was listed before is shown with its own Type, not with the other's."""
        self.tab("a", 1, *[f"c{number}" for number in range(PAGE)], aggregate=0)
        self.tab("b", 1, "c", type="Old")
        pages: list[Sequence[StateRow]] = []
        aggregates: list[Any] = []

        def rename(page: Sequence[StateRow]) -> None:
            pages.append(page)
            if len(pages) == 1:
                self.ask(1, "HSET", self.stage.keys.of("T", 1), "b", "New")

        self.stage.get(self.queries.each_state(selection(), rename))
        self.assertEqual([(row.tab, row.type) for row in pages[-1]], [("b", "New")])
        self.stage.shards[self.stage.map.shard_of(1)].before(
            "HMGET", lambda: self.ask(1, "HSET", self.stage.keys.of("T", 1), "b", "Newer")
        )
        self.stage.get(self.queries.each_aggregate(selection(), aggregates.extend))
        self.assertEqual([(row.tab, row.type) for row in aggregates], [("b", "Newer")])

    def test_tab_that_went_between_pages(self) -> None:
        """What was listed, and has gone, is left out."""
        self.tab("a", 1, *[f"c{number}" for number in range(PAGE)])
        self.tab("b", 1, "c")
        rows: list[StateRow] = []

        def delete(page: Sequence[StateRow]) -> None:
            rows.extend(page)
            self.ask(1, "HDEL", self.stage.keys.of("T", 1), "b")

        self.stage.get(self.queries.each_state(selection(), delete))
        self.assertEqual({row.tab for row in rows}, {"a"})

    def test_shard_that_is_down(self) -> None:
        """A query that cannot have all of it fails."""
        self.tab("a", 1, "c")
        self.stage.servers["shard2"].kill()
        self.stage.world.advance(1.0)
        for query in (self.queries.tabs(), self.queries.depth(), self.queries.ledger()):
            with self.assertRaises(StoreUnavailable):
                self.stage.get(query)
        self.stage.servers["shard2"].restart(With.ITS_DATA)
        self.stage.world.result_of(self.stage.shards["shard2"].when_open())
        self.assertEqual(self.stage.get(self.queries.tabs()), {"a": "X"})


class RunTests(SynchronousTestCase):
    """How tabs are put on pages."""

    @law(st.lists(st.integers(0, 12)), st.integers(1, 10))
    def test_runs(self, sizes: list[int], most: int) -> None:
        """Runs follow each other, hold all, and are full: none is too large but by one that is too large alone."""
        runs = list(_runs(sizes, lambda: most))
        self.assertEqual([place for first, last in runs for place in range(first, last)], list(range(len(sizes))))
        for first, last in runs:
            self.assertTrue(sum(sizes[first:last]) <= most or last == first + 1)
        for (first, last), (_, after) in pairwise(runs):
            self.assertGreater(sum(sizes[first : last + 1]), most)
            self.assertGreater(after, last)
