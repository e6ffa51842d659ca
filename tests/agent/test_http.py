"""What the agent's HTTP port makes of headers: batch numbers, and what senders dropped."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taba.agent.http import MAX_UNSENT, batch_number, unsent
from taba.agent.intake import BatchNumber
from taba.web.answers import Refusal

INSTANCE = "0123456789abcdef" * 2


class HeaderTests(SynchronousTestCase):
    """Taba-Batch and Taba-Unsent."""

    def test_batch_number(self) -> None:
        """0 opens an instance; later ones name it."""
        self.assertIsNone(batch_number(None))
        self.assertEqual(batch_number("0"), BatchNumber(None, 0))
        self.assertEqual(batch_number(f" {INSTANCE}/12 "), BatchNumber(INSTANCE, 12))

    def test_bad_batch_numbers(self) -> None:
        """Anything else is refused."""
        for header in ("", "1", f"{INSTANCE}/0", f"{INSTANCE}/-1", f"{INSTANCE}/", f"{INSTANCE}/1{'0' * 20}", "x/1"):
            with self.assertRaises(Refusal):
                batch_number(header)

    def test_unsent(self) -> None:
        """Counts by reason; what is not a known reason is `other`."""
        self.assertEqual(unsent("full=3, unknown=4, novel=5, odd=6"), {"full": 3, "unknown": 4, "other": 11})
        self.assertEqual(unsent(None), {})

    def test_unsent_is_bounded(self) -> None:
        """No header makes a line of the ledger overflow."""
        header = ",".join(["full=999999999999999"] * 700)
        self.assertEqual(unsent(header), {"full": MAX_UNSENT})

    def test_bad_unsent(self) -> None:
        """What is no list of counts is refused."""
        with self.assertRaises(Refusal):
            unsent("full")
