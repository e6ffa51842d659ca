"""How segments get into the spool's folder and out of it. Blocking. All of it is about what survives a crash."""

from __future__ import annotations

import errno
from contextlib import suppress

from attrs import define, field, frozen

from taba.agent.records import Hole
from taba.agent.segments import (
    OPENING_NAME,
    FrameWriter,
    Position,
    damaged_name,
    segment_name,
    segment_number,
)
from taba.agent.spare import Spare
from taba.errors import FolderLocked, SpoolError
from taba.interfaces import IAppendFile, IFolder

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""What the disk says when it, or the user's share of it, is full."""
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
"""What it says when somebody has to change something before anything can be written."""


class DiskFailed(SpoolError):
    """The disk does not do what the spool needs; `reason` is its error. Nothing is lost by that: try again later."""

    def __init__(self, path: str, reason: OSError) -> None:
        super().__init__(f"the disk does not serve the spool in {path}: {reason.strerror or reason}")
        self.path = path
        self.reason = reason

    @property
    def no_room(self) -> bool:
        """Whether it would, if there were room."""
        return self.reason.errno in NO_ROOM

    @property
    def refused(self) -> bool:
        """Whether trying again does not help."""
        return self.reason.errno in REFUSED


class PlaceUnsure(DiskFailed):
    """A segment may have its place, durably, or not: what is written to the one before it might not count any more."""


class FolderGone(DiskFailed):
    """The folder, or the segment that is written, is not where it was: what is written now, nobody would find."""

    def __init__(self, path: str, reason: OSError | None = None) -> None:
        super().__init__(path, reason or OSError(errno.ENOENT, "No such file or directory"))
        self.args = (
            f"The folder of the spool, {path}, or the newest file in it, is gone: it was deleted or moved while the "
            "agent ran. Put it back, or restart the agent.",
        )


def failed(path: str, reason: OSError) -> DiskFailed:
    """What to raise when the disk did not make or find a file."""
    return (FolderGone if reason.errno == errno.ENOENT else DiskFailed)(path, reason)


@define(eq=False)
class OpenSegment:
    """The segment that is written."""

    writer: FrameWriter
    file: IAppendFile
    previous_end: int
    """How many bytes of the segment before it count."""
    opening: int
    """Bytes that it opened with."""
    bare: bool
    """Whether it holds nothing durable but snapshots."""
    durable: Position = field(init=False)
    """The position behind what is durable."""
    written: int = field(init=False)
    synced: int = field(init=False)
    noted: int = field(init=False)
    """How much of it some header says is durable."""

    def __attrs_post_init__(self) -> None:
        self.durable = self.writer.position
        self.written = self.synced = self.noted = self.opening

    @property
    def number(self) -> int:
        """Its number."""
        return self.writer.segment

    def next_place(self) -> tuple[int, int]:
        """The number of the next segment, and how much of the one before that counts.

        A bare one is replaced, so that restarts alone do not make the spool longer.
        """
        return (self.number, self.previous_end) if self.bare else (self.number + 1, self.synced)


@frozen
class SegmentFolder:
    """The folder of a spool."""

    folder: IFolder
    spare: Spare = field(init=False)

    @spare.default
    def _spare(self) -> Spare:
        return Spare(self.folder)

    def numbers(self) -> tuple[list[int], bool]:
        """The segments that are there, ascending, and whether their names are durable for certain. DiskFailed when the
        folder cannot be read.
        """
        durable = True
        try:
            self.folder.sync()
        except OSError:
            durable = False
        try:
            self.spare.find()
            numbers = sorted(number for number in map(segment_number, self.folder.names()) if number is not None)
        except OSError as error:
            raise failed(self.folder.path, error)
        return numbers, durable

    def check(self, number: int) -> None:
        """FolderGone when a segment has lost its place, DiskFailed when that cannot be seen."""
        try:
            names = self.folder.names()
        except OSError as error:
            raise failed(self.folder.path, error)
        if segment_name(number) not in names:
            raise FolderGone(self.folder.path)

    def regain(self) -> None:
        """Take the folder that is now where one was that is gone. DiskFailed when it is not there, or taken."""
        try:
            self.folder.unlock()
            self.folder.lock()
        except FolderLocked:
            raise DiskFailed(self.folder.path, OSError(errno.EBUSY, "another process has taken the folder"))
        except OSError as error:
            raise failed(self.folder.path, error)
        self.spare.size = 0

    def place(self, number: int, content: bytes) -> IAppendFile:
        """Let a segment that begins with `content` take its place, durably; its file, open for more.

        On a full disk the spare file is given up for it. DiskFailed when nothing has changed, PlaceUnsure when
        something may have.
        """
        name = segment_name(number)
        try:
            self._prepare_somehow(content)
        except OSError as error:
            raise failed(self.folder.path, error)
        try:
            self.folder.rename(OPENING_NAME, name)
            self.folder.sync()
            return self.folder.open_append(name)
        except OSError as error:
            raise PlaceUnsure(self.folder.path, error)

    def keep(self, hole: Hole, content: bytes) -> None:
        """Keep the bytes of a damaged stretch for whoever wants to look at them, if the disk takes them."""
        with suppress(OSError):
            if content and damaged_name(hole) not in self.folder.names():
                self._prepare(content)
                self.folder.rename(OPENING_NAME, damaged_name(hole))

    def _prepare_somehow(self, content: bytes) -> None:
        try:
            self._prepare(content)
        except OSError as error:
            if error.errno not in NO_ROOM or not self.spare.give_up():
                raise
            self._prepare(content)

    def _prepare(self, content: bytes) -> None:
        """Make a durable file under the name that prepared ones have."""
        if OPENING_NAME in self.folder.names():
            self.folder.remove(OPENING_NAME)
        file = self.folder.open_append(OPENING_NAME)
        try:
            file.write(content)
            file.sync()
        except OSError:
            with suppress(OSError):
                self.folder.remove(OPENING_NAME)  # it takes up room that the next try will need
            raise
        finally:
            file.close()

    def remove(self, number: int) -> None:
        """Remove a segment; durable after `settle`. One that somebody else removed is no failure."""
        try:
            self.folder.remove(segment_name(number))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise DiskFailed(self.folder.path, error)

    def settle(self) -> None:
        """Make removals durable."""
        try:
            self.folder.sync()
        except OSError as error:
            raise failed(self.folder.path, error)
