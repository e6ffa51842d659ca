"""States by client from pages by tab: whatever fits is read at once, and nothing is left out or shown twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.interfaces import RETIRED, StateRow
from taba.server.by_client import ROW_BYTES, Reading

ROWS = st.dictionaries(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from([*"stuvwxyz", RETIRED])), st.integers(0, 400), max_size=48
)


def read(rows: list[StateRow], max_bytes: int) -> tuple[list[tuple[str, str, bytes]], int]:
    """(client, tab, State) of all rows as a query would show them, and the most bytes that a reading held."""
    shown: list[tuple[str, str, bytes]] = []
    after: str | None = None
    most = 0
    for _ in range(100):
        reading = Reading(after, max_bytes)
        for start in range(0, len(rows), 5):
            reading.take(rows[start : start + 5])
            most = max(most, reading.held)
        done = after
        for client, kept in reading.clients():
            shown += [(client, tab, state) for tab, _, state in kept]
            done = client
        if reading.limit is None:
            return shown, most
        if done == after:
            done = reading.limit
            shown += [(row.client, row.tab, row.state) for row in rows if row.client == done]
        after = done
    raise AssertionError("it does not end")


class ReadingTests(SynchronousTestCase):
    """Any rows, any allowance."""

    @given(ROWS, st.integers(0, 12_000))
    @settings(max_examples=200, deadline=None)
    def test_all_of_them_in_order(self, sizes: dict[tuple[str, str], int], max_bytes: int) -> None:
        """However little may be held, every State is shown once, ascending by client and tab, and no more is held."""
        rows = [StateRow(tab, client, "T", b"x" * size) for (tab, client), size in sorted(sizes.items())]
        shown, most = read(rows, max_bytes)
        self.assertEqual(
            shown, sorted((row.client, row.tab, row.state) for row in rows if row.client != RETIRED)
        )
        self.assertLessEqual(most, max_bytes)

    def test_one_reading_is_enough(self) -> None:
        """What fits is read once."""
        reading = Reading(None, 10 * (ROW_BYTES + 2))
        reading.take([StateRow("a", f"c{number}", "T", b"x") for number in range(10)])
        self.assertIsNone(reading.limit)
        self.assertEqual([client for client, _ in reading.clients()], [f"c{number}" for number in range(10)])
