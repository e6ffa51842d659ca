"""An inspection comes to its end, whatever the servers do."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.store.redis.inspection import _in_time


class TimeTests(SynchronousTestCase):
    """Work with a time limit."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.work: Deferred[None] = Deferred()
        self.waiting = Deferred.fromCoroutine(_in_time(self.clock, self._do(), 2.0))

    async def _do(self) -> None:
        await self.work

    def test_done(self) -> None:
        """Work that is done in time leaves no timer behind."""
        self.clock.advance(1.0)
        self.work.callback(None)
        self.assertTrue(self.successResultOf(self.waiting))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stuck(self) -> None:
        """Work that does not end is waited for no longer than told; when it ends, or fails, later, nobody minds."""
        self.clock.advance(1.9)
        self.assertNoResult(self.waiting)
        self.clock.advance(0.2)
        self.assertFalse(self.successResultOf(self.waiting))
        self.work.errback(StoreUnavailable("too late"))

    def test_fails(self) -> None:
        """What fails in time is told."""
        self.work.errback(StoreUnavailable("now"))
        self.failureResultOf(self.waiting, StoreUnavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])
