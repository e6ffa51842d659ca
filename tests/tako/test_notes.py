"""Hints: what is noted while others are on their way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba.tako.interfaces import Found, Write
from taba.tako.notes import Notes
from taba.tako.records import Version, version_of


class Noted:
    """Records of one key, and notes, in memory."""

    def __init__(self) -> None:
        self.found = Found(version_of(1, b"first"), b"first")
        self.kept: dict[str, list[bytes]] = {}

    def read(self, key: bytes, body: bool) -> Deferred[Found]:
        """See `IRecords`."""
        return succeed(self.found)

    def note(self, node: str, keys: Sequence[bytes]) -> Deferred[None]:
        """See `IRecords`."""
        kept = self.kept.setdefault(node, [])
        kept += [key for key in keys if key not in kept]
        return succeed(None)

    def notes(self, node: str, limit: int) -> Deferred[list[bytes]]:
        """See `IRecords`."""
        return succeed(list(self.kept.get(node, [])))

    def forget(self, node: str, keys: Sequence[bytes]) -> Deferred[None]:
        """See `IRecords`."""
        self.kept[node] = [key for key in self.kept[node] if key not in keys]
        return succeed(None)

    def noted(self) -> dict[str, int]:
        """See `IRecords`."""
        return {node: len(keys) for node, keys in self.kept.items() if keys}


class Slow:
    """A peer that answers a write when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Version, Deferred[Version]]] = []

    def get(self, node: str) -> Slow:
        """See `Peers`."""
        return self

    def write(self, write: Write) -> Deferred[Version]:
        """See `IPeer`."""
        done: Deferred[Version] = Deferred()
        self.asked.append((write.version, done))
        return done


class NotesTests(SynchronousTestCase):
    """Notes that are added while the node is being sent to."""

    def test_a_key_that_is_noted_again_is_sent_again(self) -> None:
        """A newer value that the node missed while the older one was on its way is not forgotten with it."""
        records, peers = Noted(), Slow()
        known: Any = records
        asked: Any = peers
        notes = Notes(known, asked, Clock(), lambda node: True, lambda: "id")
        self.successResultOf(notes.add("n2", [b"k"]))
        records.found = Found(version_of(2, b"second"), b"second")
        self.successResultOf(notes.add("n2", [b"k"]))
        for number in (0, 1):
            version, done = peers.asked[number]
            self.assertEqual(version.stamp, number + 1)
            done.callback(version)
        self.assertEqual((records.noted(), len(peers.asked)), ({}, 2))
