"""`check` as a monitoring system calls it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.cli.checking import CRITICAL, OK, WARNING, Limits, judge, short
from taba.cli.server import Reply
from tests.cli.cli_case import SERVER, AnswersCase

STATE = {"1m": {"count": 42, "total": 84.5, "average": 2.01}, "pct": {"count": 42, "pct": [1, 2, 3, 4, 5, 6, 7]}}


class CheckTests(AnswersCase):
    def setUp(self) -> None:
        super().setUp()
        self.answers["/tabs"] = {"bids": STATE}

    def check(self, *arguments: str, code: int, output: str) -> None:
        result = self.run_cli("check", *arguments)
        self.assertEqual((result.exit_code, result.stdout, result.stderr), (code, f"{output}\n", ""))

    def test_ok(self) -> None:
        """A value within its limits is OK, with performance data."""
        self.check("bids", "1m.count", "--min", "10", "--max", "100", code=0,
                   output="TABA OK - bids 1m.count is 42 | 'bids 1m.count'=42;;10:100")  # fmt: skip
        self.check("bids", "1m.average", code=0, output="TABA OK - bids 1m.average is 2.01 | 'bids 1m.average'=2.01")

    def test_warning(self) -> None:
        """Beyond the outer limits it is a warning."""
        self.check("bids", "1m.count", "--min", "10", "--warn-min", "50", code=1,
                   output="TABA WARNING - bids 1m.count is 42, should be at least 50 |"
                          " 'bids 1m.count'=42;50:;10:")  # fmt: skip

    def test_critical(self) -> None:
        """Beyond the inner ones it is critical, whatever the outer ones say."""
        self.check("bids", "pct.p99", "--max", "5.5", "--warn-max", "5", code=2,
                   output="TABA CRITICAL - bids pct.p99 is 6, should be at most 5.5 |"
                          " 'bids pct.p99'=6;~:5;~:5.5")  # fmt: skip

    def test_client(self) -> None:
        """The part of one client can be looked at."""
        self.check("bids", "1m.count", "--client", "host7", code=0,
                   output="TABA OK - bids of host7 1m.count is 42 | 'bids of host7 1m.count'=42")  # fmt: skip
        self.assertEqual(self.asked()[0], ("GET", "/tabs", {"name": "bids", "client": "host7"}))

    def test_no_such_tab(self) -> None:
        """A tab that there is not is UNKNOWN."""
        self.answers["/tabs"] = {}
        self.check("bidz", "1m.count", code=3, output="TABA UNKNOWN - there is no tab bidz")

    def test_no_such_number(self) -> None:
        """So is a number that the tab has not; those that it has are told."""
        result = self.run_cli("check", "bids", "2m.count")
        self.assertEqual(result.exit_code, 3)
        self.assertIn("it has 1m.count, 1m.total, 1m.average, pct.count, pct.p25", result.stdout)

    def test_trouble(self) -> None:
        """Nobody there, an error, and wrong usage are UNKNOWN, too, on the line that monitoring reads."""
        self.answers["/tabs"] = Reply(503, "The store | does not answer\n")
        self.check("bids", "1m.count", code=3,
                   output=f"TABA UNKNOWN - {SERVER}/tabs answers 503: The store / does not answer")  # fmt: skip
        del self.answers["/tabs"]
        self.assertEqual(self.run_cli("check", "bids", "1m.count").exit_code, 3)
        for arguments in (("bids",), ("bids", "1m.count", "--min", "x"), ("bids", "1m.count", "--frobnicate")):
            result = self.run_cli("check", *arguments)
            self.assertEqual((result.exit_code, result.stdout[:15]), (3, "TABA UNKNOWN - "), arguments)

    def test_json(self) -> None:
        """For programs, with the same exit code."""
        result = self.run_cli("check", "bids", "1m.count", "--max", "1", "--json")
        self.assertEqual(result.exit_code, 2)
        self.assertEqual(json.loads(result.stdout)["status"], "CRITICAL")


class LimitsTests(SynchronousTestCase):
    def test_edges(self) -> None:
        """Limits themselves are within."""
        for value, status in ((5, CRITICAL), (10, WARNING), (19, WARNING), (20, OK), (30, OK), (31, WARNING),
                              (40, WARNING), (41, CRITICAL)):  # fmt: skip
            self.assertEqual(judge(value, Limits(20, 30), Limits(10, 40)), status)

    @given(st.floats(allow_nan=False, allow_infinity=False))
    def test_short(self, number: float) -> None:
        """A number is written so that it reads back the same."""
        self.assertEqual(float(short(number)), number)
