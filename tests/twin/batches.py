"""Batches: sections of Partials with their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from tests.twin.crc import crc32
from tests.twin.errors import CorruptBlob, UnknownVersion
from tests.twin.gauge import encode_string
from tests.twin.primitives import MAX_UVARINT, Reader, encode_uvarint
from tests.twin.protocol1 import NAME

VERSION = 1
LONGEST_NAME = 512


@frozen
class Entry:
    """One Partial with its names and the number of its events."""

    tab: str
    client: str
    type: str
    events: int
    partial: bytes

    def key(self) -> tuple[str, str, str]:
        """What an entry is for; once in a section."""
        return self.tab, self.client, self.type


@frozen
class Section:
    """The entries of one vbucket, encoded, and the number of their events."""

    vbucket: int
    events: int
    data: bytes


def vbucket_of(tab: str, num_vbuckets: int) -> int:
    """The vbucket of a tab; 0 while there are none."""
    return crc32(tab.encode("ascii")) % num_vbuckets if num_vbuckets else 0


def encode_section(entries: Sequence[Entry]) -> bytes:
    """One section of these entries, in this order."""
    names = list(dict.fromkeys(name for entry in entries for name in entry.key()))
    encoded = [bytes([VERSION]), encode_uvarint(len(names))]
    encoded += [encode_string(name.encode("ascii")) for name in names]
    encoded.append(encode_uvarint(len(entries)))
    for entry in entries:
        encoded += [encode_uvarint(names.index(name)) for name in entry.key()]
        encoded += [encode_uvarint(entry.events), encode_string(entry.partial)]
    return b"".join(encoded)


def divide(entries: Iterable[Entry], num_vbuckets: int) -> list[Section]:
    """One section per vbucket that has entries, ascending; within each the entries in the order given."""
    divided: dict[int, list[Entry]] = {}
    for entry in entries:
        divided.setdefault(vbucket_of(entry.tab, num_vbuckets), []).append(entry)
    return [
        Section(vbucket, sum(entry.events for entry in divided[vbucket]), encode_section(divided[vbucket]))
        for vbucket in sorted(divided)
    ]


def batch_entries(batch: bytes) -> list[Entry]:
    """The entries of all sections, in their order. What is in the Partials is not looked at."""
    return [entry for section in read_sections(batch) for entry in section]


def batch_split(batch: bytes, num_vbuckets: int) -> list[Section]:
    """The batch of each vbucket: of every section of the whole, that vbucket's share, in the same order.

    Sections stay apart, because two commits may both have a Partial for the same (tab, client, Type).
    """
    shares: dict[int, list[Section]] = {}
    for section in read_sections(batch):
        for share in divide(section, num_vbuckets):
            shares.setdefault(share.vbucket, []).append(share)
    return [
        Section(vbucket, sum(share.events for share in parts), b"".join(share.data for share in parts))
        for vbucket, parts in sorted(shares.items())
    ]


def read_sections(batch: bytes) -> list[list[Entry]]:
    """The sections of a batch, one at least."""
    reader = Reader(batch)
    sections = [_read_section(reader)]
    while reader.offset < len(batch):
        sections.append(_read_section(reader))
    if sum(entry.events for section in sections for entry in section) > MAX_UVARINT:
        raise CorruptBlob("more events than 64 bits count")
    return sections


def _read_section(reader: Reader) -> list[Entry]:
    start = reader.offset
    if (version := reader.u8()) != VERSION:
        raise UnknownVersion(f"version {version}")
    names = [_read_name(reader) for _ in range(reader.uvarint())]
    entries = []
    for _ in range(reader.uvarint()):
        numbers = [reader.uvarint() for _ in range(3)]
        if max(numbers) >= len(names):
            raise CorruptBlob("a name that is not there")
        tab, client, type_name = (names[number] for number in numbers)
        entries.append(Entry(tab, client, type_name, reader.uvarint(), reader.string()))
    if len({entry.key() for entry in entries}) != len(entries):
        raise CorruptBlob("two entries for the same (tab, client, Type)")
    if encode_section(entries) != reader.data[start : reader.offset]:
        raise CorruptBlob("not the one encoding of a section")  # names unused, twice, or not in the order of use
    return entries


def _read_name(reader: Reader) -> str:
    name = reader.string().decode("latin-1")
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise CorruptBlob("not a name")
    return name
