"""Every rule of the protocol matters: with it switched off, a test fails.

TABA_MUTANTS says which: `all`, `some` (those whose tests are quick; the default), `none`, or names of rules.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.mutants.trying import EVERY, apply, chosen, copy_project, each_verdict, line_of

SOME = (
    "one_step_merge", "answer_after_sync", "old_lane_for_unsealed", "look_lineage", "chain", "pass_over", "dedup",
    "touch", "sentinel_majority", "guard_lineage", "operations_after_events", "restored_once",
)  # fmt: skip


class MutantTests(SynchronousTestCase):
    """Rules switched off."""

    def test_texts_are_there(self) -> None:
        """Every mutant changes text that is in the code exactly once, and leaves Python behind."""
        with tempfile.TemporaryDirectory(prefix="taba-mutants-") as folder:
            for mutant in EVERY:
                root = Path(folder) / mutant.rule
                copy_project(root)
                apply(mutant, root)
                for file in {file for file, _, _ in mutant.edits if file.endswith(".py")}:
                    compile((root / "taba" / file).read_text(encoding="utf-8"), file, "exec")

    def test_rules_have_one_mutant_each(self) -> None:
        """No rule is there twice."""
        self.assertEqual(len({mutant.rule for mutant in EVERY}), len(EVERY))

    def test_each_is_caught(self) -> None:
        """The named test fails with the mutant, and passes without."""
        wanted = os.environ.get("TABA_MUTANTS", "some")
        rules = {"all": [], "some": list(SOME), "none": None}.get(wanted, wanted.split(","))
        verdicts = [] if rules is None else list(each_verdict(chosen(rules)))
        print("\n" + "\n".join(map(line_of, verdicts)))
        self.assertEqual([each.mutant.rule for each in verdicts if not (each.caught and each.sound)], [])
