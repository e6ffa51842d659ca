"""What the Types whose Handlers are written in Python show, to the character."""

from __future__ import annotations

import json
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.handlers.buffer import Buffer
from taba.handlers.expiry_gauge import ExpiryGauge
from taba.handlers.gauge import Gauge
from taba.handlers.percentile_counter import PercentileCounter
from taba.handlers.totals_counter import TotalsCounter
from taba.interfaces import IHandler, Style
from tests.handlers.making import DAY, NOW, Arrived, expiring, numbers, raw


class Renderings(SynchronousTestCase):
    """One Handler, shown in every style."""

    def shown(self, handler: IHandler, state: bytes, time: float = NOW) -> str:
        """The rendering, which is the same in all styles, of one line, and valid JSON."""
        text, plain, detailed = (handler.render(state, time, style) for style in Style)
        self.assertEqual((text, text), (plain, detailed))
        self.assertNotIn("\n", text)
        json.loads(text.encode())
        return text

    def of_clients(self, handler: IHandler, clients: Sequence[Sequence[bytes]], time: float = NOW) -> str:
        """The rendering of clients, each given by its Partials, as one."""
        return self.shown(handler, handler.reduce([handler.fold(b"", partials) for partials in clients]), time)


class TotalsCounterTests(Renderings):
    """How many, how much, how much on average."""

    handler = TotalsCounter()

    def test_nothing(self) -> None:
        """No events: zeros, and no division by them."""
        self.assertEqual(self.shown(self.handler, b""), '{"count": 0, "total": 0.00, "average": 0.00}')

    def test_few(self) -> None:
        """Plain numbers, fractions and negative ones count as they are."""
        state = self.handler.fold(b"", [numbers((NOW, 1.0), (NOW, 0.25), (NOW, -3.5))])
        self.assertEqual(self.shown(self.handler, state), '{"count": 3, "total": -2.25, "average": -0.75}')

    def test_many(self) -> None:
        """A million events with large values: exact."""
        million = [numbers(*[(NOW + i % 100, float(2**32))] * 1000) for i in range(10)]
        state = self.handler.fold(b"", million * 100)
        shown = '{"count": 1000000, "total": 4294967296000000.00, "average": 4294967296.00}'
        self.assertEqual(self.shown(self.handler, state), shown)

    def test_several_clients_late_and_reordered(self) -> None:
        """Time does not matter: events a year late and in any order count, of all clients."""
        partials = [numbers((NOW - 365 * DAY, 7.0)), numbers((NOW, 1.0), (NOW - 61.0, 2.0))]
        shown = self.of_clients(self.handler, [partials, partials[::-1], [numbers((0.0, 5.0))]], NOW + 1000 * DAY)
        self.assertEqual(shown, '{"count": 7, "total": 25.00, "average": 3.57}')
        self.assertFalse(self.handler.expired(self.handler.fold(b"", partials), NOW + 1000 * DAY))


class PercentileCounterTests(Renderings):
    """Count, total and percentiles of all time."""

    handler = PercentileCounter()

    def test_nothing(self) -> None:
        """No events: zeros."""
        nothing = '{"count": 0, "total": 0.000000, "pct": [0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00]}'
        self.assertEqual(self.shown(self.handler, b""), nothing)

    def test_up_to_32_values_are_exact(self) -> None:
        """The values at index trunc(q * n), whatever they are and in whatever order they came."""
        values = [i / 3.0 for i in range(32)]
        state = self.handler.fold(b"", [numbers((NOW + i, value)) for i, value in enumerate(reversed(values))])
        ranks = [int(q * 32) for q in (0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)]
        listed = ", ".join(f"{values[rank]:.2f}" for rank in ranks)
        shown = f'{{"count": 32, "total": 165.333333, "pct": [{listed}]}}'
        self.assertEqual(self.shown(self.handler, state), shown)
        few = self.handler.fold(b"", [numbers((NOW, 3.0), (NOW, 1.0), (NOW, 2.0))])
        shown = '{"count": 3, "total": 6.000000, "pct": [1.00, 2.00, 3.00, 3.00, 3.00, 3.00, 3.00]}'
        self.assertEqual(self.shown(self.handler, few), shown)

    def test_more_values_are_within_the_bound(self) -> None:
        """From 33 values on each percentile is within 0.55 % of the value at its index; count and total are exact."""
        for n in (33, 1000, 100_000):
            values = [float(1 + i * i % 99_991) for i in range(n)]
            partials = [numbers(*((NOW, v) for v in values[at : at + 5000])) for at in range(0, n, 5000)]
            shown = json.loads(self.shown(self.handler, self.handler.fold(b"", partials)))
            self.assertEqual((shown["count"], shown["total"]), (n, sum(values)))
            exact = sorted(values)
            for q, given in zip((0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999), shown["pct"], strict=True):
                right = exact[int(q * n)]
                self.assertLessEqual(abs(given - right), 0.0055 * right + 0.005)  # shown with two decimals

    def test_golden(self) -> None:
        """1 to 1,000, to the character."""
        state = self.handler.fold(b"", [numbers(*((NOW, float(i)) for i in range(1, 1001)))])
        self.assertEqual(
            self.shown(self.handler, state),
            '{"count": 1000, "total": 500500.000000, "pct": [251.87, 498.32, 752.04, 904.07, 954.38, 985.90, 996.63]}',
        )

    def test_several_clients_late_and_reordered(self) -> None:
        """Time does not matter, and clients are merged value by value."""
        mine = [numbers((NOW, 4.0), (NOW - 365 * DAY, 1.0)), numbers((NOW - 61.0, 3.0))]
        theirs = [numbers((0.0, 2.0))]
        shown = '{"count": 4, "total": 10.000000, "pct": [2.00, 3.00, 4.00, 4.00, 4.00, 4.00, 4.00]}'
        for clients in ([mine, theirs], [theirs, mine[::-1]]):
            self.assertEqual(self.of_clients(self.handler, clients, NOW + 1000 * DAY), shown)
        self.assertFalse(self.handler.expired(self.handler.fold(b"", mine), NOW + 1000 * DAY))


class ExpiryGaugeTests(Renderings):
    """Clients by their latest value, until it expires."""

    handler = ExpiryGauge()

    def test_nothing(self) -> None:
        """No events."""
        self.assertEqual(self.shown(self.handler, b""), "{}")
        self.assertTrue(self.handler.expired(b"", NOW))

    def test_until_it_expires(self) -> None:
        """A value is shown before its expiry, not at it."""
        state = self.handler.fold(b"", [expiring("up", NOW + 60)])
        shown = [self.shown(self.handler, state, NOW + 60 + by) for by in (-60.0, -0.5, 0.0, 1.0)]
        self.assertEqual(shown, ['{"up": 1}', '{"up": 1}', "{}", "{}"])
        self.assertEqual([self.handler.expired(state, NOW + by) for by in (0.0, 59.5, 60.0)], [False, False, True])

    def test_latest_event_counts(self) -> None:
        """Not the longest expiry but the latest event is shown, however late the others come in."""
        partials = [
            expiring("long", NOW + DAY, NOW - 10),
            expiring("latest", NOW + 60, NOW),
            expiring("late", NOW + DAY, NOW - 5),
        ]
        for came in (partials, partials[::-1], [partials[1], partials[0], partials[2]]):
            state = self.handler.fold(b"", came)
            self.assertEqual(self.shown(self.handler, state), '{"latest": 1}')
            self.assertEqual(self.shown(self.handler, state, NOW + 61), "{}")  # and not one of the others again

    def test_later_of_equal_times(self) -> None:
        """Of events with one time that counts which reached the agent last; then the greater bytes."""
        state = self.handler.fold(b"", [expiring("second", NOW + 9, NOW, 2), expiring("first", NOW + 9, NOW, 1)])
        self.assertEqual(self.shown(self.handler, state), '{"second": 1}')
        state = self.handler.fold(b"", [expiring("b", NOW + 9), expiring("a", NOW + 99)])
        self.assertEqual(self.shown(self.handler, state), '{"b": 1}')

    def test_several_clients(self) -> None:
        """Clients are counted by value, in the order of values; those whose value has expired are not."""
        clients = [[expiring(value, NOW + 9)] for value in ("b", "a", "b", "b")] + [[expiring("b", NOW)]]
        self.assertEqual(self.of_clients(self.handler, clients), '{"a": 1, "b": 3}')

    def test_values(self) -> None:
        """Plain values by str(), structures as JSON, and any Unicode."""
        cases = [
            ("grün 😀 \u2028", '{"grün 😀 \u2028": 1}'),
            ('q"\n', r'{"q\"\n": 1}'),
            (1, '{"1": 1}'),
            (1.0, '{"1.0": 1}'),
            (True, '{"True": 1}'),
            (None, '{"None": 1}'),
            ({"ö": [1, None]}, r'{"{\"ö\": [1, null]}": 1}'),
            (["a", 2], r'{"[\"a\", 2]": 1}'),
            ([], '{"[]": 1}'),
            ("\ud800", '{"\ufffd": 1}'),
        ]
        for value, shown in cases:
            partial = raw((NOW, 1, json.dumps([value, NOW + 9])))
            self.assertEqual(self.shown(self.handler, self.handler.fold(b"", [partial])), shown)

    def test_other_payloads_change_nothing(self) -> None:
        """Events that are not [VALUE, EXPIRY] are passed over, and those beside them count."""
        others = ['"v"', "5", "[]", '["v"]', '["v", "1"]', '["v", null]', '["v", true]', '["v", 1, 2]', '{"v": 1}']
        rest = [(NOW + i, 1, payload) for i, payload in enumerate(others)]
        good = (NOW - 1, 1, f'["good", {int(NOW) + 99}]')
        self.assertEqual(self.handler.fold(b"", [raw(*rest)]), b"")
        state = self.handler.fold(b"", [raw(*rest[:4], good, *rest[4:])])
        self.assertEqual(self.shown(self.handler, state), '{"good": 1}')

    def test_white_space_of_payloads(self) -> None:
        """JSON may have white space anywhere; it does not make values differ, but for what is within them."""
        payloads = [f'["v",{NOW}9]', f' [ "v" , {NOW}9 ] ', f'\t[\n"v"\r\n,\n{NOW}9\n]\n']
        states = [self.handler.fold(b"", [raw((NOW, 1, payload))]) for payload in payloads]
        self.assertEqual(len(set(states)), 1)
        nested = self.handler.fold(b"", [raw((NOW, 1, f'[{{"a" :\n[1 ,2]}}, {NOW + 9}]'))])
        self.assertEqual(self.shown(self.handler, nested), r'{"{\"a\": [1, 2]}": 1}')


class BufferTests(Renderings):
    """Values of many events, each until it expires."""

    handler = Buffer()

    def test_nothing(self) -> None:
        """No events."""
        self.assertEqual(self.shown(self.handler, b""), "[]")
        self.assertTrue(self.handler.expired(b"", NOW))

    def test_longest_expiry_first(self) -> None:
        """The longest expiry stands first; of equal ones the earlier event."""
        partials = [
            expiring("short", NOW + 10, NOW - 2),
            expiring("later", NOW + 99, NOW, 2),
            expiring("long", NOW + 100, NOW - 1.25),
            expiring("earlier", NOW + 99, NOW, 1),
        ]
        shown = '[["long", 1699999998.75], ["earlier", 1700000000.0], ["later", 1700000000.0], ["short", 1699999998.0]]'
        for came in (partials, partials[::-1]):
            self.assertEqual(self.shown(self.handler, self.handler.fold(b"", came)), shown)

    def test_expired_are_never_shown(self) -> None:
        """Each value leaves at its expiry, without a fold or GC."""
        state = self.handler.fold(b"", [expiring("a", NOW + 10), expiring("b", NOW + 20), expiring("c", NOW - 5)])
        shown = [self.shown(self.handler, state, NOW + by) for by in (0.0, 10.0, 20.0)]
        self.assertEqual(shown, ['[["b", 1700000000.0], ["a", 1700000000.0]]', '[["b", 1700000000.0]]', "[]"])
        self.assertEqual([self.handler.expired(state, NOW + by) for by in (19.5, 20.0)], [False, True])

    def test_bare_values(self) -> None:
        """What is not [VALUE, EXPIRY] is a value by itself, shown for a day."""
        payloads = ['"v"', "5", "[]", '["v"]', '["v", "1"]', '["v", true]', '["v", 1, 2]', '{"v": 1}', "null"]
        for payload in payloads:
            state = self.handler.fold(b"", [raw((NOW, 1, payload))])
            self.assertEqual(self.shown(self.handler, state, NOW + DAY - 1), f"[[{payload}, 1700000000.0]]")
            self.assertEqual(self.shown(self.handler, state, NOW + DAY), "[]")

    def test_several_clients(self) -> None:
        """The values of all clients stand in one list; equal ones each."""
        clients = [[expiring("a", NOW + 9)], [expiring("b", NOW + 10), expiring("gone", NOW)], [expiring("a", NOW + 9)]]
        self.assertEqual(
            self.of_clients(self.handler, clients),
            '[["b", 1700000000.0], ["a", 1700000000.0], ["a", 1700000000.0]]',
        )

    def test_values(self) -> None:
        """Values are shown as JSON on one line, in any Unicode."""
        values = ["grün 😀", 'q"\n', 1, 1.0, True, None, {"ö": [1, None]}, []]
        partials = [raw((NOW, i, json.dumps([value, NOW + 9 - i / 8], indent=1))) for i, value in enumerate(values)]
        state = self.handler.fold(b"", partials)
        shown = ["grün 😀", r"q\"\n"]
        listed = [f'"{value}"' for value in shown] + ["1", "1.0", "true", "null", '{"ö": [1, null]}', "[]"]
        self.assertEqual(
            self.shown(self.handler, state), "[" + ", ".join(f"[{value}, 1700000000.0]" for value in listed) + "]"
        )
        halved = self.handler.fold(b"", [raw((NOW, 1, '"\\ud800"'))])
        self.assertEqual(self.shown(self.handler, halved), '[["\ufffd", 1700000000.0]]')

    def test_late_event_that_has_expired(self) -> None:
        """A value that comes in after its expiry does not appear, and costs no room beside newer events."""
        fresh = self.handler.fold(b"", [expiring("new", NOW + 60)])
        late = Arrived(b'"old"', NOW - 91, NOW - 200, 1)
        self.assertEqual(self.handler.fold(fresh, [raw((late.time, 1, late.payload()))]), fresh)


class GaugeTests(Renderings):
    """Gauge, where its values are unusual."""

    def test_half_of_a_character(self) -> None:
        """JSON's escapes can name half of a surrogate pair, which no UTF-8 can carry: it is shown as U+FFFD."""
        scratch = native.Scratch(native.Limits(), {"Gauge": native.GAUGE})
        scratch.feed(b'1\n\nc\n\nt\n["Gauge", 1700000000, "\\"\\\\ud800\\""]\n\n\n')
        scratch.finish()
        accumulator = native.Accumulator()
        accumulator.merge(scratch, 1)
        (entry,) = native.batch_entries(accumulator.encode(1)[0].data)
        handler = Gauge()
        shown = handler.render(handler.fold(b"", [entry.partial]), NOW, Style.TEXT)
        self.assertEqual(shown, '{"\ufffd": 1}')
        self.assertEqual(shown.encode().decode(), shown)
