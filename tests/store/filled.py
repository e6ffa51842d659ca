"""An embedded store with something of everything in it, for whoever copies one."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from taba.interfaces import (
    RETIRED,
    Append,
    Checkpoint,
    IStore,
    LogDepth,
    Position,
    Selection,
    SetAside,
    Verdict,
    Written,
)
from taba.store.embedded import EmbeddedStore
from taba.store.folder import open_folder
from tests.contracts.store_harness import A, B, V, W, batch
from tests.store.harnesses import Surroundings, started

BUSY, QUIET, PLAIN = V, W, 1
"""Vbuckets: with something in its log, with an empty log that had entries, and with States but no log."""


def now(deferred: Deferred[Any]) -> Any:
    """The result of what is done at once."""
    results: list[Any] = []
    deferred.addBoth(results.append)
    (result,) = results
    if isinstance(result, BaseException) or hasattr(result, "raiseException"):
        raise AssertionError(result)
    return result


def put(store: IStore, vbucket: int, folded: int = 0, **fields: Any) -> None:
    """Write a checkpoint that may follow."""
    lease = now(store.acquire([vbucket], "be-1", 10.0))[vbucket]
    loaded = now(store.load(lease))
    position = Position(max(folded, loaded.position.folded), loaded.position.commits + 1)
    checkpoint = Checkpoint(lease, loaded.lineage, loaded.position, position, **fields)
    assert now(store.checkpoint([checkpoint])) == [Written.DONE]
    now(store.release([lease]))


def appended(store: IStore, *batches: Append) -> None:
    """Append batches that the rules allow."""
    assert all(outcome.verdict is Verdict.OK for outcome in now(store.append(batches)))


def fill(store: IStore) -> None:
    """Give a store States, logs, lanes, a ledger, renamed tabs, and something set aside."""
    appended(store, *(batch(seq, vbucket=BUSY) for seq in (1, 2, 3)))
    appended(store, batch(1, vbucket=BUSY, lane=B), batch(1, vbucket=QUIET), batch(2, vbucket=QUIET))
    # A lane of which five events were lost.
    appended(store, batch(5, vbucket=QUIET, after=2, before=25))
    states = {("tab", f"client{number:04d}"): b"state %d" % number * (number % 7 + 1) for number in range(1500)}
    put(
        store, BUSY, 2, types={"tab": "CounterGroup", "other": "Gauge"}, ledger={"folded": 20, "refused.type": 1},
        states={**states, ("tab", RETIRED): b"retired", ("other", "client0001"): b""}, aggregates={"tab": b"aggregate"},
        set_aside=[SetAside("type", "tab", "c", "Mine", 3, b"part"), SetAside("future", "x", "c", "Mine", 1, b"2")],
    )  # fmt: skip
    put(store, QUIET, 3, ledger={"folded": 35}, states={("bare", "client0001"): b"no Type"})
    put(
        store, PLAIN, types={"käse": "Buffer", "gone": "Gauge"}, states={("gone", "client0002"): b"grave"},
        set_aside=[SetAside("codec", "käse", "c", "Buffer", 2, b"\0" * 300)],
    )  # fmt: skip
    put(store, PLAIN, renames={"gone": "gone deleted 1700000000000"})


def filled(surroundings: Surroundings, path: str) -> EmbeddedStore:
    """A store in a folder, filled, that runs."""
    store: EmbeddedStore = started(surroundings.embedded(open_folder(path)))
    fill(store)
    return store


def contents(store: IStore, get: Any = now) -> dict[str, Any]:
    """All that can be asked of a store, with what `get` makes of a Deferred."""
    found: dict[str, Any] = {"states": {}, "aggregates": {}}

    def add_states(rows: Any) -> None:
        found["states"].update({(row.tab, row.client): (row.type, row.state) for row in rows})

    def add_aggregates(rows: Any) -> None:
        found["aggregates"].update({row.tab: (row.type, row.aggregate) for row in rows})

    get(store.each_state(Selection(), add_states))
    get(store.each_aggregate(Selection(), add_aggregates))
    depth: list[LogDepth] = get(store.depth())
    found["depth"] = [(each.vbucket, each.entries, each.bytes, round(each.oldest, 6)) for each in depth]
    found["tabs"], found["clients"] = get(store.tabs()), get(store.clients(None))
    found["ledger"] = {line: count for line, count in get(store.ledger()).items() if count}
    found["aside"] = sorted(get(store.aside(100)), key=lambda each: each.id)
    entries = get(store.read(dict.fromkeys(range(store.cluster.vbuckets), 0), 1 << 20, 0))
    found["log"] = [(e.vbucket, e.id, round(e.appended, 6), e.events, e.body) for e in entries]
    found["cluster"] = (store.cluster.id, store.cluster.vbuckets)
    return found


__all__ = ["BUSY", "PLAIN", "QUIET", "A", "B", "appended", "contents", "fill", "filled", "now", "put"]
