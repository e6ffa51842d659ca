"""Files of version 1 of the spool's format, which every later build must read and write alike."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from attrs import asdict, evolve
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.encoding import Kind, decode
from taba.agent.records import (
    Aside,
    Commit,
    Seal,
    Section,
)
from taba.agent.segments import (
    scan,
    segment_number,
)
from taba.agent.spool import Spool
from tests.agent.spool_folder import TracedFolder, crc32c
from tests.agent.spool_life import CLUSTER, ONE, A, B

GOLDEN = Path(__file__).parent.parent / "golden" / "spool"


def golden_life() -> dict[str, bytes]:
    """A short life with every kind of record that the spool writes of its own accord."""
    folder = TracedFolder()
    spool = Spool(folder, crc32c)
    spool.start_segment(evolve(spool.open().snapshot, incarnation=A))
    undivided = Section(0, 2, b"undivided")
    spool.write([Commit(1, A, 1000.25, {ONE: 0}, {"received": 2}, (undivided,), 0)])
    spool.sync()
    spool.write([evolve(spool.snapshot(), cluster=CLUSTER, vbuckets=128)])
    parts = (Section(5, 3, b"five"), Section(127, 1, b"last"))
    spool.write([Commit(2, A, 1001.5, {ONE: 1}, {"received": 5, "refused.future": 1}, parts, 128)])
    spool.write([Seal(A, 5, 1, 0, 0, 3, 1001.5, crc32c(b"five"), 2, 2, 4)])
    spool.write([Seal(A, 127, 1, 0, 0, 1, 1001.5, crc32c(b"last"), 2, 2, 4)])
    spool.sync()
    spool.start_segment(evolve(spool.snapshot(), incarnation=B, first_needed=1))
    spool.write([Aside(A, 5, 1, "too old", True, 0, 3)])
    spool.sync()
    spool.close()
    return folder.contents()


def golden_types() -> dict[str, bytes]:
    """A spool that remembers Types, and one commit of theirs."""
    folder = TracedFolder()
    spool = Spool(folder, crc32c)
    spool.start_segment(evolve(spool.open().snapshot, incarnation=A, cluster=CLUSTER, vbuckets=128, types=TYPES))
    spool.write([Commit(1, A, 1000.25, {}, {"received": 1}, (Section(5, 1, b"five"),), 128)])
    spool.sync()
    spool.close()
    return folder.contents()


TYPES = {"Distinct": 0, "Level": 256}
LIVES = {GOLDEN: golden_life, GOLDEN / "types": golden_types}
"""Folder -> what writes its files."""


class GoldenTests(SynchronousTestCase):
    """Files of version 1, as they were written once. `expected.json` has what they hold."""

    def test_bytes(self) -> None:
        """The same life writes the same bytes for ever."""
        for folder, life in LIVES.items():
            written = life()
            self.assertEqual(sorted(written), sorted(path.name for path in folder.glob("segment-*")))
            for name, content in written.items():
                self.assertEqual(content, (folder / name).read_bytes())

    def test_records(self) -> None:
        """The files are understood, record by record."""
        for folder in LIVES:
            expected = json.loads((folder / "expected.json").read_text())
            for name, told in expected.items():
                content = (folder / name).read_bytes()
                found = scan(segment_number(name) or 0, content, crc32c)
                self.assertEqual(found.holes, [])
                self.assertEqual([told_of(frame.kind, frame) for frame in found.frames], told)

    def test_types_are_remembered(self) -> None:
        """A spool gives its Types back; one that has none, or is of a time before there were any, has none."""
        for folder, types in ((GOLDEN, {}), (GOLDEN / "types", TYPES)):
            files = {path.name: path.read_bytes() for path in folder.glob("segment-*")}
            self.assertEqual(Spool(TracedFolder.of(files), crc32c).open().snapshot.types, types)

    def test_check_value(self) -> None:
        """The checksum is CRC-32C, by its catalogued check value."""
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        self.assertEqual(crc32c(b"6789", crc32c(b"12345")), 0xE3069283)

    def test_header_by_hand(self) -> None:
        """A header is what docs/reference/spool.md says, byte by byte."""
        content = (GOLDEN / "segment-0000000000000002").read_bytes()
        last = content[-52:]
        self.assertEqual(last[:4], b"\xf5Tb\x01")
        self.assertEqual(struct.unpack("<I", last[4:8])[0], crc32c(last[8:], crc32c(b"\x02" + bytes(7))))
        self.assertEqual(struct.unpack("<IIB3xQQQQ", last[8:]), (0, 0, Kind.MARK, len(content) - 52, 3, 6, 2))


def told_of(kind: int, frame: object) -> dict[str, object]:
    """A frame, in the form of `expected.json`."""
    record = decode(kind, frame.payload, frame.position.commit)  # type: ignore[attr-defined]
    told = asdict(record, value_serializer=lambda _, __, value: value.decode() if isinstance(value, bytes) else value)
    position = asdict(frame.position)  # type: ignore[attr-defined]
    return json.loads(json.dumps({"kind": Kind(kind).name, "synced": frame.synced, **position, "record": _plain(told)}))  # type: ignore[attr-defined, no-any-return]


def _plain(value: object) -> object:
    """With the keys of lanes as text."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else "/".join(map(str, key)): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":  # makes the golden files; they are made once for each version of the format
    for folder, life in LIVES.items():
        folder.mkdir(parents=True, exist_ok=True)
        told = {}
        for name, content in life().items():
            (folder / name).write_bytes(content)
            frames = scan(segment_number(name) or 0, content, crc32c).frames
            told[name] = [told_of(frame.kind, frame) for frame in frames]
        (folder / "expected.json").write_text(json.dumps(told, indent=1) + "\n")
