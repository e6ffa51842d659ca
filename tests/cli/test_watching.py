"""Watching tabs."""

from __future__ import annotations

from taba.cli.server import Reply, Unreachable
from taba.cli.watching import row_of
from tests.cli.cli_case import AnswersCase

BIDS = 'bids: {{"1m": {{"count": {0}, "total": 2.00, "average": 1.00}}, "1d": {{"count": 9, "total": 9.00}}}}\n'


class WatchTests(AnswersCase):
    def setUp(self) -> None:
        super().setUp()
        self.answers["/tabs"] = (BIDS.format(2) + 'version: {"2.4": 3}\n', BIDS.format(5) + 'version: {"2.4": 3}\n')

    def test_lines(self) -> None:
        """Where nobody looks at a terminal, each look is a line for each tab."""
        result = self.run_cli("watch", "bids", "version", "--count", "2", "--interval", "5")
        lines = result.stdout.splitlines()
        self.assertEqual((result.exit_code, len(lines), self.slept), (0, 4, [5.0]))
        self.assertTrue(lines[0].endswith(" bids 1m.n=2 1m.avg=1.00 1d.n=9"), lines[0])
        self.assertTrue(lines[1].endswith(' version VALUE={"2.4": 3}'), lines[1])
        self.assertIn("1m.n=5", lines[2])

    def test_distinct_values(self) -> None:
        """Of distinct values the events and their number are shown."""
        shown = row_of('{"1m": {"count": 421, "unique": 57}, "10m": {"count": 500, "unique": 60}}')
        self.assertEqual(shown, {"1m n": "421", "1m unique": "57", "10m n": "500", "10m unique": "60"})

    def test_in_place(self) -> None:
        """On a terminal a look is drawn over the one before."""
        result = self.run_cli("watch", "bids", "version", "--count", "2", terminal=True)
        first, second = result.stdout.split("\x1b[4F")
        self.assertIn("TAB", first)
        self.assertIn("Ctrl-C", first)
        self.assertTrue(second.startswith("\x1b[J"))
        changed = next(line for line in second.split("\n") if "bids" in line)
        self.assertTrue(changed.startswith("\x1b[1m"), "what changed is bold")

    def test_ends_with_interrupt(self) -> None:
        """Ctrl-C ends it, as it is meant to: exit code 0."""

        def interrupt() -> None:
            raise KeyboardInterrupt

        self.asleep = interrupt
        self.assertEqual(self.run_cli("watch", "bids").exit_code, 0)

    def test_server_away_at_first(self) -> None:
        """A server that is not there at all is an error."""
        self.answers["/tabs"] = Unreachable("Connection refused")
        self.assertEqual(self.run_cli("watch", "bids", "--count", "3").exit_code, 3)

    def test_server_away_for_a_while(self) -> None:
        """One that goes away is waited for, and what was seen stays."""
        self.answers["/tabs"] = (BIDS.format(2), Unreachable("Connection refused"), BIDS.format(7))
        result = self.run_cli("watch", "bids", "--count", "3")
        self.assertEqual(result.exit_code, 0)
        self.assertIn("Trying again", result.stderr)
        self.assertIn("1m.n=7", result.stdout)

    def test_nothing_seen(self) -> None:
        """A tab that never comes is exit code 1."""
        self.answers["/tabs"] = "\n"
        result = self.run_cli("watch", "bidz", "--count", "2")
        self.assertEqual((result.exit_code, result.stdout), (1, ""))

    def test_json(self) -> None:
        """For programs each look is one line of JSON."""
        self.answers["/tabs"] = ('{"bids": {"1m": {"count": 1}}}', Reply(503, "later"), '{"bids": {}}')
        result = self.run_cli("watch", "bids", "--count", "3", "--json")
        self.assertEqual(result.stdout, '{"bids":{"1m":{"count":1}}}\n{"bids":{}}\n')

    def test_narrow_terminal(self) -> None:
        """Columns for which there is no room are left out; values of gauges are cut."""
        counters = ", ".join(f'"{window}": {{"count": 123456789, "average": 12345.67}}' for window in
                             ("1m", "10m", "1h", "1d"))  # fmt: skip
        self.answers["/tabs"] = f"a.long.name.of.a.tab: {{{counters}}}\n"
        result = self.run_cli("watch", "x", "--count", "1", "--no-color", terminal=True)
        for line in result.stdout.replace("\x1b[J", "").splitlines()[1:]:
            self.assertLessEqual(len(line), 80)
        self.assertIn("10m n", result.stdout)
        self.assertNotIn("1d avg", result.stdout)

    def test_hostile_names(self) -> None:
        """Nothing that a client recorded commands the terminal."""
        self.answers["/tabs"] = 'g: {"\x1b]0;title\x07": 1}\n'
        result = self.run_cli("watch", "g", "--count", "1", "--no-color", terminal=True)
        self.assertNotIn("\x1b]", result.stdout)
