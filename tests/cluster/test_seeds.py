"""The cluster under random faults: what was acknowledged is counted once, whatever happens."""

from __future__ import annotations

import sys
from types import CodeType, FunctionType

from twisted.trial.unittest import SynchronousTestCase

from taba.testing.cluster import MemoryCluster
from tests.cluster.run import run_seed
from tests.cluster.seeds import from_environment

KEPT = (
    3088,  # a restored store, and a copied disk that alone held what the original passed over
)


class SeedTests(SynchronousTestCase):
    """Random runs."""

    def test_every_event_once(self) -> None:
        """Whatever fails when: each acknowledged event is in the result once, or in a ledger for a cause that was."""
        report = from_environment()
        print("\n" + report.text())
        self.assertEqual([each.seed for each in report.failures], [])
        if len(report.outcomes) >= 100:
            self.assertEqual(report.never_met(), [], "a fault was never met: the runs are too tame")

    def test_kept_seeds(self) -> None:
        """Runs that found something once."""
        for seed in KEPT:
            self.assertIsNone(run_seed(seed).problem, f"seed {seed}")

    def test_runs_repeat(self) -> None:
        """A seed runs the same way every time, to the byte."""
        self.assertEqual(run_seed(7).fingerprint, run_seed(7).fingerprint)


def production_code() -> dict[str, CodeType]:
    """The code of every function and method of every module of Taba that is loaded, but for taba.testing."""
    code = {}
    for name, module in sorted(sys.modules.items()):
        if name.split(".")[0] != "taba" or name.startswith("taba.testing") or not hasattr(module, "__dict__"):
            continue
        for key, value in vars(module).items():
            if isinstance(value, FunctionType):
                code[f"{name}.{key}"] = value.__code__
            elif isinstance(value, type) and value.__module__.startswith("taba."):
                for attribute, method in vars(value).items():
                    if isinstance(method, FunctionType):
                        code[f"{name}.{key}.{attribute}"] = method.__code__
    return code


class RealityTests(SynchronousTestCase):
    """Only reactor, network and disks are simulated."""

    def test_nothing_is_patched(self) -> None:
        """A run replaces no function and no method of production code."""
        run_seed(1)  # all modules are loaded now
        before = production_code()
        run_seed(3)
        self.assertGreater(len(before), 800)
        self.assertEqual({name: each for name, each in production_code().items() if before.get(name) is not each}, {})

    def test_services_are_of_production(self) -> None:
        """What runs on the nodes is of the classes that twistd runs, and so are their stores, spools and clients."""
        with MemoryCluster(seed=1) as cluster:
            cluster.start()
            server, agent = cluster.server.server, cluster.agents[0].agent
            assert server is not None
            assert agent is not None
            for made in (
                server, server.server, server.server.store, server.server.backend, server.server.frontend,
                agent, agent.lanes, agent.committer, agent.spool, agent.intake, agent.forwarder,
                cluster.agents[0].service, cluster.server.service,
                cluster.applications[0].client, cluster.applications[0].client._engine,
            ):  # fmt: skip
                module = type(made).__module__
                self.assertTrue(module.startswith("taba.") and not module.startswith("taba.testing"), module)
            cluster.world.check_quiet()

    def test_queries_see_what_was_recorded(self) -> None:
        """Recorded, settled, asked for over HTTP: the whole way, without a fault."""
        with MemoryCluster(seed=2) as cluster:
            cluster.start()
            for application in cluster.applications:
                application.client.counter("won", 2)
            cluster.settle()
            self.assertIn(b'"1m": {"count": 3, "total": 6.00', cluster.get("/tabs?name=won"))
            cluster.world.check_quiet()
