"""Memory that requests share."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taba.web.room import Room


class RoomTests(SynchronousTestCase):
    """Who may take how much."""

    def test_shared(self) -> None:
        """What somebody has others cannot have; what was given back they can."""
        room = Room(100)
        self.assertTrue(room.take(60))
        self.assertFalse(room.take(50))
        self.assertTrue(room.take(40))
        room.give(60)
        self.assertTrue(room.take(50))
        self.assertEqual(room.held, 90)

    def test_one_alone(self) -> None:
        """A single one may take more than there is, all at once or bit by bit: else it would never get through."""
        room = Room(100)
        self.assertTrue(room.take(500))
        self.assertFalse(room.take(1))
        room.give(500)
        self.assertTrue(room.take(90))
        self.assertTrue(room.take(30, mine=90))
        self.assertFalse(room.take(30))
