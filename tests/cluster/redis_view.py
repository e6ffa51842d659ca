"""What servers of Redis hold, read beside Taba: from the keys of each server, not by way of the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from taba.store.judge import FLUSHED, LOST
from taba.store.redis import rows
from taba.store.redis.keys import AGGREGATES, LANES, LEDGER, LOG, MARKERS, POSITION, TYPES, Keys
from taba.store.redis.placing import ACTIVE, Marker
from taba.testing.redis import RedisServer
from taba.testing.redis_cluster import RedisCluster, RedisMember
from tests.cluster.events import StoreView

_KEYS = Keys()


def view_shards(cluster: RedisCluster) -> StoreView:
    """The whole store: of each vbucket the master of the shard that has it."""
    vbuckets = range(cluster.vbuckets)
    return merged(_view_vbucket(cluster.master(cluster.shard_of(v)).redis, v) for v in vbuckets)


def view_server(cluster: RedisCluster, member: RedisMember) -> StoreView:
    """The vbuckets of which a server, which must run, says that they are here."""
    return merged(_view_vbucket(member.redis, v) for v in range(cluster.vbuckets) if _is_active(member.redis, v))


def _is_active(redis: RedisServer, vbucket: int) -> bool:
    marker: Any = redis.ask("GET", _KEYS.of(MARKERS, vbucket))
    return marker is not None and Marker.read(marker).letter == ACTIVE


def _view_vbucket(redis: RedisServer, vbucket: int) -> StoreView:
    types = {tab: name.decode() for tab, name in _hash(redis, _KEYS.of(TYPES, vbucket)).items()}
    states = {
        (tab, client): (name, state)
        for tab, name in types.items()
        for client, state in _hash(redis, _KEYS.states(vbucket, tab)).items()
    }
    ledger = _hash(redis, _KEYS.of(LEDGER, vbucket))
    own = {line: int(ledger.get(line, 0)) for line in (LOST, FLUSHED)}
    row = {**rows.read_ledger(ledger.get("row", b"{}")), **own}
    log = [body for _, body in read_log(redis, vbucket)]
    return StoreView(states, _hash(redis, _KEYS.of(AGGREGATES, vbucket)), {vbucket: row}, log)


def read_log(redis: RedisServer, vbucket: int) -> list[tuple[int, bytes]]:
    """The entries of a log, (id, body)."""
    found: Any = redis.ask("XRANGE", _KEYS.of(LOG, vbucket), "-", "+")
    return [(int(stream_id.split(b"-")[1]), rows.pairs(fields)["b"]) for stream_id, fields in found]


def read_lanes(redis: RedisServer, vbucket: int) -> dict[str, int]:
    """Incarnation -> the last number that the store has of its lane in a vbucket."""
    return {agent: rows.read_lane(row).last for agent, row in _hash(redis, _KEYS.of(LANES, vbucket)).items()}


def read_position(redis: RedisServer, vbucket: int) -> tuple[int, int]:
    """How much of a log is folded, and the count of commits."""
    value: Any = redis.ask("GET", _KEYS.of(POSITION, vbucket))
    position = rows.read_position(value or b"0:0:0")
    return position.folded, position.commits


def _hash(redis: RedisServer, key: bytes) -> dict[str, bytes]:
    flat: Any = redis.ask("HGETALL", key)
    return rows.pairs(flat)


def merged(views: Iterable[StoreView]) -> StoreView:
    """Several views of different vbuckets in one."""
    several: Sequence[StoreView] = list(views)
    return StoreView(
        {name: state for view in several for name, state in view.states.items()},
        {tab: aggregate for view in several for tab, aggregate in view.aggregates.items()},
        {vbucket: row for view in several for vbucket, row in view.ledgers.items()},
        [body for view in several for body in view.log],
    )
