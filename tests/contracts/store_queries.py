"""The contract of the queries of `IStore`: tabs, clients, each_state, each_aggregate, ledger."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve
from twisted.internet.defer import Deferred, fail

from taba.errors import LocalProtocolError
from taba.interfaces import RETIRED, StateRow
from tests.contracts.store_harness import PAGE_ROWS, StoreSuite, V, W, names_of, selection


class Refused(Exception):
    """What a consumer fails with in these tests."""


class QueryContract(StoreSuite):
    """Whatever was written can be asked for, in order, in pages, at the consumer's pace."""

    def fill(self) -> None:
        """Three tabs in two vbuckets, two clients, one retired State."""
        self.put(
            V,
            states={("b", "c2"): b"b2", ("b", "c1"): b"b1", ("a", "c1"): b"a1", ("b", RETIRED): b"b0"},
            aggregates={"b": b"B", "a": b"A"},
            types={"a": "Gauge", "b": "TotalsCounter"},
            ledger={"folded": 3},
        )
        self.put(
            W,
            states={("c", "c2"): b"c2"},
            aggregates={"c": b"C"},
            types={"c": "Buffer"},
            ledger={"folded": 4, "refused: future": 1},
        )

    # --------------------------------------------------------------------------------------------- tabs and clients

    def test_tabs(self) -> None:
        """All tabs, with their Types."""
        self.fill()
        self.assertEqual(self.get(self.store.tabs()), {"a": "Gauge", "b": "TotalsCounter", "c": "Buffer"})

    def test_tabs_by_name(self) -> None:
        """Of some tabs those that there are, however many are asked for."""
        self.fill()
        many = {f"unknown_{n}" for n in range(300)}
        for wanted, found in (
            ({"a"}, {"a": "Gauge"}),
            ({"a", "c", "unknown"}, {"a": "Gauge", "c": "Buffer"}),
            (set(), {}),
            ({"b", *many}, {"b": "TotalsCounter"}),
        ):
            self.assertEqual(self.get(self.store.tabs(frozenset(wanted))), found)

    def test_clients(self) -> None:
        """All clients with a State anywhere, without the retired one."""
        self.fill()
        self.assertEqual(self.get(self.store.clients(None)), {"c1", "c2"})

    def test_clients_of_tabs(self) -> None:
        """The clients with a State in any of some tabs; unknown tabs have none."""
        self.fill()
        for tabs, clients in (
            ({"a"}, {"c1"}),
            ({"b"}, {"c1", "c2"}),
            ({"a", "c"}, {"c1", "c2"}),
            ({"c", "unknown"}, {"c2"}),
            ({"unknown"}, set()),
            (set(), set()),
        ):
            self.assertEqual(self.get(self.store.clients(frozenset(tabs))), clients)

    def test_client_without_states_is_no_client(self) -> None:
        """A client is listed until its last State goes."""
        self.put(states={("a", "c1"): b"1", ("b", "c1"): b"1"})
        self.put(states={("a", "c1"): None})
        self.assertEqual(self.get(self.store.clients(None)), {"c1"})
        self.put(states={("b", "c1"): None})
        self.assertEqual(self.get(self.store.clients(None)), set())
        self.put(states={("b", "c1"): b"1"})
        self.assertEqual(self.get(self.store.clients(None)), {"c1"})

    def test_empty_store(self) -> None:
        """A new cluster has nothing to show, and shows it."""
        self.assertEqual(self.get(self.store.tabs()), {})
        self.assertEqual(self.get(self.store.clients(None)), set())
        self.assertEqual((self.select_states(), self.select_aggregates()), ([], []))
        self.assertEqual(self.get(self.store.ledger()), {"lost": 0, "flushed": 0})
        self.assertEqual((self.get(self.store.depth()), self.get(self.store.aside(10))), ([], []))

    # --------------------------------------------------------------------------------------------------- each_state

    def test_all_states(self) -> None:
        """All States, ascending by tab, then client; the retired State comes first in its tab."""
        self.fill()
        self.assertEqual(
            self.select_states(),
            [
                StateRow("a", "c1", "Gauge", b"a1"),
                StateRow("b", RETIRED, "TotalsCounter", b"b0"),
                StateRow("b", "c1", "TotalsCounter", b"b1"),
                StateRow("b", "c2", "TotalsCounter", b"b2"),
                StateRow("c", "c2", "Buffer", b"c2"),
            ],
        )

    def test_states_of_tabs(self) -> None:
        """Some tabs, with all their clients."""
        self.fill()
        self.assertEqual(
            names_of(self.select_states(tabs={"c", "b", "unknown"})),
            [("b", RETIRED), ("b", "c1"), ("b", "c2"), ("c", "c2")],
        )

    def test_states_where_they_are(self) -> None:
        """Who knows in which vbucket the tabs are gets the same."""
        self.fill()
        for tabs, vbucket in (({"a", "b"}, V), ({"c"}, W), ({"unknown"}, W)):
            rows: list[StateRow] = []
            self.get(self.store.each_state(evolve(selection(tabs), vbucket=vbucket), rows.extend))
            self.assertEqual(rows, self.select_states(tabs))

    def test_states_of_clients(self) -> None:
        """Some clients, in all tabs; the retired State is nobody's, even if asked for."""
        self.fill()
        self.assertEqual(names_of(self.select_states(clients={"c1", "unknown"})), [("a", "c1"), ("b", "c1")])
        self.assertEqual(names_of(self.select_states(clients={RETIRED, "c2"})), [("b", "c2"), ("c", "c2")])

    def test_states_of_clients_in_tabs(self) -> None:
        """One State, by its names."""
        self.fill()
        self.assertEqual(names_of(self.select_states({"b"}, {"c2"})), [("b", "c2")])
        self.assertEqual(names_of(self.select_states({"a"}, {"c2"})), [])

    def test_nothing_selected(self) -> None:
        """Empty selections and unknown names select nothing."""
        self.fill()
        for tabs, clients in ((set(), None), (None, set()), ({"unknown"}, None), (None, {"unknown"})):
            self.assertEqual(self.select_states(tabs, clients), [])

    def test_order_is_that_of_the_names(self) -> None:
        """Names are in the order of their characters, whenever they were written."""
        names = ["b", "B", "a~", "a", "aa", "_", "0", "~", "a!"]
        for name in names:
            self.put(states={(name, "x"): b"1", ("tab", name): b"1"}, aggregates={name: b"1"})
        self.assertEqual([row.tab for row in self.select_states(clients={"x"})], sorted(names))
        self.assertEqual([row.client for row in self.select_states(tabs={"tab"})], sorted(names))
        self.assertEqual([row.tab for row in self.select_aggregates()], sorted(names))

    # --------------------------------------------------------------------------------------------------------- pages

    def many(self) -> list[tuple[str, str]]:
        """More States than a page holds, in one tab and over several; their names in order."""
        names = [("m", f"c{number:03}") for number in range(3 * PAGE_ROWS + 1)]
        names += [(f"n{number:03}", "c") for number in range(2 * PAGE_ROWS)]
        self.put(states=dict.fromkeys(names, b"1"), aggregates={tab: b"1" for tab, _ in names})
        return names

    def test_pages(self) -> None:
        """A long answer comes in pages, none of them empty or too long, which together are the answer."""
        names = self.many()
        pages: list[Sequence[StateRow]] = []
        self.get(self.store.each_state(selection(), lambda page: pages.append(page)))
        self.assertEqual([name for page in pages for name in names_of(page)], names)
        self.assertGreater(len(pages), 1)
        self.assertTrue(all(0 < len(page) <= PAGE_ROWS for page in pages))

    def test_next_page_waits_for_the_consumer(self) -> None:
        """A slow reader of an answer is not run over: the next page comes when it is done with the one before."""
        names = self.many()
        pages: list[Sequence[StateRow]] = []
        taken: list[Deferred[None]] = []

        def consume(page: Sequence[StateRow]) -> Deferred[None]:
            pages.append(page)
            taken.append(Deferred())
            return taken[-1]

        query = self.store.each_state(selection(), consume)
        while len([row for page in pages for row in page]) < len(names):
            before = len(pages)
            self.waits(query)
            self.assertLessEqual(len(pages), before + 1)
            taken[-1].callback(None)
            self.harness.settle()
        self.waits(query)
        taken[-1].callback(None)
        self.get(query)

    def test_error_of_the_consumer_ends_the_query(self) -> None:
        """A reader that went away gets no more pages, and the query fails with its error."""
        self.many()
        calls: list[int] = []

        def raises(page: Sequence[StateRow]) -> None:
            calls.append(len(page))
            raise Refused

        def fails(page: Sequence[StateRow]) -> Deferred[None]:
            calls.append(len(page))
            return fail(Refused())

        self.fails(self.store.each_state(selection(), raises), Refused)
        self.fails(self.store.each_state(selection(), fails), Refused)
        self.assertEqual(len(calls), 2)

    def test_writing_between_pages(self) -> None:
        """What is written or deleted while a query waits breaks nothing; what stayed is given out once, in order."""
        names = self.many()
        rows: list[StateRow] = []
        first: Deferred[None] = Deferred()

        def consume(page: Sequence[StateRow]) -> Deferred[None] | None:
            rows.extend(page)
            return first if len(rows) <= PAGE_ROWS else None

        query = self.store.each_state(selection(), consume)
        self.waits(query)
        gone = {names[PAGE_ROWS + 1], names[-1]}
        self.put(
            states={**dict.fromkeys(gone, None), ("m", "c000"): b"2", ("a", "new"): b"2", ("z", "new"): b"2"},
        )
        first.callback(None)
        self.get(query)
        given = names_of(rows)
        self.assertEqual(given, sorted(set(given)))
        self.assertLessEqual(set(names) - gone, set(given))
        self.assertFalse(gone & set(given))

    def test_writing_from_the_consumer(self) -> None:
        """A consumer may use the store itself."""
        self.many()

        def consume(page: Sequence[StateRow]) -> Deferred[dict[str, str]]:
            return self.store.tabs()

        self.get(self.store.each_state(selection(), consume))
        self.put(W, types={"after": "Gauge"})
        self.assertIn("after", self.get(self.store.tabs()))

    # ------------------------------------------------------------------------------------------------ each_aggregate

    def test_aggregates(self) -> None:
        """All running Aggregates, or those of some tabs, ascending by tab, with their Types."""
        self.fill()
        self.assertEqual(
            [(row.tab, row.type, row.aggregate) for row in self.select_aggregates()],
            [("a", "Gauge", b"A"), ("b", "TotalsCounter", b"B"), ("c", "Buffer", b"C")],
        )
        self.assertEqual([row.tab for row in self.select_aggregates({"c", "a", "unknown"})], ["a", "c"])
        self.assertEqual(self.select_aggregates(set()), [])

    def test_tabs_without_aggregate_are_missing(self) -> None:
        """Gauges and Buffers have no running Aggregate."""
        self.put(states={("a", "c1"): b"1"}, types={"a": "Gauge"})
        self.assertEqual(self.select_aggregates(), [])

    def test_pages_of_aggregates(self) -> None:
        """Aggregates come in pages, too, at the consumer's pace."""
        names = self.many()
        sizes: list[int] = []
        gate: Deferred[None] = Deferred()

        def consume(page: Sequence[object]) -> Deferred[None] | None:
            sizes.append(len(page))
            return gate if len(sizes) == 1 else None

        query = self.store.each_aggregate(selection(), consume)
        self.waits(query)
        self.assertEqual(len(sizes), 1)
        gate.callback(None)
        self.get(query)
        self.assertEqual(sum(sizes), len({tab for tab, _ in names}))
        self.assertLessEqual(max(sizes), PAGE_ROWS)

    def test_aggregates_of_clients_are_a_defect(self) -> None:
        """An Aggregate has no clients to select."""
        self.fails(self.store.each_aggregate(selection(None, {"c1"}), lambda page: None), LocalProtocolError)

    # -------------------------------------------------------------------------------------------------------- ledger

    def test_ledger_is_the_sum_of_the_rows(self) -> None:
        """Line by line, over all vbuckets."""
        self.fill()
        self.assertEqual(self.get(self.store.ledger()), {"folded": 7, "refused: future": 1, "lost": 0, "flushed": 0})
