"""The bytes of one simulated file: what readers see, and what a crash would leave.

A pure class: no clock, no IO; chance comes from the generator that is passed in. Three things are kept apart:

* `content`: what `read` gives at once;
* `durable`: what is on the disk for certain;
* `dirty`: the ranges of the content that only the memory of the kernel has. A sync writes them; a crash keeps some
  of them.

After a failed sync ranges may be neither dirty nor durable: the kernel has given them up, a later sync succeeds
without writing them, and only a crash shows that they are gone. Disks write whole sectors, so that what was durable
in a sector stays when the rest of it is not.
"""

from __future__ import annotations

from random import Random

from attrs import define, field

SECTOR = 512  # bytes


@define(eq=False)
class FileBody:
    """One file, independent of its names."""

    content: bytearray = field(factory=bytearray)
    durable: bytearray = field(factory=bytearray)
    dirty: list[tuple[int, int]] = field(factory=list)

    @classmethod
    def of(cls, content: bytes) -> FileBody:
        """A file whose content is durable."""
        return cls(bytearray(content), bytearray(content))

    def append(self, data: bytes) -> None:
        """Add bytes at the end; not durable."""
        start = len(self.content)
        self.content += data
        if self.dirty and self.dirty[-1][1] == start:
            start = self.dirty.pop()[0]
        if start < len(self.content):
            self.dirty.append((start, len(self.content)))

    def sync(self) -> None:
        """Make the dirty ranges durable."""
        for start, end in self.dirty:
            self._write(start, end)
        self.dirty.clear()

    def fail_sync(self, random: Random) -> None:
        """What a failed sync leaves: all is dirty still, or given up, in part perhaps written before; given up, it
        may read as zeros.
        """
        if random.random() < 0.5:
            return
        pieces = [piece for piece in self._sectors() if random.random() < 0.5] if random.random() < 0.5 else []
        for start, end in pieces:
            self._write(start, end)
        if random.random() < 0.5:
            for start, end in self.dirty:
                self.content[start:end] = bytes(end - start)
            for start, end in pieces:
                self.content[start:end] = self.durable[start:end]
        self.dirty.clear()

    def flip(self, offset: int) -> None:
        """Damage one byte, as read and as on the disk."""
        self.content[offset] ^= 0xFF
        if offset < len(self.durable):
            self.durable[offset] ^= 0xFF

    def crash(self, random: Random, torn: bool) -> None:
        """Keep what is durable and some of what is dirty: a prefix of it, or (torn) any of its sectors, with zeros in
        the holes.
        """
        if torn:
            chance = random.choice((0.1, 0.5, 0.9))
            for start, end in self._sectors():
                if random.random() < chance:
                    self._write(start, end)
            if random.random() < 0.5:  # the length was noted, the bytes were not written
                self.durable += bytes(max(0, len(self.content) - len(self.durable)))
        else:
            left = self._prefix_length(random)
            for start, end in self.dirty:
                if left > 0:
                    self._write(start, min(end, start + left))
                left -= end - start
        self.content = bytearray(self.durable)
        self.dirty.clear()

    def _prefix_length(self, random: Random) -> int:
        total = sum(end - start for start, end in self.dirty)
        kind = random.random()
        return 0 if kind < 0.25 else total if kind < 0.5 else random.randint(0, total)

    def _sectors(self) -> list[tuple[int, int]]:
        """The dirty ranges, cut where sectors end."""
        pieces = []
        for start, end in self.dirty:
            while start < end:
                cut = min(end, (start // SECTOR + 1) * SECTOR)
                pieces.append((start, cut))
                start = cut
        return pieces

    def _write(self, start: int, end: int) -> None:
        if len(self.durable) < start:
            self.durable += bytes(start - len(self.durable))
        self.durable[start:end] = self.content[start:end]
