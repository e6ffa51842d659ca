"""What can be asked of a server beside the tabs: /ids, /servers, /latency, /where, /ledger, and its row in /status."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from taba.server.inspection import id_of
from taba.server.latency import ENQUEUE, PROCESSED, SLOT_VALUES, Latencies, LatencyTracker
from taba.server.operations import vbucket_of
from taba.server.publishing import GC, Publishing
from tests.server.admin_case import AdminCase
from tests.server.making import NOW, sections


class IdTests(AdminCase):
    """/ids, as the original."""

    def test_ids(self) -> None:
        """Names and clients with a number each, that follows from the name; graves are no names."""
        self.given(("c", "a", "CounterGroup", NOW, "1"), ("d", "b", "CounterGroup", NOW, "1"))
        self.text("delete?name=b")
        self.pump()
        a, c = id_of("a"), id_of("c")
        self.assertEqual(self.text("ids", "GET"), f"Names:\n  a: {a}\nClients:\n  c: {c}\n")
        self.assertEqual(self.json("ids", "GET"), {"names": {"a": a}, "clients": {"c": c}})

    def test_numbers(self) -> None:
        """They are the same everywhere and always, different from each other, and JSON can hold them."""
        self.assertEqual(id_of("example_counter"), 5637153205795066)
        ids = {id_of(f"name{n}") for n in range(10_000)}
        self.assertEqual(len(ids), 10_000)
        self.assertLess(max(ids), 2**53)

    def test_nothing(self) -> None:
        """Without any tab."""
        self.assertEqual(self.text("ids", "GET"), "Names:\nClients:\n")
        self.assertEqual(self.json("ids", "GET"), {"names": {}, "clients": {}})


class ServerTests(AdminCase):
    """/servers, /latency and /status of one server, and of several."""

    def test_servers(self) -> None:
        """Names and roles, as a Python list and as JSON."""
        self.assertEqual(self.text("servers", "GET"), "taba_server.host.8300: ['be', 'fe']\n")
        self.assertEqual(self.json("servers", "GET"), {"taba_server.host.8300": ["be", "fe"]})

    def other(self) -> Publishing:
        """A second server on the store, with latencies of its own."""
        tracker = LatencyTracker()
        tracker.add(ENQUEUE, 3.0, 0.0)
        served = self.served
        collect = served.maintenance.collect
        publishing = Publishing(
            self.store, "taba_server.other.8300", ["fe"], served.backend, tracker, self.clock, lambda: NOW, collect
        )
        publishing.startService()
        self.pump()
        return publishing

    def test_several(self) -> None:
        """All servers that published themselves are there, with their latencies, until they stop or fall silent."""
        self.served.publishing.startService()
        self.served.tracker.add(ENQUEUE, 1.0, 0.0)
        self.served.tracker.add(PROCESSED, 0.5, 0.0)
        other = self.other()
        self.assertEqual(self.json("servers", "GET"), {
            "taba_server.host.8300": ["be", "fe"], "taba_server.other.8300": ["fe"],
        })  # fmt: skip
        latency = {"cluster_aggregate": 2.5, "enqueue_avg": 2.0, "processed_avg": 0.5}
        self.assertEqual(self.json("latency", "GET"), latency)
        self.assertEqual(self.text("latency", "GET"), "cluster_aggregate: 2.5\nenqueue_avg: 2.0\nprocessed_avg: 0.5\n")
        status = self.json("status", "GET")
        self.assertEqual({name: status[name] for name in latency}, latency)
        self.assertEqual(sorted(status["servers"]), ["taba_server.host.8300", "taba_server.other.8300"])
        self.assertEqual(self.text("status", "GET").splitlines()[0], "Servers: 2")
        self.pump(20.0)
        self.assertEqual(self.served.publishing.latencies, Latencies(2.0, 0.5))
        self.successResultOf(other.stopService())
        self.assertEqual(list(self.json("servers", "GET")), ["taba_server.host.8300"])
        self.successResultOf(self.served.publishing.stopService())

    def test_two_of_one_name(self) -> None:
        """A server that had to take another name is listed under it, and /status says why and what to do."""
        facts = {"roles": ["be"], "instead_of": "taba_server.host.8300"}
        self.successResultOf(self.store.publish("taba_server.host.8300.2", facts, 30.0))
        self.assertEqual(self.json("servers", "GET"), {
            "taba_server.host.8300": ["be", "fe"], "taba_server.host.8300.2": ["be"],
        })  # fmt: skip
        status = self.json("status", "GET")["servers"]
        self.assertEqual(status["taba_server.host.8300.2"]["instead_of"], "taba_server.host.8300")
        self.assertNotIn("instead_of", status["taba_server.host.8300"])
        line = "taba_server.host.8300.2 is taba_server.host.8300, as another one is: give one another BASE_PORT"
        self.assertIn(line, self.text("status", "GET"))

    def test_silent_server(self) -> None:
        """A server that was killed is gone after 46.5 seconds."""
        other = self.other()
        for call in list(self.clock.getDelayedCalls()):  # of the other one only what publishes it is of interest
            if call.func.__qualname__.startswith("Sleeping") and call.getTime() > 10.0:
                call.cancel()
        self.assertEqual(len(self.json("servers", "GET")), 2)
        self.clock.advance(50.0)
        self.assertEqual(len(self.json("servers", "GET")), 1)
        self.assertEqual(other.member, "taba_server.other.8300")

    def test_gc_everywhere(self) -> None:
        """A pass of the GC that one server was asked for begins on the others, too."""
        self.served.publishing.startService()
        other = self.other()
        self.pump(16.0)
        passes = self.served.maintenance.passes
        other._actions[GC] = lambda: None
        other.collect()
        self.pump(20.0)
        self.assertEqual(self.served.maintenance.passes, passes + 1)
        self.pump(40.0)
        self.assertEqual(self.served.maintenance.passes, passes + 1)
        for each in (other, self.served.publishing):
            self.successResultOf(each.stopService())

    def test_latency_of_what_was_folded(self) -> None:
        """be measures how long entries take to become visible."""
        self.given(("c", "a", "CounterGroup", NOW, "1"))
        self.assertEqual(self.served.tracker.median(PROCESSED, self.clock.seconds()), 0.0)
        self.served.observer.appended(1, NOW - 2.0, 0.1)
        self.assertEqual(self.served.tracker.median(ENQUEUE, self.clock.seconds()), 2.0)

    def test_windows_end_earlier(self) -> None:
        """Windows end by the latency before now, by 30 seconds at most."""
        self.given(("c", "a", "CounterGroup", NOW - 70.0, "1"))
        self.assertEqual(json.loads(self.text("tabs?name=a", "GET")[3:])["1m"]["count"], 0)
        for latency, count in ((5.0, 0), (12.0, 1), (500.0, 1)):
            self.served.query._latency = lambda latency=latency: latency  # type: ignore[misc]
            self.assertEqual(json.loads(self.text("tabs?name=a", "GET")[3:])["1m"]["count"], count)


class WhereTests(AdminCase):
    """/where and /ledger."""

    def test_where(self) -> None:
        """The newest event of a client in a tab: folded, and waiting."""
        self.given(("c", "a", "CounterGroup", NOW, "1"), ("d", "a", "CounterGroup", NOW + 5.0, "1"))
        found = {"name": "a", "client": "c", "state": NOW, "log": None, "vbucket": vbucket_of("a", 4)}
        self.assertEqual(self.json("where?name=a&client=c", "GET"), found)
        self.successResultOf(self.served.backend.stopService())
        for time in (NOW + 9.0, NOW + 3.0):
            waiting = sections([("c", "a", "CounterGroup", time, "1"), ("c", "b", "CounterGroup", NOW + 20.0, "1")], 4)
            self.successResultOf(self.memory.append(self.lanes.appends(waiting)))
        self.assertEqual(self.json("where?name=a&client=c", "GET"), {**found, "log": NOW + 9.0})
        self.assertEqual(self.json("where?name=a&client=x", "GET"), {**found, "client": "x", "state": None})
        self.assertIn("state: none\nlog: none\n", self.text("where?name=x&client=c", "GET"))
        self.assertEqual(self.ask("where?name=a", "GET")[0], 400)

    def test_ledger(self) -> None:
        """Line by line, as text and as JSON."""
        self.given(("c", "a", "CounterGroup", NOW, "1"), ("c", "b", "CounterGroup", NOW + 100.0, "1"))
        ledger = self.json("ledger", "GET")
        self.assertEqual({line: n for line, n in ledger.items() if n}, {"folded": 1, "refused.future": 1})
        self.assertIn("folded: 1\n", self.text("ledger", "GET"))
        self.assertIn("refused.future: 1\n", self.text("ledger", "GET"))


class TrackerTests(SynchronousTestCase):
    """Medians of ten minutes."""

    def test_median(self) -> None:
        """Of what was seen within ten minutes; nothing seen is nothing said."""
        tracker = LatencyTracker()
        self.assertIsNone(tracker.median(ENQUEUE, 0.0))
        for second in range(1200):
            tracker.add(ENQUEUE, 1.0 if second < 600 else 2.0, float(second))
            if second == 899:
                self.assertEqual(tracker.median(ENQUEUE, 899.0), 1.5)
        self.assertEqual(tracker.median(ENQUEUE, 1199.0), 2.0)
        self.assertIsNone(tracker.median(ENQUEUE, 5000.0))
        self.assertIsNone(tracker.median(PROCESSED, 1199.0))

    def test_many(self) -> None:
        """However many there are, few are kept, and the median stays near the true one."""
        tracker = LatencyTracker()
        for n in range(50_000):
            tracker.add(ENQUEUE, (n * 7919 % 50_000) / 50_000, 5.0)
        for n in range(100):
            tracker.add(ENQUEUE, -1.0 if n % 2 else 9.0, 15.0)
        median = tracker.median(ENQUEUE, 15.0)
        assert median is not None
        self.assertLess(abs(median - 0.5), 0.05)
        self.assertLess(sum(len(slot.values) for slot in tracker._slots[ENQUEUE]), 2 * SLOT_VALUES)

    def test_means(self) -> None:
        """The mean over those servers that have seen anything; nonsense is passed over."""
        members = [{ENQUEUE: 1.0, PROCESSED: None}, {ENQUEUE: 3.0}, {PROCESSED: 0.5, ENQUEUE: "x"}]
        self.assertEqual(Latencies.of(members), Latencies(2.0, 0.5))
        self.assertEqual(Latencies.of([]).cluster, 0.0)
