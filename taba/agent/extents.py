"""Where the body of a batch stands, in few bytes. Pure.

While servers are away the spool holds millions of sections; eight bytes are kept for each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import groupby

from attrs import field, frozen

from taba.agent.held import Held
from taba.agent.records import Extent, Seal

_RUN = struct.Struct("<QI")  # segment, twice the number of extents, plus 1 when they are undivided
_EXTENT = struct.Struct("<II")  # offset, length


@frozen
class Extents:
    """Extents, in order; iterating gives them one by one. At most 4 GiB from the start of a segment."""

    _packed: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, extents: Iterable[Extent]) -> Extents:
        """Pack extents. struct.error when one lies too far out."""
        packed = []
        for (segment, undivided), run in groupby(extents, lambda each: (each.segment, each.undivided)):
            pairs = [_EXTENT.pack(each.offset, each.length) for each in run]
            packed += [_RUN.pack(segment, 2 * len(pairs) + undivided), *pairs]
        return cls(b"".join(packed))

    def __iter__(self) -> Iterator[Extent]:
        at = 0
        while at < len(self._packed):
            segment, count = _RUN.unpack_from(self._packed, at)
            at += _RUN.size
            end = at + (count >> 1) * _EXTENT.size
            for offset, length in _EXTENT.iter_unpack(self._packed[at:end]):
                yield Extent(segment, offset, length, bool(count & 1))
            at = end


@frozen
class SealedBatch:
    """A batch that the spool holds. Where damage took a part of its body there are no extents, but a length."""

    seal: Seal
    extents: Extents

    def held(self) -> Held:
        """The batch as lanes take it; its source is what `Spool.read_batches` reads."""
        seal = self.seal
        return Held(
            seal.seq, seal.after, seal.before, seal.events, seal.sealed, seal.checksum, seal.length, self.extents
        )
