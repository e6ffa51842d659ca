"""Mutants of the real code: for each rule that exactly once rests on, the test that sees it switched off."""
