"""How the spool is read: segments at the start, bodies of batches later. Blocking. A bad sector costs what is on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import frozen

from taba.agent.extents import Extents
from taba.agent.held import Held
from taba.agent.records import Checksum, Extent
from taba.agent.segments import segment_name
from taba.errors import CodecError, SpoolError
from taba.interfaces import IFolder

BLOCK_BYTES = 1 << 16
"""A segment that cannot be read in one piece is read in blocks of this size."""
GAP_BYTES = 1 << 12
"""Sections that lie no further apart are read in one piece ..."""
RUN_BYTES = 1 << 20
"""... of at most this size."""

Split = Callable[[bytes], Iterable[tuple[int, int, bytes]]]
"""Deals an undivided section to its vbuckets: (vbucket, events, bytes) each."""


class BodyDamaged(SpoolError):
    """Bytes that were written cannot be read again."""

    def __init__(self, path: str, extents: Sequence[Extent]) -> None:
        super().__init__(f"the spool in {path} is damaged: {list(extents)} cannot be read")
        self.path = path
        self.extents = extents


@frozen
class SpoolReader:
    """Reads the segments of a folder."""

    folder: IFolder
    checksum: Checksum

    def segment(self, number: int) -> bytes:
        """The bytes of a segment; zeros where it cannot be read, and none when nothing of it can be."""
        name = segment_name(number)
        try:
            return self.folder.read(name)
        except OSError:
            return self._salvage(name)

    def _salvage(self, name: str) -> bytes:
        try:
            file = self.folder.open_append(name)
            size = file.size()
            file.close()
        except OSError:
            return b""
        blocks = []
        for offset in range(0, size, BLOCK_BYTES):
            length = min(BLOCK_BYTES, size - offset)
            try:
                block = self.folder.read(name, offset, length)
            except OSError:
                block = b""
            blocks.append(block.ljust(length, b"\0"))
        return b"".join(blocks)

    def extent(self, extent: Extent) -> bytes:
        """The bytes of a section; fewer when they are not there."""
        try:
            return self.folder.read(segment_name(extent.segment), extent.offset, extent.length)
        except OSError:
            return b""

    def sections(self, extents: Sequence[Extent]) -> list[bytes | None]:
        """The bytes of sections, in the order asked for; None for those that are not all there."""
        found = dict(self._each(extents))
        return [found[extent] for extent in extents]

    def _each(self, extents: Iterable[Extent]) -> Iterator[tuple[Extent, bytes | None]]:
        """The same one by one, each once, in the order of the files: no more than RUN_BYTES is read beforehand."""
        for run in _runs(extents):
            first, last = run[0], run[-1]
            length = max(extent.offset + extent.length for extent in run) - first.offset
            whole = self.extent(Extent(first.segment, first.offset, length)) if first is not last else b""
            for extent in run:
                begin = extent.offset - first.offset
                data = whole[begin : begin + extent.length]
                if len(data) < extent.length:
                    data = self.extent(extent)
                yield extent, data if len(data) == extent.length else None

    def batches(self, batches: Sequence[tuple[int, Held]], split: Split | None) -> list[bytes | None]:
        """The bodies of (vbucket, batch), in order; None for one that is not any more what was sealed.

        The source of a batch is `Extents`, or a tuple of them unpacked. An undivided section, of which many batches
        have parts, is read and dealt once, and only what is asked for stays in memory.
        """
        parts: list[list[bytes] | None] = []
        places: dict[Extent, list[tuple[int, int]]] = {}
        for which, (_, held) in enumerate(batches):
            source = _source(held)
            parts.append([b""] * len(source))
            for place, extent in enumerate(source):
                places.setdefault(extent, []).append((which, place))
        for extent, section in self._each(places):
            dealt = _dealt(section, split if extent.undivided else None)
            for which, place in places[extent]:
                found = parts[which]
                if dealt is None:
                    parts[which] = None
                elif found is not None:
                    found[place] = dealt.get(batches[which][0], b"") if isinstance(dealt, dict) else dealt
        return [self._body(held, found) for (_, held), found in zip(batches, parts, strict=True)]

    def _body(self, held: Held, parts: Sequence[bytes] | None) -> bytes | None:
        if parts is None:
            return None
        body = b"".join(parts)
        return body if len(body) == held.length and self.checksum(body, 0) == held.checksum else None


def _dealt(section: bytes | None, split: Split | None) -> bytes | dict[int, bytes] | None:
    """A section as it is, or its parts by vbucket; None when it cannot be had."""
    if section is None or split is None:
        return section
    dealt: dict[int, bytes] = {}
    try:
        for vbucket, _, data in split(section):
            dealt[vbucket] = dealt.get(vbucket, b"") + data
    except CodecError:
        return None
    return dealt


def _source(held: Held) -> tuple[Extent, ...]:
    if not isinstance(held.source, tuple | Extents):
        raise TypeError(f"not a batch of the spool: {held}")
    return tuple(held.source)


def _runs(extents: Iterable[Extent]) -> Iterator[list[Extent]]:
    """Extents that are near one another, in the order of the file."""
    run: list[Extent] = []
    end = 0
    for extent in sorted(set(extents), key=lambda each: (each.segment, each.offset)):
        near = run and extent.segment == run[0].segment and extent.offset <= end + GAP_BYTES
        if run and not (near and extent.offset + extent.length <= run[0].offset + RUN_BYTES):
            yield run
            run = []
        run.append(extent)
        end = extent.offset + extent.length
    if run:
        yield run
