"""What maintenance changes: whatever it prunes, brings back or upgrades, the Aggregate is that of the States there are,
and what cannot be read is neither lost nor in the way.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.errors import CodecError
from taba.handlers.counter_group import CounterGroup
from taba.handlers.gauge import Gauge
from taba.handlers.registry import Registry
from taba.interfaces import RETIRED, IHandler, SetAside, StateRow
from taba.server.chores import DAMAGED, Change, dropping, restoring, retiring, upgrading
from taba.server.gc import Collecting, Pruning, emptied
from taba.server.keeping import Keeping
from taba.settings import TabSettings
from tests.server.making import NOW, sections

BROKEN = b"\xff\xff"
"""A State that nobody can read."""
TTL = 3600.0
GRAVE = "a deleted 5"


class Old(CounterGroup):
    """A CounterGroup in its second version: States of the first begin with a word."""

    def upgrade(self, state: bytes) -> bytes:
        """Without the word."""
        return super().upgrade(state.removeprefix(b"old"))


def state(client: str = "c", type: str = "CounterGroup", time: float = NOW) -> bytes:
    """The State of one event."""
    handler: IHandler = CounterGroup() if type == "CounterGroup" else Gauge()
    ((_, _, _, _, partial, *_),) = native.batch_partials(sections([(client, "a", type, time, "1")])[0].data)
    return handler.fold(b"", [partial])


def count(state: bytes | None) -> int:
    """How many events a CounterGroup's State counts."""
    return native.counter_group_summary(state or b"", NOW, ())[1].count


def two() -> bytes:
    """The State of two events."""
    return CounterGroup().reduce([state(), state()])


class RetiringTests(SynchronousTestCase):
    """States that are pruned."""

    def test_counts_stay(self) -> None:
        """What a CounterGroup's pruned States counted is in the retired State."""
        states = {("a", "c"): state(), ("a", "d"): two(), ("a", RETIRED): two()}
        change = retiring({"a": CounterGroup()}, states, [("a", "c"), ("a", "d")])
        self.assertEqual((change.states["a", "c"], change.states["a", "d"]), (None, None))
        self.assertEqual(count(change.states["a", RETIRED]), 5)
        self.assertTrue(change)

    def test_gauges_just_go(self) -> None:
        """A client's value that expired is of no use to anybody."""
        change = retiring({"g": Gauge()}, {("g", "c"): state(type="Gauge")}, [("g", "c")])
        self.assertEqual(change.states, {("g", "c"): None})

    def test_what_is_not_there(self) -> None:
        """A State that went meanwhile, and the retired one, are not pruned."""
        change = retiring({"a": CounterGroup()}, {("a", RETIRED): two()}, [("a", "c"), ("a", RETIRED)])
        self.assertFalse(change)

    def test_damage_stays(self) -> None:
        """A State that cannot be read stays and keeps no other; where the retired one cannot be read, all stay."""
        keys = [("a", "c"), ("a", "d")]
        states = {("a", "c"): state(), ("a", "d"): BROKEN}
        change = retiring({"a": CounterGroup()}, states, keys)
        self.assertEqual((set(change.states), count(change.states["a", RETIRED])), ({("a", "c"), ("a", RETIRED)}, 1))
        self.assertFalse(retiring({"a": CounterGroup()}, {**states, ("a", RETIRED): BROKEN}, keys))
        self.assertFalse(retiring({"a": CounterGroup()}, {("a", "d"): BROKEN}, keys))


class RestoringTests(SynchronousTestCase):
    """A deleted tab that is brought back."""

    def restored(
        self,
        rows: Sequence[tuple[str, bytes]],
        states: dict[tuple[str, str], bytes] | None = None,
        aggregate: bytes = b"",
        handler: IHandler | None = None,
        last: bool = True,
    ) -> Change:
        """The change that brings these States back."""
        handler = handler or CounterGroup()
        return restoring(GRAVE, "a", handler.name, handler, rows, states or {}, aggregate, last)

    def test_merged_with_what_came_since(self) -> None:
        """A client that is there again has both, and so has the Aggregate; the retired States count together."""
        states = {("a", "c"): state(), ("a", RETIRED): state()}
        rows = [("c", two()), ("d", state()), (RETIRED, two())]
        change = self.restored(rows, states, two())
        counts = {client: count(change.states["a", client]) for client in ("c", "d", RETIRED)}
        self.assertEqual((counts, count(change.aggregates["a"])), ({"c": 3, "d": 1, RETIRED: 3}, 7))
        self.assertEqual([change.states[GRAVE, client] for client, _ in rows], [None] * 3)
        self.assertEqual((change.types, change.aggregates[GRAVE]), ({"a": "CounterGroup", GRAVE: None}, None))

    def test_part_of_a_large_grave(self) -> None:
        """The grave stays while it has other States."""
        change = self.restored([("c", state())], last=False)
        self.assertEqual((change.types, count(change.aggregates["a"])), ({"a": "CounterGroup"}, 1))

    def test_gauges_have_no_aggregate(self) -> None:
        """A client has one value: the later one."""
        older, newer = state(type="Gauge"), state(type="Gauge", time=NOW + 1)
        change = self.restored([("c", older)], {("a", "c"): newer}, handler=Gauge())
        self.assertEqual((change.states["a", "c"], change.aggregates), (newer, {GRAVE: None}))

    def test_damaged_state(self) -> None:
        """It comes back as it is, unless the client has another by now: then it is set aside, and counts nowhere."""
        change = self.restored([("c", BROKEN), ("d", state())])
        self.assertEqual((change.states["a", "c"], count(change.aggregates["a"])), (BROKEN, 1))
        change = self.restored([("c", BROKEN), ("d", state())], {("a", "c"): state()})
        self.assertNotIn(("a", "c"), change.states)
        self.assertEqual(change.set_aside, [SetAside(DAMAGED, "a", "c", "CounterGroup", 0, BROKEN)])
        self.assertEqual(change.states[GRAVE, "c"], None)

    def test_damaged_aggregate(self) -> None:
        """It is to be made anew from the States."""
        change = self.restored([("c", state())], aggregate=BROKEN)
        self.assertNotIn("a", change.aggregates)
        self.assertEqual(change.types, {"a": "CounterGroup", "a rebuild": "CounterGroup", GRAVE: None})

    def test_removed_for_good(self) -> None:
        """A grave whose time is over goes, some States at a time, and its name with the last."""
        change = dropping(GRAVE, ["c", "d"], last=False)
        self.assertEqual(change.states, {(GRAVE, "c"): None, (GRAVE, "d"): None})
        self.assertEqual((change.aggregates, change.types), ({GRAVE: None}, {}))
        self.assertEqual(dropping(GRAVE, [], last=True).types, {GRAVE: None})


class UpgradingTests(SynchronousTestCase):
    """States that an older version wrote."""

    def test_only_what_is_older(self) -> None:
        """Older States and Aggregates are written anew; the others, and what cannot be read, stay as they are."""
        states = {("a", "c"): b"old" + state(), ("a", "d"): state(), ("a", "e"): BROKEN}
        change = upgrading(Old(), states, {"a": b"old" + two(), "b": two(), "c": BROKEN})
        self.assertEqual((change.states, change.aggregates), ({("a", "c"): state()}, {"a": two()}))
        self.assertFalse(upgrading(Old(), {("a", "d"): state()}, {"b": two()}))


class Failing(Gauge):
    """A Gauge whose author made a mistake."""

    def expired(self, state: bytes, time: float) -> bool:
        """Raises."""
        raise CodecError("not like this")


class PruningTests(SynchronousTestCase):
    """What the GC takes for something that nobody sees any more."""

    def setUp(self) -> None:
        self.registry = Registry([CounterGroup(), Gauge()])
        self.pruning = Pruning(
            self.registry, Keeping([TabSettings("kept", "keep"), TabSettings("merged", "merge")]), TTL
        )

    def prunes(self, tab: str, state: bytes, now: float, handler: IHandler | None = None, client: str = "c") -> bool:
        """Whether a State is pruned."""
        return self.pruning.prunes(handler or CounterGroup(), tab, client, state, now)

    def test_silent_for_too_long(self) -> None:
        """CLIENT_TTL after its newest event, where TABS does not say `keep`; at once where it says `merge`."""
        self.assertFalse(self.prunes("a", state(), NOW + TTL))
        self.assertTrue(self.prunes("a", state(), NOW + TTL + 1))
        self.assertFalse(self.prunes("kept", state(), NOW + TTL + 1))
        self.assertTrue(self.prunes("merged", state(), NOW))
        self.assertFalse(self.prunes("merged", state(), NOW, client=RETIRED))

    def test_damage_is_kept(self) -> None:
        """What cannot be read is not pruned, and taken for something that may be seen."""
        for handler in (CounterGroup(), Failing()):
            self.assertFalse(self.prunes("a", BROKEN, NOW + 9 * TTL, handler))
            self.assertFalse(self.pruning.unseen(handler, BROKEN, NOW + 9 * TTL))

    def test_unknown_type(self) -> None:
        """Of a Type that nobody knows here nothing is pruned, and its tab is not taken for an empty one."""
        collecting = Collecting(self.pruning, NOW + 9 * TTL)
        collecting.take(StateRow("x", "c", "Unknown", b"?"))
        collecting.take(StateRow("a", "c", "CounterGroup", state()))
        self.assertEqual((collecting.taken(), collecting.taken(), collecting.bare()), ([("a", "c")], [], []))

    def test_event_between_reading_and_writing(self) -> None:
        """A State that was pruned when it was read is looked at again before it goes."""
        collecting = Collecting(self.pruning, NOW + TTL + 1)
        collecting.take(StateRow("a", "c", "CounterGroup", state()))
        keys = collecting.taken()
        self.assertEqual(collecting.retired(keys), [("a", RETIRED)])
        self.assertTrue(collecting.change(keys, {("a", "c"): state()}))
        self.assertFalse(collecting.change(keys, {("a", "c"): state(time=NOW + TTL)}))
        self.assertFalse(collecting.change(keys, {}))

    def test_tab_of_which_nothing_is_left(self) -> None:
        """The Aggregate goes with the retired State, unless anything may be seen, is of a client or of a Type that
        nobody knows.
        """
        row = StateRow("a", RETIRED, "CounterGroup", state())
        for rows in (
            [row],
            [StateRow("a", "c", "CounterGroup", state())],
            [StateRow("a", RETIRED, "Unknown", b"?")],
            [StateRow("a", RETIRED, "CounterGroup", BROKEN)],
        ):
            self.assertIsNone(emptied(self.pruning, "a", rows, NOW + 9 * TTL))
        self.assertEqual(emptied(self.pruning, "a", [], NOW), Change(aggregates={"a": None}))
