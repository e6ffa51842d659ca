"""Asking a shard: one command, many, and what is said when it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.store.redis.asking import ask, ask_all, unavailable
from taba.store.redis.link import RedisRefused
from taba.store.redis.side_by_side import together
from tests.store.redis.stage import Stage


class AskingTests(SynchronousTestCase):
    """Commands to a server."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(lambda: self.stage.close())

    def ask_all(self, *commands: tuple[Any, ...]) -> Any:
        shard = self.stage.shard
        return self.stage.get(ask_all(shard, shard.link("be"), commands))

    def test_replies(self) -> None:
        """Replies come in the order of the commands; nothing is asked for nothing."""
        self.assertEqual(self.ask_all(("SET", "k", 1), ("GET", "k"), ("ECHO", b"\xff")), [b"OK", b"1", b"\xff"])
        self.assertEqual(self.ask_all(), [])
        self.assertEqual(self.stage.get(ask(self.stage.shard, "query", "GET", "k")), b"1")

    def test_one_of_many_is_refused(self) -> None:
        """The first refusal is told; the other commands were done."""
        with self.assertRaisesRegex(StoreUnavailable, "wrong kind of value"):
            self.ask_all(("SET", "k", "text"), ("HGET", "k", "f"), ("SET", "l", 1), ("STRANGE",))
        self.assertEqual(self.ask_all(("GET", "l")), [b"1"])

    def test_refusals(self) -> None:
        """What can be mended is said with how; what tells of a change closes the links."""
        for text, words, closes in (
            ("OOM command not allowed", "maxmemory", False),
            ("NOREPLICAS Not enough good replicas to write.", "min-replicas-to-write", False),
            ("MISCONF Errors writing to the AOF file", "disk", False),
            ("ERR something else", "shard1: something else", False),
            ("READONLY You can't write against a read only replica.", "read only replica", True),
            ("UNBLOCKED force unblock", "force unblock", True),
            ("ERR Function not found", "Function not found", True),
        ):
            link = self.stage.shard.link("be")
            self.assertIn(words, str(unavailable(self.stage.shard, link, RedisRefused(text))))
            self.assertEqual(self.stage.shard.state()["open"], not closes, text)
            self.stage.world.result_of(self.stage.shard.when_open())


class TogetherTests(SynchronousTestCase):
    """What runs side by side."""

    def test_results(self) -> None:
        """Results come in order, of Deferreds and coroutines."""

        async def now() -> int:
            return 1

        later: Deferred[int] = Deferred()
        both = Stage.begin(together([later, now()]))
        self.assertNoResult(both)
        later.callback(2)
        self.assertEqual(self.successResultOf(both), [2, 1])

    def test_first_failure(self) -> None:
        """The first error is raised at once, itself; later ones are heard by nobody."""
        one: Deferred[Any] = Deferred()
        other: Deferred[Any] = Deferred()
        both = Stage.begin(together([one, other]))
        other.errback(ValueError("first"))
        self.failureResultOf(both, ValueError)
        one.errback(ValueError("second"))

    def test_cancelled(self) -> None:
        """To cancel it cancels all."""
        one: Deferred[Any] = Deferred()
        both = Stage.begin(together([one]))
        both.cancel()
        self.failureResultOf(both, CancelledError)
        self.assertTrue(one.called)

    def test_one_cannot_be_begun(self) -> None:
        """Those before it go on, and nobody hears of them."""
        begun: Deferred[Any] = Deferred()

        def each() -> Iterator[Deferred[Any]]:
            yield begun
            raise TypeError("no value")

        self.failureResultOf(Stage.begin(together(each())), TypeError)
        begun.errback(ValueError("later"))
