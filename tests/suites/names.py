"""Which tests run together."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = {"benchmarks", "cluster", "mutants", "processes", "redis", "suites", "tako"}
FORKING = {"tests.client.test_thread_engine"}
"""These fork while threads run, and are timed: they run with the real processes."""
LONG = {
    "tests.agent.test_crash_images",
    "tests.agent.test_lanes_model",
    "tests.client.test_exactly_once",
    "tests.store.test_agreement",
}
"""Laws that take their time over many examples: each is a group of its own."""


def modules() -> list[str]:
    """All test modules but those of whole clusters and real processes."""
    paths = [path for path in sorted(ROOT.rglob("test_*.py")) if path.relative_to(ROOT).parts[0] not in ELSEWHERE]
    names = (".".join(("tests", *path.relative_to(ROOT).with_suffix("").parts)) for path in paths)
    return [name for name in names if name not in FORKING]


def groups() -> dict[str, list[str]]:
    """The same by group: a folder of tests each, and the long ones."""
    found: dict[str, list[str]] = {}
    for module in modules():
        words = module.split(".")
        group = words[-1] if module in LONG else words[1] if len(words) > 2 else "others"
        found.setdefault(group, []).append(module)
    return found
