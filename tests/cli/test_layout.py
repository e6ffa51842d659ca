"""How answers are laid out."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.cli.layout import compact, expand, name_of, pretty, visible

COUNTER = (
    'winning_bid_price: {"1m": {"count": 436, "total": 571.64, "average": 1.31}, '
    '"10m": {"count": 0, "total": 0.00, "average": 0.00}, '
    '"pct": {"count": 436, "total": 571.640000, "pct": [0.50, 1.00]}}'
)
EXPANDED = """\
winning_bid_price: {
  "1m": {"count": 436, "total": 571.64, "average": 1.31},
  "10m": {"count": 0, "total": 0.00, "average": 0.00},
  "pct": {"count": 436, "total": 571.640000, "pct": [0.50, 1.00]}}"""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class ExpandTests(SynchronousTestCase):
    def test_windows(self) -> None:
        """A counter has a line for each window, with every digit as the server wrote it."""
        self.assertEqual(expand(COUNTER), EXPANDED)

    def test_projection(self) -> None:
        """So has one of a client."""
        self.assertEqual(
            expand('(t, c): {"1m": {"count": 1}, "10m": {"count": 2}}'),
            '(t, c): {\n  "1m": {"count": 1},\n  "10m": {"count": 2}}',
        )

    def test_left_on_one_line(self) -> None:
        """Gauges, totals, buffers, and whatever is not understood stay as they are."""
        for line in (
            'g: {"value": 1}', 'g: {"a": 1, "b": 2}', "g: {}", 'b: [["v", 1.0], ["w", 2.0]]', "noop", "",
            't: {"count": 1, "total": 2.00, "average": 2.00}',
            'g: {"a": {, "b": {}', 'g: {"a": {}, "b": {}', "g: {{}, {}}",
            'g: {"it": 1, ""quoted": "": 2}', "(t, c", "(t, c): ", 'g: {"a": {}}, "b": {}}', 'g: {a: {}, b: {}}',
        ):  # fmt: skip
            self.assertEqual(expand(line), line)

    def test_braces_and_commas_in_strings(self) -> None:
        """What stands in a string is no structure."""
        line = r'g: {"a},{\"": {"x": 1}, "b, c": {"y": "}"}}'
        self.assertEqual(expand(line), 'g: {\n  "a},{\\"": {"x": 1},\n  "b, c": {"y": "}"}}')

    @given(st.text(), st.dictionaries(st.text(), JSON))
    def test_only_white_space_changes(self, name: str, state: dict[str, object]) -> None:
        """Without white space the lines are those of the server."""
        line = f"{name}: {json.dumps(state)}"
        self.assertEqual("".join(expand(line).split()), "".join(line.split()))

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """Whatever comes, nothing is lost and nothing raised."""
        for line in (text, f"a: {{{text}}}"):
            self.assertEqual("".join(expand(line).split()), "".join(line.split()))
        self.assertIsInstance(pretty(text) + compact(text) + name_of(text), str)


class NameTests(SynchronousTestCase):
    def test_names(self) -> None:
        """The tab of a line is found, also where its name has a colon or parentheses."""
        lines = ("a: {}", "a:b: {}", "(a, c): {}", "(a(1), c(2)): {}", "(a): {}", "a: Gauge")
        self.assertEqual([name_of(line) for line in lines], ["a", "a:b", "a", "a(1)", "(a)", "a"])


class JsonTests(SynchronousTestCase):
    def test_compact(self) -> None:
        """White space between tokens goes, white space in strings and every digit stay."""
        self.assertEqual(compact('{"a b": {"total": 1.00, "n": 10000000000000000001}}\n'),
                         '{"a b":{"total":1.00,"n":10000000000000000001}}')  # fmt: skip

    def test_pretty(self) -> None:
        """On a terminal each member has its line."""
        self.assertEqual(pretty('{"a": {"total": 1.00, "pct": [1, 2], "e": {}, "f": []}}'), """\
{
  "a": {
    "total": 1.00,
    "pct": [
      1,
      2
    ],
    "e": {},
    "f": []
  }
}""")  # fmt: skip

    @given(JSON)
    def test_same_value(self, value: object) -> None:
        """Neither layout changes what the JSON says."""
        text = json.dumps(value)
        self.assertEqual(json.loads(compact(text)), value)
        self.assertEqual(json.loads(pretty(text)), value)
        self.assertEqual(pretty(text), json.dumps(value, indent=2))


class VisibleTests(SynchronousTestCase):
    def test_control_characters(self) -> None:
        """Characters that command a terminal are written out; lines, tabs and letters of any language stay."""
        self.assertEqual(visible("a\x1b[31m\x9b\r\x00\n\tü €"), "a\\x1b[31m\\x9b\\x0d\\x00\n\tü €")
