"""What a be makes of the entries of a log: what it folds, what it refuses and why, and what it tries again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.errors import CodecError
from taba.handlers.counter_group import CounterGroup
from taba.handlers.registry import Registry
from taba.interfaces import Checkpoint, Lease, Loaded, LogEntry, Position, SetAside
from taba.server.blacklist import Blacklist
from taba.server.chores import Change
from taba.server.folding import MAX_EVENTS, Folding
from taba.server.operations import DELETE, REFOLD, TYPES
from tests.server.making import NOW, registry, sections
from tests.twin.batches import Entry, encode_section

KINDS = {**registry().kinds(), **dict.fromkeys(TYPES, native.RAW)}
LEASE = Lease(0, "be", 1)

Event = tuple[str, str, str, float, str]
"""(client, tab, Type, time, payload JSON)."""


def counter(client: str, tab: str, value: str = "1", time: float = NOW) -> Event:
    """A CounterGroup event."""
    return client, tab, "CounterGroup", time, value


def refold(*ids: str) -> Event:
    """The wish that what was set aside be folded again."""
    return "server", REFOLD, REFOLD, NOW, json.dumps({"id": "0", "time": NOW, "ids": ids})


def delete(tab: str) -> Event:
    """The wish that a tab be deleted."""
    return "server", tab, DELETE, NOW, json.dumps({"id": "0", "time": NOW})


def partial(*events: Event) -> bytes:
    """The Partial of events of one tab and client."""
    ((_, _, _, _, found, *_),) = native.batch_partials(sections(events)[0].data)
    return found


def count(state: bytes | None) -> int:
    """How many events a CounterGroup's State counts."""
    return native.counter_group_summary(state or b"", NOW, ())[1].count


class Told:
    """Is told what Handlers could not fold."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, Exception]] = []

    def __call__(self, type: str, problem: Exception) -> None:
        """Keep it."""
        self.problems.append((type, problem))


class Picky(CounterGroup):
    """A CounterGroup that cannot take one Partial."""

    poison = b""
    problem: Exception = RuntimeError("not this one")

    def fold(self, state: bytes, partials: Sequence[bytes]) -> bytes:
        """As a CounterGroup, but for the poison."""
        if self.poison in partials:
            raise self.problem
        return super().fold(state, partials)


class FoldingCase(SynchronousTestCase):
    """One vbucket in the hands of its owner."""

    def make(
        self, types: Mapping[str, str] | None = None, known: Registry | None = None, blacklist: Blacklist | None = None
    ) -> Folding:
        """The vbucket as it is loaded when it has these tabs, and nothing was taken of its log."""
        loaded = Loaded(0, Position(0, 0), "line", types or {}, {})
        return Folding.loaded(LEASE, loaded, known or registry(), 60.0, blacklist=blacklist)

    def entry(self, folding: Folding, body: bytes, events: int = 1, **other: Any) -> LogEntry:
        """The entry that may follow."""
        return LogEntry(0, other.get("id", folding.folded + 1), NOW, events, "line", body)

    def take(self, folding: Folding, *events: Event) -> list[str]:
        """Take a batch of events; the reasons for which some were refused."""
        (section,) = sections(events, 1, KINDS)
        return [each.reason for each in folding.take(self.entry(folding, section.data, section.events))]

    def take_entries(self, folding: Folding, *entries: Entry) -> list[str]:
        """Take a batch as an agent that does wrong might make it."""
        return [each.reason for each in folding.take(self.entry(folding, encode_section(entries)))]

    def write(
        self,
        folding: Folding,
        states: Mapping[tuple[str, str], bytes] | None = None,
        aggregates: Mapping[str, bytes] | None = None,
    ) -> Checkpoint:
        """The checkpoint of what is closed, written."""
        folding.prepare(states or {}, aggregates or {}, Told())
        return folding.written()

    def checkpoint(self, folding: Folding) -> Checkpoint:
        """The checkpoint of all that was taken, over a store that has nothing else, written."""
        folding.close()
        return self.write(folding)


class OrderTests(FoldingCase):
    """Entries come one after the other, and checkpoints too."""

    def test_entries_have_the_next_number(self) -> None:
        """An entry that does not follow is refused, and nothing of it is taken."""
        folding = self.make()
        body = sections([counter("c", "a")])[0].data
        for number in (0, 2):
            self.assertRaises(ValueError, folding.take, self.entry(folding, body, id=number))
        self.assertEqual((folding.folded, folding.dirty, folding.held), (0, False, 0))
        self.assertEqual(self.take(folding, counter("c", "a")), [])
        self.assertEqual((folding.folded, folding.dirty), (1, True))

    def test_nothing_is_taken_before_what_was_set_aside(self) -> None:
        """Whoever asks that something be folded again finds it before what came later."""
        folding = self.make()
        self.take(folding, refold("1"))
        self.assertTrue(folding.blocked)
        self.assertRaises(ValueError, self.take, folding, counter("c", "a"))
        folding.close()
        self.assertEqual(folding.wanted(), ["1"])
        folding.refold([])
        self.assertEqual(self.take(folding, counter("c", "a")), [])

    def test_checkpoint_is_begun_first(self) -> None:
        """Without a checkpoint under way there is nothing to ask the store for, to prepare or to have written."""
        folding = self.make()
        for call in (folding.wanted, folding.needed, folding.written):
            self.assertRaises(ValueError, call)
        self.assertRaises(ValueError, folding.prepare, {}, {}, Told())
        folding.close()
        self.assertRaises(ValueError, folding.written)
        self.assertRaises(ValueError, folding.close)

    def test_memory_is_given_back(self) -> None:
        """What waits counts until it is in the store, also while its checkpoint is under way."""
        folding = self.make()
        self.take(folding, counter("c", "a"))
        waiting = folding.held
        self.assertGreater(waiting, 0)
        folding.close()
        self.assertEqual(folding.held, waiting)
        self.write(folding)
        self.assertEqual(folding.held, 0)

    def test_tab_that_is_being_brought_back_has_its_type(self) -> None:
        """Another be that loads the vbucket knows the tab's Type, although no checkpoint has written it yet."""
        folding = self.make({"a restored 5": "CounterGroup", "b restored 5": "Gauge", "b": "CounterGroup"})
        self.assertEqual((folding.types["a"], folding.types["b"]), ("CounterGroup", "CounterGroup"))
        self.assertEqual(self.take(folding, ("c", "a", "Gauge", NOW, "1"), counter("c", "a")), ["other type"])


class RefusingTests(FoldingCase):
    """What cannot be folded stops nothing: it is refused with its reason, and the rest counts."""

    def test_blacklisted(self) -> None:
        """Names and clients of the lists are counted as refused, and make no tab."""
        folding = self.make(blacklist=Blacklist.of(["debug_"], ["laptop"]))
        self.assertEqual(
            self.take(folding, counter("c", "debug_x"), counter("laptop-1", "a"), counter("c", "b")),
            ["blacklisted"] * 2,
        )
        done = self.checkpoint(folding)
        self.assertEqual(done.types, {"b": "CounterGroup"})
        self.assertEqual(done.ledger, {"folded": 1, "refused.blacklisted": 2})
        self.assertEqual(done.set_aside, [])

    def test_what_a_better_build_might_fold(self) -> None:
        """A body that cannot be read, and a Type that nobody knows, are set aside, each as it came."""
        folding = self.make()
        refused = folding.take(self.entry(folding, b"\xff", 3))
        self.assertEqual([(each.reason, each.events) for each in refused], [("undecodable", 3)])
        unknown = partial(counter("c", "a"))
        self.assertEqual(self.take_entries(folding, Entry("a", "c", "Unknown", 1, unknown)), ["unknown type"])
        done = self.checkpoint(folding)
        self.assertEqual(done.ledger, {"refused.undecodable": 3, "refused.unknown type": 1})
        self.assertEqual([each.partial for each in done.set_aside], [b"\xff", unknown])
        self.assertEqual((done.types, done.position.folded), ({}, 2))

    def test_damage_makes_no_tab(self) -> None:
        """A tab gets no Type from a Partial that is damaged or of another Type's kind; both are set aside."""
        folding = self.make()
        other = partial(("c", "a", "PercentileGroup", NOW, "1"))
        for damaged in (other, b"\xff", b"", partial(counter("c", "a"))[:-1]):
            self.assertEqual(
                self.take_entries(folding, Entry("a", "c", "CounterGroup", 1, damaged)), ["undecodable"], damaged
            )
        self.assertEqual(folding.types, {})
        self.assertEqual(self.take(folding, ("c", "a", "Gauge", NOW, "1")), [])
        done = self.checkpoint(folding)
        self.assertEqual(done.types, {"a": "Gauge"})
        self.assertEqual(
            [(each.tab, each.type, each.events) for each in done.set_aside], [("a", "CounterGroup", 1)] * 4
        )

    def test_counts_that_differ(self) -> None:
        """A Partial that has other events than its batch says is set aside, whether the tab is known or not; a count
        that no agent ever had is none.
        """
        for types in ({}, {"a": "CounterGroup"}):
            folding = self.make(types)
            sound = partial(counter("c", "a"))
            entry = Entry("a", "c", "CounterGroup", 2, sound)
            self.assertEqual(self.take_entries(folding, entry), ["undecodable"])
            entry = Entry("a", "c", "CounterGroup", MAX_EVENTS + 1, sound)
            self.assertEqual(self.take_entries(folding, entry), ["undecodable"])
            self.assertEqual(self.checkpoint(folding).ledger, {"refused.undecodable": 2})

    def test_handler_that_fails(self) -> None:
        """Of several Partials only the one that a Handler cannot take is set aside; the State and the Aggregate have
        the others.
        """
        for problem, reason in ((RuntimeError("broken"), "handler failed"), (CodecError("cut"), "undecodable")):
            handler = Picky()
            handler.poison, handler.problem = partial(counter("c", "a", "7")), problem
            folding = self.make(known=Registry([handler]))
            for value in ("1", "7", "2"):
                self.assertEqual(self.take(folding, counter("c", "a", value)), [])
            told = Told()
            folding.close()
            folding.prepare({}, {}, told)
            done = folding.written()
            self.assertEqual(told.problems, [("CounterGroup", problem)])
            self.assertEqual((count(done.states["a", "c"]), count(done.aggregates["a"])), (2, 2))
            self.assertEqual(done.ledger, {"folded": 2, f"refused.{reason}": 1})
            self.assertEqual([(each.reason, each.partial) for each in done.set_aside], [(reason, handler.poison)])

    def test_handler_that_takes_nothing(self) -> None:
        """A State of which nothing could be folded is not written."""
        handler = Picky()
        handler.poison = partial(counter("c", "a"))
        folding = self.make(known=Registry([handler]))
        self.take(folding, counter("c", "a"))
        done = self.checkpoint(folding)
        self.assertEqual((done.states, done.aggregates), ({}, {}))
        self.assertEqual(done.ledger, {"folded": 0, "refused.handler failed": 1})

    def test_damaged_aggregate(self) -> None:
        """An Aggregate that cannot be read stays as it is, and is counted; the States go on."""
        folding = self.make({"a": "CounterGroup"})
        self.take(folding, counter("c", "a"))
        folding.close()
        self.assertEqual(folding.needed(), ([("a", "c")], ["a"]))
        done = self.write(folding, aggregates={"a": b"\xff\xff"})
        self.assertEqual((count(done.states["a", "c"]), done.aggregates), (1, {}))
        self.assertEqual(done.ledger, {"folded": 1, "aggregates damaged": 1})


class RefoldingTests(FoldingCase):
    """What was set aside is folded again when an operator asks for it."""

    def aside(self, tab: str, client: str = "c", **fields: Any) -> SetAside:
        """One event that was set aside as of a Type that nobody knew."""
        given = {"type": "CounterGroup", "events": 1, "partial": partial(counter("c", tab or "x")), **fields}
        reason = given.pop("reason", "unknown type")
        return SetAside(reason, tab, client, id=f"{tab}-{client}", **given)

    def refolded(self, folding: Folding, aside: Sequence[SetAside], *with_it: Event) -> tuple[Checkpoint, list[str]]:
        """The checkpoint of a batch that asks for what was set aside, and what was refused of that."""
        for each in aside:
            folding.ledger[f"refused.{each.reason}"] += each.events
        self.take(folding, *with_it, refold(*(each.id for each in aside)))
        folding.close()
        refused = [each.reason for each in folding.refold(aside)]
        return self.write(folding), refused

    def test_counts_now(self) -> None:
        """The events are folded, and not refused any more."""
        done, refused = self.refolded(self.make(), [self.aside("a")])
        self.assertEqual((count(done.states["a", "c"]), count(done.aggregates["a"]), refused), (1, 1, []))
        self.assertEqual(done.refolded, ["a-c"])
        self.assertEqual(done.ledger, {"folded": 1, "refused.unknown type": 0, "operations": 1})

    def test_asked_for_twice(self) -> None:
        """What two operators ask for at the same moment is asked of the store once, and counts once."""
        folding, aside = self.make(), self.aside("a")
        folding.ledger["refused.unknown type"] = 1
        self.take(folding, refold("a-c"), refold("a-c"))
        folding.close()
        self.assertEqual(list(folding.wanted()), ["a-c"])
        folding.refold([aside, aside])
        done = self.write(folding)
        self.assertEqual((count(done.states["a", "c"]), done.refolded), (1, ["a-c"]))
        self.assertEqual((done.ledger["folded"], done.ledger["refused.unknown type"]), (1, 0))

    def test_what_cannot_be_folded_still(self) -> None:
        """It stays as it was: blacklisted, damaged, of another Type, or with other events than were counted."""
        folding = self.make({"b": "Gauge"}, blacklist=Blacklist.of([], ["laptop"]))
        left = [
            self.aside("a", "laptop"),
            self.aside("b"),
            self.aside("c", partial=b"\xff"),
            self.aside("d", events=2),
            self.aside("e", partial=partial(counter("c", "e", "1", NOW + 3600.0))),
        ]
        done, refused = self.refolded(folding, left)
        self.assertEqual((done.states, done.refolded, done.types, refused), ({}, [], {}, []))
        self.assertEqual(done.ledger["refused.unknown type"], 6)

    def test_tab_that_the_same_batch_moves(self) -> None:
        """What would go into a tab after its deletion is not folded into the grave; nor is what may be of any tab."""
        whole = self.aside("", "", type="", reason="undecodable", partial=sections([counter("c", "a")])[0].data)
        folding = self.make({"a": "CounterGroup"})
        done, _ = self.refolded(folding, [self.aside("a"), self.aside("b"), whole], delete("a"))
        self.assertEqual(list(done.renames), ["a"])
        self.assertEqual((list(done.states), done.refolded), ([("b", "c")], ["b-c"]))

    def test_batch_that_nobody_could_read(self) -> None:
        """A whole batch is taken as it would have been, with what is refused of it now; damage stays set aside."""
        body = sections([counter("c", "a"), ("c", "b", "Gauge", NOW, "1")])[0].data
        whole = self.aside("", "", type="", events=2, reason="undecodable", partial=body)
        folding = self.make({"b": "CounterGroup"})
        done, refused = self.refolded(folding, [whole])
        self.assertEqual((list(done.states), refused, done.refolded), ([("a", "c")], ["other type"], ["-"]))
        self.assertEqual(done.ledger, {"folded": 1, "refused.other type": 1, "refused.undecodable": 0, "operations": 1})
        damaged = self.aside("", "", type="", reason="undecodable", partial=b"\xff")
        done, refused = self.refolded(self.make(), [damaged])
        self.assertEqual((done.states, refused, done.refolded), ({}, [], []))
        self.assertEqual(done.ledger["refused.undecodable"], 1)


class ChoreTests(FoldingCase):
    """Checkpoints that take nothing from the log."""

    def test_operations_that_came_meanwhile(self) -> None:
        """What was decided before an operation came is not written after it."""
        folding = self.make({"a": "CounterGroup"})
        self.assertIsNotNone(folding.begin_chore())
        self.take(folding, delete("a"))
        self.assertIsNone(folding.chore(Change(types={"a": None})))

    def test_operations_that_wait(self) -> None:
        """They go first."""
        folding = self.make({"a": "CounterGroup"})
        self.take(folding, delete("a"))
        self.assertIsNone(folding.begin_chore())

    def test_names_follow(self) -> None:
        """What a chore writes is known from then on: tabs that go, notes that come and go, names that change."""
        folding = self.make({"a": "CounterGroup", "b deleted 5": "Gauge", "c upgrade": "Gauge", "c": "Gauge"})
        begun = folding.begin_chore()
        types = {"a": None, "gone": None, "c upgrade": None, "c": "Gauge", "c rebuild": "Gauge"}
        checkpoint = folding.chore(Change(types=types, renames={"b deleted 5": "b dropped 5"}))
        assert begun is not None
        assert checkpoint is not None
        self.assertEqual((checkpoint.position, checkpoint.expected), (Position(0, 1), Position(0, 0)))
        self.assertEqual(set(folding.types), {"b dropped 5", "c rebuild", "c"})
        self.assertEqual(sorted(note.name for note in folding.notes), ["b dropped 5", "c rebuild"])
        self.assertEqual(folding.written(), checkpoint)
        folding.end_chore(begun)
        self.assertIsNotNone(folding.begin_chore())
