"""This release and the one before in one simulated cluster under random faults: every event is counted once."""

from __future__ import annotations

import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from taba import native
from tests.cluster.mixed_seeds import mixed_seeds_from_environment
from tests.cluster.release import ALIAS, Release, load, release_folder
from tests.processes.versions import NotToBeHad


def the_release() -> Release:
    """The previous release; skips the test without one."""
    try:
        return load(release_folder())
    except NotToBeHad as problem:
        raise SkipTest(f"there is no previous release: {problem}")


class MixedSeedTests(SynchronousTestCase):
    """Random runs in which agents and servers of two releases talk to each other, and are upgraded one by one."""

    def test_every_event_once(self) -> None:
        """Whatever is upgraded when, and whatever fails meanwhile: each acknowledged event is in the result once."""
        the_release()
        report = mixed_seeds_from_environment()
        print("\n" + report.text())
        self.assertEqual([each.seed for each in report.failures], [])
        if len(report.outcomes) >= 100:
            self.assertEqual(report.never_met(), [], "a fault was never met: the runs are too tame")


class ReleaseTests(SynchronousTestCase):
    """Two releases in one process."""

    def test_nothing_is_shared(self) -> None:
        """A class of one release is none of the other's, and each has its own native module."""
        release = the_release()
        for name in ("server_tap", "agent_tap", "store.redis.store", "agent.service"):
            release.module(name)
        leaks = [
            f"{module}.{name} is of {value.__module__}"
            for module, loaded in sorted(sys.modules.items())
            if module.startswith(f"{ALIAS}.") and not module.startswith((f"{ALIAS}._native", f"{ALIAS}.native"))
            for name, value in vars(loaded).items()
            if str(getattr(value, "__module__", "")).split(".")[0] == "taba"
        ]
        self.assertEqual(leaks, [])
        own = release.module("native")
        self.assertIsNot(own.core.lib, native.core.lib)
        self.assertEqual(own.crc32c(b"an event"), native.crc32c(b"an event"))
