"""Brings back what waits on disk and not in memory, a few MiB at a time: sections from before the cluster was known,
which are divided as they come, and sections that a restart found. IO, thin: which are next is for `sealing` to say.

Of a section that is divided nothing but its parts stays in memory; a section that cannot be read is tried again in
later turns, some times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import inlineCallbacks
from twisted.logger import Logger

from taba import native
from taba.agent.records import Extent
from taba.agent.sealing import Piece, Sealing
from taba.agent.spool import Spool
from taba.errors import CodecError, SpoolError
from taba.native import Section
from taba.process import Worker

READ_TRIES = 5
"""How often a section that cannot be read is tried again."""


class Backlog:
    """What of the spool is to be sealed and has to be read first. `split` deals a section to so many vbuckets."""

    _log = Logger()

    def __init__(
        self,
        spool: Spool,
        worker: Worker,
        sealing: Sealing,
        split: Callable[[bytes, int], Sequence[Section]] = native.batch_split,
    ) -> None:
        self._spool = spool
        self._worker = worker
        self._sealing = sealing
        self._split = split

    @inlineCallbacks
    def divide(self, pieces: Sequence[Piece], vbuckets: int):  # type: ignore[no-untyped-def]
        """The parts of each of these sections; fires with None when one of them has to be tried again.

        One that could not be read again and again has no parts.
        """
        divided: list[Sequence[Section]] = []
        for piece in pieces:
            try:
                divided.append((yield self._worker(self._read_parts, piece, vbuckets)))
            except (OSError, SpoolError, CodecError) as problem:
                self._missed(piece, problem)
                if piece.tries < READ_TRIES:
                    return None
                divided.append(())
        return divided

    def _read_parts(self, piece: Piece, vbuckets: int) -> Sequence[Section]:
        return self._split(self._spool.read([_place_of(piece)]), vbuckets)

    @inlineCallbacks
    def read(self, pieces: Sequence[Piece]):  # type: ignore[no-untyped-def]
        """Read the bytes of pieces; fires with the number of events that are given up."""
        missed = False
        for piece in pieces:
            try:
                piece.data = yield self._worker(self._spool.read, [_place_of(piece)])
            except (OSError, SpoolError) as problem:
                self._missed(piece, problem)
                missed = True
        return self._sealing.give_up(READ_TRIES) if missed else 0

    def _missed(self, piece: Piece, problem: Exception) -> None:
        piece.tries += 1
        self._log.warn("A section of the spool cannot be read: {problem}", problem=problem)


def _place_of(piece: Piece) -> Extent:
    if piece.extent is None:
        raise ValueError(f"the section of commit {piece.commit} is not in the spool yet")
    return piece.extent
