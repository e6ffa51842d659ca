"""The layout holds: imports go one way, pure modules know nothing of the machine, plugins are found, pages are up to
date.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

import taba
from taba import native

PACKAGE = Path(taba.__file__).parent
CHECKOUT = Path(__file__).resolve().parent.parent

LAYERS = (
    {"interfaces", "errors", "process", "stopping", "running", "logs", "metrics", "notifying", "usage", "workers"},
    {"native", "wire", "handlers", "settings", "binding", "web", "reloading"},
    {"store", "client"},
    {"agent", "server"},
    {"local_endpoint", "guarding", "real", "console", "options"},
    {"server_options"},
    {"server_tap", "agent_tap", "cli"},
    {"tako"},
)
"""What may import what stands above it, and what stands beside it in the same package."""

PURE = (
    "agent/intake.py", "agent/sealing.py", "agent/lane.py", "agent/lanes.py", "agent/held.py", "agent/records.py",
    "agent/encoding.py", "agent/segments.py", "agent/numbers.py", "agent/noting.py", "agent/holdings.py",
    "agent/replay.py", "agent/telling.py", "agent/statsd/endpoints.py", "agent/statsd/telling.py",
    "agent/recovery.py", "agent/endpoints.py", "server/folding.py", "server/state_cache.py", "server/parameters.py",
    "server/blacklist.py", "server/throttle.py", "server/assignment.py", "server/operating.py", "server/notes.py",
    "server/membership.py",
    "server/generations.py", "server/chores.py", "server/gc.py", "server/keeping.py", "metrics.py",
    "settings/values.py", "settings/environment.py",
    "store/judge.py", "store/redis/following.py", "store/redis/keys.py", "store/redis/rows.py",
    "store/redis/shard_map.py", "wire/frame.py", "wire/v2.py", "client/sender.py", "handlers/counter_group.py",
    "handlers/percentile_group.py", "handlers/gauge.py", "handlers/totals_counter.py", "handlers/percentile_counter.py",
    "handlers/expiry_gauge.py", "handlers/buffer.py", "handlers/encoding.py", "handlers/expiring.py",
    "handlers/minute_sketches.py",
    "tako/clock.py", "tako/records.py", "tako/ring.py", "tako/configuration.py", "tako/reading.py", "tako/placement.py",
    "web/forwarded.py",
    "tako/levels.py", "tako/rounds.py", "tako/merkle.py", "tako/cache.py", "tako/wire.py", "tako/migration.py",
)
OF_THE_MACHINE = {"time", "random", "socket", "os", "threading", "twisted.internet.reactor", "select", "asyncio"}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, at its top or in its functions, but for those only wanted by the type checker.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def layer(part: str) -> int | None:
    """The number of the layer of a part of the package."""
    return next((i for i, parts in enumerate(LAYERS) if part in parts), None)


class ImportTests(SynchronousTestCase):
    """Who imports whom."""

    def test_one_way(self) -> None:
        """No module imports one of a later layer, nor one of another package of its own layer."""
        wrong = []
        for path in sorted(PACKAGE.rglob("*.py")):
            part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
            own = layer(part)
            if own is None:
                continue
            for name in imported(path):
                words = name.split(".")
                other = layer(words[1]) if words[0] == "taba" and len(words) > 1 else None
                same_package = len(words) > 1 and words[1] == part
                if other is not None and not same_package and (other > own or (other == own and own >= 2)):
                    wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
        self.assertEqual(wrong, [])

    def test_every_part_has_a_layer(self) -> None:
        """A new package says where it stands."""
        parts = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if not path.name.startswith("_")}
        known = set().union(*LAYERS) | {"testing", "py.typed"}
        self.assertEqual(sorted(parts - known), [])

    def test_pure(self) -> None:
        """Protocol logic imports neither reactor nor clock, socket, thread or randomness."""
        wrong = [
            f"{name} imports {module}"
            for name in PURE
            for module in imported(PACKAGE / name)
            if module in OF_THE_MACHINE or (module.startswith("twisted.internet") and "endpoints" not in name)
        ]
        self.assertEqual(wrong, [])

    def test_client_needs_the_standard_library_alone(self) -> None:
        """taba.client without an engine imports nothing that has to be installed."""
        import sys

        wrong = [
            f"{path.relative_to(PACKAGE)} imports {module}"
            for path in (PACKAGE / "client").glob("*.py")
            for module in imported(path)
            if module.split(".")[0] not in sys.stdlib_module_names and not module.startswith("taba.client")
        ]
        self.assertEqual(wrong, [])

    def test_only_native_touches_the_core(self) -> None:
        """taba._native is imported in one place."""
        users = {
            str(path.relative_to(PACKAGE))
            for path in PACKAGE.rglob("*.py")
            if any(name.startswith("taba._native") for name in imported(path))
        }
        self.assertEqual(users, {"native/core.py"})


class PackageTests(SynchronousTestCase):
    """What an installation brings."""

    def test_plugins(self) -> None:
        """twistd finds both plugins."""
        names = {plugin.tapname for plugin in getPlugins(IServiceMaker)}
        self.assertLessEqual({"taba-server", "taba-agent"}, names)

    def test_versions(self) -> None:
        """The native core was built for this version of the package."""
        self.assertEqual(native.VERSION, taba.__version__)


class PageTests(SynchronousTestCase):
    """Pages that are made from the code."""

    def test_settings(self) -> None:
        """docs/reference/settings.md is what docs/make_settings.py makes."""
        spec = importlib.util.spec_from_file_location("make_settings", CHECKOUT / "docs" / "make_settings.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        page = (CHECKOUT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
        self.assertEqual(page, module.page())
