"""/gc and /check: what is pruned, and that nothing shows it; what is found, and put right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed

from taba.handlers.registry import Registry
from taba.interfaces import RETIRED, Selection, StateRow
from taba.server.keeping import Keeping
from taba.server.operations import vbucket_of
from taba.settings import TabSettings
from tests.server.admin_case import AdminCase
from tests.server.making import NOW, registry, sections


class GCTests(AdminCase):
    """/gc: what is pruned, and that nothing shows it."""

    keeping = Keeping([TabSettings("kept", "keep"), TabSettings("merged", "merge")])

    def test_silent_clients(self) -> None:
        """A client that was silent for CLIENT_TTL has no State any more; the tab counts what it counted."""
        for tab in ("a", "kept"):
            self.given(("old", tab, "CounterGroup", NOW, "1"), ("new", tab, "CounterGroup", NOW + 30, "1"))
        before = self.text("tabs", "GET")
        self.wall = NOW + 3600.0 + 10.0
        self.assertEqual(self.text("gc"), "Started\n")
        self.pump()
        self.assertEqual(
            {(row.tab, row.client) for row in self.rows()},
            {("a", "new"), ("a", RETIRED), ("kept", "old"), ("kept", "new")},
        )
        self.assertEqual(self.served.maintenance.pruned, 1)
        self.assertEqual(self.text("projection?name=a", "GET").count("\n"), 1)
        self.wall = NOW
        self.assertEqual(self.text("tabs", "GET"), before)
        self.assertEqual(self.text("check", "GET"), "Started\nChecked 2 tabs: 0 findings\n")
        self.given(("old", "a", "CounterGroup", NOW, "1"))
        self.assertEqual(self.count("a"), 3)

    def test_merged_tabs(self) -> None:
        """Of a tab with per_client merge no client has a State; what counts is the sum. A Gauge has one each."""
        self.given(("c", "merged", "CounterGroup", NOW, "1"), ("d", "merged", "CounterGroup", NOW, "1"))
        self.given(("c", "merged_gauge", "Gauge", NOW, "1"), ("d", "merged", "CounterGroup", NOW, "1"))
        self.assertEqual({row.client for row in self.rows() if row.tab == "merged"}, {RETIRED})
        self.assertEqual((self.count("merged"), self.text("clients", "GET")), (3, "c\n"))
        self.assertEqual(self.json("tabs?name=merged_gauge", "GET"), {"merged_gauge": {"1": 1}})

    def test_states_of_before_merging(self) -> None:
        """When TABS begins to say merge, the clients' States of before go into the retired one."""
        self.given(("c", "x", "CounterGroup", NOW, "1"), ("d", "x", "CounterGroup", NOW, "1"))
        self.served.maintenance._pruning = type(self.served.maintenance._pruning)(
            registry(), Keeping([TabSettings("x", "merge")]), 3600.0
        )
        self.text("gc")
        self.pump()
        self.assertEqual([row.client for row in self.rows()], [RETIRED])
        self.assertEqual(self.count("x"), 2)

    def test_expired(self) -> None:
        """Gauges that nobody is shown any more go; of percentiles of which nothing is left to see, the tab stays."""
        self.given(("c", "g", "Gauge", NOW, "1"), ("c", "p", "PercentileGroup", NOW, "1"))
        self.given(("c", "a", "CounterGroup", NOW, "1"))
        self.wall = NOW + 3 * 86_400.0
        self.text("gc")
        self.pump()
        self.assertEqual({(row.tab, row.client) for row in self.rows()}, {("a", RETIRED)})
        self.assertEqual(self.text("names", "GET"), "a\ng\np\n")
        self.assertEqual(list(self.json("tabs", "GET")), ["a"])

    def test_by_itself(self) -> None:
        """The GC comes every GC_SECONDS, without being asked."""
        self.served.maintenance._gc_seconds = 100.0
        self.given(("c", "g", "Gauge", NOW, "1"))
        self.wall = NOW + 3 * 86_400.0
        self.text("gc")
        self.pump()
        self.assertEqual(self.rows(), [])
        self.given(("c", "g", "Gauge", NOW, "1"))
        self.pump(90.0)
        self.assertEqual(len(self.rows()), 1)
        self.pump(20.0)
        self.assertEqual(self.rows(), [])

    def test_large_tab(self) -> None:
        """A tab of more clients than one step prunes."""
        self.given(*((f"c{n}", "a", "CounterGroup", NOW, "1") for n in range(1203)))
        self.wall = NOW + 4000.0
        self.text("gc")
        self.pump()
        self.assertEqual([row.client for row in self.rows()], [RETIRED])
        self.assertEqual(self.count("a"), 1203)

    def test_large_grave(self) -> None:
        """A deletion of more clients than one step moves is undone, and another one's grave removed."""
        self.given(*((f"c{n}", "a", "CounterGroup", NOW, "1") for n in range(1203)))
        self.text("delete?name=a")
        self.given(("c7", "a", "CounterGroup", NOW, "1"))
        self.text("undelete?name=a")
        self.pump()
        self.assertEqual((self.count("a"), len(self.rows())), (1204, 1203))
        self.text("delete?name=a")
        self.pump()
        self.wall = NOW + 90_000.0
        self.pump(60.0)
        self.assertEqual((self.rows(), self.successResultOf(self.memory.tabs())), ([], {}))

    def test_read_of_before_the_burial(self) -> None:
        """A reading that began before the grave was dug finds it empty: it is looked at again, and nothing is left
        in it for ever.
        """
        original, asked = self.memory.each_state, 0

        def each_state(selection: Selection, consume: Any) -> Deferred[None]:
            nonlocal asked
            asked += 1
            return succeed(None) if asked == 1 else original(selection, consume)

        self.given(("c1", "a", "CounterGroup", NOW, "1"), ("c2", "a", "CounterGroup", NOW, "1"))
        self.text("delete?name=a")
        self.pump()
        self.store.each_state = self.memory.each_state = each_state  # type: ignore[method-assign]
        self.text("undelete?name=a")
        self.pump(4.0)
        self.assertEqual((self.count("a"), len(self.rows())), (2, 2))
        self.assertGreater(asked, 1)

    def test_cost_of_a_large_grave(self) -> None:
        """To undo a deletion, and to remove a grave, the store is asked for its clients a few times, not once a step:
        what that costs grows with their number, not with its square.
        """
        asked: list[Selection] = []
        read = 0
        original = self.memory.each_state

        def each_state(selection: Selection, consume: Any) -> Deferred[None]:
            def counted(rows: Sequence[StateRow]) -> Any:
                nonlocal read
                read += len(rows)
                return consume(rows)

            asked.append(selection)
            return original(selection, counted)

        self.store.each_state = self.memory.each_state = each_state  # type: ignore[method-assign]
        clients, steps = 6_000, 12
        self.given(*((f"c{n}", "a", "CounterGroup", NOW, "1") for n in range(clients)))
        self.text("delete?name=a")
        self.pump()
        before = self.served.maintenance.steps
        self.text("undelete?name=a")
        self.pump(4.0)
        self.assertEqual(self.served.maintenance.steps - before, steps)
        self.assertEqual((len(asked), {each.vbucket for each in asked}), (3, {vbucket_of("a", 4)}))
        self.assertLessEqual(read, 2 * clients)
        asked.clear()
        self.text("delete?name=a")
        self.wall = NOW + 90_000.0
        self.pump(64.0)
        self.assertEqual((self.successResultOf(self.memory.tabs()), len(asked)), ({}, 3))


class CheckTests(AdminCase):
    """/check, with and without repairs."""

    def setUp(self) -> None:
        super().setUp()
        self.given(
            ("c", "a", "CounterGroup", NOW, "1"), ("d", "a", "CounterGroup", NOW, "1"), ("c", "g", "Gauge", NOW, "1")
        )
        self.kept = self.memory._contents.vbuckets[vbucket_of("a", 4)]

    def test_in_order(self) -> None:
        """Without a finding it says how many tabs it looked at."""
        self.assertEqual(self.text("check"), "Started\nChecked 2 tabs: 0 findings\n")
        self.assertEqual(self.json("check?name=a"), {"checked": 1, "findings": []})

    def spoil(self) -> None:
        """An Aggregate that counts a client's events twice."""
        handler = registry().handlers["CounterGroup"]
        self.kept.aggregates["a"] = handler.reduce([self.kept.aggregates["a"], self.kept.states["a"]["c"]])
        self.served.backend.cache.drop(vbucket_of("a", 4))

    def test_wrong_aggregate(self) -> None:
        """A wrong Aggregate is found, and with dry=false made anew from the States."""
        self.spoil()
        problem = {"tab": "a", "client": None, "problem": "the Aggregate is not the reduced States", "repaired": False}
        self.assertEqual(self.json("check"), {"checked": 2, "findings": [problem]})
        self.assertEqual(self.count("a"), 3)
        self.assertEqual(
            self.text("check?dry=false"),
            "Started\na: the Aggregate is not the reduced States; is being repaired\nChecked 2 tabs: 1 findings\n",
        )
        self.pump()
        self.assertEqual(self.count("a"), 2)
        self.assertEqual(self.json("check")["findings"], [])

    def test_repair_while_events_come(self) -> None:
        """An Aggregate that is made anew misses none of the events that come meanwhile."""
        self.spoil()
        self.text("check?dry=false")
        for _ in range(10):
            self.successResultOf(
                self.memory.append(self.lanes.appends(sections([("c", "a", "CounterGroup", NOW, "1")], 4)))
            )
            self.pump(0.15)
        self.pump()
        self.assertEqual((self.count("a"), self.json("check")["findings"]), (12, []))

    def test_damaged_state(self) -> None:
        """A State that cannot be read is named, with its client; it cannot be repaired."""
        self.kept.states["a"]["d"] = b"\x01\x01junk"
        for path in ("check", "check?dry=false"):
            [finding] = self.json(path)["findings"]
            self.assertEqual((finding["tab"], finding["client"], finding["repaired"]), ("a", "d", False))
            self.assertIn("damaged State: ", finding["problem"])
        self.assertIn("(a, d): damaged State", self.text("check?re=1&name=a"))

    def test_unknown_type(self) -> None:
        """A tab whose Type has no Handler here is named."""
        self.served.handlers = Registry([registry().handlers["CounterGroup"]])
        self.open()
        [finding] = self.json("check")["findings"]
        self.assertEqual((finding["tab"], finding["problem"]), ("g", "there is no Handler for Type Gauge"))

    def test_busy_tab(self) -> None:
        """A tab that changes while it is read is read again; one that always does is said to be too busy."""
        original, left = self.store.aggregates, [4]

        def aggregates(vbucket: int, tabs: Any) -> Deferred[dict[str, bytes]]:
            left[0] -= 1
            found = original(vbucket, tabs)
            return found.addCallback(lambda _: {"a": bytes([left[0] % 2])}) if left[0] >= 0 else found

        self.store.aggregates = aggregates  # type: ignore[method-assign]
        self.assertEqual(self.json("check?name=a")["findings"], [])
        left[0] = 10**6
        [finding] = self.json("check?name=a")["findings"]
        self.assertIn("too busy", finding["problem"])

    def test_rounding(self) -> None:
        """Aggregates of fractions differ by rounding; that is no finding."""
        for n in range(12):
            self.given(
                *((f"c{m % 3}", "f", "CounterGroup", NOW - m, repr(1e3 / (n + 7 * m + 3))) for m in range(8))
            )
        handler = registry().handlers["CounterGroup"]
        kept = self.memory._contents.vbuckets[vbucket_of("f", 4)]
        self.assertNotEqual(kept.aggregates["f"], handler.reduce(list(kept.states["f"].values())))
        self.assertEqual(self.json("check?name=f")["findings"], [])
