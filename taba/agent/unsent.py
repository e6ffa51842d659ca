"""What senders say they could not keep or send: how many events, why, and of which tabs. Pure.

A sender tells counts by reason; by tab, too, where its protocol has room for that. The total of a reason is the ledger
line `unsent.REASON`. What is known of its tabs stands beside the ledger, under names that no line of it can have (there
is a blank in them), in the same records of the spool, so that it is durable when the total is.

Invariants: the parts of a reason are never more than its total, and no more than MAX_TABS tabs are named in the life of
a spool; the counts of all others stand under OTHERS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

REASONS = ("full", "unknown")
"""What senders drop for: their buffer was full, or nobody knows whether an agent took the events."""
OTHER = "other"
"""Whatever else they say."""
MAX_TABS = 1000
OTHERS = "<others>"
"""Stands for the tabs that are not named. No tab can be called so."""
MAX_UNSENT = 1 << 31
"""More events than this nobody dropped for a reason between two batches."""

Unsent = Mapping[str, int | Mapping[str, int]]
"""Reason -> events, or tab -> events."""

_LINE = "unsent."
_NAME = re.compile(r"[A-Za-z0-9._~:/?@!$()*+;=-]{1,512}")


def read_unsent(value: Any) -> dict[str, dict[str, int]]:
    """The member `unsent` of a frame's header: {reason: {tab: events}}. ValueError, which says what is wrong, for
    anything else. Reasons that are not known are `other`; of a reason no more than MAX_UNSENT events count.
    """
    if not isinstance(value, dict) or not all(isinstance(tabs, dict) for tabs in value.values()):
        raise ValueError("unsent is not an object of reasons, each with an object of tabs")
    result: dict[str, dict[str, int]] = {}
    for reason, tabs in value.items():
        counts = result.setdefault(reason if reason in REASONS else OTHER, {})
        room = MAX_UNSENT - sum(counts.values())
        for tab, events in tabs.items():
            if type(events) is not int or events < 0:
                raise ValueError("a count in unsent is not a whole number from 0")
            counts[tab] = counts.get(tab, 0) + min(room, events)
            room -= min(room, events)
    return result


def lines_of(unsent: Unsent, named: set[str]) -> Iterator[tuple[str, int]]:
    """The lines to add, each with its events: the totals, and the parts of tabs.

    `named` are the tabs that have parts already; those that get their first one now are added to it.
    """
    for reason, counts in unsent.items():
        known = reason if reason in REASONS else OTHER
        if isinstance(counts, Mapping):
            yield f"{_LINE}{known}", sum(counts.values())
            for tab, events in counts.items():
                if events:
                    yield f"{_LINE}{known} {_named(tab, named)}", events
        else:
            yield f"{_LINE}{known}", counts


def _named(tab: str, named: set[str]) -> str:
    if tab in named:
        return tab
    if len(named) >= MAX_TABS or not _NAME.fullmatch(tab):
        return OTHERS
    named.add(tab)
    return tab


def is_part(line: str) -> bool:
    """Whether a line is the part of a tab, and not one of the ledger."""
    return line.startswith(_LINE) and " " in line


def named_in(lines: Iterable[str]) -> set[str]:
    """The tabs that have parts among `lines`."""
    return {line.partition(" ")[2] for line in lines if is_part(line)} - {OTHERS}


def parts(lines: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Reason -> tab -> events, of all lines that are parts, in the order of their names."""
    result: dict[str, dict[str, int]] = {}
    for line in sorted(filter(is_part, lines)):
        reason, _, tab = line.removeprefix(_LINE).partition(" ")
        result.setdefault(reason, {})[tab] = lines[line]
    return result
