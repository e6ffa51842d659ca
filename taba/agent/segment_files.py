"""How segments get into the spool's folder and out of it. Blocking. All of it is about what survives a crash."""

from __future__ import annotations

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
from taba.errors import SpoolError
from taba.interfaces import IAppendFile, IFolder


class DiskFailed(SpoolError):
    """The disk does not do what the spool needs; `reason` is its error. Nothing is lost by that: try again later."""

    def __init__(self, path: str, reason: OSError) -> None:
        super().__init__(f"the disk does not serve the spool in {path}: {reason.strerror or reason}")
        self.path = path
        self.reason = reason


class PlaceUnsure(DiskFailed):
    """A segment may have its place, durably, or not: what is written to the one before it might not count any more."""


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

    def numbers(self) -> list[int]:
        """The segments that are there, ascending. Names that the life before gave are durable then."""
        try:
            self.folder.sync()
            return sorted(number for number in map(segment_number, self.folder.names()) if number is not None)
        except OSError as error:
            raise DiskFailed(self.folder.path, error)

    def place(self, number: int, content: bytes) -> IAppendFile:
        """Let a segment that begins with `content` take its place, durably; its file, open for more.

        DiskFailed when nothing has changed, PlaceUnsure when something may have.
        """
        name = segment_name(number)
        try:
            self._prepare(content)
        except OSError as error:
            raise DiskFailed(self.folder.path, error)
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
        """Remove a segment; durable after `settle`."""
        try:
            self.folder.remove(segment_name(number))
        except OSError as error:
            raise DiskFailed(self.folder.path, error)

    def settle(self) -> None:
        """Make removals durable."""
        try:
            self.folder.sync()
        except OSError as error:
            raise DiskFailed(self.folder.path, error)
