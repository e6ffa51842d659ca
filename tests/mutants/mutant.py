"""What a mutant is: a rule of the protocol, switched off by a change of text, and the test that must see it.

A mutant is one change of text, or a few that belong together; each old text must occur exactly once, so that a mutant
cannot go stale unseen.
"""

from __future__ import annotations

from attrs import field, frozen

Edit = tuple[str, str, str]
"""(file below the package, old text, new text)."""


@frozen
class Mutant:
    """One rule switched off."""

    rule: str
    what: str
    """What the code does without the rule."""
    test: str
    """The trial name of the test that must fail then."""
    edits: tuple[Edit, ...] = field(repr=False)
