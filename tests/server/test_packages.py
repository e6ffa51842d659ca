"""Servers of one fleet that have different packages of Types: what one cannot fold waits for one that can."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import strategies as st
from treq.testing import StubTreq
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.handlers.registry import Registry, builtin
from taba.web.answers import Root
from tests.handlers.types_of_others import Seen
from tests.server.making import NOW, TYPES, Lanes, Served, memory_store, sections
from tests.strategies import law

VBUCKETS = 4
KINDS = {**TYPES, "Seen": native.RAW}


class SeenAgain(Seen):
    """Version 2 of the package: States look otherwise, and those of version 1 are read, too."""

    version = 2

    def encode(self, value: Counter[str]) -> bytes:
        """With a word before it."""
        return b"again" + super().encode(value)

    def decode(self, data: bytes, version: int) -> Counter[str]:
        """Of both versions."""
        return super().decode(data if version == 1 else data.removeprefix(b"again"), version)


PACKAGES = {
    "none": builtin(),
    "one": Registry([*builtin().handlers.values(), Seen()]),
    "two": Registry([*builtin().handlers.values(), SeenAgain()]),
}
"""What a server may have installed."""


class Fleet:
    """Servers that hold all vbuckets one after another, and applications that record whoever it is."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.wall = NOW
        self.memory = memory_store(self.clock, VBUCKETS, lambda: self.wall)
        self.lanes = Lanes()
        self.given: list[str] = []
        self.servers = 0
        self.served: Served | None = None

    def serve(self, package: str) -> None:
        """The server that holds the vbuckets ends, and one with this version of the package takes them."""
        self.stop()
        self.servers += 1
        registry = PACKAGES[package]
        self.served = Served(
            self.memory, self.memory, self.clock, lambda: self.wall, VBUCKETS, client_ttl=3600.0, handlers=registry,
            types=registry, incarnation=f"{0xf000 + self.servers:032x}",
        )  # fmt: skip
        self.served.backend.startService()
        self.served.maintenance.startService()
        self.pump()

    def stop(self) -> None:
        """End the server in good order."""
        if self.served is not None:
            for service in (self.served.maintenance, self.served.backend):
                self.result(maybeDeferred(service.stopService))

    def pump(self, seconds: float = 2.0) -> None:
        """Let time pass."""
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)

    def result(self, waiting: Deferred[Any]) -> Any:
        """What comes of something."""
        results: list[Any] = []
        waiting.addCallback(results.append)
        for _ in range(100):
            if results:
                return results[0]
            self.clock.advance(0.1)
        raise AssertionError("it does not end")

    def record(self, count: int) -> None:
        """So many events of the custom Type, and as many of another, of two clients."""
        events = []
        for _ in range(count):
            client = f"c{len(self.given) % 2}"
            self.given.append(f"event {len(self.given)}")
            events.append((client, "seen", "Seen", self.wall, json.dumps(self.given[-1])))
            events.append((client, "count", "CounterGroup", self.wall, "1"))
        self.result(self.memory.append(self.lanes.appends(sections(events, VBUCKETS, KINDS), self.wall)))
        self.pump()

    def ask(self, path: str, method: str = "GET") -> Any:
        """The JSON of an answer."""
        assert self.served is not None
        asking: Any = StubTreq(Root(self.served.leaves()))
        asked = asking.request(method, f"http://server/{path}", headers={"Accept": "application/json"})
        for _ in range(20):
            asking.flush()
            self.clock.advance(0.0)
        response = self.result(asked)
        return json.loads(self.result(response.text("utf-8")))

    def refold(self) -> None:
        """An operator has everything folded again that was set aside."""
        self.ask("refold", "POST")
        self.pump()

    def later(self) -> None:
        """Clients were silent for so long that the GC retires their States."""
        self.wall += 7200.0
        self.ask("gc", "POST")
        self.pump()

    def aside(self) -> Counter[str]:
        """Events that are set aside, by reason."""
        found: Counter[str] = Counter()
        for each in self.ask("aside"):
            found[each["reason"]] += each["events"]
        return found

    def ledger(self) -> dict[str, int]:
        """The account of events, without lines that are 0 or of something else."""
        lines = self.result(self.memory.ledger())
        return {line: n for line, n in lines.items() if n and line not in ("operations", "aggregates damaged")}


class PackagesTests(SynchronousTestCase):
    def check(self, fleet: Fleet) -> None:
        """Whatever the server lacks, no event is missing in the account, and other Types count as ever."""
        ledger, total = fleet.ledger(), 2 * len(fleet.given)
        self.assertEqual(sum(ledger.values()), total)
        self.assertEqual(
            fleet.aside(), {line.partition(".")[2]: n for line, n in ledger.items() if line.startswith("refused.")}
        )
        if fleet.given:
            self.assertEqual(fleet.ask("tabs?name=count")["count"]["pct"]["count"], len(fleet.given))

    def check_all_there(self, fleet: Fleet) -> None:
        """With the newest package, all folded again and what is found put right, every event counts once, in States and
        Aggregate.
        """
        fleet.serve("two")
        fleet.refold()
        fleet.ask("check?dry=false", "POST")
        fleet.pump()
        self.assertEqual((fleet.aside(), fleet.ledger()), ({}, {"folded": 2 * len(fleet.given)} if fleet.given else {}))
        self.assertEqual(fleet.ask("check")["findings"], [])
        if fleet.given:
            self.assertEqual(fleet.ask("tabs?name=seen"), {"seen": dict.fromkeys(fleet.given, 1)})

    def test_server_without_the_package(self) -> None:
        """What a server gets of a Type whose package it does not have is set aside, and so it stays when it is asked to
        fold it; the States of the tab, which another server has written, stay as they are. A server that has the
        package folds it.
        """
        fleet = Fleet()
        fleet.serve("one")
        fleet.record(3)
        fleet.serve("none")
        fleet.record(4)
        fleet.refold()
        fleet.later()
        self.assertEqual(fleet.aside(), {"unknown type": 4})
        self.assertIn("no Handler for Type Seen", json.dumps(fleet.ask("tabs?name=seen")))
        self.check(fleet)
        fleet.serve("one")
        self.assertEqual(fleet.ask("tabs?name=seen"), {"seen": dict.fromkeys(fleet.given[:3], 1)})
        fleet.record(2)
        fleet.refold()
        self.assertEqual(fleet.ask("tabs?name=seen"), {"seen": dict.fromkeys(fleet.given, 1)})
        self.assertEqual(fleet.aside(), {})

    def test_server_with_an_older_version(self) -> None:
        """What a server gets for States that a newer version has written is set aside, and the States stay; one with
        the newer version folds it.
        """
        fleet = Fleet()
        fleet.serve("one")
        fleet.record(2)
        fleet.serve("two")
        fleet.record(2)
        fleet.serve("one")
        fleet.record(3)
        fleet.refold()
        fleet.later()
        self.assertEqual(fleet.aside(), {"undecodable": 3})
        self.check(fleet)
        self.check_all_there(fleet)

    def test_aggregate_of_a_newer_version(self) -> None:
        """What an older version folds into the State of a client that is new goes not into an Aggregate that it cannot
        read: that is counted, found and put right.
        """
        fleet = Fleet()
        fleet.serve("two")
        fleet.record(1)
        fleet.serve("one")
        fleet.record(1)
        self.assertEqual((fleet.aside(), fleet.ledger()), ({}, {"folded": 4}))
        self.assertEqual(fleet.result(fleet.memory.ledger())["aggregates damaged"], 1)
        fleet.serve("two")
        self.assertEqual(fleet.ask("tabs?name=seen"), {"seen": {"event 0": 1}})
        (found,) = fleet.ask("check")["findings"]
        self.assertEqual(found["tab"], "seen")
        self.check_all_there(fleet)

    @law(
        st.lists(
            st.one_of(
                st.integers(1, 3),
                st.sampled_from(["serve none", "serve one", "serve two"]),
                st.sampled_from(["refold", "later", "upgrade"]),
            ),
            max_size=10,
        ),
        examples=8,
    )
    def test_any_course(self, steps: list[int | str]) -> None:
        """However vbuckets go between servers with and without the package, and with versions of it, no event is lost
        or counted twice.
        """
        fleet = Fleet()
        fleet.serve("none")
        for step in steps:
            match step:
                case int():
                    fleet.record(step)
                case "refold":
                    fleet.refold()
                case "later":
                    fleet.later()
                case "upgrade":
                    fleet.ask("upgrade", "POST")
                    fleet.pump()
                case _:
                    fleet.serve(step.removeprefix("serve "))
            self.check(fleet)
        self.check_all_there(fleet)
