"""An image of a small fleet of one release: what its processes left behind when they were killed in the middle of work.

`tests/golden/releases/VERSION/` has of each release

* `server/` and `agent/`: the disks of a server with its embedded store, and of an agent that could not reach it any
  more: commits that are not sealed, batches that were never sent, and one that the server has and the agent does not
  know of;
* `redis.json`: what the masters of two shards held when servers and agent of such a fleet were killed, and
  `redis-agent/`: the disk of its agent;
* `requests.json`: requests as its clients and its agent sent them;
* `expected.json`: what any later release must answer once it has gone on from there.

`python -m tests.releases.image` makes the folder of the version that is checked out. That is done anew until that
version is released, and never again.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import taba
from taba.testing.cluster import MemoryCluster
from taba.testing.disk import DiskImage
from taba.testing.members import AgentMember
from taba.testing.redis import RedisServer
from taba.testing.redis_cluster import RedisCluster

FOLDER = Path(__file__).parent.parent / "golden" / "releases"
SEED = 90
EVENTS: Mapping[str, tuple[str, tuple[Any, ...]]] = {
    "bids": ("CounterGroup", (1, 2.5, 40)),
    "price": ("PercentileGroup", (0.25, 3, 3, 1e9)),
    "bytes": ("TotalsCounter", (1500, 64)),
    "size": ("PercentileCounter", (7, 8, 9)),
    "state": ("Gauge", ("up", "down")),
    "leader": ("ExpiryGauge", (["east", 4e9],)),
    "errors": ("Buffer", ("no room", "no way")),
}
"""Tab -> Type, and what an application records in it, at each of three times."""
_PATHS = (b"/post", b"/v2/events", b"/v2/append")
_RESERVE = "spare"
"""A file of a spool that only keeps room."""
_OF_REDIS = ("meta", "moves")
_OF_VBUCKETS = ("O", "L", "D", "Q", "T", "H", "A", "N", "C", "X", "Y")
"""The keys that an image has; leases and publications have run out by the time anybody goes on."""


def record(cluster: MemoryCluster, times: int = 1) -> None:
    """Let every application record something of every Type."""
    for _ in range(times):
        for member in cluster.applications:
            for tab, (kind, values) in EVENTS.items():
                for value in values:
                    member.client.record_event(tab, kind, value)
        cluster.world.advance(1.5)


def live(cluster: MemoryCluster) -> None:
    """What the fleet lives through until it is killed."""
    agent = cluster.agents[0]
    cluster.world.network.record(lambda path: path in _PATHS)
    cluster.start()
    record(cluster, 2)
    cluster.settle()
    for each in cluster.servers:
        cluster.world.network.partition(agent.name, each.name)
    record(cluster)
    for member in (*cluster.servers, *cluster.agents):
        member.crash()


def embedded() -> MemoryCluster:
    """A server with its embedded store, an agent, two applications."""
    return MemoryCluster(SEED, agent_count=1, application_count=2)


def on_redis() -> RedisCluster:
    """The same with Redis: two servers, two shards."""
    return RedisCluster(SEED, server_count=2, agent_count=1, application_count=2)


# ------------------------------------------------------------------------------------------------------------ disks


def write_disk(image: DiskImage, folder: Path) -> None:
    """The files of a disk, databases as files."""
    for part in (image.files, image.databases):
        for place, files in part.items():
            for name, content in files.items():
                if name == _RESERVE:
                    continue
                path = folder / place / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


def read_disk(folder: Path) -> DiskImage:
    """The disk again."""
    files: dict[str, dict[str, bytes]] = {}
    databases: dict[str, dict[str, bytes]] = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        content = path.read_bytes()
        where = str(path.parent.relative_to(folder))
        for part in (files, databases):
            part.setdefault(where, {})
        (databases if content.startswith(b"SQLite format 3\0") else files)[where][path.name] = content
    return DiskImage(files, databases)


# ------------------------------------------------------------------------------------------------------------ Redis


def dump_redis(redis: RedisServer) -> list[list[str]]:
    """The commands that make what a Redis holds of Taba, each word in base64; keys in order."""
    commands: list[list[bytes]] = []
    keys: Any = redis.ask("KEYS", "*")
    for key in sorted(keys):
        if key.decode() in _OF_REDIS or key.decode().split(":")[0] in _OF_VBUCKETS:
            commands += _commands_of(redis, key)
    return [[base64.b64encode(word).decode() for word in words] for words in commands]


def _commands_of(redis: RedisServer, key: bytes) -> list[list[bytes]]:
    letter = key.decode().split(":")[0]
    reply: Any
    if letter in ("O", "Q"):
        reply = redis.ask("GET", key)
        return [[b"SET", key, reply]]
    if letter not in ("L", "X", "Y"):
        reply = redis.ask("HGETALL", key)
        return [[b"HSET", key, *reply]]
    reply = redis.ask("XRANGE", key, "-", "+")
    made = [[b"XADD", key, stream_id, *fields] for stream_id, fields in reply]
    if not made:  # an empty log keeps its last id: the position says it
        folded: Any = redis.ask("GET", key.replace(b"L:", b"Q:"))
        last = folded.split(b":")[0] if folded else b"0"
        if last != b"0":
            made = [[b"XADD", key, b"0-" + last, b"b", b""], [b"XTRIM", key, b"MAXLEN", b"0"]]
    return made


def fill_redis(redis: RedisServer, commands: list[list[str]]) -> None:
    """Run the commands."""
    for words in commands:
        redis.ask(*(base64.b64decode(word) for word in words))


# ----------------------------------------------------------------------------------------------------------- answers


def answers(cluster: MemoryCluster) -> dict[str, Any]:
    """What the first server says of every tab: of windows the longest one only, which holds all events."""
    lines = cluster.get("/tabs").decode().splitlines()
    said = dict(line.split(": ", 1) for line in lines if ": " in line)
    return {tab: _longest(said[tab]) for tab in EVENTS}


def _longest(said: str) -> Any:
    try:
        answer = json.loads(said)
    except ValueError:
        return said
    return answer["1d"] if isinstance(answer, dict) and "1d" in answer else answer


def go_on(cluster: MemoryCluster, agent: AgentMember) -> dict[str, Any]:
    """Heal a fleet that was started on an image, let it come to rest, and ask it."""
    cluster.heal()
    cluster.settle()
    assert agent.agent is not None
    assert not agent.agent.lanes.totals().batches
    return answers(cluster)


def main() -> int:
    """Make the folder."""
    folder = FOLDER / taba.__version__
    expected = {}
    with embedded() as cluster:
        live(cluster)
        write_disk(cluster.server.node.disk.snapshot(), folder / "server")
        write_disk(cluster.agents[0].node.disk.snapshot(), folder / "agent")
        requests = {each.path.decode(): base64.b64encode(each.raw).decode() for each in cluster.world.network.requests}
        (folder / "requests.json").write_text(json.dumps(requests, indent=1, sort_keys=True) + "\n", "utf-8")
        expected["embedded"] = go_on(cluster, cluster.agents[0])
    with on_redis() as fleet:
        live(fleet)
        shards = {shard: dump_redis(fleet.master(shard).redis) for shard in fleet.shards()}
        (folder / "redis.json").write_text(json.dumps(shards, indent=1) + "\n", "utf-8")
        write_disk(fleet.agents[0].node.disk.snapshot(), folder / "redis-agent")
        expected["redis"] = go_on(fleet, fleet.agents[0])
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
