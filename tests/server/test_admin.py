"""The endpoints of an operator: what they answer, as text and as JSON, what they do, and who may ask."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import fail
from twisted.logger import LogEvent, globalLogPublisher

from taba import native
from taba.errors import SpoolFull
from taba.handlers.registry import Registry
from taba.server.operations import vbucket_of
from taba.web.forwarded import TrustedProxies
from tests.server.admin_case import AdminCase
from tests.server.making import NOW, registry, sections

ISO = "2023-11-15T22:13:20Z"
"""A day after NOW."""


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
        self.assertEqual(self.json("undelete?name=.*&re=1"), {"undeleted": ["a", "b"], "refused": {}})
        self.pump()
        self.assertEqual((self.count("a"), self.count("b")), (3, 1))

    def test_nothing_is_deleted(self) -> None:
        """A tab that was never deleted is not brought back, and the answer says so; one whose deletion was asked for a
        moment ago may still be there.
        """
        reason = "nothing of it is deleted"
        self.assertEqual(self.text("undelete?name=a"), f"a: not brought back: {reason}\n")
        self.assertEqual(self.json("undelete?name=a,b"), {"undeleted": [], "refused": {"a": reason, "b": reason}})
        self.assertEqual(self.served.agent.bodies, [])
        self.text("delete?name=a")
        self.assertEqual(self.json("undelete?name=a,b"), {"undeleted": ["a"], "refused": {"b": reason}})

    def test_unknown(self) -> None:
        """What there is not is 200, and nothing is done; graves and notes are no tabs."""
        self.assertEqual(self.text("delete?name=x"), "")
        self.assertEqual(self.text("undelete?name=x"), "x: not brought back: there is no such deletion\n")
        self.assertEqual(self.text("undelete?name=x.*&re"), "There is nothing to bring back.\n")
        self.assertEqual(self.json("undelete?name=x.*&re"), {"undeleted": [], "refused": {}})
        self.assertEqual(self.text("undelete?name=a&deleted=5"), "a: not brought back: there is no such deletion\n")
        self.assertEqual(self.served.agent.bodies, [])
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
        """A tab that has another Type now keeps it: the answer says so, and the deletion is not undone. Others are."""
        self.text("delete?name=a,b")
        self.given(("d", "a", "Gauge", NOW, "5"))
        reason = "the tab is of Type Gauge now, and was of Type CounterGroup"
        sent = len(self.served.agent.bodies)
        self.assertEqual(self.text("undelete?name=a"), f"a: not brought back: {reason}\n")
        self.assertEqual(self.json("undelete?name=a"), {"undeleted": [], "refused": {"a": reason}})
        self.assertEqual(len(self.served.agent.bodies), sent)
        self.assertEqual(self.json("undelete?name=a,b"), {"undeleted": ["b"], "refused": {"a": reason}})
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

    def test_through_a_proxy(self) -> None:
        """What a proxy on this host brings is not from this host; unless it is trusted, and says so."""
        afar, near = {"X-Forwarded-For": "192.0.2.7"}, {"X-Forwarded-For": "127.0.0.1"}
        for trusted, headers, status in (
            ([], afar, 403), ([], near, 403), ([], {"Forwarded": "for=127.0.0.1"}, 403), (["127.0.0.1"], afar, 403),
            (["127.0.0.1"], near, 200), (["127.0.0.1"], {"X-Forwarded-For": "127.0.0.1, 192.0.2.7"}, 403),
            (["127.0.0.1"], {}, 200),
        ):  # fmt: skip
            self.open(get=True, trusted=TrustedProxies.of([*trusted, "unix"] if trusted else []))
            self.headers = headers
            for path in (*self.PATHS[:-1], "check?dry=false"):
                self.assertEqual(self.ask(path)[0], status, (path, trusted, headers))
                self.assertEqual(self.ask(path, "GET")[0], status, (path, trusted, headers))

    def test_proxies_and_tokens(self) -> None:
        """With a token it is taken from everywhere, through proxies as well; a GET is not."""
        self.open(get=True, open=False)
        self.headers = {"X-Forwarded-For": "192.0.2.7"}
        for path in self.PATHS[:-1]:
            self.assertEqual((self.ask(path)[0], self.ask(path, "GET")[0]), (200, 405), path)

    def test_who_asked(self) -> None:
        """The log names who asked behind a trusted proxy; who is not trusted names nobody else."""
        logged: list[LogEvent] = []
        observe: Any = logged.append
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.headers = {"X-Forwarded-For": "192.0.2.7"}
        for trusted in ([], ["127.0.0.1", "unix"]):
            self.open(open=False, trusted=TrustedProxies.of(trusted))
            self.ask("gc?")
        found = [each["who"] for each in logged if each.get("path") == "/gc"]
        self.assertEqual(found[1], "192.0.2.7")
        self.assertNotEqual(found[0], "192.0.2.7")

    def test_parameters(self) -> None:
        """An unknown parameter is 400."""
        for path in self.PATHS:
            self.assertEqual(self.ask(f"{path}{'&' if '?' in path else '?'}x=1")[0], 400, path)
        self.assertEqual(self.ask("check?dry=perhaps")[0], 400)


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
        """It is answered as ever; of tabs that are named, the Aggregates are made anew from their States."""
        self.assertEqual((self.text("recompute"), self.json("recompute")), ("Started\n", {"started": True}))
        self.given(("c", "a", "CounterGroup", NOW, "1"), ("c", "b", "CounterGroup", NOW, "1"))
        self.assertEqual(self.json("recompute?name=a,unknown"), {"started": True, "tabs": 1})
        self.pump(5.0)
        self.assertIn("taba.rebuild", self.served.agent.bodies[-1].decode())
        self.assertEqual(self.count("a"), 1)

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
