"""Which vbuckets a mover has left sealed: those about which nothing changes for a while."""

from __future__ import annotations

from random import Random
from typing import Any, cast

from attrs import define
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.store.redis.freeing import Freeing
from taba.store.redis.keys import Keys
from taba.store.redis.placing import ACTIVE, GONE, IMPORTING, MOVING, SEALED, UNDOING, Marker, MoveRow, ShardFacts
from taba.store.redis.stuck_moves import StuckMoves

GRACE = 10.0
SEALED_ONE = Marker(SEALED, 1)


def facts(
    here: Marker = SEALED_ONE, there: Marker | None = None, stage: str = MOVING, target: str = "b"
) -> dict[str, ShardFacts]:
    """What two shards say of vbucket 3, which is to leave shard a."""
    return {
        "a": ShardFacts({3: here}, {3: MoveRow(stage, target)}),
        "b": ShardFacts({} if there is None else {3: there}, {}),
    }


class StuckMovesTests(SynchronousTestCase):
    """One server, which looks every second."""

    def setUp(self) -> None:
        self.stuck = StuckMoves(GRACE)

    def look(self, seconds: range, seen: dict[str, ShardFacts]) -> list[int]:
        """The times at which vbucket 3 was said to be stuck, while the shards say this."""
        found = []
        for now in seconds:
            for each in self.stuck.look(seen, float(now)):
                self.assertEqual(each, (3, "a", "b"))
                found.append(now)
        return found

    def test_sealed(self) -> None:
        """One that stays sealed is stuck after the grace time, and again after as long."""
        self.assertEqual(self.look(range(25), facts()), [10, 20])
        self.assertEqual(self.look(range(25, 40), facts(there=Marker(IMPORTING, 2))), [35])

    def test_undoing(self) -> None:
        """So is one whose move was being undone."""
        self.assertEqual(self.look(range(12), facts(stage=UNDOING)), [10])

    def test_mover_lives(self) -> None:
        """While anything changes a mover is at work."""
        for epoch in range(2, 12):
            start = epoch * 9
            self.assertEqual(self.look(range(start, start + 9), facts(there=Marker(IMPORTING, epoch))), [])

    def test_takes_something(self) -> None:
        """A vbucket whose source or target is active takes something, one that has gone is the target's."""
        for seen in (
            facts(Marker(ACTIVE, 1)),
            facts(there=Marker(ACTIVE, 2)),
            facts(stage=GONE),
            facts(target="unknown"),
        ):
            self.assertEqual(self.look(range(100, 130), seen), [])

    def test_activation_that_is_over(self) -> None:
        """A target that is active under no higher epoch has been undone: the source alone counts."""
        self.assertEqual(self.look(range(12), facts(there=Marker(ACTIVE, 1))), [10])

    def test_begins_anew(self) -> None:
        """What was sealed, went on and is sealed again has its grace time again."""
        self.assertEqual(self.look(range(8), facts()), [])
        self.assertEqual(self.look(range(8, 9), facts(Marker(ACTIVE, 1))), [])
        self.assertEqual(self.look(range(9, 20), facts()), [19])


@define
class Away:
    """A shard without a master; `asked` counts who wanted a link to it."""

    name: str
    asked: int = 0

    def link(self, role: str) -> Any:
        """None is open."""
        self.asked += 1
        raise StoreUnavailable("no master is known")


@define
class Machine:
    """What is needed of a process."""

    reactor: Clock
    random: Random

    def new_id(self) -> str:
        """Always the same."""
        return "0" * 32


class FreeingTests(SynchronousTestCase):
    """What a server does about a vbucket that stays sealed."""

    def test_shard_away(self) -> None:
        """While a shard is away nothing can be done; it is tried again, whenever the time has come."""
        clock, away = Clock(), Away("a")
        shards, nothing = cast(Any, {"a": away}), cast(Any, None)
        freeing = Freeing(cast(Any, Machine(clock, Random(1))), shards, nothing, Keys("taba"), 0, 1.0)
        tried = []
        for _ in range(6):
            for _ in range(20):
                clock.advance(1.0)
                freeing.look(facts())
            tried.append(away.asked)
        self.assertEqual(tried, sorted(set(tried)))
        self.assertEqual(freeing.freed, {"arrived": 0, "returned": 0})
