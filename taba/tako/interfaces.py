"""The seams of Tako: where values are kept, and how a node is talked to. Each has a contract suite in
tests/tako/contracts/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from taba.tako.clock import MAX_STAMP
from taba.tako.merkle import Leaves
from taba.tako.records import Version


@frozen
class Found:
    """What a node holds of a key."""

    version: Version
    body: bytes | None = field(default=None, repr=False)
    """The first piece of the value, when it was asked for."""


@frozen
class Write:
    """A version to be stored, with its value."""

    key: bytes
    version: Version
    body: bytes | None = field(default=None, repr=False)
    """The value; for a tombstone, and where the value was staged, None."""
    upload: str | None = None
    """The upload under which the pieces of the value were staged."""
    limit: int = MAX_STAMP
    """The latest stamp that a clock other than that of the node believes. What the node holds with a stamp above this,
    and above its own limit, is from the future and gives way; one clock alone makes nothing give way.
    """
    replaces: Version | None = None
    """A version that gives way whatever its stamp, because its value is damaged."""


@frozen
class Row:
    """One record, as a walk through all of them meets it."""

    slot: int
    key: bytes
    version: Version
    sound: bool = True
    """Whether the value is what was stored; walks that do not look say True."""


@frozen
class Walked:
    """A page of a walk."""

    rows: tuple[Row, ...]
    count: int
    """The records that were met, those that are not among `rows` too."""
    last: tuple[int, bytes] | None
    """Slot and key of the last one that was met; None at the end."""


class IRecords(Interface):
    """The records of one node. All in one thread; all Deferreds may fail with StorageFailed.

    A write, a drop and a note are durable when their Deferred fires. Of two versions of a key the newer one stays, in
    whatever order they come. Nothing that fails changes what was stored before.
    """

    leaves: Leaves = Attribute("The leaves of the Merkle trees, which follow every write and drop.")
    store_id: str = Attribute("Drawn when the storage was made: another one means that another disk holds the data.")

    def read(key: bytes, body: bool) -> Deferred[Found | None]:
        """What is held of a key, with the first piece if `body`. Damaged when that piece is not what was stored."""

    def piece(key: bytes, version: Version, number: int) -> Deferred[bytes]:
        """A piece of a value, from 0. Gone when another version is held by now; Damaged."""

    def stage(upload: str, number: int, body: bytes) -> Deferred[None]:
        """Keep a piece for a write to come. Pieces come in order; all but the last have PIECE bytes. Not durable."""

    def unstage(upload: str) -> Deferred[None]:
        """Forget the pieces of an upload. Idempotent."""

    def write(write: Write) -> Deferred[Version]:
        """Store a version unless a newer one is held that is not from the future (see `Write.limit`); the version that
        is held now. Damaged when the value is not that of the version, Gone when its upload is not known; DiskFull.
        """

    def drop(key: bytes, version: Version) -> Deferred[bool]:
        """Remove a record if it is still of this version; whether it was."""

    def versions(slots: Sequence[int]) -> Deferred[dict[bytes, Version]]:
        """The versions of all keys in some slots."""

    def walk(after: tuple[int, bytes], limit: int, look: bool, plain: bytes | None = None) -> Deferred[Walked]:
        """The next records in the order of (slot, key), at most `limit`; the values are read and compared with their
        checksums if `look`. With `plain`, a byte for each slot, those of slots whose byte is not 0 are only counted,
        unless they are tombstones or not sound.
        """

    def note(node: str, keys: Sequence[bytes]) -> Deferred[None]:
        """Note, durably, that a node lacks what is held here of some keys. Idempotent; beyond a bound notes are
        dropped.
        """

    def notes(node: str, limit: int) -> Deferred[list[bytes]]:
        """Keys that a node lacks."""

    def forget(node: str, keys: Sequence[bytes]) -> Deferred[None]:
        """Drop notes."""

    def noted() -> Mapping[str, int]:
        """How many notes there are for each node."""


class IPeer(Interface):
    """A node, as other nodes and proxies talk to it; also the node itself, without a connection.

    Deferreds fail with Unreachable, Refused, or StorageFailed; after Unreachable what was asked may have been done.
    """

    node: str = Attribute("Its id.")

    def read(key: bytes, body: bool) -> Deferred[Found | None]:
        """See `IRecords.read`."""

    def piece(key: bytes, version: Version, number: int) -> Deferred[bytes]:
        """See `IRecords.piece`."""

    def stage(upload: str, number: int, body: bytes) -> Deferred[None]:
        """See `IRecords.stage`."""

    def unstage(upload: str) -> Deferred[None]:
        """See `IRecords.unstage`."""

    def write(write: Write) -> Deferred[Version]:
        """See `IRecords.write`."""

    def ask(question: str, arguments: Mapping[str, Any]) -> Deferred[Any]:
        """Any other question of docs/tako/reference.md, and its answer as JSON values."""
