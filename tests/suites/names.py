"""Which tests run together. The laws are those that take their time over many examples; they run beside the others, and
without coverage, which would make them twice as slow."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = {"benchmarks", "cluster", "mutants", "processes", "redis", "suites", "tako"}
FORKING = {"tests.client.test_thread_engine"}
"""These fork while threads run: coverage.py holds a lock of its own over a fork."""
LAWS = {
    "tests.agent.test_crash_images",
    "tests.agent.test_lanes_model",
    "tests.client.test_exactly_once",
    "tests.store.test_agreement",
    "tests.wire.test_frame",
    "tests.wire.test_v2",
}


def modules() -> list[str]:
    """All test modules but those of whole clusters and real processes."""
    paths = [path for path in sorted(ROOT.rglob("test_*.py")) if path.relative_to(ROOT).parts[0] not in ELSEWHERE]
    return [".".join(("tests", *path.relative_to(ROOT).with_suffix("").parts)) for path in paths]


def is_law(name: str) -> bool:
    """Whether a module takes its time."""
    return name in LAWS or name.startswith(("tests.native.", "tests.twin."))
