"""How the States of clients are kept, by tab: the setting TABS. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import re2
from attrs import define, field, setters

from taba.server.parameters import compiled
from taba.settings import TabSettings

KEEP: Final = "keep"
MERGE: Final = "merge"
REMEMBERED = 100_000
"""Of so many tabs it is remembered which rule is theirs."""


def _rules(tabs: Iterable[TabSettings]) -> Sequence[tuple[re2._Regexp, str]]:
    return [(compiled(each.name, "TABS"), each.per_client) for each in tabs]


@define
class Keeping:
    """The rules of one server; ParameterError for a pattern that RE2 does not take. The first whose pattern matches a
    tab's name, at its start, counts.
    """

    _rules: Sequence[tuple[re2._Regexp, str]] = field(converter=_rules, default=(), on_setattr=setters.NO_OP)
    _known: dict[str, str] = field(factory=dict, init=False)

    def become(self, other: Keeping) -> None:
        """Go by these rules from now on."""
        self._rules = other._rules
        self._known.clear()

    def of(self, tab: str) -> str:
        """KEEP, MERGE, or "" where no rule says anything."""
        if not self._rules:
            return ""
        found = self._known.get(tab)
        if found is None:
            found = next((per_client for pattern, per_client in self._rules if pattern.match(tab)), "")
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[tab] = found
        return found

    def merges(self, tab: str) -> bool:
        """Whether no State per client is kept of a tab, where its Type lets that be."""
        return bool(self._rules) and self.of(tab) == MERGE
