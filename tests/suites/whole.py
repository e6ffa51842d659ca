"""Branch coverage of everything, from all suites together, real processes included: `python -m tests.suites.whole`.

Each suite runs under coverage with small counts; what they saw is put together. Fails when a suite fails, when the
whole has less than LEAST per cent, or when a line or a branch of what exactly once rests on was never taken.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.suites.names import modules

LEAST = 95.0
WHOLE = (
    "taba/agent/lane.py",
    "taba/agent/lanes.py",
    "taba/agent/spool.py",
    "taba/agent/segments.py",
    "taba/agent/encoding.py",
    "taba/agent/records.py",
    "taba/agent/sealing.py",
    "taba/agent/holdings.py",
    "taba/agent/numbers.py",
    "taba/agent/intake.py",
    "taba/store/leases.py",
    "taba/store/judge.py",
    "taba/store/checkpoint_rows.py",
    "taba/store/log_rows.py",
    "taba/store/contents.py",
    "taba/wire/frame.py",
    "taba/wire/v2.py",
    "taba/handlers/encoding.py",
    "taba/server/frontend.py",
    "taba/server/folding.py",
    "taba/server/generations.py",
    "taba/server/operating.py",
    "taba/server/notes.py",
    "taba/server/chores.py",
    "taba/server/gc.py",
)
"""Intake, lanes, spool, leases, append, folding, operations, GC, checkpoint and codecs: every line and branch of these
is taken by some test.
"""

SMALL = {
    "TABA_SIM_SECONDS": "20", "TABA_REDIS_SIM_SECONDS": "20", "TABA_KILLS": "6", "TABA_REDIS_KILLS": "6",
    "TABA_REDIS_FAILOVERS": "1", "TABA_TAKO_FILES": "40", "TABA_TAKO_RULES": "none",
}  # fmt: skip
RUN = """
[run]
branch = true
source_pkgs = taba
parallel = true
data_file = {folder}/.coverage
patch = subprocess
sigterm = true
[report]
exclude_also =
    if TYPE_CHECKING:
    \\.\\.\\.$
"""


def suites() -> dict[str, Sequence[str]]:
    """Name -> the modules that trial runs."""
    return {
        "units and laws": modules(),
        "processes": ["tests.processes"],
        "simulation": ["tests.cluster"],
        "redis": ["tests.redis"],
        "tako": ["tests.tako"],
    }


def main(names: Sequence[str]) -> int:
    """Run the suites, or those named; 0 when all is as it should be."""
    with tempfile.TemporaryDirectory(prefix="taba-coverage-") as folder:
        settings = Path(folder) / "coveragerc"
        settings.write_text(RUN.format(folder=folder))
        coverage = [sys.executable, "-m", "coverage"]
        failed = []
        for name, parts in suites().items():
            if names and name.split()[0] not in names:
                continue
            print(f"--- {name}", flush=True)
            trial = ["-m", "twisted.trial", f"--temp-directory={folder}/trial", *parts]
            run = [*coverage, "run", f"--rcfile={settings}", *trial]
            if subprocess.run(run, env={**SMALL, **os.environ}, check=False).returncode:
                failed.append(name)
        subprocess.run([*coverage, "combine", f"--rcfile={settings}", "-q"], check=True)
        subprocess.run([*coverage, "report", f"--rcfile={settings}", "--skip-covered", "-m"], check=True)
        report = Path(folder) / "report.json"
        subprocess.run([*coverage, "json", f"--rcfile={settings}", "-q", "-o", str(report)], check=True)
        return judged(json.loads(report.read_text()), failed)


def judged(report: dict[str, Any], failed: Sequence[str]) -> int:
    """Print what is missing; 0 when nothing is."""
    files = {_in_package(name): each["summary"]["percent_covered"] for name, each in report["files"].items()}
    whole = float(report["totals"]["percent_covered"])
    print(f"the whole: {whole:.1f} %; at least {LEAST:g} % is wanted")
    less = [name for name in WHOLE if files.get(name, 0.0) < 100.0]
    for name in less:
        print(f"{name}: {files.get(name, 0.0):.1f} %; all of it is wanted")
    for name in failed:
        print(f"{name}: tests failed")
    return 1 if failed or less or whole < LEAST else 0


def _in_package(path: str) -> str:
    return path[path.rindex("taba/") :] if path.count("taba/") == 1 else path[path.index("/taba/") + 1 :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
