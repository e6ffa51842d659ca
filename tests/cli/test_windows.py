"""States as rows, and the numbers in them."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.cli.windows import Windows, number_at, numbers_in, windows_of

COUNTER = (
    '{"1m": {"count": 2, "total": 11.00, "average": 5.50}, "1d": {"count": 3, "total": 12.00, "average": 4.00},'
    ' "pct": {"count": 3, "total": 12.000000, "pct": [1.00, 2.00, 3.00, 4.00, 5.00, 6.00, 7.00]}}'
)


class WindowsTests(SynchronousTestCase):
    def test_counter(self) -> None:
        """A counter has a row for each window, with the server's digits; the quantiles have columns of their names."""
        windows = windows_of(COUNTER)
        columns = Windows.columns([windows])
        self.assertEqual(columns, ["count", "total", "average", "p25", "p50", "p75", "p90", "p95", "p99", "p999"])
        cells = windows.cells(columns)
        self.assertEqual(cells[0][:4], ["1m", "2", "11.00", "5.50"])
        self.assertEqual(cells[2], ["pct", "3", "12.000000", "", *(f"{n}.00" for n in range(1, 8))])

    def test_one_window(self) -> None:
        """Totals are one window, of all time."""
        windows = windows_of('{"count": 1, "total": 2.00, "average": 2.00}')
        self.assertEqual(windows.rows, (("all", {"count": "1", "total": "2.00", "average": "2.00"}),))

    def test_values(self) -> None:
        """Gauges and buffers are a value, as they are."""
        for state in ('{"2.4": 3}', '[["v", 1.0]]', "{}", "noop", '{"a": {, "b": {}'):
            self.assertEqual(windows_of(state).rows, (("", {"VALUE": state}),))

    @given(st.text())
    def test_anything(self, state: str) -> None:
        """Whatever a State looks like, it has a row."""
        self.assertGreaterEqual(len(windows_of(state).rows), 1)


class NumberTests(SynchronousTestCase):
    def test_paths(self) -> None:
        """Windows, quantiles by name, and values of gauges with dots in them are found."""
        counter = json.loads(COUNTER)
        for path, value in (("1m.count", 2.0), ("1d.average", 4.0), ("pct.p99", 6.0), ("pct.p999", 7.0),
                            ("pct.pct.0", 1.0)):  # fmt: skip
            self.assertEqual(number_at(counter, path), value)
        self.assertEqual(number_at({"2.4": 3, "2": {"4": 5}}, "2.4"), 3.0)
        self.assertEqual(number_at([["v", 7.5]], "0.1"), 7.5)

    def test_no_number(self) -> None:
        """What is not there, or no number, is nothing."""
        counter = json.loads(COUNTER)
        for path in ("1m", "2m.count", "pct.p42", "pct.pct.7", "", "1m.count.x"):
            self.assertIsNone(number_at(counter, path))
        self.assertIsNone(number_at({"a": True, "b": "1"}, "a"))

    def test_all_paths_lead_to_numbers(self) -> None:
        """What is offered can be asked for."""
        counter = json.loads(COUNTER)
        paths = numbers_in(counter)
        self.assertIn("pct.p50", paths)
        self.assertIn("1m.count", paths)
        self.assertTrue(all(number_at(counter, path) is not None for path in paths))
