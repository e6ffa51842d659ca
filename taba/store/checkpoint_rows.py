"""What the embedded store writes for the owners of vbuckets: epochs and checkpoints; each a function for one
transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

from attrs import define, field

from taba.errors import LocalProtocolError
from taba.interfaces import Checkpoint, Lease, Position, Written
from taba.store import aside_rows
from taba.store.ids import Ids
from taba.store.judge import judge_checkpoint, name_taken, names_to_be_free, own_ledger
from taba.store.limits import Limits
from taba.store.log_rows import LogEnds, read_end
from taba.store.schema import CLIENT_MASK, STATE_SHIFT, log_key


def read_epochs(database: sqlite3.Connection) -> dict[int, int]:
    """The highest epoch granted for each vbucket."""
    return dict(database.execute("SELECT vbucket, epoch FROM vbuckets").fetchall())


def write_epochs(database: sqlite3.Connection, leases: Iterable[Lease]) -> None:
    """Remember the epochs of newly granted leases."""
    database.executemany(
        "UPDATE vbuckets SET epoch = ? WHERE vbucket = ?", [(lease.epoch, lease.vbucket) for lease in leases]
    )


def write_checkpoints(
    database: sqlite3.Connection, checkpoints: Sequence[Checkpoint], held: Sequence[bool], lineage: str, limits: Limits
) -> tuple[list[Written], LogEnds]:
    """`IStore.checkpoint`, where `held` says of each whether its lease is; answers with the ends of the trimmed
    logs, too.
    """
    transaction = _Transaction(database, lineage)
    written = [transaction.write(checkpoint, is_held) for checkpoint, is_held in zip(checkpoints, held, strict=True)]
    transaction.tidy()
    done = [checkpoint for checkpoint, answer in zip(checkpoints, written, strict=True) if answer is Written.DONE]
    for checkpoint in done:
        if checkpoint.refolded:
            aside_rows.drop(database, checkpoint.lease.vbucket, checkpoint.refolded)
        if checkpoint.set_aside:
            aside_rows.add(database, checkpoint.lease.vbucket, checkpoint.set_aside, lineage, limits)
    return written, {one.lease.vbucket: read_end(database, one.lease.vbucket) for one in done}


@define(eq=False)
class _Transaction:
    """The checkpoints of one call."""

    _database: sqlite3.Connection
    _lineage: str
    _ids: Ids = field(init=False)
    _emptied: set[int] = field(factory=set, init=False)
    """The tabs of which something was deleted."""

    def __attrs_post_init__(self) -> None:
        self._ids = Ids(self._database)

    def write(self, checkpoint: Checkpoint, held: bool) -> Written:
        """Judge one checkpoint and, when it is good, write it."""
        if not held:
            return Written.FENCED
        vbucket = checkpoint.lease.vbucket
        folded, commits, last_id = self._database.execute(
            "SELECT folded, commits, last_id FROM vbuckets WHERE vbucket = ?", (vbucket,)
        ).fetchone()
        written = judge_checkpoint(
            checkpoint, held=held, lineage=self._lineage, position=Position(folded, commits), last_id=last_id
        )
        if written is Written.DONE:
            self._write_types(vbucket, checkpoint.types)
            self._write_states(vbucket, checkpoint.states)
            self._write_known(vbucket, checkpoint.known)
            self._write_aggregates(vbucket, checkpoint.aggregates)
            self._write_position(checkpoint, last_id)
            self._rename(vbucket, checkpoint.renames)
        return written

    def _rename(self, vbucket: int, renames: Mapping[str, str]) -> None:
        """Give tabs other names: everything of a tab goes by its id. Raises LocalProtocolError for a name that is not
        free; the transaction must be rolled back then.
        """
        if not renames:
            return
        # A name that this transaction took the last thing from is free.
        self.tidy()
        self._ids = ids = Ids(self._database)
        taken = [tab for tab in names_to_be_free(renames) if ids.find_tab(vbucket, tab) is not None]
        if taken:
            raise LocalProtocolError(name_taken(taken[0]))
        for old, new in renames.items():
            self._database.execute("UPDATE tabs SET tab = ? WHERE tab = ? AND vbucket = ?", (new, old, vbucket))
        self._ids = Ids(self._database)

    def _write_types(self, vbucket: int, types: Mapping[str, str | None]) -> None:
        for tab, type_name in types.items():
            tab_id = self._ids.find_tab(vbucket, tab) if type_name is None else self._ids.make_tab(vbucket, tab)
            if tab_id is not None:
                self._database.execute("UPDATE tabs SET type = ? WHERE id = ?", (type_name, tab_id))
                if type_name is None:
                    self._emptied.add(tab_id)

    def _write_states(self, vbucket: int, states: Mapping[tuple[str, str], bytes | None]) -> None:
        ids = self._ids
        kept = [(ids.make_state(vbucket, *name), state) for name, state in states.items() if state is not None]
        # In the order of the B-tree, each page is visited once.
        kept.sort(key=lambda row: row[0])
        self._database.executemany(
            "INSERT INTO states VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET state = excluded.state", kept
        )
        found = [ids.find_state(vbucket, *name) for name, state in states.items() if state is None]
        gone = [key for key in found if key is not None]
        self._database.executemany("DELETE FROM states WHERE key = ?", [(key,) for key in gone])
        self._emptied.update(key >> STATE_SHIFT for key in gone)

    def _write_known(self, vbucket: int, known: Sequence[tuple[str, Sequence[tuple[str, bytes]]]]) -> None:
        """Write States that are there: without the trouble of finding out."""
        ids = self._ids
        kept = []
        for tab, states in known:
            tab_id = ids.find_tab(vbucket, tab)
            first = -1 if tab_id is None else tab_id << STATE_SHIFT
            # No State has the key -1, which a name that is not there leads to.
            kept += [(state, first | (ids.find_client(client) or -1)) for client, state in states]
        kept.sort(key=itemgetter(1))
        done = self._database.executemany("UPDATE states SET state = ? WHERE key = ?", kept)
        if done.rowcount != len(kept) and kept:
            raise LocalProtocolError(f"of {len(kept)} States that should be there, {done.rowcount} are")

    def _write_aggregates(self, vbucket: int, aggregates: Mapping[str, bytes | None]) -> None:
        ids = self._ids
        self._database.executemany(
            "INSERT INTO aggregates VALUES (?, ?) ON CONFLICT (tab) DO UPDATE SET aggregate = excluded.aggregate",
            [(ids.make_tab(vbucket, tab), aggregate) for tab, aggregate in aggregates.items() if aggregate is not None],
        )
        found = [ids.find_tab(vbucket, tab) for tab, aggregate in aggregates.items() if aggregate is None]
        gone = [tab_id for tab_id in found if tab_id is not None]
        self._database.executemany("DELETE FROM aggregates WHERE tab = ?", [(tab_id,) for tab_id in gone])
        self._emptied.update(gone)

    def _write_position(self, checkpoint: Checkpoint, last_id: int) -> None:
        """Write position and ledger, and drop the log up to the position."""
        vbucket, folded = checkpoint.lease.vbucket, checkpoint.position.folded
        trimmed = log_key(vbucket, checkpoint.expected.folded) + 1, log_key(vbucket, folded)
        size = "0"
        if folded < last_id:
            size = "log_bytes - (SELECT coalesce(sum(length(body)), 0) FROM log WHERE key BETWEEN :first AND :last)"
        self._database.execute(
            f"UPDATE vbuckets SET folded = :folded, commits = :commits, ledger = :ledger, log_bytes = {size}"
            " WHERE vbucket = :vbucket",
            {
                "folded": folded,
                "commits": checkpoint.position.commits,
                "ledger": json.dumps(own_ledger(checkpoint)),
                "first": trimmed[0],
                "last": trimmed[1],
                "vbucket": vbucket,
            },
        )
        self._database.execute("DELETE FROM log WHERE key BETWEEN ? AND ?", trimmed)

    def tidy(self) -> None:
        """Drop the names that nothing is kept under any more."""
        if not self._emptied:
            return
        self._database.executemany(
            "DELETE FROM tabs WHERE id = :id AND type IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM aggregates WHERE tab = :id)"
            f" AND NOT EXISTS (SELECT 1 FROM states WHERE key BETWEEN :id << {STATE_SHIFT}"
            f" AND (:id << {STATE_SHIFT}) + {CLIENT_MASK})",
            [{"id": tab_id} for tab_id in self._emptied],
        )
        self._database.execute("DELETE FROM clients WHERE tabs = 0")
        self._emptied.clear()
