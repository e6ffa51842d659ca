"""The spare file of a spool: room on the disk that is given up when there is no other. Blocking.

A disk may be filled to the last byte by others. The spool could free what the servers have confirmed, if only it could
begin a new segment first, which takes a few KiB that are not there. So it keeps a file of zeros; what takes its room,
once it is removed, is what a segment opens with. The file says nothing and is never read: it may be missing, too short
or too long after any crash.
"""

from __future__ import annotations

from contextlib import suppress

from attrs import define, field

from taba.interfaces import IFolder

SPARE_NAME = "spare"
"""The file's name."""


@define(eq=False)
class Spare:
    """The spare file in one folder."""

    folder: IFolder
    size: int = field(default=0, init=False)
    """The bytes that it takes up, as far as is known."""

    def find(self) -> None:
        """See what the life before has left. OSError when the folder cannot be listed."""
        if SPARE_NAME in self.folder.names():
            with suppress(OSError):
                file = self.folder.open_append(SPARE_NAME)
                self.size = file.size()
                file.close()

    def keep(self, wanted: int) -> None:
        """Let it be of `wanted` bytes at least, if the disk takes them. Nothing is raised: without it the spool works,
        too.
        """
        if self.size >= wanted:
            return
        try:
            file = self.folder.open_append(SPARE_NAME)
            try:
                file.write(bytes(max(0, wanted - file.size())))
                file.sync()  # only then the disk has given the room
                self.size = file.size()
            finally:
                file.close()
        except OSError:
            self.size = 1  # whatever was written of it takes up room
            self.give_up()

    def give_up(self) -> bool:
        """Make its room free; whether there was any."""
        if not self.size:
            return False
        try:
            self.folder.remove(SPARE_NAME)
        except OSError:
            return False
        self.size = 0
        return True
