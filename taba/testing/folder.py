"""A folder of a simulated disk and the files in it, as one process life sees them: `IFolder` and `IAppendFile`."""

from __future__ import annotations

import errno
import os
import sqlite3
from typing import TYPE_CHECKING

from attrs import define, field
from zope.interface import implementer

from taba.errors import FolderLocked
from taba.interfaces import IAppendFile, IFolder
from taba.testing.database import MemoryDatabase
from taba.testing.directory import Directory
from taba.testing.filebody import FileBody

if TYPE_CHECKING:
    from taba.testing.disk import MemoryDisk


@implementer(IFolder)
@define(eq=False)
class MemoryFolder:
    """One folder, for one process life. Names are those of files: not empty, without slash."""

    _disk: MemoryDisk
    _directory: Directory
    _life: int
    _holds_lock: bool = field(default=False, init=False)

    @property
    def path(self) -> str:
        """Its path, for messages."""
        return f"{self._disk.name}:{self._directory.path}"

    def names(self) -> list[str]:
        """The names of files and databases, sorted."""
        self._check("names", "", changes=False)
        return sorted((*self._directory.names, *self._directory.databases))

    def open_append(self, name: str) -> MemoryFile:
        """Open a file for appending, made when it is not there (ENOSPC when the disk is full)."""
        self._check("open", name)
        body = self._directory.names.get(name)
        if body is None:
            if name in self._directory.databases:
                raise _error(errno.EBUSY, name)
            if self._disk.free_bytes() == 0:
                raise _error(errno.ENOSPC, name)
            body = FileBody()
            self._directory.change(None, name, body)
        return MemoryFile(self, name, body)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file, written or synced alike; of a database the bytes that its file would have."""
        self._check("read", name, changes=False)
        end = None if length is None else offset + length
        if name in self._directory.databases:
            return self._directory.databases[name].image()[offset:end]
        return bytes(self._body(name).content[offset:end])

    def remove(self, name: str) -> None:
        """Remove a file or a database."""
        self._check("remove", name)
        database = self._directory.databases.pop(name, None)
        if database is not None:
            database.close()
        else:
            self._directory.change(name, None, self._body(name))

    def rename(self, old: str, new: str) -> None:
        """Give a file or a database another name, replacing what had that name."""
        self._check("rename", f"{old} {new}")
        _check_name(new)
        databases = self._directory.databases
        if old not in databases:
            self._body(old)  # raises when there is none
        if old == new:
            return
        replaced = databases.pop(new, None)
        if replaced is not None:
            replaced.close()
        if old in databases:
            if new in self._directory.names:
                self._directory.change(new, None, self._body(new))
            databases[new] = databases.pop(old)
        else:
            self._directory.change(old, new, self._body(old))

    def sync(self) -> None:
        """Make the names durable."""
        self._check("sync", ".", changes=False)
        if self._disk.sync_fails("."):
            raise _error(errno.EIO, self.path)
        self._directory.sync()

    def lock(self) -> None:
        """Take the folder until `unlock`, or the end of the process; FolderLocked when it is taken."""
        self._check("lock", "", changes=False)
        if self._directory.locked:
            raise FolderLocked(self.path)
        self._directory.locked = self._holds_lock = True

    def unlock(self) -> None:
        """Give it back, when this object took it."""
        if self._holds_lock and self._life == self._disk.life:
            self._directory.locked = False
        self._holds_lock = False

    def free_bytes(self) -> int:
        """The bytes that the disk has room for."""
        self._check("free_bytes", "", changes=False)
        return self._disk.free_bytes()

    def database(self, name: str) -> sqlite3.Connection:
        """A connection to a SQLite database, made when missing; see database.py for what differs from a file."""
        self._check("database", name, changes=False)
        _check_name(name)
        database = self._directory.databases.get(name)
        if database is None:
            self._check("make database", name)
            if name in self._directory.names:
                raise _error(errno.EBUSY, name)
            database = self._directory.databases[name] = MemoryDatabase()
            self._disk.database_made(database)
        return database.connect()

    # For MemoryFile.

    def append(self, name: str, body: FileBody, data: bytes) -> None:
        """Append to a file; when the disk gets full, what fits is written before ENOSPC."""
        self._check("write", name)
        self._disk.note_bytes(data)
        room = self._disk.room_for(len(data))
        body.append(bytes(data[:room]))
        if room < len(data):
            raise _error(errno.ENOSPC, name)

    def sync_file(self, name: str, body: FileBody) -> None:
        """Make a file's bytes durable."""
        self._check("sync", name, changes=False)
        if self._disk.sync_fails(name):
            body.fail_sync(self._disk.random)
            raise _error(errno.EIO, name)
        body.sync()

    def _check(self, operation: str, name: str, changes: bool = True) -> None:
        if operation in ("open", "write", "read", "remove"):
            _check_name(name)
        self._disk.check(self._life, f"{operation} {self._directory.path}/{name}", changes)

    def _body(self, name: str) -> FileBody:
        body = self._directory.names.get(name)
        if body is None:
            raise _error(errno.ENOENT, name)
        return body


@implementer(IAppendFile)
@define(eq=False)
class MemoryFile:
    """One file, open for appending. `name` is the one it was opened under."""

    _folder: MemoryFolder
    name: str
    _body: FileBody
    _open: bool = field(default=True, init=False)

    def write(self, data: bytes) -> None:
        """Append; after ENOSPC a part of `data` may be there."""
        self._check_open()
        self._folder.append(self.name, self._body, data)

    def sync(self) -> None:
        """Make all that was written durable."""
        self._check_open()
        self._folder.sync_file(self.name, self._body)

    def size(self) -> int:
        """Bytes in the file."""
        self._check_open()
        return len(self._body.content)

    def close(self) -> None:
        """Close; makes nothing durable, loses nothing."""
        self._open = False

    def _check_open(self) -> None:
        if not self._open:
            raise _error(errno.EBADF, self.name)


def _error(number: int, name: str) -> OSError:
    return OSError(number, os.strerror(number), name)


def _check_name(name: str) -> None:
    if not name or "/" in name or name in (".", ".."):
        raise OSError(errno.EINVAL, "not the name of a file", name)
