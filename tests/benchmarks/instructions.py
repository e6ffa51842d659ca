"""The regression guard: how many instructions each native kernel takes for its fixed input, against those on record.

`python -m tests.benchmarks.instructions` builds native/build/kernels, runs it under callgrind, which counts
instructions and no time, and compares each count with tests/benchmarks/instructions.json: more than 3 % above it is a
failure (exit code 1), more than 3 % below it is told, as the record wants to be made anew. `--record` writes it.

Counts are compared only when the compiler, its flags, the C library and the processor's AVX2 (kernels choose by it)
are those of the record; else they are printed as not compared. Without valgrind nothing is counted, and that is said.
Standard library only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
RECORD = Path(__file__).with_suffix(".json")
TOLERANCE = 0.03
COMPILER = "gcc"
BASELINE = "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM,-BMI2,-RTM"
"""The C library's own functions are those of any x86-64, whatever the processor."""


def counts_of(folder: Path) -> dict[str, int]:
    """Kernel -> instructions, of all the dumps of callgrind in a folder, in the order of the kernels."""
    counts: dict[int, tuple[str, int]] = {}
    for path in folder.glob("out.*"):
        text = path.read_text(encoding="utf-8")
        name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.M)
        total = re.search(r"^totals: (\d+)$", text, re.M)
        if name is not None and total is not None:
            counts[int(path.suffix[1:])] = name[1], int(total[1])
    return dict(counts[part] for part in sorted(counts))


def compare(counts: Mapping[str, int], kept: Mapping[str, int]) -> tuple[list[str], bool]:
    """A line for each kernel, and whether none takes more than it may."""
    lines, sound = [], True
    for name, count in counts.items():
        before = kept.get(name)
        verdict = "new: record it"
        if before is not None:
            verdict = f"{count / before - 1:+.2%}"
            if count > before * (1 + TOLERANCE):
                verdict, sound = f"{verdict}  SLOWER than recorded", False
            elif count < before * (1 - TOLERANCE):
                verdict += "  faster: record it"
        lines.append(f"{name:<52} {count:>12,} {verdict}")
    gone = [f"{name:<52} {'':>12} is not there any more: record it" for name in kept if name not in counts]
    return [*lines, *gone], sound


def _conditions(program_output: str) -> dict[str, str]:
    def of(*command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    makefile = (ROOT / "native" / "Makefile").read_text(encoding="utf-8")
    flags = re.findall(r"^COMMON = (.*)$", makefile, re.M)
    return {
        "compiler": f"{COMPILER} {of(COMPILER, '-dumpfullversion')} {of(COMPILER, '-dumpmachine')}",
        "flags": " ".join([*flags, "-O2"]),
        "library": os.confstr("CS_GNU_LIBC_VERSION") or "unknown",
        "processor": program_output.strip(),
    }


def measure() -> tuple[dict[str, int], dict[str, str]]:
    """Build and run: the counts, and under which conditions they were counted."""
    subprocess.run(["make", "-s", "-C", str(ROOT / "native"), "kernels", f"CC={COMPILER}"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out",
             str(ROOT / "native" / "build" / "kernels")],
            check=True, stdout=subprocess.PIPE, text=True,
            env={"GLIBC_TUNABLES": BASELINE, "PATH": os.environ.get("PATH", os.defpath)},
        )  # fmt: skip
        return counts_of(Path(folder)), _conditions(run.stdout)


def main(arguments: list[str]) -> int:
    """Count, print, and compare or record. The exit code."""
    missing = [tool for tool in ("valgrind", COMPILER, "make") if shutil.which(tool) is None]
    if missing:
        print(f"instructions of the native kernels: not counted, as {' and '.join(missing)} cannot be found")
        return 0
    counts, conditions = measure()
    if arguments == ["--record"]:
        RECORD.write_text(json.dumps({**conditions, "instructions": counts}, indent=1) + "\n", encoding="utf-8")
        print(f"{len(counts)} counts written to {RECORD}")
        return 0
    kept: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    lines, sound = compare(counts, kept.pop("instructions"))
    others = [f"{name} {mine!r}, recorded {kept[name]!r}" for name, mine in conditions.items() if kept[name] != mine]
    print("\n".join(lines))
    if others:
        print(f"not compared: {'; '.join(others)}")
        return 0
    if not sound:
        print("If that is meant: python -m tests.benchmarks.instructions --record")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
