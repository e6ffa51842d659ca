"""Which tabs and clients a server does not take: NAME_BLACKLIST and CLIENT_BLACKLIST. Pure.

Patterns are for RE2, and matched at the start of a name, as the original matched. be asks, in the order of the log:
what a checkpoint holds was decided by the lists of the be that wrote it, and what comes later by those in force then.
"""

from __future__ import annotations

from collections.abc import Sequence

import re2
from attrs import define, field

from taba.errors import SettingsError

MOST_REMEMBERED = 50_000
"""Names whose answer is remembered, of tabs and of clients each."""


def compiled(pattern: str, setting: str) -> re2._Regexp:
    """A pattern compiled by RE2. SettingsError, with the setting and the pattern, when RE2 does not take it."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as problem:
        reason = problem.args[0] if problem.args else problem
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
        raise SettingsError(f"{setting}: {pattern!r} is not a regular expression that RE2 takes: {reason}.")


@define
class Patterns:
    """The patterns of one list, and what they said of names lately."""

    patterns: Sequence[re2._Regexp]
    most_remembered: int = MOST_REMEMBERED
    _known: dict[str, bool] = field(factory=dict)

    @classmethod
    def of(cls, patterns: Sequence[str], setting: str) -> Patterns:
        """SettingsError for a pattern that RE2 does not take."""
        return cls([compiled(each, f"{setting}[{number}]") for number, each in enumerate(patterns)])

    def match(self, name: str) -> bool:
        """Whether a pattern matches a name at its start."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= self.most_remembered:
                self._known.clear()
            known = self._known[name] = any(each.match(name) is not None for each in self.patterns)
        return known


@define
class Blacklist:
    """Both lists. Used in one thread at a time."""

    _names: Patterns
    _clients: Patterns
    _empty: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._empty = not self._names.patterns and not self._clients.patterns

    @classmethod
    def of(cls, names: Sequence[str] = (), clients: Sequence[str] = ()) -> Blacklist:
        """The lists of the settings. SettingsError for a pattern that RE2 does not take."""
        return cls(Patterns.of(names, "NAME_BLACKLIST"), Patterns.of(clients, "CLIENT_BLACKLIST"))

    def become(self, other: Blacklist) -> None:
        """Go by these lists from now on."""
        self._names, self._clients, self._empty = other._names, other._clients, other._empty

    def refuses(self, tab: str, client: str) -> bool:
        """Whether events of a client for a tab are not taken."""
        return not self._empty and (self._names.match(tab) or self._clients.match(client))
