"""The states of Redis, Sentinels and servers that faults meet, for the table of a run on Redis."""

from __future__ import annotations

from taba.testing.members import AgentMember, ServerMember
from taba.testing.redis.sentinel.monitored import Step
from taba.testing.redis_cluster import RedisCluster, RedisMember, SentinelMember
from tests.cluster.redis_view import read_log
from tests.cluster.states import agent_state, application_state


def redis_state(cluster: RedisCluster, member: RedisMember) -> str:
    """In what state a fault meets a Redis."""
    if not member.up:
        return "redis: down"
    if member.hung:
        return "redis: hung"
    named = cluster.named(member.shard)
    if any(each.sentinel.engine.monitored[member.shard].step is not Step.NONE for each in cluster.sentinels if each.up):
        return "redis: failover under way"
    if not member.redis.is_master:
        link = member.redis.engine.link
        return "redis: replica" if link is not None and link.is_up() else "redis: replica cut off"
    if member not in named:
        return "redis: deposed master"
    if not member.redis.engine.replicas.online():
        return "redis: master alone"
    vbuckets = [v for v in range(cluster.vbuckets) if cluster.shard_of(v) == member.shard]
    waits = any(read_log(member.redis, vbucket) for vbucket in vbuckets)
    return "redis: master, log not empty" if waits else "redis: master"


def sentinel_state(member: SentinelMember) -> str:
    """In what state a fault meets a Sentinel."""
    if not member.up:
        return "sentinel: down"
    if member.hung:
        return "sentinel: hung"
    if any(each.step is not Step.NONE for each in member.sentinel.engine.monitored.values()):
        return "sentinel: failover under way"
    return "sentinel: watching"


def server_state(member: ServerMember) -> str:
    """In what state a fault meets a server."""
    server = member.server
    if not member.up:
        return "server: down"
    if server is None or not member.ready:
        return "server: starting"
    backend = server.server.backend
    if any(folding.closed is not None for folding in backend.folding.values()):
        return "server: checkpoint under way"
    return "server: with vbuckets" if backend.folding else "server: without vbuckets"


def mover_state(cluster: RedisCluster) -> str:
    """In what state a fault meets the moves of vbuckets."""
    here = "mover: working" if cluster.mover.up else "mover: none"
    return ", ".join([here, *sorted(set(cluster.on_the_move().values()))])


def state_of(cluster: RedisCluster, name: str) -> str:
    """In what state a fault meets a host."""
    if name == cluster.mover.name:
        return mover_state(cluster)
    host = next((each for each in cluster.hosts() if each.name == name), None)
    if isinstance(host, RedisMember):
        return redis_state(cluster, host)
    if isinstance(host, SentinelMember):
        return sentinel_state(host)
    if isinstance(host, ServerMember):
        return server_state(host)
    if isinstance(host, AgentMember):
        return agent_state(host)
    return "other" if host is None else application_state(cluster.member(name))  # type: ignore[arg-type]
