"""What docs/ says of metrics is true: reference, dashboard and alerts name what is exported, the first all of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.server.test_metrics import everything

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
ALERTS = DOCS / "deploy" / "alerts.yml"
SUFFIXES = ("_bucket", "_sum", "_count")
NOT_SHOWN = {"process_virtual_memory_bytes", "python_info"}
"""What the dashboard has no panel for: neither says anything of Taba."""


def base(name: str, kinds: Mapping[str, str]) -> str:
    """The family of a sample's name."""
    for suffix in SUFFIXES:
        if kinds.get(name.removesuffix(suffix)) == "histogram":
            return name.removesuffix(suffix)
    return name


class DocumentTests(SynchronousTestCase):
    """docs/reference/metrics.md, the dashboard and the alerts speak of what there is."""

    def setUp(self) -> None:
        self.kinds = everything().names()

    def used(self, expression: str) -> set[str]:
        """The metrics that a query names."""
        bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|(by|on|without|ignoring|group_left)\s*\([^)]*\)', " ", expression)
        return {base(word, self.kinds) for word in re.findall(r"\b(?:taba|process|python)_[a-z0-9_]+", bare)}

    def assertExported(self, expression: str) -> None:
        """Every metric of a query is exported, or is what Prometheus itself has."""
        used = self.used(expression)
        self.assertTrue(used or "up{" in expression, expression)
        self.assertEqual(used - set(self.kinds), set(), expression)

    def test_names(self) -> None:
        """Names begin with their process, units stand in them, and counters alone end in _total."""
        for name, kind in self.kinds.items():
            self.assertRegex(name, r"^(taba_(agent|server|build)|process|python)_[a-z0-9_]+$")
            self.assertEqual(name.endswith("_total"), kind == "counter", name)
            if kind == "histogram":
                self.assertTrue(name.endswith("_seconds"), name)

    def test_reference(self) -> None:
        """The reference has a row for each metric with what to do, and for nothing else; with the kind that it is."""
        page = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| `([a-z_0-9]+)(?:\{[^`]*\})?` \| (\w+) \| (.+?) \|(?: .+)? \|$", page, re.MULTILINE)
        self.assertEqual({name: kind for name, kind, _ in rows}, self.kinds)
        self.assertEqual(len(rows), len(self.kinds))

    def test_dashboard(self) -> None:
        """The dashboard is one that Grafana reads: a datasource to choose, its rows, and queries of what there is."""
        board = json.loads((DOCS / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
        variables = {each["name"]: each for each in board["templating"]["list"]}
        self.assertEqual(variables["datasource"]["type"], "datasource")
        self.assertEqual(variables["datasource"]["query"], "prometheus")
        for name in ("agent", "server"):
            self.assertExported(variables[name]["definition"])
        rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
        self.assertEqual(rows, ["Intake", "StatsD", "Delivery", "Folding", "Fleet", "Store", "Process"])
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        numbers = [panel["id"] for panel in board["panels"]]
        self.assertEqual(len(set(numbers)), len(numbers))
        for panel in panels:
            self.assertEqual(panel["datasource"], {"type": "prometheus", "uid": "${datasource}"}, panel["title"])
            self.assertTrue(panel["targets"], panel["title"])
            self.assertLessEqual(panel["gridPos"]["x"] + panel["gridPos"]["w"], 24)
            for target in panel["targets"]:
                self.assertExported(target["expr"])
        areas = sorted((p["gridPos"]["y"], p["gridPos"]["x"], p["gridPos"]["w"], p["gridPos"]["h"]) for p in panels)
        for number, (y, x, w, h) in enumerate(areas):
            for other_y, other_x, other_w, other_h in areas[number + 1 :]:
                apart = other_x >= x + w or x >= other_x + other_w or other_y >= y + h or y >= other_y + other_h
                self.assertTrue(apart, (areas[number], (other_y, other_x)))

    def test_dashboard_shows_all(self) -> None:
        """Every metric is in a panel."""
        board = json.loads((DOCS / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
        queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
        shown = set[str]().union(*map(self.used, queries))
        self.assertEqual(set(self.kinds) - shown, NOT_SHOWN)

    def test_alerts(self) -> None:
        """Each alert has a name of its own, a query of what there is, a severity, and words."""
        groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
        self.assertEqual([group["name"] for group in groups],
                         ["taba-agents", "taba-servers", "taba-store", "taba-processes"])
        rules = [rule for group in groups for rule in group["rules"]]
        self.assertEqual(len({rule["alert"] for rule in rules}), len(rules))
        for rule in rules:
            self.assertExported(rule["expr"])
            self.assertIn(rule["labels"]["severity"], ("page", "ticket"))
            self.assertEqual(sorted(rule["annotations"]), ["description", "summary"])
            self.assertRegex(rule.get("for", "1m"), r"^[0-9]+[sm]$")

    def test_alerts_as_prometheus_reads_them(self) -> None:
        """Prometheus' own tool takes the alerts, and the queries of the dashboard."""
        promtool = shutil.which("promtool")
        if promtool is None:
            raise SkipTest("promtool is not installed (Debian: apt-get install prometheus)")
        board = json.loads((DOCS / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
        queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
        plain = [re.sub(r"\$(agent|server)", ".*", each).replace("$__rate_interval", "5m") for each in queries]
        rules = [{"record": f"query:number{number}", "expr": query} for number, query in enumerate(plain)]
        written = Path(self.mktemp())
        written.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
        for path in (ALERTS, written):
            checked = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, check=False)
            self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
