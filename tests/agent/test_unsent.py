"""What senders say they dropped: in the ledger by reason, beside it by tab, once, and over a crash."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from taba.agent.intake import BatchNumber, Receipt
from taba.agent.unsent import MAX_TABS, MAX_UNSENT, OTHERS, Unsent, lines_of, read_unsent
from tests.agent.agent_case import AgentCase, Away


class ReadingTests(SynchronousTestCase):
    """The member `unsent` of a frame's header."""

    def test_counts(self) -> None:
        """Counts are kept by reason and tab; reasons that nobody knows are one."""
        told = {"full": {"a": 1, "b": 2}, "unknown": {}, "novel": {"a": 3}, "new": {"a": 4}}
        self.assertEqual(read_unsent(told), {"full": {"a": 1, "b": 2}, "unknown": {}, "other": {"a": 7}})

    def test_bounded(self) -> None:
        """No sender can tell of more events of a reason than could be."""
        counts = read_unsent({"full": {"a": MAX_UNSENT - 1, "b": 5, "c": 5}})
        self.assertEqual(counts, {"full": {"a": MAX_UNSENT - 1, "b": 1, "c": 0}})

    def test_wrong(self) -> None:
        """What is not counts by reason and tab is refused."""
        counts: list[object] = [-1, True, 1.0, None]
        cases: list[object] = [[], 1, None, {"full": 1}, *({"full": {"a": count}} for count in counts)]
        for wrong in cases:
            self.assertRaises(ValueError, read_unsent, wrong)


class LineTests(SynchronousTestCase):
    """What is added to a commit."""

    def test_totals_alone(self) -> None:
        """A sender that knows no tabs gives totals."""
        self.assertEqual(list(lines_of({"full": 3, "odd": 1}, set())), [("unsent.full", 3), ("unsent.other", 1)])

    def test_bounded(self) -> None:
        """A thousand tabs are named, whatever the reasons; the rest, and what is no name, stand under one entry."""
        named: set[str] = set()
        many = {f"tab{number}": 1 for number in range(MAX_TABS + 5)}
        first = dict(lines_of({"full": {"no name": 2, **many}}, named))
        self.assertEqual((len(named), first["unsent.full"]), (MAX_TABS, MAX_TABS + 7))
        self.assertEqual(sum(count for line, count in lines_of({"unknown": many}, named) if OTHERS in line), 5)


class AgentTests(AgentCase):
    """An agent that is told."""

    def setUp(self) -> None:
        super().setUp()
        self.agent = self.start(Away())
        self.pass_time(0.5)

    def tell(self, unsent: Unsent, batch: BatchNumber | None = None) -> Receipt:
        """A request that brings an event and counts, made durable."""
        scratch = self.agent.begin()
        scratch.feed(f'1\n\nclient\n\nt\n["CounterGroup", {self.wall():.3f}, "1"]\n'.encode())
        scratch.finish()
        receipt = self.agent.apply(scratch, batch, unsent)
        self.pass_time(0.3)
        return receipt

    def told(self) -> tuple[Mapping[str, int], object]:
        """Ledger lines of what was dropped, and the parts of the tabs."""
        facts = self.agent.facts()
        return {line: n for line, n in facts["ledger"].items() if line.startswith("unsent")}, facts["unsent"]

    def test_by_tab(self) -> None:
        """The total stands in the ledger, the tabs beside it, in JSON and in text."""
        self.tell({"full": {"a": 2, "b": 1}, "unknown": {"a": 4}})
        self.tell({"full": {"a": 1}})
        by_tab = {"full": {"a": 3, "b": 1}, "unknown": {"a": 4}}
        self.assertEqual(self.told(), ({"unsent.full": 4, "unsent.unknown": 4}, by_tab))
        self.assertIn("unsent, full:\n  a: 3\n  b: 1\nunsent, unknown:\n  a: 4\n", self.agent.text())
        self.assertNotIn("unsent.full a", self.agent.metrics())

    def test_repeated_batch(self) -> None:
        """A batch that comes again tells nothing again."""
        instance = self.open_instance()
        for _ in range(3):
            self.tell({"full": {"a": 2}}, BatchNumber(instance, 1))
        self.assertEqual(self.told(), ({"unsent.full": 2}, {"full": {"a": 2}}))

    def test_over_a_crash(self) -> None:
        """What was acknowledged is known after a crash, and a batch that comes again tells nothing; the bound on the
        tabs that are named is that of the spool, not of a life.
        """
        instance = self.open_instance()
        self.tell({"full": {f"tab{number}": 1 for number in range(MAX_TABS)}}, BatchNumber(instance, 1))
        self.crash()
        self.agent = self.start(Away())
        self.pass_time(0.5)
        self.tell({"full": {"tab0": 1}}, BatchNumber(instance, 1))
        self.tell({"full": {"tab0": 1, "novel": 7}}, BatchNumber(instance, 2))
        totals, parts = self.told()
        assert isinstance(parts, dict)
        self.assertEqual(totals, {"unsent.full": MAX_TABS + 8})
        self.assertEqual((parts["full"]["tab0"], parts["full"][OTHERS], len(parts["full"])), (2, 7, MAX_TABS + 1))
