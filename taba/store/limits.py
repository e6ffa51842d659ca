"""The limits that every store keeps."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen

DAY = 86400.0  # seconds
DEDUP_DAYS = 14.0
"""The default of DEDUP_DAYS: how long a lane is remembered that nobody appends to."""


def _above(least: float) -> Any:
    """An attrs validator: the value must be greater than `least`."""

    def check(instance: object, attribute: Attribute[Any], value: float) -> None:
        if not value > least:
            raise ValueError(f"{attribute.name} must be more than {least:g}, not {value!r}")

    return check


check_dedup_days = _above(1)
"""The attrs validator of DEDUP_DAYS. More than 1, because batches sealed up to a day less than that ago are taken."""


@frozen
class Limits:
    """How much is set aside, and how big the pages of queries are."""

    aside_rows: int = field(default=1000, validator=_above(-1))
    """The number of set-aside Partials that are kept; the oldest leave first."""
    aside_bytes: int = field(default=16 * 1024 * 1024, validator=_above(-1))
    """The bytes of set-aside Partials that are kept; the oldest leave first."""
    page_rows: int = field(default=1000, validator=_above(0))
    """The most rows in one page of a query."""
    page_bytes: int = field(default=1024 * 1024, validator=_above(0))
    """A page of a query ends with the row that brings it to so many bytes of States or Aggregates."""
