"""Every rule matters: with it switched off in the code, the test that is named with it fails.

TABA_TAKO_RULES says which are tried: `all`, `none`, or names; by default one whose test is quick.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import taba
from tests.mutants.trying import Verdict, apply, copy_project, is_broken, line_of, run_test
from tests.tako.rules import RULES

SOME = "late_hints"


class RuleTests(SynchronousTestCase):
    """Rules switched off."""

    def test_texts_are_there(self) -> None:
        """Every mutant changes text that is in the code exactly once, and leaves Python behind."""
        for mutant in RULES:
            for file, old, new in mutant.edits:
                text = (Path(taba.__file__).parent / file).read_text(encoding="utf-8")
                self.assertEqual(text.count(old), 1, mutant.rule)
                compile(text.replace(old, new), file, "exec")
        self.assertEqual(len({mutant.rule for mutant in RULES}), len(RULES))

    def test_each_is_caught(self) -> None:
        """The named test fails without the rule; it passes with it, as the other suites show."""
        wanted = os.environ.get("TABA_TAKO_RULES", SOME).split(",")
        chosen = [mutant for mutant in RULES if mutant.rule in wanted or wanted == ["all"]]
        verdicts = []
        with tempfile.TemporaryDirectory(prefix="tako-rules-") as folder:
            for mutant in chosen:
                root = Path(folder) / mutant.rule
                copy_project(root)
                apply(mutant, root)
                passed, reason = run_test(root, mutant.test)
                verdicts.append(Verdict(mutant, not passed and not is_broken(reason), True, reason))
        print("\n" + "\n".join(map(line_of, verdicts)))
        self.assertEqual([each.mutant.rule for each in verdicts if not each.caught], [])
        self.assertEqual(bool(verdicts), wanted != ["none"])
