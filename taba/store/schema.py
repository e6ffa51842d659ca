"""The database of the embedded store: its tables, and how it is made, checked and opened.

One database holds one cluster's whole store. Numbers in keys are packed so that every hot table is one B-tree with
integer keys:

    log.key      vbucket << 48 | id       the entries of a vbucket stand together, in order
    states.key   tabs.id << 32 | clients.id    the States of a tab stand together; the retired State has client 0

`clients.tabs` counts the States of a client. Triggers keep it, so that it cannot differ from the States. Rows of
`vbuckets` exist for every vbucket from the first opening on, which also writes the cluster id and NUM_VBUCKETS.

Room that trimmed logs and deleted States leave is used again; the file does not shrink.

A tab is renamed by the name in its row of `tabs` alone: everything else goes by its id.

The format number is SQLite's `user_version`, and its `application_id` says whose database it is. Older formats are
brought to this one in place; an older version refuses the data from then on, and says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from attrs import frozen

from taba.errors import StartError
from taba.store.aside_ids import NO_LINEAGE, vbucket_of

FORMAT = 2
"""The version of the tables below."""
APPLICATION_ID = 0x54616261
"""What SQLite's header says of our databases: "Taba" in ASCII."""
MAX_VBUCKETS = 1 << 15
"""The vbuckets for which a log key has room."""

LOG_SHIFT = 48
"""The bits of an id in `log.key`."""
STATE_SHIFT = 32
"""The bits of a client in `states.key`."""
CLIENT_MASK = (1 << STATE_SHIFT) - 1
"""`states.key & CLIENT_MASK` is the client."""

_WAL_PAGES = 8192
"""Pages in the write-ahead log (32 MiB) at which a commit moves them to the database: large enough that the pages of
hot States and of log entries that come and go are moved once, not at every commit.
"""
_CACHE_KIB = 32768
"""The page cache of each connection."""

ASIDE = """CREATE TABLE aside (
        number INTEGER PRIMARY KEY AUTOINCREMENT,  -- rising: the oldest leave first; never used twice
        lineage TEXT NOT NULL,                     -- the digits that stand before the number in the Partial's id
        vbucket INTEGER NOT NULL,
        reason TEXT NOT NULL,
        tab TEXT NOT NULL,
        client TEXT NOT NULL,
        type TEXT NOT NULL,
        events INTEGER NOT NULL,
        partial BLOB NOT NULL
    )"""
"""The table of what is set aside."""

_TABLES = (
    "CREATE TABLE cluster (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE vbuckets (
        vbucket INTEGER PRIMARY KEY,
        last_id INTEGER NOT NULL DEFAULT 0,    -- of the log; outlives the entries
        log_bytes INTEGER NOT NULL DEFAULT 0,  -- the bytes of the bodies in the log
        folded INTEGER NOT NULL DEFAULT 0,     -- the position
        commits INTEGER NOT NULL DEFAULT 0,
        epoch INTEGER NOT NULL DEFAULT 0,      -- the highest that was granted
        lost INTEGER NOT NULL DEFAULT 0,       -- one of the store's own lines of the ledger
        ledger TEXT NOT NULL DEFAULT '{}',     -- the row of the ledger as be wrote it, JSON
        flushed INTEGER NOT NULL DEFAULT 0     -- as `lost`
    )""",
    "CREATE TABLE log (key INTEGER PRIMARY KEY, appended REAL NOT NULL, events INTEGER NOT NULL, body BLOB NOT NULL)",
    """CREATE TABLE lanes (
        incarnation BLOB NOT NULL,             -- 16 bytes
        vbucket INTEGER NOT NULL,
        last INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        events INTEGER NOT NULL,
        touched REAL NOT NULL,
        PRIMARY KEY (incarnation, vbucket)     -- the lanes of an agent stand together: one request touches few pages
    ) WITHOUT ROWID""",
    # Ids are never used twice (AUTOINCREMENT): a query that pages through States remembers them between its pages.
    """CREATE TABLE tabs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        tab TEXT NOT NULL,
        vbucket INTEGER NOT NULL,
        type TEXT,                             -- NULL while only a State or an Aggregate was written
        UNIQUE (tab, vbucket)
    )""",
    "CREATE INDEX tabs_of_vbucket ON tabs (vbucket)",
    """CREATE TABLE clients (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        client TEXT NOT NULL UNIQUE,
        tabs INTEGER NOT NULL DEFAULT 0        -- the States of this client
    )""",
    "CREATE INDEX clients_gone ON clients (id) WHERE tabs = 0",
    "CREATE TABLE states (key INTEGER PRIMARY KEY, state BLOB NOT NULL)",
    f"""CREATE TRIGGER state_made AFTER INSERT ON states WHEN new.key & {CLIENT_MASK} BEGIN
        UPDATE clients SET tabs = tabs + 1 WHERE id = new.key & {CLIENT_MASK};
    END""",
    f"""CREATE TRIGGER state_gone AFTER DELETE ON states WHEN old.key & {CLIENT_MASK} BEGIN
        UPDATE clients SET tabs = tabs - 1 WHERE id = old.key & {CLIENT_MASK};
    END""",
    "CREATE TABLE aggregates (tab INTEGER PRIMARY KEY, aggregate BLOB NOT NULL)",
    ASIDE,
)


def log_key(vbucket: int, entry_id: int) -> int:
    """The key of a log entry."""
    return vbucket << LOG_SHIFT | entry_id


def last_log_key(vbucket: int) -> int:
    """The highest key that an entry of a vbucket can have."""
    return log_key(vbucket + 1, 0) - 1


@frozen
class Identity:
    """Whose data a database holds."""

    cluster_id: str
    vbuckets: int


def open_writer(database: sqlite3.Connection, path: str) -> None:
    """Make `database` ready for writing; raises StartError when it is not ours, or of a newer format."""
    _check_format(database, path)
    # In-memory databases and some network file systems have no write-ahead log and answer with the mode they keep.
    database.execute("PRAGMA journal_mode = WAL")
    # With a write-ahead log EXTRA is FULL: every commit is synced. Without one it also syncs the folder when the
    # journal is gone, without which a power cut could bring the journal, and with it the state before an
    # acknowledged commit, back.
    database.execute("PRAGMA synchronous = EXTRA")
    # Some distributions build SQLite so that it overwrites what it deletes; trimming the log would cost as much as
    # writing it.
    database.execute("PRAGMA secure_delete = OFF")
    database.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    # After a burst the file of the write-ahead log shrinks again.
    database.execute(f"PRAGMA journal_size_limit = {2 * _WAL_PAGES * 4096}")
    _open_any(database)


def open_reader(database: sqlite3.Connection, path: str) -> None:
    """Make `database`, which a writer opened before, ready for queries."""
    _open_any(database)
    database.execute("PRAGMA query_only = ON")


def _open_any(database: sqlite3.Connection) -> None:
    database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    database.execute("PRAGMA temp_store = MEMORY")


def _check_format(database: sqlite3.Connection, path: str) -> None:
    application, version = _pragma(database, "application_id"), _pragma(database, "user_version")
    if application == APPLICATION_ID and version > FORMAT:
        raise StartError(
            f"The database in {path} was written by a newer version of Taba: its format is {version}, this one knows up"
            f" to {FORMAT}. Start the newer version, or give this one another folder (--data-dir)."
        )
    if application != APPLICATION_ID and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StartError(f"The database in {path} is not Taba's. Give Taba a folder of its own (--data-dir).")


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


def establish(database: sqlite3.Connection, path: str, vbuckets: int, new_id: Callable[[], str]) -> Identity:
    """Within a transaction: make the tables when there are none, check that NUM_VBUCKETS is what it was, and bring
    tables of an older format to this one.
    """
    if not 0 < vbuckets <= MAX_VBUCKETS:
        raise StartError(f"NUM_VBUCKETS must be from 1 to {MAX_VBUCKETS}, not {vbuckets}.")
    version = _pragma(database, "user_version")
    if version == 0:
        _create(database, Identity(new_id(), vbuckets))
    kept = dict(database.execute("SELECT name, value FROM cluster").fetchall())
    identity = Identity(kept["id"], int(kept["vbuckets"]))
    if identity.vbuckets != vbuckets:
        raise StartError(
            f"The data in {path} was written with NUM_VBUCKETS {identity.vbuckets}, and the settings say {vbuckets}."
            f" The number cannot change: set NUM_VBUCKETS to {identity.vbuckets}, or start anew in another folder"
            " (--data-dir)."
        )
    if version == 1:
        _migrate_from_1(database, vbuckets)
    return identity


def _create(database: sqlite3.Connection, identity: Identity) -> None:
    for statement in _TABLES:
        database.execute(statement)
    database.executemany(
        "INSERT INTO cluster VALUES (?, ?)", [("id", identity.cluster_id), ("vbuckets", str(identity.vbuckets))]
    )
    database.executemany("INSERT INTO vbuckets (vbucket) VALUES (?)", [(v,) for v in range(identity.vbuckets)])
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {FORMAT}")


def _migrate_from_1(database: sqlite3.Connection, vbuckets: int) -> None:
    """Format 1 had no line `flushed`, and of what is set aside neither vbucket nor an id that is never used again.

    In the transaction that opens the database: a crash leaves format 1, whole.
    """
    database.execute("ALTER TABLE vbuckets ADD COLUMN flushed INTEGER NOT NULL DEFAULT 0")
    database.execute("ALTER TABLE aside RENAME TO aside_1")
    database.execute(ASIDE)
    for number, tab in database.execute("SELECT id, tab FROM aside_1 ORDER BY id").fetchall():
        database.execute(
            "INSERT INTO aside SELECT id, ?, ?, reason, tab, client, type, events, partial FROM aside_1 WHERE id = ?",
            (NO_LINEAGE, vbucket_of(tab, vbuckets), number),
        )
    database.execute("DROP TABLE aside_1")
    database.execute("PRAGMA user_version = 2")
