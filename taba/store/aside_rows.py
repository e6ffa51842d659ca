"""What the embedded store sets aside: Partials that could not be folded, bounded; each a function for one
transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from taba.interfaces import SetAside
from taba.store.aside_ids import DIGITS, aside_id, read_aside_id
from taba.store.limits import Limits

_COLUMNS = "reason, tab, client, type, events, partial, vbucket, lineage, number"


def newest(database: sqlite3.Connection, limit: int) -> list[SetAside]:
    """The newest, the newest first."""
    found = database.execute(f"SELECT {_COLUMNS} FROM aside ORDER BY number DESC LIMIT ?", (max(0, limit),))
    return [_read(row) for row in found.fetchall()]


def find(database: sqlite3.Connection, vbucket: int, ids: Sequence[str]) -> list[SetAside]:
    """Those of `ids` that a vbucket set aside, in their order."""
    found = []
    for key in _keys(vbucket, ids):
        row = database.execute(
            f"SELECT {_COLUMNS} FROM aside WHERE number = ? AND lineage = ? AND vbucket = ?", key
        ).fetchone()
        if row:
            found.append(_read(row))
    return found


def add(
    database: sqlite3.Connection, vbucket: int, partials: Sequence[SetAside], lineage: str, limits: Limits
) -> None:
    """Keep Partials of a vbucket, and let the oldest go that are too many or too large together."""
    database.executemany(
        "INSERT INTO aside (lineage, vbucket, reason, tab, client, type, events, partial)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (lineage[-DIGITS:], vbucket, one.reason, one.tab, one.client, one.type, one.events, one.partial)
            for one in partials
        ],
    )
    rows = database.execute("SELECT number, length(partial) FROM aside ORDER BY number").fetchall()
    count, size = len(rows), sum(length for _, length in rows)
    for number, length in rows:
        if count <= limits.aside_rows and size <= limits.aside_bytes:
            break
        database.execute("DELETE FROM aside WHERE number = ?", (number,))
        count, size = count - 1, size - length


def drop(database: sqlite3.Connection, vbucket: int, ids: Sequence[str]) -> None:
    """Forget those of `ids` that a vbucket set aside."""
    database.executemany("DELETE FROM aside WHERE number = ? AND lineage = ? AND vbucket = ?", _keys(vbucket, ids))


def _keys(vbucket: int, ids: Sequence[str]) -> list[tuple[int, str, int]]:
    """(number, lineage, vbucket) of those ids that can be ours."""
    read = filter(None, map(read_aside_id, ids))
    return [(int(number), lineage, vbucket) for lineage, number in read if _is_number(number)]


def _is_number(text: str) -> bool:
    """Whether it is a number as SQLite counts, written as we write it."""
    return text.isascii() and text.isdigit() and len(text) < 19 and text == str(int(text))


def _read(row: Sequence[Any]) -> SetAside:
    reason, tab, client, type_name, events, partial, vbucket, lineage, number = row
    return SetAside(reason, tab, client, type_name, events, partial, vbucket, aside_id(lineage, str(number)))
