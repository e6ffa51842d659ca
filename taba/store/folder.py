"""The real folder: `IFolder` on the file system of the operating system.

Files are readable and writable for the owner only, whatever the umask allows. A lock is held by the process and goes
with it, however it ends. Nothing here is durable before it is synced: a file by its own `sync`, its name by the
folder's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from pathlib import Path

from attrs import define, field
from zope.interface import implementer

from taba.errors import FolderLocked, StartError
from taba.interfaces import IAppendFile, IFolder

LOCK = "lock"
"""The name of the file that stands for the lock. It stays when the lock is given back, and is not one of `names`."""

_BUSY_SECONDS = 5.0
"""How long a statement waits for another program, such as a backup, that uses the database."""


@implementer(IAppendFile)
@define(eq=False)
class RealAppendFile:
    """`IAppendFile` on a file descriptor. After a failed sync it refuses everything but `close`."""

    _descriptor: int
    _path: str
    _size: int
    _failed: bool = field(default=False, init=False)

    def write(self, data: bytes) -> None:
        """See `IAppendFile.write`."""
        descriptor = self._usable()
        rest = memoryview(data)
        while rest:
            written = os.write(descriptor, rest)
            self._size += written
            rest = rest[written:]

    def sync(self) -> None:
        """See `IAppendFile.sync`."""
        descriptor = self._usable()
        try:
            os.fdatasync(descriptor)
        except OSError:
            # The kernel may have dropped what it could not write, and say at the next sync that all is well.
            self._failed = True
            raise

    def size(self) -> int:
        """See `IAppendFile.size`."""
        return self._size

    def close(self) -> None:
        """See `IAppendFile.close`."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _usable(self) -> int:
        """The descriptor; raises OSError when the file is closed or failed."""
        if self._descriptor < 0:
            raise OSError(errno.EBADF, "the file is closed", self._path)
        if self._failed:
            raise OSError(errno.EIO, "a sync of this file failed before", self._path)
        return self._descriptor


@implementer(IFolder)
@define(eq=False)
class RealFolder:
    """`IFolder` on an existing folder; see `open_folder`. Several may stand for the same one; only one of them gets the
    lock.
    """

    path: str
    _lock: int | None = field(default=None, init=False)

    def names(self) -> list[str]:
        """See `IFolder.names`."""
        with os.scandir(self.path) as entries:
            return sorted(entry.name for entry in entries if entry.is_file() and entry.name != LOCK)

    def open_append(self, name: str) -> RealAppendFile:
        """See `IFolder.open_append`."""
        path = self._path_of(name)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return RealAppendFile(descriptor, path, os.fstat(descriptor).st_size)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `IFolder.read`."""
        with open(self._path_of(name), "rb", buffering=0) as file:
            file.seek(offset)
            if length is None:
                return file.readall()
            pieces = []
            while length > 0 and (piece := file.read(length)):
                pieces.append(piece)
                length -= len(piece)
            return b"".join(pieces)

    def remove(self, name: str) -> None:
        """See `IFolder.remove`."""
        os.unlink(self._path_of(name))

    def rename(self, old: str, new: str) -> None:
        """See `IFolder.rename`."""
        os.replace(self._path_of(old), self._path_of(new))

    def sync(self) -> None:
        """See `IFolder.sync`."""
        _sync_folder(self.path)

    def lock(self) -> None:
        """See `IFolder.lock`. A second time in the same process it is refused like another process."""
        descriptor = os.open(os.path.join(self.path, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Not a POSIX lock: that one goes as soon as the process closes the file anywhere.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise FolderLocked(self.path)
        except BaseException:
            os.close(descriptor)
            raise
        self._lock = descriptor

    def unlock(self) -> None:
        """See `IFolder.unlock`."""
        descriptor, self._lock = self._lock, None
        if descriptor is not None:
            # Closing alone would leave the lock with a child that was forked meanwhile.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def free_bytes(self) -> int:
        """See `IFolder.free_bytes`. What the system keeps for its administrator is not counted."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def database(self, name: str) -> sqlite3.Connection:
        """See `IFolder.database`."""
        path = self._path_of(name)
        # SQLite would make the file readable for everybody; its log files get the permissions that this one has.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise OSError(errno.EIO, str(error), path) from error

    def _path_of(self, name: str) -> str:
        if name in ("", ".", "..", LOCK) or "/" in name or "\0" in name:
            raise OSError(errno.EINVAL, "not a name for a file of this folder", name)
        return os.path.join(self.path, name)


def open_folder(path: str) -> RealFolder:
    """The folder at `path`, made durably, with those above it, when it is not there.

    Raises StartError, whose text says what to do, when it cannot be made, listed or written.
    """
    absolute = Path(path).absolute()
    try:
        _make(absolute)
        os.listdir(absolute)
        # Only making a file shows that files can be made: permissions say nothing about a disk that is mounted
        # read-only.
        os.close(os.open(absolute / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StartError(
            f"The folder {absolute} cannot be used: {error.strerror}: {error.filename}. Make it readable and writable"
            " for the user that runs Taba, or name another one (--data-dir)."
        ) from error
    return RealFolder(str(absolute))


def _make(folder: Path) -> None:
    """Make a folder and those above it, for the owner only, and make their names durable."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
