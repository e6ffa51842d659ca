"""Copies of an embedded store's database as files: made while a server writes to it, checked, and put in place.

Nothing here talks to people; times are in seconds, and whatever goes wrong is a CopyError whose text says what to do.

Invariants: a backup has one moment of the store, whole, or there is no file of its name; after a restore that was cut
short the folder has the former store or the one of the backup, whole.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from urllib.parse import quote

from attrs import frozen

from taba.errors import StartError, TabaError
from taba.interfaces import IFolder
from taba.store import schema
from taba.store.database import explain
from taba.store.transactions import DATABASE

PAGES = 2560
"""Pages that are copied between two words about it: 10 MiB."""
BUSY_SECONDS = 10.0
KEPT = "replaced"
"""What the name of the store that a restore replaced ends with."""

ANOTHER = "Use another copy of it, or another backup."

Told = Callable[[int, int], None]
"""Hears how many pages of how many are copied."""


class CopyError(TabaError):
    """A copy could not be made, or may not be used; the text says why and what to do."""


@frozen
class StoreFacts:
    """What a database of a store holds."""

    cluster: str
    vbuckets: int
    format: int
    tabs: int
    states: int
    events: int
    """Events in logs, not folded yet."""
    bytes: int


@contextmanager
def _reading(path: Path, is_backup: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection that reads a database. Errors of SQLite and of the disk become CopyError."""
    try:
        uri = f"file:{quote(str(path.absolute()))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as database:
            yield database
    except (sqlite3.Error, OSError) as error:
        if is_backup and isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            raise CopyError(f"The backup {path} is damaged ({error}). {ANOTHER}") from error
        raise CopyError(f"{explain(error, str(path))}.") from error


def facts_of(path: Path, is_backup: bool = False) -> StoreFacts:
    """What a database file holds. Raises CopyError when it is no store of ours, or of a newer version; `is_backup` says
    what the file is in its words.
    """
    if not path.is_file():
        raise CopyError(f"There is no file {path}.")
    with _reading(path, is_backup) as database:
        return _facts(database, path)


def _facts(database: sqlite3.Connection, path: Path) -> StoreFacts:
    def one(statement: str) -> int:
        return int(database.execute(statement).fetchone()[0])

    application, version = one("PRAGMA application_id"), one("PRAGMA user_version")
    if application != schema.APPLICATION_ID:
        raise CopyError(f"{path} is no store of Taba.")
    if version > schema.FORMAT:
        raise CopyError(
            f"{path} was written by a newer version of Taba: its format is {version}, this one knows up to"
            f" {schema.FORMAT}. Use the newer version."
        )
    kept = dict(database.execute("SELECT name, value FROM cluster").fetchall())
    return StoreFacts(
        cluster=kept["id"],
        vbuckets=int(kept["vbuckets"]),
        format=version,
        tabs=one("SELECT count(*) FROM tabs"),
        states=one("SELECT count(*) FROM states"),
        events=one("SELECT coalesce(sum(events), 0) FROM log"),
        bytes=one("PRAGMA page_count") * one("PRAGMA page_size"),
    )


def check(path: Path) -> None:
    """Look at every page of a backup. Raises CopyError when one is damaged."""
    with _reading(path, is_backup=True) as database:
        found = [row[0] for row in database.execute("PRAGMA integrity_check(3)").fetchall()]
    if found != ["ok"]:
        raise CopyError(f"The backup {path} is damaged ({'; '.join(found)}). {ANOTHER}")


def back_up(data_dir: Path, target: Path, told: Told) -> StoreFacts:
    """Copy the store of a folder, which a server may be using, to a new file; what the copy holds.

    Of one moment: the copy reads within one transaction, so what is written meanwhile is not in it, and does not make
    it begin again. Meanwhile the server's write-ahead log grows.
    """
    source = data_dir / DATABASE
    if not source.is_file():
        raise CopyError(f"There is no embedded store in {data_dir}: no {DATABASE}. Say where it is (--data-dir).")
    part = target.with_name(f"{target.name}.part")
    try:
        with _fresh(part) as copy:
            with _reading(source) as database:
                database.execute("BEGIN")
                _facts(database, source)  # its first read is the moment of the copy
                database.backup(copy, pages=PAGES, progress=lambda _, left, pages: told(pages - left, pages))
            # One file, without a write-ahead log beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
        check(part)
        facts = facts_of(part)
        _sync(part)
        os.replace(part, target)
        _sync(target.parent)
    except (sqlite3.Error, OSError) as error:
        raise CopyError(f"The backup cannot be written: {_reason(error)}.") from error
    finally:
        for leftover in (part, part.with_name(f"{part.name}-wal"), part.with_name(f"{part.name}-shm")):
            leftover.unlink(missing_ok=True)
    return facts


@contextmanager
def _fresh(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a new, empty database that nobody but the owner may read."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        yield database


def _reason(error: Exception) -> str:
    return f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.strerror else str(error)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ------------------------------------------------------------------------------------------------------------- restore


def put_back(source: Path, folder: IFolder, told: Told) -> Path | None:
    """Let a folder, which is locked for us, have the store of a backup; where the store that it had before is now, None
    when it had none.
    """
    place = Path(folder.path)
    present, fresh, kept = place / DATABASE, place / f"{DATABASE}.restoring", None
    try:
        _copy(source, fresh, told)
        if present.exists():
            _settle(present)
            kept = _free_name(place)
            _keep(present, kept)
        os.replace(fresh, present)
        _sync(place)
    except OSError as error:
        raise CopyError(f"The store cannot be put back: {_reason(error)}. The folder has what it had.") from error
    finally:
        fresh.unlink(missing_ok=True)
    return kept


def _copy(source: Path, target: Path, told: Told) -> None:
    """Copy a file durably."""
    target.unlink(missing_ok=True)
    size, done = source.stat().st_size, 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(source, "rb") as reading, open(descriptor, "wb") as file:
        while piece := reading.read(PAGES << 12):
            file.write(piece)
            done += len(piece)
            told(done >> 12, size >> 12)
        file.flush()
        os.fsync(file.fileno())


def _keep(present: Path, kept: Path) -> None:
    """Give a store a second name, or copy it where the file system has no such thing."""
    try:
        os.link(present, kept)
    except OSError:
        _copy(present, kept, lambda done, pages: None)


def _settle(present: Path) -> None:
    """Move the write-ahead log of a store into it, or, where the store is damaged, out of the way: beside another
    database it would be taken for that one's.
    """
    logs = [present.with_name(f"{present.name}-{each}") for each in ("wal", "shm")]
    with suppress(sqlite3.Error), closing(sqlite3.connect(present, isolation_level=None)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("PRAGMA journal_mode = DELETE")
    for each in logs:
        if each.exists():
            os.replace(each, _free_name(present.parent, each.name))


def _free_name(place: Path, name: str = DATABASE) -> Path:
    """A name that no file has."""
    paths = (place / f"{name}.{KEPT}-{number}" for number in count(1))
    return next(path for path in paths if not path.exists())


def lock(folder: IFolder) -> None:
    """Take a folder; CopyError while a server uses it."""
    try:
        folder.lock()
    except StartError as problem:
        raise CopyError(
            f"{folder.path} is in use by another Taba process. Stop the server (restoring is for a server that does not"
            " run), then try again."
        ) from problem
