"""A folder in memory that notes every step, and the folders that a crash after any of them could leave.

`TracedFolder` provides `IFolder`, as far as the spool uses it. `Wreck` replays a number of its steps, and makes folders
of what is then durable and any part of what is not. Not simulated: slow disks, permissions, locks of other processes.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from random import Random

from attrs import define, field, frozen
from zope.interface import implementer

from taba.errors import FolderLocked
from taba.interfaces import IAppendFile, IFolder

SECTOR = 64
"""Bytes that are written together or not at all. Real ones are larger; small records want small sectors."""


def checksum(content: bytes, crc: int = 0) -> int:
    """A stand-in for CRC-32C that comes with Python: the spool uses whatever it is given."""
    return zlib.crc32(content, crc)


def crc32c(content: bytes, crc: int = 0) -> int:
    """CRC-32C, slowly: the polynomial 0x1EDC6F41, reflected."""
    crc ^= 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def error(number: int) -> OSError:
    """An OSError as the system raises it."""
    return OSError(number, os.strerror(number))


@frozen
class Step:
    """One step: what was done to which file. `name` is "" for the folder itself."""

    verb: str
    file: int = 0
    name: str = ""
    new: str = ""
    content: bytes = field(default=b"", repr=False)


@implementer(IFolder)
@define(eq=False)
class TracedFolder:
    """A folder whose steps are noted in `trace`. `failing` maps a step ("write opening") to the errors it raises."""

    path: str = "traced"
    files: dict[int, bytearray] = field(factory=dict)
    directory: dict[str, int] = field(factory=dict)
    trace: list[Step] = field(factory=list)
    failing: dict[str, list[OSError]] = field(factory=dict)
    free: int = 1 << 40
    locked: bool = False

    @classmethod
    def of(cls, contents: Mapping[str, bytes]) -> TracedFolder:
        """A folder with these files, all durable."""
        folder = cls()
        for number, (name, content) in enumerate(contents.items()):
            folder.files[number] = bytearray(content)
            folder.directory[name] = number
        return folder

    def contents(self) -> dict[str, bytes]:
        """All files, as they are read now."""
        return {name: bytes(self.files[number]) for name, number in self.directory.items()}

    def step(self, step: Step) -> None:
        """Note a step, or fail it."""
        errors = self.failing.get(f"{step.verb} {step.name}".strip())
        if errors:
            raise errors.pop(0)
        self.trace.append(step)

    def names(self) -> list[str]:
        self._fail("names")
        return sorted(self.directory)

    def open_append(self, name: str) -> TracedFile:
        self._fail(f"open {name}")
        if name not in self.directory:
            number = max(self.files, default=0) + 1
            self.step(Step("create", number, name))
            self.files[number] = bytearray()
            self.directory[name] = number
        return TracedFile(self, self.directory[name], name)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self._fail(f"read {name}")
        if name not in self.directory:
            raise error(errno.ENOENT)
        return bytes(self.files[self.directory[name]][offset : None if length is None else offset + length])

    def remove(self, name: str) -> None:
        if name not in self.directory:
            raise error(errno.ENOENT)
        self.step(Step("remove", self.directory[name], name))
        del self.directory[name]

    def rename(self, old: str, new: str) -> None:
        self.step(Step("rename", self.directory[old], old, new))
        self.directory[new] = self.directory.pop(old)

    def sync(self) -> None:
        self.step(Step("folder"))

    def lock(self) -> None:
        if self.locked:
            raise FolderLocked(self.path)
        self.locked = True

    def unlock(self) -> None:
        self.locked = False

    def free_bytes(self) -> int:
        self._fail("free")
        return self.free

    def database(self, name: str) -> sqlite3.Connection:
        raise NotImplementedError

    def _fail(self, step: str) -> None:
        if self.failing.get(step):
            raise self.failing[step].pop(0)


@implementer(IAppendFile)
@define(eq=False)
class TracedFile:
    """A file of a traced folder. A failed write leaves half of its bytes; after a failed sync all is in doubt."""

    folder: TracedFolder
    number: int
    name: str
    is_open: bool = True

    def write(self, data: bytes) -> None:
        assert self.is_open
        half = data[: len(data) // 2]
        try:
            self.folder.step(Step("write", self.number, self.name, content=data))
        except OSError:
            self.folder.trace.append(Step("write", self.number, self.name, content=half))
            self.folder.files[self.number] += half
            raise
        self.folder.files[self.number] += data

    def sync(self) -> None:
        assert self.is_open
        try:
            self.folder.step(Step("sync", self.number, self.name))
        except OSError:
            self.folder.trace.append(Step("fail", self.number, self.name))
            raise

    def size(self) -> int:
        return len(self.folder.files[self.number])

    def close(self) -> None:
        self.is_open = False


@define
class _Remains:
    """What is known of one file: `whole` was written, of which `durable` is on the disk for certain."""

    whole: bytearray = field(factory=bytearray)
    durable: int = 0
    last: int = 0
    """Where the last write began."""
    doubtful: bool = False
    """A sync failed: what was not durable then will never be for certain."""


class Wreck:
    """What is known of a folder after some steps: what is durable, and what may be."""

    def __init__(self, contents: Mapping[str, bytes] | None = None) -> None:
        self.files: dict[int, _Remains] = {}
        self.durable: dict[str, int] = {}
        self.pending: list[Step] = []
        self.last: Step | None = None
        for number, (name, content) in enumerate((contents or {}).items()):
            self.files[number] = _Remains(bytearray(content), len(content))
            self.durable[name] = number

    def take(self, step: Step) -> None:
        """The next step."""
        self.last = step
        remains = self.files.setdefault(step.file, _Remains())
        if step.verb == "write":
            remains.last = len(remains.whole)
            remains.whole += step.content
        elif step.verb == "sync":
            if not remains.doubtful:
                remains.durable = len(remains.whole)
        elif step.verb == "fail":
            remains.doubtful = True
        elif step.verb == "folder":
            self.durable = self._names(self.pending)
            self.pending = []
        else:
            self.pending.append(step)

    def killed(self) -> tuple[Wreck, TracedFolder]:
        """The process was killed, the machine goes on: a folder where all that was written is read, and its wreck."""
        wreck = deepcopy(self)
        folder = TracedFolder(directory=wreck._names(wreck.pending))
        folder.files = {number: bytearray(remains.whole) for number, remains in wreck.files.items()}
        return wreck, folder

    def _names(self, steps: list[Step]) -> dict[str, int]:
        names = dict(self.durable)
        for step in steps:
            if names.get(step.name) == step.file and step.verb != "create":
                del names[step.name]
            if step.verb == "create":
                names[step.name] = step.file
            elif step.verb == "rename":
                names[step.new] = step.file
        return names

    def _directories(self) -> Iterator[dict[str, int]]:
        """Of the changes of names that are not durable, the first ones came to pass, or all but one, or one alone."""
        pending, seen = self.pending, []
        steps = [pending[:count] for count in range(len(pending) + 1)]
        steps += [pending[:index] + pending[index + 1 :] for index in range(len(pending))]
        steps += [[step] for step in pending]
        for kept in steps:
            names = self._names(kept)
            if names not in seen:
                seen.append(names)
                yield names

    def torn(self, stride: int = 1) -> Iterator[dict[str, bytes]]:
        """If the last step was a write: all before it is there, and of it any number of bytes."""
        if self.last is None or self.last.verb != "write":
            return
        remains = self.files[self.last.file]
        names = self._names(self.pending)
        others = {name: bytes(self.files[number].whole) for name, number in names.items()}
        torn = [name for name, number in names.items() if number == self.last.file]
        for length in range(remains.last, len(remains.whole), stride):
            yield others | {name: bytes(remains.whole[:length]) for name in torn}

    def scattered(self, random: Random, count: int) -> Iterator[dict[str, bytes]]:
        """Every set of names, with nothing, all, or (`count` times) any sectors of what is not durable."""
        for names in self._directories():
            yield self._files(names, lambda remains: bytes(remains.whole[: remains.durable]))
            yield self._files(names, lambda remains: bytes(remains.whole))
            if any(remains.durable < len(remains.whole) for remains in self.files.values()):
                for _ in range(count):
                    yield self._files(names, lambda remains: scatter(remains, random))

    def _files(self, names: dict[str, int], keep: object) -> dict[str, bytes]:
        return {name: keep(self.files[number]) for name, number in names.items()}  # type: ignore[operator]


def scatter(remains: _Remains, random: Random) -> bytes:
    """What is durable of a file, and any sectors of the rest; where others are missing before them, zeros."""
    kept = bytearray(remains.whole[: remains.durable])
    chance = random.choice((0.2, 0.5, 0.8, 0.95))
    for begin in range(remains.durable // SECTOR * SECTOR, len(remains.whole), SECTOR):
        start, end = max(begin, remains.durable), min(begin + SECTOR, len(remains.whole))
        if start < end and random.random() < chance:
            kept += bytes(max(0, start - len(kept)))
            kept[start:end] = remains.whole[start:end]
    if random.random() < 0.3:
        kept += bytes(random.randint(0, len(remains.whole) - len(kept)))
    return bytes(kept)
