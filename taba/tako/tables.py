"""The SQLite database of a node: its tables, and what is done with them in one transaction. Functions of a connection,
run on a worker's thread.

    facts    format, node id, store id
    records  one row a key: slot, key, version, its digest for the tree, and the number of its value
    pieces   id = number of the value * 4096 + number of the piece; CRC-32; the bytes
    uploads  values whose pieces are there and whose record is not, so that a start can remove them
    notes    keys that another node lacks

A value's number is never used twice while the process lives, so pieces of a replaced value are never taken for others.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence

from attrs import frozen

from taba.errors import StartError
from taba.tako.errors import Damaged, Gone
from taba.tako.interfaces import Found, Row, Walked
from taba.tako.records import PIECE, Version, checksum_of, digest_of, is_newer, new_checksum, slot_of

FORMAT = "tako-1"
_PIECES = 4096
"""Numbers of pieces that a value has room for; 256 are used."""
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE records (
    slot INTEGER NOT NULL, key BLOB NOT NULL, stamp INTEGER NOT NULL, tombstone INTEGER NOT NULL,
    size INTEGER NOT NULL, checksum TEXT NOT NULL, digest INTEGER NOT NULL, value INTEGER NOT NULL,
    PRIMARY KEY (slot, key)) WITHOUT ROWID;
CREATE TABLE pieces (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE uploads (value INTEGER PRIMARY KEY);
CREATE TABLE notes (node TEXT NOT NULL, slot INTEGER NOT NULL, key BLOB NOT NULL, PRIMARY KEY (node, slot, key))
    WITHOUT ROWID;
"""
_ROW = "stamp, tombstone, size, checksum, digest, value"


@frozen
class Identity:
    """What a database says of itself, and where it stands."""

    store_id: str
    next_value: int
    notes: dict[str, int]


@frozen
class Stored:
    """What a write or a drop did."""

    version: Version | None
    """The version that is held now."""
    slot: int = 0
    removed: int | None = None
    """The digest of the record that went, if one did."""
    added: int | None = None
    """The digest of the record that came."""


def prepare_writer(database: sqlite3.Connection, path: str) -> None:
    """A connection that writes: every commit is synced before it is answered."""
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("PRAGMA cache_size=-65536")


def prepare_reader(database: sqlite3.Connection, path: str) -> None:
    """A connection that reads."""
    database.execute("PRAGMA query_only=1")
    database.execute("PRAGMA cache_size=-65536")


def establish(database: sqlite3.Connection, path: str, node: str, new_id: str) -> Identity:
    """Make the tables if they are not there; StartError when the database is another node's, or of another format."""
    made = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'facts'").fetchone()[0]
    if not made:
        if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StartError(f"The database in {path} is not a Tako node's. Name another file (-f) or folder (-v).")
        for statement in _SCHEMA.split(";"):
            if statement.strip():
                database.execute(statement)
        facts = {"format": FORMAT, "node": node, "store": new_id}
        database.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
    facts = dict(database.execute("SELECT name, value FROM facts"))
    if facts.get("format") != FORMAT:
        raise StartError(f"The database in {path} has the format {facts.get('format')}; this build knows {FORMAT}.")
    if facts["node"] != node:
        raise StartError(
            f"The database in {path} holds the data of node {facts['node']}, and this is {node}. Start it with "
            f"-id {facts['node']}, or give {node} a file (-f) or folder (-v) of its own."
        )
    _remove_uploads(database)
    last = database.execute("SELECT max(id) FROM pieces").fetchone()[0] or 0
    highest = database.execute("SELECT max(value) FROM records").fetchone()[0] or 0
    notes = dict(database.execute("SELECT node, count(*) FROM notes GROUP BY node"))
    return Identity(facts["store"], max(last // _PIECES, highest) + 1, notes)


def _remove_uploads(database: sqlite3.Connection) -> None:
    for (value,) in database.execute("SELECT value FROM uploads").fetchall():
        remove_value(database, value)
    database.execute("DELETE FROM uploads")


def leaf_rows(database: sqlite3.Connection) -> list[tuple[int, int, int]]:
    """Slot, sum of digests and number of records, of each slot that has any."""
    return database.execute("SELECT slot, sum(digest), count(*) FROM records GROUP BY slot").fetchall()


# ----------------------------------------------------------------------------------------------------------- reading


def _version(row: Sequence[object]) -> Version:
    stamp, tombstone, size, checksum = row[:4]
    return Version(stamp, bool(tombstone), size, checksum)  # type: ignore[arg-type]


def _record(database: sqlite3.Connection, slot: int, key: bytes) -> tuple[Version, int, int] | None:
    """Version, digest and value of a key."""
    row = database.execute(f"SELECT {_ROW} FROM records WHERE slot = ? AND key = ?", (slot, key)).fetchone()
    return None if row is None else (_version(row), row[4], row[5])


def read(database: sqlite3.Connection, key: bytes, body: bool, small: int = 0) -> Found | None:
    """See `IRecords.read`; values of at most `small` bytes are given in any case."""
    record = _record(database, slot_of(key), key)
    if record is None:
        return None
    version, _, value = record
    if version.tombstone or not (body or version.size <= small):
        return Found(version)
    return Found(version, read_piece(database, value, 0))


def piece(database: sqlite3.Connection, key: bytes, version: Version, number: int) -> bytes:
    """See `IRecords.piece`."""
    record = _record(database, slot_of(key), key)
    if record is None or record[0] != version:
        raise Gone("another version is held by now")
    if number >= version.pieces:
        raise Gone(f"the value has {version.pieces} pieces")
    return read_piece(database, record[2], number)


def read_piece(database: sqlite3.Connection, value: int, number: int) -> bytes:
    """A piece of a value; Damaged when it is missing or not what was stored."""
    row = database.execute("SELECT crc, body FROM pieces WHERE id = ?", (value * _PIECES + number,)).fetchone()
    if row is None or zlib.crc32(row[1]) != row[0]:
        raise Damaged(f"piece {number} of value {value} is damaged")
    return bytes(row[1])


def versions(database: sqlite3.Connection, slots: Sequence[int]) -> dict[bytes, Version]:
    """See `IRecords.versions`."""
    return {
        row[4]: _version(row)
        for slot in slots
        for row in database.execute("SELECT stamp, tombstone, size, checksum, key FROM records WHERE slot = ?", (slot,))
    }


_WALK = """SELECT r.slot, r.key, r.stamp, r.tombstone, r.size, r.checksum, r.digest, r.value, p.body
    FROM records r LEFT JOIN pieces p ON p.id = r.value * 4096 WHERE (r.slot, r.key) > (?, ?)
    ORDER BY r.slot, r.key LIMIT ?"""
_WALK_BLINDLY = """SELECT slot, key, stamp, tombstone, size, checksum, digest, value, NULL
    FROM records WHERE (slot, key) > (?, ?) ORDER BY slot, key LIMIT ?"""


def walk(
    database: sqlite3.Connection, after: tuple[int, bytes], limit: int, look: bool, plain: bytes | None
) -> Walked:
    """See `IRecords.walk`. This runs once for every record in every cycle of healing: nothing is made for the plain."""
    rows, count, last = [], 0, None
    for slot, key, stamp, tombstone, size, checksum, digest, value, body in database.execute(
        _WALK if look else _WALK_BLINDLY, (*after, limit)
    ):
        count += 1
        last = (slot, key)
        sound = digest == digest_of(key, stamp, bool(tombstone), size, checksum)
        if look and sound and not tombstone:
            if body is not None and len(body) == size:
                sound = checksum_of(body) == checksum
            else:
                sound = _is_whole(database, value, size, checksum)
        if plain is None or tombstone or not sound or not plain[slot]:
            rows.append(Row(slot, key, Version(stamp, bool(tombstone), size, checksum), sound))
    return Walked(tuple(rows), count, last)


def _is_whole(database: sqlite3.Connection, value: int, size: int, checksum: str) -> bool:
    """Whether a value of several pieces is what was stored."""
    whole, found = new_checksum(), 0
    try:
        for body in bodies(database, value, max(1, -(-size // PIECE))):
            whole.update(body)
            found += len(body)
    except Damaged:
        return False
    return found == size and bool(whole.hexdigest() == checksum)


def bodies(database: sqlite3.Connection, value: int, count: int) -> Iterator[bytes]:
    """The pieces of a value, in order."""
    for number in range(count):
        yield read_piece(database, value, number)


# ----------------------------------------------------------------------------------------------------------- writing


def add_piece(database: sqlite3.Connection, value: int, number: int, body: bytes) -> None:
    """Store one piece."""
    database.execute("INSERT INTO pieces VALUES (?, ?, ?)", (value * _PIECES + number, zlib.crc32(body), body))


def remove_value(database: sqlite3.Connection, value: int) -> None:
    """Remove the pieces of a value."""
    database.execute("DELETE FROM pieces WHERE id BETWEEN ? AND ?", (value * _PIECES, value * _PIECES + _PIECES - 1))


def stage(database: sqlite3.Connection, value: int, number: int, body: bytes) -> None:
    """Store a piece of a value whose record is to come."""
    if number == 0:
        database.execute("INSERT INTO uploads VALUES (?)", (value,))
    add_piece(database, value, number, body)


def unstage(database: sqlite3.Connection, value: int) -> None:
    """Remove a value whose record does not come."""
    remove_value(database, value)
    database.execute("DELETE FROM uploads WHERE value = ?", (value,))


def write(
    database: sqlite3.Connection, key: bytes, version: Version, value: int, body: bytes | None, limit: int,
    replaces: Version | None = None,
) -> Stored:  # fmt: skip
    """Store a version, unless what is held is newer, not from the future, that is, not above `limit`, and not what the
    version replaces. `body` is None where the pieces of `value` are stored already.
    """
    slot = slot_of(key)
    held = _record(database, slot, key)
    kept = held is not None and (held[0].stamp <= limit or version.stamp > limit) and held[0] != replaces
    if held is not None and kept and not is_newer(version, held[0]):
        if body is None and not version.tombstone:
            unstage(database, value)
        return Stored(held[0])
    digest = version.digest(key)
    if held is not None and not held[0].tombstone:
        remove_value(database, held[2])
    if body is not None:
        for number, start in enumerate(range(0, max(1, len(body)), PIECE)):
            add_piece(database, value, number, body[start : start + PIECE])
    elif not version.tombstone:
        database.execute("DELETE FROM uploads WHERE value = ?", (value,))
    database.execute(
        "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (slot, key, version.stamp, version.tombstone, version.size, version.checksum, digest, value),
    )
    return Stored(version, slot, None if held is None else held[1], digest)


def drop(database: sqlite3.Connection, key: bytes, version: Version) -> Stored | None:
    """Remove a record if it is of this version; None when it is not."""
    slot = slot_of(key)
    held = _record(database, slot, key)
    if held is None or held[0] != version:
        return None
    if not version.tombstone:
        remove_value(database, held[2])
    database.execute("DELETE FROM records WHERE slot = ? AND key = ?", (slot, key))
    return Stored(None, slot, held[1], None)


# ------------------------------------------------------------------------------------------------------------- notes


def add_notes(database: sqlite3.Connection, node: str, keys: Sequence[bytes]) -> int:
    """Note that a node lacks some keys; how many are new."""
    before = database.total_changes
    database.executemany(
        "INSERT OR IGNORE INTO notes VALUES (?, ?, ?)", [(node, slot_of(key), key) for key in keys]
    )
    return database.total_changes - before


def read_notes(database: sqlite3.Connection, node: str, limit: int) -> list[bytes]:
    """Keys that a node lacks."""
    return [key for (key,) in database.execute("SELECT key FROM notes WHERE node = ? LIMIT ?", (node, limit))]


def remove_notes(database: sqlite3.Connection, node: str, keys: Sequence[bytes]) -> int:
    """Drop notes; how many there were."""
    before = database.total_changes
    database.executemany(
        "DELETE FROM notes WHERE node = ? AND slot = ? AND key = ?", [(node, slot_of(key), key) for key in keys]
    )
    return database.total_changes - before
