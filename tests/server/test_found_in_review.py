"""What a review found: operations told twice, a log that goes on elsewhere, Handlers that answer nonsense, damage in
the way of chores.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from taba import native
from taba.handlers.checked import Checked
from taba.handlers.registry import Registry
from taba.interfaces import LogEntry, Style
from taba.server.folding import Folding
from taba.server.holding import passed_over
from taba.server.operations import REBUILD, REFOLD, UPGRADE
from taba.store.limits import Limits
from tests.server.making import NOW, registry, sections
from tests.server.test_operating import ServedCase


class Novel:
    """A Handler like Buffer's under another name, that answers a fold with what it is told."""

    def __init__(self, answer: Any = None) -> None:
        self._answer = answer
        self._inner = registry().handlers["Buffer"]
        self.name = "Novel"

    def fold(self, state: bytes, partials: Sequence[bytes]) -> Any:
        """See `IHandler.fold`."""
        return self._inner.fold(state, partials) if self._answer is None else self._answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class ReviewTests(ServedCase):
    """A be on a store in memory."""

    def install(self, handler: Any) -> None:
        """From now on there is a Handler of the Type Novel."""
        handlers = Registry([*registry().handlers.values(), handler])
        self.served.backend._registry = handlers
        for each in self.served.backend.folding.values():
            each.registry = handlers

    def append_events(self, kinds: dict[str, int], *events: tuple[str, str, str, float, str]) -> None:
        """One batch of events."""
        made = sections(list(events), 1, kinds)
        self.successResultOf(self.memory.append(self.lanes.appends(made)))

    def lines(self) -> dict[str, int]:
        """The ledger, but for lines of nothing."""
        return {line: count for line, count in self.successResultOf(self.memory.ledger()).items() if count}

    def test_refold_asked_twice_in_a_batch(self) -> None:
        """Two `/refold` within one flush of the agent fold what was set aside once."""
        self.start()
        self.append_events({"Novel": native.RAW}, ("c", "n", "Novel", NOW, "1"))
        self.pump()
        self.assertEqual(self.lines(), {"refused.unknown type": 1})
        [one] = self.successResultOf(self.memory.aside(10))
        self.install(Novel())

        def operation(number: int) -> tuple[str, str, str, float, str]:
            told = json.dumps({"id": f"{number:032x}", "by": "x", "time": NOW, "ids": [one.id]})
            return ("s", "taba.refold.0", REFOLD, NOW, told)

        self.append_events({REFOLD: native.RAW}, operation(1), operation(2))
        self.pump()
        self.assertEqual(self.lines(), {"folded": 1, "operations": 2})

    def test_flushed_while_nothing_was_read(self) -> None:
        """A vbucket that was flushed past what be has read is loaded again, though be has nothing to checkpoint."""
        self.start()
        backend = self.served.backend
        held = backend._pending_bytes
        backend._pending_bytes = lambda: backend._max_pending_bytes + 1  # type: ignore[method-assign]
        backend._read_more()
        self.pump(0.2)
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.pump(0.2)
        self.assertEqual(self.successResultOf(self.memory.flush()), 1)
        backend._pending_bytes = held  # type: ignore[method-assign]
        backend._fire_room()
        self.pump(0.2)
        self.append(("c", "a", "CounterGroup", NOW, "1"))
        self.pump(3)
        self.assertEqual(self.lines(), {"folded": 1, "flushed": 1})

    def test_where_a_log_goes_on(self) -> None:
        """Only a log that goes on further than what was folded when it was asked for, and is still, was passed over."""
        folding = Folding.loaded(self.lease(), self.loaded(), registry(), 60.0)

        def found(after: int, *ids: int) -> list[int]:
            entries = [LogEntry(0, each, NOW, 1, folding.lineage, b"") for each in ids]
            return passed_over({0: folding}, {0: after}, entries)

        self.assertEqual(found(0, 1, 2), [])
        self.assertEqual(found(0, 3, 4), [0])
        self.assertEqual(found(5, 7), [])  # it was loaded again, or folded on, since
        self.assertEqual(found(0), [])

    def lease(self) -> Any:
        """The lease of vbucket 0."""
        return self.successResultOf(self.memory.acquire([0], "test", 1e9))[0]

    def loaded(self) -> Any:
        """What the store has of vbucket 0."""
        return self.successResultOf(self.memory.load(self.lease()))

    def test_handler_that_answers_nonsense(self) -> None:
        """A fold that gives no byte string costs its own events, which are set aside, and no others."""
        for answer in (7, "text", [b""]):
            self.setUp()
            self.start()
            self.install(Checked.of(Novel(answer)))
            kinds = {"Novel": native.RAW, "CounterGroup": native.COUNTER_GROUP}
            self.append_events(kinds, ("c", "n", "Novel", NOW, "1"), ("c", "x", "CounterGroup", NOW, "1"))
            self.pump(3)
            self.assertEqual(self.lines(), {"folded": 1, "refused.handler failed": 1})

    def test_checked_handler(self) -> None:
        """A Handler of somebody else is what it was; each answer of another class is an exception that names it."""
        self.assertEqual(Checked.of(registry().handlers["Gauge"]).render(b"", NOW, Style.TEXT), "{}")

        class Wrong(Novel):
            def render(self, state: bytes, time: float, style: Style) -> Any:
                return b"{}"

            def merge(self, older: bytes, newer: bytes) -> Any:
                return None

        checked = Checked.of(Wrong("text"))  # type: ignore[arg-type]
        for method, arguments in (("fold", (b"", [])), ("merge", (b"", b"")), ("render", (b"", NOW, Style.TEXT))):
            problem = self.assertRaises(TypeError, getattr(checked, method), *arguments)
            self.assertIn(f"{method} of the Handler of Novel gave", str(problem))

    def test_damage_does_not_stop_other_chores(self) -> None:
        """An Aggregate that cannot be made anew, since a State is damaged, keeps no other chore from being done."""
        self.memory._limits = Limits(page_rows=2)
        self.start()
        for client in "abcde":
            for number in range(30):
                self.append((client, "t", "CounterGroup", NOW - 977 * number, str(1.37 * number)))
        self.append(("a", "u", "CounterGroup", NOW, "1"))
        self.pump()
        kept = self.memory._contents.vbuckets[0]
        kept.states["t"]["e"] = kept.states["t"]["e"][:12]
        self.served.backend.cache.drop(0)
        for type, tab in ((REBUILD, "t"), (UPGRADE, "u")):
            told = json.dumps({"id": "0" * 32, "by": "x", "time": NOW})
            self.append_events({type: native.RAW}, ("s", tab, type, NOW, told))
        self.pump(5)
        self.assertEqual([note.name for note in self.served.backend.folding[0].notes], [])
