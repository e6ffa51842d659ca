"""Every Type the whole way: taken in, batched, appended, folded, checkpointed, and asked for; over the stores of one
process."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.interfaces import IStore, Style
from taba.server.backend import Backend
from taba.server.observation import Observer
from taba.server.parameters import Parameters
from taba.server.query import Query
from taba.store.embedded import EmbeddedStore
from taba.testing.disk import MemoryDisk
from tests.server.making import NOW, Lanes, Silent, memory_store, new_ids, registry, sections
from tests.store.harnesses import InlineWorker, started

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as Suite
else:
    Suite = object

DAY = 86400.0
TYPES = dict(registry().kinds())

Event = tuple[str, str, str, float, str]
"""(client, tab, Type, time, payload)."""


class TypesOnAStore(Suite):
    """What a user sees of events of the Types whose Handlers are written in Python."""

    def make_store(self) -> IStore:
        """A store of 4 vbuckets that has started."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.clock = Clock()
        self.now = NOW
        self.store = self.make_store()
        self.lanes = Lanes()
        self.backend = self.started("be-1")

    def tearDown(self) -> None:
        self.successResultOf(self.backend.stopService())
        self.successResultOf(self.store.stopService())

    def started(self, owner: str) -> Backend:
        """A be on the store."""
        observer = Observer(Silent(), lambda: NOW)
        backend = Backend(self.store, registry(), self.clock, lambda: self.now, owner, observer)
        backend.startService()
        return backend

    def given(self, *events: Event, types: dict[str, int] = TYPES) -> None:
        """Events that have been folded and checkpointed."""
        self.successResultOf(self.store.append(self.lanes.appends(sections(events, 4, types))))
        for _ in range(40):
            self.clock.advance(0.05)

    def asked(self, what: str, style: Style, client: str | None = None) -> dict[str, str]:
        """The answer of a query: name -> rendering."""
        shown: list[tuple[str, str]] = []
        query = Query(self.store, registry(), lambda: self.now, self.clock)
        parameters = Parameters(client=client)
        if what == "tabs":
            asking = query.aggregates(parameters, style, lambda *pair: shown.append(pair))
        else:
            asking = query.projections(
                parameters, style, lambda tab, client, text: shown.append((f"{tab},{client}", text))
            )
        self.successResultOf(Deferred.fromCoroutine(asking))
        return dict(shown)

    def tabs(self, client: str | None = None) -> dict[str, str]:
        """What /tabs shows, which is the same in every style."""
        text, plain, detailed = (self.asked("tabs", style, client) for style in Style)
        self.assertEqual((text, text), (plain, detailed))
        for each in text.values():
            json.loads(each)
        return text

    def ledger(self) -> dict[str, int]:
        """The lines that are not 0."""
        return {key: n for key, n in self.successResultOf(self.store.ledger()).items() if n}

    def test_totals(self) -> None:
        """Totals over clients and checkpoints, late events too; the Aggregate is that of the clients' States."""
        for turn in range(3):
            self.given(("c", "t", "TotalsCounter", NOW - turn * DAY, "1.5"), ("d", "t", "TotalsCounter", NOW, "2"))
        self.assertEqual(self.tabs(), {"t": '{"count": 6, "total": 10.50, "average": 1.75}'})
        self.assertEqual(self.tabs(client="c,d"), self.tabs())
        self.assertEqual(self.tabs(client="c"), {"t": '{"count": 3, "total": 4.50, "average": 1.50}'})
        self.assertEqual(self.ledger(), {"folded": 6})

    def test_percentiles(self) -> None:
        """Percentiles over clients and checkpoints; the Aggregate is that of the clients' States."""
        for turn in range(3):
            self.given(
                ("c", "p", "PercentileCounter", NOW - turn * DAY, str(turn)),
                ("d", "p", "PercentileCounter", NOW, str(10 * turn)),
            )
        shown = '{"count": 6, "total": 33.000000, "pct": [0.00, 2.00, 10.00, 20.00, 20.00, 20.00, 20.00]}'
        self.assertEqual(self.tabs(), {"p": shown})
        self.assertEqual(self.tabs(client="c,d"), {"p": shown})

    def test_expiry_gauges(self) -> None:
        """Clients by their latest value, until it expires."""
        self.given(
            ("c", "g", "ExpiryGauge", NOW, f'["grün", {NOW + 60}]'),
            ("d", "g", "ExpiryGauge", NOW, f'["grün", {NOW + 120}]'),
            ("e", "g", "ExpiryGauge", NOW, f'["rot", {NOW + 60}]'),
        )
        self.assertEqual(self.tabs(), {"g": '{"grün": 2, "rot": 1}'})
        self.given(
            ("e", "g", "ExpiryGauge", NOW - 1, f'["late", {NOW + DAY}]'),
            ("d", "g", "ExpiryGauge", NOW + 1, f'["gelb", {NOW + 9}]'),
        )
        self.assertEqual(self.tabs(), {"g": '{"gelb": 1, "grün": 1, "rot": 1}'})
        self.now = NOW + 59.5
        self.assertEqual(self.tabs(), {"g": '{"grün": 1, "rot": 1}'})
        self.now = NOW + 60
        self.assertEqual(self.tabs(), {"g": "{}"})

    def test_buffers(self) -> None:
        """The values of all clients, the longest expiry first, with and without an expiry of their own."""
        self.given(
            ("c", "b", "Buffer", NOW - 1, '"grün"'),
            ("d", "b", "Buffer", NOW, f'[{{"a": 1}}, {NOW + 60}]'),
            ("c", "b", "Buffer", NOW - 2, '["x", "y", "z"]'),
        )
        first = '["grün", 1699999999.0], [["x", "y", "z"], 1699999998.0]'
        self.assertEqual(self.tabs(), {"b": f'[{first}, [{{"a": 1}}, 1700000000.0]]'})
        self.now = NOW + 60
        self.assertEqual(self.tabs(), {"b": f"[{first}]"})
        self.assertEqual(self.asked("projection", Style.JSON), {"b,c": f"[{first}]", "b,d": "[]"})
        self.now = NOW + DAY
        self.assertEqual(self.tabs(), {"b": "[]"})

    def test_another_be_goes_on(self) -> None:
        """All that was checkpointed is there for the next be, and further events are folded into it."""
        events: list[Event] = [
            ("c", "t", "TotalsCounter", NOW, "1"),
            ("c", "p", "PercentileCounter", NOW, "1"),
            ("c", "g", "ExpiryGauge", NOW, f'["v", {NOW + 60}]'),
            ("c", "b", "Buffer", NOW, '"v"'),
        ]
        self.given(*events)
        self.successResultOf(self.backend.stopService())
        self.backend = self.started("be-2")
        self.given(*events)
        self.assertEqual(
            self.tabs(),
            {
                "b": '[["v", 1700000000.0], ["v", 1700000000.0]]',
                "g": '{"v": 1}',
                "p": '{"count": 2, "total": 2.000000, "pct": [1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00]}',
                "t": '{"count": 2, "total": 2.00, "average": 1.00}',
            },
        )

    def test_first_type_of_a_tab_stays(self) -> None:
        """Types whose events travel alike are still different Types: a tab keeps the first it was given."""
        self.given(
            ("c", "t", "TotalsCounter", NOW, "1"),
            ("c", "u", "CounterGroup", NOW, "1"),
        )
        self.given(
            ("c", "t", "CounterGroup", NOW, "1"),
            ("c", "t", "PercentileCounter", NOW, "1"),
            ("c", "t", "TotalsCounter", NOW, "1"),
            ("c", "u", "TotalsCounter", NOW, "1"),
        )
        self.assertEqual(self.asked("tabs", Style.JSON, "c")["t"], '{"count": 2, "total": 2.00, "average": 1.00}')
        self.assertEqual(self.ledger(), {"folded": 3, "refused.other type": 3})

    def test_gauge_events_of_another_shape(self) -> None:
        """An ExpiryGauge's event without an expiry, that somebody let through, shows nothing and hides nothing; it is
        counted as folded.
        """
        any_shape = {**TYPES, "ExpiryGauge": native.RAW}
        self.given(("c", "g", "ExpiryGauge", NOW, '"bare"'), types=any_shape)
        self.assertEqual(self.tabs(), {"g": "{}"})
        events = [("c", "g", "ExpiryGauge", NOW - 5, f'["v", {NOW + 60}]'), ("c", "g", "ExpiryGauge", NOW, "[1]")]
        self.given(*events, types=any_shape)
        self.assertEqual(self.tabs(), {"g": '{"v": 1}'})
        self.assertEqual(self.ledger(), {"folded": 3})


class TypesOnMemoryTests(TypesOnAStore, SynchronousTestCase):
    """Over the store in memory."""

    def make_store(self) -> IStore:
        """A memory store that has started."""
        return memory_store(self.clock, vbuckets=4, wall=lambda: self.now)


class TypesOnEmbeddedTests(TypesOnAStore, SynchronousTestCase):
    """Over the embedded store, on a simulated disk."""

    def make_store(self) -> IStore:
        """An embedded store that has started."""
        disk = MemoryDisk(Random(1))
        self.addCleanup(disk.close)
        store = EmbeddedStore(
            disk.folder(),
            4,
            clock=self.clock,
            wall=lambda: self.now,
            new_id=new_ids(),
            writer=InlineWorker(),
            reader=InlineWorker(),
        )
        started(store)
        return store


class TypesAtIntakeTests(SynchronousTestCase):
    """What is said to payloads where they come in."""

    def test_what_has_no_expiry_is_refused_alone(self) -> None:
        """Of an ExpiryGauge an event that is not [VALUE, EXPIRY] is refused with its line; a Buffer takes any JSON."""
        payloads = [r"[\"v\", 1]", r"\"v\"", "[1]", "[1, 2, 3]"]
        payloads += ["[1, true]", "[1, null]", "[[2], 1e3]", "{}", "7", r"[1, \"2\"]"]
        for name, refused in (("ExpiryGauge", [7, 8, 9, 10, 11, 13, 14, 15]), ("Buffer", [])):
            scratch = native.Scratch(native.Limits(), TYPES)
            lines = "".join(f'["{name}", {NOW}, "{payload}"]\n' for payload in payloads)
            scratch.feed(f"1\n\nc\n\nt\n{lines}\n\n".encode())
            scratch.finish()
            summary = scratch.summary()
            self.assertEqual(list(summary.samples), [(line, "value") for line in refused])
            self.assertEqual(summary.accepted, len(payloads) - len(refused))

    def test_what_is_no_number_is_refused_alone(self) -> None:
        """Of a Type of numbers an event with another payload is refused with its line, and the rest count."""
        for name in ("TotalsCounter", "PercentileCounter"):
            scratch = native.Scratch(native.Limits(), TYPES)
            payloads = ["1", r"\"5\"", "2.5", "null", "{}", "1e999", "[3, 4]", "true"]
            lines = "".join(f'["{name}", {NOW}, "{payload}"]\n' for payload in payloads)
            scratch.feed(f"1\n\nc\n\nt\n{lines}\n\n".encode())
            scratch.finish()
            summary = scratch.summary()
            self.assertEqual((summary.accepted, dict(summary.refused)), (4, {"value": 4}))
            accumulator = native.Accumulator()
            accumulator.merge(scratch, 1)
            [(_, _, _, events, partial, *_)] = native.batch_partials(accumulator.encode(1)[0].data)
            handler = registry().handlers[name]
            shown = json.loads(handler.render(handler.fold(b"", [partial]), NOW, Style.JSON))
            self.assertEqual((events, shown["count"], shown["total"]), (4, 4, 7.5))
