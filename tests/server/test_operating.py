"""Operations in the log: they find what came before them, and nothing that came after; notes and their names."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.interfaces import RETIRED
from taba.server import walking
from taba.server.chores import Change
from taba.server.folding import Folding
from taba.server.keeping import Keeping
from taba.server.notes import Kind, Note, Notes, graves, is_note, parse
from taba.server.operating import Carrying
from taba.server.operations import (
    AT_A_TIME,
    DELETE,
    TYPES,
    UNDELETE,
    UPGRADE,
    Operation,
    Operations,
    Request,
    carrier,
    vbucket_of,
)
from taba.settings import TabSettings
from taba.testing.stores import FaultyStore
from tests.server.making import NOW, InsideAgent, Lanes, Served, memory_store, new_ids, sections
from tests.server.recount import Asked, Event
from tests.server.test_crashes import KINDS

MILLISECONDS = int(NOW * 1e3)


def counter(client: str, tab: str, value: str = "1", time: float = NOW) -> Event:
    """A CounterGroup event."""
    return client, tab, "CounterGroup", time, value


class ServedCase(SynchronousTestCase):
    """One be, one vbucket, a virtual clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = memory_store(self.clock)
        self.store = FaultyStore(self.memory)
        self.wall = NOW
        self.served = Served(
            self.memory, self.memory, self.clock, vbuckets=1, wall=lambda: self.wall, client_ttl=60.0
        )
        self.served.backend._store = self.served.backend.holding._store = self.store
        self.served.maintenance._store = self.store
        self.lanes = Lanes()

    def start(self) -> None:
        """be begins."""
        self.served.backend.startService()
        self.served.maintenance.startService()
        self.pump()

    def pump(self, seconds: float = 3.0) -> None:
        """Let time pass."""
        for _ in range(int(seconds * 50)):
            self.clock.advance(0.02)

    def append(self, *events: Event | Asked) -> None:
        """One batch."""
        made = sections([each.event() if isinstance(each, Asked) else each for each in events], 1, KINDS)
        self.successResultOf(self.memory.append(self.lanes.appends(made)))

    def counts(self) -> dict[str, int]:
        """How many events the Aggregate of each tab and grave counts."""
        kept = self.memory._contents.vbuckets[0]
        return {
            tab: native.counter_group_summary(aggregate, NOW, ())[1].count for tab, aggregate in kept.aggregates.items()
        }

    def clients(self, tab: str) -> dict[str, int]:
        """How many events each State of a tab counts."""
        states = self.memory._contents.vbuckets[0].states.get(tab, {})
        return {
            client: native.counter_group_summary(state, NOW, ())[1].count for client, state in sorted(states.items())
        }


class OperationTests(ServedCase):
    """Operations, from the log to what queries see."""

    def test_events_of_the_batch_go_first(self) -> None:
        """A tab is deleted with the events that came in the batch of the operation, whatever stands first in it."""
        self.append(counter("c", "a"))
        self.append(Asked(DELETE, "a"), counter("c", "a"), counter("d", "a"), counter("c", "b"))
        self.start()
        self.assertEqual(self.counts(), {f"a deleted {MILLISECONDS}": 3, "b": 1})
        self.assertEqual(self.clients(f"a deleted {MILLISECONDS}"), {"c": 2, "d": 1})

    def test_events_after_it_are_new(self) -> None:
        """What follows a deletion in the log begins the tab anew, also where one be takes both at once."""
        self.append(counter("c", "a"))
        self.append(Asked(DELETE, "a"))
        self.append(counter("c", "a"), counter("e", "a"))
        self.append(Asked(DELETE, "a"))
        self.append(counter("c", "a", "7"))
        self.start()
        deleted = {f"a deleted {MILLISECONDS}": 1, f"a deleted {MILLISECONDS + 1}": 2}
        self.assertEqual(self.counts(), {**deleted, "a": 1})
        self.assertEqual(self.clients("a"), {"c": 1})

    def test_brought_back_once(self) -> None:
        """Every State of a grave is merged back once, and the Aggregate has it, though a walk ends before its end, and
        the next one begins anew; what came meanwhile counts with it.
        """
        self.patch(walking, "STEPS", 1)
        self.start()
        self.append(*(counter(f"c{n}", "a") for n in range(700)))
        self.append(Asked(DELETE, "a"))
        self.append(counter("c3", "a"), counter("new", "a"))
        self.pump()
        self.append(Asked(UNDELETE, "a"))
        self.pump()
        self.assertEqual(self.counts(), {"a": 702})
        self.assertEqual(sum(self.clients("a").values()), 702)
        self.assertEqual(len(self.clients("a")), 701)
        self.assertEqual(self.clients("a")["c3"], 2)

    def test_brought_back_before_its_rename(self) -> None:
        """A grave comes back whole though it was looked for when the store had it under its old name yet."""
        self.start()
        self.append(counter("c", "a"), counter("d", "a"), counter("c", "b"))
        self.append(Asked(DELETE, "a"))
        self.pump()
        self.store.hold("states")  # what the checkpoint with the rename folds into
        self.append(Asked(UNDELETE, "a"), counter("d", "b"))
        self.pump(1.0)
        self.assertEqual(self.counts(), {f"a deleted {MILLISECONDS}": 2, "b": 1})
        self.store.let_go("states")
        self.pump()
        self.assertEqual(self.counts(), {"a": 2, "b": 2})
        self.assertEqual(self.clients("a"), {"c": 1, "d": 1})
        self.assertEqual(sorted(self.memory._contents.vbuckets[0].states), ["a", "b"])

    def test_pruned_counts(self) -> None:
        """What the GC prunes of a counter still counts."""
        self.start()
        self.append(counter("c", "a"), counter("d", "a"), counter("e", "a", time=NOW + 50.0))
        self.wall = NOW + 100.0
        self.pump()
        self.served.maintenance.collect()
        self.pump()
        self.assertEqual(self.clients("a"), {RETIRED: 2, "e": 1})
        self.assertEqual(self.counts(), {"a": 3})

    def test_operation_between_reading_and_writing(self) -> None:
        """A tab is deleted while States are being merged back into it: all of them go with it, and come back with it.
        """
        self.start()
        self.append(counter("c", "a"), counter("d", "a"))
        self.append(Asked(DELETE, "a"))
        self.pump()
        self.store.hold("states")  # what is merged first is being read
        self.append(Asked(UNDELETE, "a"), counter("c", "b"))
        self.pump(1.0)
        self.assertIsNotNone(self.served.backend.folding[0].closed)
        self.append(Asked(DELETE, "a", NOW + 1.0))
        self.pump(1.0)
        self.store.let_go("states")
        self.pump(3.0)
        names = self.successResultOf(self.memory.tabs())
        found = {name: count for name, count in self.counts().items() if is_note(name)}
        self.assertEqual(sum(found.values()), 2, names)
        self.assertTrue(all(" deleted " in name for name in names if is_note(name)), names)
        self.append(counter("e", "a"))
        self.pump()
        self.assertEqual(self.successResultOf(self.memory.tabs())["a"], "CounterGroup")
        self.append(Asked(UNDELETE, "a"))
        self.pump()
        self.assertEqual(self.counts(), {"a": 3, "b": 1})

    def test_deleted_while_it_is_brought_back(self) -> None:
        """A tab that is deleted while it is half brought back is one deletion of two graves, and comes back whole."""
        self.start()
        self.append(*(counter(f"c{n}", "a") for n in range(1200)))
        self.append(Asked(DELETE, "a"))
        self.pump()
        self.served.maintenance._pauses.stop()  # it does no further step
        self.append(Asked(UNDELETE, "a"), Asked(DELETE, "a", NOW + 1.0))
        self.append(counter("c5", "a"))
        self.pump()
        first = MILLISECONDS + 1000
        tabs: dict[str, str] = self.successResultOf(self.memory.tabs())
        self.assertEqual(graves(tabs), {"a": [first]})
        self.assertEqual(self.clients(f"a deleted {first} 1")["c5"], 1)
        self.successResultOf(self.served.maintenance.stopService())
        self.served.maintenance.startService()
        self.append(Asked(UNDELETE, "a"))
        self.pump()
        self.assertEqual(self.counts(), {"a": 1201})

    def test_what_cannot_be_done(self) -> None:
        """Operations that mean nothing cost nothing, are counted, and said."""
        self.start()
        self.append(Asked(DELETE, "x"), Asked(UNDELETE, "x"), Asked(UPGRADE, "x"), counter("c", "a"))
        broken = ("server", "a", DELETE, NOW, '"no object"')
        self.append(broken, ("server", "a", DELETE, NOW, '{"time": "never"}'), ("server", "a", DELETE, NOW, "[]"))
        self.append(Asked(UNDELETE, "a", deleted=5))
        self.pump()
        ledger = {line: n for line, n in self.successResultOf(self.memory.ledger()).items() if n}
        self.assertEqual(ledger, {"folded": 1, "operations": 7})
        self.assertEqual(self.successResultOf(self.memory.tabs()), {"a": "CounterGroup"})


class NoteTests(SynchronousTestCase):
    """Names with a blank."""

    @given(
        st.sampled_from(["a", "a.b/c", "deleted"]),
        st.sampled_from(list(Kind)),
        st.integers(0, 10**15),
        st.integers(0, 9),
    )
    def test_names(self, tab: str, kind: Kind, milliseconds: int, part: int) -> None:
        """A note is known by its name."""
        buried = kind in (Kind.DELETED, Kind.RESTORED, Kind.DROPPED)
        note = Note(tab, kind, milliseconds if buried else 0, part if buried else 0)
        self.assertTrue(is_note(note.name))
        self.assertEqual(parse(note.name), note)
        notes = Notes.among([note.name, "b"])
        self.assertIn(note, notes)
        notes.remove(note.name)
        self.assertEqual((len(notes), list(notes), note in notes), (0, [], False))

    def test_others(self) -> None:
        """What nobody writes is no note."""
        for rest in ("", " b", " deleted x", " deleted 01", " deleted 1 0", " deleted 1 2 3", " upgrade 1", " deleted"):
            self.assertIsNone(parse("a" + rest), rest)
        self.assertEqual(len(Notes.among(["a", "a b"])), 0)

    def test_first_of_many(self) -> None:
        """Of many notes the first of a kind are given, in the order in which they came, until they are gone."""
        notes = Notes.among([f"t{n} upgrade" for n in range(5)] + ["g dropped 1"])
        self.assertEqual([note.tab for note in notes.work(Kind.UPGRADE, most=2)], ["t0", "t1"])
        notes.remove("t0 upgrade")
        self.assertEqual([note.tab for note in notes.work(Kind.UPGRADE, most=1)], ["t1"])
        self.assertEqual([note.tab for note in notes.work(Kind.DROPPED, Kind.UPGRADE, most=2)], ["g", "t1"])
        self.assertEqual(notes.work(Kind.RESTORED), [])

    def test_graves(self) -> None:
        """The deletions that can be undone, by tab."""
        names = ["a", "b deleted 5", "a deleted 7", "a deleted 7 1", "a deleted 3", "a restored 4", "a dropped 1"]
        names.append("a upgrade")
        self.assertEqual(graves(dict.fromkeys(names, "Gauge")), {"a": [3, 7], "b": [5]})


class CarryingTests(SynchronousTestCase):
    """What several operations of one batch come to."""

    def carried(self, names: list[str], *operations: tuple[str, int | None]) -> tuple[dict[str, str], dict[str, Any]]:
        """Renames and Types; operations on the tab `a` as (Type, time or deletion)."""
        types = dict.fromkeys(names, "Gauge")
        carrying = Carrying(types, Notes.among(types))
        carrying.carry_out([
            Operation(type, "a", float(number or 0), deleted=number if type == UNDELETE else None, order=(place,))
            for place, (type, number) in enumerate(operations)
        ])  # fmt: skip
        self.assertEqual(sorted(note.name for note in carrying.notes), sorted(filter(is_note, types)))
        return carrying.carried.renames, carrying.carried.types

    def test_deleted_and_brought_back(self) -> None:
        """Within one batch it is as if nothing had been asked."""
        self.assertEqual(self.carried(["a"], (DELETE, 1), (UNDELETE, None)), ({}, {}))
        self.assertEqual(
            self.carried(["a"], (DELETE, 1), (UNDELETE, None), (DELETE, 2)), ({"a": "a deleted 2000"}, {})
        )

    def test_brought_back_and_deleted(self) -> None:
        """What was brought back goes with what is deleted, and both come back together."""
        names = ["a deleted 1000"]
        renames, types = self.carried(names, (UNDELETE, None), (DELETE, 5))
        self.assertEqual(renames, {"a deleted 1000": "a deleted 5000 1", "a": "a deleted 5000"})
        self.assertEqual(types, {"a": "Gauge"})
        renames, types = self.carried(["a deleted 5000", "a deleted 5000 1"], (UNDELETE, None))
        self.assertEqual(renames, {
            "a deleted 5000": "a restored 5000", "a deleted 5000 1": "a restored 5000 1",
        })  # fmt: skip

    def test_older_one_after_deletion(self) -> None:
        """The tab's name goes to a grave, and the Type of what is brought back is known without being written."""
        renames, types = self.carried(["a", "a deleted 1000"], (DELETE, 5), (UNDELETE, 1000))
        self.assertEqual(renames, {"a": "a deleted 5000", "a deleted 1000": "a restored 1000"})
        self.assertEqual(types, {})
        renames, types = self.carried(["a", "a deleted 1000"], (DELETE, 5), (UNDELETE, 1000), (DELETE, 6))
        self.assertEqual(renames, {"a": "a deleted 5000", "a deleted 1000": "a deleted 6000 1"})
        self.assertEqual(types, {"a deleted 6000": "Gauge"})

    def test_notes_go_with_the_tab(self) -> None:
        """What was to be done to a tab that is deleted is not done any more."""
        renames, types = self.carried(["a", "a upgrade", "a rebuild"], (DELETE, 1))
        self.assertEqual((renames, types), ({"a": "a deleted 1000"}, {"a upgrade": None, "a rebuild": None}))

    def test_asked_for_twice(self) -> None:
        """What is to be done to a tab is noted once; of a tab that there is not it is not noted."""
        names, noted = ["a", "a upgrade"], (UPGRADE, None)
        self.assertEqual(self.carried(names, noted, noted), ({}, {}))
        self.assertEqual(self.carried(["a"], noted, noted), ({}, {"a upgrade": "Gauge"}))
        self.assertEqual(self.carried(["b"], noted, (DELETE, 1)), ({}, {}))

    def test_grave_of_another_type(self) -> None:
        """A tab that has another Type by now keeps it, and the grave stays."""
        types = {"a": "Gauge", "a deleted 1000": "Buffer"}
        carrying = Carrying(types, Notes.among(types))
        carrying.carry_out([Operation(UNDELETE, "a", 5.0)])
        [(_, why)] = carrying.passed_over
        self.assertIn("Buffer", why)
        self.assertEqual((carrying.carried.renames, set(types)), ({}, {"a", "a deleted 1000"}))

    def test_times_that_are_taken(self) -> None:
        """Two deletions of one moment have names of their own."""
        for name in ("a deleted 1000", "a restored 1000", "a dropped 1000", "a deleted 1000 1"):
            renames, _ = self.carried(["a", name], (DELETE, 1))
            self.assertEqual(renames["a"], "a deleted 1001", name)


class SendingTests(SynchronousTestCase):
    """Operations on their way to the agent inside."""

    def test_bodies(self) -> None:
        """Many go in several bodies, each a body of protocol 1 that be understands."""
        memory = memory_store(Clock(), 4)
        agent = InsideAgent(memory, 4)
        operations = Operations(agent.operate, "taba_server.h", lambda: NOW, new_ids())
        self.successResultOf(operations.send(DELETE, "a", {}, "me"))
        [body] = agent.bodies
        self.assertEqual(body.decode().splitlines()[:5], ["1", "", "taba_server.h", "", "a"])
        self.assertIn('\\"by\\": \\"me\\"', body.decode())
        requests = [Request(UPGRADE, f"t{n}") for n in range(2 * AT_A_TIME + 1)]
        self.successResultOf(operations.send_all(requests, "me"))
        self.assertEqual(len(agent.bodies), 4)
        self.assertEqual(sum(depth.entries for depth in self.successResultOf(memory.depth())) >= 4, True)

    def test_carriers(self) -> None:
        """For every vbucket there is a name that lies in it."""
        self.assertEqual([vbucket_of(carrier(vbucket, 128), 128) for vbucket in range(128)], list(range(128)))

    def test_reserved(self) -> None:
        """No Handler takes the Types of operations."""
        self.assertEqual(TYPES & set(Served(None, memory_store(Clock()), Clock()).handlers.handlers), set())


class KeepingTests(SynchronousTestCase):
    """TABS."""

    def test_first_rule_counts(self) -> None:
        """The first pattern that matches at the start of the name."""
        keeping = Keeping([TabSettings("a.*b", "keep"), TabSettings("a", "merge")])
        self.assertEqual([keeping.of(tab) for tab in ("axb", "ax", "xa", "axb")], ["keep", "merge", "", "keep"])
        self.assertEqual([keeping.merges(tab) for tab in ("axb", "ax")], [False, True])
        self.assertFalse(Keeping().merges("a"))


class ChoreTests(SynchronousTestCase):
    """A checkpoint that takes nothing from the log."""

    def test_one_at_a_time(self) -> None:
        """No other checkpoint is begun while a chore is, and the other way round."""
        clock = Clock()
        memory = memory_store(clock)
        [lease] = self.successResultOf(memory.acquire([0], "be", 9.0)).values()
        folding = Folding.loaded(lease, self.successResultOf(memory.load(lease)), Served(
            memory, memory, clock, vbuckets=1
        ).handlers, 60.0)  # fmt: skip
        begun = folding.begin_chore()
        assert begun is not None
        self.assertIsNone(folding.begin_chore())
        self.assertRaises(ValueError, folding.close)
        folding.end_chore(begun)
        folding.close()
        self.assertIsNone(folding.begin_chore())
        folding.end_chore(begun)  # of an older one: nothing happens
        self.assertRaises(ValueError, folding.close)

    def test_raises_the_commits(self) -> None:
        """It counts as a commit, so that whoever read before it writes no checkpoint after it."""
        clock = Clock()
        memory = memory_store(clock)
        [lease] = self.successResultOf(memory.acquire([0], "be", 9.0)).values()
        served = Served(memory, memory, clock, vbuckets=1)
        folding = Folding.loaded(lease, self.successResultOf(memory.load(lease)), served.handlers, 60.0)
        folding.begin_chore()
        checkpoint = folding.chore(Change(types={"a upgrade": "Gauge"}))
        assert checkpoint is not None
        self.assertEqual((checkpoint.position.folded, checkpoint.position.commits), (0, 1))
        self.assertEqual(folding.types, {"a upgrade": "Gauge"})
