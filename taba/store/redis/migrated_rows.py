"""What of an embedded store becomes which key of a shard, and the commands that write it. Thin, over an `Export`.

Everything but the logs, the positions and what is set aside is hashes, so that one way to write and one to compare do
for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from taba.interfaces import Position, SetAside
from taba.store.aside_ids import DIGITS
from taba.store.exporting import Export, LoggedRow, VbucketRow
from taba.store.redis import rows
from taba.store.redis.aside import stream_id_of
from taba.store.redis.asking import Command
from taba.store.redis.keys import AGGREGATES, CLIENTS, ENTRIES, LANES, LEDGER, LOG, POSITION, TYPES, Keys

FIELDS = 500
"""Fields of one command."""

Fields = Iterable[list[tuple[bytes, bytes]]]
"""Pages of the fields of a hash, with their values."""


@frozen
class MigratedRows:
    """The keys and values of an export."""

    export: Export
    keys: Keys

    def hashes(self, row: VbucketRow) -> Iterator[tuple[bytes, Fields]]:
        """Every hash of a vbucket, with its fields. The list of tabs comes first: it tells what there is to clear."""
        export, vbucket, of = self.export, row.vbucket, self.keys.of
        types = export.types(vbucket)
        yield of(TYPES, vbucket), _page((tab.encode(), name.encode()) for tab, name in types.items())
        for tab in types:
            yield self.keys.states(vbucket, tab), _pages(export.states(vbucket, tab))
        yield of(AGGREGATES, vbucket), _pages(export.aggregates(vbucket))
        yield of(CLIENTS, vbucket), _page((c.encode(), b"%d" % n) for c, n in export.clients(vbucket).items())
        lanes = export.lanes(vbucket)
        yield of(LANES, vbucket), ([(lane.encode(), rows.lane_value(row)) for lane, row in page] for page in lanes)
        yield of(LEDGER, vbucket), _page(_ledger_fields(row))

    def position(self, row: VbucketRow) -> tuple[bytes, bytes]:
        """The key of a vbucket's position, and its value."""
        value = rows.position_value(Position(row.folded, row.commits), row.epoch)
        return self.keys.of(POSITION, row.vbucket), value

    def log_keys(self, vbucket: int) -> tuple[bytes, bytes]:
        """The log, and the list of what its entries are."""
        return self.keys.of(LOG, vbucket), self.keys.of(ENTRIES, vbucket)

    def log_pages(self, row: VbucketRow) -> Iterator[tuple[list[LoggedRow], list[bytes]]]:
        """The log of a vbucket in pages, with the items of the list."""
        size = events = 0
        for page in self.export.log(row.vbucket):
            items = []
            for each in page:
                size, events = size + len(each.body), events + each.events
                items.append(rows.entry_size_value(each.appended, len(each.body), size, each.events, events))
            yield page, items

    def log_commands(self, row: VbucketRow) -> Iterator[list[Command]]:
        """What writes the log under its own ids, and lets it go on where it ended when nothing waits in it."""
        log, entries = self.log_keys(row.vbucket)
        for page, items in self.log_pages(row):
            adding: list[Command] = [
                ("XADD", log, rows.log_id(each.id), "t", f"{each.appended:.6f}", "n", each.events, "b", each.body)
                for each in page
            ]
            yield [*adding, ("RPUSH", entries, *items)]
        if row.last_id and row.folded == row.last_id:
            last = ("XADD", log, rows.log_id(row.last_id), "t", "0.000000", "n", 0, "b", b"")
            yield [last, ("XTRIM", log, "MINID", rows.log_id(row.last_id + 1))]

    def aside(self, vbuckets: set[int]) -> list[SetAside]:
        """What some vbuckets have set aside, the oldest first."""
        return [each for each in self.export.aside() if each.vbucket in vbuckets]

    def aside_commands(self, some: Sequence[SetAside]) -> list[Command]:
        """What writes these, under the ids that they have; Redis will number the next ones far above."""
        stream, sizes = self.keys.aside
        commands: list[Command] = []
        for each in some:
            entry = aside_entry(each)
            commands.append(("XADD", stream, entry, *aside_fields(each)))
            commands.append(("RPUSH", sizes, b"%d:%b" % (len(each.partial), entry)))
        return commands


def aside_entry(each: SetAside) -> bytes:
    """The id of the entry in the stream, from which the id of the Partial follows."""
    found = stream_id_of(each.id)
    assert found is not None, f"an id of the store: {each.id}"
    return found[1]


def aside_fields(each: SetAside) -> list[bytes]:
    """The fields of the entry of a Partial that is set aside."""
    named: dict[str, str | int | bytes] = {
        "r": each.reason, "t": each.tab, "c": each.client, "y": each.type, "n": each.events, "p": each.partial,
        "v": each.vbucket, "l": each.id[:DIGITS],
    }  # fmt: skip
    flat = (one for pair in named.items() for one in pair)
    return [one if isinstance(one, bytes) else str(one).encode() for one in flat]


def settings(key: bytes, fields: Sequence[tuple[bytes, bytes]]) -> list[Command]:
    """HSET, some fields at a time."""
    return [
        ("HSET", key, *(each for pair in fields[start : start + FIELDS] for each in pair))
        for start in range(0, len(fields), FIELDS)
    ]


def _page(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    return [list(fields)]


def _pages(pages: Iterable[list[tuple[str, bytes]]]) -> Fields:
    return ([(name.encode(), value) for name, value in page] for page in pages)


def _ledger_fields(row: VbucketRow) -> list[tuple[bytes, bytes]]:
    """The ledger of a vbucket, with the store's own lines where they are not 0."""
    own = [(b"lost", row.lost), (b"flushed", row.flushed)]
    return [(b"row", rows.ledger_value(row.ledger)), *((line, b"%d" % count) for line, count in own if count)]
