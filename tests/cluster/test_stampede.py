"""A fleet that was away comes back to a hundred agents: they do not come all at once. `stampede` plays a thousand."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.stampede import Scene, play


class StampedeTests(SynchronousTestCase):
    """What reaches the servers after an outage, against what does in quiet times."""

    def test_after_an_outage(self) -> None:
        """After a long outage the worst second brings little more than twice the usual, and soon all is sent."""
        found = play(Scene(agents=100, steady=24.0, outage=30.0, after=24.0))
        self.assertAlmostEqual(found.steady, 100.0, -1)
        self.assertLess(found.peak, 2.2 * found.steady)
        self.assertLess(found.peak_server, 3.0 * found.steady)
        self.assertLess(found.back, 10.0)
        self.assertLess(found.all_back, 12.0)
        self.assertLess(found.longest, 0.1)

    def test_after_a_restart(self) -> None:
        """Also after one that takes a second, when agents have hardly begun to wait."""
        found = play(Scene(agents=100, steady=16.0, outage=1.0, after=16.0, seed=2))
        self.assertLess(found.peak, 3.0 * found.steady)
        self.assertLess(found.all_back, 5.0)

    def test_after_a_silence(self) -> None:
        """And after one in which servers took requests and did not answer."""
        found = play(Scene(agents=100, steady=16.0, outage=30.0, after=24.0, silent=True, seed=3))
        self.assertLess(found.peak, 2.5 * found.steady)
        self.assertLess(found.all_back, 22.0)

    def test_looks_do_not_come_together(self) -> None:
        """Agents that were started and answered together make their second looks apart from one another."""
        found = play(Scene(agents=60, steady=40.0, outage=0.0, after=20.0, flush=30.0, seed=4))
        self.assertLess(found.peak_slice, 60 / 2 / 0.1)
