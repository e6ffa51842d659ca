"""Server processes of one name: one keeps it, each other takes one of its own, and who is started again has its own."""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.server.naming import LIFE, Naming, life_of
from taba.store.published import Published

TTL = 1.5
EVERY = 0.5


@define(eq=False)
class Process:
    """One process: it looks, then publishes itself, again and again. With `old` it is of a release without lives."""

    naming: Naming
    due: float
    every: float = EVERY
    old: bool = False

    def turn(self, store: Published, now: float) -> None:
        """What it does when its time has come."""
        if not self.old:
            self.naming.look(store.living(now))
        facts: dict[str, Any] = {} if self.old else {LIFE: self.naming.life}
        store.publish(self.naming.name, facts, 3 * self.every, now)
        self.naming.written = True
        self.due = now + (self.every / 2 if self.naming.contended else self.every)


@define
class Table:
    """Processes that would all be `s`, on one store."""

    store: Published = field(factory=Published)
    now: float = 0.0
    processes: list[Process] = field(factory=list)
    begun: int = 0

    def start(self, **options: Any) -> Process:
        """A process begins now."""
        self.begun += 1
        process = Process(Naming("s", life_of(1000.0 + self.now, f"{self.begun:04d}")), self.now, **options)
        self.processes.append(process)
        return process

    def run(self, seconds: float) -> None:
        """Let each have its turns."""
        until = self.now + seconds
        while self.processes and (process := min(self.processes, key=lambda each: each.due)).due <= until:
            self.now = max(self.now, process.due)
            process.turn(self.store, self.now)
        self.now = until

    def names(self) -> list[str]:
        """Who goes by which name, in the order of their starts."""
        return [each.naming.name for each in self.processes]


class NamingLaws(SynchronousTestCase):
    """Laws of any table."""

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=5), st.randoms(use_true_random=False))
    def test_everybody_has_a_name_of_its_own(self, apart: list[float], random: Random) -> None:
        """However they begin, and whatever their paces (in step with each other, too), in the end nobody shares a name,
        and nobody moves any more. The first one has its own all the time, as long as clocks agree.
        """
        table = Table()
        for pause in apart:
            table.start(every=random.choice((EVERY, EVERY, 5.0)))
            table.run(pause)
        table.run(40.0 * len(apart))
        names = table.names()
        self.assertEqual(names[0], "s")
        self.assertEqual(sorted(names), sorted(["s", *(f"s.{n}" for n in range(2, len(apart) + 1))]))
        table.run(60.0)
        self.assertEqual(table.names(), names)

    @settings(max_examples=20, deadline=None)
    @given(st.integers(1, 4), st.integers(0, 3), st.floats(0.0, 4.0), st.floats(0.0, 0.5))
    def test_who_is_started_again_has_its_name_again(
        self, count: int, which: int, away: float, phase: float
    ) -> None:
        """A process that was killed, whenever it comes again, has its name in the end, and nobody else has moved."""
        table = Table()
        for _ in range(count):
            table.start()
            table.run(phase)
        table.run(10.0 * count)
        names = table.names()
        killed = table.processes[which % count]
        table.processes.remove(killed)
        table.run(away)
        again = table.start()
        table.run(10.0 * count)
        self.assertEqual(again.naming.name, killed.naming.name)
        others = [each.naming.name for each in table.processes if each is not again]
        self.assertEqual(others, [name for name in names if name != killed.naming.name])


class NamingTests(SynchronousTestCase):
    """Two processes, or one after another."""

    def setUp(self) -> None:
        self.table = Table()

    def test_restart_within_the_time_of_the_former_life(self) -> None:
        """Who was killed and comes again at once goes by its own name from the first moment: the former life, still
        registered, moves nobody.
        """
        first = self.table.start()
        self.table.run(5.0)
        self.table.processes.remove(first)
        self.table.run(0.1)
        self.assertEqual(list(self.table.store.living(self.table.now)), ["s"])
        again = self.table.start()
        for _ in range(20):
            self.table.run(0.25)
            self.assertEqual((again.naming.name, again.naming.contended), ("s", False))

    def test_later_one_moves_within_two_seconds(self) -> None:
        """Of two that live, the later one takes another name; both are there then."""
        self.table.start()
        self.table.run(5.2)
        self.table.start()
        self.table.run(2.0)
        self.assertEqual(self.table.names(), ["s", "s.2"])
        self.table.run(1.0)
        self.assertEqual(list(self.table.store.living(self.table.now)), ["s", "s.2"])
        self.assertFalse(self.table.processes[0].naming.contended)

    def test_one_that_slept_keeps_its_name(self) -> None:
        """A process that hung while another began under its name has it when it goes on."""
        first = self.table.start()
        self.table.run(5.0)
        first.due += 10.0
        second = self.table.start()
        self.table.run(5.0)
        self.assertEqual(second.naming.name, "s")
        self.table.run(10.0)
        self.assertEqual(self.table.names(), ["s", "s.2"])

    def test_former_release_keeps_its_name(self) -> None:
        """A process of a release without lives never moves: the other one does, whichever was first."""
        first = self.table.start()
        self.table.run(5.3)
        old = self.table.start(old=True)
        self.table.run(5.0)
        self.assertEqual(self.table.names(), ["s.2", "s"])
        self.table.processes.remove(first)
        self.table.run(5.0)
        self.table.start()
        self.table.run(5.0)
        self.assertEqual(self.table.names(), ["s", "s.2"])
        self.table.processes.remove(old)
        self.table.run(0.2)
        self.assertEqual(self.table.start().naming.name, "s")

    def test_upgrade_keeps_the_name(self) -> None:
        """Who replaces a process of a release without lives goes by its name, however soon it comes."""
        old = self.table.start(old=True)
        self.table.run(5.0)
        self.table.processes.remove(old)
        self.table.start()
        self.table.run(10.0)
        self.assertEqual(self.table.names(), ["s"])

    def test_store_that_goes_back_once_moves_nobody(self) -> None:
        """A failover that brings a former life back for a moment changes no name."""
        process = self.table.start()
        self.table.run(3.0)
        former = {LIFE: life_of(900.0, "0000")}
        self.table.store.publish("s", former, TTL, self.table.now)
        self.table.run(10.0)
        self.assertEqual(process.naming.name, "s")

    def test_nonsense_is_a_life_like_any_other(self) -> None:
        """Facts that nobody of ours wrote do no harm; a clock before 1970 neither."""
        naming = Naming("s", life_of(5.0, "a"))
        naming.written = True
        self.assertEqual([naming.look({"s": {LIFE: 7}}) for _ in range(2)], [False, True])
        self.assertEqual(naming.name, "s.2")
        self.assertLess(life_of(-3.0, "z"), life_of(1.0, "a"))
