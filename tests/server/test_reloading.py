"""What a server does with settings that were read again while it runs."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.server.making import NOW, memory_store
from tests.server.test_metrics import machine, served

VBUCKETS = 4


class ReloadingTests(SynchronousTestCase):
    """A server with a be, without ports."""

    def setUp(self) -> None:
        clock = Clock()
        store = memory_store(clock, VBUCKETS, wall=lambda: NOW + clock.seconds())
        self.server = served(store, machine(clock))
        self.clock = clock
        self.server.backend.startService()
        self.addCleanup(self.stop)
        self.clock.advance(1.0)

    def stop(self) -> None:
        """The be stops in good order."""
        stopped = self.server.backend.stopService()
        self.clock.advance(0.0)
        self.successResultOf(stopped)

    def held(self) -> set[int]:
        """What tells one loading of a vbucket from the next."""
        return {each.lease.epoch for each in self.server.backend.folding.values()}

    def test_rules_let_everything_be_loaded_anew(self) -> None:
        """By another blacklist what is in memory is decided anew."""
        before = self.held()
        self.server.take_settings(evolve(self.server.settings, name_blacklist=("noise",)))
        self.clock.advance(1.0)
        self.assertEqual((len(self.server.backend.folding), self.held() & before), (VBUCKETS, set()))

    def test_other_settings_leave_it(self) -> None:
        """Limits and weights change nothing of what is in memory."""
        before = dict(self.server.backend.folding)
        self.server.take_settings(evolve(self.server.settings, weight=2.0, queue_capacity=5_000_000))
        self.clock.advance(1.0)
        self.assertEqual(self.server.backend.folding, before)
        self.assertEqual((self.server.publishing.weight, self.server.frontend.throttle.hard), (2.0, 5_000_000))
