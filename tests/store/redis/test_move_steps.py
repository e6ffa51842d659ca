"""What is to be done next, by what both shards say."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taba.store.redis.move_steps import Confirmation, Pair, Site, Step, moving_step, undoing_step
from taba.store.redis.placing import Marker, MoveRow


def site(text: str, lineage: str = "l") -> Site:
    """A shard that says `MARKER ROW`, either of which may be missing (-)."""
    marker, row = text.split()
    return Site(
        lineage,
        None if marker == "-" else Marker.read(marker.encode()),
        None if row == "-" else MoveRow.read(row.encode()),
    )


def pair(source: str, target: str, lineages: str = "ll") -> Pair:
    """The shards a and b."""
    return Pair(site(source, lineages[0]), site(target, lineages[1]), "b")


class StepTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.confirmation = Confirmation(30.0)

    def moving(self, given: Pair, now: float = 0.0) -> Step:
        return moving_step(0, given, self.confirmation, now)

    def undoing(self, given: Pair, now: float = 0.0) -> Step:
        return undoing_step(0, given, self.confirmation, now)

    def test_way_there(self) -> None:
        """Announced, and confirmed; copied, and confirmed; retired."""
        self.assertIs(self.moving(pair("A:1 -", "- -")), Step.ANNOUNCE)
        announced = pair("A:1 moving:b", "- -")
        self.assertEqual([self.moving(announced, now) for now in (0, 29, 30)], [Step.WAIT, Step.WAIT, Step.COPY])
        arrived = pair("S:1 moving:b", "A:2 -")
        self.assertEqual([self.moving(arrived, now) for now in (31, 60, 61)], [Step.WAIT, Step.WAIT, Step.RETIRE])
        self.assertIs(self.moving(pair("S:1 gone:b", "A:2 -")), Step.DONE)

    def test_another_lineage(self) -> None:
        """What was seen under one lineage is not confirmed under another."""
        self.assertIs(self.moving(pair("A:1 moving:b", "- -"), 0), Step.WAIT)
        self.assertIs(self.moving(pair("A:1 moving:b", "- -", "ml"), 31), Step.WAIT)
        self.assertIs(self.moving(pair("S:1 moving:b", "A:2 -"), 32), Step.WAIT)
        self.assertIs(self.moving(pair("S:1 moving:b", "A:2 -", "lm"), 63), Step.WAIT)
        self.assertIs(self.moving(pair("S:1 moving:b", "A:2 -", "lm"), 93), Step.RETIRE)

    def test_left_by_a_mover(self) -> None:
        """Another mover goes on at once where the source is sealed, whatever the target has."""
        for target in ("I:2 -", "- -", "S:0 -"):
            self.assertIs(self.moving(pair("S:1 moving:b", target)), Step.COPY, target)

    def test_taken_back(self) -> None:
        """A failover opened the source again: it is sealed again where the target is active, else copied again."""
        self.assertIs(self.moving(pair("A:1 moving:b", "A:2 -")), Step.SEAL_AGAIN)
        self.assertIs(self.moving(pair("A:3 moving:b", "A:2 -")), Step.WAIT)
        self.assertEqual(pair("A:3 moving:b", "A:2 -").next_epoch, 4)

    def test_back_again(self) -> None:
        """A vbucket that came back, and is to leave once more."""
        self.assertIs(self.moving(pair("A:3 -", "S:2 gone:a")), Step.ANNOUNCE)
        self.assertIs(self.moving(pair("A:3 gone:b", "S:2 -")), Step.ANNOUNCE)

    def test_others(self) -> None:
        """Somebody else moves it elsewhere, or undoes this, or all is lost."""
        self.assertIs(self.moving(pair("A:1 moving:c", "- -")), Step.BUSY)
        self.assertIs(self.moving(pair("A:1 undoing:b", "- -")), Step.BUSY)
        self.assertIs(self.moving(pair("- moving:b", "- -")), Step.LOST)
        self.assertIs(self.moving(pair("- -", "- -")), Step.LOST)
        self.assertIs(self.moving(pair("S:1 -", "A:2 -")), Step.DONE)

    def test_way_back(self) -> None:
        """Revoked; the import made impossible; unsealed; confirmed."""
        self.assertIs(self.undoing(pair("S:1 moving:b", "I:2 -")), Step.REVOKE)
        self.assertIs(self.undoing(pair("S:1 undoing:b", "I:2 -")), Step.MAKE_IMPOSSIBLE)
        self.assertIs(self.undoing(pair("S:1 undoing:b", "S:3 gone:a")), Step.UNSEAL)
        undone = pair("A:4 undoing:b", "S:3 gone:a")
        self.assertEqual([self.undoing(undone, now) for now in (0, 29, 30)], [Step.WAIT, Step.WAIT, Step.SETTLE])
        self.assertIs(self.undoing(pair("A:4 -", "S:3 gone:a")), Step.DONE)

    def test_way_back_before_it_was_copied(self) -> None:
        """There is nothing to make impossible, nor to unseal."""
        self.assertIs(self.undoing(pair("A:1 moving:b", "- -")), Step.REVOKE)
        self.assertIs(self.undoing(pair("A:1 undoing:b", "- -")), Step.WAIT)

    def test_too_late(self) -> None:
        """What has arrived is not taken back."""
        self.assertIs(self.undoing(pair("S:1 undoing:b", "A:2 -")), Step.LET_ARRIVE)
        self.assertIs(self.undoing(pair("S:1 moving:b", "A:2 -")), Step.DONE)
        self.assertIs(self.undoing(pair("A:3 undoing:b", "A:2 -")), Step.MAKE_IMPOSSIBLE)
        self.assertIs(self.undoing(pair("- undoing:b", "- -")), Step.LOST)

    def test_left(self) -> None:
        """How long it still takes until all is confirmed."""
        self.assertEqual(self.confirmation.left(0), 0.0)
        self.moving(pair("A:1 moving:b", "- -"), 10.0)
        self.assertEqual(self.confirmation.left(15.0), 25.0)
        self.confirmation.forget(0)
        self.assertEqual(self.confirmation.left(15.0), 0.0)
