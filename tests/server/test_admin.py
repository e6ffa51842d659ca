"""The endpoints of an operator: what they answer, as text and as JSON, what they do, and who may ask."""

from __future__ import annotations

import json
from typing import Any

from treq.testing import StubTreq
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from taba import native
from taba.errors import SpoolFull
from taba.handlers.registry import Registry
from taba.interfaces import RETIRED, Selection, StateRow
from taba.server.keeping import Keeping
from taba.server.operations import vbucket_of
from taba.settings import TabSettings
from taba.testing.stores import FaultyStore
from taba.web.answers import Root
from tests.server.making import NOW, Lanes, Served, memory_store, registry, sections

ISO = "2023-11-15T22:13:20Z"
"""A day after NOW."""


class FromAfar(Resource):
    """A tree of resources, as asked from another host."""

    isLeaf = True

    def __init__(self, root: Root) -> None:
        super().__init__()
        self._root = root

    def render(self, request: Any) -> Any:
        request.getClientAddress = lambda: IPv4Address("TCP", "192.0.2.7", 1)
        leaf = self._root
        for part in request.path.strip(b"/").split(b"/"):
            leaf = leaf.children[part]
        request.postpath = []
        return leaf.render(request)


class AdminCase(SynchronousTestCase):
    """A server without ports over a memory store."""

    keeping = Keeping()
    wall = NOW

    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = memory_store(self.clock, vbuckets=4, wall=lambda: self.wall)
        self.store = FaultyStore(self.memory)
        self.served = Served(
            self.store, self.memory, self.clock, wall=lambda: self.wall, keeping=self.keeping, client_ttl=3600.0
        )
        self.served.backend.startService()
        self.served.maintenance.startService()
        self.lanes = Lanes()
        self.open()

    def open(self, *, afar: bool = False, **options: Any) -> None:
        """Let the server be asked, with other options than before, or from another host."""
        root = Root(self.served.leaves(**options))
        self.treq: Any = StubTreq(FromAfar(root) if afar else root)

    def pump(self, seconds: float = 2.0) -> None:
        """Let time pass."""
        for _ in range(int(seconds * 20)):
            self.clock.advance(0.05)

    def given(self, *events: tuple[str, str, str, float, str]) -> None:
        """Events that have been folded."""
        self.successResultOf(self.memory.append(self.lanes.appends(sections(events, 4))))
        self.pump()

    def ask(self, path: str, method: str = "POST", accept: str = "text/plain") -> tuple[int, str]:
        """Status and text of an answer."""
        asked = self.treq.request(method, f"http://server/{path}", headers={"Accept": accept})
        for _ in range(20):
            self.treq.flush()
            self.clock.advance(0.0)
        response = self.successResultOf(asked)
        return response.code, self.successResultOf(response.text("utf-8"))

    def text(self, path: str, method: str = "POST") -> str:
        """The text of an answer that is 200."""
        status, text = self.ask(path, method)
        self.assertEqual(status, 200, text)
        return text

    def json(self, path: str, method: str = "POST") -> Any:
        """The JSON of an answer that is 200."""
        status, text = self.ask(path, method, "application/json")
        self.assertEqual(status, 200, text)
        return json.loads(text)

    def count(self, tab: str) -> int | None:
        """The count of all time that /tabs shows of a CounterGroup; None when there is no such tab."""
        shown = self.json(f"tabs?name={tab}", "GET")
        return int(shown[tab]["pct"]["count"]) if tab in shown else None

    def rows(self) -> list[StateRow]:
        """All that the store has, graves among it."""
        rows: list[StateRow] = []
        self.successResultOf(self.memory.each_state(Selection(), rows.extend))
        return rows


class DeleteTests(AdminCase):
    """/delete, /undelete, /deleted."""

    def setUp(self) -> None:
        super().setUp()
        self.given(*((client, "a", "CounterGroup", NOW, "1") for client in "cde"), ("c", "b", "CounterGroup", NOW, "1"))

    def test_deleted_and_brought_back(self) -> None:
        """A tab that is deleted is shown nowhere; brought back it has what it had, and what came since."""
        self.assertEqual(self.text("delete?name=a"), f"a: deleted, can be undone until {ISO}\n")
        self.pump()
        self.assertEqual(self.text("names", "GET"), "b\n")
        self.assertEqual(self.text("clients", "GET"), "c\n")
        for path in ("tabs", "projection", "types"):
            self.assertNotIn("a", self.json(path, "GET"))
            self.assertNotIn("deleted", self.text(path, "GET"))
        self.assertEqual(self.text("deleted", "GET"), f"a: deleted 2023-11-14T22:13:20Z, can be undone until {ISO}\n")
        self.given(("d", "a", "CounterGroup", NOW, "5"))
        self.assertEqual(self.count("a"), 1)
        self.assertEqual(self.text("undelete?name=a"), "a: is being brought back\n")
        self.pump()
        self.assertEqual(self.count("a"), 4)
        self.assertEqual(json.loads(self.ask("tabs?name=a", "GET", "application/json")[1])["a"]["1m"]["total"], 8.0)
        self.assertEqual(self.text("deleted", "GET"), "")
        self.assertEqual(self.text("check", "GET"), "Started\nChecked 2 tabs: 0 findings\n")

    def test_json(self) -> None:
        """The same as JSON, for several tabs; names that there are not are passed over."""
        self.assertEqual(self.json("delete?name=a,b,x"), {"deleted": ["a", "b"], "undo_until": NOW + 86_400.0})
        self.pump()
        self.assertEqual(self.json("deleted", "GET"), {"a": [NOW], "b": [NOW]})
        self.assertEqual(self.json("deleted?name=b", "GET"), {"b": [NOW]})
        self.assertEqual(self.json("undelete?name=.*&re=1"), {"undeleted": ["a", "b"]})
        self.pump()
        self.assertEqual((self.count("a"), self.count("b")), (3, 1))

    def test_unknown(self) -> None:
        """What there is not is 200, and nothing; graves and notes are no tabs."""
        self.assertEqual((self.text("delete?name=x"), self.text("undelete?name=x")), ("", ""))
        self.text("delete?name=a")
        self.pump()
        [grave] = [row.tab for row in self.rows() if row.client == "d"]
        self.assertEqual(self.json(f"delete?name={grave.replace(' ', '%20')}")["deleted"], [])
        self.assertEqual(self.json("delete?re=1&name=.*")["deleted"], ["b"])

    def test_no_name(self) -> None:
        """Without a name nothing is deleted: 400 says how to ask."""
        for path in ("delete", "undelete", "delete?re=1", "delete?nmae=a"):
            self.assertEqual(self.ask(path)[0], 400, path)
        self.assertEqual(self.ask("undelete?name=a&deleted=yesterday")[0], 400)
        self.assertEqual(self.text("names", "GET"), "a\nb\n")

    def test_one_of_several_deletions(self) -> None:
        """Of several deletions the newest is undone, or the one that is named."""
        self.text("delete?name=a")
        self.wall = NOW + 10.0
        self.given(("d", "a", "CounterGroup", NOW, "5"))
        self.text("delete?name=a")
        self.pump()
        self.assertEqual(self.json("deleted", "GET"), {"a": [NOW, NOW + 10.0]})
        self.text(f"undelete?name=a&deleted={NOW}")
        self.pump()
        self.assertEqual((self.count("a"), self.json("deleted", "GET")), (3, {"a": [NOW + 10.0]}))
        self.text("undelete?name=a")
        self.pump()
        self.assertEqual((self.count("a"), self.json("deleted", "GET")), (4, {}))

    def test_other_type_meanwhile(self) -> None:
        """A tab that has another Type now keeps it: the deletion is not undone."""
        self.text("delete?name=a")
        self.given(("d", "a", "Gauge", NOW, "5"))
        self.text("undelete?name=a")
        self.pump()
        self.assertEqual(self.json("tabs?name=a", "GET"), {"a": {"5": 1}})
        self.assertEqual(self.json("deleted", "GET"), {"a": [NOW]})

    def test_at_once(self) -> None:
        """A deletion that was answered and not yet carried out can be undone."""
        self.text("delete?name=a")
        self.text("undelete?name=a")
        self.pump()
        self.assertEqual((self.count("a"), self.json("deleted", "GET")), (3, {}))

    def test_undo_time_is_over(self) -> None:
        """After UNDO_HOURS nothing is left of what was deleted."""
        self.text("delete?name=a")
        self.pump()
        self.wall = NOW + 86_399.0
        self.pump(60.0)
        self.assertEqual(self.json("deleted", "GET"), {"a": [NOW]})
        self.wall = NOW + 86_401.0
        self.pump(60.0)
        self.assertEqual(self.json("deleted", "GET"), {})
        self.assertEqual({row.tab for row in self.rows()}, {"b"})
        self.assertEqual(self.successResultOf(self.memory.tabs()), {"b": "CounterGroup"})

    def test_agent_takes_nothing(self) -> None:
        """What cannot be made durable is 503."""
        self.served.operations._operate = lambda body, types: fail(SpoolFull("the disk is full"))
        status, text = self.ask("delete?name=a")
        self.assertEqual((status, "the disk is full" in text), (503, True))


class GuardTests(AdminCase):
    """Who may ask, and how."""

    PATHS = ("delete?name=a", "undelete?name=a", "upgrade", "gc", "recompute", "flush_all", "refold", "check")

    def test_post_only(self) -> None:
        """A GET of what changes something is 405; /check may be asked so as long as it only reads."""
        for path in self.PATHS[:-1]:
            self.assertEqual(self.ask(path, "GET")[0], 405, path)
        self.assertEqual(self.ask("check", "GET")[0], 200)
        self.assertEqual(self.ask("check?dry=false", "GET")[0], 405)

    def test_admin_get(self) -> None:
        """With ADMIN_GET a GET from this host does what it did in the original; one from elsewhere does not."""
        self.open(get=True)
        for path in (*self.PATHS, "check?dry=false"):
            self.assertEqual(self.ask(path, "GET")[0], 200, path)
        self.open(get=True, open=False, afar=True)
        for path in (*self.PATHS[:-1], "check?dry=false"):
            self.assertEqual(self.ask(path, "GET")[0], 405, path)

    def test_from_this_host_only(self) -> None:
        """Without a token it is taken from this host only; with one from everywhere."""
        self.open(afar=True)
        for path in self.PATHS:
            self.assertEqual(self.ask(path)[0], 403, path)
        self.open(open=False, afar=True)
        for path in self.PATHS:
            self.assertEqual(self.ask(path)[0], 200, path)

    def test_parameters(self) -> None:
        """An unknown parameter is 400."""
        for path in self.PATHS:
            self.assertEqual(self.ask(f"{path}{'&' if '?' in path else '?'}x=1")[0], 400, path)
        self.assertEqual(self.ask("check?dry=perhaps")[0], 400)


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


class OtherTests(AdminCase):
    """/upgrade, /recompute, /flush_all, /refold."""

    def test_upgrade(self) -> None:
        """All tabs, or those named, are gone through; what be has to do is gone when it is done."""
        self.given(("c", "a", "CounterGroup", NOW, "1"), ("c", "b", "CounterGroup", NOW, "1"))
        self.assertEqual(self.json("upgrade"), {"started": True, "tabs": 2})
        self.assertEqual(self.json("upgrade?name=a"), {"started": True, "tabs": 1})
        self.assertEqual(self.text("upgrade?name=b"), "Started\n")
        self.pump()
        self.assertEqual(self.successResultOf(self.memory.tabs()), dict.fromkeys("ab", "CounterGroup"))
        self.assertEqual((self.count("a"), self.successResultOf(self.memory.ledger())["operations"]), (1, 4))

    def test_recompute(self) -> None:
        """It is answered as ever."""
        self.assertEqual((self.text("recompute"), self.json("recompute")), ("Started\n", {"started": True}))

    def test_flush_all(self) -> None:
        """What waits is dropped, counted, and said; be goes on with what comes after it."""
        self.given(("c", "a", "CounterGroup", NOW, "1"))
        waiting = sections([("c", "a", "CounterGroup", NOW, "1")], 4)
        self.successResultOf(self.memory.append(self.lanes.appends(waiting)))
        self.assertEqual(self.json("flush_all"), {"flushed": 1})
        self.assertEqual(self.text("flush_all"), "")
        self.pump(5.0)
        self.assertEqual(self.count("a"), 1)
        self.given(("c", "a", "CounterGroup", NOW, "1"))
        self.pump(5.0)
        self.assertEqual(self.count("a"), 2)
        self.assertEqual(self.successResultOf(self.memory.ledger())["flushed"], 1)

    def novel(self, client: str = "c") -> None:
        """A Partial of a Type without Handler."""
        made = sections([(client, "n", "Novel", NOW, '[1, 2]')], 4, {"Novel": native.RAW})
        self.successResultOf(self.memory.append(self.lanes.appends(made)))
        self.pump()

    def test_aside(self) -> None:
        """What was set aside is listed, and chosen by reason, Type and tab."""
        self.novel()
        [each] = self.json("aside", "GET")
        self.assertEqual(each["bytes"] > 10, True)
        del each["bytes"], each["id"]
        names = {"tab": "n", "client": "c", "type": "Novel"}
        self.assertEqual(each, {"vbucket": vbucket_of("n", 4), "reason": "unknown type", **names, "events": 1})
        self.assertIn(": unknown type, tab n, client c, Type Novel, 1 events, ", self.text("aside?tab=n", "GET"))
        self.assertEqual(self.json("aside?reason=undecodable", "GET"), [])

    def test_refold(self) -> None:
        """What was set aside for want of a Handler is folded once there is one, and then is not set aside any more."""
        self.novel("c")
        self.novel("d")
        self.assertEqual(self.json("refold"), {"asked": 2})
        self.pump()
        self.assertEqual(len(self.json("aside", "GET")), 2)  # there still is no Handler
        buffer = registry().handlers["Buffer"]

        class Novel(type(buffer)):  # type: ignore[misc]
            name = "Novel"

        handlers = Registry([*registry().handlers.values(), Novel()])
        for folding in self.served.backend.folding.values():
            folding.registry = handlers
        self.assertEqual(self.text("refold?type=Novel"), "Asked: 2\n")
        self.pump()
        self.assertEqual(self.json("aside", "GET"), [])
        ledger = self.successResultOf(self.memory.ledger())
        self.assertEqual((ledger["folded"], ledger["refused.unknown type"]), (2, 0))
        self.assertEqual([(row.client, row.type) for row in self.rows()], [("c", "Novel"), ("d", "Novel")])
        self.given(("c", "a", "CounterGroup", NOW, "1"))
        self.assertEqual(self.count("a"), 1)

    def test_refold_of_a_whole_batch(self) -> None:
        """A batch that nobody could read stays set aside as long as nobody can."""
        junk = native.Section(2, 7, b"no batch at all")
        self.successResultOf(self.memory.append(self.lanes.appends([junk])))
        self.pump()
        self.assertIn("a whole batch, 7 events, 15 bytes", self.text("aside", "GET"))
        self.assertEqual(self.json("refold?reason=undecodable"), {"asked": 1})
        self.pump()
        self.assertEqual(len(self.json("aside", "GET")), 1)
        self.assertEqual(self.successResultOf(self.memory.ledger())["refused.undecodable"], 7)
