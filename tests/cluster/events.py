"""Events that can be told from each other wherever they are: in the States of a store, or in the spool of an agent.

Every event stands for one digit of the total of a tab, whichever client recorded it, so that States, retired ones too,
tell how often each single event was folded. A tab that was deleted counts where its grave is. A store is read from its
database, beside the server; a spool on a copy of its disk.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from attrs import evolve, field, frozen

from taba import native
from taba.agent.spool import Spool
from taba.handlers.registry import builtin
from taba.interfaces import RETIRED, Selection
from taba.server.notes import parse
from taba.store import queries
from taba.store.judge import FLUSHED, LOST
from taba.store.transactions import DATABASE
from taba.testing.disk import MemoryDisk
from taba.testing.members import DATA, AgentMember, ServerMember

UNNUMBERED = "original"
"""The one without."""
CLIENTS = ("app-1", "app-2", "app-3", "twin-app-1")
"""The clients with numbers; those that fork share their parent's id."""
DIGITS = {"c": 6, "p": 6, "o": 11}
"""Events of one (tab, client), by kind: up to 48 bits of all clients of a tab together, so that totals stay exact."""
BASE = {"c": 4, "p": 4, "o": 16}
KINDS = {"c": "CounterGroup", "p": "PercentileGroup", "o": "CounterGroup"}
"""The Types by kind of event; kind "o" is of clients without numbers, whose events may count again."""
GAUGE_TAB = "gauge"


class Violation(AssertionError):
    """The cluster broke its promise."""


@frozen
class EventId:
    """An event: the n-th of a kind by a client."""

    client: str
    kind: str
    n: int

    @property
    def tab(self) -> str:
        """The tab that it is recorded in."""
        return GAUGE_TAB if self.kind == "g" else f"{self.kind}{self.n // DIGITS[self.kind]}"

    @property
    def value(self) -> int:
        """The value that it is recorded with."""
        if self.kind == "g":
            return self.n
        first = CLIENTS.index(self.client) * DIGITS[self.kind] if self.client in CLIENTS else 0
        return int(BASE[self.kind] ** (first + self.n % DIGITS[self.kind]))

    @classmethod
    def at(cls, tab: str, client: str, place: int) -> EventId:
        """The event of a digit of a tab's total; `client` is whose State it is."""
        kind, number = tab[0], int(tab[1:])
        digits = DIGITS[kind]
        owner = UNNUMBERED
        if kind != "o":
            slot, place = divmod(place, digits)
            owner = CLIENTS[slot] if slot < len(CLIENTS) else "nobody"
            if client not in (owner, RETIRED):
                raise Violation(f"{tab}: the State of {client} has an event of {owner}")
        return cls(owner, kind, number * digits + place)


@frozen
class StoreView:
    """What a store's database holds at one moment."""

    states: Mapping[tuple[str, str], tuple[str, bytes]]
    aggregates: Mapping[str, bytes]
    ledgers: Mapping[int, Mapping[str, int]]
    """Vbucket -> row, with the store's own lines."""
    log: Sequence[bytes] = field(repr=False)
    """The bodies that wait in all logs."""

    @property
    def ledger(self) -> Counter[str]:
        """The sum of all rows."""
        total: Counter[str] = Counter()
        for row in self.ledgers.values():
            total.update(row)
        return total


def view_store(disk: MemoryDisk) -> StoreView | None:
    """Read the store on a server's disk, beside the server; None when there is none yet."""
    folder = disk.folder(DATA)
    if DATABASE not in folder.names():
        return None
    return view_image(folder.read(DATABASE))


def view_image(image: bytes) -> StoreView | None:
    """The same of a database's bytes, a backup's for example."""
    if not image:
        return None
    database = sqlite3.connect(":memory:")
    try:
        database.deserialize(image)
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'vbuckets'").fetchone():
            return None
        states = {(row.tab, row.client): (row.type, row.state) for row in queries.walk_states(database, _ALL, _moment)}
        aggregates = {row.tab: row.aggregate for row in queries.walk_aggregates(database, None, _moment)}
        rows = database.execute("SELECT vbucket, ledger, lost, flushed FROM vbuckets").fetchall()
        ledgers = {vbucket: {**json.loads(row), LOST: lost, FLUSHED: flushed} for vbucket, row, lost, flushed in rows}
        log = [body for (body,) in database.execute("SELECT body FROM log").fetchall()]
        return StoreView(states, aggregates, ledgers, log)
    finally:
        database.close()


_ALL = Selection()


def _moment() -> int:
    """Nobody writes while a view is made."""
    return 0


def count_and_total(type_name: str, state: bytes, at: float) -> tuple[int, float]:
    """How many events of the last day a State holds at `at`, and their total."""
    if type_name == "CounterGroup":
        window = native.counter_group_summary(state, at, ())[0][3]
        return window.count, window.total
    summary = native.percentile_group_summary(state, at, ())[3][0]
    return summary.count, summary.sum


def digits_of(total: float, base: int) -> list[int]:
    """How often each event of a (tab, client) is in a total."""
    left, digits = int(total), []
    while left:
        left, digit = divmod(left, base)
        digits.append(digit)
    return digits


def tab_of(name: str) -> str:
    """The tab of a name in a store: of a grave the one that was deleted."""
    note = parse(name)
    return name if note is None else note.tab


def is_recounted(tab: str) -> bool:
    """Whether a tab is one of ours; others are what servers record about themselves."""
    return tab[0] in KINDS and tab[1:].isdigit()


def events_in(tab: str, client: str, type_name: str, state: bytes, at: float) -> Iterator[tuple[EventId, int]]:
    """The events that a State of a tab or grave holds, and how often."""
    tab = tab_of(tab)
    if type_name not in KINDS.values() or not is_recounted(tab):
        return
    count, total = count_and_total(type_name, state, at)
    digits = digits_of(total, BASE[tab[0]])
    if count != sum(digits):
        raise Violation(f"{tab} of {client}: a count of {count}, but the total {total} is of {digits}")
    for place, times in enumerate(digits):
        if times:
            yield EventId.at(tab, client, place), times


def held_events(
    member: AgentMember | ServerMember, at: float, but: Collection[str] = ()
) -> tuple[set[EventId], Mapping[str, int]]:
    """The events that an agent's disk holds durably and the agent, if it runs, has not let go of, but for batches of
    some incarnations; and its ledger.

    Its spool is recovered on a copy of the disk, by the code that recovers it after a crash.
    """
    copy = member.node.disk.copy("copy")
    spool = Spool(copy.folder(member.spool_folder), native.crc32c)
    recovered = spool.open()
    spool.start_segment(evolve(recovered.snapshot, incarnation="0" * 32))  # an empty spool has none yet
    bodies = [spool.read([piece.extent]) for pieces in recovered.waiting.values() for piece in pieces]
    bodies += [spool.read([piece.extent]) for piece in recovered.undivided]
    agent = member.agent
    live = None
    if agent is not None and agent.intake is not None:
        live = {(lane.incarnation, lane.vbucket, held.seq) for lane in agent.lanes.each() for held in lane.held}

    def split(section: bytes) -> list[tuple[int, int, bytes]]:
        parts = native.batch_split(section, recovered.snapshot.vbuckets)
        return [(part.vbucket, part.events, part.data) for part in parts]

    for (incarnation, vbucket), batches in recovered.batches.items():
        if incarnation in but:
            continue
        wanted = [(vbucket, each.held()) for each in batches]
        wanted = [each for each in wanted if live is None or (incarnation, vbucket, each[1].seq) in live]
        bodies += [body for body in spool.read_batches(wanted, split) if body is not None]
    spool.close()
    copy.close()
    return {event for body in bodies for event in events_of_batch(body, at)}, recovered.snapshot.ledger


def events_of_batch(body: bytes, at: float) -> Iterator[EventId]:
    """The events of a batch."""
    for entry in native.batch_entries(body):
        if entry.type in KINDS.values():
            handler = builtin().get(entry.type)
            assert handler is not None
            state = handler.fold(b"", [entry.partial])
            for event, _ in events_in(entry.tab, entry.client, entry.type, state, at):
                yield event
