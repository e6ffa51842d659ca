"""`tako-cluster`: its processes are started, started again, and stopped; without real processes."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attrs import define, field
from twisted.internet.error import ProcessDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from taba.tako.cluster import AGAIN_SECONDS, STOP_SECONDS, ClusterSettings, TakoCluster
from taba.tako.reading import read_object
from tests.tako.simulated import deployment, document


@define(eq=False)
class Spawned:
    """A process that was started, and the signals that it got."""

    protocol: Any
    name: str
    pid: int
    signals: list[int] = field(factory=list)

    def signalProcess(self, number: int) -> None:
        """See `IProcessTransport`."""
        self.signals.append(number)

    def end(self) -> None:
        """It has ended."""
        self.protocol.processEnded(Failure(ProcessDone(0)))


class Spawning(Clock):
    """A reactor that starts nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[Spawned] = []

    def spawnProcess(self, protocol: Any, executable: str, args: list[str], env: Any, childFDs: Any) -> Spawned:
        """See `IReactorProcess`."""
        self.spawned.append(Spawned(protocol, args[args.index("-id") + 1], 1000 + len(self.spawned)))
        return self.spawned[-1]


class LocalClusterTests(SynchronousTestCase):
    """A coordinator, two nodes and a proxy."""

    def setUp(self) -> None:
        """Started."""
        self.reactor, self.said = Spawning(), list[str]()
        self.var = Path(self.mktemp())
        configuration = read_object(document(main=deployment(1)), "test")
        settings = ClusterSettings("cluster.yaml", configuration, str(self.var), (8080,))
        machine: Any = SimpleNamespace(reactor=self.reactor, say=self.said.append)
        self.cluster = TakoCluster(settings, machine)
        self.cluster.startService()

    def test_everything_is_started(self) -> None:
        """Each with a folder and a log of its own; the operator is told where."""
        self.assertEqual([each.name for each in self.reactor.spawned], ["c1", "n1", "n2", "proxy"])
        self.assertEqual(sorted(each.name for each in self.var.iterdir()), ["c1", "n1", "n2", "proxy"])
        self.assertTrue((self.var / "n1" / "log").exists())
        self.assertIn(f"4 processes, data and logs in {self.var}. http://127.0.0.1:8080/", self.said[0])

    def test_what_ends_is_started_again(self) -> None:
        """After a second; others go on."""
        self.reactor.spawned[1].end()
        self.assertEqual(sorted(self.cluster.pids()), ["c1", "n2", "proxy"])
        self.reactor.advance(AGAIN_SECONDS)
        self.assertEqual((self.reactor.spawned[-1].name, len(self.cluster.pids())), ("n1", 4))

    def test_a_stop_leaves_nothing(self) -> None:
        """All are asked to stop; what does not is killed; what waited to be started again is not."""
        self.reactor.spawned[1].end()
        stopped = self.cluster.stopService()
        _, gone, obstinate, *others = self.reactor.spawned
        for each in (self.reactor.spawned[0], *others):
            each.end()
        self.assertNoResult(stopped)
        self.reactor.advance(STOP_SECONDS)
        self.assertEqual((gone.signals, obstinate.signals), ([], [signal.SIGTERM, signal.SIGKILL]))
        obstinate.end()
        self.successResultOf(stopped)
        self.assertEqual((self.reactor.getDelayedCalls(), len(self.reactor.spawned)), ([], 4))
