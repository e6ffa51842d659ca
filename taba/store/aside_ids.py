"""The names of set-aside Partials: `LINEAGE-NUMBER`, the last eight digits of a lineage and what the store counts by.

The number alone would do in one unbroken history. A store that was rolled back counts again from where it then is; its
lineage is another one, so that an id that was read before the rollback never comes to mean another Partial.

Older versions noted neither lineage nor vbucket: those are found out here. Pure.
"""

from __future__ import annotations

from zlib import crc32

DIGITS = 8
"""Of a lineage: two of them are alike once in four thousand million."""
NO_LINEAGE = "0" * DIGITS
"""What stands for the lineage of Partials that were set aside before lineages were noted with them."""


def aside_id(lineage: str, number: str) -> str:
    """The id of the Partial that is `number` in the store, and was set aside under `lineage`."""
    return f"{lineage[-DIGITS:]}-{number}"


def read_aside_id(text: str) -> tuple[str, str] | None:
    """The digits of the lineage, and the number; None for what is no such id."""
    lineage, dash, number = text.partition("-")
    if len(lineage) != DIGITS or not dash or not number:
        return None
    return lineage, number


def vbucket_of(tab: str, vbuckets: int) -> int:
    """The vbucket of a tab, as the native core computes it."""
    return crc32(tab.encode()) % vbuckets
