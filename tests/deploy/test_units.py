"""The units of docs/deploy/systemd: systemd takes them without a word, and finds them well closed.

Skipped where `systemd-analyze` is not installed (Debian: apt-get install systemd).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from taba.real import LAST_SECONDS
from taba.settings import AgentSettings, ServerSettings

UNITS = Path(__file__).resolve().parent.parent.parent / "docs" / "deploy" / "systemd"
MOST_EXPOSURE = 2.0


def directives(unit: Path) -> dict[str, str]:
    """What a unit says."""
    lines = (line.partition("=") for line in unit.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {key: value for key, equals, value in lines if equals}


class UnitTests(SynchronousTestCase):
    """Each unit, in a folder where its program is there."""

    def setUp(self) -> None:
        if shutil.which("systemd-analyze") is None:
            raise SkipTest("systemd-analyze is not installed")
        self.folder = Path(tempfile.mkdtemp(prefix="taba-units-"))
        self.addCleanup(shutil.rmtree, self.folder)
        for unit in UNITS.iterdir():
            text = unit.read_text(encoding="utf-8").replace("/opt/taba/bin/twistd", "/bin/true")
            (self.folder / unit.name.replace("@.", "@8300.")).write_text(text, encoding="utf-8")
        shutil.copy(self.folder / "taba-server@8300.service", self.folder / "taba-server@.service")

    def analyze(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run systemd-analyze in the folder."""
        return subprocess.run(
            ["systemd-analyze", "--no-pager", *arguments],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
        )  # fmt: skip

    def test_systemd_takes_them(self) -> None:
        """No directive is mistyped, or has a value that cannot be."""
        units = sorted(str(each) for each in self.folder.iterdir())
        self.assertGreaterEqual(len(units), 5)
        verified = self.analyze("verify", "--man=no", *units)
        complaints = [line for line in verified.stdout.splitlines() if "taba" in line]
        self.assertEqual(complaints, [], verified.stdout)

    def test_what_they_say(self) -> None:
        """Services say when they are ready and that they live, may take longer to stop than their processes do, run as
        users of their own on folders of their own, start again, and can be reloaded. The agent's port can be opened
        first.
        """
        for name, stop_seconds in (("taba-agent", AgentSettings().stop_seconds),
                                   ("taba-server", ServerSettings().stop_seconds),
                                   ("taba-server@", ServerSettings().stop_seconds)):  # fmt: skip
            unit = directives(UNITS / f"{name}.service")
            found = {key: unit.get(key) for key in ("Type", "DynamicUser", "Restart", "KillSignal")}
            self.assertEqual(found, {"Type": "notify", "DynamicUser": "yes", "Restart": "always", "KillSignal": None})
            self.assertIn("StateDirectory", unit)
            self.assertIn("-HUP", unit["ExecReload"])
            self.assertGreater(float(unit["WatchdogSec"]), 0)
            self.assertGreater(float(unit["TimeoutStopSec"]), stop_seconds + LAST_SECONDS)
        self.assertIn("ListenStream", directives(UNITS / "taba-agent.socket"))

    def test_exposure(self) -> None:
        """What a service could do to its host, were it taken over, is as little as it can be."""
        for unit in sorted(self.folder.glob("*8300.service")) + sorted(self.folder.glob("taba-agent.service")):
            said = self.analyze("security", "--offline=true", str(unit)).stdout
            level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
            if level is None:
                raise SkipTest(f"this systemd-analyze does not judge files: {said[:200]}")
            self.assertLessEqual(float(level[1]), MOST_EXPOSURE, said)
