"""What a node does when it is asked: the questions of the internal protocol, answered from its records.

The same object answers connections (`answering`) and, as an `IPeer`, the node's own HTTP side. It refuses whoever runs
on an older configuration than the node, because such a one may not know who holds a key: docs/tako/reference.md says
why no write is lost that way. It reads no socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, maybeDeferred
from zope.interface import implementer

from taba.tako import wire
from taba.tako.clock import HybridClock
from taba.tako.configuration import as_object
from taba.tako.errors import BadKey, Gone, Refused
from taba.tako.interfaces import Found, IPeer, IRecords, Write
from taba.tako.placement import Placement
from taba.tako.records import SLOTS, Version, check_key

UPLOAD_SECONDS = 300.0
"""How long an upload may rest before its pieces are removed."""
MAX_NOTED = 1_000
"""Keys and slots of one question."""


@implementer(IPeer)
@define(eq=False)
class Replica:
    """A node's own records, as `IPeer`."""

    node: str
    records: IRecords
    clock: HybridClock
    seconds: Callable[[], float]
    """A monotonic clock, for uploads that nobody finishes."""
    placement: Callable[[], Placement]
    """The placement in force."""
    newer_elsewhere: Callable[[int, str], object]
    """Told the version of a configuration that is newer than the one in force, and of whom it was heard."""
    keep_notes: Callable[[str, list[bytes]], Deferred[None]]
    """Keeps, durably, that a node lacks what is held here of some keys."""
    counts: dict[str, int] = field(factory=dict, init=False)
    """How often what was asked."""
    _uploads: dict[str, float] = field(factory=dict, init=False)

    def check_version(self, version: int, asker: str) -> None:
        """Raise Refused unless the asker's configuration is as new as the one here."""
        own = self.placement().configuration.version
        if version < own:
            raise Refused("stale", f"your configuration is {version}, mine is {own}", own)
        if version > own:
            self.newer_elsewhere(version, asker)

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # ---------------------------------------------------------------------------------------------------- IPeer

    def read(self, key: bytes, body: bool) -> Deferred[Found | None]:
        """See `IPeer`."""
        self._count("read")
        try:
            check_key(key)
        except BadKey:
            return fail()
        return self.records.read(key, body)

    def piece(self, key: bytes, version: Version, number: int) -> Deferred[bytes]:
        """See `IPeer`."""
        self._count("piece")
        return self.records.piece(key, version, number)

    def stage(self, upload: str, number: int, body: bytes) -> Deferred[None]:
        """See `IPeer`."""
        self._uploads[upload] = self.seconds()
        return self.records.stage(upload, number, body)

    def unstage(self, upload: str) -> Deferred[None]:
        """See `IPeer`."""
        self._uploads.pop(upload, None)
        return self.records.unstage(upload)

    def write(self, write: Write) -> Deferred[Version]:
        """See `IPeer`."""
        self._count("write")
        try:
            check_key(write.key)
            self.clock.observe(write.version.stamp)
        except Exception:
            if write.upload is not None:
                self.records.unstage(write.upload).addErrback(lambda _: None)
            return fail()
        if write.upload is not None:
            self._uploads.pop(write.upload, None)
        return self.records.write(write)

    def ask(self, question: str, arguments: Mapping[str, Any]) -> Deferred[Any]:
        """See `IPeer`."""
        asked = _QUESTIONS.get(question)
        if asked is None:
            return fail(Refused("unknown", f"there is no question {question[:40]!r}"))
        self._count(question)
        return maybeDeferred(asked, self, arguments)

    def forget_uploads(self) -> None:
        """Remove the uploads that have rested too long."""
        before = self.seconds() - UPLOAD_SECONDS
        for upload in [upload for upload, at in self._uploads.items() if at < before]:
            del self._uploads[upload]
            self.records.unstage(upload).addErrback(lambda _: None)

    # ------------------------------------------------------------------------------------------------- questions

    def _group(self, arguments: Mapping[str, Any]) -> Any:
        groups = self.placement().groups
        return groups[wire.whole(arguments.get("group"), "group", 0, len(groups) - 1)]

    def _roots(self, arguments: Mapping[str, Any]) -> list[str]:
        groups = self.placement().groups
        wanted = wire.rows(arguments.get("groups"), "groups")
        leaves = self.records.leaves
        return [leaves.root(groups[wire.whole(each, "groups", 0, len(groups) - 1)]) for each in wanted]

    def _chunks(self, arguments: Mapping[str, Any]) -> list[str]:
        return self.records.leaves.chunks(self._group(arguments))

    def _leaves(self, arguments: Mapping[str, Any]) -> list[str]:
        # As text: a sum may be above what every JSON reader takes exactly.
        return [f"{each:x}" for each in self.records.leaves.of(_slots(arguments))]

    def _versions(self, arguments: Mapping[str, Any]) -> Deferred[Any]:
        def as_rows(found: dict[bytes, Version]) -> list[list[Any]]:
            return [[wire.key_text(key), *version_row(version)] for key, version in found.items()]

        return self.records.versions(_slots(arguments)).addCallback(as_rows)

    def _note(self, arguments: Mapping[str, Any]) -> Deferred[Any]:
        node = wire.string(arguments.get("node"), "node")
        keys = [wire.key_bytes(text) for text in wire.rows(arguments.get("keys"), "keys")[:MAX_NOTED]]
        return self.keep_notes(node, keys).addCallback(lambda _: True)

    def _configuration(self, arguments: Mapping[str, Any]) -> Any:
        return as_object(self.placement().configuration)

    def _unstage(self, arguments: Mapping[str, Any]) -> Deferred[Any]:
        return self.unstage(wire.string(arguments.get("upload"), "upload", 100)).addCallback(lambda _: True)

    def _version(self, arguments: Mapping[str, Any]) -> Any:
        return {"version": self.placement().configuration.version, "store": self.records.store_id}


def _slots(arguments: Mapping[str, Any]) -> list[int]:
    slots = wire.rows(arguments.get("slots"), "slots")
    if len(slots) > MAX_NOTED:
        raise Gone(f"{len(slots)} slots are more than {MAX_NOTED}")
    return [wire.whole(slot, "slots", 0, SLOTS - 1) for slot in slots]


_QUESTIONS: Mapping[str, Callable[[Replica, Mapping[str, Any]], Any]] = {
    "roots": Replica._roots,
    "chunks": Replica._chunks,
    "leaves": Replica._leaves,
    "versions": Replica._versions,
    "note": Replica._note,
    "configuration": Replica._configuration,
    "unstage": Replica._unstage,
    "version": Replica._version,
}
"""Constant: the questions of docs/tako/reference.md."""


def version_row(version: Version) -> list[Any]:
    """A version as it stands in a header."""
    return [version.stamp, int(version.tombstone), version.size, version.checksum]


def version_from(row: list[Any]) -> Version:
    """The version that such a row holds; BadMessage when it holds none."""
    stamp, tombstone, size, checksum = wire.row(row, "version", 4)
    return Version(
        wire.whole(stamp, "stamp"),
        bool(wire.whole(tombstone, "tombstone", 0, 1)),
        wire.whole(size, "size"),
        wire.string(checksum, "checksum", 32),
    )
