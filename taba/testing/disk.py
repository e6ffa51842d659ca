"""A disk in memory that loses what a crash would lose.

`MemoryDisk` is the disk of one machine, and outlives the processes on it. Its folders provide `IFolder`, the seam
through which production code touches files, for one process life: after `crash` the old folders and files raise EIO,
and new ones are asked for.

* Bytes written are read at once, and survive a crash once the file is synced; of the rest the seed keeps any
  prefix, or (torn) any sectors of 512 bytes, with zeros in the holes.
* A name made, changed or removed survives once the folder is synced; before, either may be found. A rename is
  atomic: one of both names.
* Databases are SQLite's (see database.py): their commits survive, their torn writes are not simulated.

Faults are verbs: `crash`, `fill` and `limit` (ENOSPC), `fail_next_sync` (EIO), `read_only` (EROFS), `damage`, `copy`,
`snapshot` and `restore`, `lose`. Not simulated: sub-folders, permissions, slow disks (a reactor's `run_off_reactor`
makes every operation late), ENOSPC of a sync.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable, Mapping
from random import Random

from attrs import define, field, frozen

from taba.testing.database import MemoryDatabase
from taba.testing.directory import Directory
from taba.testing.filebody import FileBody
from taba.testing.folder import MemoryFolder

CAPACITY = 1 << 40  # bytes
"""The size of a disk that was given no limit."""


@frozen
class DiskImage:
    """What was durable on a disk at one moment: folder -> name -> bytes."""

    files: Mapping[str, Mapping[str, bytes]] = field(repr=False)
    databases: Mapping[str, Mapping[str, bytes]] = field(repr=False)


@define(eq=False)
class MemoryDisk:
    """The disk of one machine. `random` decides what crashes and failed syncs leave.

    `on_verb` is told of each fault; `on_step` before each operation of a process what it is going to do ("write
    spool/0001"), and may crash the disk there, which stops the operation with EIO. One process at a time lives on a
    disk.
    """

    random: Random
    name: str = "disk"
    on_verb: Callable[[str], None] | None = None
    on_step: Callable[[str], None] | None = None
    on_note: Callable[[str], None] | None = None
    """Is told a line for every operation, for traces."""
    torn: bool | None = None
    """Whether crashes tear what was not synced; None lets the seed choose each time."""
    life: int = field(default=0, init=False)
    """Counts the process lives that have ended on the disk."""
    writable: bool = field(default=True, init=False)
    failing_syncs: list[str | None] = field(factory=list, init=False)
    _capacity: int = field(default=CAPACITY, init=False)
    _full: bool = field(default=False, init=False)
    _folders: dict[str, Directory] = field(factory=dict, init=False)

    # ------------------------------------------------------------------------------------------------- for processes

    def folder(self, path: str = "data") -> MemoryFolder:
        """A folder of the disk, made when it is not there, for the process that lives now."""
        return MemoryFolder(self, self._directory(path), self.life)

    def free_bytes(self) -> int:
        """The bytes there is room for."""
        return 0 if self._full else max(0, self._capacity - self._used())

    def exit(self) -> None:
        """The process has ended in good order: locks and connections are released; nothing is lost, nothing becomes
        durable.
        """
        self.life += 1
        for directory in self._folders.values():
            directory.release()

    # --------------------------------------------------------------------------------------------------------- faults

    def crash(self, torn: bool | None = None) -> None:
        """The machine stops at once: what was not synced is lost in part. `torn` overrides the attribute."""
        self._verb("disk_crash")
        self.life += 1
        self.failing_syncs.clear()
        mode = self.torn if torn is None else torn
        if mode is None:
            mode = self.random.random() < 0.5
        for path in sorted(self._folders):
            self._folders[path].crash(self.random, mode)

    def fill(self, on: bool = True) -> None:
        """Fill the disk to the last byte (ENOSPC, SQLITE_FULL), or make room again."""
        self._verb("fill" if on else "make_room")
        self._full = on
        self._limit_databases()

    def limit(self, capacity: int | None) -> None:
        """Let the disk hold `capacity` bytes in all; None lifts the limit. Databases may grow by the room that is
        left at this moment.
        """
        self._verb("limit")
        self._capacity = CAPACITY if capacity is None else capacity
        self._limit_databases()

    def fail_next_sync(self, name: str | None = None) -> None:
        """Let the next sync fail with EIO: that of the file `name`, of the folder itself (`name` "."), or (None) of
        any file.

        What the file had not synced stays dirty, or is given up, by the seed's choice.
        """
        self._verb("fail_next_sync")
        self.failing_syncs.append(name)

    def read_only(self, on: bool = True) -> None:
        """Let every change fail with EROFS (SQLITE_READONLY), or succeed again."""
        self._verb("read_only" if on else "read_write")
        self.writable = not on
        for directory in self._folders.values():
            for database in directory.databases.values():
                database.read_only(on)

    def damage(self, path: str, name: str, offset: int | None = None) -> int:
        """Change one byte of a file, on the disk and for readers, at `offset` or where the seed says; the offset."""
        self._verb("damage")
        body = self._directory(path).names[name]
        where = self.random.randrange(len(body.content)) if offset is None else offset
        body.flip(where)
        return where

    def snapshot(self) -> DiskImage:
        """What is durable now: a backup, for `restore`."""
        self._verb("snapshot")
        return self._image()

    def restore(self, image: DiskImage) -> None:
        """Replace all by what `image` holds; the process that lives now loses the disk."""
        self._verb("restore")
        self._empty()
        self._fill_from(image)

    def copy(self, name: str = "copy") -> MemoryDisk:
        """Another disk, with what is durable on this one now: a copied disk image. Its chances are a function of this
        disk's.
        """
        self._verb("copy")
        twin = MemoryDisk(Random(self.random.getrandbits(64)), name, torn=self.torn)
        twin._fill_from(self._image())
        return twin

    def lose(self) -> None:
        """Lose everything on the disk; the process that lives now loses it too."""
        self._verb("lose")
        self._empty()

    def close(self) -> None:
        """Free the memory of the databases. The disk is not used any more."""
        self._empty()

    # ---------------------------------------------------------------------------------------- for folders and files

    def check(self, life: int, step: str, changes: bool) -> None:
        """What comes before every operation of a process: whether it may, as OSError."""
        if life == self.life and self.on_step is not None:
            self.on_step(step)
        if life != self.life:
            raise OSError(errno.EIO, "the disk is gone for this process", step)
        if self.on_note is not None:
            self.on_note(f"disk {self.name} {step}")
        if changes and not self.writable:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), step)

    def note_bytes(self, data: bytes) -> None:
        """Let the bytes of a write count in traces."""
        if self.on_note is not None:
            self.on_note(f"disk {self.name} {len(data)} {zlib.crc32(data):08x}")

    def room_for(self, length: int) -> int:
        """How many of `length` bytes there is room for."""
        if not self._full and self._capacity == CAPACITY:
            return length
        return min(length, self.free_bytes())

    def sync_fails(self, name: str) -> bool:
        """Whether this sync is one that is to fail."""
        for awaited in (name, None):
            if awaited in self.failing_syncs and (awaited is not None or name != "."):
                self.failing_syncs.remove(awaited)
                return True
        return False

    def database_made(self, database: MemoryDatabase) -> None:
        """Let a new database feel the faults in force."""
        database.read_only(not self.writable)
        database.limit(self._room_for_databases())

    def _directory(self, path: str) -> Directory:
        return self._folders.setdefault(path, Directory(path))

    def _used(self) -> int:
        return sum(directory.size() for directory in self._folders.values())

    def _room_for_databases(self) -> int | None:
        return None if not self._full and self._capacity == CAPACITY else self.free_bytes()

    def _limit_databases(self) -> None:
        room = self._room_for_databases()
        for directory in self._folders.values():
            for database in directory.databases.values():
                database.limit(room)

    def _image(self) -> DiskImage:
        files, databases = {}, {}
        for path, directory in self._folders.items():
            files[path] = {name: bytes(body.durable) for name, body in directory.durable.items()}
            databases[path] = {name: database.image() for name, database in directory.databases.items()}
        return DiskImage(files, databases)

    def _fill_from(self, image: DiskImage) -> None:
        for path, files in image.files.items():
            directory = self._directory(path)
            directory.names = {name: FileBody.of(content) for name, content in files.items()}
            directory.durable = dict(directory.names)
            for name, content in image.databases[path].items():
                directory.databases[name] = MemoryDatabase(content)
                self.database_made(directory.databases[name])

    def _empty(self) -> None:
        self.life += 1
        for directory in self._folders.values():
            for database in directory.databases.values():
                database.close()
        self._folders.clear()

    def _verb(self, verb: str) -> None:
        if self.on_verb is not None:
            self.on_verb(verb)
