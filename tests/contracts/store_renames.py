"""The contract of `Checkpoint.renames`: a tab goes under another name, with all that it has."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from taba.errors import LocalProtocolError
from taba.interfaces import RETIRED, StateRow, Written
from tests.contracts.store_harness import PAGE_ROWS, StoreSuite, V, W, names_of, selection

GRAVE = "tab deleted 1700000000000"
"""Names may have blanks."""


class RenameContract(StoreSuite):
    """A rename moves everything of a tab, in the step of its checkpoint, or nothing."""

    def make_tab(self, tab: str = "tab", vbucket: int = V, type_name: str = "TotalsCounter") -> None:
        """A tab with two clients, a retired State and an Aggregate."""
        self.put(
            vbucket,
            states={(tab, "c1"): b"1", (tab, "c2"): b"2", (tab, RETIRED): b"0"},
            aggregates={tab: b"sum"},
            types={tab: type_name},
        )

    def of(self, tab: str) -> tuple[str | None, list[tuple[str, bytes]], list[bytes]]:
        """Type, States and Aggregate of a tab, by the queries."""
        rows = self.select_states({tab})
        states = [(row.client, row.state) for row in rows]
        return (
            self.get(self.store.tabs(frozenset([tab]))).get(tab),
            states,
            [row.aggregate for row in self.select_aggregates({tab})],
        )

    def refused(self, **fields: Any) -> None:
        """A checkpoint that must fail, and change nothing."""
        lease = self.lease()
        before = self.get(self.store.load(lease)), self.select_states(), self.select_aggregates()
        self.fails(self.store.checkpoint([self.next_checkpoint(lease, **fields)]), LocalProtocolError)
        self.assertEqual((self.get(self.store.load(lease)), self.select_states(), self.select_aggregates()), before)

    FULL = ("TotalsCounter", [(RETIRED, b"0"), ("c1", b"1"), ("c2", b"2")], [b"sum"])
    NOTHING: tuple[None, list[tuple[str, bytes]], list[bytes]] = (None, [], [])

    # ---------------------------------------------------------------------------------------------------- what moves

    def test_everything_of_a_tab_gets_the_new_name(self) -> None:
        """Type, States, retired State and Aggregate are found under the new name, nothing under the old one."""
        self.make_tab()
        self.make_tab("other")
        self.put(renames={"tab": GRAVE})
        self.assertEqual((self.of("tab"), self.of(GRAVE), self.of("other")), (self.NOTHING, self.FULL, self.FULL))
        keys = [(tab, "c1") for tab in ("tab", GRAVE)]
        self.assertEqual(self.get(self.store.states(V, keys)), {(GRAVE, "c1"): b"1"})
        self.assertEqual(self.get(self.store.aggregates(V, ["tab", GRAVE])), {GRAVE: b"sum"})
        types = dict(self.get(self.store.load(self.lease())).types)
        self.assertEqual(types, {GRAVE: "TotalsCounter", "other": "TotalsCounter"})
        self.assertEqual(self.get(self.store.clients(frozenset(["tab"]))), set())
        self.assertEqual(self.get(self.store.clients(frozenset([GRAVE]))), {"c1", "c2"})

    def test_rename_comes_after_everything_else(self) -> None:
        """What the same checkpoint writes to a tab, makes of it or takes from it goes along."""
        self.make_tab()
        self.put(
            states={("tab", "c1"): b"new", ("tab", "c2"): None, ("fresh", "c"): b"f"},
            aggregates={"tab": None},
            types={"tab": "Gauge"},
            renames={"tab": "moved", "fresh": "gone"},
        )
        self.assertEqual(self.of("moved"), ("Gauge", [(RETIRED, b"0"), ("c1", b"new")], []))
        self.assertEqual(self.of("gone"), (None, [("c", b"f")], []))
        self.assertEqual((self.of("tab"), self.of("fresh")), (self.NOTHING, self.NOTHING))

    def test_parts_of_tabs_are_renamed_too(self) -> None:
        """A tab may have only a Type, only a State, only an Aggregate."""
        self.put(types={"t": "Gauge"}, states={("s", "c"): b"s"}, aggregates={"a": b"a"})
        self.put(renames={"t": "t2", "s": "s2", "a": "a2"})
        self.assertEqual(
            (self.of("t2"), self.of("s2"), self.of("a2")),
            (("Gauge", [], []), (None, [("c", b"s")], []), (None, [], [b"a"])),
        )
        self.assertEqual([self.of(tab) for tab in "tsa"], [self.NOTHING] * 3)

    def test_old_name_can_be_used_again(self) -> None:
        """The next who gives the old name gets a new tab; the old one stays as it was."""
        self.make_tab()
        self.put(renames={"tab": GRAVE})
        self.put(states={("tab", "c1"): b"again", ("tab", "c3"): b"3"}, types={"tab": "Gauge"})
        self.assertEqual(self.of("tab"), ("Gauge", [("c1", b"again"), ("c3", b"3")], []))
        self.assertEqual(self.of(GRAVE), self.FULL)

    def test_there_and_back_again(self) -> None:
        """A tab that gets its name back is what it was."""
        self.make_tab()
        self.put(renames={"tab": GRAVE})
        self.put(renames={GRAVE: "tab"})
        self.assertEqual((self.of("tab"), self.of(GRAVE)), (self.FULL, self.NOTHING))

    def test_clients_keep_their_number_of_states(self) -> None:
        """A client is listed until its last State goes, under whatever name that is."""
        self.make_tab()
        self.put(renames={"tab": GRAVE})
        self.assertEqual(self.get(self.store.clients(None)), {"c1", "c2"})
        self.put(states={("tab", "c1"): b"again"})
        self.put(states={(GRAVE, "c1"): None, (GRAVE, "c2"): None})
        self.assertEqual(self.get(self.store.clients(None)), {"c1"})
        self.put(states={("tab", "c1"): None})
        self.assertEqual(self.get(self.store.clients(None)), set())

    def test_renamed_tab_goes_when_it_is_empty(self) -> None:
        """A grave from which the last thing was taken leaves no name behind, and may be dug again."""
        self.make_tab()
        self.put(renames={"tab": GRAVE})
        self.put(
            states={(GRAVE, client): None for client in ("c1", "c2", RETIRED)},
            aggregates={GRAVE: None},
            types={GRAVE: None},
        )
        self.assertEqual((self.of(GRAVE), self.select_states(), self.get(self.store.tabs())), (self.NOTHING, [], {}))
        self.make_tab()
        self.put(renames={"tab": GRAVE})
        self.assertEqual(self.of(GRAVE), self.FULL)

    def test_vbuckets_have_names_of_their_own(self) -> None:
        """A rename concerns the tabs of its vbucket only."""
        self.make_tab("tab", V)
        self.make_tab("tab", W)
        self.make_tab("taken", W)
        self.put(V, renames={"tab": "taken"})
        self.assertEqual(dict(self.get(self.store.load(self.lease(V))).types), {"taken": "TotalsCounter"})
        self.assertEqual(set(self.get(self.store.load(self.lease(W))).types), {"tab", "taken"})
        self.assertEqual(self.get(self.store.states(W, [("tab", "c1")])), {("tab", "c1"): b"1"})

    def test_many_states(self) -> None:
        """A tab of many clients is renamed in one step like any other."""
        names = [("tab", f"c{number:04}") for number in range(60)]
        self.put(states=dict.fromkeys(names, b"1"))
        self.put(renames={"tab": GRAVE})
        self.assertEqual(names_of(self.select_states()), [(GRAVE, client) for _, client in names])

    # ------------------------------------------------------------------------------------------------------- in order

    def test_renames_follow_each_other(self) -> None:
        """A name that one rename frees may be given by the next."""
        self.make_tab("old")
        self.put(states={("young", "c"): b"y"}, types={"young": "Gauge"})
        self.put(renames={"old": GRAVE, "young": "old"})
        self.assertEqual((self.of(GRAVE), self.of("old")), (self.FULL, ("Gauge", [("c", b"y")], [])))
        self.assertEqual(self.of("young"), self.NOTHING)

    def test_renames_may_go_on(self) -> None:
        """What got a name may be given another one."""
        self.make_tab()
        self.put(renames={"tab": "first", "first": "second"})
        self.assertEqual((self.of("tab"), self.of("first"), self.of("second")), (self.NOTHING, self.NOTHING, self.FULL))

    def test_missing_tab_is_passed_over(self) -> None:
        """What there is nothing of is not renamed, and nothing is made of it; the rest is written."""
        self.make_tab()
        self.put(renames={"unknown": "nowhere", "tab": GRAVE}, ledger={"folded": 1})
        self.assertEqual((self.of("nowhere"), self.of(GRAVE)), (self.NOTHING, self.FULL))
        self.assertEqual(self.get(self.store.tabs()), {GRAVE: "TotalsCounter"})

    def test_tab_that_its_checkpoint_empties_is_passed_over(self) -> None:
        """A tab whose last State the same checkpoint takes is not there any more."""
        self.put(states={("tab", "c"): b"1"}, types={"tab": "Gauge"})
        self.put(states={("tab", "c"): None}, types={"tab": None}, renames={"tab": GRAVE})
        self.assertEqual((self.of("tab"), self.of(GRAVE)), (self.NOTHING, self.NOTHING))
        self.put(types={"other": "Gauge"}, renames={"other": "again"})
        self.put(types={"again": None})
        self.assertEqual(self.get(self.store.tabs()), {})

    # -------------------------------------------------------------------------------------------------------- refused

    def test_names_that_are_taken(self) -> None:
        """A Type, a State or an Aggregate takes a name: nothing of the checkpoint is written."""
        self.make_tab()
        self.put(types={"t": "Gauge"}, states={("s", "c"): b"s"}, aggregates={"a": b"a"})
        for taken in "tsa":
            self.refused(renames={"tab": taken}, states={("new", "c"): b"n"}, ledger={"folded": 1})
            self.refused(renames={"tab": GRAVE, "unknown": taken})

    def test_names_that_the_checkpoint_uses_itself(self) -> None:
        """Nobody writes to a tab and lets another one have its name in one step."""
        self.make_tab()
        self.refused(renames={"tab": "new"}, states={("new", "c"): b"n"})
        self.refused(renames={"tab": "new"}, states={("new", "c"): None})
        self.refused(renames={"tab": "new"}, aggregates={"new": b"n"})
        self.refused(renames={"tab": "new"}, types={"new": "Gauge"})
        self.refused(renames={"tab": "tab"})
        self.refused(renames={"tab": "new", "unknown": "new"})

    def test_taken_name_in_a_list(self) -> None:
        """The call fails; the be that loads again can go on."""
        self.make_tab()
        self.make_tab(GRAVE)
        lease, other = self.lease(), self.lease(W)
        bad = self.next_checkpoint(lease, renames={"tab": GRAVE})
        good = self.next_checkpoint(other, types={"w": "Gauge"})
        self.fails(self.store.checkpoint([bad, good]), LocalProtocolError)
        self.assertEqual(self.write(self.next_checkpoint(lease, renames={"tab": "free"})), [Written.DONE])
        self.assertEqual(self.write(self.next_checkpoint(other, types={"w": "Gauge"})), [Written.DONE])

    def test_refused_checkpoint_renames_nothing(self) -> None:
        """STALE and FENCED come before all rules of names, and change nothing."""
        self.make_tab()
        lease = self.lease()
        late = self.next_checkpoint(lease, renames={"tab": GRAVE})
        taken = evolve(late, renames={"tab": "taken"})
        self.assertEqual(self.write(self.next_checkpoint(lease, types={"taken": "Gauge"})), [Written.DONE])
        self.assertEqual(self.write(late, taken), [Written.STALE] * 2)
        fenced = self.next_checkpoint(lease, renames={"tab": "taken"})
        self.lease()
        self.assertEqual(self.write(fenced), [Written.FENCED])
        self.assertEqual((self.of("tab"), self.of(GRAVE)), (self.FULL, self.NOTHING))

    def test_two_checkpoints_of_a_vbucket_in_a_list(self) -> None:
        """The second stands on the first: it may give the name that the first took everything from."""
        self.make_tab("old")
        self.put(states={("young", "c"): b"y"})
        lease = self.lease()
        first = self.next_checkpoint(
            lease,
            states={("old", client): None for client in ("c1", "c2", RETIRED)},
            aggregates={"old": None},
            types={"old": None},
        )
        second = evolve(
            first,
            expected=first.position,
            position=evolve(first.position, commits=first.position.commits + 1),
            states={("young", "d"): b"d"},
            aggregates={},
            types={},
            renames={"young": "old"},
        )
        third = evolve(
            second,
            expected=second.position,
            position=evolve(second.position, commits=second.position.commits + 1),
            states={("young", "e"): b"e", ("old", "c"): None},
            renames={},
        )
        self.assertEqual(self.write(first, second, third), [Written.DONE] * 3)
        self.assertEqual((self.of("old"), self.of("young")), ((None, [("d", b"d")], []), (None, [("e", b"e")], [])))
        self.assertEqual(self.get(self.store.clients(None)), {"d", "e"})

    # ---------------------------------------------------------------------------------------------------------- trouble

    def test_renames_outlive_a_crash(self) -> None:
        """What was answered is there when the store starts again."""
        self.make_tab()
        self.put(renames={"tab": GRAVE})
        self.harness.crash()
        self.assertEqual((self.of("tab"), self.of(GRAVE)), (self.NOTHING, self.FULL))

    def test_rollback_takes_the_rename_back(self) -> None:
        """A be that does it again after a rollback finds what it found before."""
        self.make_tab()
        snapshot = self.harness.snapshot()
        self.put(renames={"tab": GRAVE})
        self.harness.rollback(snapshot)
        self.assertEqual((self.of("tab"), self.of(GRAVE)), (self.FULL, self.NOTHING))
        self.harness.advance(10)
        self.put(renames={"tab": GRAVE})
        self.assertEqual((self.of("tab"), self.of(GRAVE)), (self.NOTHING, self.FULL))

    def test_rename_with_a_lost_answer(self) -> None:
        """A be that does not know whether it was done loads again, and sees."""
        self.make_tab()
        lease = self.lease()
        checkpoint = self.next_checkpoint(lease, renames={"tab": GRAVE})
        self.harness.lose_next_answer()
        self.fails(self.store.checkpoint([checkpoint]))
        self.assertEqual(set(self.get(self.store.load(lease)).types), {GRAVE})
        self.assertEqual(self.write(checkpoint), [Written.STALE])

    def test_renaming_between_pages(self) -> None:
        """A query that comes to a tab after it got another name finds nothing under the old one, and never shows the
        States of a tab under the Type of another one.
        """
        first = {("a", f"c{number}"): b"1" for number in range(PAGE_ROWS)}
        self.put(states={**first, ("tab", "c"): b"old", ("z", "c"): b"z"}, types={"tab": "Gauge", "a": "Gauge"})
        rows: list[StateRow] = []
        gate: Deferred[None] = Deferred()

        def consume(page: list[StateRow]) -> Deferred[None] | None:
            rows.extend(page)
            return gate if len(rows) <= PAGE_ROWS else None

        query = self.store.each_state(selection(), consume)  # type: ignore[arg-type]
        self.waits(query)
        self.put(renames={"tab": GRAVE})
        self.put(states={("tab", "c"): b"new"}, types={"tab": "Buffer"})
        gate.callback(None)
        self.get(query)
        self.assertLessEqual({(row.type, row.state) for row in rows if row.tab == "tab"}, {("Buffer", b"new")})
        self.assertIn("z", {row.tab for row in rows})
