"""Two States of one client as one, the newest event's time, and versions: what holds for all Types that Taba has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import CodecError, UnknownVersion, WrongType
from taba.handlers.registry import builtin
from taba.interfaces import IHandler
from tests.handlers import making
from tests.handlers.making import NOW, NUMERIC
from tests.strategies import law
from tests.twin import examples, gauge
from tests.twin.examples import entries

HANDLERS = builtin().handlers
RUNNING = ("CounterGroup", "PercentileGroup", "UniqueGroup")


def events_of(handler: IHandler) -> st.SearchStrategy[list[Any]]:
    """Events of a Type, by which its laws hold bit for bit."""
    if handler.name in RUNNING:
        return making.whole_numbers()
    return st.lists(entries(), max_size=8) if handler.name == "Gauge" else making.events_of(handler)


def partial_of(handler: IHandler, events: Sequence[Any]) -> bytes:
    """The Partial of some of them."""
    if handler.name in RUNNING:
        return examples.partial_of(handler.kind, list(events))
    return gauge.Partial.of(list(events)).encode() if handler.name == "Gauge" else making.partial_of(handler, events)


def state_of(handler: IHandler, events: Sequence[Any]) -> bytes:
    """The State of events that came one by one."""
    return handler.fold(b"", [partial_of(handler, [event]) for event in events])


def time_of(handler: IHandler, event: Any) -> float:
    """The time of an event, as far as States keep it."""
    if handler.name in ("PercentileGroup", "UniqueGroup"):
        return float(15 * math.floor(event[0] / 15.0))
    if handler.name in {*NUMERIC, "CounterGroup"}:
        return float(math.floor(event[0]))
    return float(event.time)


def drawn(times: int) -> st.SearchStrategy[Any]:
    """A Handler, and as many lists of its events."""
    handlers = st.sampled_from(list(HANDLERS.values()))
    return handlers.flatmap(lambda handler: st.tuples(st.just(handler), *[events_of(handler)] * times))


class MergingLaws(SynchronousTestCase):
    """What holds for `merge`."""

    @law(drawn(2), examples=120)
    def test_merged_is_folded_together(self, given: tuple[IHandler, list[Any], list[Any]]) -> None:
        """Two States of a client, merged, are the State that all the events of both fold into, in either order."""
        handler, one, other = given
        together = state_of(handler, one + other)
        merged = handler.merge(state_of(handler, one), state_of(handler, other))
        turned = handler.merge(state_of(handler, other), state_of(handler, one))
        self.assertEqual((handler.name, merged, turned), (handler.name, together, together))

    @law(drawn(3), examples=60)
    def test_merging_goes_on(self, given: tuple[IHandler, Any, Any, Any]) -> None:
        """What is merged folds on as if it had been one State for ever, and the empty State adds nothing."""
        handler, one, other, further = given
        merged = handler.merge(state_of(handler, one), state_of(handler, other))
        partials = [partial_of(handler, [event]) for event in further]
        self.assertEqual(handler.fold(merged, partials), state_of(handler, one + other + further))
        self.assertEqual((handler.merge(merged, b""), handler.merge(b"", merged)), (merged, merged))
        self.assertEqual(handler.merge(b"", b""), b"")

    @law(drawn(2), examples=60)
    def test_newest_is_the_newest_event(self, given: tuple[IHandler, list[Any], list[Any]]) -> None:
        """The time of the newest event, late ones or not, as far as the State keeps it; of nothing 0."""
        handler, one, other = given
        state = handler.merge(state_of(handler, one), state_of(handler, other))
        newest = max((time_of(handler, event) for event in one + other), default=0.0)
        self.assertEqual((handler.name, handler.newest(state)), (handler.name, newest))
        reduced = handler.reduce([state_of(handler, one), state_of(handler, other)])
        self.assertEqual((handler.name, handler.newest(reduced)), (handler.name, newest))

    def test_clients_are_not_merged(self) -> None:
        """ValueError for a gauge's State of several clients: of one client there is one value only."""
        events = {"Gauge": gauge.GaugeEntry(NOW, 1, b"1"), "ExpiryGauge": making.Arrived(b"1", NOW, NOW, 1)}
        for name, event in events.items():
            handler = HANDLERS[name]
            one = state_of(handler, [event])
            several = handler.reduce([one, one])
            for pair in ((one, several), (several, one), (several, b"")):
                self.assertRaises(ValueError, handler.merge, *pair)


class HeadTests(SynchronousTestCase):
    """States of other Types and versions."""

    @law(drawn(1).filter(lambda given: bool(given[1])), examples=40)
    def test_other_heads_are_told(self, given: tuple[IHandler, list[Any]]) -> None:
        """A State of this version is given back; of another version or Type it is refused, by upgrade too."""
        handler, events = given
        state = state_of(handler, events)
        self.assertIs(handler.upgrade(state), state)
        self.assertEqual((handler.upgrade(b""), handler.version), (b"", state[1]))
        for version in (0, 2, 255):
            other = state[:1] + bytes([version]) + state[2:]
            for call in (handler.upgrade, handler.newest, lambda state: handler.merge(state, b"")):
                self.assertRaises(UnknownVersion, call, other)
        for first in {1, 2, 3, 4, 5, 6, 7, 0x80, 0x81} - {state[0]}:
            self.assertRaises(WrongType, handler.upgrade, bytes([first]) + state[1:])
            self.assertRaises(CodecError, handler.newest, bytes([first]) + state[1:])
        for cut in (state[:1], state[:-1] if len(state) > 3 else state[:1]):
            self.assertRaises(CodecError, handler.newest, cut)
        self.assertRaises(CodecError, handler.upgrade, state[:1])
