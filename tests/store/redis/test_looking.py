"""What was seen of the shards, and how old that is."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.store.redis.looking import OLD_SECONDS, Looks


class SlowFounding:
    """Shards that are seen when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[Any]]] = []

    def see(self, name: str) -> Deferred[Any]:
        """Begin a look."""
        self.asked.append((name, Deferred()))
        return self.asked[-1][1]


class LookTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 100.0
        founding: Any = SlowFounding()
        self.founding = founding
        self.told = 0
        self.looks = Looks(lambda: self.now, founding, self.prepare, self.seen_anew)

    async def prepare(self, name: str) -> None:
        """Nothing has to be done."""

    def seen_anew(self) -> None:
        self.told += 1

    def answer(self, number: int, what: Any = "seen") -> None:
        self.founding.asked[number][1].callback(what)

    def test_age(self) -> None:
        """What was seen is as old as the beginning of the look."""
        looking = self.looks.look("one")
        self.now += 2.0
        self.answer(0)
        self.assertIsNone(self.successResultOf(looking))
        self.assertEqual((self.looks.seen, self.told), ({"one": "seen"}, 1))
        self.now = 100.0 + OLD_SECONDS
        self.assertTrue(self.looks.fresh(["one"]))
        self.now += 0.1
        self.assertFalse(self.looks.fresh(["one"]))
        self.assertFalse(self.looks.fresh(["two"]))

    def test_who_asks_later_sees_what_is_later(self) -> None:
        """A look that has begun is no answer to who asks now; one more is made for all who asked meanwhile."""
        first = self.looks.look("one")
        later = [self.looks.look("one") for _ in range(3)]
        self.assertEqual(len(self.founding.asked), 1)
        self.answer(0)
        self.assertIsNone(self.successResultOf(first))
        self.assertEqual(len(self.founding.asked), 2)
        for each in later:
            self.assertNoResult(each)
        self.answer(1, "newer")
        self.assertEqual([self.successResultOf(each) for each in later], [None] * 3)
        self.assertEqual(self.looks.seen, {"one": "newer"})

    def test_each_on_its_own(self) -> None:
        """A shard that fails keeps what was seen of it, and of the others."""
        self.looks.put({"one": "old", "two": "old"}, 99.0)  # type: ignore[dict-item]
        failing, looking = self.looks.look("one"), self.looks.look("two")
        self.answer(1)
        self.founding.asked[0][1].errback(StoreUnavailable("it is down"))
        self.failureResultOf(failing, StoreUnavailable)
        self.assertIsNone(self.successResultOf(looking))
        self.assertEqual(self.looks.seen, {"one": "old", "two": "seen"})

    def test_cancelled(self) -> None:
        """A stop ends what is under way, and who waits no longer hinders nobody."""
        first, later = self.looks.look("one"), self.looks.look("one")
        later.cancel()
        later.addErrback(lambda failure: None)
        self.looks.cancel()
        self.assertIsNotNone(self.failureResultOf(first))
