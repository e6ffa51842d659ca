"""What a start makes of a spool in which seals cannot be read."""

from __future__ import annotations

from taba.agent.encoding import Kind
from tests.agent.spool_damage import RecoveryCase, closed, frames_of, spoil
from tests.agent.spool_folder import checksum
from tests.agent.spool_life import A, B, Life, keys, section


class LostSealTests(RecoveryCase):
    """Seals that cannot be read."""

    def test_one_lost_seal_is_made_again(self) -> None:
        """The next seal of the lane shows what the lost one held: nothing is given up."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"))
        life.commit(section(1, b"1=bbb"))
        life.seal(*keys([1]))
        life.commit(section(1, b"1=cccc"))
        life.seal(*keys([1]))
        contents = closed(life)
        said = life.account()
        found, damage, folder = self.started(spoil(contents, 1, frames_of(contents, 1, Kind.SEALS)[0]))
        self.assertEqual(found.held, said.held)
        self.assertEqual([seal.checksum for seal in damage.rebuilt], [checksum(b"1=aa;1=bbb;")])
        self.assertEqual((damage.seals, damage.events), (1, 0))
        self.assertFoundAgain(folder, found)

    def test_a_snapshot_shows_what_was_sealed(self) -> None:
        """So does a snapshot; what was committed after the lost seal waits still."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"))
        life.seal(*keys([1]))
        life.commit(section(1, b"1=bbb"))
        life.turn(B)
        life.commit(section(1, b"1=c"))
        contents = closed(life)
        said = life.account()
        found, _, folder = self.started(spoil(contents, 1, frames_of(contents, 1, Kind.SEALS)[0]))
        self.assertEqual((found.held, found.waiting, found.lanes), (said.held, said.waiting, said.lanes))
        self.assertFoundAgain(folder, found)

    def test_two_lost_seals_are_given_up(self) -> None:
        """How they divided the events is not known: sealing them again could give a number other events."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"))
        life.seal(*keys([1]))
        life.sync()
        life.commit(section(1, b"1=bbb"))
        life.seal(*keys([1]))
        life.commit(section(1, b"1=cccc"))
        life.seal(*keys([1]))
        contents = closed(life)
        found, damage, folder = self.started(spoil(contents, 1, *frames_of(contents, 1, Kind.SEALS)[:2]))
        self.assertEqual(list(found.held), [((A, 1), 3)])
        self.assertEqual((damage.seals, damage.rebuilt, damage.events), (2, (), 5))
        self.assertEqual(found.waiting, {})
        self.assertFoundAgain(folder, found)

    def test_no_later_word_on_the_lane(self) -> None:
        """What may have been sealed is given up; a lane that was heard of since goes on."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"), section(2, b"2=bbb"))
        life.seal(*keys([1, 2]))
        life.sync()
        life.commit(section(1, b"1=c"), section(2, b"2=dd"))
        life.seal(*keys([1]))
        life.commit(section(1, b"1=e"), section(2, b"2=f"))
        contents = closed(life)
        found, damage, folder = self.started(spoil(contents, 1, frames_of(contents, 1, Kind.SEALS)[0]))
        self.assertEqual([part[3] for part in found.waiting[A, 1]], [b"1=e;"])
        self.assertNotIn((A, 2), found.waiting)
        self.assertEqual(damage.events, 3 + 2 + 1)
        self.assertFoundAgain(folder, found)

    def test_lane_of_an_older_incarnation_that_no_snapshot_names(self) -> None:
        """It may have sealed nothing, or have all it sealed confirmed: only a later seal of it can tell."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"), section(2, b"2=bbb"), section(3, b"3=c"))
        life.seal(*keys([3]))
        life.sync()
        life.release(((A, 3), 1))
        life.turn(B)
        life.seal((A, 1))
        contents = closed(life)
        found, damage, folder = self.started(spoil(contents, 1, frames_of(contents, 1, Kind.SEALS)[0]))
        self.assertEqual(found.held[(A, 1), 1].body, b"1=aa;")
        self.assertEqual(found.waiting, {})
        self.assertEqual(damage.events, 3 + 1)
        self.assertFoundAgain(folder, found)

    def test_seal_lost_with_a_batch_passed_over(self) -> None:
        """What a lane's events do not account for cannot be made again."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"))
        life.seal(*keys([1]))
        life.sync()
        life.commit(section(1, b"1=bbb"))
        life.seal(*keys([1]))
        life.sync()
        life.aside((A, 1), 1, "too old", True)
        life.commit(section(1, b"1=cccc"))
        life.seal(*keys([1]))
        contents = closed(life)
        spoiled = (frames_of(contents, 1, Kind.SEALS)[1], frames_of(contents, 1, Kind.ASIDE)[0])
        found, damage, folder = self.started(spoil(contents, 1, *spoiled))
        self.assertEqual((damage.rebuilt, damage.events), ((), 3))
        self.assertFoundAgain(folder, found)

    def test_rebuilt_seal_whose_batch_was_set_aside(self) -> None:
        """A seal made again is of no use when its batch was set aside later."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"))
        life.seal(*keys([1]))
        life.sync()
        life.commit(section(1, b"1=bbb"))
        life.seal(*keys([1]))
        life.aside((A, 1), 1, "conflict", False)
        contents = closed(life)
        found, damage, folder = self.started(spoil(contents, 1, frames_of(contents, 1, Kind.SEALS)[0]))
        self.assertEqual((damage.rebuilt, list(found.held)), ((), [((A, 1), 2)]))
        self.assertFoundAgain(folder, found)

    def test_undivided_sections_are_given_up(self) -> None:
        """Which lanes sealed their parts of undivided sections is not known when seals are lost."""
        life = Life()
        life.start(A, None)
        life.commit(section(0, b"1=aa", b"2=bbb"), divided=0)
        life.turn(A)
        life.holdings.divide(A, 1, [(1, 1), (2, 1)])
        life.seal(*keys([1, 2]))
        life.sync()
        life.commit(section(1, b"1=c"))
        life.seal(*keys([1]))
        life.commit(section(0, b"3=d"), divided=0)
        contents = closed(life)
        found, damage, folder = self.started(spoil(contents, 2, frames_of(contents, 2, Kind.SEALS)[0]))
        self.assertEqual(damage.events, 5)
        self.assertEqual(list(found.held), [((A, 1), 2)])
        self.assertEqual(list(found.waiting), [(A, 3)])
        self.assertFoundAgain(folder, found)

    def test_undivided_sections_when_a_snapshot_follows(self) -> None:
        """A snapshot knows what lanes of its own incarnation sealed; of older ones it may leave lanes out."""
        for turned, events in ((A, 0), (B, 5)):
            life = Life()
            life.start(A, None)
            life.commit(section(0, b"1=aa", b"2=bbb"), divided=0)
            life.turn(A)
            life.holdings.divide(A, 1, [(1, 1), (2, 1)])
            life.seal(*keys([1]))
            life.turn(turned)
            contents = closed(life)
            found, damage, folder = self.started(spoil(contents, 2, frames_of(contents, 2, Kind.SEALS)[0]))
            self.assertEqual((damage.seals, damage.events), (1, events))
            self.assertEqual(list(found.waiting), [(A, 2)] if turned == A else [])
            self.assertFoundAgain(folder, found)

    def test_lanes_that_had_not_sealed(self) -> None:
        """A lane of the running incarnation that a snapshot does not name has sealed nothing: it goes on."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"))
        life.seal(*keys([1]))
        life.commit(section(2, b"2=bbb"))
        life.turn(A)
        contents, said = closed(life), life.account()
        found, damage, folder = self.started(spoil(contents, 1, frames_of(contents, 1, Kind.SEALS)[0]))
        self.assertEqual((found.held, found.waiting), (said.held, said.waiting))
        self.assertEqual((damage.seals, damage.events), (1, 0))
        self.assertFoundAgain(folder, found)

    def test_undivided_sections_that_came_later(self) -> None:
        """Undivided sections that were committed after the damage were not sealed in it."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"))
        life.seal(*keys([1]))
        life.sync()
        life.commit(section(0, b"2=bbb"), divided=0)
        contents = closed(life)
        found, damage, folder = self.started(spoil(contents, 1, frames_of(contents, 1, Kind.SEALS)[0]))
        self.assertEqual((list(found.waiting), damage.events), ([(A, 2)], 2))
        self.assertFoundAgain(folder, found)

    def test_undivided_sections_of_two_incarnations(self) -> None:
        """After a snapshot only those of older incarnations are in doubt."""
        life = Life()
        life.start(A, None)
        life.commit(section(0, b"1=aa"), divided=0)
        life.turn(B, None)
        life.commit(section(0, b"1=bbb"), divided=0)
        life.commit(section(2, b"2=c"))
        life.seal((B, 2))
        life.turn(B, None)
        contents = closed(life)
        found, damage, folder = self.started(spoil(contents, 2, frames_of(contents, 2, Kind.SEALS)[0]))
        self.assertEqual((list(found.waiting), damage.events), ([(B, 1)], 2))
        self.assertFoundAgain(folder, found)
