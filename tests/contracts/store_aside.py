"""The contract of what is set aside: `Checkpoint.set_aside` and `refolded`, `IStore.aside` and `aside_of`."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from taba.interfaces import SetAside, Written
from tests.contracts.store_harness import ASIDE_BYTES, ASIDE_ROWS, TTL, StoreSuite, V, W


def partial(number: int, size: int = 10) -> SetAside:
    """A Partial to set aside."""
    return SetAside(f"reason {number}", "tab", "client", "CounterGroup", number, bytes([number % 256]) * size)


class AsideContract(StoreSuite):
    """What could not be folded is kept, bounded, under a name of its own, until it is folded after all."""

    def aside(self, limit: int = 100) -> list[SetAside]:
        """What is set aside, the newest first."""
        return self.get(self.store.aside(limit))

    def ids(self) -> dict[int, str]:
        """The id of each, by the number it was made from."""
        return {one.events: one.id for one in self.aside()}

    def events_of(self, vbucket: int, ids: Sequence[str]) -> list[int]:
        """What a vbucket has of some ids, by the numbers they were made from."""
        return [one.events for one in self.get(self.store.aside_of(vbucket, ids))]

    # ------------------------------------------------------------------------------------------------------- bounds

    def test_set_aside_partials_are_found_again(self) -> None:
        """What could not be folded is kept whole, the newest first."""
        self.put(set_aside=[partial(1), partial(2)])
        self.put(set_aside=[partial(3)])
        given = [evolve(one, vbucket=-1, id="") for one in self.aside()]
        self.assertEqual(given, [partial(3), partial(2), partial(1)])
        self.assertEqual([one.events for one in self.aside(2)], [3, 2])
        self.assertEqual(self.aside(0), [])

    def test_number_of_set_aside_partials_is_bounded(self) -> None:
        """Beyond the bound the oldest leave."""
        self.put(set_aside=[partial(number) for number in range(ASIDE_ROWS + 2)])
        self.assertEqual([one.events for one in self.aside()], list(range(ASIDE_ROWS + 1, 1, -1)))

    def test_bytes_of_set_aside_partials_are_bounded(self) -> None:
        """Large ones leave sooner."""
        self.put(set_aside=[partial(1, ASIDE_BYTES // 2), partial(2, ASIDE_BYTES // 2), partial(3, ASIDE_BYTES // 2)])
        self.assertEqual([one.events for one in self.aside()], [3, 2])

    def test_refused_checkpoint_sets_nothing_aside(self) -> None:
        """Setting aside is a part of the checkpoint like all the rest."""
        lease = self.lease()
        checkpoint = self.next_checkpoint(lease, set_aside=[partial(1)])
        self.write(evolve(checkpoint, set_aside=()))
        self.assertEqual(self.write(checkpoint), [Written.STALE])
        self.assertEqual(self.aside(), [])

    # --------------------------------------------------------------------------------------------------------- names

    def test_store_says_whose_they_are(self) -> None:
        """Each has the vbucket whose log it was in, and a name that no other has, whatever the be gave."""
        self.put(V, set_aside=[partial(1), evolve(partial(2), vbucket=0, id="mine")])
        self.put(W, set_aside=[partial(3)])
        self.assertEqual({one.events: one.vbucket for one in self.aside()}, {1: V, 2: V, 3: W})
        names = list(self.ids().values())
        self.assertEqual(len(set(names)), 3)
        for name in names:
            self.assertTrue(0 < len(name) <= 64 and " " not in name, name)

    def test_partials_by_name(self) -> None:
        """Some are found by name, in the order that is asked for; the rest of the names is passed over."""
        self.put(V, set_aside=[partial(1), partial(2)])
        self.put(W, set_aside=[partial(3)])
        ids = self.ids()
        found = self.get(self.store.aside_of(V, [ids[2], "nonsense", ids[1]]))
        self.assertEqual([evolve(one, vbucket=-1, id="") for one in found], [partial(2), partial(1)])
        self.assertEqual([(one.vbucket, one.id) for one in found], [(V, ids[2]), (V, ids[1])])
        self.assertEqual((self.events_of(W, list(ids.values())), self.events_of(0, list(ids.values()))), ([3], []))
        self.assertEqual(self.events_of(V, []), [])

    def test_names_that_nobody_gave(self) -> None:
        """Whatever is asked for that was never given is not there, and no error."""
        self.put(set_aside=[partial(1)])
        name = self.ids()[1]
        lineage, _, number = name.partition("-")
        wrong = ["", "-", "\0", "ü-1", name + "0", name + "-", "-" + name, lineage, number, f"ffffffff-{number}"]
        wrong += [f"{lineage}-{odd}" for odd in ("", "-" + number, "0" + number, "9" * 30, "*", "+", number + " ")]
        self.assertEqual(self.events_of(V, wrong), [])
        self.put(refolded=wrong)
        self.assertEqual(self.ids(), {1: name})

    def test_names_outlive_a_crash(self) -> None:
        """An operator may read a name today and ask for it tomorrow."""
        self.put(set_aside=[partial(1)])
        before = self.ids()
        self.harness.crash()
        self.harness.advance(TTL + 0.1)
        self.put(set_aside=[partial(2)])
        self.assertEqual(self.ids()[1], before[1])
        self.assertEqual(self.events_of(V, [before[1]]), [1])

    def test_names_are_never_given_twice(self) -> None:
        """Neither after the newest one was folded again, nor after a crash."""
        given: set[str] = set()
        for number in range(6):
            self.put(set_aside=[partial(number)])
            name = self.ids()[number]
            self.assertNotIn(name, given)
            given.add(name)
            self.put(refolded=[name])
            if number % 2:
                self.harness.crash()
                self.harness.advance(TTL + 0.1)
        self.assertEqual(self.aside(), [])

    def test_names_are_never_given_twice_after_a_rollback(self) -> None:
        """A name of what a rollback took never stands for what is set aside instead."""
        self.put(set_aside=[partial(1)])
        snapshot = self.harness.snapshot()
        self.put(set_aside=[partial(2)])
        before = self.ids()
        self.harness.rollback(snapshot)
        self.harness.advance(TTL + 0.1)
        self.put(set_aside=[partial(3)])
        self.assertEqual(self.events_of(V, [before[1], before[2]]), [1])
        self.assertNotEqual(self.ids()[3], before[2])

    # ------------------------------------------------------------------------------------------------------ refolded

    def test_refolded_partials_are_not_set_aside_any_more(self) -> None:
        """What was folded after all goes in the same step, and only that."""
        self.put(set_aside=[partial(1), partial(2), partial(3)])
        ids = self.ids()
        self.put(refolded=[ids[2], "nonsense"], states={("tab", "client"): b"2"})
        self.assertEqual([one.events for one in self.aside()], [3, 1])
        self.assertEqual(self.events_of(V, [ids[1], ids[2], ids[3]]), [1, 3])
        self.put(refolded=[ids[2], ids[1], ids[3]])
        self.assertEqual(self.aside(), [])

    def test_refolded_and_set_aside_again(self) -> None:
        """What still cannot be folded is set aside under a new name, and the old one goes."""
        self.put(set_aside=[partial(1)])
        before = self.ids()[1]
        self.put(refolded=[before], set_aside=[partial(1)])
        (again,) = self.aside()
        self.assertNotEqual(again.id, before)
        self.assertEqual(self.events_of(V, [before, again.id]), [1])

    def test_refused_checkpoint_folds_nothing_again(self) -> None:
        """Where a checkpoint is not written the Partial stays set aside."""
        self.put(set_aside=[partial(1)])
        lease = self.lease()
        checkpoint = self.next_checkpoint(lease, refolded=[self.ids()[1]])
        self.assertEqual(self.write(evolve(checkpoint, refolded=())), [Written.DONE])
        self.assertEqual(self.write(checkpoint), [Written.STALE])
        self.assertEqual([one.events for one in self.aside()], [1])

    def test_refolded_partials_of_others_stay(self) -> None:
        """A checkpoint of one vbucket takes nothing of another."""
        self.put(V, set_aside=[partial(1)])
        self.put(W, refolded=[self.ids()[1]])
        self.assertEqual([one.events for one in self.aside()], [1])

    def test_refolded_partials_make_room(self) -> None:
        """The bounds are of what is left: nothing has to leave for what went."""
        self.put(set_aside=[partial(number, ASIDE_BYTES // ASIDE_ROWS) for number in range(ASIDE_ROWS)])
        ids = self.ids()
        self.put(refolded=[ids[1], ids[3]], set_aside=[partial(number) for number in (10, 11)])
        self.assertEqual([one.events for one in self.aside()], [11, 10, 4, 2, 0])
        self.put(set_aside=[partial(12, ASIDE_BYTES // ASIDE_ROWS)])
        self.assertEqual([one.events for one in self.aside()], [12, 11, 10, 4, 2])
