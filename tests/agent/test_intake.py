"""What an agent says to a request before its commit: counted, a duplicate, of an unknown instance, or no room."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.agent import intake
from taba.agent.intake import Applied, BatchNumber, Intake, Receipt
from taba.errors import SpoolFull
from tests.server.making import new_ids

NOW = 1_700_000_000.0
KINDS = {"CounterGroup": native.COUNTER_GROUP}
MEMORY = 1 << 20
INSTANCE = f"{1:032x}"
"""The first that an agent draws here."""


class IntakeCase(SynchronousTestCase):
    """One agent that has just started with an empty spool."""

    def setUp(self) -> None:
        self.intake = self.make()

    def make(self, max_memory: int = MEMORY) -> Intake:
        """An intake."""
        return Intake(KINDS, new_ids(), max_memory, 60.0)

    def scratch(self, *events: tuple[float, str]) -> native.Scratch:
        """A body of events of one tab, as (time, payload)."""
        scratch = self.intake.begin(NOW)
        lines = "".join(f'["CounterGroup", {time!r}, "{payload}"]\n' for time, payload in events)
        scratch.feed(f"1\n\nclient\n\ntab\n{lines}\n\n".encode())
        scratch.finish()
        return scratch

    def give(self, number: int | None = None, instance: str | None = INSTANCE, now: float = NOW) -> Receipt:
        """One event in a batch, or without a number."""
        batch = None if number is None else BatchNumber(instance, number)
        return self.intake.apply(self.scratch((NOW, "1")), batch, {}, now)

    def open(self, now: float = NOW) -> str:
        """A new instance."""
        receipt = self.intake.apply(None, BatchNumber(None, 0), {}, now)
        assert receipt.instance is not None
        return receipt.instance

    def waiting(self) -> int:
        """How many events are in the open commit."""
        return self.intake.open.accumulator.summary()[0]


class ScratchTests(IntakeCase):
    """Scratches are used again."""

    def test_one_of_the_form(self) -> None:
        """A scratch that is over is the next request's of its form, emptied; one of another form stays as it is."""
        text = self.scratch((NOW, "1"))
        self.intake.over(text)
        columns = self.intake.begin(NOW, native.Columns)
        self.assertIsNot(columns, text)
        self.intake.over(columns)
        self.assertIs(self.intake.begin(NOW), text)
        self.assertEqual((text.summary().accepted, self.intake.spares), (0, [columns]))
        self.assertIsNot(self.intake.begin(NOW), text)
        self.assertIs(self.intake.begin(NOW, native.Columns), columns)


class NumberTests(IntakeCase):
    """Batches with numbers count once."""

    def test_batch_0_opens_an_instance(self) -> None:
        """It is told its name once the commit that holds it is durable; another one gets another name."""
        self.assertTrue(self.intake.open.empty)
        receipt = self.intake.apply(None, BatchNumber(None, 0), {}, NOW)
        self.assertEqual(receipt, Receipt(Applied.COUNTED, 1, INSTANCE))
        self.assertFalse(self.intake.open.empty)
        self.assertNotEqual(self.open(), INSTANCE)

    def test_number_and_events_are_of_one_commit(self) -> None:
        """Whatever is cut between two requests, a number is in the commit of its events."""
        instance = self.open()
        self.assertEqual(self.give(1), Receipt(Applied.COUNTED, 1))
        cut = self.intake.cut()
        self.assertEqual((cut.number, cut.events, cut.instances), (1, 1, {instance: 1}))
        self.assertEqual(self.give(2), Receipt(Applied.COUNTED, 2))
        self.assertEqual(self.intake.cut().instances, {instance: 2})

    def test_duplicate_waits_for_the_first_one(self) -> None:
        """A number not above the last is not counted again, and answered after the commit of the last."""
        self.open()
        self.give(3)
        self.intake.cut()
        for number in (3, 2):
            self.assertEqual(self.give(number), Receipt(Applied.DUPLICATE, 1))
        self.assertEqual(self.waiting(), 0)

    def test_instance_that_is_not_known(self) -> None:
        """Nothing of its batch is applied, and nothing is noted."""
        self.assertEqual(self.give(1), Receipt(Applied.UNKNOWN, 0))
        self.assertEqual((self.waiting(), self.intake.open.empty), (0, True))

    def test_without_a_number(self) -> None:
        """Clients of the original protocol count as often as they send."""
        for _ in range(2):
            self.assertEqual(self.give(), Receipt(Applied.COUNTED, 1))
        self.assertEqual((self.waiting(), dict(self.intake.open.ledger)), (2, {"received": 2}))

    def test_refused_events_are_in_the_ledger(self) -> None:
        """Events from too far in the future, and such as no number has, are received and refused, by reason."""
        self.intake.apply(self.scratch((NOW, "1"), (NOW + 61, "1"), (NOW, "x")), None, {}, NOW)
        ledger = dict(self.intake.open.ledger)
        self.assertEqual((ledger.pop("received"), self.waiting()), (3, 1))
        self.assertEqual((sum(ledger.values()), {line[:8] for line in ledger}), (2, {"refused."}))

    def test_what_senders_dropped(self) -> None:
        """It enters the ledger with the batch that tells it, also one without events; a duplicate tells it no more."""
        self.open()
        for _ in range(2):
            self.intake.apply(None, BatchNumber(INSTANCE, 1), {"full": 5}, NOW)
        self.assertEqual(dict(self.intake.open.ledger), {"unsent.full": 5})
        self.assertEqual(self.intake.open.instances, {INSTANCE: 1})

    def test_lines_of_the_agent_itself(self) -> None:
        """What the agent counts itself is in the ledger of the open commit, which is no longer empty."""
        self.assertEqual(self.intake.count("refused.damaged", 2, NOW), 1)
        self.assertEqual((dict(self.intake.open.ledger), self.intake.open.opened), ({"refused.damaged": 2}, NOW))


class RoomTests(IntakeCase):
    """Memory and instances are bounded, and what was applied stays."""

    def test_memory_is_full(self) -> None:
        """Until what was cut is on disk no further batch is taken, and its number stays free; duplicates are known."""
        self.intake = self.make(max_memory=1 << 14)
        self.open()
        self.give(1)
        self.intake.receiving = 1 << 14
        self.assertRaises(SpoolFull, self.give, 2)
        self.assertEqual(self.give(1).applied, Applied.DUPLICATE)
        self.intake.receiving = 0
        commit = self.intake.cut()
        self.assertGreater(commit.memory, 0)
        self.assertEqual(self.intake.in_flight, commit.memory)
        self.intake.committed(commit)
        self.assertEqual((self.intake.in_flight, self.intake.durable), (0, 1))
        self.assertEqual(self.give(2).applied, Applied.COUNTED)

    def test_too_many_instances(self) -> None:
        """No more are opened; those that are known go on, and there is room again when idle ones were forgotten."""
        self.intake.instances = {
            f"{number:032x}": intake.Instance(0, 0, NOW - 9.0) for number in range(1, intake.MAX_INSTANCES + 1)
        }
        self.assertRaises(SpoolFull, self.open)
        self.assertEqual(self.give(1).applied, Applied.COUNTED)
        self.assertEqual(self.intake.forget_idle(NOW), intake.MAX_INSTANCES - 1)
        self.open()

    def test_idle_instances_are_forgotten(self) -> None:
        """An instance is used by its duplicates, too; one whose last number is not durable yet is kept."""
        used, idle = self.open(NOW), self.open(NOW)
        self.assertEqual(self.intake.forget_idle(NOW + 1), 0)
        self.intake.committed(self.intake.cut())
        self.give(0, used, now=NOW + 2)
        self.assertEqual(self.intake.forget_idle(NOW + 1), 1)
        self.assertEqual(set(self.intake.instances), {used})
        self.assertEqual(self.give(1, idle).applied, Applied.UNKNOWN)

    def test_after_a_restart(self) -> None:
        """Numbers go on where the spool had them, and what it had is durable."""
        again = Intake.recovered(
            {INSTANCE: (7, NOW)}, 5, kinds=KINDS, new_id=new_ids(), max_memory=MEMORY, max_clock_skew=60.0
        )
        self.intake = again
        self.assertEqual((again.durable, again.open.number), (4, 5))
        self.assertEqual(self.give(7), Receipt(Applied.DUPLICATE, 4))
        self.assertEqual(self.give(8), Receipt(Applied.COUNTED, 5))
