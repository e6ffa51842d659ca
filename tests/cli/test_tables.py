"""How rows are laid out on a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.cli.tables import age, bytes_of, cut, table, width_of
from tests.cli.cli_case import AnswersCase


class TableTests(SynchronousTestCase):
    def test_aligned(self) -> None:
        """Names stand on the left of their columns, numbers on the right, and no line ends with blanks."""
        self.assertEqual(
            table(("TAB", "EVENTS", "WHAT"), [["a", "1", "x"], ["longer", "1000", ""]], right=(1,)),
            "TAB     EVENTS  WHAT\n"
            "a            1  x\n"
            "longer    1000",
        )

    def test_narrow(self) -> None:
        """On a narrow terminal the widest names are cut; numbers are not."""
        drawn = table(("TAB", "EVENTS"), [["a" * 60, "123456"], ["b", "1"]], right=(1,), width=30)
        lines = drawn.split("\n")
        self.assertTrue(all(width_of(line) <= 30 for line in lines), drawn)
        self.assertIn("…", lines[1])
        self.assertTrue(lines[1].endswith("123456"))

    def test_whole_columns(self) -> None:
        """Columns that are to stay whole do so on any terminal; others are cut."""
        drawn = table(("TAB", "W", "VALUE"), [["a" * 20, "1m", "b" * 30]], width=35, whole=(0, 1))
        self.assertEqual(drawn.split("\n")[1], f"{'a' * 20}  1m  {'b' * 8}…")
        drawn = table(("TAB", "W", "N"), [["a" * 50, "1m", "123"]], right=(2,), width=35, whole=(0, 1))
        self.assertTrue(drawn.split("\n")[1].startswith(f"{'a' * 50}  1m"), drawn)

    def test_wide_characters(self) -> None:
        """Characters of two columns, and of none, keep the columns straight."""
        lines = table(("TAB", "N"), [["表示", "1"], ["e\u0301e", "2"]], right=(1,)).split("\n")
        self.assertEqual({width_of(line) for line in lines}, {7})

    def test_bold_head(self) -> None:
        """With colors the head is bold."""
        self.assertEqual(table(("A",), [["b"]], bold=True), "\x1b[1mA\x1b[0m\nb")

    @given(st.lists(st.lists(st.text(max_size=50), min_size=3, max_size=3), max_size=5), st.integers(1, 200))
    def test_never_too_wide(self, rows: list[list[str]], width: int) -> None:
        """Whatever stands in it, no line is wider than the terminal."""
        rows = [["".join(each for each in cell if each.isprintable()) for cell in row] for row in rows]
        for line in table(("A", "B", "C"), rows, right=(2,), width=width).split("\n"):
            self.assertLessEqual(width_of(line), width)

    @given(st.text(), st.integers(0, 40))
    def test_cut(self, text: str, width: int) -> None:
        """A text that fits stays; another one is not wider than it may be."""
        self.assertLessEqual(width_of(cut(text, width)), max(width, 0))
        self.assertEqual(cut(text, width_of(text)), text)


class TerminalTests(AnswersCase):
    """`agg --table` where people read it."""

    def test_table_on_a_terminal(self) -> None:
        """A table leaves its last columns out where there is no room, and says so; the tab's name is whole."""
        name, numbers = "a.tab.with.a.long.name:and.more", '"count": 123456789, "total": 12345678.91, "average": 1.25'
        state = f'{{"1m": {{{numbers}, "pct": [1.25, 2.25, 3.25, 4.25, 5.25, 6.25, 7.25]}}, "1d": {{{numbers}}}}}'
        self.answers["/tabs"] = f"{name}: {state}\n"
        result = self.run_cli("agg", "-t", name, terminal=True, env={"NO_COLOR": "1"})
        lines = result.stdout.splitlines()
        self.assertEqual(lines[0].split(), ["TAB", "WINDOW", "count", "total", "average", "p25"])
        self.assertEqual(lines[1].split(), [name, "1m", "123456789", "12345678.91", "1.25", "1.25"])
        self.assertTrue(all(len(line) <= 80 for line in lines), lines)
        self.assertIn("no room for p50, p75, p90, p95, p99, p999", result.stderr)
        piped = self.run_cli("agg", "-t", name)
        self.assertEqual((len(piped.stdout.split("\n")[0].split("\t")), piped.stderr), (12, ""))

    def test_table_of_values(self) -> None:
        """Of values that are too long the end is cut, never the name, however long that is."""
        for name in ("version", "n" * 90):
            self.answers["/tabs"] = f'{name}: {{"{"v" * 90}": 3}}\n'
            result = self.run_cli("agg", "-t", name, terminal=True, env={"NO_COLOR": "1"})
            self.assertIn(f"{name}  ", result.stdout.splitlines()[1])
            self.assertTrue(result.stdout.splitlines()[1].endswith("…"))


class WordsTests(SynchronousTestCase):
    def test_ages(self) -> None:
        """Spans of time are said with two units at most."""
        said = [age(seconds) for seconds in (0.25, 1.24, 59.4, 60, 3725, 86400 * 3 + 7200, -5)]
        self.assertEqual(said, ["250 ms", "1.2 s", "59.4 s", "1 min", "1 h 2 min", "3 d 2 h", "-5.0 s"])

    def test_bytes(self) -> None:
        """Bytes are said in powers of 1024."""
        said = [bytes_of(count) for count in (0, 1023, 1024, 5 << 20, 3 << 30, 2 << 40)]
        self.assertEqual(said, ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 GiB", "2.0 TiB"])
