"""Recorded events, taken out of their lists: of many tabs together as of each by itself."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.client.cutting import EVENT_BYTES, FEW, TOGETHER, Cutting, Log
from taba.client.drops import VALUE, Drops
from taba.client.encoding import Block, Numbers, encode_frame, join_blocks
from tests.strategies import law

VALUES = st.one_of(
    st.integers(-(2**60), 2**60), st.floats(), st.sampled_from([math.nan, math.inf, 10**400, 1.7e308, -1.7e308])
)
EVENTS = st.lists(st.tuples(st.floats(0.0, 2e9), VALUES), max_size=6)
LOGS = st.dictionaries(st.sampled_from([f"tab.{n}" for n in range(12)]), st.tuples(EVENTS, st.sampled_from([1, 1, 90])))


class Meddled(list[Any]):
    """A list that another thread adds events to, just before or just after it is read."""

    before: Log
    after: Log

    def __getitem__(self, place: Any) -> Any:
        self += self.before
        found = super().__getitem__(place)
        self += self.after
        self.before, self.after = [], []
        return found


def one_by_one(logs: dict[str, Log], drops: Drops) -> tuple[list[Block], int]:
    """What comes of every tab by itself."""
    blocks: list[Block] = []
    cutting = Cutting(drops)
    return blocks, sum(cutting.numbers(tab, "T", log[:], blocks) for tab, log in logs.items())


def together(logs: dict[str, Log], drops: Drops) -> tuple[list[Block], int]:
    """What comes of all tabs."""
    blocks: list[Block] = []
    used: set[int] = set()
    wanted = {id(log) for log in logs.values() if log}
    freed = Cutting(drops).all_numbers("T", logs, blocks, used)
    assert used == wanted
    return blocks, freed


def in_order(blocks: list[Block]) -> list[Block]:
    """By tab; those of one tab stay as they are. Long lists come before the round that they would be in."""
    return sorted(blocks, key=lambda block: block.tab)


class CuttingTests(SynchronousTestCase):
    @law(LOGS)
    def test_together_as_one_by_one(self, drawn: dict[str, tuple[list[tuple[float, Any]], int]]) -> None:
        """Whatever was recorded, the same Blocks, room and drops come of many tabs as of each, and nothing is left."""
        logs: dict[str, Log] = {
            tab: [part for event in events for part in event] * times for tab, (events, times) in drawn.items()
        }
        alone, beside = Drops(), Drops()
        (expected, room), (found, freed) = one_by_one(logs, alone), together(logs, beside)
        self.assertEqual((in_order(found), freed), (in_order(expected), room))
        self.assertEqual(encode_frame("c", None, 0, in_order(found)), encode_frame("c", None, 0, in_order(expected)))
        self.assertEqual((beside.by_tab(), beside.total(VALUE)), (alone.by_tab(), alone.total(VALUE)))
        self.assertFalse(any(logs.values()))

    def test_rounds(self) -> None:
        """More than is taken in one round, with long lists between, comes whole and in order."""
        events = FEW // 4
        logs: dict[str, Log] = {f"tab.{n}": [1.0, n] * events for n in range(TOGETHER // events)}
        logs["tab.3"] = [1.0, 3] * (4 * FEW)
        blocks, freed = together(logs, Drops())
        total = events * (len(logs) - 1) + 4 * FEW
        self.assertEqual((freed, sum(block.events for block in blocks)), (total * EVENT_BYTES, total))
        whole = {block.tab: block for block in join_blocks(blocks)}
        self.assertEqual({*whole}, {*logs})
        for block in whole.values():
            assert isinstance(block, Numbers)
            self.assertEqual({*memoryview(block.values).cast("d")}, {float(block.tab[4:])})

    def test_others_add_meanwhile(self) -> None:
        """What another thread adds to a list before it is read comes along, however much; what it adds after that
        stays for the next time.
        """
        for more, stays in (([2.0, 2], [3.0, 3]), ([2.0, 2] * FEW, [3.0, 3])):
            log = Meddled([1.0, 1])
            log.before, log.after = more, stays
            blocks: list[Block] = []
            first = Cutting(Drops()).all_numbers("T", {"t": log}, blocks, set()) // EVENT_BYTES
            self.assertEqual(first + len(log) // 2, 2 + len(more) // 2)
            Cutting(Drops()).all_numbers("T", {"t": log}, blocks, set())
            self.assertEqual(sum(block.events for block in blocks), 2 + len(more) // 2)
            self.assertFalse(log)

    def test_no_tabs(self) -> None:
        """Nothing comes of nothing."""
        self.assertEqual(together({}, Drops()), ([], 0))
        self.assertEqual(together({"t": []}, Drops()), ([], 0))
