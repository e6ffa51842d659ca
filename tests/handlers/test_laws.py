"""The laws of `IHandler`, for the Types whose Handlers are written in Python, and their States byte by byte."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from taba import native
from taba.errors import CodecError, CorruptBlob, UnknownVersion, WrongType
from taba.handlers.buffer import MAX_ENTRIES, Buffer
from taba.handlers.percentile_counter import Percentiles
from taba.handlers.registry import builtin
from taba.interfaces import IHandler, Style
from tests import strategies
from tests.handlers import making
from tests.handlers.making import HANDLERS, NOW, NUMERIC, Arrived, events_of, numbers, partial_of, raw
from tests.strategies import law
from tests.twin import examples
from tests.twin.blobs import COUNTER_GROUP, PERCENTILE_GROUP
from tests.twin.primitives import encode_f64, encode_svarint, encode_uvarint

Chance = Any


def with_events(times: int = 1) -> st.SearchStrategy[Any]:
    """A Handler, and as many lists of its events."""
    handlers = st.sampled_from(list(HANDLERS.values()))
    return handlers.flatmap(lambda handler: st.tuples(st.just(handler), *[events_of(handler)] * times))


def grouped(handler: IHandler, events: list[Any], chance: Chance) -> list[bytes]:
    """The Partials of events that came in any order and in any groups."""
    shuffled = chance.sample(events, len(events))
    places = sorted(chance.randint(0, len(events)) for _ in range(3))
    groups = [shuffled[a:b] for a, b in zip([0, *places], [*places, len(events)], strict=True)]
    return [partial_of(handler, group) for group in groups if group]


def state_of(handler: IHandler, events: list[Any]) -> bytes:
    """The State of events that came in one Partial."""
    return handler.fold(b"", [partial_of(handler, events)] if events else [])


def page_state(handler: IHandler, events: list[Any]) -> bytes:
    """The State of events as the reference page has it."""
    if handler.name == "TotalsCounter":
        return making.totals_state(events)
    if handler.name == "PercentileCounter":
        return making.percentile_state(events)
    return making.gauge_state([events]) if handler.name == "ExpiryGauge" else making.buffer_state(events)


class RegistryTests(SynchronousTestCase):
    """The Types that come with Taba."""

    def test_types(self) -> None:
        """All seven Types of the original and UniqueGroup are there, each a sound Handler under its own name."""
        handlers = builtin().handlers
        self.assertEqual(set(handlers), {"CounterGroup", "PercentileGroup", "UniqueGroup", "Gauge", *HANDLERS})
        for name, handler in handlers.items():
            self.assertTrue(verifyObject(IHandler, handler))
            self.assertEqual((name, handler.version), (handler.name, 1))

    def test_kinds(self) -> None:
        """Numbers are judged where they come in; what has an expiry travels as it came."""
        kinds = builtin().kinds()
        self.assertEqual([kinds[name] for name in NUMERIC], [native.COUNTER_GROUP] * 2)
        self.assertEqual((kinds["ExpiryGauge"], kinds["Buffer"]), (native.RAW_EXPIRING, native.RAW))


class FoldingLaws(SynchronousTestCase):
    """What holds for folding and reducing."""

    @law(with_events(), st.randoms(use_true_random=False), examples=120)
    def test_state_is_the_one_of_the_page(self, drawn: tuple[IHandler, list[Any]], chance: Chance) -> None:
        """However events came, their State is, byte by byte, what the reference page says."""
        handler, events = drawn
        folded = handler.fold(b"", grouped(handler, events, chance))
        self.assertEqual((handler.name, folded), (handler.name, page_state(handler, events)))

    @law(with_events(2), st.randoms(use_true_random=False), st.integers(0, 8), examples=80)
    def test_folding_together_is_folding_in_turn(
        self, drawn: tuple[IHandler, list[Any], list[Any]], chance: Chance, place: int
    ) -> None:
        """Folding Partials in one call or in several gives the same State."""
        handler, before, events = drawn
        state = state_of(handler, before)
        partials = grouped(handler, events, chance)
        in_turn = handler.fold(handler.fold(state, partials[:place]), partials[place:])
        self.assertEqual(handler.fold(state, partials), in_turn)

    @law(
        st.sampled_from(list(NUMERIC.values())),
        st.lists(examples.partials(COUNTER_GROUP), max_size=4),
        st.integers(0, 4),
        examples=60,
    )
    def test_fractions_fold_in_turn(self, handler: IHandler, partials: list[bytes], place: int) -> None:
        """The same to the last bit of any total, when the order stays."""
        in_turn = handler.fold(handler.fold(b"", partials[:place]), partials[place:])
        self.assertEqual(handler.fold(b"", partials), in_turn)

    @law(with_events(3), examples=100)
    def test_reducing_is_associative_and_commutative(self, drawn: tuple[IHandler, Any, Any, Any]) -> None:
        """States reduced in any order and grouping are equal bit for bit; the empty one adds nothing."""
        handler, *lists = drawn
        a, b, c = (state_of(handler, events) for events in lists)
        together = handler.reduce([a, b, c])
        self.assertEqual(together, handler.reduce([c, b, a]))
        self.assertEqual(together, handler.reduce([handler.reduce([a, b]), c]))
        self.assertEqual(together, handler.reduce([a, handler.reduce([b, c])]))
        self.assertEqual(together, handler.reduce([b"", a, b, c, b""]))
        self.assertEqual((handler.reduce([]), handler.reduce([b""]), handler.fold(b"", [])), (b"", b"", b""))

    @law(st.sampled_from(list(NUMERIC.values())), making.whole_numbers(), making.whole_numbers().filter(bool))
    def test_running_aggregate_is_the_aggregate(self, handler: IHandler, mine: list[Any], further: list[Any]) -> None:
        """A tab's Aggregate of numbers can be kept by folding all its Partials into it."""
        aggregate, partial = state_of(handler, mine), partial_of(handler, further)
        self.assertTrue(handler.running_aggregate)
        self.assertEqual(handler.fold(aggregate, [partial]), handler.reduce([aggregate, handler.fold(b"", [partial])]))

    @law(with_events(), examples=80)
    def test_state_survives_decoding(self, drawn: tuple[IHandler, list[Any]]) -> None:
        """Decoded and encoded again a State is the very same bytes, and it is in the present version."""
        handler, events = drawn
        state = state_of(handler, events)
        self.assertEqual(handler.reduce([state]), state)
        self.assertEqual(handler.fold(state, []), state)
        self.assertEqual(handler.upgrade(state), state)

    @law(st.lists(making.arrivals(), max_size=4))
    def test_gauges_of_clients_are_united(self, clients: list[list[Arrived]]) -> None:
        """An ExpiryGauge reduced over clients holds the latest event of each."""
        handler = HANDLERS["ExpiryGauge"]
        states = [state_of(handler, events) for events in clients]
        self.assertEqual(handler.reduce(states), making.gauge_state(clients))

    @law(st.lists(making.arrivals(), max_size=4))
    def test_buffers_of_clients_are_one_buffer(self, clients: list[list[Arrived]]) -> None:
        """A Buffer reduced over clients holds what one that got all the events holds."""
        handler = HANDLERS["Buffer"]
        states = [state_of(handler, events) for events in clients]
        self.assertEqual(handler.reduce(states), making.buffer_state([e for events in clients for e in events]))

    @law(with_events(), st.floats(-200.0, 2 * making.DAY), st.floats(0.0, 1e6), examples=80)
    def test_expired_shows_nothing_ever_again(
        self, drawn: tuple[IHandler, list[Any]], after: float, later: float
    ) -> None:
        """What has expired shows nothing, then and later; what has not shows something."""
        handler, events = drawn
        state, time = state_of(handler, events), NOW + after
        nothing = handler.render(b"", time, Style.JSON)
        if handler.expired(state, time):
            self.assertTrue(handler.expired(state, time + later))
            self.assertEqual(handler.render(state, time + later, Style.JSON), nothing)
        elif events:
            self.assertNotEqual(handler.render(state, time, Style.JSON), nothing)

    @law(st.lists(making.arrivals(), min_size=1, max_size=3).filter(lambda c: all(c)), st.floats(-90.0, 200.0))
    def test_buffer_forgets_nothing_that_is_shown(self, clients: list[list[Arrived]], after: float) -> None:
        """What a State drops has expired at any time that an answer may be of."""
        handler = HANDLERS["Buffer"]
        events = [event for events in clients for event in events]
        time = max(event.time for event in events) + after
        alive = [event for event in events if event.expiry > time]
        shown = handler.render(handler.reduce([state_of(handler, each) for each in clients]), time, Style.JSON)
        self.assertEqual(shown, handler.render(state_of(handler, alive), time, Style.JSON) if alive else "[]")

    @law(strategies.value_lists(), st.integers(1, 7))
    def test_percentiles_are_the_sketch_of_all_time(self, values: list[float], step: int) -> None:
        """A PercentileCounter holds the very sketch of all time that a CounterGroup of the same events does."""
        partials = [
            numbers(*((NOW + i, value) for i, value in enumerate(values[at : at + step])))
            for at in range(0, len(values), step)
        ]
        state = HANDLERS["PercentileCounter"].fold(b"", partials)
        group = native.fold(native.COUNTER_GROUP, b"", partials)
        held = Percentiles.decode(state)
        sketch = held.sketch.encode() if values else b""
        self.assertEqual(sketch, group[2 : 2 + len(sketch)])
        self.assertEqual(held.newest, native.state_newest(group))


class BufferLimitTests(SynchronousTestCase):
    """A Buffer with more events than it holds."""

    def test_longest_expiries_stay(self) -> None:
        """Of 1,500 events of three clients those 1,000 stay that expire last, of equal expiries the earlier ones."""
        handler = Buffer()
        events = [Arrived(str(i).encode(), NOW + 60 + i // 2, NOW - i % 7, i) for i in range(1500)]
        states = [state_of(handler, events[i::3]) for i in range(3)]
        reduced = handler.reduce(states)
        self.assertEqual(reduced, making.buffer_state(events))
        self.assertEqual(reduced, state_of(handler, events))
        self.assertEqual(handler.render(reduced, NOW, Style.TEXT).count("], ["), MAX_ENTRIES - 1)

    def test_bare_values_live_as_long_as_told(self) -> None:
        """The lifetime of bare values is the Handler's, one day when nothing else is said."""
        for handler, seconds in ((Buffer(), 86400.0), (Buffer(lifetime=60.0), 60.0)):
            state = handler.fold(b"", [raw((NOW, 1, '"v"'))])
            shown = [handler.render(state, NOW + seconds - tick, Style.TEXT) for tick in (0.5, 0.0)]
            self.assertEqual(shown, ['[["v", 1700000000.0]]', "[]"])


class MalformedTests(SynchronousTestCase):
    """Bytes that are no State or Partial of a Type."""

    def _refused(self, handler: IHandler, state: bytes) -> None:
        for call in (
            lambda: handler.fold(state, []),
            lambda: handler.reduce([state]),
            lambda: handler.reduce([b"", state]),
            lambda: handler.render(state, NOW, Style.TEXT),
        ):
            self.assertRaises(CodecError, call)

    @law(with_events().filter(lambda drawn: bool(drawn[1])), examples=40)
    def test_every_prefix_is_refused(self, drawn: tuple[IHandler, list[Any]]) -> None:
        """A State cut short anywhere, and one with a byte too many, is corrupt."""
        handler, events = drawn
        state = state_of(handler, events)
        for length in range(1, len(state), max(1, len(state) // 40)):
            self._refused(handler, state[:length])
        self._refused(handler, state + b"\x00")

    @law(with_events().filter(lambda drawn: bool(drawn[1])), st.data(), examples=150)
    def test_damaged_states_are_refused_or_canonical(self, drawn: tuple[IHandler, list[Any]], data: Any) -> None:
        """Changed bytes raise CodecError and nothing else, or are the one encoding of another State."""
        handler, events = drawn
        damaged = data.draw(strategies.damaged(st.just(state_of(handler, events))))
        try:
            again = handler.reduce([damaged])
        except CodecError:
            return
        self.assertEqual(again, damaged)
        try:
            handler.render(damaged, NOW, Style.JSON)  # a value in it may be no JSON any more
            handler.expired(damaged, NOW)
        except CodecError:
            return

    @law(st.sampled_from(list(HANDLERS.values())), st.binary(min_size=1, max_size=40), examples=60)
    def test_noise_is_refused_or_canonical(self, handler: IHandler, noise: bytes) -> None:
        """Any bytes, behind a right head too, raise CodecError and nothing else, or are a State."""
        first = {"TotalsCounter": 4, "PercentileCounter": 5, "ExpiryGauge": 6, "Buffer": 7}[handler.name]
        for blob in (noise, bytes([first, 1]) + noise):
            try:
                self.assertEqual(handler.reduce([blob]), blob)
            except CodecError:
                continue

    @law(with_events().filter(lambda drawn: bool(drawn[1])), examples=30)
    def test_other_heads_are_told(self, drawn: tuple[IHandler, list[Any]]) -> None:
        """Another version is told as such, another Type too."""
        handler, events = drawn
        state = state_of(handler, events)
        for version in (0, 2, 255):
            self.assertRaises(UnknownVersion, handler.reduce, [state[:1] + bytes([version]) + state[2:]])
        for first in {0, 1, 2, 3, 4, 5, 6, 7, 0x80, 0x81} - {state[0]}:
            self.assertRaises(WrongType, handler.reduce, [bytes([first]) + state[1:]])

    @law(
        st.sampled_from(list(HANDLERS.values())),
        strategies.damaged(st.one_of(examples.partials(COUNTER_GROUP), examples.partials(0))),
        examples=150,
    )
    def test_damaged_partials_are_refused(self, handler: IHandler, partial: bytes) -> None:
        """A damaged Partial raises CodecError and nothing else, or it is a sound one, and is folded."""
        try:
            folded = handler.fold(b"", [partial])
        except CodecError:
            return
        self.assertEqual(handler.reduce([folded]), folded)
        self.assertEqual(native.check(partial), native.PARTIAL | handler.kind)

    @law(examples.partials(PERCENTILE_GROUP), examples.partials(COUNTER_GROUP), examples.partials(3), examples=10)
    def test_partials_of_other_kinds_are_told(self, percentiles: bytes, counters: bytes, gauge: bytes) -> None:
        """A Partial of another kind is a wrong Type."""
        for handler in NUMERIC.values():
            for partial in (percentiles, gauge, raw((NOW, 1, "5"))):
                self.assertRaises(WrongType, handler.fold, b"", [partial])
        for name in ("ExpiryGauge", "Buffer"):
            for partial in (percentiles, gauge, counters):
                self.assertRaises(WrongType, HANDLERS[name].fold, b"", [partial])

    def test_wrong_numbers_in_states(self) -> None:
        """Forms that no encoder writes are refused: no events, a kind that is not the lowest, a wrong order."""
        one, two = Arrived(b"1", NOW + 9, NOW, 1).encode(), Arrived(b"2", NOW + 8, NOW, 1).encode()
        front = b"\x07\x01" + encode_f64(NOW)
        for name, state in {
            "TotalsCounter": [
                b"\x04\x01\x00\x00\x00\x00",
                b"\x04\x01\x01\x01\xd0\x0f\x00",
                b"\x04\x01\x03\x01\x02\x00",
                b"\x04\x01\x00\x01\x02\x80\x00",
                b"\x04\x01\x00\x01\x02" + encode_svarint(2**53 + 1),
            ],
            "PercentileCounter": [b"\x05\x01\x00\x00", b"\x05\x01\x00", b"\x05\x01", b"\x05\x01\x80\x00\x05\x01\x02"],
            "ExpiryGauge": [b"\x06\x01\x00", b"\x06\x01\x02" + two + one, b"\x06\x01\x81\x00" + one],
            "Buffer": [
                front + b"\x02" + two + one,
                front + b"\x01" + Arrived(b"1", NOW - 90, NOW, 1).encode(),
                front + b"\x01" + Arrived(b"1", NOW + 9, NOW + 1, 1).encode(),
                front + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + one,
            ],
        }.items():
            for each in state:
                self.assertRaises(CorruptBlob, HANDLERS[name].reduce, [each])

    def test_counts_stop_at_their_limit(self) -> None:
        """More than 2**61 events are not counted together."""
        full = b"\x04\x01\x00" + encode_uvarint(2**61) + b"\x02\x00"
        handler = HANDLERS["TotalsCounter"]
        self.assertEqual(handler.reduce([full]), full)
        self.assertRaises(ValueError, handler.reduce, [full, full])
        over = b"\x04\x01\x00" + encode_uvarint(2**61 + 1) + b"\x02\x00"
        self.assertRaises(CorruptBlob, handler.reduce, [over])

    def test_totals_stay_finite(self) -> None:
        """A total that would overflow stays at the largest double."""
        state = HANDLERS["TotalsCounter"].fold(b"", [numbers((NOW, 1.7e308)), numbers((NOW, 1.7e308))])
        self.assertEqual(state, b"\x04\x01\x02\x02" + encode_f64(1.7976931348623157e308) + encode_svarint(int(NOW)))

    def test_payloads_that_are_no_json(self) -> None:
        """No agent lets such a payload through: its Partial is refused."""
        deep = "[" * 100_000
        for payload in ("", "[", "nul", "NaN", "[1, 1e999]", "[1, Infinity]", '"\x01"', f"[1, {'9' * 400}]", deep):
            for name in ("ExpiryGauge", "Buffer"):
                self.assertRaises(CorruptBlob, HANDLERS[name].fold, b"", [raw((NOW, 1, payload))])

    def test_gauge_of_several_clients_is_not_folded_into(self) -> None:
        """ValueError for folding into a State that holds several clients."""
        handler = HANDLERS["ExpiryGauge"]
        partial = making.expiring("a", NOW + 9)
        several = handler.reduce([handler.fold(b"", [partial])] * 2)
        self.assertRaises(ValueError, handler.fold, several, [partial])

    @law(making.sent_json(), examples=100)
    def test_any_json_is_taken(self, text: str) -> None:
        """A Buffer shows any JSON as the same JSON; an ExpiryGauge counts it, in a listing that UTF-8 can carry."""
        state = HANDLERS["Buffer"].fold(b"", [raw((NOW, 1, f"[{text}, {NOW + 9}]"))])
        shown = HANDLERS["Buffer"].render(state, NOW, Style.JSON)
        carried = json.dumps(json.loads(text), ensure_ascii=False).encode("utf-16", "surrogatepass")
        self.assertEqual(json.loads(shown), [[json.loads(carried.decode("utf-16", "replace")), NOW]])
        state = HANDLERS["ExpiryGauge"].fold(b"", [raw((NOW, 1, f"[{text}, {NOW + 9}]"))])
        counted = json.loads(HANDLERS["ExpiryGauge"].render(state, NOW, Style.JSON).encode())
        self.assertEqual(list(counted.values()), [1])
        self.assertNotIn("\n", shown)
        shown.encode()
